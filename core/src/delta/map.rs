//! Where the bytes of a region come from: its copies out of the old payload, and which of them are of programs. What no copy
//! covers is fresh.

use super::binary::{self, Binary, Shifts};
use super::coder::{Coder, Decoder, Encoder};
use super::model::{Number, STEADY, Signed, Symbols};
use super::{DeltaError, rule};
use crate::limits::MAX_DELTA_COPIES;

/// How many of the last distances from new to old are remembered.
const DIAGONALS: usize = 8;

/// A run of bytes that is like one of the old payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Where it goes, from the region's beginning.
    pub new: u32,
    /// How many bytes.
    pub length: u32,
    /// Where it comes from in the old payload.
    pub old: u64,
}

/// The copies of a region, in the order of the new payload; none overlaps another there.
#[derive(Debug, Default)]
pub struct Map {
    length: u32,
    copies: Vec<Copy>,
    binaries: Vec<(Binary, Shifts)>,
}

/// How a distance is told: one of the last ones, or anew.
#[derive(Debug)]
struct Diagonals([i64; DIAGONALS]);

impl Diagonals {
    fn find(&self, diagonal: i64) -> Option<usize> {
        self.0.iter().position(|d| *d == diagonal)
    }

    fn front(&mut self, diagonal: i64) {
        let end = self.find(diagonal).unwrap_or(DIAGONALS - 1);
        if let Some(used) = self.0.get_mut(..=end) {
            used.rotate_right(1);
        }
        if let Some(first) = self.0.first_mut() {
            *first = diagonal;
        }
    }
}

struct Models {
    gaps: Number,
    lengths: Number,
    choices: Symbols<4>,
    seeks: Signed,
    counts: Number,
}

impl Map {
    /// A map of these copies.
    pub(crate) fn new(length: u32, copies: Vec<Copy>, binaries: Vec<Binary>) -> Self {
        let within = |binary: &Binary| {
            let first = copies.partition_point(|copy| i64::from(copy.new) + i64::from(copy.length) <= binary.new);
            let end = copies.partition_point(|copy| i64::from(copy.new) < binary.new + i64::from(binary.new_length));
            copies.get(first..end).unwrap_or_default()
        };
        let shifts = |binary: Binary| {
            let shifts = Shifts::new(&binary, within(&binary));
            (binary, shifts)
        };
        let binaries = binaries.into_iter().map(shifts).collect();
        Self { length, copies, binaries }
    }

    /// The program that a place of the region is in, and how far from the place it goes on; without one, how far to the
    /// next.
    pub(crate) fn program(&self, place: u32) -> (Option<(usize, &Binary, &Shifts)>, u64) {
        let place = i64::from(place);
        let i = self.binaries.partition_point(|(binary, _)| binary.new + i64::from(binary.new_length) <= place);
        match self.binaries.get(i) {
            Some((binary, shifts)) if binary.new <= place => {
                (Some((i, binary, shifts)), (binary.new + i64::from(binary.new_length) - place) as u64)
            }
            Some((binary, _)) => (None, (binary.new - place) as u64),
            None => (None, u64::MAX),
        }
    }

    /// How many bytes its region has.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The copies.
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// Reads the map of a region of `length` bytes that copies from an old payload of `old_length`.
    pub fn decode(bytes: &[u8], length: u32, old_length: u64) -> Result<Self, DeltaError> {
        let mut coder = Decoder::new(bytes);
        let copies = copies(&mut coder, &[], length, old_length)?;
        let binaries = binary::code(&mut coder, &[], length, old_length)?;
        coder.finish()?;
        Ok(Self::new(length, copies, binaries))
    }
}

/// The bytes of a map. What it says is not checked: whoever reads it does.
pub(crate) fn encode(given: &[Copy], programs: &[Binary]) -> Result<Vec<u8>, DeltaError> {
    let mut coder = Encoder::new();
    copies(&mut coder, given, 0, 0)?;
    binary::code(&mut coder, programs, 0, 0)?;
    Ok(coder.finish())
}

/// What a decoder refuses; an encoder writes it.
pub(crate) fn check<C: Coder>(holds: bool, why: &'static str) -> Result<(), DeltaError> {
    if holds || C::ENCODES { Ok(()) } else { Err(rule("map", why)) }
}

/// Codes the copies.
fn copies<C: Coder>(coder: &mut C, given: &[Copy], length: u32, old_length: u64) -> Result<Vec<Copy>, DeltaError> {
    let mut models = Models {
        gaps: Number::new(2),
        lengths: Number::new(3),
        choices: Symbols::new(3 * 16, STEADY),
        seeks: Signed::new(2),
        counts: Number::new(1),
    };
    let count = models.counts.code(coder, 0, given.len() as u64);
    check::<C>(count <= MAX_DELTA_COPIES as u64, "too many copies")?;
    let mut copies = Vec::with_capacity(count as usize);
    let mut diagonals = Diagonals([0; DIAGONALS]);
    let mut end = Copy { new: 0, length: 0, old: 0 };
    let mut last_choice = 0;
    let mut given = given.iter();
    for _ in 0..count {
        let copy = given.next().copied().unwrap_or(Copy { new: end.new, length: 0, old: end.old });
        let gap = models.gaps.code(coder, usize::from(last_choice == 0), u64::from(copy.new.wrapping_sub(end.new)));
        let new = u64::from(end.new).saturating_add(gap);
        let diagonal = (copy.old as i64).wrapping_sub(new as i64);
        let known = diagonals.find(diagonal).map_or(DIAGONALS, |i| i) as u32;
        let gap_class = if gap == 0 {
            0
        } else if gap < 16 {
            1
        } else {
            2
        };
        let choice = models.choices.code(coder, gap_class << 4 | last_choice as usize, known);
        let diagonal = match diagonals.0.get(choice as usize) {
            Some(diagonal) => *diagonal,
            None => {
                let from = (end.old as i64).wrapping_sub(new as i64);
                from.wrapping_add(models.seeks.code(coder, 0, diagonal.wrapping_sub(from)))
            }
        };
        let length_context = if choice == 0 {
            0
        } else if choice < DIAGONALS as u32 {
            1
        } else {
            2
        };
        let copy_length = models.lengths.code(coder, length_context, u64::from(copy.length));
        let new_end = new.saturating_add(copy_length);
        check::<C>(copy_length > 0, "a copy of nothing")?;
        check::<C>(new_end <= u64::from(length), "a copy ends behind its region")?;
        let old = diagonal.wrapping_add(new as i64) as u64;
        let old_end = old.saturating_add(copy_length);
        check::<C>(old_end <= old_length, "a copy reaches outside the old payload")?;
        copies.push(Copy { new: new as u32, length: copy_length as u32, old });
        diagonals.front(diagonal);
        last_choice = choice;
        end = Copy { new: new_end as u32, length: 0, old: old_end };
    }
    Ok(copies)
}
