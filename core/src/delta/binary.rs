//! A file whose copies are not only moved: it is a program, and what it says of its own places has moved with them.
//!
//! The region's map says where such a file stands in both payloads, and how far its segments have moved in memory beyond
//! what they moved in the file. All else comes from the copies themselves: they say where each place of the old file went.

use super::DeltaError;
use super::coder::Coder;
use super::elf::MAX_SEGMENTS;
use super::map::{Copy, check};
use super::model::{Number, Signed};
use crate::limits::{MAX_DELTA_PROGRAM_MEMORY, MAX_DELTA_REGION_BYTES};

/// How many times longer the old file may be.
pub(crate) const MAX_RATIO: i64 = 4;

/// A program in both payloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binary {
    /// Where the old file begins in the old payload.
    pub old: u64,
    /// How long it is.
    pub old_length: u32,
    /// Where the new file begins in the region; below zero if it begins before.
    pub new: i64,
    /// How long it is.
    pub new_length: u32,
    /// For each of the old file's segments how much further it moved in memory than in the file.
    pub moved: Vec<i64>,
    /// The same for what of it is not in the file.
    pub zeros_moved: Vec<i64>,
}

/// What a program takes of a device's memory in a map, in bytes: itself, …
const PROGRAM_MEMORY: u64 = 192;
/// … each of its segments, twice a number, …
const SEGMENT_MEMORY: u64 = 16;
/// … and each page of the old file, one place in the steps.
const PAGE_MEMORY: u64 = 4;

/// What a program of these lengths takes of [`MAX_DELTA_PROGRAM_MEMORY`]: alike on every machine, for publisher and device
/// have to agree on it.
pub(crate) fn memory(old_length: u64, segments: u64) -> u64 {
    let pages = old_length >> PAGE_BITS;
    PROGRAM_MEMORY
        .saturating_add(segments.saturating_mul(SEGMENT_MEMORY))
        .saturating_add(pages.saturating_mul(PAGE_MEMORY))
}

impl Binary {
    /// What it takes of [`MAX_DELTA_PROGRAM_MEMORY`].
    pub(crate) fn memory(&self) -> u64 {
        memory(self.old_length.into(), self.moved.len() as u64)
    }
}

/// Codes the programs of a region of `length` bytes.
pub(crate) fn code<C: Coder>(
    coder: &mut C,
    given: &[Binary],
    length: u32,
    old_length: u64,
) -> Result<Vec<Binary>, DeltaError> {
    let mut counts = Number::new(2);
    let mut places = Signed::new(4);
    let mut moves = Signed::new(2);
    let near = i64::from(MAX_DELTA_REGION_BYTES);
    let count = counts.code(coder, 0, given.len() as u64);
    check::<C>(count.saturating_mul(PROGRAM_MEMORY) <= MAX_DELTA_PROGRAM_MEMORY, "too many programs")?;
    let mut given = given.iter();
    let mut binaries = Vec::with_capacity(count as usize);
    let mut taken = 0_u64;
    let (mut old_end, mut new_end) = (0_i64, -near);
    for _ in 0..count {
        let binary = given.next().cloned().unwrap_or_default();
        let old = old_end.wrapping_add(places.code(coder, 0, (binary.old as i64).wrapping_sub(old_end)));
        let old_bytes = places.code(coder, 1, i64::from(binary.old_length));
        let new = new_end.wrapping_add(places.code(coder, 2, binary.new.wrapping_sub(new_end)));
        let new_bytes =
            old_bytes.wrapping_add(places.code(coder, 3, i64::from(binary.new_length).wrapping_sub(old_bytes)));
        // A file may begin before the region or end behind it, but not all of it.
        check::<C>((1..2 * near).contains(&new_bytes), "a program is empty or too long")?;
        check::<C>(new >= new_end && new < i64::from(length), "a program is not in the region, or over another one")?;
        check::<C>(old >= 0 && (0..2 * near).contains(&old_bytes), "a program reaches outside the old payload")?;
        check::<C>(old.saturating_add(old_bytes) as u64 <= old_length, "a program reaches outside the old payload")?;
        // So that what is read of the headers is bounded by what is made of the file.
        check::<C>(old_bytes <= MAX_RATIO * new_bytes, "a program is much shorter than it was")?;

        let segments = counts.code(coder, 1, binary.moved.len() as u64);
        check::<C>(segments <= MAX_SEGMENTS as u64, "a program has too many segments")?;
        taken = taken.saturating_add(memory(old_bytes as u64, segments));
        check::<C>(taken <= MAX_DELTA_PROGRAM_MEMORY, "its programs take too much memory")?;
        let mut moved = Vec::with_capacity(segments as usize);
        let mut zeros_moved = Vec::with_capacity(segments as usize);
        let mut last = 0_i64;
        for segment in 0..segments as usize {
            let given = binary.moved.get(segment).copied().unwrap_or(0);
            last = last.wrapping_add(moves.code(coder, 0, given.wrapping_sub(last)));
            moved.push(last);
            let given = binary.zeros_moved.get(segment).copied().unwrap_or(0);
            zeros_moved.push(last.wrapping_add(moves.code(coder, 1, given.wrapping_sub(last))));
        }
        old_end = old.wrapping_add(old_bytes);
        new_end = new.wrapping_add(new_bytes);
        let (old_length, new_length) = (old_bytes as u32, new_bytes as u32);
        binaries.push(Binary { old: old as u64, old_length, new, new_length, moved, zeros_moved });
    }
    Ok(binaries)
}

