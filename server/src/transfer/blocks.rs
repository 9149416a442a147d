//! What packs hold, in blocks that all streams share: a thousand devices that fetch one bundle cost one read of the store.
//!
//! Attack: streams that stall, each on a block of its own. What is kept here is bounded by [`BLOCK_CACHE_BYTES`]; what a
//! stream holds besides is bounded by how far it reads ahead (see [`super::fetch`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, Shared, TryFutureExt as _};
use suture_core::limits::{BLOCK_BYTES, BLOCK_CACHE_BYTES};

use super::pack_name;
use crate::blobs::{BlobError, Blobs};

/// Blocks that are kept.
const BLOCKS: usize = BLOCK_CACHE_BYTES / BLOCK_BYTES;

/// One of the pieces of [`BLOCK_BYTES`] that a pack is cut into; the last may be shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The pack.
    pub(super) pack: Arc<str>,
    /// Counted from 0.
    pub(super) number: u64,
}

/// A block that is read or being read, for all who want it.
type Read = Shared<BoxFuture<'static, Result<Bytes, Arc<BlobError>>>>;

/// The blocks that were used last, the very last first.
#[derive(Clone)]
pub(super) struct Blocks {
    blobs: Blobs,
    kept: Arc<Mutex<VecDeque<(Block, Read)>>>,
}

/// A block that a stream needs. It stays in memory until the stream has done with it.
pub(super) struct Wanted {
    block: Block,
    read: Read,
}

impl Blocks {
    pub(super) fn new(blobs: Blobs) -> Self {
        Self { blobs, kept: Arc::default() }
    }

    /// The block, which begins to be read now, unless it is there or somebody else wants it already.
    pub(super) fn want(&self, block: &Block) -> Wanted {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|(known, _)| known == block).and_then(|at| kept.remove(at));
        // What could not be read is tried again by whoever wants it next.
        let (_, read) = known.filter(|(_, read)| !matches!(read.peek(), Some(Err(_)))).unwrap_or_else(|| {
            let offset = block.number * BLOCK_BYTES as u64;
            let read = self.blobs.get_up_to(&pack_name(&block.pack), offset, BLOCK_BYTES);
            (block.clone(), read.map_err(Arc::new).boxed().shared())
        });
        kept.push_front((block.clone(), read.clone()));
        kept.truncate(BLOCKS);
        Wanted { block: block.clone(), read }
    }
}

impl Wanted {
    /// These of the block's bytes, once it is read. They keep the block in memory.
    pub(super) async fn bytes(self, within: &Range<usize>) -> Result<Bytes, Arc<BlobError>> {
        let block = self.read.await?;
        if within.end > block.len() {
            let start = self.block.number * BLOCK_BYTES as u64;
            let (length, end) = (start + block.len() as u64, start + within.end as u64);
            return Err(BlobError::Range { name: pack_name(&self.block.pack), length, end }.into());
        }
        Ok(block.slice(within.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = "abc";

    /// A store with one pack of that length.
    async fn store(length: usize) -> (tempfile::TempDir, Blobs, Blocks) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).await.unwrap();
        let bytes: Vec<u8> = (0..length).map(|i| (i / 1_000) as u8).collect();
        blobs.put(&pack_name(PACK), bytes.into()).await.unwrap();
        (dir, blobs.clone(), Blocks::new(blobs))
    }

    fn block(number: u64) -> Block {
        Block { pack: PACK.into(), number }
    }

    #[tokio::test]
    async fn however_many_want_a_block_it_is_read_once() {
        let (_dir, blobs, blocks) = store(BLOCK_BYTES + 10).await;
        let all: Vec<_> = (0..1_000).map(|_| blocks.want(&block(0))).collect();
        let all =
            futures::future::try_join_all(all.into_iter().map(|w| async move { w.bytes(&(0..BLOCK_BYTES)).await }));
        let all = all.await.unwrap();
        assert!(all.iter().all(|bytes| bytes.as_ptr() == all[0].as_ptr()), "one read, held by all");
        // Nobody needs the store for it any more.
        blobs.delete(&pack_name(PACK)).await.unwrap();
        assert_eq!(blocks.want(&block(0)).bytes(&(5..7)).await.unwrap(), all[0].slice(5..7));
        assert!(blocks.want(&block(1)).bytes(&(0..1)).await.is_err());
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_tried_again() {
        let (_dir, blobs, blocks) = store(10).await;
        let bytes = blobs.get_range(&pack_name(PACK), 0, 10).await.unwrap();
        blobs.delete(&pack_name(PACK)).await.unwrap();
        let error = blocks.want(&block(0)).bytes(&(0..10)).await.unwrap_err();
        assert!(matches!(&*error, BlobError::NotFound(_)), "{error}");
        blobs.put(&pack_name(PACK), bytes.clone()).await.unwrap();
        assert_eq!(blocks.want(&block(0)).bytes(&(0..10)).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_pack_that_is_cut_short_is_named() {
        let (_dir, _, blocks) = store(BLOCK_BYTES + 10).await;
        assert_eq!(blocks.want(&block(1)).bytes(&(0..10)).await.unwrap().len(), 10);
        let error = blocks.want(&block(1)).bytes(&(0..11)).await.unwrap_err();
        let (there, needed) = (BLOCK_BYTES as u64 + 10, BLOCK_BYTES as u64 + 11);
        let named = matches!(&*error, BlobError::Range { length, end, .. } if (*length, *end) == (there, needed));
        assert!(named, "{error}");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let (_dir, blobs, blocks) = store(BLOCK_BYTES).await;
        let first = blocks.want(&block(0)).bytes(&(0..1)).await.unwrap();
        for number in 1..3 * BLOCKS as u64 {
            drop(blocks.want(&block(number)));
            drop(blocks.want(&block(0)));
            assert!(blocks.kept.lock().unwrap().len() <= BLOCKS);
        }
        blobs.delete(&pack_name(PACK)).await.unwrap();
        assert_eq!(blocks.want(&block(0)).bytes(&(0..1)).await.unwrap().as_ptr(), first.as_ptr());
        for number in 1..=BLOCKS as u64 {
            drop(blocks.want(&block(number)));
        }
        assert!(blocks.want(&block(0)).bytes(&(0..1)).await.is_err(), "the one that was used least has gone");
    }
}
