//! Deltas of honest servers, of lines that are cut, and of servers that lie.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use proptest::prelude::*;
use suture_core::chunk::{Entry, Index, cut};
use suture_core::delta::{self, Payload as Named};
use suture_core::limits::{FRAME_BYTES, MAX_WRONG_DELTA_FRAMES};
use suture_core::manifest::PayloadFormat;

use super::super::Counters;
use super::*;
use crate::client::DeltaBytes;
use crate::install::{Payloads, Side, Slots, bundle};

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

/// A device that holds one version in its slot and wants another.
struct Bench {
    dir: tempfile::TempDir,
    slots: Slots,
    old: Vec<u8>,
    new: Vec<u8>,
    payload: Payload,
    index: Index,
    counters: Arc<Counters>,
}

/// A bundle of one image.
fn image(dir: &Path, release: u64, bytes: &[u8]) -> (Payload, Vec<u8>, Payloads) {
    let (mut manifest, _, mut payloads) = bundle(dir, release, b"");
    let raw = cut(bytes).map(Result::unwrap);
    let entry = |raw: Vec<u8>| Entry { sha256: Digest::of(&raw), length: raw.len() as u32 };
    let index = Index::new(raw.map(entry).collect()).unwrap().to_bytes();
    let payload = Payload {
        format: PayloadFormat::Image,
        length: bytes.len() as u64,
        sha256: Digest::of(bytes),
        index_length: index.len() as u64,
        index_sha256: Digest::of(&index),
        ..manifest.payloads[0].clone()
    };
    std::fs::write(&payloads[0].1, bytes).unwrap();
    (payloads[0].0, payloads[0].2) = (payload.clone(), index);
    manifest.payloads = vec![payload.clone()];
    (payload, manifest.to_bytes().unwrap(), payloads)
}

impl Bench {
    /// Every thousandth byte is another, so that no chunk is as before.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::new(&dir.path().join("slots"));
        std::fs::create_dir(slots.dir()).unwrap();
        let old = noise(1, 1_100_000);
        let new: Vec<u8> = old.iter().enumerate().map(|(i, b)| if i % 1_000 == 7 { b ^ 1 } else { *b }).collect();
        let (_, bytes, payloads) = image(dir.path(), 1, &old);
        slots.write(&bytes, &payloads).unwrap();
        slots.switch(Side::A).unwrap();
        let (payload, _, new_payloads) = image(dir.path(), 2, &new);
        let index = Index::parse(&new_payloads[0].2).unwrap();
        Self { dir, slots, old, new, payload, index, counters: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("app.part")
    }

    fn part(&self) -> Arc<Part> {
        Arc::new(Part::open(self.path(), self.index.clone(), self.counters.clone()).unwrap())
    }

    fn task(&self) -> Task {
        Task {
            versions: Arc::new(self.slots.running().unwrap().into_iter().collect()),
            payload: self.payload.clone(),
            wrong: self.dir.path().join("app.wrong"),
            patience: Duration::ZERO,
        }
    }

