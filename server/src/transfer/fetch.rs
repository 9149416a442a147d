//! A fetch: wanted ranges of an index as a stream of frames.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use suture_core::principal::Principal;

use super::blocks::{Blocks, Wanted};
use super::reads::{Frames, Planned};
use super::{Transfer, TransferError};
use crate::blobs::BlobError;

/// Frames whose blocks are read before the network asks for them: a block or so of what lies together.
const AHEAD: usize = 4;
/// Blocks that these may be in. With what HTTP/2 holds of the frames before them, a stream that stalls holds three blocks of
/// what lies together, eight of what lies scattered.
const AHEAD_BLOCKS: usize = 2;

/// A run of chunks in an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// The first, counted from 0.
    pub(crate) first: u32,
    /// How many.
    pub(crate) count: u32,
}

/// Whole chunks in stored form, one behind another.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Ordinal and stored length of each.
    pub(crate) chunks: Vec<(u32, u32)>,
    /// Their bytes, cut where the blocks end that they lie in. Not copied: all who fetch the same hold the same.
    pub(crate) data: Vec<Bytes>,
}

/// A stream's next frames.
struct Reading<I: Iterator<Item = u32>> {
    frames: Frames<I>,
    blocks: Blocks,
    /// For whom.
    who: Principal,
    ahead: VecDeque<(Planned, Vec<Wanted>)>,
}

impl Transfer {
    /// Streams the wanted chunks in order, the first without the `held` bytes that the caller has of it. Nothing is read for a
    /// stream that is not asked for more.
    pub(crate) async fn fetch(
        &self,
        who: Principal,
        index_sha256: &Digest,
        ranges: Vec<Range>,
        held: u32,
    ) -> Result<impl Stream<Item = Result<Frame, Arc<BlobError>>> + Send + 'static + use<>, TransferError> {
        let places = self.places_of(index_sha256).await?;
        check(&ranges, places.len())?;
        let first = ranges.first().and_then(|range| places.get(range.first as usize));
        if let Some(length) = first.map(|place| place.stored_length).filter(|length| held >= *length && held > 0) {
            let text = format!("of the first chunk {held} bytes are held, and it has {length}: ask for all of it");
            return Err(TransferError::Invalid(text));
        }
        let wanted = ranges.into_iter().flat_map(|r| r.first..r.first.saturating_add(r.count));
        let frames = Frames::new(places, wanted).without(held);
        let reading = Reading { frames, blocks: self.blocks.clone(), who, ahead: VecDeque::new() };
        let frames =
            stream::try_unfold(reading, async |mut reading| Ok(reading.next().await?.map(|frame| (frame, reading))));
        // Another server may have been sent anew what was gone, into another pack.
        let (located, index) = (self.located.clone(), *index_sha256);
        Ok(frames.inspect_err(move |error: &Arc<BlobError>| {
            if matches!(**error, BlobError::NotFound(_) | BlobError::Range { .. }) {
                located.forget(&index);
            }
        }))
    }
}

impl<I: Iterator<Item = u32>> Reading<I> {
    async fn next(&mut self) -> Result<Option<Frame>, Arc<BlobError>> {
        while self.reads_on()
            && let Some(planned) = self.frames.next()
        {
            let wanted = planned.extents.iter().map(|extent| self.blocks.want(&extent.block, &self.who)).collect();
            self.ahead.push_back((planned, wanted));
        }
        let Some((planned, wanted)) = self.ahead.pop_front() else { return Ok(None) };
        let mut data = Vec::with_capacity(wanted.len());
        for (extent, wanted) in planned.extents.iter().zip(wanted) {
            data.push(wanted.bytes(&extent.within).await?);
        }
        Ok(Some(Frame { chunks: planned.chunks, data }))
    }

