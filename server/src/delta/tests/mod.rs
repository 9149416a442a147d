//! Deltas from chunks that were uploaded to parts that are served.

mod job;
mod service;

use std::path::PathBuf;
use std::sync::Mutex;

use futures::TryStreamExt as _;
use jiff::SignedDuration;
use suture_core::chunk::{Entry, Index, cut, encode};
use suture_core::clock::Clock;
use suture_core::delta::{Head, Map};
use suture_core::manifest::Manifest;
use suture_core::principal::Principal;

use super::job::Job;
use super::*;
use crate::app::App;
use crate::config::{Settings, Written};
use crate::store::chunks::DocumentKind;
use crate::store::suite::deltas::{list, manifest};

struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Scene {
    dir: tempfile::TempDir,
    app: Arc<App>,
    clock: Arc<Hand>,
    product: ProductId,
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

/// The same with every thousandth byte another: no chunk is as before.
fn changed(bytes: &[u8], by: u8) -> Vec<u8> {
    bytes.iter().enumerate().map(|(i, byte)| if i % 1_000 == 7 { byte.wrapping_add(by) } else { *byte }).collect()
}

impl Scene {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut written = Written::default();
        written.flag("data_dir", dir.path().join("data").to_str().unwrap());
        written.flag("address", "https://localhost:7443");
        written.flag("trust_domain", "acme.example");
        let mut settings = Settings::of(written).unwrap();
        change(&mut settings);
        let clock = Arc::new(Hand(Mutex::new("2026-11-24T15:00:00Z".parse().unwrap())));
        crate::init::init(&settings, &"ada".parse().unwrap(), clock.now()).await.unwrap();
        let app = App::open(settings, clock.clone()).await.unwrap();
        Self { dir, app, clock, product: "pump".parse().unwrap() }
    }

    fn later(&self, secs: i64) {
        *self.clock.0.lock().unwrap() += SignedDuration::from_secs(secs);
    }

    /// Uploads a payload and lists it as a release.
    async fn list(&self, release: u64, bytes: &[u8]) -> Manifest {
        let raw: Vec<Vec<u8>> = cut(bytes).map(Result::unwrap).collect();
        let entry = |raw: &Vec<u8>| Entry { sha256: Digest::of(raw), length: raw.len() as u32 };
        let index = Index::new(raw.iter().map(entry).collect()).unwrap();
        let transfer = self.app.transfer();
        let mut upload = transfer.upload(&Principal::Server).unwrap();
        for raw in &raw {
            let stored = encode(raw, 1).unwrap();
            let chunk = (entry(raw), stored.len() as u32);
            upload.take(vec![chunk], stored.into(), self.app.now()).await.unwrap();
        }
        upload.finish(self.app.now()).await.unwrap();
        let index = index.to_bytes();
        let mut manifest = manifest(release, "");
        manifest.payloads[0].sha256 = Digest::of(bytes);
        manifest.payloads[0].length = bytes.len() as u64;
        manifest.payloads[0].index_sha256 = Digest::of(&index);
        transfer.put_document(DocumentKind::Index, index.into(), self.app.now()).await.unwrap();
        let mut tx = self.app.store().begin().await.unwrap();
        list(&mut tx, &manifest, "current").await;
        tx.commit().await.unwrap();
        manifest
    }

    /// What a new server does until nothing is to be done.
    async fn round(&self) {
        Job::new(self.app.clone()).unwrap().round().await.unwrap();
    }

    async fn delta(&self, pair: &Pair) -> Delta {
        let all = self.app.store().deltas_to(&pair.new).await.unwrap();
        all.into_iter().find(|delta| delta.pair == *pair).unwrap()
    }

    async fn state(&self, pair: &Pair) -> (DeltaState, u64) {
        let Delta { state, tries, .. } = self.delta(pair).await;
        (state, tries)
    }

    async fn want(&self, pair: &Pair) {
        let mut tx = self.app.store().begin().await.unwrap();
        assert!(tx.want_delta(pair, None, self.app.now()).await.unwrap());
        tx.commit().await.unwrap();
    }

    /// Asks as a pump.
    async fn offer(&self, new: &Digest, held: &[Digest]) -> Offer {
        self.app.deltas().offer(new, held, self.pump(), self.app.now()).await.unwrap()
    }

    fn pump(&self) -> Asker<'_> {
        Asker { name: "hdo/mercy/device/pump-1", product: &self.product }
    }

    fn objects(&self) -> usize {
        let mut dirs: Vec<PathBuf> = vec![self.dir.path().join("data/objects/deltas")];
        let mut count = 0;
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { count += 1 }
            }
        }
        count
    }

    /// Fetches a whole delta as a device does, and makes the payload.
    async fn apply(&self, pair: &Pair, old: &[u8]) -> Vec<u8> {
        let deltas = self.app.deltas();
        let (head, chunk_bytes) = self.app.store().delta_head(pair).await.unwrap().unwrap();
        let (sha256, bytes) = (Digest::of(&head), head.len());
        let (head, length) = Head::parse(&head).unwrap();
        let frames = head.regions.iter().map(|region| region.frames.len()).sum::<usize>();
        assert_eq!((chunk_bytes.len(), length), (frames, bytes));
        let total = head.regions.iter().map(|region| region.bytes()).sum::<u64>();
        let pieces: Vec<Bytes> =
            deltas.read(pair, &sha256, &[(0, total)], self.app.now()).await.unwrap().try_collect().await.unwrap();
        assert!(pieces.iter().all(|piece| piece.len() as u64 <= PIECE_BYTES));
        let mut rest = &pieces.concat()[..];
        let mut take = |count: u32| {
            let (taken, left) = rest.split_at(count as usize);
            rest = left;
            taken
        };
        let mut made = Vec::new();
        for region in &head.regions {
            let map = Map::decode(take(region.map_bytes), region.length() as u32, old.len() as u64).unwrap();
            let mut at = 0;
            for frame in &region.frames {
                made.extend(map.apply(take(frame.bytes), at..at + frame.length, &old).unwrap());
                at += frame.length;
            }
        }
        made
    }
}