    async fn run(&self, server: &mut Server) -> Result<Arc<Part>, FetchError> {
        let retry =
            (Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).unwrap(), Arc::new(|| 7_u32) as Random);
        let part = self.part();
        complete(server, self.task(), &part, &retry).await?;
        Ok(part)
    }

    fn is_refused(&self) -> bool {
        let held = vec![Digest::of(&self.old)];
        Trouble::open(self.task().wrong, held, Arc::default()).is_over()
    }

    /// A delta of one frame for every two chunks, each a region of its own. Made once in each process: all benches are
    /// alike.
    fn server(&self) -> Server {
        static MADE: OnceLock<Server> = OnceLock::new();
        MADE.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Server {
        let named = |bytes: &[u8]| Named { sha256: Digest::of(bytes), length: bytes.len() as u64 };
        let (mut regions, mut body, mut chunk_bytes) = (Vec::new(), Vec::new(), Vec::new());
        let mut frames = Vec::new();
        let lengths: Vec<usize> = self.index.entries().iter().map(|e| e.length as usize).collect();
        let mut at = 0;
        for lengths in lengths.chunks(2) {
            let length: usize = lengths.iter().sum();
            let new = &self.new[at..at + length];
            let ends: Vec<u64> = lengths
                .iter()
                .scan(0, |end, length| {
                    *end += *length as u64;
                    Some(*end)
                })
                .collect();
            let old = self.old.as_slice();
            delta::make((&old, named(old)), (&new, named(new)), &ends, |encoded| {
                body.extend(encoded.map);
                let start = body.len();
                body.extend(encoded.frames.concat());
                frames.push(start as u64..body.len() as u64);
                chunk_bytes.push(length as u32);
                assert_eq!(encoded.region.frames.len(), 1);
                regions.push(encoded.region);
            })
            .unwrap();
            at += length;
        }
        assert!(frames.len() > MAX_WRONG_DELTA_FRAMES as usize, "{}", frames.len());
        let head = Head { old: named(&self.old), new: named(&self.new), regions };
        Server {
            held: vec![Digest::of(&self.old)],
            head: head.to_bytes().unwrap(),
            sent: vec![0; body.len()],
            body,
            chunk_bytes,
            frames,
            offers: 0,
            ask_again: None,
            cuts: Vec::new(),
            cut: || ClientError::Interrupted { call: "the delta", text: "cut".into() },
            bend: None,
        }
    }
}

type Pieces = Vec<Result<Bytes, ClientError>>;

#[derive(Clone)]
struct Server {
    held: Vec<Digest>,
    head: Vec<u8>,
    body: Vec<u8>,
    chunk_bytes: Vec<u32>,
    /// Where its frames stand.
    frames: Vec<Range<u64>>,
    offers: u32,
    ask_again: Option<Duration>,
    /// After so many bytes each call is cut.
    cuts: Vec<usize>,
    cut: fn() -> ClientError,
    bend: Option<fn(Vec<u8>) -> Pieces>,
    /// How often each byte was sent.
    sent: Vec<u32>,
}

impl Deltas for Server {
    async fn offer(&mut self, _: &Digest, held: &[Digest]) -> Result<DeltaOffer, ClientError> {
        assert_eq!(held, self.held);
        self.offers += 1;
        let delta = OfferedDelta { head: self.head.clone().into(), chunk_bytes: self.chunk_bytes.clone() };
        Ok(DeltaOffer { delta: Some(delta), ask_again: self.ask_again })
    }

