use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use suture_core::chunk::{Entry, Index, encode};
use suture_core::phase::Code;

use super::super::Counters;
use super::*;
use crate::client::Pieces;

/// A payload of small chunks, some of them more than once.
fn payload(chunks: &[u8]) -> (Index, Vec<Vec<u8>>) {
    let raw: Vec<Vec<u8>> = chunks.iter().map(|b| vec![*b; 100 + usize::from(*b)]).collect();
    let entry = |c: &Vec<u8>| Entry { sha256: Digest::of(c), length: u32::try_from(c.len()).unwrap() };
    (Index::new(raw.iter().map(entry).collect()).unwrap(), raw)
}

/// A payload of chunks that nothing compresses, of some thousand bytes each, some of them more than once.
fn long_payload(chunks: &[u8]) -> (Index, Vec<Vec<u8>>) {
    let long = |b: &u8| -> Vec<u8> {
        (0..300 + u32::from(*b) * 16)
            .flat_map(|n| *Digest::of(&[&n.to_le_bytes()[..], &[*b]].concat()).as_bytes())
            .collect()
    };
    let raw: Vec<Vec<u8>> = chunks.iter().map(long).collect();
    let entry = |c: &Vec<u8>| Entry { sha256: Digest::of(c), length: u32::try_from(c.len()).unwrap() };
    (Index::new(raw.iter().map(entry).collect()).unwrap(), raw)
}

/// A server that cuts the line after so many bytes of chunks, and remembers what it was asked for.
struct Server {
    raw: Vec<Vec<u8>>,
    cuts: Vec<usize>,
    /// How it cuts.
    cut: fn() -> ClientError,
    flip: Option<u32>,
    /// Of each chunk in stored form, how often each byte was sent.
    sent: BTreeMap<Digest, Vec<u32>>,
    /// By which another server stores chunks, in whose place this one comes.
    level: i32,
}

impl Server {
    fn of(raw: Vec<Vec<u8>>) -> Self {
        let cut = || ClientError::Interrupted { call: "the transfer", text: "cut".into() };
        Self { raw, cuts: vec![], cut, flip: None, sent: BTreeMap::new(), level: 3 }
    }

    /// Whether no byte was sent twice.
    fn sent_once(&self) -> bool {
        self.sent.values().flatten().all(|times| *times == 1)
    }
}

impl Chunks for Server {
    async fn chunks(&mut self, _: &Digest, ranges: &[Range<u32>], held: u32) -> Result<Pieces, ClientError> {
        assert!(ranges.windows(2).all(|w| w[0].end < w[1].start), "ascending, without overlap, joined");
        let mut left = self.cuts.pop().unwrap_or(usize::MAX);
        let mut deliveries = Vec::new();
        let mut held = held as usize;
        for ordinal in ranges.iter().flat_map(Clone::clone) {
            let raw = &self.raw[ordinal as usize];
            let mut stored = encode(raw, self.level).unwrap();
            if held >= stored.len() {
                return Err(ClientError::Refused { call: "the transfer", text: "that is all of it".into() });
            }
            if self.flip == Some(ordinal) {
                let last = stored.len() - 1;
                stored[last] ^= 1;
                self.flip = None;
            }
            let sent = self.sent.entry(Digest::of(raw)).or_insert_with(|| vec![0; stored.len()]);
            sent.resize(stored.len(), 0);
            for piece in stored[std::mem::take(&mut held)..].chunks(1_000) {
                let begin = piece.as_ptr() as usize - stored.as_ptr() as usize;
                let length = piece.len().min(left);
                left -= length;
                let end = begin + length;
                sent[begin..end].iter_mut().for_each(|times| *times += 1);
                if length > 0 {
                    let stored = Bytes::copy_from_slice(&stored[begin..end]);
                    let left = (sent.len() - end) as u32;
                    deliveries.push(Ok(vec![Piece { ordinal, stored, left }]));
                }
                if left == 0 {
                    deliveries.push(Err((self.cut)()));
                    return Ok(Box::pin(futures::stream::iter(deliveries)));
                }
            }
        }
        Ok(Box::pin(futures::stream::iter(deliveries)))
    }
}

/// A server that answers every question with the first chunk that it asks for, again and again.
struct Stuck {
    first: Vec<u8>,
    again: usize,
    instead: u32,
}

impl Chunks for Stuck {
    async fn chunks(&mut self, _: &Digest, _: &[Range<u32>], _: u32) -> Result<Pieces, ClientError> {
        let piece = |ordinal| Piece { ordinal, stored: encode(&self.first, 3).unwrap().into(), left: 0 };
        let frames: Vec<_> = (0..self.again).map(|_| Ok(vec![piece(0), piece(self.instead)])).collect();
        Ok(Box::pin(futures::stream::iter(frames)))
    }
}