#[tokio::test]
async fn what_is_wanted_is_made_served_and_deleted_with_its_release() {
    let scene = Scene::open().await;
    let old = noise(1, 600_000);
    let new = changed(&old, 1);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &new).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    // An object that nothing names, as a server leaves that was killed over another engine's work.
    scene.app.blobs().put("deltas/0000", Bytes::from_static(b"left")).await.unwrap();
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Made, 1));
    assert_eq!(scene.apply(&pair, &old).await, new);
    assert_eq!(scene.objects(), 1, "what nothing names is gone");
    assert_eq!(std::fs::read_dir(scene.dir.path().join("data/scratch")).unwrap().count(), 0);
    let offer = scene.offer(&pair.new, &[pair.old]).await;
    assert!(offer.delta.is_some() && offer.ask_again_secs.is_none());
    let (head, _) = offer.delta.unwrap();
    assert_eq!(Head::parse(&head).unwrap().0.old.sha256, pair.old);

    // From nothing it is noise: no smaller than its chunks.
    let from_nothing = Pair { old: nothing(), new: pair.new };
    scene.want(&from_nothing).await;
    scene.round().await;
    assert_eq!(scene.state(&from_nothing).await, (DeltaState::Useless, 1));
    assert_eq!(scene.objects(), 1);

    let mut tx = scene.app.store().begin().await.unwrap();
    list(&mut tx, &second, "withdrawn").await;
    tx.drop_deltas(scene.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    let offer = scene.offer(&pair.new, &[pair.old]).await;
    assert_eq!(offer, Offer::default());
    scene.round().await;
    assert_eq!((scene.objects(), scene.app.store().deltas_to(&pair.new).await.unwrap()), (0, Vec::new()));
}

#[tokio::test]
async fn compressible_bytes_are_made_from_nothing() {
    let scene = Scene::open().await;
    let text: Vec<u8> =
        (0..60_000_u32).flat_map(|i| format!("line {} of {}\n", i % 977, i % 31).into_bytes()).collect();
    let manifest = scene.list(1, &text).await;
    let pair = Pair { old: nothing(), new: manifest.payloads[0].sha256 };
    scene.want(&pair).await;
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Made, 1));
    assert_eq!(scene.apply(&pair, b"").await, text);
}

#[tokio::test]
async fn the_oldest_goes_where_deltas_take_more_than_their_share_of_the_store() {
    let scene = Scene::with(|settings| settings.delta_store_bytes = 14_000).await;
    let bytes = noise(8, 150_000);
    let old = scene.list(1, &bytes).await.payloads[0].sha256;
    let mut pairs = Vec::new();
    for release in 2..5 {
        // Each brings 5,000 bytes that are nowhere in the old one.
        let new = scene.list(release, &[bytes.clone(), noise(release, 5_000)].concat()).await;
        let pair = Pair { old, new: new.payloads[0].sha256 };
        scene.want(&pair).await;
        scene.later(1);
        scene.round().await;
        assert_eq!(scene.state(&pair).await, (DeltaState::Made, 1));
        pairs.push(pair);
    }
    let there = async |pair: &Pair| scene.state(pair).await.0 == DeltaState::Made;
    assert!(!there(&pairs[0]).await && there(&pairs[1]).await && there(&pairs[2]).await);
    assert_eq!(scene.objects(), 2);
    assert!(scene.app.store().deltas_length().await.unwrap() <= 14_000);
    // One that a device asks for is made only while there is room.
    let offer = async || scene.offer(&pairs[0].new, &[old]).await;
    assert_eq!(offer().await, Offer::default(), "it was made and had no room: not again today");
    scene.later(86_400);
    assert!(offer().await.ask_again_secs.is_some());
    let full = Deltas { store_bytes: 1, ..scene.app.deltas().clone() };
    let other = full.offer(&pairs[1].new, &[pairs[0].new], scene.pump(), scene.app.now()).await.unwrap();
    assert_eq!(other, Offer::default());
}