    /// Whether another frame may be read besides the one that is due and those ahead of it.
    fn reads_on(&self) -> bool {
        let mut blocks: Vec<_> = self.ahead.iter().flat_map(|(frame, _)| &frame.extents).map(|e| &e.block).collect();
        blocks.dedup();
        let is_free = !self.blocks.are_short() && self.ahead.len() <= AHEAD && blocks.len() <= AHEAD_BLOCKS;
        self.ahead.is_empty() || is_free
    }
}

fn check(ranges: &[Range], chunks: usize) -> Result<(), TransferError> {
    let mut end = 0u64;
    for r in ranges {
        let (first, after) = (u64::from(r.first), u64::from(r.first) + u64::from(r.count));
        if r.count == 0 || first < end || after > chunks as u64 {
            let text = format!("ranges must be ascending, disjoint, not empty and within the index's {chunks} chunks");
            return Err(TransferError::Invalid(text));
        }
        end = after;
    }
    // Attack: a list of a million chunks, each of which is a read to be planned, on many streams at once.
    let wanted: u64 = ranges.iter().map(|r| u64::from(r.count)).sum();
    if wanted > MAX_CHUNKS_PER_CALL as u64 {
        return Err(TransferError::Invalid(format!("{wanted} chunks are more than {MAX_CHUNKS_PER_CALL} in one call")));
    }
    if ranges.is_empty() {
        return Err(TransferError::Invalid("no range is asked for".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::blocks::tests::Hand;
    use super::*;
    use crate::blobs::Blobs;
    use crate::store::chunks::Place;
    use suture_core::limits::BLOCK_BYTES;

    #[tokio::test]
    async fn a_stream_holds_few_blocks_however_its_chunks_lie() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        let bytes: Bytes = (0..20 * BLOCK_BYTES).map(|at| (at / 10_000) as u8).collect::<Vec<_>>().into();
        blobs.put("packs/abc", bytes.clone()).await.unwrap();
        for (apart, length) in [(BLOCK_BYTES as u64, 10), (BLOCK_BYTES as u64 - 5, 10), (60_000, 60_000), (7_000, 100)]
        {
            let place =
                |i: u64| Place { pack: "abc".into(), offset: i * apart, stored_length: length, raw_length: length };
            let places: Vec<_> = (0..bytes.len() as u64 / apart - 1).map(place).collect();
            let frames = Frames::new(places.clone().into(), 0..u32::try_from(places.len()).unwrap());
            let mut reading = Reading {
                frames,
                blocks: Blocks::new(blobs.clone(), Arc::new(Hand::default())),
                who: Principal::Server,
                ahead: VecDeque::new(),
            };
            let mut came = Vec::new();
            while let Some(frame) = reading.next().await.unwrap() {
                let mut held: Vec<_> =
                    reading.ahead.iter().flat_map(|a| &a.0.extents).map(|e| e.block.number).collect();
                held.dedup();
                assert!(held.len() <= AHEAD_BLOCKS + 2, "{held:?} for chunks {apart} apart");
                came.extend(frame.data.concat());
            }
            let wanted = places.iter().map(|p| bytes.slice(p.offset as usize..p.offset as usize + length as usize));
            assert_eq!(came, wanted.collect::<Vec<_>>().concat(), "chunks {apart} apart");
        }
    }

    #[test]
    fn ranges_that_overlap_run_out_or_wrap_are_refused() {
        let r = |first, count| Range { first, count };
        assert!(check(&[r(0, 2), r(2, 3)], 5).is_ok());
        for bad in [
            vec![],
            vec![r(0, 0)],
            vec![r(0, 6)],
            vec![r(0, 2), r(1, 1)],
            vec![r(2, 1), r(0, 1)],
            vec![r(u32::MAX, u32::MAX)],
        ] {
            assert!(check(&bad, 5).is_err(), "{bad:?}");
        }
        let most = u32::try_from(MAX_CHUNKS_PER_CALL).unwrap();
        assert!(check(&[r(0, 1), r(2, most - 1)], usize::MAX).is_ok());
        assert!(check(&[r(0, 1), r(2, most)], usize::MAX).is_err());
    }
}
