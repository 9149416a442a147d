//! References in an executable file, a shared library or a kernel.
//!
//! Nothing is disassembled. A place is taken for a reference if the bytes before it look like an instruction that has one,
//! and if what it would refer to is in the program.

use super::binary::{Binary, Shifts};
use super::elf::{Layout, Machine, Segment};
use super::reference::{Kind, Site};

/// What a byte may begin.
const PLAIN: u8 = 0;
const CALL: u8 = 1;
const ESCAPE: u8 = 2;
const OPERAND: u8 = 3;

/// The x86-64 opcodes of one byte that take an operand in memory (Intel SDM vol. 2, appendix A), and those that take a
/// place.
const OPCODES: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut i = 0;
    while i < 256 {
        let operand = (i < 0x40 && i % 8 < 4)
            || matches!(i, 0x63 | 0x69 | 0x6b | 0x80 | 0x81 | 0x83..=0x8f)
            || matches!(i, 0xc0 | 0xc1 | 0xc4..=0xc7 | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff);
        #[expect(clippy::indexing_slicing, reason = "i is below 256")]
        {
            table[i] = if operand { OPERAND } else { PLAIN };
        }
        i += 1;
    }
    table[0xe8] = CALL;
    table[0xe9] = CALL;
    table[0x0f] = ESCAPE;
    table
};

/// Where the distance of what looks like an x86-64 call, jump or operand at a place stands: conditional jumps are none,
/// which mostly lead to places nearby. Nothing that decides is in the distance of what begins behind it.
#[inline]
pub(crate) fn distance_at(bytes: &[u8], at: usize) -> Option<usize> {
    let is_operand = |place: usize| bytes.get(place).is_some_and(|form| form & 0xc7 == 0x05);
    match OPCODES.get(usize::from(*bytes.get(at)?)).copied()? {
        CALL => Some(at + 1),
        OPERAND if is_operand(at + 1) => Some(at + 2),
        ESCAPE if !matches!(bytes.get(at + 1), Some(0xe8 | 0xe9)) && is_operand(at + 2) => Some(at + 3),
        _ => None,
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// An old program that is loaded as a whole, and where everything in it went.
pub(crate) struct Loaded<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) binary: &'a Binary,
    pub(crate) shifts: &'a Shifts,
}

impl Loaded<'_> {
    /// How far an address has moved; `None` if nothing of the program is there.
    pub(crate) fn shift(&self, address: u64) -> Option<i64> {
        let (i, segment) = self.segment(address)?;
        let within = address - segment.address;
        if within < segment.file_bytes {
            let place = u32::try_from(segment.offset + within).ok()?;
            let moved = self.binary.moved.get(i).copied().unwrap_or(0);
            return Some(i64::from(self.shifts.at(place)).wrapping_add(moved));
        }
        self.binary.zeros_moved.get(i).copied()
    }

    fn segment(&self, address: u64) -> Option<(usize, &Segment)> {
        let within = |segment: &Segment| address.wrapping_sub(segment.address) < segment.memory_bytes;
        self.layout.segments.iter().enumerate().find(|(_, segment)| within(segment))
    }

    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.segment(address).is_some_and(|(_, segment)| segment.code)
    }

    /// Finds the references in a block of old bytes that stood at `from` in the old file and now stand at `to` in the new
    /// one.
    pub(crate) fn sites(&self, bytes: &[u8], from: u32, to: i64, sites: &mut Vec<Site>) {
        for (i, segment) in self.layout.segments.iter().enumerate() {
            let start = segment.offset.max(u64::from(from));
            let end = (segment.offset + segment.file_bytes).min(u64::from(from) + bytes.len() as u64);
            if start >= end {
                continue;
            }
            let skip = (start - u64::from(from)) as usize;
            let piece = bytes.get(..(end - u64::from(from)) as usize).unwrap_or_default();
            let address = segment.address.wrapping_add(u64::from(from)).wrapping_sub(segment.offset);
            let moved = to.wrapping_sub(i64::from(from)).wrapping_add(self.binary.moved.get(i).copied().unwrap_or(0));
            let block = Block { program: self, bytes: piece, address, moved };
            match (segment.code, self.layout.machine) {
                (true, Machine::X86) => block.code(skip, sites),
                (true, Machine::Arm) => block.arm(skip, sites),
                (false, _) => block.data(skip, sites),
            }
        }
    }
}

