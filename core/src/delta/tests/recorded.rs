//! Deltas as they were once made, with the number of their format: what a device makes of one must never change under the
//! same number, for servers keep what they have made.
//!
//! After [`FORMAT`] was raised they are made anew:
//!
//! ```text
//! SUTURE_SEEDS=write cargo test -p suture-core recorded
//! ```

use std::fs;
use std::path::PathBuf;

use super::program::{arm_program, object, program};
use super::{made, noise, tree};
use crate::delta::{FORMAT, Head, Map};
use crate::digest::Digest;

const CHANGED: &str = "a recorded delta makes other bytes than it did: whatever changed that needs another number, so raise suture_core::delta::FORMAT";

/// Programs of every kind that have moved and changed, and a text that repeats itself.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let change = |mut bytes: Vec<u8>| {
        bytes.iter_mut().skip(5_000).step_by(1_997).for_each(|byte| *byte = byte.wrapping_add(3));
        bytes
    };
    let text: String = (0..400).map(|i| format!("line {} of {}\n", i * i % 71, i % 13)).collect();
    let old = tree(&[
        ("d/arm", &arm_program(200, &[])),
        ("d/module", &object(150, &[])),
        ("d/program", &program(200, &[])),
        ("d/same", &noise(20_000, 21)),
    ]);
    let new = tree(&[
        ("d/arm", &change(arm_program(200, &[20, 150]))),
        ("d/module", &change(object(150, &[40, 41, 99]))),
        ("d/program", &change(program(200, &[7, 100]))),
        ("d/same", &change(noise(20_000, 21))),
        ("d/text", text.as_bytes()),
    ]);
    (old, new)
}

fn path(name: &str, format: u8) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/delta/tests/recorded");
    dir.join(format!("{name}-{format}.delta"))
}

fn record(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (head, parts) = made(old, new);
    let mut bytes = head.to_bytes().unwrap();
    for part in parts {
        bytes.extend(part.map);
        bytes.extend(part.frames.concat());
    }
    bytes
}

/// What a device makes of it.
fn apply(delta: &[u8], old: &[u8]) -> Option<Vec<u8>> {
    let (head, length) = Head::parse(delta).ok()?;
    assert_eq!(head.old.sha256, Digest::of(old), "the old payload of this test is another than was recorded");
    let mut rest = &delta[length..];
    let mut take = |bytes: u32| {
        let (part, left) = rest.split_at(bytes as usize);
        rest = left;
        part
    };
    let mut made = Vec::new();
    for region in &head.regions {
        let map = Map::decode(take(region.map_bytes), region.length() as u32, head.old.length).ok()?;
        let mut start = 0;
        for frame in &region.frames {
            made.extend(map.apply(take(frame.bytes), start..start + frame.length, &old).ok()?);
            start += frame.length;
        }
    }
    Some(made)
}

#[test]
fn what_was_made_under_this_format_makes_the_same_for_ever() {
    let (old, new) = pair();
    let fresh = [program(200, &[]), noise(30_000, 22), program(150, &[])].concat();
    for (name, old, new) in [("changed", old, new), ("fresh", Vec::new(), fresh)] {
        let path = path(name, FORMAT);
        let write = std::env::var("SUTURE_SEEDS").is_ok_and(|v| v == "write");
        // What is there under this number is never written over.
        if write && !path.exists() {
            fs::write(&path, record(&old, &new)).unwrap();
        }
        let delta = fs::read(&path);
        let delta = delta.unwrap_or_else(|e| panic!("{}: {e}; make it with SUTURE_SEEDS=write", path.display()));
        assert!(apply(&delta, &old).is_some_and(|made| made == new), "{}: {CHANGED}", path.display());
    }
    // Of another number it makes nothing, for nobody knows what.
    let before = [b"SUTURED", [FORMAT - 1].as_slice(), &[0; 84]].concat();
    let error = Head::parse(&before).unwrap_err().to_string();
    assert!(error.contains("format"), "{error}");
}
