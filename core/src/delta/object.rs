//! A relocatable file, which a kernel's module is: tables of what in it refers to what, to be written into it when it is
//! loaded.
//!
//! Most of such a file are relocations, each of which changes with the place it is for, with the table of symbols and with
//! what it refers to. The section headers say where the tables are; they are checked like everything else of the *old* file,
//! and what makes no sense is left out.

use std::io;

use super::Source;
use super::binary::Shifts;
use super::elf::{u16_at, u32_at, u64_at};
use super::reference::{Kind, Site};

/// Section headers that are looked at: 64 KiB of them.
const MAX_SECTIONS: usize = 1_024;
/// A table of symbols that is looked at: 1 MiB.
const MAX_SYMBOLS_BYTES: u64 = 1 << 20;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: u64 = 24;

/// Section types (System V gABI, "Sections").
const SYMBOLS: u32 = 2;
const RELOCATIONS: u32 = 4;
/// A symbol that stands for its section.
const SECTION_SYMBOL: u8 = 3;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Relocations of places of this section.
    Relocations { places: usize },
    /// Symbols, their names in this section.
    Symbols { names: usize },
    /// The section headers.
    Headers,
}

/// An old relocatable file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Tables by where they begin and end in the file; in order, and apart.
    tables: Vec<(u64, u64, Table)>,
    /// Where each section begins, and how long it is.
    sections: Vec<(u64, u64)>,
    symbols_start: u64,
    symbols: Vec<u8>,
}

impl Object {
    /// Reads the tables of the file whose head this is.
    pub(crate) fn read<S: Source>(head: &[u8; 64], source: &S, start: u64, length: u64) -> io::Result<Option<Self>> {
        let at = u64_at(head, 40);
        let count = usize::from(u16_at(head, 60));
        let bytes = (count * HEADER_BYTES) as u64;
        let fits = at.checked_add(bytes).is_some_and(|end| end <= length);
        if usize::from(u16_at(head, 58)) != HEADER_BYTES || count > MAX_SECTIONS || !fits {
            return Ok(None);
        }
        let mut headers = vec![0; bytes as usize];
        source.read_at(start + at, &mut headers)?;

        let mut object = Self { tables: Vec::new(), sections: Vec::new(), symbols_start: 0, symbols: Vec::new() };
        object.tables.push((at, at + bytes, Table::Headers));
        for header in headers.chunks_exact(HEADER_BYTES) {
            let (offset, size) = (u64_at(header, 24), u64_at(header, 32));
            object.sections.push((offset, size));
            let Some(end) = offset.checked_add(size).filter(|end| *end <= length) else { continue };
            if u64_at(header, 56) != ENTRY_BYTES {
                continue;
            }
            match u32_at(header, 4) {
                RELOCATIONS => {
                    object.tables.push((offset, end, Table::Relocations { places: u32_at(header, 44) as usize }));
                }
                SYMBOLS if size <= MAX_SYMBOLS_BYTES && object.symbols.is_empty() => {
                    object.tables.push((offset, end, Table::Symbols { names: u32_at(header, 40) as usize }));
                    object.symbols_start = offset;
                    object.symbols = vec![0; size as usize];
                    source.read_at(start + offset, &mut object.symbols)?;
                }
                _ => {}
            }
        }
        object.tables.sort_unstable_by_key(|(start, end, _)| (*start, *end));
        let mut last = 0;
        object.tables.retain(|(start, end, _)| {
            let apart = *start >= last;
            last = last.max(*end);
            apart
        });
        Ok(Some(object))
    }

    /// Finds the references in a block of old bytes that stood at `from` in the old file.
    pub(crate) fn sites(&self, shifts: &Shifts, bytes: &[u8], from: u32, sites: &mut Vec<Site>) {
        let from = u64::from(from);
        let to = from + bytes.len() as u64;
        for (start, end, table) in &self.tables {
            if *end <= from || *start >= to {
                continue;
            }
            let entry_bytes = if *table == Table::Headers { HEADER_BYTES as u64 } else { ENTRY_BYTES };
            let first = from.saturating_sub(*start) / entry_bytes;
            for entry in (start + first * entry_bytes..*end.min(&to)).step_by(entry_bytes as usize) {
                let mut fields = Fields { object: self, shifts, bytes, from, entry, sites };
                match *table {
                    Table::Relocations { places } => fields.relocation(places),
                    Table::Symbols { names } => fields.symbol(names),
                    Table::Headers => fields.header(),
                }
            }
        }
    }
}

