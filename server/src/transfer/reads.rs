//! How wanted chunks become frames of a stream, and where the bytes of a frame lie. Pure.

use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use suture_core::limits::{BLOCK_BYTES, FRAME_BYTES};

use super::blocks::Block;
use crate::store::chunks::Place;

/// Blocks that a frame's bytes may lie in. What lies together crosses from one to the next at most.
///
/// Attack: thousands of chunks of a few bytes, each in another block, all of which a single frame would keep in memory.
const MAX_BLOCKS: usize = 2;
/// Pieces of these: each is sent by itself.
const MAX_EXTENTS: usize = 16;

/// Consecutive bytes of one block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The block.
    pub(super) block: Block,
    /// Where in it.
    pub(super) within: Range<usize>,
}

/// A frame that is to be read.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// Ordinal and stored length of each chunk, one behind another.
    pub(super) chunks: Vec<(u32, u32)>,
    /// Their bytes: an extent for each block that they lie in, where they lie one behind another.
    pub(super) extents: Vec<Extent>,
    bytes: usize,
    blocks: usize,
}

/// Frames of about [`FRAME_BYTES`] of whole chunks, planned one at a time: an index may hold a million.
pub(super) struct Frames<I: Iterator<Item = u32>> {
    places: Arc<Vec<Place>>,
    wanted: Peekable<I>,
    /// What is not sent of the first chunk.
    held: u32,
}

impl<I: Iterator<Item = u32>> Frames<I> {
    /// Frames of the chunks with these ordinals.
    pub(super) fn new(places: Arc<Vec<Place>>, wanted: I) -> Self {
        Self { places, wanted: wanted.peekable(), held: 0 }
    }

    /// The same without the first bytes of the first chunk, which has more.
    pub(super) fn without(self, held: u32) -> Self {
        Self { held, ..self }
    }

    /// Where the bytes of the chunk that is due next lie.
    fn due(&mut self) -> Option<(u32, Place)> {
        let ordinal = *self.wanted.peek()?;
        let mut place = self.places.get(ordinal as usize)?.clone();
        place.offset += u64::from(self.held);
        place.stored_length = place.stored_length.saturating_sub(self.held);
        Some((ordinal, place))
    }
}

impl<I: Iterator<Item = u32>> Iterator for Frames<I> {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let mut frame = Planned::default();
        while let Some((ordinal, place)) = self.due()
            && frame.has_room_for(&place)
        {
            frame.add(ordinal, &place);
            self.wanted.next();
            self.held = 0;
        }
        (!frame.chunks.is_empty()).then_some(frame)
    }
}

impl Planned {
    fn has_room_for(&self, place: &Place) -> bool {
        let last = self.extents.last();
        let more = extents(place).filter(|e| last.is_none_or(|last| last.block != e.block)).count();
        self.chunks.is_empty()
            || self.bytes + place.stored_length as usize <= FRAME_BYTES
                && self.extents.len() < MAX_EXTENTS
                && self.blocks + more <= MAX_BLOCKS
    }

    fn add(&mut self, ordinal: u32, place: &Place) {
        self.chunks.push((ordinal, place.stored_length));
        self.bytes += place.stored_length as usize;
        for extent in extents(place) {
            match self.extents.last_mut() {
                Some(last) if last.block == extent.block && last.within.end == extent.within.start => {
                    last.within.end = extent.within.end;
                    continue;
                }
                Some(last) if last.block == extent.block => {}
                _ => self.blocks += 1,
            }
            self.extents.push(extent);
        }
    }
}

/// Where a chunk's bytes lie.
fn extents(place: &Place) -> impl Iterator<Item = Extent> {
    let (start, end) = (place.offset, place.offset + u64::from(place.stored_length));
    (start / BLOCK_BYTES as u64..end.div_ceil(BLOCK_BYTES as u64)).map(move |number| {
        let block = number * BLOCK_BYTES as u64;
        let within = (start.max(block) - block) as usize..(end.min(block + BLOCK_BYTES as u64) - block) as usize;
        Extent { block: Block { pack: place.pack.clone(), number }, within }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where bytes lie: a pack, their start and their end.
    type Run = (Arc<str>, u64, u64);

    /// Runs that lie one behind another as one.
    fn joined(runs: impl Iterator<Item = Run>) -> Vec<Run> {
        let mut joined: Vec<Run> = Vec::new();
        for run in runs {
            match joined.last_mut() {
                Some(last) if last.0 == run.0 && last.2 == run.1 => last.2 = run.2,
                _ => joined.push(run),
            }
        }
        joined
    }

    proptest! {
        #[test]
        fn every_byte_of_every_chunk_is_planned_once_in_order_and_within_bounds(
            lie in prop::collection::vec((0..3_usize, 0..4_u64, 1..300_000_u32), 1..200),
            held in any::<prop::sample::Index>(),
        ) {
            // Three packs, with a gap before every fourth chunk or so.
            let mut ends = [0_u64; 3];
            let places: Vec<Place> = lie
                .iter()
                .map(|&(pack, gap, stored_length)| {
                    let offset = ends[pack] + u64::from(gap == 0);
                    ends[pack] = offset + u64::from(stored_length);
                    Place { pack: pack.to_string().into(), offset, stored_length, raw_length: stored_length }
                })
                .collect();
            // Of the first chunk the caller has some already.
            let held = held.index(places[0].stored_length as usize) as u32;
            let frames = Frames::new(Arc::new(places.clone()), 0..places.len() as u32).without(held);
            let held = |ordinal| if ordinal == 0 { held } else { 0 };
            let mut seen = Vec::new();
            for frame in frames {
                let bytes: u64 = frame.chunks.iter().map(|c| u64::from(c.1)).sum();
                prop_assert!(bytes <= FRAME_BYTES as u64 || frame.chunks.len() == 1);
                let mut blocks: Vec<_> = frame.extents.iter().map(|e| &e.block).collect();
                blocks.dedup();
                prop_assert!(blocks.len() <= MAX_BLOCKS && frame.extents.len() <= MAX_EXTENTS + 1);
                let planned = joined(frame.extents.iter().map(|Extent { block, within }| {
                    let start = block.number * BLOCK_BYTES as u64;
                    (block.pack.clone(), start + within.start as u64, start + within.end as u64)
                }));
                let wanted = joined(frame.chunks.iter().map(|(ordinal, stored)| {
                    let place = &places[*ordinal as usize];
                    assert_eq!(held(*ordinal) + stored, place.stored_length);
                    let start = place.offset + u64::from(held(*ordinal));
                    (place.pack.clone(), start, start + u64::from(*stored))
                }));
                prop_assert_eq!(planned, wanted);
                // An extent ends where its block does or where its bytes do: what lies together is sent together.
                for pair in frame.extents.windows(2) {
                    prop_assert!(pair[0].block != pair[1].block || pair[0].within.end < pair[1].within.start);
                }
                prop_assert!(frame.extents.iter().all(|e| !e.within.is_empty() && e.within.end <= BLOCK_BYTES));
                seen.extend(frame.chunks.iter().map(|c| c.0));
            }
            prop_assert_eq!(seen, (0..places.len() as u32).collect::<Vec<_>>());
        }
    }
}