/// How far the places of a file have moved, old to new: from each of these places on, so far.
#[derive(Debug, Default)]
pub(crate) struct Shifts {
    /// Place in the old file, and how far from there to the new file.
    steps: Vec<(u32, i32)>,
    /// For each page of the old file the first step at or behind its beginning.
    pages: Vec<u32>,
}

const PAGE_BITS: u32 = 10;

/// A run of the old file that is found in the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moved {
    pub(crate) from: u32,
    pub(crate) length: u32,
    /// How far from there to the new file.
    pub(crate) shift: i32,
}

/// From which place on the old file has moved how far; ascending. Where two runs overlap, the place went with the longer
/// one.
pub(crate) fn steps(mut moved: Vec<Moved>) -> Vec<(u32, i32)> {
    moved.sort_unstable();
    let mut steps: Vec<(u32, i32)> = Vec::with_capacity(moved.len());
    let (mut end, mut begin) = (0, 0);
    for Moved { from, length, shift } in moved {
        let to = from + length;
        if to <= end {
            continue;
        }
        let start = if from >= end || length > end - begin { from } else { end };
        // A shorter run may have begun behind it, where one that is longer than this had ended.
        while steps.pop_if(|(place, _)| *place >= start).is_some() {}
        if steps.last().is_none_or(|(_, last)| *last != shift) {
            steps.push((start, shift));
        }
        (begin, end) = (from, to);
    }
    steps
}

impl Shifts {
    /// Out of the copies that lead from the old file to the new one.
    pub(crate) fn new(binary: &Binary, copies: &[Copy]) -> Self {
        let old_end = binary.old + u64::from(binary.old_length);
        let new_end = binary.new + i64::from(binary.new_length);
        let within = copies
            .iter()
            .filter(|copy| i64::from(copy.new) < new_end && i64::from(copy.new) + i64::from(copy.length) > binary.new)
            .filter(|copy| copy.old < old_end && copy.old + u64::from(copy.length) > binary.old)
            .filter_map(|copy| {
                // What of the copy is in the old file.
                let skipped = binary.old.saturating_sub(copy.old);
                let from = (copy.old + skipped - binary.old) as u32;
                let length = (u64::from(copy.length) - skipped).min(old_end - copy.old - skipped) as u32;
                let to = i64::from(copy.new) + skipped as i64 - binary.new;
                Some(Moved { from, length, shift: i32::try_from(to - i64::from(from)).ok()? })
            });
        // Room for all at once: one that grows takes up to thrice as much.
        let mut moved = Vec::with_capacity(copies.len());
        moved.extend(within);
        let steps = steps(moved);
        let count = (binary.old_length >> PAGE_BITS) as usize + 2;
        let mut pages = Vec::with_capacity(count);
        let mut next = 0;
        for page in 0..count as u64 {
            while steps.get(next).is_some_and(|(place, _)| u64::from(*place) < page << PAGE_BITS) {
                next += 1;
            }
            pages.push(next as u32);
        }
        Self { steps, pages }
    }

    /// How far a place of the old file has moved. What no copy covers has moved with what stands before it.
    #[inline]
    pub(crate) fn at(&self, place: u32) -> i32 {
        let page = (place >> PAGE_BITS) as usize;
        let from = self.pages.get(page).copied().unwrap_or(0) as usize;
        let to = self.pages.get(page + 1).map_or(self.steps.len(), |to| *to as usize);
        // The last step at or before the place; the one before the page if there is none in it.
        let steps = self.steps.get(from..to).unwrap_or_default();
        let count = from + steps.partition_point(|(step, _)| *step <= place);
        self.steps.get(count.saturating_sub(1)).map_or(0, |(_, shift)| *shift)
    }

    /// The old file's pieces that have moved equally far: from, to, and how far. Together they are all of its `length`.
    pub(crate) fn pieces(&self, length: u32) -> impl Iterator<Item = (u32, u32, i32)> {
        let ends = self.steps.iter().map(|(place, _)| *place).chain([length]).map(move |end| end.min(length));
        let shifts = [0].into_iter().chain(self.steps.iter().map(|(_, shift)| *shift));
        let pieces = ends.zip(shifts).scan(0, |from, (to, shift)| Some((std::mem::replace(from, to), to, shift)));
        pieces.filter(|(from, to, _)| from < to)
    }
}