#[tokio::test]
async fn a_device_is_promised_only_what_can_be_made_and_has_room() {
    let scene = Scene::open().await;
    let deltas = scene.app.deltas();
    let (first, second) = (scene.list(1, &noise(5, 1_000)).await, scene.list(2, &noise(6, 1_000)).await);
    let (old, new) = (first.payloads[0].sha256, second.payloads[0].sha256);
    let offer = async |held: &[Digest]| scene.offer(&new, held).await;
    assert_eq!(offer(&[]).await, Offer::default());
    assert_eq!(offer(&[Digest::of(b"stranger"), new]).await, Offer::default());
    assert_eq!(scene.app.store().deltas_wanted().await.unwrap(), 0);
    // No job runs here: it stays wanted.
    let promised = Offer { delta: None, ask_again_secs: Some(WAIT_SECS) };
    assert_eq!(offer(&[Digest::of(b"stranger"), old]).await, promised);
    assert_eq!(offer(&[old]).await, promised, "asked again, the same");
    assert_eq!(scene.app.store().deltas_wanted().await.unwrap(), 1);
    // Nothing leads back to an earlier release, or is made for a device of another product.
    assert_eq!(scene.offer(&old, &[new]).await, Offer::default());
    let stranger = Asker { product: &"monitor".parse().unwrap(), ..scene.pump() };
    let third = scene.list(3, &noise(7, 1_000)).await;
    let foreign = deltas.offer(&third.payloads[0].sha256, &[old], stranger, scene.app.now()).await.unwrap();
    assert_eq!((foreign, scene.app.store().deltas_wanted().await.unwrap()), (Offer::default(), 1));
    let too_many = vec![old; MAX_DELTA_HELD + 1];
    assert!(matches!(deltas.offer(&new, &too_many, scene.pump(), scene.app.now()).await, Err(DeltaError::Invalid(_))));

    // The queue is full of others: a third release is promised nothing.
    let mut tx = scene.app.store().begin().await.unwrap();
    for i in 1..MAX_DELTAS_WANTED {
        let pair = Pair { old: Digest::of(&i.to_le_bytes()), new };
        tx.want_delta(&pair, None, scene.app.now()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let to_third = async || scene.offer(&third.payloads[0].sha256, &[old]).await;
    assert_eq!(to_third().await, Offer::default());
    let mut tx = scene.app.store().begin().await.unwrap();
    let pair = Pair { old: Digest::of(&1_u64.to_le_bytes()), new };
    tx.end_delta(&pair, DeltaState::Useless, "", scene.app.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(to_third().await.ask_again_secs, Some(MAX_WAIT_SECS));
}

#[test]
fn ranges_are_cut_at_regions_and_pieces_or_refused() {
    let region = |object: &str, length| RegionObject { object: object.to_owned(), length };
    let frame = PIECE_BYTES;
    let regions = [region("a", 10), region("b", frame + 5), region("c", 1)];
    let cut = |ranges: &[(u64, u64)]| {
        let pieces = pieces(regions.to_vec(), ranges).ok()?;
        Some(pieces.map(|p| (p.object, p.offset, p.length)).collect::<Vec<_>>())
    };
    let a = |text: &str, offset, length| (text.to_owned(), offset, length);
    assert_eq!(cut(&[(3, 2), (5, 6)]), Some(vec![a("a", 3, 2), a("a", 5, 5), a("b", 0, 1)]));
    let whole = vec![a("a", 0, 10), a("b", 0, frame), a("b", frame, 5), a("c", 0, 1)];
    assert_eq!(cut(&[(0, frame + 16)]), Some(whole));
    for bad in [&[][..], &[(0, 0)], &[(0, frame + 17)], &[(5, 1), (5, 1)], &[(5, 1), (0, 1)], &[(u64::MAX, 2)]] {
        assert_eq!(cut(bad), None, "{bad:?}");
    }
    let many: Vec<_> = (0..=MAX_DELTA_RANGES as u64).map(|at| (at, 1)).collect();
    assert_eq!((cut(&many), cut(&many[1..]).is_some()), (None, true));
}
