//! Keys, and files that they sign into any shape.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_core::json::{canonical, to_bytes};
use suture_core::sign::{LocalKey, Signer};
use suture_core::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Role, Root, Target, Verified, key_id};
use zeroize::Zeroizing;

pub(crate) const ROOT_A: u8 = 1;
pub(crate) const ROOT_B: u8 = 2;
pub(crate) const TARGETS_A: u8 = 3;
pub(crate) const TARGETS_B: u8 = 4;
pub(crate) const SNAPSHOT: u8 = 5;
pub(crate) const TIMESTAMP: u8 = 6;
/// How many keys there are; no root names the last to begin with.
pub(crate) const KEYS: u8 = 7;

/// All that a byte can name, made once: making them anew took a fifth of every execution.
static ALL: LazyLock<[LocalKey; 256]> =
    LazyLock::new(|| std::array::from_fn(|n| LocalKey::from_seed(&Zeroizing::new([n as u8; 32]))));

thread_local! {
    /// What was signed before, in this execution or in another: scripts begin alike, and one key signs the same the same
    /// way.
    static SIGNED: RefCell<HashMap<(u8, Vec<u8>), String>> = RefCell::default();
}
/// Signatures that are remembered; then all are forgotten. About 16 MB.
const MAX_SIGNED: usize = 20_000;

pub(crate) fn key(n: u8) -> &'static LocalKey {
    &ALL[usize::from(n)]
}

pub(crate) fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().expect("an instant")
}

pub(crate) fn role(keys: &[u8], threshold: u32) -> RoleDraft {
    RoleDraft { keys: keys.iter().map(|n| key(*n).public()).collect(), threshold }
}

/// Root 2 of 2, targets 2 of 2, one online key each.
pub(crate) fn root_draft(version: u64) -> RootDraft {
    RootDraft {
        version,
        expires: now() + edit::ROOT_LIFETIME,
        root: role(&[ROOT_A, ROOT_B], 2),
        targets: role(&[TARGETS_A, TARGETS_B], 2),
        snapshot: role(&[SNAPSHOT], 1),
        timestamp: role(&[TIMESTAMP], 1),
    }
}

pub(crate) fn first_root() -> Vec<u8> {
    edit::sign_root(&root_draft(1), &[key(ROOT_A), key(ROOT_B)]).expect("a sound root")
}

/// The root after it, with another targets key.
pub(crate) fn second_root() -> Vec<u8> {
    let draft = RootDraft { targets: role(&[TARGETS_A, KEYS], 1), ..root_draft(2) };
    edit::sign_root(&draft, &[key(ROOT_A), key(ROOT_B)]).expect("a sound root")
}

/// A whole repository at version 1: root, timestamp, snapshot, targets.
pub(crate) fn repository() -> [(Role, Vec<u8>); 4] {
    let root = first_root();
    let trusted: Verified<Root> = Verified::pinned(&root).expect("a sound root");
    let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    draft.targets.insert("dir/file.txt".to_owned(), Target::of(b"hello", Some(json!({ "n": 1 }))));
    let targets = edit::sign_targets(&draft, &[key(TARGETS_A), key(TARGETS_B)]).expect("sound targets");
    let end = now() + SignedDuration::from_hours(24 * 7);
    let pinned = Verified::by(&trusted, &targets).expect("signed by its keys");
    let snapshot = edit::sign_snapshot(1, end, &pinned, key(SNAPSHOT)).expect("a sound snapshot");
    let pinned = Verified::by(&trusted, &snapshot).expect("signed by its key");
    let timestamp = edit::sign_timestamp(1, end, &pinned, key(TIMESTAMP)).expect("a sound timestamp");
    [(Role::Root, root), (Role::Timestamp, timestamp), (Role::Snapshot, snapshot), (Role::Targets, targets)]
}

/// Signs anything at all.
pub(crate) fn seal(signed: &Value, keys: &[u8]) -> Vec<u8> {
    let message = canonical(signed).expect("no float");
    let signature = |n: &u8| {
        let key = key(*n);
        json!({ "keyid": key_id(&key.public()).expect("an id"), "sig": sign(*n, &message) })
    };
    let signatures: Vec<_> = keys.iter().map(signature).collect();
    to_bytes(&json!({ "signatures": signatures, "signed": signed })).expect("no float")
}

fn sign(n: u8, message: &[u8]) -> String {
    SIGNED.with_borrow_mut(|signed| {
        if signed.len() >= MAX_SIGNED {
            signed.clear();
        }
        let sign = || hex::encode(key(n).sign(message).expect("a key in memory signs").0);
        signed.entry((n, message.to_vec())).or_insert_with(sign).clone()
    })
}