#[test]
fn a_chunk_that_is_not_due_ends_the_transfer() {
    let (index, raw) = payload(&[1, 2, 3]);
    for (instead, code) in [(0, Code::EndlessData), (2, Code::WrongBytes)] {
        let dir = tempfile::tempdir().unwrap();
        let part = Arc::new(Part::open(dir.path().join("app.part"), index.clone(), Arc::default()).unwrap());
        let mut server = Stuck { first: raw[0].clone(), again: 2, instead };
        let ended = runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry())).unwrap_err();
        assert_eq!(ended.reason().code, code, "{ended}");
    }
}

fn retry() -> (Backoff, Random) {
    (Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).unwrap(), Arc::new(|| 7))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However often and wherever the line is cut, and the agent started again, the payload comes whole and no byte twice.
    #[test]
    fn cuts_cost_no_byte_twice(
        chunks in proptest::collection::vec(1_u8..21, 1..40),
        cuts in proptest::collection::vec(0_usize..20_000, 0..12),
    ) {
        let (index, raw) = long_payload(&chunks);
        let whole: Vec<u8> = raw.concat();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.part");
        let counters = Arc::new(Counters::default());
        let mut server = Server { cuts, ..Server::of(raw) };
        runtime().block_on(async {
            for _ in 0..20 {
                // Opened anew, as after a restart: everything on disk is hashed again.
                let part = Arc::new(Part::open(path.clone(), index.clone(), counters.clone()).unwrap());
                if complete(&mut server, &Digest::of(b"i"), &part, &retry()).await.is_ok() {
                    break;
                }
            }
        });
        prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
        prop_assert!(server.sent_once());
        let distinct: BTreeSet<u8> = chunks.into_iter().collect();
        prop_assert_eq!(counters.fetched_chunks.load(Ordering::Relaxed), distinct.len() as u64);
    }
}

/// A line that brings a little more than a crumb each time, and chunks of which none comes whole in one call.
#[test]
fn a_line_that_breaks_within_each_chunk_gets_on_as_long_as_it_brings_more_than_a_crumb() {
    for (each, gets_on) in [(CRUMB_BYTES, true), (CRUMB_BYTES - 1, false)] {
        let (index, raw) = long_payload(&[200, 201, 202]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.part");
        let part = Arc::new(Part::open(path.clone(), index, Arc::default()).unwrap());
        let mut server = Server { cuts: vec![each; 100], ..Server::of(raw.clone()) };
        let ended = runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry()));
        assert_eq!((ended.is_ok(), server.sent_once()), (gets_on, gets_on), "{ended:?}");
    }
}

/// The server was moved, and the new one stores the chunk otherwise: longer, shorter, or as long as what is there.
#[test]
fn what_is_there_of_a_chunk_is_given_up_where_the_rest_does_not_go_with_it() {
    let raw: Vec<u8> = (0..60_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let index = Index::new(vec![Entry { sha256: Digest::of(&raw), length: raw.len() as u32 }]).unwrap();
    let lengths: Vec<usize> = [3, 19].iter().map(|level| encode(&raw, *level).unwrap().len()).collect();
    assert!(lengths[0] > lengths[1] && lengths[1] > CRUMB_BYTES, "{lengths:?}");
    for cut in [CRUMB_BYTES, lengths[1], lengths[0] - 1] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.part");
        let part = || Arc::new(Part::open(path.clone(), index.clone(), Arc::default()).unwrap());
        let mut server = Server { cuts: vec![0, 0, 0, 0, 0, 0, cut], ..Server::of(vec![raw.clone()]) };
        runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part(), &retry())).unwrap_err();
        let mut server = Server { level: 19, ..Server::of(vec![raw.clone()]) };
        runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part(), &retry())).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), raw);
    }
}

/// Attack: a good beginning and a bad end, without end.
#[test]
fn a_server_whose_chunks_never_go_together_is_found_wrong() {
    let (index, raw) = long_payload(&[9]);
    let dir = tempfile::tempdir().unwrap();
    let part = Arc::new(Part::open(dir.path().join("app.part"), index, Arc::default()).unwrap());
    let mut server = Liar { stored: encode(&raw[0], 3).unwrap(), calls: 0 };
    let ended = runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry())).unwrap_err();
    assert_eq!(ended.reason().code, Code::WrongBytes, "{ended}");
    assert_eq!(server.calls, 2 * (MAX_FAILURES + 1));
}

/// Sends the beginning of a chunk, cuts the line, and then sends a wrong end.
struct Liar {
    stored: Vec<u8>,
    calls: u32,
}

