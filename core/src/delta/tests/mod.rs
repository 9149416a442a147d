mod memory;
mod moves;
mod program;
mod recorded;

use std::cell::Cell;
use std::io;

use proptest::prelude::*;

use super::binary::Binary;
use super::coder::{Decoder, Encoder};
use super::make::{self, Encoded, make};
use super::map::{self, Copy};
use super::model::Signed;
use super::{DeltaError, Frame, Head, Map, Payload, Region, Source};
use crate::archive::Writer;
use crate::chunk;
use crate::digest::Digest;
use crate::limits::{
    CHUNK_MAX_BYTES, MAX_DELTA_COPIES, MAX_DELTA_FRAME_BYTES, MAX_DELTA_OUTPUT_BYTES, MAX_DELTA_PROGRAM_MEMORY,
};

/// An old payload that counts what is read of it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
}

impl Source for Counted<'_> {
    fn length(&self) -> u64 {
        self.bytes.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read.set(self.read.get() + buffer.len());
        self.bytes.read_at(offset, buffer)
    }
}

fn payload(bytes: &[u8]) -> Payload {
    Payload { sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

fn ends(bytes: &[u8]) -> Vec<u64> {
    let lengths = chunk::cut(bytes).map(|chunk| chunk.unwrap().len() as u64);
    let end = |end: &mut u64, length| {
        *end += length;
        Some(*end)
    };
    lengths.scan(0, end).collect()
}

fn made(old: &[u8], new: &[u8]) -> (Head, Vec<Encoded>) {
    let mut parts = Vec::new();
    let head = make((&old, payload(old)), (&new, payload(new)), &ends(new), |part| parts.push(part)).unwrap();
    (head, parts)
}

/// Applies every frame by itself, the last one first; says how many bytes the delta has.
fn round_trip(old: &[u8], new: &[u8]) -> usize {
    round_trip_with_head(old, new).1
}

fn round_trip_with_head(old: &[u8], new: &[u8]) -> (Head, usize) {
    let (head, parts) = made(old, new);
    let bytes = head.to_bytes().unwrap();
    assert_eq!(Head::parse(&bytes).unwrap(), (head.clone(), bytes.len()));
    assert_eq!(head.regions.len(), parts.len());
    let mut out = vec![0; new.len()];
    let mut region_start = 0;
    for (region, part) in head.regions.iter().zip(&parts) {
        assert_eq!((part.map.len(), &part.region), (region.map_bytes as usize, region));
        let length = u32::try_from(region.length()).unwrap();
        let map = Map::decode(&part.map, length, old.len() as u64).unwrap();
        let mut end = length;
        for (frame, bytes) in region.frames.iter().zip(&part.frames).rev() {
            assert_eq!(bytes.len(), frame.bytes as usize);
            let run = end - frame.length..end;
            let source = Counted { bytes: old, read: Cell::new(0) };
            let made = map.apply(bytes, run.clone(), &source).unwrap();
            assert!(
                source.read.get() <= 9 * made.len() + (64 << 10),
                "a frame read {} bytes of the old payload",
                source.read.get()
            );
            out[region_start + run.start as usize..region_start + run.end as usize].copy_from_slice(&made);
            end = run.start;
        }
        assert_eq!(end, 0);
        region_start += length as usize;
    }
    assert_eq!(region_start, new.len());
    assert!(out == new, "the new payload came out otherwise");
    let bytes = bytes.len() + head.regions.iter().map(|region| region.bytes() as usize).sum::<usize>();
    (head, bytes)
}

/// Bytes that nothing can make shorter.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn tree(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.directory("d", 0o755).unwrap();
    for (path, content) in files {
        writer.file(path, 0o644, content.len() as u64, *content).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_delta_of_the_same_and_from_or_to_nothing() {
    let bytes = noise(300 << 10, 1);
    assert!(round_trip(&bytes, &bytes) < 200);
    assert!(round_trip(&[], &[]) < 200);
    assert!(round_trip(&bytes, &[]) < 200);
    let from_nothing = round_trip(&[], &bytes);
    assert!(from_nothing < bytes.len() + 200, "{from_nothing} bytes");
}

#[test]
fn a_frame_from_nothing_is_packed_in_one_piece() {
    // The same again further behind than a chunk reaches.
    let once = noise(100 << 10, 10);
    let new = [once.as_slice(), &noise(300 << 10, 11), &once].concat();
    let (head, bytes) = round_trip_with_head(&[], &new);
    assert_eq!(head.regions[0].frames.len(), 1);
    assert!(bytes < new.len() - once.len() + 500, "{bytes} bytes");

    let (head, parts) = made(&[], &new);
    let length = u32::try_from(head.new.length).unwrap();
    let map = Map::decode(&parts[0].map, length, 0).unwrap();
    let frame = &parts[0].frames[0];
    let apply = |frame: &[u8], length| map.apply(frame, 0..length, &[].as_slice());
    assert!(apply(frame, length).unwrap() == new);
    apply(frame, length - 1).unwrap_err();
    apply(&[frame.as_slice(), &[0]].concat(), length).unwrap_err();
    // A second frame of zstd's behind the first, and a way of telling that there is not.
    let [how, packed @ ..] = frame.as_slice() else { panic!("an empty frame") };
    apply(&[&[*how], packed, packed].concat(), length).unwrap_err();
    apply(&[&[3], packed].concat(), length).unwrap_err();
    apply(&[], length).unwrap_err();
}

#[test]
fn every_kind_of_change_costs_about_what_is_new() {
    let old = noise(2 << 20, 2);
    let mut new = old.clone();
    new.rotate_left(700_000);
    new.splice(300_000..300_000, noise(1_000, 3));
    new.drain(900_000..905_000);
    new.iter_mut().step_by(10_007).for_each(|byte| *byte ^= 0x55);
    let bytes = round_trip(&old, &new);
    assert!(bytes < 1_000 + 3 * 210 + 400, "{bytes} bytes");
}

#[test]
fn files_are_found_under_other_names_and_other_versions() {
    let (a, b, c) = (noise(90_000, 4), noise(80_000, 5), noise(70_000, 6));
    let mut b2 = b.clone();
    b2.splice(40_000..40_004, *b"some bytes");
    let old = tree(&[("d/a", &a), ("d/libb.so.1.2", &b), ("d/moved", &c), ("e", b"gone")]);
    let new = tree(&[("d/a", &a), ("d/libb.so.1.13", &b2), ("f", b"fresh"), ("z", &c)]);
    let bytes = round_trip(&old, &new);
    assert!(bytes < 500, "{bytes} bytes");
}

#[test]
fn what_is_no_whole_archive_is_an_image() {
    let (a, b) = (noise(90_000, 4), noise(80_000, 5));
    let whole = tree(&[("d/a", &a), ("d/b", &b), ("z", b"end")]);
    let cut_in_content = &whole[..100_000];
    let cut_in_head = &whole[..12];
    let behind = [whole.as_slice(), b"more"].concat();
    let spoilt = [b"SUTURE", &whole[6..7], b"?", &whole[8..]].concat();
    for (old, new, most) in [
        (whole.as_slice(), cut_in_content, 300),
        (cut_in_content, whole.as_slice(), 80_500),
        (whole.as_slice(), cut_in_head, 300),
        (cut_in_head, whole.as_slice(), whole.len() + 500),
        (whole.as_slice(), behind.as_slice(), 300),
        (spoilt.as_slice(), whole.as_slice(), 300),
    ] {
        let bytes = round_trip(old, new);
        assert!(bytes < most, "{bytes} bytes from {} to {}", old.len(), new.len());
    }
}

#[test]
fn a_payload_of_many_frames_and_one_of_many_regions() {
    let (same, fresh) = (noise(1 << 20, 7), noise(9 << 18, 8));
    let old = tree(&[("d/same", &same), ("d/small", b"old")]);
    let new = tree(&[("d/fresh", &fresh), ("d/same", &same), ("d/small", b"new")]);
    let (head, bytes) = round_trip_with_head(&old, &new);
    let frames: Vec<&Frame> = head.regions.iter().flat_map(|region| &region.frames).collect();
    assert!(frames.len() > 1);
    let bounded =
        |frame: &&Frame| frame.length <= MAX_DELTA_OUTPUT_BYTES && frame.bytes as usize <= MAX_DELTA_FRAME_BYTES;
    assert!(frames.iter().all(bounded));
    assert!(bytes < fresh.len() + fresh.len() / 12 + 2_000, "{bytes} bytes");

    // One copy over all of 150 MiB: three regions, none longer than it may be, each with its part of the copy.
    let chunk = 100_000;
    let ends: Vec<u64> = (1..=1_573).map(|i| i * chunk).collect();
    let run = make::Run { new: 5, length: 1_573 * chunk - 10, old: 1 << 40 };
    let drafts = make::drafts(vec![run], Vec::new(), &ends);
    assert_eq!(drafts.len(), 3);
    // Copies of a byte each: as many as a region may have.
    let runs = (0..700_000).map(|i| make::Run { new: i * 20, length: 1, old: i }).collect();
    assert_eq!(make::drafts(runs, Vec::new(), &ends[..140]).len(), 700_000_usize.div_ceil(MAX_DELTA_COPIES));
}

#[test]
fn numbers_of_every_size_come_back() {
    let values = [0, 1, -1, 2, 255, -256, 1 << 20, i64::MAX, -i64::MAX, i64::MIN];
    let walk = |coder: &mut dyn FnMut(&mut Signed, i64) -> i64| {
        let mut model = Signed::new(1);
        values.map(|value| coder(&mut model, value))
    };
    let mut encoder = Encoder::new();
    walk(&mut |model, value| model.code(&mut encoder, 0, value));
    let bytes = encoder.finish();
    let mut decoder = Decoder::new(&bytes);
    assert_eq!(walk(&mut |model, _| model.code(&mut decoder, 0, 0)), values);
    decoder.finish().unwrap();
}

#[test]
fn a_map_that_reaches_outside_is_refused() {
    let region = 1_000;
    let decode = |copies: Vec<Copy>| {
        let bytes = map::encode(&copies, &[]).unwrap();
        Map::decode(&bytes, region, 500).map(|map| map.copies().to_vec())
    };
    let copy = |new, length, old| Copy { new, length, old };
    let good = vec![copy(0, 500, 0), copy(500, 100, 400), copy(999, 1, 499)];
    assert_eq!(decode(good.clone()).unwrap(), good);
    let why = |copies| match decode(copies) {
        Err(DeltaError::Rule { part: "map", rule }) => rule,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(vec![copy(999, 2, 0)]), "a copy ends behind its region");
    assert_eq!(why(vec![copy(2_000, 1, 0)]), "a copy ends behind its region");
    assert_eq!(why(vec![copy(0, u32::MAX, 0)]), "a copy ends behind its region");
    assert_eq!(why(vec![copy(0, 2, 499)]), "a copy reaches outside the old payload");
    assert_eq!(why(vec![copy(0, 2, u64::MAX)]), "a copy reaches outside the old payload");
    assert_eq!(why(vec![copy(0, 2, 1 << 62)]), "a copy reaches outside the old payload");
    assert_eq!(why(vec![copy(0, 0, 0)]), "a copy of nothing");
    let many = (0..=MAX_DELTA_COPIES as u32).map(|i| copy(i, 1, 0)).collect();
    assert_eq!(why(many), "too many copies");
}

#[test]
fn a_program_that_reaches_outside_is_refused() {
    let binary =
        Binary { old: 100, old_length: 400, new: 0, new_length: 400, moved: vec![0; 3], zeros_moved: vec![1; 3] };
    let decode = |binaries: &[Binary]| Map::decode(&map::encode(&[], binaries).unwrap(), 1_000, 500).map(drop);
    decode(std::slice::from_ref(&binary)).unwrap();
    decode(&[Binary { new: -50, ..binary.clone() }, Binary { new: 999, ..binary.clone() }]).unwrap();
    for bad in [
        Binary { old: 101, ..binary.clone() },
        Binary { old: u64::MAX, ..binary.clone() },
        Binary { new: 1_000, ..binary.clone() },
        Binary { new: i64::MIN, ..binary.clone() },
        Binary { new_length: 99, ..binary.clone() },
        Binary { new_length: u32::MAX, ..binary.clone() },
        Binary { moved: vec![0; 17], ..binary.clone() },
    ] {
        assert!(matches!(decode(std::slice::from_ref(&bad)), Err(DeltaError::Rule { part: "map", .. })), "{bad:?}");
    }
    assert!(decode(&[binary.clone(), Binary { new: 399, ..binary.clone() }]).is_err());
    // As many, and as large, as fit into what programs may take of memory.
    let small = |i| Binary {
        old_length: 2,
        new: i,
        new_length: 1,
        moved: Vec::new(),
        zeros_moved: Vec::new(),
        ..binary.clone()
    };
    let most = MAX_DELTA_PROGRAM_MEMORY / small(0).memory();
    assert_eq!(
        decode(&vec![small(0); most as usize + 1]).unwrap_err().to_string(),
        "the delta's map breaks a rule: too many programs"
    );
    let large = |i: i64| Binary { old: 0, old_length: 100 << 20, new: i << 25, new_length: 1 << 25, ..small(0) };
    let decode = |binaries: &[Binary]| Map::decode(&map::encode(&[], binaries).unwrap(), 1 << 26, 1 << 28).map(drop);
    decode(&[large(0), large(1)]).unwrap();
    let error = decode(&[large(-1), large(0), large(1)]).unwrap_err();
    assert_eq!(error.to_string(), "the delta's map breaks a rule: its programs take too much memory");
}

#[test]
fn a_part_that_is_cut_or_goes_on_is_refused() {
    let old = noise(100_000, 9);
    let mut new = old.clone();
    new.splice(50_000..60_000, noise(20_000, 10));
    let (head, parts) = made(&old, &new);
    let (part, length) = (&parts[0], new.len() as u32);
    let map = Map::decode(&part.map, length, 100_000).unwrap();
    let frame = &part.frames[0];
    assert!(map.apply(frame, 0..length, &old.as_slice()).is_ok());
    let refused = |frame: &[u8]| assert!(matches!(map.apply(frame, 0..length, &old.as_slice()), Err(DeltaError::Code)));
    refused(&frame[..frame.len() - 9]);
    refused(&[]);
    refused(&[frame.as_slice(), &[0; 9]].concat());
    assert!(Map::decode(&[part.map.as_slice(), &[0; 9]].concat(), length, 100_000).is_err());
    assert!(matches!(map.apply(frame, 1..length + 1, &old.as_slice()), Err(DeltaError::Rule { part: "frame", .. })));
    // An old payload that is shorter than was said.
    assert!(matches!(map.apply(frame, 0..length, &&old[..9_000]), Err(DeltaError::Read { which: "old", .. })));

    let bytes = head.to_bytes().unwrap();
    for end in 0..bytes.len() {
        assert!(Head::parse(&bytes[..end]).is_err());
    }
}

#[test]
fn a_head_keeps_to_its_bounds() {
    let frame = |length, bytes| Frame { length, bytes };
    let head = |map_bytes, frames: Vec<Frame>| {
        let regions = vec![Region { map_bytes, frames }];
        let length = regions.iter().map(Region::length).sum();
        Head { old: payload(b""), new: Payload { sha256: Digest::of(b""), length }, regions }
    };
    let biggest = frame(4 << 20, 2 << 20);
    assert!(head(2 << 20, vec![biggest; 16]).to_bytes().is_ok());
    for (bad, rule) in [
        (head((2 << 20) + 1, vec![biggest]), "a map is too large"),
        (head(0, vec![]), "a region without frames"),
        (head(0, vec![biggest; 17]), "a region is too long"),
        (head(0, vec![frame(0, 0)]), "a frame that makes nothing"),
        (head(0, vec![frame((4 << 20) + 1, 0)]), "a frame makes too much"),
        (head(0, vec![frame(1, (2 << 20) + 1)]), "a frame is too large"),
        (Head { regions: vec![], ..head(0, vec![frame(1, 0)]) }, "the frames do not add up to the new payload"),
    ] {
        let error = bad.to_bytes().unwrap_err();
        assert!(matches!(error, DeltaError::Rule { part: "head", rule: r } if r == rule), "{error} instead of {rule}");
    }
}

/// A change to some bytes: what to do, where, how much, and what is put there.
type Edit = (u8, prop::sample::Index, usize, u64);

fn edited(old: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut new = old.to_vec();
    for (kind, place, amount, seed) in edits {
        if new.is_empty() {
            break;
        }
        let at = place.index(new.len());
        let end = (at + amount).min(new.len());
        match kind % 6 {
            0 => drop(new.splice(at..at, noise(*amount, *seed))),
            1 => drop(new.drain(at..end)),
            2 => new[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_add(*seed as u8)),
            3 => new[at..end].iter_mut().step_by(9).for_each(|byte| *byte ^= 1),
            4 => new.rotate_left(at),
            _ => new.extend_from_within(at..end),
        }
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_edited_comes_out(
        length in 0_usize..120_000,
        edits in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), 0_usize..9_000, any::<u64>()), 0..12),
    ) {
        let old = noise(length, 11);
        round_trip(&old, &edited(&old, &edits));
    }

    #[test]
    fn a_spoilt_part_is_refused_or_makes_other_bytes_of_the_same_length(
        edits in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), 0_usize..3_000, any::<u64>()), 1..6),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        in_map in any::<bool>(),
    ) {
        let old = noise(CHUNK_MAX_BYTES, 12);
        let new = edited(&old, &edits);
        let (_, mut parts) = made(&old, &new);
        let Some(part) = parts.first_mut() else { return Ok(()) };
        let spoilt = if in_map { &mut part.map } else { &mut part.frames[0] };
        for (place, flip) in spoils {
            if !spoilt.is_empty() {
                let place = place.index(spoilt.len());
                spoilt[place] ^= flip;
            }
        }
        let Ok(map) = Map::decode(&part.map, part.region.length() as u32, old.len() as u64) else { return Ok(()) };
        let mut start = 0;
        for (frame, bytes) in part.region.frames.iter().zip(&part.frames) {
            let run = start..start + frame.length;
            start = run.end;
            if let Ok(out) = map.apply(bytes, run, &old.as_slice()) {
                prop_assert_eq!(out.len(), frame.length as usize);
            }
        }
    }
}
