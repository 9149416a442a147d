//! What a device takes of memory for a delta that was made to take as much as there is.

use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::noise;
use crate::delta::binary::Binary;
use crate::delta::map::{self, Copy};
use crate::delta::{FORMAT, Head, Map, Source};
use crate::limits::{
    MAX_DELTA_COPIES, MAX_DELTA_FRAME_BYTES, MAX_DELTA_HEAD_BYTES, MAX_DELTA_MAP_BYTES, MAX_DELTA_MEMORY,
    MAX_DELTA_OUTPUT_BYTES, MAX_DELTA_REGION_BYTES,
};

const CHILD: &str = "delta::tests::memory::takes_in_a_hostile_delta";
const OLD_LENGTH: u64 = 1 << 30;
/// Two programs, each half of the region, with nearly all the pages that there may be.
const PROGRAM_BYTES: u32 = 127 << 20;
const SYMBOLS_START: usize = 64 + 1_024 * 64;

/// Relocatable files without end, each with as many sections as are looked at and the longest table of symbols.
struct Programs(Vec<u8>);

impl Programs {
    fn new() -> Self {
        let mut head = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(64, 0);
        head[16..20].copy_from_slice(&[1, 0, 62, 0]);
        head[40..48].copy_from_slice(&64_u64.to_le_bytes());
        head[58..62].copy_from_slice(&[64, 0, 0, 4]);
        for section in 0..1_024_u64 {
            let (kind, start, length) = match section {
                0 => (2_u32, SYMBOLS_START as u64, 1_u64 << 20),
                _ => (4, (2 << 20) + section * 100_000, 99_000),
            };
            head.extend([0; 4]);
            head.extend(kind.to_le_bytes());
            head.extend([0; 16]);
            head.extend([start, length].map(u64::to_le_bytes).concat());
            head.extend([0; 16]);
            head.extend(24_u64.to_le_bytes());
        }
        Self(head)
    }
}

impl Source for Programs {
    fn length(&self) -> u64 {
        OLD_LENGTH
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let within = (offset % u64::from(PROGRAM_BYTES)) as usize;
        for (byte, at) in buffer.iter_mut().zip(within..) {
            *byte = self.0.get(at).copied().unwrap_or(at as u8);
        }
        Ok(())
    }
}

/// The largest head: regions of one frame each, in which they take the most; with what is missing of the last.
fn head() -> Vec<u8> {
    let mut bytes = [b"SUTURED", [FORMAT].as_slice(), &[0; 80]].concat();
    let regions = (MAX_DELTA_HEAD_BYTES - bytes.len() - 4) as u32 / 16;
    bytes.extend(regions.to_le_bytes());
    for _ in 0..regions {
        bytes.extend([0_u32, 1, 1, 1].map(u32::to_le_bytes).concat());
    }
    bytes[80..88].copy_from_slice(&u64::from(regions).to_le_bytes());
    bytes.resize(MAX_DELTA_HEAD_BYTES, 0);
    bytes
}

/// As many copies as there may be, each from somewhere else in one of two programs as large as they may be.
fn map() -> Vec<u8> {
    let half = MAX_DELTA_REGION_BYTES / 2;
    let programs = [0, 1].map(|i| Binary {
        old: u64::from(i * PROGRAM_BYTES),
        old_length: PROGRAM_BYTES,
        new: i64::from(i * half),
        new_length: half,
        ..Binary::default()
    });
    let step = MAX_DELTA_REGION_BYTES / MAX_DELTA_COPIES as u32;
    let places = noise(3 * MAX_DELTA_COPIES, 77);
    let copies = (0..MAX_DELTA_COPIES as u32).zip(places.chunks_exact(3)).map(|(i, place)| {
        let place = u32::from_le_bytes([place[0], place[1], place[2], 0]) * 7;
        Copy { new: i * step, length: step - 9, old: u64::from(i * step / half * PROGRAM_BYTES + place) }
    });
    map::encode(&copies.collect::<Vec<_>>(), &programs).unwrap()
}

/// A figure of this process's memory, in bytes.
fn memory(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() << 10
}

/// What [`the_most_that_a_delta_can_take_is_bounded`] runs in a process of its own, which holds nothing else.
///
/// It takes everything in twice. The first time brings in the program's own pages, which count as idle: how many of them
/// one look at a page brings is up to the kernel and to what else the machine does.
#[test]
#[ignore = "it needs the other test's input"]
fn takes_in_a_hostile_delta() {
    let old = Programs::new();
    let mut input = io::stdin().lock();
    take_in(&mut input, &old);
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let idle = memory("VmRSS");
    take_in(&mut input, &old);
    println!("took {}", memory("VmHWM") - idle);
}

/// All that a device holds at once: the head, what is being taken in, and a parcel that comes meanwhile.
fn take_in(input: &mut impl io::Read, old: &Programs) {
    let mut parcel = |length: usize| {
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes).unwrap();
        bytes
    };
    let first = parcel(MAX_DELTA_HEAD_BYTES);
    let (head, _) = Head::parse(&first).unwrap();
    let length = u32::from_le_bytes(parcel(4).try_into().unwrap()) as usize;
    assert!(length <= MAX_DELTA_MAP_BYTES);
    let map = parcel(length);
    let frame = parcel(MAX_DELTA_FRAME_BYTES);
    let map = Map::decode(&map, MAX_DELTA_REGION_BYTES, old.length()).unwrap();
    assert_eq!(map.copies().len(), MAX_DELTA_COPIES);
    let next = parcel(MAX_DELTA_FRAME_BYTES);
    for i in 0..3 {
        let start = i * MAX_DELTA_OUTPUT_BYTES;
        drop(map.apply(&frame, start..start + MAX_DELTA_OUTPUT_BYTES, old));
    }
    println!("{} regions, {} bytes to come", head.regions.len(), next.len());
}

#[test]
fn the_most_that_a_delta_can_take_is_bounded() {
    let map = map();
    let frame = noise(2 * MAX_DELTA_FRAME_BYTES, 78);
    let input = [head(), (map.len() as u32).to_le_bytes().to_vec(), map, frame].concat().repeat(2);
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args([CHILD, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    // What is given back is gone at once, so that what is measured is held and not only kept.
    let child = child.env("MALLOC_MMAP_THRESHOLD_", "65536").env("MALLOC_TRIM_THRESHOLD_", "0");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let took = text.split_once("took ").unwrap_or_else(|| panic!("{text}")).1;
    let took: u64 = took.lines().next().unwrap().parse().unwrap();
    println!("a hostile delta took {took} bytes");
    // The parcels, what a frame makes, and a map: less than that would mean that nothing was taken in.
    assert!((11 << 20..=MAX_DELTA_MEMORY).contains(&took), "{took} bytes");
}
