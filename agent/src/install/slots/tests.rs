use std::os::unix::fs::symlink;
use std::path::Path;

use suture_core::chunk::{Entry, Index, cut};
use suture_core::manifest::{Install, InstallKind, PatchClass, Requires, TYPE};
use suture_core::version::Release;

use super::*;

/// A bundle of one tree with one file of that content.
pub(crate) fn bundle(dir: &Path, release: u64, content: &[u8]) -> (Manifest, Vec<u8>, Payloads) {
    let tree = dir.join(format!("tree-{release}"));
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/app"), content).unwrap();
    let bytes = tree::pack(&tree, Vec::new()).unwrap();
    let entries: Vec<_> = cut(bytes.as_slice())
        .map(|chunk| chunk.unwrap())
        .map(|chunk| Entry { sha256: Digest::of(&chunk), length: u32::try_from(chunk.len()).unwrap() })
        .collect();
    let index = Index::new(entries).unwrap().to_bytes();
    let payload = Payload {
        name: "app".parse().unwrap(),
        format: PayloadFormat::Tree,
        length: bytes.len() as u64,
        sha256: Digest::of(&bytes),
        index_length: index.len() as u64,
        index_sha256: Digest::of(&index),
    };
    let manifest = Manifest {
        kind: TYPE.into(),
        format: 1,
        product: "pump".parse().unwrap(),
        version: format!("{release}.0.0").parse().unwrap(),
        release: Release(release),
        hardware: vec!["rev-a".parse().unwrap()],
        requires: Requires { min_release: Release(0) },
        class: PatchClass::Routine,
        install: Install {
            kind: InstallKind::Slots,
            budget_secs: 60,
            revert_budget_secs: 60,
            return_to_service: false,
        },
        payloads: vec![payload.clone()],
        documents: vec![],
        risks: vec![],
    };
    let file = dir.join(format!("payload-{release}"));
    fs::write(&file, &bytes).unwrap();
    let manifest_bytes = manifest.to_bytes().unwrap();
    (manifest, manifest_bytes, vec![(payload, file, index)])
}

fn world() -> (tempfile::TempDir, Slots) {
    let dir = tempfile::tempdir().unwrap();
    let slots = Slots::new(&dir.path().join("slots"));
    fs::create_dir(slots.dir()).unwrap();
    (dir, slots)
}

#[test]
fn every_operation_can_be_repeated() {
    let (dir, slots) = world();
    let (_, one, one_payloads) = bundle(dir.path(), 1, b"one");
    let (_, two, two_payloads) = bundle(dir.path(), 2, b"two");
    assert!(slots.running().unwrap().is_none());
    for _ in 0..2 {
        assert_eq!(slots.write(&one, &one_payloads).unwrap(), Side::A);
    }
    for _ in 0..2 {
        slots.switch_to(&Digest::of(&one)).unwrap();
        assert_eq!(slots.current().unwrap(), Some(Side::A));
    }
    for _ in 0..2 {
        assert_eq!(slots.write(&two, &two_payloads).unwrap(), Side::B);
        slots.verify(Side::B, &Digest::of(&two)).unwrap();
        assert_eq!(slots.running().unwrap().unwrap().manifest.release, Release(1), "writing changes nothing that runs");
    }
    for _ in 0..2 {
        slots.switch_to(&Digest::of(&two)).unwrap();
        assert_eq!(fs::read(slots.dir().join("current/app/bin/app")).unwrap(), b"two");
    }
    for _ in 0..2 {
        slots.switch_from(&Digest::of(&two)).unwrap();
        assert_eq!(fs::read(slots.dir().join("current/app/bin/app")).unwrap(), b"one");
    }
    slots.verify(Side::A, &Digest::of(&one)).unwrap();
}

#[test]
fn a_wrong_byte_is_found_while_unpacking_and_again_before_the_switch() {
    let (dir, slots) = world();
    let (_, one, mut payloads) = bundle(dir.path(), 1, b"one");
    slots.write(&one, &payloads).unwrap();
    fs::write(slots.path(Side::A).join("app/bin/app"), b"0ne").unwrap();
    assert!(matches!(slots.verify(Side::A, &Digest::of(&one)), Err(InstallError::WrongBytes { .. })));
    let flipped = dir.path().join("flipped");
    let mut bytes = fs::read(dir.path().join("payload-1")).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&flipped, bytes).unwrap();
    payloads[0].1 = flipped;
    assert!(matches!(slots.write(&one, &payloads), Err(InstallError::WrongBytes { .. })));
    assert!(slots.manifest(Side::A).unwrap().is_some(), "what was there before is untouched");
    assert!(!slots.dir().join("a.new").exists(), "and what was written in vain takes no room");
}

#[test]
fn what_a_cut_left_behind_is_written_over() {
    let (dir, slots) = world();
    let (_, one, payloads) = bundle(dir.path(), 1, b"one");
    fs::create_dir_all(slots.dir().join("a.new/app/bin")).unwrap();
    fs::write(slots.dir().join("a.new/app/bin/half"), b"x").unwrap();
    symlink("a", slots.dir().join("current.new")).unwrap();
    slots.write(&one, &payloads).unwrap();
    slots.switch(Side::A).unwrap();
    assert!(!slots.dir().join("current/app/bin/half").exists());
}

#[test]
fn nothing_is_switched_to_that_is_not_whole() {
    let (dir, slots) = world();
    let (_, one, payloads) = bundle(dir.path(), 1, b"one");
    slots.write(&one, &payloads).unwrap();
    slots.switch(Side::A).unwrap();
    assert!(matches!(slots.switch(Side::B), Err(InstallError::Empty { .. })));
    assert!(matches!(slots.switch_to(&Digest::of(b"other")), Err(InstallError::Empty { .. })));
    fs::create_dir(slots.path(Side::B)).unwrap();
    assert!(slots.switch(Side::B).is_err());
    assert_eq!(slots.current().unwrap(), Some(Side::A));
}
