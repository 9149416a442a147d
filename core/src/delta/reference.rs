//! Places in a program that say where something else in it is, and what they ought to say in the new one.
//!
//! The old bytes of a block are all that is looked at, so that publisher and device find the same places; a wrong guess
//! costs the bytes that correct it.

use super::binary::{Binary, Shifts};
use super::elf::Form;
use super::loaded::Loaded;

/// What kind of reference; each kind has its own habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call = 0,
    Jump = 1,
    Branch = 2,
    Operand = 3,
    Pointer = 4,
    Relative = 5,
    Unwind = 6,
    Offset = 7,
    Symbol = 8,
    Addend = 9,
    Name = 10,
    Value = 11,
    Size = 12,
    Low = 13,
}

/// Kinds of references.
pub(crate) const KINDS: usize = 14;

/// A reference, in a block of old bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// Where in the block.
    pub(crate) at: u32,
    /// Four bytes or eight.
    pub(crate) wide: bool,
    pub(crate) kind: Kind,
    /// What it refers to, in the old program's memory.
    pub(crate) target: u64,
    /// What it ought to say.
    pub(crate) guess: u64,
}

impl Site {
    /// How many bytes it has.
    pub(crate) fn width(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// What of a number it can say.
    pub(crate) fn trim(&self, value: u64) -> u64 {
        if self.wide { value } else { value & 0xffff_ffff }
    }

    /// A difference of two such numbers, with its sign.
    pub(crate) fn sign(&self, value: u64) -> i64 {
        if self.wide { value as i64 } else { i64::from(value as u32 as i32) }
    }
}

/// An old program, and where everything in it went.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) form: Form,
    pub(crate) binary: &'a Binary,
    pub(crate) shifts: &'a Shifts,
}

impl Program<'_> {
    /// Finds the references in a block of old bytes that stood at `from` in the old file and now stand at `to` in the new
    /// one.
    pub(crate) fn sites(&self, bytes: &[u8], from: u32, to: i64, sites: &mut Vec<Site>) {
        sites.clear();
        match &self.form {
            Form::Loaded(layout) => {
                Loaded { layout, binary: self.binary, shifts: self.shifts }.sites(bytes, from, to, sites);
            }
            Form::Relocatable(object) => object.sites(self.shifts, bytes, from, sites),
        }
    }
}
