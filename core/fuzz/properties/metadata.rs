//! The four files of a repository: raw bytes against the door, and signed parts of any shape behind good signatures.

use serde_json::Value;
use suture_core::json;
use suture_core::trust::{Metadata, Role, Root, Snapshot, Targets, Timestamp, Verified, edit, verify_publication};

use super::world;

/// The first byte says which role, and whether the rest is a file or only its signed part, to be signed by every key.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let sealed = choice & 4 != 0;
    let file = if sealed {
        let Ok(signed) = json::parse(rest) else { return };
        world::seal(&signed, &(1..=world::KEYS).collect::<Vec<_>>())
    } else {
        rest.to_vec()
    };
    let first = world::first_root();
    let root = Verified::pinned(&first).expect("a sound root");
    match Role::ALL.get(usize::from(choice & 3)) {
        Some(Role::Root) => roots(&root, &file),
        Some(Role::Targets) => {
            by::<Targets>(&root, &file);
            targets(&root, &first, &file);
        }
        Some(Role::Snapshot) => by::<Snapshot>(&root, &file),
        _ => by::<Timestamp>(&root, &file),
    }
}

fn by<T: Metadata + PartialEq + std::fmt::Debug>(root: &Verified<Root>, file: &[u8]) {
    let Ok(verified) = Verified::<T>::by(root, file) else {
        // One more signature does not make a file readable that was not.
        let _ = edit::countersign::<T>(file, world::key(world::KEYS));
        return;
    };
    same(&verified, file, |bytes| Verified::<T>::by(root, bytes).ok());
    let more = edit::countersign::<T>(file, world::key(world::KEYS)).expect("what is valid can be countersigned");
    let more = Verified::<T>::by(root, &more).expect("a stranger's signature spoils nothing");
    assert_eq!(*more, *verified);
}

fn roots(root: &Verified<Root>, file: &[u8]) {
    if let Ok(pinned) = Verified::pinned(file) {
        same(&pinned, file, |bytes| Verified::pinned(bytes).ok());
        for role in Role::ALL {
            let authority = pinned.authority(role);
            assert!(authority.threshold() > 0);
        }
    }
    if let Ok(next) = root.next(file) {
        assert_eq!(next.version(), root.version() + 1);
        assert_eq!(Verified::pinned(file).expect("what follows a root is sound by itself"), next);
    }
}

/// Accepted: version from 1 on, the bytes kept as they came, the same said by any other writing of the same value.
fn same<T: Metadata + PartialEq + std::fmt::Debug>(
    verified: &Verified<T>,
    file: &[u8],
    again: impl Fn(&[u8]) -> Option<Verified<T>>,
) {
    assert_eq!(verified.bytes(), file);
    assert!(verified.version() > 0);
    assert!(file.len() as u64 <= T::ROLE.max_bytes());
    let value = json::parse(file).expect("what was verified is strict JSON");
    let rewritten = json::to_bytes(&value).expect("it holds no float");
    if rewritten.len() as u64 <= T::ROLE.max_bytes() {
        assert_eq!(**again(&rewritten).as_ref().expect("another writing of the same value"), **verified);
    }
    // A signed part that says anything else is not what was signed.
    let mut changed = value;
    if let Some(Value::Object(signed)) = changed.get_mut("signed") {
        signed.insert("x".repeat(40), Value::Bool(true));
        let changed = json::to_bytes(&changed).expect("it holds no float");
        assert!(again(&changed).is_none(), "one field more, and it is still accepted");
    }
}

/// Targets: what is listed can be named in a directory and nowhere else, and a publication follows the same rules.
fn targets(root: &Verified<Root>, first: &[u8], file: &[u8]) {
    let verified = Verified::<Targets>::by(root, file);
    if let Ok(targets) = &verified {
        for (path, target) in targets.targets() {
            let name = targets.file_name(path).expect("what is listed has a file name");
            assert!(name.contains(&target.sha256.to_string()));
            assert!(!name.starts_with('/') && !name.contains('\\') && !name.contains('\0'));
            assert!(!name.split('/').any(|segment| matches!(segment, "" | "." | "..")), "{name:?} leads elsewhere");
            if target.length != 5 {
                assert!(targets.verify_target(path, b"hello").is_err());
            }
        }
    }
    if let Ok(published) = verify_publication(Some(first), &[], None, Some(file), world::now()) {
        let targets = verified.expect("what is published verifies");
        assert_eq!(published.targets, targets);
        assert!(targets.expires() > world::now());
        assert!(targets.signed_at().is_some());
    }
}
