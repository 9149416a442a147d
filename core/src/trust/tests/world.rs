//! A repository whose files can be signed into any shape, and a client with a store.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp as Instant};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::json::{canonical, to_bytes};
use crate::sign::{LocalKey, Signer};
use crate::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use crate::trust::{
    Answer, Delegations, Refresh, Repository, Root, Snapshot, Stored, Target, Timestamp, TrustError, Verified, key_id,
};

pub(super) const ROOT_A: u8 = 1;
pub(super) const ROOT_B: u8 = 2;
pub(super) const TARGETS_A: u8 = 3;
pub(super) const TARGETS_B: u8 = 4;
pub(super) const SNAPSHOT: u8 = 5;
pub(super) const TIMESTAMP: u8 = 6;
/// A key that no root names to begin with.
pub(super) const STRANGER: u8 = 7;

pub(super) fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

pub(super) fn role(keys: &[u8], threshold: u32) -> RoleDraft {
    RoleDraft { keys: keys.iter().map(|n| key(*n).public()).collect(), threshold }
}

pub(super) fn now() -> Instant {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

pub(super) fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// Signs anything at all.
pub(super) fn seal(signed: &Value, keys: &[u8]) -> Vec<u8> {
    let message = canonical(signed).unwrap();
    let signature = |n: &u8| {
        let key = key(*n);
        json!({ "keyid": key_id(&key.public()).unwrap(), "sig": hex::encode(key.sign(&message).unwrap().0) })
    };
    to_bytes(&json!({ "signatures": keys.iter().map(signature).collect::<Vec<_>>(), "signed": signed })).unwrap()
}

/// Changes what a file says and signs it again.
pub(super) fn reseal(bytes: &[u8], keys: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut file["signed"]);
    seal(&file["signed"], keys)
}

/// Changes a file without signing it.
pub(super) fn tamper(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut file);
    to_bytes(&file).unwrap()
}

/// A server's files, and the keys of everybody.
#[derive(Clone)]
pub(super) struct World {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) root: RootDraft,
    root_keys: Vec<u8>,
    targets: Vec<u8>,
    targets_version: u64,
    pub(super) snapshot_version: u64,
    pub(super) timestamp_version: u64,
    pub(super) snapshot_key: u8,
    pub(super) timestamp_key: u8,
    pub(super) now: Instant,
    /// What the snapshot pins beside the top-level targets.
    pub(super) pins: BTreeMap<String, Value>,
}

impl World {
    /// Root 2 of 2, targets 2 of 2, one online key each; one target, everything at version 1.
    pub(super) fn new() -> Self {
        let root = RootDraft {
            version: 1,
            expires: now() + days(365),
            root: role(&[ROOT_A, ROOT_B], 2),
            targets: role(&[TARGETS_A, TARGETS_B], 2),
            snapshot: role(&[SNAPSHOT], 1),
            timestamp: role(&[TIMESTAMP], 1),
        };
        let mut world = Self {
            files: BTreeMap::new(),
            root,
            root_keys: vec![ROOT_A, ROOT_B],
            targets: Vec::new(),
            targets_version: 0,
            snapshot_version: 0,
            timestamp_version: 0,
            snapshot_key: SNAPSHOT,
            timestamp_key: TIMESTAMP,
            now: now(),
            pins: BTreeMap::new(),
        };
        world.put_root(&[ROOT_A, ROOT_B]);
        world.put_targets(1);
        world
    }

    fn put_root(&mut self, keys: &[u8]) {
        let keys: Vec<_> = keys.iter().map(|n| key(*n)).collect();
        let signers: Vec<&dyn Signer> = keys.iter().map(|k| k as &dyn Signer).collect();
        let bytes = edit::sign_root(&self.root, &signers).unwrap();
        self.files.insert(format!("{}.root.json", self.root.version), bytes);
    }

    /// A new root version; `root_keys` sign it beside the ones before them.
    pub(super) fn rotate(&mut self, root_keys: &[u8], change: impl FnOnce(&mut RootDraft)) {
        self.root.version += 1;
        change(&mut self.root);
        let mut keys = self.root_keys.clone();
        keys.extend(root_keys);
        self.put_root(&keys);
        self.root_keys = root_keys.to_vec();
    }

    /// Targets of that version, put in force.
    pub(super) fn put_targets(&mut self, version: u64) {
        let mut draft = TargetsDraft::first(self.now, edit::CATALOG_LIFETIME);
        draft.version = version;
        draft.targets.insert("dir/file.txt".to_owned(), Target::of(b"hello", Some(json!({ "n": version }))));
        let keys = [TARGETS_A, TARGETS_B].map(key);
        self.targets = edit::sign_targets(&draft, &[&keys[0], &keys[1]]).unwrap();
        self.targets_version = version;
        self.files.insert(format!("{version}.targets.json"), self.targets.clone());
        self.put_snapshot();
    }