/// The fields of one entry, as far as they are in the block.
struct Fields<'a> {
    object: &'a Object,
    shifts: &'a Shifts,
    bytes: &'a [u8],
    /// Where the block and the entry begin in the file.
    from: u64,
    entry: u64,
    sites: &'a mut Vec<Site>,
}

impl Fields<'_> {
    fn place(&self, field: u64) -> Option<usize> {
        (self.entry + field).checked_sub(self.from).and_then(|place| usize::try_from(place).ok())
    }

    fn narrow(&self, field: u64) -> Option<u32> {
        self.bytes.get(self.place(field)?..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
    }

    fn wide(&self, field: u64) -> Option<u64> {
        self.bytes.get(self.place(field)?..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
    }

    fn section(&self, index: usize) -> Option<(u64, u64)> {
        self.object.sections.get(index).copied()
    }

    fn shift(&self, place: u64) -> i64 {
        i64::from(self.shifts.at(u32::try_from(place).unwrap_or(u32::MAX)))
    }

    /// How much further a place of the file has moved than the beginning of what it is counted from.
    fn between(&self, base: u64, distance: u64) -> u64 {
        self.shift(base.saturating_add(distance)).wrapping_sub(self.shift(base)) as u64
    }

    fn push(&mut self, field: u64, wide: bool, kind: Kind, target: u64, guess: u64) {
        let Some(at) = self.place(field) else { return };
        let mut site = Site { at: at as u32, wide, kind, target, guess };
        site.guess = site.trim(guess);
        self.sites.push(site);
    }

    fn relocation(&mut self, places: usize) {
        if let (Some(value), Some((base, size))) = (self.wide(0), self.section(places))
            && value < size
        {
            let guess = value.wrapping_add(self.between(base, value));
            self.push(0, true, Kind::Offset, base.wrapping_add(value), guess);
        }
        let Some(index) = self.narrow(12) else { return };
        let symbol = u64::from(index) * ENTRY_BYTES;
        let moved = self.between(self.object.symbols_start, symbol) as i64 / ENTRY_BYTES as i64;
        let guess = u64::from(index).wrapping_add(moved as u64);
        self.push(12, false, Kind::Symbol, self.object.symbols_start.wrapping_add(symbol), guess);

        let Some(addend) = self.wide(16) else { return };
        let symbol = symbol as usize;
        let is_section = self.object.symbols.get(symbol + 4).is_some_and(|info| info & 0xf == SECTION_SYMBOL);
        let section = usize::from(u16_at(&self.object.symbols, symbol + 6));
        if let Some((base, _)) = self.section(section).filter(|_| is_section) {
            // Those that are counted from the end of their four bytes (x86-64 psABI, R_X86_64_PC32 and R_X86_64_PLT32).
            let behind = if matches!(self.narrow(8), Some(2 | 4)) { 4 } else { 0 };
            let distance = addend.wrapping_add(behind);
            let guess = addend.wrapping_add(self.between(base, distance));
            self.push(16, true, Kind::Addend, base.wrapping_add(distance), guess);
        }
    }

    fn symbol(&mut self, names: usize) {
        if let (Some(name), Some((base, _))) = (self.narrow(0), self.section(names)) {
            let name = u64::from(name);
            let guess = name.wrapping_add(self.between(base, name));
            self.push(0, false, Kind::Name, base.wrapping_add(name), guess);
        }
        let index = (self.entry - self.object.symbols_start) as usize;
        let Some((base, _)) = self.section(usize::from(u16_at(&self.object.symbols, index + 6))) else { return };
        let value = u64_at(&self.object.symbols, index + 8);
        let place = base.wrapping_add(value);
        if self.wide(8).is_some() {
            let guess = value.wrapping_add(self.between(base, value));
            self.push(8, true, Kind::Value, place, guess);
        }
        if let Some(size) = self.wide(16).filter(|size| *size > 0) {
            let guess = size.wrapping_add(self.between(place, size - 1));
            self.push(16, true, Kind::Size, place, guess);
        }
    }

    fn header(&mut self) {
        if let Some(offset) = self.wide(24) {
            self.push(24, true, Kind::Value, offset, offset.wrapping_add(self.shift(offset) as u64));
        }
        if let (Some(offset), Some(size)) = (self.wide(24), self.wide(32))
            && size > 0
        {
            let guess = size.wrapping_add(self.between(offset, size - 1));
            self.push(32, true, Kind::Size, offset, guess);
        }
    }
}