impl Chunks for Liar {
    async fn chunks(&mut self, _: &Digest, _: &[Range<u32>], held: u32) -> Result<Pieces, ClientError> {
        self.calls += 1;
        let half = self.stored.len() / 2;
        let piece = |stored: &[u8], left| Piece { ordinal: 0, stored: Bytes::copy_from_slice(stored), left };
        let cut = ClientError::Interrupted { call: "the transfer", text: "cut".into() };
        let deliveries = match held {
            0 => vec![Ok(vec![piece(&self.stored[..half], half as u32)]), Err(cut)],
            _ => vec![Ok(vec![piece(&vec![0; self.stored.len() - half], 0)])],
        };
        Ok(Box::pin(futures::stream::iter(deliveries)))
    }
}

#[test]
fn a_flipped_byte_is_refused_and_only_that_chunk_comes_again() {
    let (index, raw) = payload(&(0..30).collect::<Vec<_>>());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.part");
    let mut server = Server { flip: Some(17), ..Server::of(raw.clone()) };
    runtime().block_on(async {
        let part = Arc::new(Part::open(path.clone(), index.clone(), Arc::default()).unwrap());
        let error = complete(&mut server, &Digest::of(b"i"), &part, &retry()).await.unwrap_err();
        assert_eq!(error.reason().code, Code::WrongBytes, "{error}");
        let part = Arc::new(Part::open(path.clone(), index.clone(), Arc::default()).unwrap());
        assert_eq!(part.missing().first(), Some(&17));
        complete(&mut server, &Digest::of(b"i"), &part, &retry()).await.unwrap();
    });
    assert_eq!(std::fs::read(&path).unwrap(), raw.concat());
}

/// A disk of which others take the last, and give it back.
#[test]
fn a_disk_that_is_full_costs_nothing_that_was_verified() {
    use std::sync::atomic::AtomicU64;

    use suture_core::phase::Code;

    // Distinct chunks of a tenth of a mebibyte and more, far more than is written between two looks.
    let raw: Vec<Vec<u8>> = (0..200_u32).map(|n| n.to_le_bytes().repeat(30_000)).collect();
    let entry = |c: &Vec<u8>| Entry { sha256: Digest::of(c), length: u32::try_from(c.len()).unwrap() };
    let index = Index::new(raw.iter().map(entry).collect()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.part");
    let free = Arc::new(AtomicU64::new(0));
    let reserve = 1_000_000;
    let room = {
        let (free, dir) = (free.clone(), dir.path().to_owned());
        let said = move |path: &std::path::Path| {
            assert!(path.starts_with(&dir));
            // Whoever is told of little finds the rest gone when it asks again: others write as well.
            let there = free.load(Ordering::SeqCst);
            free.store(if there == u64::MAX { there } else { 0 }, Ordering::SeqCst);
            Ok(there)
        };
        super::super::Room::new(reserve, Arc::new(said))
    };
    let mut server = Server::of(raw.clone());
    let mut kept = 0;
    for (there, fails) in [(0, true), (reserve + 100_000, true), (reserve + 5_000_000, true), (u64::MAX, false)] {
        free.store(there, Ordering::SeqCst);
        let part = Part::open(path.clone(), index.clone(), Arc::default()).unwrap().within(room.clone());
        let before = part.missing().len();
        assert_eq!(before, raw.len() - kept, "nothing that was verified is asked for again");
        let part = Arc::new(part);
        let result = runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry()));
        assert_eq!(result.is_err(), fails, "{result:?}");
        if let Err(e) = result {
            assert_eq!((e.reason().code, e.is_permanent()), (Code::DiskFull, false), "{e}");
        }
        kept = raw.len() - part.missing().len();
        // Of the five million all is used, in whole chunks.
        assert_eq!(
            kept,
            if there < reserve + 5_000_000 {
                0
            } else if fails {
                41
            } else {
                raw.len()
            }
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), raw.concat());
}

#[test]
fn what_was_damaged_on_disk_meanwhile_comes_again() {
    let (index, raw) = payload(&(0..10).collect::<Vec<_>>());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.part");
    let mut bytes = raw.concat();
    bytes[150] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let part = Part::open(path, index, Arc::default()).unwrap();
    assert_eq!(part.missing(), [1]);
}

