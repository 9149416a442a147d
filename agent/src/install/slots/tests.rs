use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use suture_core::chunk::{Entry, Index, cut};
use suture_core::manifest::{Install, InstallKind, PatchClass, Requires, TYPE};
use suture_core::version::Release;

use super::*;
use crate::config::Command;
use crate::install::suite::{Bench, Bundle, contract_suite};

/// A bundle of one tree with one file of that content.
pub(crate) fn bundle(dir: &Path, release: u64, content: &[u8]) -> (Manifest, Vec<u8>, Payloads) {
    manifest_of(dir, release, InstallKind::Slots, &[("app", PayloadFormat::Tree, content.to_vec())])
}

/// A bundle of payloads of these contents: of a tree that of its one file, `bin/app`.
pub(crate) fn manifest_of(
    dir: &Path,
    release: u64,
    kind: InstallKind,
    contents: &[(&str, PayloadFormat, Vec<u8>)],
) -> (Manifest, Vec<u8>, Payloads) {
    let mut payloads = Vec::new();
    for (place, (name, format, content)) in contents.iter().enumerate() {
        let suffix = if place == 0 { format!("{release}") } else { format!("{release}-{name}") };
        let bytes = match format {
            PayloadFormat::Image => content.clone(),
            PayloadFormat::Tree => {
                let tree = dir.join(format!("tree-{suffix}"));
                fs::create_dir_all(tree.join("bin")).unwrap();
                fs::write(tree.join("bin/app"), content).unwrap();
                tree::pack(&tree, Vec::new()).unwrap()
            }
        };
        let entries: Vec<_> = cut(bytes.as_slice())
            .map(|chunk| chunk.unwrap())
            .map(|chunk| Entry { sha256: Digest::of(&chunk), length: u32::try_from(chunk.len()).unwrap() })
            .collect();
        let index = Index::new(entries).unwrap().to_bytes();
        let payload = Payload {
            name: name.parse().unwrap(),
            format: *format,
            length: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            index_length: index.len() as u64,
            index_sha256: Digest::of(&index),
        };
        let file = dir.join(format!("payload-{suffix}"));
        fs::write(&file, &bytes).unwrap();
        payloads.push((payload, file, index));
    }
    let manifest = Manifest {
        kind: TYPE.into(),
        format: 1,
        product: "pump".parse().unwrap(),
        version: format!("{release}.0.0").parse().unwrap(),
        release: Release(release),
        hardware: vec!["rev-a".parse().unwrap()],
        requires: Requires { min_release: Release(0) },
        class: PatchClass::Routine,
        install: Install { kind, budget_secs: 60, revert_budget_secs: 60, return_to_service: false, data: None },
        payloads: payloads.iter().map(|(payload, ..)| payload.clone()).collect(),
        documents: vec![],
        risks: vec![],
    };
    let bytes = manifest.to_bytes().unwrap();
    (manifest, bytes, payloads)
}

fn world() -> (tempfile::TempDir, Slots) {
    let dir = tempfile::tempdir().unwrap();
    let slots = Slots::new(&dir.path().join("slots"));
    fs::create_dir(slots.dir()).unwrap();
    (dir, slots)
}

/// Found: with the shipped unit's umask what was installed was for root alone, and the device's software, which is another account's,
/// did not start.
#[test]
fn the_devices_own_accounts_may_enter_what_is_installed_whatever_the_umask_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, slots) = world();
    let contents =
        [("app", PayloadFormat::Tree, b"tree".to_vec()), ("kernel", PayloadFormat::Image, b"image".to_vec())];
    let (_, manifest, payloads) = manifest_of(dir.path(), 1, InstallKind::Slots, &contents);
    let mode = |place: &Path| fs::metadata(place).unwrap().permissions().mode() & 0o777;
    let signed = |name: &str| mode(&dir.path().join("tree-1").join(name));
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let slot = slots.path(slots.write(&manifest, &payloads).unwrap());
    for (name, wanted) in [
        ("", 0o755),
        ("app", 0o755),
        ("app/bin", signed("bin")),
        ("app/bin/app", signed("bin/app")),
        ("kernel", 0o644),
        (".suture", 0o755),
        (".suture/manifest.json", 0o644),
        (".suture/app.index", 0o644),
        (".suture/kernel.index", 0o644),
    ] {
        assert_eq!(mode(&slot.join(name)), wanted, "{name:?}");
    }
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
fn a_slot_that_does_not_say_what_it_holds_is_left_for_the_one_that_does() {
    let (dir, slots) = world();
    let (_, one, one_payloads) = bundle(dir.path(), 1, b"one");
    let (_, two, two_payloads) = bundle(dir.path(), 2, b"two");
    slots.write(&one, &one_payloads).unwrap();
    slots.switch(Side::A).unwrap();
    slots.write(&two, &two_payloads).unwrap();
    slots.switch(Side::B).unwrap();
    fs::write(slots.path(Side::B).join(".suture/manifest.json"), b"").unwrap();
    // Not for the very version that is to be left.
    slots.switch_from(&Digest::of(&one)).unwrap_err();
    slots.switch_from(&Digest::of(&two)).unwrap();
    assert_eq!(slots.running().unwrap().unwrap().manifest.release, Release(1));
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

/// A device with slots, as a factory leaves it.
struct Device {
    dir: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        let (dir, slots) = world();
        let first = bundle(dir.path(), 1, b"one");
        slots.provision(&first.1, &first.2, &Within::limit(Duration::from_secs(60))).unwrap();
        Self { dir }
    }

    fn slots(&self) -> Slots {
        Slots::new(&self.dir.path().join("slots"))
    }
}

impl Bench for Device {
    fn contract(&self) -> Arc<dyn Contract> {
        Arc::new(self.slots())
    }

    fn bundle(&self, release: u64) -> Bundle {
        let content: Vec<u8> = (0..100_000).map(|at| (at * (release + 6) / 3 % 251) as u8).collect();
        let (manifest, bytes, payloads) = bundle(self.dir.path(), release, &content);
        Bundle { manifest, bytes, payloads }
    }

    fn restart(&self) -> Command {
        Command { argv: vec!["true".to_owned()], timeout: Duration::from_secs(60) }
    }

    fn files(&self, version: &Version) -> Vec<PathBuf> {
        let path = self.slots().path(version.side);
        vec![path.join("app/bin/app"), path.join(".suture/manifest.json")]
    }
}

contract_suite!(Device::new());
