//! The four roles, and whom the root lets speak for each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use super::TrustError;
use super::key::Key;
use crate::digest::Digest;
use crate::json;
use crate::limits::{MAX_ROOT_BYTES, MAX_SIGNATURES, MAX_SNAPSHOT_BYTES, MAX_TARGETS_BYTES, MAX_TIMESTAMP_BYTES};
use crate::sign::PublicKey;

/// A top-level role of a TUF repository. Delegated roles are targets roles, and are told apart by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Says who speaks for every role, itself included. Offline.
    Root,
    /// Lists what the repository is about. Offline.
    Targets,
    /// Pins which targets metadata are in force together. Online.
    Snapshot,
    /// Says which snapshot is the newest. Online.
    Timestamp,
}

impl Role {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];

    /// The name in metadata.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    /// The name of its file in a client's store.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Root => "root.json",
            Self::Targets => "targets.json",
            Self::Snapshot => "snapshot.json",
            Self::Timestamp => "timestamp.json",
        }
    }

    /// The name of one version's file at the server: `N.root.json`, and `timestamp.json` for every timestamp.
    pub fn served_name(self, version: u64) -> String {
        match self {
            Self::Timestamp => self.file_name().to_owned(),
            _ => format!("{version}.{}", self.file_name()),
        }
    }

    /// The most bytes that such a file may have.
    pub const fn max_bytes(self) -> u64 {
        match self {
            Self::Root => MAX_ROOT_BYTES,
            Self::Targets => MAX_TARGETS_BYTES,
            Self::Snapshot => MAX_SNAPSHOT_BYTES,
            Self::Timestamp => MAX_TIMESTAMP_BYTES,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key object of an Ed25519 key, in the form that metadata give it.
pub fn key_object(public: &PublicKey) -> Value {
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public.to_string() } })
}

/// The id of an Ed25519 key: the SHA-256 of the canonical form of its [`key_object`].
pub fn key_id(public: &PublicKey) -> Result<Digest, TrustError> {
    key_id_of(Role::Root, &key_object(public))
}

/// A key's id covers the whole object, fields that this program does not know included.
fn key_id_of(role: Role, object: &Value) -> Result<Digest, TrustError> {
    let bytes = json::canonical(object).map_err(|source| TrustError::Json { role, source })?;
    Ok(Digest::of(&bytes))
}

/// Who speaks for one role, and how many of them it takes.
///
/// A key of a kind that this program cannot verify keeps its place among the ids and never counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    threshold: usize,
    keys: BTreeMap<Digest, Option<Key>>,
}

impl Authority {
    /// How many distinct keys must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The Ed25519 keys that may sign, the only ones that a program verifies with.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.values().flatten().filter_map(Key::ed25519)
    }

    /// The same keys, any one of which suffices: for what may be stopped by anybody who may approve it.
    pub(super) fn any_one(&self) -> Self {
        Self { threshold: 1, ..self.clone() }
    }

    /// One key, which speaks for itself.
    pub(super) fn single(key: &PublicKey) -> Result<Self, TrustError> {
        Ok(Self { threshold: 1, keys: BTreeMap::from([(key_id(key)?, Some(Key::Ed25519(*key)))]) })
    }

    /// The key of that id, if the role lists it and this program can verify with it.
    pub(super) fn key(&self, id: &Digest) -> Option<&Key> {
        self.keys.get(id)?.as_ref()
    }
}

/// One role's entry in the root's `roles`, or in those of a delegation.
#[derive(Deserialize)]
pub(super) struct RoleEntry {
    keyids: Vec<Digest>,
    threshold: usize,
}

/// The `keys` of a root or of delegations: every id is checked against its object, so that an id cannot stand for two keys.
pub(super) struct Keys {
    /// Whose file lists them.
    role: Role,
    by_id: BTreeMap<Digest, Option<Key>>,
}

impl Keys {
    pub(super) fn read(role: Role, keys: BTreeMap<Digest, Value>) -> Result<Self, TrustError> {
        let rule = |rule| TrustError::Rule { role, rule };
        if keys.len() > MAX_SIGNATURES {
            return Err(rule("keys lists too many"));
        }
        let mut by_id = BTreeMap::new();
        for (id, object) in keys {
            if key_id_of(role, &object)? != id {
                return Err(rule("a key id is not the SHA-256 of its key"));
            }
            by_id.insert(id, Key::read(&object).map_err(rule)?);
        }
        Ok(Self { role, by_id })
    }

    /// Whom an entry lets speak for its role.
    pub(super) fn authority(&self, entry: RoleEntry) -> Result<Authority, TrustError> {
        let rule = |rule| TrustError::Rule { role: self.role, rule };
        let ids: BTreeSet<Digest> = entry.keyids.iter().copied().collect();
        if ids.len() != entry.keyids.len() {
            return Err(rule("a role lists a key id twice"));
        }
        if entry.threshold == 0 {
            return Err(rule("a role's threshold is 0"));
        }
        if entry.threshold > ids.len() {
            return Err(rule("a role's threshold is greater than the number of its keys"));
        }
        let mut keys = BTreeMap::new();
        for id in ids {
            let key = self.by_id.get(&id).ok_or_else(|| rule("a role lists a key id that keys does not hold"))?;
            keys.insert(id, key.clone());
        }
        Ok(Authority { threshold: entry.threshold, keys })
    }
}
