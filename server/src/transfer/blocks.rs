//! What packs hold, in blocks that all streams share: a thousand devices that fetch one bundle cost one read of the store.
//!
//! Attack: streams that stall, each on a block of its own. What is kept here is bounded by [`BLOCK_CACHE_BYTES`]; what a
//! stream holds besides is bounded by how far it reads ahead (see [`super::fetch`]); what all hold, by [`BLOCK_HELD_BYTES`],
//! beyond which a stream holds a copy of the bytes that it sends and no block.
//!
//! Attack: a device's stolen key, by which calls are made and broken off again as soon as they have an answer, each for other
//! blocks, so that the store reads what nobody waits for. A read that has not begun ends with the last who wants it, and of one
//! identity few are under way at a time ([`READS_PER_IDENTITY`]): one that has begun is counted until it has ended.
//!
//! Nothing is verified here: whoever fetches does that. A block is read again once it is [`BLOCK_KEPT`] old, so that a pack
//! which went bad on disk, and was mended there, is soon sent as it is now.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use futures::future::{self, BoxFuture, FutureExt as _, Shared, TryFutureExt as _, WeakShared};
use jiff::Timestamp;
use suture_core::clock::Clock;
use suture_core::limits::{BLOCK_BYTES, BLOCK_CACHE_BYTES, BLOCK_HELD_BYTES, BLOCK_KEPT};
use suture_core::principal::Principal;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::pack_name;
use crate::blobs::{BlobError, Blobs};

/// Blocks that are kept.
const BLOCKS: usize = BLOCK_CACHE_BYTES / BLOCK_BYTES;

/// Reads of one identity at a time: what its streams need and read ahead, where their chunks lie scattered.
const READS_PER_IDENTITY: usize = 8;

/// One of the pieces of [`BLOCK_BYTES`] that a pack is cut into; the last may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The pack.
    pub(super) pack: Arc<str>,
    /// Counted from 0.
    pub(super) number: u64,
}

/// A block that is read or being read, for all who want it.
type Read = Shared<Reading>;

/// What reads it.
type Reading = BoxFuture<'static, Result<Bytes, Arc<BlobError>>>;

/// A block in memory, or on its way there.
struct Kept {
    block: Block,
    /// When it began to be read.
    since: Timestamp,
    /// As long as anybody waits for it.
    read: Option<WeakShared<Reading>>,
    /// Once it is read.
    bytes: Arc<OnceLock<Bytes>>,
}

impl Kept {
    /// The block for whoever wants it now; none where nobody waits for it any more. What could not be read is tried again by
    /// whoever wants it next.
    fn read(&self) -> Option<Read> {
        if let Some(bytes) = self.bytes.get() {
            return Some(future::ready(Ok(bytes.clone())).boxed().shared());
        }
        self.read.as_ref()?.upgrade().filter(|read| !matches!(read.peek(), Some(Err(_))))
    }

    /// Whether somebody has it, or waits for it.
    fn is_wanted(&self) -> bool {
        let reading = || self.read.as_ref().and_then(WeakShared::upgrade);
        self.bytes.get().is_some() || reading().is_some_and(|read| !matches!(read.peek(), Some(Err(_))))
    }

    /// Whether it is not too old.
    fn serves(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        // A clock that was set back makes nothing last longer.
        !age.is_negative() && age < BLOCK_KEPT
    }
}

/// The reads that are under way, by who began them.
#[derive(Clone, Default)]
struct Reads(Arc<Mutex<HashMap<Principal, Weak<Semaphore>>>>);

impl Reads {
    /// The places for reads of this identity.
    fn of(&self, who: &Principal) -> Arc<Semaphore> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = known.get(who).and_then(Weak::upgrade) {
            return places;
        }
        known.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(READS_PER_IDENTITY));
        known.insert(who.clone(), Arc::downgrade(&places));
        places
    }
}