/// Bytes of one segment.
pub(crate) struct Block<'a> {
    pub(crate) program: &'a Loaded<'a>,
    pub(crate) bytes: &'a [u8],
    /// Where the first byte is in the old program's memory.
    address: u64,
    /// How far these bytes have moved there.
    pub(crate) moved: i64,
}

impl Block<'_> {
    pub(crate) fn at(&self, place: usize) -> u64 {
        self.address.wrapping_add(place as u64)
    }

    /// A place that is said as the distance from the end of the four bytes at `at`.
    #[inline]
    fn relative(&self, at: usize, kind: Kind, code_only: bool) -> Option<Site> {
        let value = word(self.bytes, at)?;
        let target = self.at(at + 4).wrapping_add(value as i32 as i64 as u64);
        if code_only && !self.program.is_code(target) {
            return None;
        }
        let shift = self.program.shift(target)?;
        let guess = value.wrapping_add(shift.wrapping_sub(self.moved) as u32);
        Some(Site { at: at as u32, wide: false, kind, target, guess: u64::from(guess) })
    }

    fn code(&self, skip: usize, sites: &mut Vec<Site>) {
        let mut at = skip;
        while let Some(byte) = self.bytes.get(at) {
            let next = self.bytes.get(at + 1).copied().unwrap_or(0);
            let site = match OPCODES.get(usize::from(*byte)).copied().unwrap_or(PLAIN) {
                CALL => {
                    let kind = if *byte == 0xe8 { Kind::Call } else { Kind::Jump };
                    self.relative(at + 1, kind, true)
                }
                ESCAPE if next & 0xf0 == 0x80 => self.relative(at + 2, Kind::Branch, true),
                // Two-byte opcodes with an operand; what stands behind the escape is taken for one.
                ESCAPE if self.bytes.get(at + 2).is_some_and(|form| form & 0xc7 == 0x05) => {
                    self.relative(at + 3, Kind::Operand, false)
                }
                OPERAND if next & 0xc7 == 0x05 => self.relative(at + 2, Kind::Operand, false),
                _ => None,
            };
            match site {
                Some(site) => {
                    at = site.at as usize + 4;
                    sites.push(site);
                }
                None => at += 1,
            }
        }
    }

    fn data(&self, skip: usize, sites: &mut Vec<Site>) {
        // To the next address that four divides.
        let mut at = skip + (self.at(skip).wrapping_neg() & 3) as usize;
        while at + 4 <= self.bytes.len() {
            if let Some(site) = self.unwind(at).or_else(|| self.pointer(at)) {
                at += if site.wide { 8 } else { 4 };
                sites.push(site);
                continue;
            }
            sites.extend(self.distance(at));
            at += 4;
        }
    }

    /// A place in code, in four bytes: its distance from where they stand.
    pub(crate) fn distance(&self, at: usize) -> Option<Site> {
        let value = word(self.bytes, at).filter(|value| *value != 0)?;
        let target = self.at(at).wrapping_add(value as i32 as i64 as u64);
        if !self.program.is_code(target) {
            return None;
        }
        let guess = value.wrapping_add(self.program.shift(target)?.wrapping_sub(self.moved) as u32);
        Some(Site { at: at as u32, wide: false, kind: Kind::Relative, target, guess: u64::from(guess) })
    }

    /// An address, in eight bytes.
    pub(crate) fn pointer(&self, at: usize) -> Option<Site> {
        if self.at(at) & 7 != 0 {
            return None;
        }
        let value = self.bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))?;
        if value < 4_096 {
            return None;
        }
        let shift = self.program.shift(value)?;
        Some(Site {
            at: at as u32,
            wide: true,
            kind: Kind::Pointer,
            target: value,
            guess: value.wrapping_add(shift as u64),
        })
    }

    /// An entry of the table for unwinding: a distance from the table's beginning (LSB 5.0, chapter 10.6.2).
    pub(crate) fn unwind(&self, at: usize) -> Option<Site> {
        let (table, length) = self.program.layout.unwind?;
        let within = self.at(at).wrapping_sub(table);
        if within >= length || within < 12 {
            return None;
        }
        let value = word(self.bytes, at)?;
        let target = table.wrapping_add(value as i32 as i64 as u64);
        let shift = self.program.shift(target)?.wrapping_sub(self.program.shift(table)?);
        let guess = value.wrapping_add(shift as u32);
        Some(Site { at: at as u32, wide: false, kind: Kind::Unwind, target, guess: u64::from(guess) })
    }
}
