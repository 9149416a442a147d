//! References in AArch64 code: instructions of four bytes each, of which some bits say how far away something is (Arm
//! Architecture Reference Manual, "A64 instruction set encoding").
//!
//! Linkers put tables into the same segment. A word that is an address, or one that is told by its distance and that no
//! instruction looks like, is taken for a table's.

use super::loaded::{Block, word};
use super::reference::{Kind, Site};

/// How far behind the instruction that has the page of an address the one may be that has the rest: sixteen instructions.
const REACH: usize = 16;
const REGISTERS: usize = 32;

/// Where in an instruction a number is.
struct Field {
    first: u32,
    bits: u32,
}

const IMM26: Field = Field { first: 0, bits: 26 };
const IMM19: Field = Field { first: 5, bits: 19 };
const IMM14: Field = Field { first: 5, bits: 14 };
const IMM12: Field = Field { first: 10, bits: 12 };

impl Field {
    fn mask(&self) -> u32 {
        ((1 << self.bits) - 1) << self.first
    }

    /// The number, with its sign.
    fn signed(&self, instruction: u32) -> i64 {
        let unused = 32 - self.bits;
        i64::from((instruction >> self.first << unused) as i32 >> unused)
    }

    fn unsigned(&self, instruction: u32) -> u64 {
        u64::from((instruction & self.mask()) >> self.first)
    }

    fn put(&self, instruction: u32, number: u64) -> u32 {
        instruction & !self.mask() | (number as u32) << self.first & self.mask()
    }
}

/// A number of 21 bits that is in two fields: of ADR and ADRP.
fn split(instruction: u32) -> i64 {
    IMM19.signed(instruction) << 2 | i64::from(instruction >> 29 & 3)
}

fn put_split(instruction: u32, number: i64) -> u32 {
    let low = (number as u32 & 3) << 29;
    IMM19.put(instruction, (number >> 2) as u64) & !(3 << 29) | low
}

/// Instructions that have the low twelve bits of an address whose page a register holds: ADD, and loads and stores. Says
/// which register, and how often the number is halved.
fn rest(instruction: u32) -> Option<(usize, u32)> {
    let register = (instruction >> 5 & 31) as usize;
    if instruction & 0xffc0_0000 == 0x9100_0000 {
        return Some((register, 0));
    }
    if instruction & 0x3b00_0000 != 0x3900_0000 {
        return None;
    }
    // A vector's size has a third bit.
    let vector = instruction & 0x0480_0000 == 0x0480_0000;
    Some((register, if vector { instruction >> 30 | 4 } else { instruction >> 30 }))
}

const PAGE: u64 = 0xfff;

impl Block<'_> {
    /// Finds references in a segment that has code.
    pub(crate) fn arm(&self, skip: usize, sites: &mut Vec<Site>) {
        let mut pages = [None; REGISTERS];
        let mut at = skip + (self.at(skip).wrapping_neg() & 3) as usize;
        while let Some(instruction) = word(self.bytes, at) {
            let table = self.unwind(at).or_else(|| self.pointer(at)).or_else(|| {
                // No instruction begins with these bits; it is a distance of at most 16 MiB.
                matches!(instruction >> 24, 0 | 0xff).then(|| self.distance(at)).flatten()
            });
            let site = table.or_else(|| self.instruction(at, instruction, &mut pages));
            at += site.map_or(4, |site| site.width());
            sites.extend(site);
        }
    }

    fn instruction(&self, at: usize, instruction: u32, pages: &mut [Option<(usize, u64)>; REGISTERS]) -> Option<Site> {
        let here = self.at(at);
        let is = |mask: u32, value: u32| instruction & mask == value;
        let branch = |kind, field: Field| {
            let away = field.signed(instruction) << 2;
            let target = here.wrapping_add(away as u64);
            if !self.program.is_code(target) {
                return None;
            }
            let away = away.wrapping_add(self.program.shift(target)?).wrapping_sub(self.moved);
            Some(site(at, kind, target, field.put(instruction, (away >> 2) as u64)))
        };
        if is(0x7c00_0000, 0x1400_0000) {
            return branch(if instruction >> 31 == 1 { Kind::Call } else { Kind::Jump }, IMM26);
        }
        // Conditional branches, those that compare with nothing, and loads of what stands near.
        if is(0xff00_0010, 0x5400_0000) || is(0x7e00_0000, 0x3400_0000) || is(0x3b00_0000, 0x1800_0000) {
            return branch(Kind::Branch, IMM19);
        }
        if is(0x7e00_0000, 0x3600_0000) {
            return branch(Kind::Branch, IMM14);
        }
        if is(0x9f00_0000, 0x1000_0000) {
            let away = split(instruction);
            let target = here.wrapping_add(away as u64);
            let away = away.wrapping_add(self.program.shift(target)?).wrapping_sub(self.moved);
            return Some(site(at, Kind::Operand, target, put_split(instruction, away)));
        }
        if is(0x9f00_0000, 0x9000_0000) {
            let page = (here & !PAGE).wrapping_add((split(instruction) << 12) as u64);
            let register = instruction & 31;
            if let Some(held) = pages.get_mut(register as usize) {
                *held = Some((at, page));
            }
            let target = page | self.low(at, register as usize);
            let to = target.wrapping_add(self.program.shift(target)? as u64);
            let pages = (to >> 12).wrapping_sub(here.wrapping_add(self.moved as u64) >> 12);
            return Some(site(at, Kind::Operand, target, put_split(instruction, pages as i64)));
        }
        let (register, scale) = rest(instruction)?;
        let (from, page) = (*pages.get(register)?)?;
        if at - from > REACH * 4 {
            return None;
        }
        let target = page.wrapping_add(IMM12.unsigned(instruction) << scale);
        let to = target.wrapping_add(self.program.shift(target)? as u64) & PAGE;
        Some(site(at, Kind::Low, target, IMM12.put(instruction, to >> scale)))
    }

    /// The low bits of the address whose page the instruction at a place puts into a register: those that are added first.
    fn low(&self, at: usize, register: usize) -> u64 {
        let behind = (1..=REACH).map_while(|i| word(self.bytes, at + i * 4));
        let mut rests = behind.filter_map(|next| Some((next, rest(next)?))).filter(|(_, (from, _))| *from == register);
        rests.next().map_or(0, |(next, (_, scale))| IMM12.unsigned(next) << scale & PAGE)
    }
}

/// The corrections of one target differ with the kind of instruction that it is told by.
fn site(at: usize, kind: Kind, target: u64, guess: u32) -> Site {
    let target = target ^ (kind as u64) << 56;
    Site { at: at as u32, wide: false, kind, target, guess: u64::from(guess) }
}