/// The blocks that were used last, the very last first.
#[derive(Clone)]
pub(super) struct Blocks {
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<VecDeque<Kept>>>,
    reads: Reads,
    /// Bytes of blocks in memory, whoever holds them.
    held: Arc<AtomicUsize>,
    /// More than that is too much.
    most: usize,
}

/// A block that a stream needs. It stays in memory until the stream has done with it.
pub(super) struct Wanted {
    block: Block,
    read: Read,
    blocks: Blocks,
}

/// A block's bytes, counted as long as anybody holds any of them.
struct Counted {
    bytes: Bytes,
    held: Arc<AtomicUsize>,
}

impl Counted {
    fn count(bytes: Bytes, held: &Arc<AtomicUsize>) -> Bytes {
        held.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Self { bytes, held: held.clone() })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl Blocks {
    pub(super) fn new(blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        let (kept, reads, held) = (Arc::default(), Reads::default(), Arc::default());
        Self { blobs, clock, kept, reads, held, most: BLOCK_HELD_BYTES }
    }

    /// Whether so much is in memory that streams hold no more than they must.
    pub(super) fn are_short(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.most
    }

    /// The block for that identity, which begins to be read now, unless it is there or somebody else wants it already, or this
    /// identity has others read.
    pub(super) fn want(&self, block: &Block, who: &Principal) -> Wanted {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waited for to its end takes no place of what is there.
        kept.retain(Kept::is_wanted);
        let known = kept.iter().position(|known| known.block == *block).and_then(|at| kept.remove(at));
        let known = known.filter(|known| known.serves(now)).and_then(|known| Some((known.read()?, known)));
        let (read, known) = known.unwrap_or_else(|| {
            let (held, bytes) = (self.held.clone(), Arc::new(OnceLock::new()));
            let there = bytes.clone();
            let read = self.read(block, who).map_ok(move |bytes| {
                let bytes = Counted::count(bytes, &held);
                there.get_or_init(|| bytes.clone());
                bytes
            });
            let read = read.map_err(Arc::new).boxed().shared();
            let known = Kept { block: block.clone(), since: now, read: read.downgrade(), bytes };
            (read, known)
        });
        kept.push_front(known);
        kept.truncate(BLOCKS);
        Wanted { block: block.clone(), read, blocks: self.clone() }
    }

    /// Reads it from the store, as one of the few reads of that identity.
    fn read(&self, block: &Block, who: &Principal) -> BoxFuture<'static, Result<Bytes, BlobError>> {
        let (name, offset) = (pack_name(&block.pack), block.number * BLOCK_BYTES as u64);
        let places = self.reads.of(who);
        if let Ok(place) = places.clone().try_acquire_owned() {
            return self.blobs.get_up_to(&name, offset, BLOCK_BYTES, place).boxed();
        }
        let blobs = self.blobs.clone();
        // By itself, so that a stream which stalls takes no place that it does not use.
        let read = AbortOnDropHandle::new(tokio::spawn(async move {
            let place = places.acquire_owned().await;
            blobs.get_up_to(&name, offset, BLOCK_BYTES, place).await
        }));
        let name = pack_name(&block.pack);
        let stopped = |e| BlobError::Io { doing: "read", name, source: std::io::Error::other(e) };
        read.map(|read| read.unwrap_or_else(|e| Err(stopped(e)))).boxed()
    }
}

