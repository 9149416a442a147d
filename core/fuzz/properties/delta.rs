//! Deltas: whatever a head, a map or a frame says, what comes out is as long as it should be, and what is read is bounded;
//! and what is made between two payloads leads from one to the other.

use std::cell::Cell;
use std::io;

use suture_core::delta::{Head, Map, Payload, Source, make};
use suture_core::digest::Digest;
use suture_core::limits::{MAX_DELTA_COPIES, MAX_DELTA_FRAME_BYTES, MAX_DELTA_MAP_BYTES, MAX_DELTA_OUTPUT_BYTES};

/// An old payload, and how much of it was read.
struct Old {
    bytes: Vec<u8>,
    read: Cell<u64>,
}

impl Source for Old {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read.set(self.read.get() + buffer.len() as u64);
        self.bytes.as_slice().read_at(offset, buffer)
    }
}

/// The first byte says what the rest is.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => head(rest),
        1 => frame(rest),
        _ => pair(rest),
    }
}

fn head(bytes: &[u8]) {
    let Ok((head, length)) = Head::parse(bytes) else { return };
    assert_eq!(head.to_bytes().expect("what was read can be written"), bytes[..length], "a head has one form");
    assert_eq!(head.regions.iter().map(|region| region.length()).sum::<u64>(), head.new.length);
    for region in &head.regions {
        assert!(region.map_bytes as usize <= MAX_DELTA_MAP_BYTES);
        for frame in &region.frames {
            assert!(frame.length <= MAX_DELTA_OUTPUT_BYTES && frame.bytes as usize <= MAX_DELTA_FRAME_BYTES);
        }
    }
}

/// A region's length (u32; its highest two bits say what is copied from), its map's (u16), the map, and a frame for all of
/// the region.
fn frame(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let Some((map_bytes, rest)) = rest.split_first_chunk::<2>() else { return };
    let kind = u32::from_le_bytes(*length) >> 30;
    let length = u32::from_le_bytes(*length) % (256 << 10);
    let (map, frame) = rest.split_at(usize::from(u16::from_le_bytes(*map_bytes)).min(rest.len()));
    let old = Old { bytes: old_payload(kind), read: Cell::new(0) };
    let Ok(map) = Map::decode(map, length, old.length()) else { return };
    let mut end = 0;
    assert!(map.copies().len() <= MAX_DELTA_COPIES);
    for copy in map.copies() {
        assert!(copy.new >= end && copy.length > 0, "copies overlap, or are of nothing");
        end = copy.new + copy.length;
        assert!(end <= length && copy.old + u64::from(copy.length) <= old.length());
    }
    let Ok(made) = map.apply(frame, 0..length, &old) else { return };
    assert_eq!(made.len(), length as usize);
    // Each copied byte once, and of each program at most twice its length, which is at most four times the new one's; of two
    // only a part is in the region.
    let most = 9 * u64::from(length) + 4 * old.length();
    assert!(old.read.get() <= most, "{} bytes were read", old.read.get());
    assert_eq!(map.apply(frame, 0..length, &old).expect("as before"), made);
}

/// Something that frames can copy from: an x86-64 program, one for AArch64, or a relocatable file.
pub(crate) fn old_payload(kind: u32) -> Vec<u8> {
    let mut bytes = program();
    match kind {
        1 => bytes.splice(18..20, 183_u16.to_le_bytes()),
        2 => return relocatable(bytes),
        _ => return bytes,
    };
    // Calls, and addresses in two instructions.
    for (i, four) in bytes.get_mut(0x100..0x8100).into_iter().flat_map(|code| code.chunks_exact_mut(4)).enumerate() {
        let near = (i as u32 * 7) & 0xff;
        let instruction = match i % 4 {
            0 => 0x9400_0000 | near,
            1 => 0x9000_0000 | (near & 3) << 29 | 9,
            2 => 0x9100_0000 | near << 10 | 9 << 5 | 1,
            _ => 0x5400_0000 | near << 5,
        };
        four.copy_from_slice(&instruction.to_le_bytes());
    }
    bytes
}

