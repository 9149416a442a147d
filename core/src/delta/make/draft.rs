//! A region that is about to be encoded.

use std::ops::Range;

use super::unit::Run;
use crate::delta::binary::Binary;
use crate::delta::head::{Frame, Region};
use crate::delta::map::{self, Copy, Map};
use crate::delta::{DeltaError, Source, frame};
use crate::limits::{
    MAX_DELTA_COPIES, MAX_DELTA_FRAME_BYTES, MAX_DELTA_OUTPUT_BYTES, MAX_DELTA_PROGRAM_MEMORY, MAX_DELTA_REGION_BYTES,
};

/// A region with its copies; what of it one frame makes is decided while it is encoded.
#[derive(Debug)]
pub struct Draft {
    start: u64,
    /// Where in the new payload a frame may end.
    ends: Vec<u64>,
    copies: Vec<Copy>,
    binaries: Vec<Binary>,
}

/// A region, encoded.
#[derive(Debug)]
pub struct Encoded {
    /// What the head says of it.
    pub region: Region,
    /// Its map.
    pub map: Vec<u8>,
    /// Its frames.
    pub frames: Vec<Vec<u8>>,
}

/// Cuts the new payload into regions: as few as their bounds allow.
pub fn drafts(runs: Vec<Run>, binaries: Vec<Binary>, ends: &[u64]) -> Vec<Draft> {
    let runs = join(runs);
    let within = |start: u64, end: u64| {
        let first = runs.partition_point(|run| run.new + run.length <= start);
        let last = runs.partition_point(|run| run.new < end);
        runs.get(first..last).unwrap_or_default()
    };
    let programs = |start: u64, end: u64| {
        let first = binaries.partition_point(|b| b.new + i64::from(b.new_length) <= start as i64);
        let last = binaries.partition_point(|b| b.new < end as i64);
        binaries.get(first..last).unwrap_or_default()
    };
    let memory = |start, end| programs(start, end).iter().map(Binary::memory).sum::<u64>();
    let mut drafts = Vec::new();
    let mut rest = ends;
    let mut start = 0;
    while !rest.is_empty() {
        let fits = |end: &&u64| {
            **end - start <= u64::from(MAX_DELTA_REGION_BYTES)
                && within(start, **end).len() <= MAX_DELTA_COPIES
                && memory(start, **end) <= MAX_DELTA_PROGRAM_MEMORY
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (taken, left) = rest.split_at(count);
        let end = taken.last().copied().unwrap_or(start);
        // A single chunk never has that many copies; if it had, the rest of it would be fresh.
        let copies = within(start, end).iter().take(MAX_DELTA_COPIES).map(|run| {
            let from = run.new.max(start);
            let to = (run.new + run.length).min(end);
            Copy { new: (from - start) as u32, length: (to - from) as u32, old: run.old + (from - run.new) }
        });
        // Of a program that does not fit any more nothing is guessed.
        let mut memory = 0;
        let fits = |binary: &&Binary| {
            memory += binary.memory();
            memory <= MAX_DELTA_PROGRAM_MEMORY
        };
        let inside = programs(start, end).iter().take_while(fits);
        let inside = inside.map(|binary| Binary { new: binary.new - start as i64, ..binary.clone() }).collect();
        drafts.push(Draft { start, ends: taken.to_vec(), copies: copies.collect(), binaries: inside });
        start = end;
        rest = left;
    }
    drafts
}

/// Puts copies in order and joins those that go on into one another.
fn join(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable_by_key(|run| run.new);
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if last.new + last.length == run.new && last.old + last.length == run.old => {
                last.length += run.length
            }
            _ => joined.push(run),
        }
    }
    joined
}

impl Draft {
    /// Encodes it.
    pub fn encode<O: Source, N: Source>(&self, old: &O, new: &N) -> Result<Encoded, DeltaError> {
        let length = self.ends.last().map_or(0, |end| end - self.start) as u32;
        let map = map::encode(&self.copies, &self.binaries)?;
        // As a device reads it, so that both come to the same, and what cannot be read is found here.
        let decoded = Map::decode(&map, length, old.length())?;
        let mut encoded =
            Encoded { region: Region { map_bytes: map.len() as u32, frames: Vec::new() }, map, frames: Vec::new() };
        let mut rest = self.ends.as_slice();
        let mut start = self.start;
        while !rest.is_empty() {
            let fits = |end: &&u64| **end - start <= u64::from(MAX_DELTA_OUTPUT_BYTES);
            let mut count = rest.iter().take_while(fits).count().max(1);
            loop {
                let end = rest.get(count - 1).copied().unwrap_or(start);
                let bytes = self.frame(&decoded, start..end, old, new)?;
                // A chunk by itself never takes that much.
                if bytes.len() > MAX_DELTA_FRAME_BYTES && count > 1 {
                    count = count.div_ceil(2);
                    continue;
                }
                encoded.region.frames.push(Frame { length: (end - start) as u32, bytes: bytes.len() as u32 });
                encoded.frames.push(bytes);
                start = end;
                break;
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(encoded)
    }

    fn frame<O: Source, N: Source>(&self, map: &Map, run: Range<u64>, old: &O, new: &N) -> Result<Vec<u8>, DeltaError> {
        let mut truth = vec![0; (run.end - run.start) as usize];
        new.read_at(run.start, &mut truth).map_err(|source| DeltaError::Read { which: "new", source })?;
        frame::encode(&truth, map, (run.start - self.start) as u32..(run.end - self.start) as u32, old)
    }
}