impl Wanted {
    /// These of the block's bytes, once it is read. They keep the block in memory, unless too many are.
    pub(super) async fn bytes(self, within: &Range<usize>) -> Result<Bytes, Arc<BlobError>> {
        let block = self.read.await?;
        if within.end > block.len() {
            let start = self.block.number * BLOCK_BYTES as u64;
            let (length, end) = (start + block.len() as u64, start + within.end as u64);
            return Err(BlobError::Range { name: pack_name(&self.block.pack), length, end }.into());
        }
        let bytes = block.slice(within.clone());
        Ok(if self.blocks.are_short() { Bytes::copy_from_slice(&bytes) } else { bytes })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PACK: &str = "abc";

    /// A clock that stands until it is set.
    #[derive(Default)]
    pub(in crate::transfer) struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    /// A store with one pack of that length.
    async fn store(length: usize) -> (tempfile::TempDir, Blobs, Blocks) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), Timestamp::UNIX_EPOCH).await.unwrap();
        let bytes: Vec<u8> = (0..length).map(|i| (i / 1_000) as u8).collect();
        blobs.put(&pack_name(PACK), bytes.into()).await.unwrap();
        (dir, blobs.clone(), Blocks::new(blobs, Arc::new(Hand::default())))
    }

    fn block(number: u64) -> Block {
        Block { pack: PACK.into(), number }
    }

    fn want(blocks: &Blocks, number: u64) -> Wanted {
        blocks.want(&block(number), &Principal::Server)
    }

    #[tokio::test]
    async fn however_many_want_a_block_it_is_read_once() {
        let (_dir, blobs, blocks) = store(BLOCK_BYTES + 10).await;
        let all: Vec<_> = (0..1_000).map(|_| want(&blocks, 0)).collect();
        let all = future::try_join_all(all.into_iter().map(|w| async move { w.bytes(&(0..BLOCK_BYTES)).await }));
        let all = all.await.unwrap();
        assert!(all.iter().all(|bytes| bytes.as_ptr() == all[0].as_ptr()), "one read, held by all");
        // Nobody needs the store for it any more.
        blobs.delete(&pack_name(PACK)).await.unwrap();
        assert_eq!(want(&blocks, 0).bytes(&(5..7)).await.unwrap(), all[0].slice(5..7));
        assert!(want(&blocks, 1).bytes(&(0..1)).await.is_err());
    }

    #[tokio::test]
    async fn beyond_the_bound_a_stream_holds_what_it_sends_and_no_block() {
        let (_dir, _, blocks) = store(4 * BLOCK_BYTES).await;
        let blocks = Blocks { most: 3 * BLOCK_BYTES, ..blocks };
        let read = async |number| want(&blocks, number).bytes(&(0..10)).await.unwrap();
        let few = [read(0).await, read(1).await, read(2).await];
        assert_eq!(read(0).await.as_ptr(), few[0].as_ptr());
        let more = [read(3).await, read(0).await];
        assert!(blocks.are_short() && more[1] == few[0] && more[1].as_ptr() != few[0].as_ptr());
        // What was copied holds no block; what was not does, though nobody may want it any more.
        blocks.kept.lock().unwrap().clear();
        assert_eq!(blocks.held.load(Ordering::Relaxed), 3 * BLOCK_BYTES);
        drop(few);
        assert!(blocks.held.load(Ordering::Relaxed) == 0 && more[0].len() == 10);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_tried_again() {
        let (_dir, blobs, blocks) = store(10).await;
        let bytes = blobs.get_range(&pack_name(PACK), 0, 10).await.unwrap();
        blobs.delete(&pack_name(PACK)).await.unwrap();
        let error = want(&blocks, 0).bytes(&(0..10)).await.unwrap_err();
        assert!(matches!(&*error, BlobError::NotFound(_)), "{error}");
        blobs.put(&pack_name(PACK), bytes.clone()).await.unwrap();
        assert_eq!(want(&blocks, 0).bytes(&(0..10)).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn what_was_mended_on_disk_is_read_again_once_it_is_old() {
        let (_dir, blobs, _) = store(10).await;
        let hand = Arc::new(Hand::default());
        let blocks = Blocks::new(blobs.clone(), hand.clone());
        let wanted = async || want(&blocks, 0).bytes(&(0..10)).await.unwrap();
        let before = wanted().await;
        blobs.delete(&pack_name(PACK)).await.unwrap();
        blobs.put(&pack_name(PACK), vec![7; 10].into()).await.unwrap();
        let at = |seconds: i64| *hand.0.lock().unwrap() = Timestamp::from_second(seconds).unwrap();
        let kept = BLOCK_KEPT.as_secs();
        at(kept - 1);
        assert_eq!(wanted().await, before);
        at(kept);
        assert_eq!(wanted().await, vec![7; 10]);
        // And a clock that was set back keeps nothing for longer.
        blobs.delete(&pack_name(PACK)).await.unwrap();
        at(kept - 1);
        assert!(want(&blocks, 0).bytes(&(0..10)).await.is_err());
    }

    #[tokio::test]
    async fn a_pack_that_is_cut_short_is_named() {
        let (_dir, _, blocks) = store(BLOCK_BYTES + 10).await;
        assert_eq!(want(&blocks, 1).bytes(&(0..10)).await.unwrap().len(), 10);
        let error = want(&blocks, 1).bytes(&(0..11)).await.unwrap_err();
        let (there, needed) = (BLOCK_BYTES as u64 + 10, BLOCK_BYTES as u64 + 11);
        let named = matches!(&*error, BlobError::Range { length, end, .. } if (*length, *end) == (there, needed));
        assert!(named, "{error}");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let (_dir, blobs, blocks) = store(BLOCK_BYTES).await;
        let first = want(&blocks, 0).bytes(&(0..1)).await.unwrap();
        for number in 1..3 * BLOCKS as u64 {
            want(&blocks, number).bytes(&(0..0)).await.unwrap();
            drop(want(&blocks, 0));
            assert!(blocks.kept.lock().unwrap().len() <= BLOCKS);
        }
        blobs.delete(&pack_name(PACK)).await.unwrap();
        assert_eq!(want(&blocks, 0).bytes(&(0..1)).await.unwrap().as_ptr(), first.as_ptr());
        let others = |from: usize| (from * BLOCKS..(from + 1) * BLOCKS).map(|number| number as u64);
        others(4).for_each(|number| drop(want(&blocks, number)));
        assert_eq!(want(&blocks, 0).bytes(&(0..1)).await.unwrap().as_ptr(), first.as_ptr(), "nobody waited for those");
        blobs.put(&pack_name(PACK), vec![9; 10].into()).await.unwrap();
        for number in others(5) {
            want(&blocks, number).bytes(&(0..0)).await.unwrap();
        }
        assert_eq!(want(&blocks, 0).bytes(&(0..1)).await.unwrap(), vec![9], "the one that was used least has gone");
    }

    /// Attack: calls that are broken off as soon as they have an answer, each for other blocks, while the disk is busy.
    #[test]
    fn what_nobody_waits_for_is_not_read_and_of_one_identity_few_reads_are_under_way() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (_dir, blobs, blocks) = store(10).await;
            let device = |n: u32| Principal::Device("riverside".parse().unwrap(), format!("pump-{n}").parse().unwrap());
            let (free, busy) = std::sync::mpsc::channel::<()>();
            let disk = tokio::task::spawn_blocking(move || busy.recv());
            for number in 0..1_000 {
                drop(blocks.want(&block(number), &device(1)));
                tokio::task::yield_now().await;
            }
            assert!(blocks.reads.of(&device(1)).available_permits() <= READS_PER_IDENTITY);
            // And one that waits for all that it asks for keeps nobody else from the disk.
            let many: Vec<_> = (1_000..1_100).map(|number| blocks.want(&block(number), &device(1))).collect();
            let other = blocks.want(&block(0), &device(2));
            tokio::task::yield_now().await;
            free.send(()).unwrap();
            disk.await.unwrap().unwrap();
            other.bytes(&(0..10)).await.unwrap();
            assert!(blobs.reads() <= 2 * READS_PER_IDENTITY + 1, "{} reads", blobs.reads());
            for wanted in many {
                wanted.bytes(&(0..0)).await.unwrap();
            }
            assert_eq!(blobs.reads(), 101, "each that somebody waited for, once");
        });
    }
}