    /// Targets that are any bytes, put in force under that version.
    pub(super) fn force_targets(&mut self, version: u64, bytes: Vec<u8>) {
        self.files.insert(format!("{version}.targets.json"), bytes.clone());
        self.targets = bytes;
        self.targets_version = version;
        self.put_snapshot();
    }

    /// The next snapshot, and a timestamp for it.
    pub(super) fn put_snapshot(&mut self) {
        self.snapshot_version += 1;
        let mut snapshot =
            self.pin("snapshot", self.snapshot_version, "targets.json", self.targets_version, &self.targets);
        for (name, pin) in &self.pins {
            snapshot["meta"][name] = pin.clone();
        }
        self.force_snapshot(seal(&snapshot, &[self.snapshot_key]));
    }

    /// A snapshot that is any bytes, and a timestamp for it.
    pub(super) fn force_snapshot(&mut self, bytes: Vec<u8>) {
        self.files.insert(format!("{}.snapshot.json", self.snapshot_version), bytes);
        self.put_timestamp();
    }

    /// The next timestamp, for the newest snapshot.
    pub(super) fn put_timestamp(&mut self) {
        self.timestamp_version += 1;
        let bytes = self.files[&format!("{}.snapshot.json", self.snapshot_version)].clone();
        let stamp = self.pin("timestamp", self.timestamp_version, "snapshot.json", self.snapshot_version, &bytes);
        self.files.insert("timestamp.json".to_owned(), seal(&stamp, &[self.timestamp_key]));
    }

    fn pin(&self, role: &str, version: u64, of: &str, of_version: u64, bytes: &[u8]) -> Value {
        let sha256 = crate::digest::Digest::of(bytes);
        let pin = json!({ "version": of_version, "length": bytes.len(), "hashes": { "sha256": sha256 } });
        let expires = crate::clock::format_utc(self.now + days(7));
        json!({ "_type": role, "spec_version": "1.0.34", "version": version, "expires": expires, "meta": { of: pin } })
    }

    /// Changes a served file without regard to what pins it.
    pub(super) fn replace(&mut self, name: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) {
        let bytes = change(&self.files[name]);
        self.files.insert(name.to_owned(), bytes);
    }

    /// A client that has the first root and nothing else.
    pub(super) fn client(&self) -> Client {
        Client { store: Stored { root: self.files["1.root.json"].clone(), ..Stored::default() }, asked: Vec::new() }
    }

    pub(super) fn verified_root(&self) -> Verified<Root> {
        Verified::pinned(&self.files[&format!("{}.root.json", self.root.version)]).unwrap()
    }
}

/// What a store gives without a network.
pub(super) fn offline(store: Stored, now: Instant) -> Result<Repository, TrustError> {
    Refresh::start(store, now)?.offline()?.finish()
}

/// A client's store, and what it asked for.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) store: Stored,
    pub(super) asked: Vec<String>,
}

impl Client {
    pub(super) fn refresh(&mut self, world: &World) -> Result<Repository, TrustError> {
        self.refresh_at(world, world.now)
    }

    pub(super) fn refresh_at(&mut self, world: &World, now: Instant) -> Result<Repository, TrustError> {
        self.run(Refresh::start(self.store.clone(), now)?, world)
    }

    /// As [`Client::refresh`], for a repository that may delegate.
    pub(super) fn follow(&mut self, world: &World) -> Result<Repository, TrustError> {
        self.run(Refresh::start(self.store.clone(), world.now)?.delegations(Delegations::Followed), world)
    }

    fn run(&mut self, mut refresh: Refresh, world: &World) -> Result<Repository, TrustError> {
        self.asked.clear();
        while let Some(request) = refresh.request() {
            self.asked.push(request.name.clone());
            let answer = world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
            for change in refresh.supply(answer)? {
                self.store.apply(&change);
            }
        }
        refresh.finish()
    }

    /// Version of what is stored, read without a key.
    pub(super) fn stored_version(&self, file: Option<&Vec<u8>>) -> Option<u64> {
        let value: Value = serde_json::from_slice(file?).unwrap();
        value["signed"]["version"].as_u64()
    }
}

/// The refresh is refused by this rule, for this reason.
macro_rules! refused {
    ($result:expr, $pattern:pat) => {{
        let result = $result;
        assert!(matches!(&result, Err($pattern)), "wanted {}, got {result:?}", stringify!($pattern));
    }};
}
pub(super) use refused;

#[test]
fn the_world_itself_is_sound() {
    let world = World::new();
    let repository = world.client().refresh(&world).unwrap();
    assert_eq!(repository.seen().targets, 1);
    let root = world.verified_root();
    let stamp: Verified<Timestamp> = Verified::by(&root, &world.files["timestamp.json"]).unwrap();
    assert_eq!((stamp.version(), stamp.snapshot().version()), (1, 1));
    let snapshot: Verified<Snapshot> = Verified::by(&root, &world.files["1.snapshot.json"]).unwrap();
    assert_eq!(snapshot.targets().version(), 1);
}