#[test]
fn what_a_slot_holds_is_not_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let slots = crate::install::Slots::new(&dir.path().join("slots"));
    std::fs::create_dir(slots.dir()).unwrap();
    // Bytes that do not repeat, and the same with an insertion near the end.
    let mut seed = 1_u64;
    let mut old: Vec<u8> = (0..2_000_000)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[0]
        })
        .collect();
    let (one, one_bytes, one_payloads) = crate::install::bundle(dir.path(), 1, &old);
    slots.write(&one_bytes, &one_payloads).unwrap();
    slots.switch(crate::install::Side::A).unwrap();
    old.splice(1_900_000..1_900_000, *b"inserted");
    let (two, _, two_payloads) = crate::install::bundle(dir.path(), 2, &old);

    let counters = Arc::new(Counters::default());
    let index = || Index::parse(&two_payloads[0].2).unwrap();
    let path = dir.path().join("two.part");
    let part = Part::open(path.clone(), index(), counters.clone()).unwrap();
    let all = part.missing().len();
    let versions = [slots.running().unwrap().unwrap()];
    part.seed(&versions, &two.payloads[0]);
    let missing = part.missing();
    assert!(!missing.is_empty() && missing.len() * 4 < all, "{} of {all} chunks are missing", missing.len());
    assert_eq!(counters.seeded_chunks.load(Ordering::Relaxed), (all - missing.len()) as u64);

    // With the rest from the server it is whole.
    let whole = std::fs::read(&two_payloads[0].1).unwrap();
    for place in missing {
        let from = index().offset(place as usize).unwrap() as usize;
        let length = index().entries()[place as usize].length as usize;
        let stored = encode(&whole[from..from + length], 3).unwrap();
        part.keep(&part.verify(place, stored.into()).unwrap()).unwrap();
    }
    assert_eq!(std::fs::read(&path).unwrap(), whole);

    // A slot whose files were changed gives what is still right in it, and nothing wrong.
    let app = slots.path(crate::install::Side::A).join("app/bin/app");
    let mut changed = std::fs::read(&app).unwrap();
    changed[1_000_000] ^= 1;
    std::fs::write(&app, changed).unwrap();
    let index = Index::parse(&one_payloads[0].2).unwrap();
    let part = Part::open(dir.path().join("one.part"), index, Arc::default()).unwrap();
    part.seed(&versions, &one.payloads[0]);
    assert_eq!(part.missing().len(), 1);
}

#[test]
fn a_server_that_stalls_each_time_is_left_for_the_next_check_in_with_what_came() {
    let (index, raw) = payload(&(0..30).collect::<Vec<_>>());
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server { cut: || ClientError::Stalled { call: "the transfer" }, ..Server::of(raw) };
    server.cuts = vec![50; 100];
    let part = Arc::new(Part::open(dir.path().join("app.part"), index, Arc::default()).unwrap());
    let error = runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry())).unwrap_err();
    assert_eq!(error.reason().code, Code::ServerUnreachable, "{error}");
    let sent: u32 = server.sent.values().flatten().sum();
    assert_eq!(sent, 50 * MAX_FAILURES);
    let missing = part.missing().len();
    assert!(missing < 30, "what came is kept");
    server.cuts.clear();
    runtime().block_on(complete(&mut server, &Digest::of(b"i"), &part, &retry())).unwrap();
    assert!(server.sent_once());
}

/// Lengths, places and counts beyond what 32 bits hold. No bytes are written but one chunk's.
#[test]
fn a_payload_may_be_longer_than_four_gibibytes() {
    let length = suture_core::limits::CHUNK_MAX_BYTES as u32;
    let named = |n: u32| Entry { sha256: Digest::of(&n.to_le_bytes()), length };
    let raw = vec![7; length as usize];
    let mut entries: Vec<Entry> = (0..(5_u64 << 30).div_ceil(length.into()) as u32).map(named).collect();
    let last = entries.len() - 1;
    entries[last].sha256 = Digest::of(&raw);
    let index = Index::parse(&Index::new(entries).unwrap().to_bytes()).unwrap();
    assert_eq!((index.total_length(), index.offset(last)), (5 << 30, Some((5 << 30) - u64::from(length))));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.part");
    let counters = Arc::new(Counters::default());
    counters.begin(dir.path(), index.total_length());
    let part = Part::open(path.clone(), index, counters.clone()).unwrap();
    assert_eq!((part.missing().len(), part.missing_bytes()), (last + 1, 5 << 30));
    part.keep(&part.verify(last as u32, encode(&raw, 3).unwrap().into()).unwrap()).unwrap();
    assert_eq!((part.missing().len(), part.missing_bytes()), (last, (5 << 30) - u64::from(length)));

    let file = std::fs::File::open(&path).unwrap();
    let mut read = vec![0; raw.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, (5 << 30) - u64::from(length)).unwrap();
    assert!(read == raw, "the last chunk lies at its place");
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), 5 << 30);
    let on_disk = 512 * std::os::unix::fs::MetadataExt::blocks(&meta);
    assert!(on_disk < 64 << 20, "{on_disk} bytes are taken on disk");
    counters.measure(Duration::from_secs(1));
    counters.present_bytes.fetch_add(u64::from(length), Ordering::Relaxed);
    counters.measure(Duration::from_secs(1));
    let progress = counters.progress();
    assert_eq!((progress.total_bytes, progress.present_bytes), (5 << 30, 2 * u64::from(length)));
    assert_eq!(progress.left_secs, (5 << 30) / u64::from(length) - 2);
}