/// A file of a section of code, its relocations and its symbols.
fn relocatable(mut bytes: Vec<u8>) -> Vec<u8> {
    let relocations = (0..512_u64).flat_map(|i| [i * 16, (i % 256) << 32 | 4, (i * 8).wrapping_sub(4)]);
    let symbols =
        (0..256_u64).flat_map(|i| [(i * 3) | (if i % 3 == 0 { 3 } else { 0x12 }) << 32 | 1 << 48, i * 64, 64]);
    bytes.splice(0x4200..0x4200 + 512 * 24, relocations.flat_map(u64::to_le_bytes));
    bytes.splice(0x9000..0x9000 + 256 * 24, symbols.flat_map(u64::to_le_bytes));
    bytes.splice(16..18, [1, 0]);
    let end = bytes.len() as u64;
    bytes.splice(40..48, end.to_le_bytes());
    bytes.splice(58..62, [64, 0, 4, 0]);
    let mut section = |kind: u32, place: u64, length: u64, link: u32, about: u32, entry: u64| {
        let words = |words: [u32; 2]| words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
        bytes.extend(words([0, kind]));
        bytes.extend([0; 16]);
        bytes.extend([place, length].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(words([link, about]));
        bytes.extend([8, entry].into_iter().flat_map(u64::to_le_bytes));
    };
    section(0, 0, 0, 0, 0, 0);
    section(1, 0x200, 0x4000, 0, 0, 0);
    section(4, 0x4200, 512 * 24, 3, 1, 24);
    section(2, 0x9000, 256 * 24, 1, 0, 24);
    bytes
}

/// An x86-64 program with a segment of code and one of data.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend_from_slice(&[3, 0, 62, 0]);
    bytes.resize(32, 0);
    bytes.extend_from_slice(&64_u64.to_le_bytes());
    bytes.resize(54, 0);
    bytes.extend_from_slice(&[56, 0, 3, 0]);
    bytes.resize(64, 0);
    let header = |kind: u32, flags: u32, start: u64, length: u64| {
        let fields = [start, start + 0x40_0000, start, length, length + 64, 16];
        let head = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
        head.into_iter().chain(fields.into_iter().flat_map(u64::to_le_bytes)).collect::<Vec<u8>>()
    };
    let headers = [(1, 5, 0x100, 0x8000), (1, 6, 0x9000, 0x4000), (0x6474_e550, 4, 0x9100, 0x100)];
    bytes.extend(headers.into_iter().flat_map(|(kind, flags, start, length)| header(kind, flags, start, length)));
    bytes.resize(0x100, 0x90);
    bytes.extend((0..0x2000_u32).flat_map(|i| {
        // Calls, operands and other bytes; in the data segment addresses.
        let place = i.wrapping_mul(2_654_435_761) >> 18;
        match i % 4 {
            0 => [0x48, 0x8d, 0x05, place as u8],
            1 => (place >> 8).to_le_bytes(),
            2 => [0x90, 0xe8, place as u8, (place >> 8) as u8],
            _ => [0, 0, 0x0f, 0x84],
        }
    }));
    bytes.resize(0x9000, 0);
    bytes.extend((0..0x900_u64).flat_map(|i| (0x40_0000 + i * 16).to_le_bytes()));
    bytes
}

/// The length of an old payload (u16), it, and a new one.
fn pair(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (old, new) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let payload = |bytes: &[u8]| Payload { sha256: Digest::of(bytes), length: bytes.len() as u64 };
    let ends: Vec<u64> = (1..=new.len() as u64).filter(|end| end % 999 == 0 || *end == new.len() as u64).collect();
    let mut parts = Vec::new();
    let head =
        make((&old, payload(old)), (&new, payload(new)), &ends, |part| parts.push(part)).expect("memory can be read");
    let mut again = Vec::new();
    for (region, part) in head.regions.iter().zip(parts) {
        let length = u32::try_from(region.length()).expect("a region is bounded");
        let map = Map::decode(&part.map, length, old.len() as u64).expect("what was made is accepted");
        let mut start = 0;
        for (frame, bytes) in region.frames.iter().zip(part.frames) {
            again.extend(map.apply(&bytes, start..start + frame.length, &old).expect("what was made is accepted"));
            start += frame.length;
        }
    }
    assert_eq!(again, new);
}