    async fn delta(
        &mut self,
        _: (&Digest, &Digest),
        head: &Digest,
        ranges: &[Range<u64>],
    ) -> Result<DeltaBytes, ClientError> {
        assert_eq!(*head, Digest::of(&self.head));
        assert!(ranges.windows(2).all(|w| w[0].end < w[1].start), "ascending, without overlap, joined");
        let wanted = ranges.iter().flat_map(|r| r.start as usize..r.end as usize);
        if let Some(bend) = self.bend {
            return Ok(Box::pin(futures::stream::iter(bend(wanted.map(|at| self.body[at]).collect()))));
        }
        let cut = self.cuts.pop().unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for at in wanted.take(cut) {
            self.sent[at] += 1;
            bytes.push(self.body[at]);
        }
        let mut pieces: Pieces = bytes.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        if cut != usize::MAX {
            pieces.push(Err((self.cut)()));
        }
        Ok(Box::pin(futures::stream::iter(pieces)))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn a_payload_is_made_from_the_slot_with_few_bytes() {
    let bench = Bench::new();
    let mut server = bench.server();
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert!(part.missing().is_empty());
    assert_eq!(std::fs::read(bench.path()).unwrap(), bench.new);
    assert!(server.sent.iter().all(|sent| *sent == 1));
    let came = count(&bench.counters.delta_bytes);
    assert_eq!(came, (server.head.len() + server.body.len()) as u64);
    assert!(came * 20 < bench.new.len() as u64, "{came}");
    assert_eq!(count(&bench.counters.delta_made_bytes), bench.new.len() as u64);
    assert_eq!(count(&bench.counters.delta_frames), server.frames.len() as u64);
    // Whole, nothing more is asked for.
    runtime().block_on(bench.run(&mut server)).unwrap();
    assert_eq!((server.offers, bench.is_refused()), (1, false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Cut at any byte, as often as there is a byte between two cuts, no byte comes twice.
    #[test]
    fn a_cut_costs_no_byte_twice(cuts in proptest::collection::vec(1_usize..3_000, 0..12)) {
        let bench = Bench::new();
        let mut server = bench.server();
        server.cuts = cuts;
        let part = runtime().block_on(bench.run(&mut server)).unwrap();
        prop_assert!(part.missing().is_empty());
        prop_assert!(server.sent.iter().all(|sent| *sent == 1));
        prop_assert_eq!(std::fs::read(bench.path()).unwrap(), bench.new);
    }

    /// Started anew after each cut, the agent asks for no frame that it has applied.
    #[test]
    fn a_restart_costs_no_frame_twice(
        cuts in proptest::collection::vec(prop_oneof![1_usize..10, 1_usize..3_000], 0..6),
    ) {
        let bench = Bench::new();
        let mut server = bench.server();
        let restarts = cuts.len();
        server.cuts = cuts;
        server.cut = || ClientError::Stranger { call: "the delta", text: "killed".into() };
        for _ in 0..restarts {
            let sent = server.sent.clone();
            let _cut = runtime().block_on(bench.run(&mut server));
            for frame in server.frames.iter().map(|f| f.start as usize..f.end as usize) {
                let whole = sent[frame.clone()].iter().all(|sent| *sent > 0);
                prop_assert!(!whole || server.sent[frame.clone()] == sent[frame], "a whole frame came again");
            }
        }
        let part = runtime().block_on(bench.run(&mut server)).unwrap();
        prop_assert!(part.missing().is_empty());
        prop_assert_eq!(std::fs::read(bench.path()).unwrap(), bench.new);
        // Each frame was applied once, whatever of it was cut off before.
        prop_assert_eq!(count(&bench.counters.delta_frames), server.frames.len() as u64);
    }
}

/// Plays a server that lies; the delta must be refused for good, and no wrong byte be kept.
fn is_refused(lie: impl FnOnce(&mut Server)) {
    let bench = Bench::new();
    let mut server = bench.server();
    lie(&mut server);
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert!(!part.missing().is_empty());
    assert!(bench.is_refused());
    drop(part);
    // What is there is right, and what is missing comes as chunks: the server is not asked for deltas again, and the reason
    // is known still.
    let why = bench.counters.refused().unwrap();
    bench.counters.begin(bench.dir.path(), bench.payload.length);
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert_eq!((server.offers, bench.counters.refused()), (1, Some(why)));
    let (missing, made) = (part.missing_bytes(), std::fs::read(bench.path()).unwrap());
    let wrong = made.iter().zip(&bench.new).filter(|(a, b)| a != b).count() as u64;
    assert!(wrong <= missing, "{wrong} wrong bytes, {missing} missing");
    let cost = count(&bench.counters.delta_bytes);
    assert!(cost <= 24 << 20, "{cost}");
}

/// Spoils a frame far enough in to change what it makes.
fn spoil(server: &mut Server, frame: usize) {
    let wrong = server.frames[frame].clone();
    server.body[(wrong.start + wrong.end) as usize / 2] ^= 0x55;
}

#[test]
fn a_few_wrong_frames_are_left_to_chunks_and_too_many_end_it() {
    for wrong in 1..=MAX_WRONG_DELTA_FRAMES {
        let bench = Bench::new();
        let mut server = bench.server();
        (0..wrong as usize).for_each(|frame| spoil(&mut server, frame));
        let part = runtime().block_on(bench.run(&mut server)).unwrap();
        assert_eq!(bench.is_refused(), wrong == MAX_WRONG_DELTA_FRAMES, "{wrong}");
        let why = bench.counters.refused().unwrap();
        assert!(why.contains(&format!("{wrong} ")) && why.contains("as chunks"), "{why}");
        let spoilt = bench.index.entries()[..2 * wrong as usize].iter().map(|e| u64::from(e.length)).sum::<u64>();
        let missing = part.missing_bytes();
        if wrong < MAX_WRONG_DELTA_FRAMES {
            assert!(missing > 0 && missing <= spoilt, "{missing} of {spoilt}: what was right was left as well");
            assert!(part.missing().iter().all(|place| *place < 2 * wrong));
        } else {
            assert!(missing > spoilt, "{missing}: nothing that comes after it is taken");
        }
    }
}

#[test]
fn a_frame_that_stays_wrong_over_restarts_ends_it_as_well_until_something_else_is_held() {
    let bench = Bench::new();
    let mut server = bench.server();
    spoil(&mut server, 1);
    for run in 1..=MAX_WRONG_DELTA_FRAMES + 1 {
        assert_eq!(bench.is_refused(), run > MAX_WRONG_DELTA_FRAMES);
        runtime().block_on(bench.run(&mut server)).unwrap();
    }
    assert_eq!(server.offers, MAX_WRONG_DELTA_FRAMES);
    // Each frame that was right came once.
    assert!(server.sent[server.frames[2].start as usize] == 1 && server.sent[server.frames[0].start as usize] == 1);

    let open = |held| Trouble::open(bench.task().wrong, held, Arc::default());
    let (old, other) = (Digest::of(&bench.old), Digest::of(b"another version"));
    let mut trouble = open(vec![other]);
    assert!(!trouble.is_over());
    trouble.frame("as before").unwrap();
    assert!(!open(vec![old]).is_over(), "what was known of the first is forgotten");
    let mut trouble = open(vec![other, old]);
    trouble.end("it makes another payload").unwrap();
    assert!(open(vec![old, other]).is_over());
    std::fs::write(bench.task().wrong, b"{").unwrap();
    assert!(!open(vec![old, other]).is_over());
}

#[test]
fn every_lie_is_found_out() {
    is_refused(|s| s.body.fill(0xff));
    is_refused(|s| s.head.clear());
    is_refused(|s| s.head.push(0));
    is_refused(|s| s.head = vec![0; MAX_DELTA_HEAD_BYTES + 1]);
    is_refused(|s| s.chunk_bytes.truncate(1));
    // Another new payload; an old one that the device does not hold.
    is_refused(|s| s.head[60] ^= 1);
    is_refused(|s| s.head[20] ^= 1);
    // Frames that do not end where chunks end.
    is_refused(|s| {
        let (mut head, _) = Head::parse(&s.head).unwrap();
        head.regions[0].frames[0].length -= 1;
        head.regions[1].frames[0].length += 1;
        s.head = head.to_bytes().unwrap();
    });
    // Endless data: more than was asked for, without end.
    is_refused(|s| s.bend = Some(|_| (0..10_000).map(|_| Ok(Bytes::from_static(&[7; FRAME_BYTES]))).collect()));
    is_refused(|s| {
        s.bend = Some(|mut bytes| {
            bytes.push(0);
            vec![Ok(bytes.into())]
        })
    });
}

#[test]
fn a_server_that_sends_nothing_is_left_for_chunks_and_not_refused_for_good() {
    let bench = Bench::new();
    let mut server = bench.server();
    server.bend = Some(|_| Vec::new());
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert_eq!((part.missing_bytes(), bench.is_refused()), (bench.new.len() as u64, false));
    server.bend = None;
    assert!(runtime().block_on(bench.run(&mut server)).unwrap().missing().is_empty());
}

#[test]
fn a_server_that_sends_a_byte_a_call_or_one_too_slowly_is_left_for_chunks() {
    let bench = Bench::new();
    let mut server = bench.server();
    server.cuts = vec![1; 1_000];
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert_eq!((part.missing_bytes(), bench.is_refused()), (bench.new.len() as u64, false));
    assert_eq!(server.sent.iter().sum::<u32>(), MAX_CRUMBS + 1);

    let mut server = bench.server();
    server.cuts = vec![100; 1_000];
    server.cut = || ClientError::Stalled { call: "the delta" };
    runtime().block_on(bench.run(&mut server)).unwrap();
    assert_eq!(server.sent.iter().sum::<u32>(), 100 * MAX_FAILURES);
    assert!(!bench.is_refused());
}

#[test]
fn a_delta_that_is_deleted_meanwhile_is_asked_for_again_a_few_times() {
    let bench = Bench::new();
    let mut server = bench.server();
    server.cuts = vec![900];
    server.cut = || ClientError::Refused { call: "the delta", text: "gone".into() };
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert!(part.missing().is_empty());
    assert_eq!(server.offers, 2);
    let bench = Bench::new();
    let mut server = bench.server();
    server.cuts = vec![0; 10];
    server.cut = || ClientError::Refused { call: "the delta", text: "gone".into() };
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    assert!(!part.missing().is_empty() && !bench.is_refused());
    assert_eq!(server.offers, MAX_OFFERS);
}

#[test]
fn a_slot_that_was_changed_makes_nothing_wrong() {
    let bench = Bench::new();
    let app = bench.slots.path(Side::A).join("app");
    let mut bytes = std::fs::read(&app).unwrap();
    bytes[350_000] ^= 1;
    std::fs::write(&app, &bytes).unwrap();
    let mut server = bench.server();
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    // All but what was made of that byte.
    assert!(!bench.is_refused() && (1..600_000).contains(&part.missing_bytes()));
    bytes.pop();
    std::fs::write(&app, &bytes).unwrap();
    std::fs::remove_file(bench.task().wrong).unwrap();
    runtime().block_on(bench.run(&mut server)).unwrap();
    assert!(bench.is_refused());
}

#[test]
fn what_chunks_do_as_well_is_left_to_them() {
    let bench = Bench::new();
    let mut server = bench.server();
    let costs: Vec<u32> = server.frames.iter().map(|frame| (frame.end - frame.start) as u32).collect();
    // Only the second frame saves more than its map costs.
    server.chunk_bytes = costs.clone();
    server.chunk_bytes[1] = costs[1] * 2 + 10_000;
    let part = runtime().block_on(bench.run(&mut server)).unwrap();
    let second = server.frames[1].clone();
    let sent = server.sent.iter().filter(|sent| **sent > 0).count() as u64;
    assert!(server.sent[second.start as usize] == 1 && sent < (second.end - second.start) + 200, "{sent}");
    let made = bench.index.entries()[2..4].iter().map(|e| u64::from(e.length)).sum::<u64>();
    assert_eq!(part.missing_bytes(), bench.new.len() as u64 - made);
    assert!(!bench.is_refused());
}

#[test]
fn however_a_server_lies_no_more_is_asked_for_than_what_is_made() {
    let bench = Bench::new();
    let mut server = bench.server();
    server.chunk_bytes.fill(u32::MAX);
    let (mut head, _) = Head::parse(&server.head).unwrap();
    for region in &mut head.regions {
        region.frames[0].bytes = region.frames[0].length;
    }
    let all = vec![true; bench.index.entries().len()];
    let plan = |head: &Head| plan::plan(head, &server.chunk_bytes, &bench.index, &all).unwrap();
    assert_eq!(plan(&head), Plan::default(), "as many bytes as chunks in raw form");
    for region in &mut head.regions {
        region.frames[0].bytes -= 1;
    }
    assert_eq!(plan(&head), Plan::default(), "the maps make them dearer");
    let honest = Head::parse(&server.head).unwrap().0;
    let chosen = plan(&honest);
    assert_eq!((chosen.bytes, chosen.spared), (server.body.len() as u64, bench.new.len() as u64));
    // Of what is there already, nothing.
    let none = vec![false; all.len()];
    assert_eq!(plan::plan(&honest, &server.chunk_bytes, &bench.index, &none).unwrap(), Plan::default());
}

#[test]
fn what_is_offered_meanwhile_is_taken_where_there_is_no_patience() {
    let bench = Bench::new();
    let mut server = bench.server();
    server.ask_again = Some(Duration::from_secs(20));
    assert!(runtime().block_on(bench.run(&mut server)).unwrap().missing().is_empty());
}
