//! A frame: a run of the new payload, made from the old one, the region's map and the frame's own bytes.
//!
//! A frame of a run that has no copy begins with a byte that says how the run is told: by the coder, or packed in one piece.

use std::ops::Range;

use super::coder::{Coder, Decoder, Encoder};
use super::difference::Differences;
use super::elf::Form;
use super::fresh::{Fresh, Token};
use super::make::repeats::Finder;
use super::map::{Copy, Map};
use super::packed::{self, Way};
use super::reference::{Program, Site};
use super::{DeltaError, Source, rule};
use crate::limits::MAX_DELTA_OUTPUT_BYTES;

/// How a run without copies is told.
const CODED: u8 = 0;
const PACKED: u8 = 1;
const PACKED_PLACES: u8 = 2;
/// Longer runs are not tried by the coder: packing them takes less time and fewer bytes.
const MAX_CODED_BYTES: usize = 256 << 10;

/// What a frame makes, in the order of the new payload.
enum Piece {
    Copy { new: u32, length: usize, old: u64 },
    Fresh { length: usize },
}

/// The pieces of a run of the region.
fn pieces(copies: &[Copy], run: Range<u32>) -> impl Iterator<Item = Piece> {
    let first = copies.partition_point(|copy| copy.new + copy.length <= run.start);
    let mut rest = copies.get(first..).unwrap_or_default();
    let mut at = run.start;
    std::iter::from_fn(move || {
        if at >= run.end {
            return None;
        }
        let next = rest.first().filter(|copy| copy.new < run.end);
        match next {
            Some(copy) if copy.new <= at => {
                rest = rest.get(1..).unwrap_or_default();
                let end = (copy.new + copy.length).min(run.end);
                let piece =
                    Piece::Copy { new: at, length: (end - at) as usize, old: copy.old + u64::from(at - copy.new) };
                at = end;
                Some(piece)
            }
            _ => {
                let end = next.map_or(run.end, |copy| copy.new);
                let piece = Piece::Fresh { length: (end - at) as usize };
                at = end;
                Some(piece)
            }
        }
    })
}

impl Map {
    /// Makes this run of the region from its frame and the old payload.
    pub fn apply<S: Source>(&self, frame: &[u8], run: Range<u32>, old: &S) -> Result<Vec<u8>, DeltaError> {
        if run.start > run.end || run.end > self.length() || run.end - run.start > MAX_DELTA_OUTPUT_BYTES {
            return Err(rule("frame", "it makes what is not of its region, or too much"));
        }
        let frame = if self.copies_in(&run) {
            frame
        } else {
            match frame.split_first() {
                Some((&CODED, coded)) => coded,
                Some((&PACKED, packed)) => return packed::unpack(Way::Plain, packed, run.len()),
                Some((&PACKED_PLACES, packed)) => return packed::unpack(Way::Places, packed, run.len()),
                _ => return Err(rule("frame", "it is told in a way that this version does not know")),
            }
        };
        let mut coder = Decoder::new(frame);
        let mut out = vec![0; run.len()];
        walk(&mut coder, self, run, old, &mut out, &[], &mut |_, _| Vec::new())?;
        coder.finish()?;
        Ok(out)
    }

    fn copies_in(&self, run: &Range<u32>) -> bool {
        pieces(self.copies(), run.clone()).any(|piece| matches!(piece, Piece::Copy { .. }))
    }
}

/// Writes the frame that makes `truth`, which is this run of its region.
pub(crate) fn encode<S: Source>(truth: &[u8], map: &Map, run: Range<u32>, old: &S) -> Result<Vec<u8>, DeltaError> {
    if map.copies_in(&run) {
        return code(truth, map, run, old);
    }
    let packed = packed::pack(truth).map(|(way, packed)| match way {
        Way::Plain => (PACKED, packed),
        Way::Places => (PACKED_PLACES, packed),
    });
    let (how, told) = match packed {
        Some(packed) if truth.len() > MAX_CODED_BYTES => packed,
        packed => {
            let coded = code(truth, map, run, old)?;
            packed.filter(|(_, packed)| packed.len() < coded.len()).unwrap_or((CODED, coded))
        }
    };
    Ok([&[how], told.as_slice()].concat())
}

