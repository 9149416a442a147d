//! What is the same, and what has to be compared with what.

use std::ops::Range;

use super::binaries::binary;
use super::entry::{Item, Pairs, items};
use super::forecast;
use super::matching::matches;
use super::suffix::Suffixes;
use crate::delta::binary::Binary;
use crate::delta::{DeltaError, Source};

/// A run of the new payload that is like one of the old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where it begins in the new payload.
    pub new: u64,
    /// How many bytes.
    pub length: u64,
    /// Where it comes from in the old payload.
    pub old: u64,
}

/// Small files are compared together until either side has so many bytes: 4 MiB.
const BATCH_BYTES: u64 = 4 << 20;
/// A file is compared as a whole up to here, larger ones window by window: 72 MiB.
const MAX_WHOLE_BYTES: u64 = 72 << 20;
/// A window of a large file: 32 MiB.
const WINDOW_BYTES: u64 = 32 << 20;
/// How far a window looks to either side in the old file: 20 MiB.
const MARGIN_BYTES: u64 = 20 << 20;

/// Runs of the new payload that are compared with runs of the old one.
#[derive(Debug, Default)]
pub struct Unit {
    new: Vec<Range<u64>>,
    old: Vec<Range<u64>>,
    /// The programs in it; their places in the new payload.
    binaries: Vec<Binary>,
}

/// What is copied as it is, and what has to be compared.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is the same in both payloads.
    pub kept: Vec<Run>,
    /// What has to be compared.
    pub units: Vec<Unit>,
    /// What of it are programs; their places in the new payload.
    pub binaries: Vec<Binary>,
}

fn size(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

impl Plan {
    /// Reads both payloads, to find what is the same.
    pub fn new<O: Source, N: Source>(old: &O, new: &N) -> Result<Self, DeltaError> {
        let (old_items, new_items) = items(old, new)?;
        let pairs = Pairs::new(&old_items);
        let mut plan = Self::default();
        let mut batch = Unit::default();
        for item in &new_items {
            let Some(same) = pairs.same(item) else {
                let pair = pairs.pair(item);
                let binary = match pair {
                    Some(pair) => binary((old, &pair.content), (new, &item.content))?,
                    None => None,
                };
                plan.compare(&mut batch, item, pair, binary);
                continue;
            };
            let head_bytes = |item: &Item| item.content.start - item.whole.start;
            let same_head = same.head == item.head && head_bytes(same) == head_bytes(item);
            let (new, old) = if same_head { (&item.whole, &same.whole) } else { (&item.content, &same.content) };
            if new.end > new.start {
                plan.kept.push(Run { new: new.start, length: new.end - new.start, old: old.start });
            }
            if item.whole.start < new.start {
                batch.add(item.whole.start..new.start, same.whole.start..same.content.start);
            }
        }
        plan.units.push(batch);
        plan.units.retain(|unit| !unit.new.is_empty() && !unit.old.is_empty());
        Ok(plan)
    }

    fn compare(&mut self, batch: &mut Unit, item: &Item, pair: Option<&Item>, binary: Option<Binary>) {
        self.binaries.extend(binary.clone());
        let new = item.whole.clone();
        let old = pair.map_or(0..0, |pair| pair.whole.clone());
        let (new_bytes, old_bytes) = (new.end - new.start, old.end - old.start);
        if new_bytes.max(old_bytes) > MAX_WHOLE_BYTES {
            let mut start = 0;
            while start < new_bytes {
                let end = (start + WINDOW_BYTES).min(new_bytes);
                // The same share of both files; what has moved further is not found here.
                let scaled =
                    |at: u64| old.start + (u128::from(at) * u128::from(old_bytes) / u128::from(new_bytes)) as u64;
                let from = scaled(start).saturating_sub(MARGIN_BYTES).max(old.start);
                let to =
                    scaled(end).saturating_add(MARGIN_BYTES).min(old.end).min(from + WINDOW_BYTES + 2 * MARGIN_BYTES);
                let mut unit = Unit::default();
                unit.add(new.start + start..new.start + end, from..to);
                self.units.push(unit);
                start = end;
            }
            return;
        }
        if size(&batch.new) + new_bytes > BATCH_BYTES || size(&batch.old) + old_bytes > BATCH_BYTES {
            self.units.push(std::mem::take(batch));
        }
        batch.add(new, old);
        batch.binaries.extend(binary);
    }
}

impl Unit {
    fn add(&mut self, new: Range<u64>, old: Range<u64>) {
        for (ranges, range) in [(&mut self.new, new), (&mut self.old, old)] {
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                // Several new files may have come from one old file.
                Some(last) if last.start <= range.start && range.end <= last.end => {}
                _ if range.is_empty() => {}
                _ => ranges.push(range),
            }
        }
    }

    /// How many bytes of the old payload it reads: it takes about ten times that of memory.
    pub fn old_bytes(&self) -> u64 {
        size(&self.old)
    }

    /// Finds which runs are alike.
    pub fn compare<O: Source, N: Source>(&self, old: &O, new: &N) -> Result<Vec<Run>, DeltaError> {
        let mut old_text = read(old, &self.old, "old")?;
        let new_text = read(new, &self.new, "new")?;
        if self.binaries.is_empty() {
            return Ok(self.found(old_text, &new_text));
        }
        let runs = self.found(old_text.clone(), &new_text);
        for binary in &self.binaries {
            let Some(at) = place_of(&self.old, binary.old) else { continue };
            let text = old_text.get_mut(at..at + binary.old_length as usize).unwrap_or_default();
            forecast::rewrite(text, binary, &runs, old)?;
        }
        Ok(self.found(old_text, &new_text))
    }

    fn found(&self, old_text: Vec<u8>, new_text: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        for found in matches(&Suffixes::of(old_text), new_text) {
            let mut done = 0;
            while done < found.length {
                let Some((new, new_left)) = place(&self.new, found.new + done) else { break };
                let Some((old, old_left)) = place(&self.old, found.old + done) else { break };
                let length = (found.length - done).min(new_left).min(old_left);
                runs.push(Run { new, length: length as u64, old });
                done += length;
            }
        }
        runs
    }
}

/// Where a place of the payload stands in the joined ranges.
fn place_of(ranges: &[Range<u64>], place: u64) -> Option<usize> {
    let mut at = 0;
    for range in ranges {
        if range.contains(&place) {
            return Some((at + (place - range.start)) as usize);
        }
        at += range.end - range.start;
    }
    None
}

/// Where a place of the joined ranges stands, and how much of its range is left.
fn place(ranges: &[Range<u64>], mut at: usize) -> Option<(u64, usize)> {
    for range in ranges {
        let length = (range.end - range.start) as usize;
        if at < length {
            return Some((range.start + at as u64, length - at));
        }
        at -= length;
    }
    None
}

fn read<S: Source>(source: &S, ranges: &[Range<u64>], which: &'static str) -> Result<Vec<u8>, DeltaError> {
    let mut text = vec![0; size(ranges) as usize];
    let mut rest = text.as_mut_slice();
    for range in ranges {
        let (head, tail) = rest.split_at_mut((range.end - range.start) as usize);
        source.read_at(range.start, head).map_err(|source| DeltaError::Read { which, source })?;
        rest = tail;
    }
    Ok(text)
}
