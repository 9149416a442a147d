//! Which parts of an executable file hold code, and where in memory its parts go: of the *old* file, as the device has it.
//!
//! What the headers say is checked; of a file whose headers make no sense nothing is known, and nothing in it is guessed.
//! Publisher and device read the same bytes and so come to the same.

use std::io;

use super::Source;
use super::object::Object;

/// Segments that are looked at.
pub(crate) const MAX_SEGMENTS: usize = 16;
/// Program headers that are looked at.
const MAX_HEADERS: usize = 64;
const HEADER_BYTES: usize = 56;
const LOAD: u32 = 1;
const UNWIND: u32 = 0x6474_e550;
const EXECUTE: u32 = 1;

/// What instructions are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86,
    Arm,
}

/// A run of a file that is loaded into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it stands in the file.
    pub(crate) offset: u64,
    /// How much of it does.
    pub(crate) file_bytes: u64,
    /// Where it goes.
    pub(crate) address: u64,
    /// How long it is there; what the file has not is zeros.
    pub(crate) memory_bytes: u64,
    /// Whether it holds code.
    pub(crate) code: bool,
}

/// What is known of an old program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An executable file, a shared library or a kernel.
    Loaded(Layout),
    /// What is not linked yet, or is when it is loaded.
    Relocatable(Object),
}

/// How an executable file or a shared library is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) machine: Machine,
    /// Ascending, both in the file and in memory, and apart.
    pub(crate) segments: Vec<Segment>,
    /// The table by which unwinding finds its way: where in memory, and how long.
    pub(crate) unwind: Option<(u64, u64)>,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

impl Form {
    /// Reads what there is to know of the file that stands in `source` from `start` to `start + length`; `None` if that is
    /// nothing.
    pub(crate) fn read<S: Source>(source: &S, start: u64, length: u64) -> io::Result<Option<Self>> {
        let mut head = [0; 64];
        if length < head.len() as u64 {
            return Ok(None);
        }
        source.read_at(start, &mut head)?;
        // 64 bits, little endian.
        if !head.starts_with(b"\x7fELF\x02\x01") {
            return Ok(None);
        }
        let machine = match u16_at(&head, 18) {
            62 => Machine::X86,
            183 => Machine::Arm,
            _ => return Ok(None),
        };
        match u16_at(&head, 16) {
            1 => Ok(Object::read(&head, source, start, length)?.map(Self::Relocatable)),
            2 | 3 => Ok(Layout::read(machine, &head, source, start, length)?.map(Self::Loaded)),
            _ => Ok(None),
        }
    }
}

impl Layout {
    fn read<S: Source>(
        machine: Machine,
        head: &[u8; 64],
        source: &S,
        start: u64,
        length: u64,
    ) -> io::Result<Option<Self>> {
        let at = u64_at(head, 32);
        let count = usize::from(u16_at(head, 56));
        let bytes = count * HEADER_BYTES;
        let fits = at.checked_add(bytes as u64).is_some_and(|end| end <= length);
        if usize::from(u16_at(head, 54)) != HEADER_BYTES || count > MAX_HEADERS || !fits {
            return Ok(None);
        }
        let mut headers = vec![0; bytes];
        source.read_at(start + at, &mut headers)?;
        Ok(Self::of(machine, &headers, length))
    }

    fn of(machine: Machine, headers: &[u8], length: u64) -> Option<Self> {
        let mut layout = Self { machine, segments: Vec::new(), unwind: None };
        for header in headers.chunks_exact(HEADER_BYTES) {
            let segment = Segment {
                offset: u64_at(header, 8),
                file_bytes: u64_at(header, 32),
                address: u64_at(header, 16),
                memory_bytes: u64_at(header, 40),
                code: u32_at(header, 4) & EXECUTE != 0,
            };
            match u32_at(header, 0) {
                LOAD => {
                    let last = layout.segments.last();
                    let end = segment.offset.checked_add(segment.file_bytes)?;
                    segment.address.checked_add(segment.memory_bytes)?;
                    let behind = last.is_none_or(|last| {
                        last.offset + last.file_bytes <= segment.offset
                            && last.address + last.memory_bytes <= segment.address
                    });
                    // What is not in order is left out; a kernel has a segment for each processor that is loaded nowhere.
                    if !behind || end > length || segment.file_bytes > segment.memory_bytes {
                        continue;
                    }
                    layout.segments.push(segment);
                }
                UNWIND => layout.unwind = Some((segment.address, segment.memory_bytes)),
                _ => {}
            }
        }
        (!layout.segments.is_empty() && layout.segments.len() <= MAX_SEGMENTS).then_some(layout)
    }
}