fn code<S: Source>(truth: &[u8], map: &Map, run: Range<u32>, old: &S) -> Result<Vec<u8>, DeltaError> {
    let mut coder = Encoder::new();
    let mut out = truth.to_vec();
    let mut finder = None;
    walk(&mut coder, map, run, old, &mut out, truth, &mut |from, to| {
        finder.get_or_insert_with(|| Finder::new(truth)).tokens(from, to)
    })?;
    debug_assert!(out == truth, "what is encoded comes out");
    Ok(coder.finish())
}

fn walk<C: Coder, S: Source>(
    coder: &mut C,
    map: &Map,
    run: Range<u32>,
    old: &S,
    out: &mut [u8],
    truth: &[u8],
    tokens: &mut dyn FnMut(usize, usize) -> Vec<Token>,
) -> Result<(), DeltaError> {
    let mut differences = Differences::new();
    let mut fresh = Fresh::new();
    let mut reader = Reader { old, map, program: None };
    let mut sites = Vec::new();
    let mut at = 0;
    for piece in pieces(map.copies(), run) {
        match piece {
            Piece::Copy { mut new, mut length, old: mut from } => {
                while length > 0 {
                    let n = reader.block(new, from, length);
                    let bytes = out.get_mut(at..at + n).unwrap_or_default();
                    old.read_at(from, bytes).map_err(|source| DeltaError::Read { which: "old", source })?;
                    reader.sites(new, from, bytes, &mut sites)?;
                    differences.code(coder, bytes, truth.get(at..at + n).unwrap_or_default(), &sites);
                    at += n;
                    new += n as u32;
                    from += n as u64;
                    length -= n;
                }
            }
            Piece::Fresh { length } => {
                let tokens = if C::ENCODES { tokens(at, at + length) } else { Vec::new() };
                fresh.code(coder, out, at, at + length, &tokens);
                at += length;
            }
        }
    }
    Ok(())
}

/// Copied bytes are read and looked at in blocks of so many: 64 KiB.
const BLOCK_BYTES: u64 = 64 << 10;

/// Knows of the program that bytes are copied from.
struct Reader<'a, S> {
    old: &'a S,
    map: &'a Map,
    /// The last program that was asked for, by its place in the map; none if its layout makes no sense.
    program: Option<(usize, Option<Program<'a>>)>,
}

impl<'a, S: Source> Reader<'a, S> {
    /// How much of a copy can be taken at once: no more than a block, and of one program only.
    fn block(&self, new: u32, old: u64, length: usize) -> usize {
        let (program, mut left) = self.map.program(new);
        if let Some((_, binary, _)) = program {
            let end = binary.old + u64::from(binary.old_length);
            let border = if old < binary.old {
                binary.old
            } else if old < end {
                end
            } else {
                u64::MAX
            };
            left = left.min(border - old);
        }
        // At most a block, so it fits.
        left.min(BLOCK_BYTES).min(length as u64) as usize
    }

    /// Finds the references in a block.
    fn sites(&mut self, new: u32, old: u64, bytes: &[u8], sites: &mut Vec<Site>) -> Result<(), DeltaError> {
        sites.clear();
        let (Some((i, binary, shifts)), _) = self.map.program(new) else { return Ok(()) };
        let Some(from) = old.checked_sub(binary.old).filter(|from| *from < u64::from(binary.old_length)) else {
            return Ok(());
        };
        if self.program.as_ref().is_none_or(|(last, _)| *last != i) {
            // Before the next one takes its memory.
            self.program = None;
            let form = Form::read(self.old, binary.old, u64::from(binary.old_length));
            let form = form.map_err(|source| DeltaError::Read { which: "old", source })?;
            self.program = Some((i, form.map(|form| Program { form, binary, shifts })));
        }
        if let Some((_, Some(program))) = &self.program {
            program.sites(bytes, from as u32, i64::from(new) - binary.new, sites);
        }
        Ok(())
    }
}
