//! Metadata as somebody writes them who has a key and no scruples: any content, signed with whatever is at hand.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::json as strict;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::{Role, delegated_name, key_id};

use super::Repo;

/// A metadata file over `signed` with these keys' signatures.
pub fn sign(signed: &Value, keys: &[&LocalKey]) -> Vec<u8> {
    let message = strict::canonical(signed).unwrap();
    let signature = |key: &&LocalKey| {
        let sig = hex::encode(key.sign(&message).unwrap().0);
        json!({ "keyid": key_id(&key.public()).unwrap(), "sig": sig })
    };
    let signatures: Vec<Value> = keys.iter().map(signature).collect();
    strict::to_bytes(&json!({ "signatures": signatures, "signed": signed })).unwrap()
}

/// What a file above says of this one.
pub fn pin(bytes: &[u8]) -> Value {
    let version = parsed(bytes)["signed"]["version"].clone();
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": Digest::of(bytes) } })
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

impl Repo {
    /// The newest version of a role that is here.
    pub fn version(&self, role: Role) -> u64 {
        self.signed(role)["version"].as_u64().unwrap()
    }

    /// The bytes of its newest file.
    pub fn bytes(&self, role: Role) -> &[u8] {
        let versions = self.metadata.keys().filter_map(|name| {
            let number = name.strip_suffix(role.file_name())?.strip_suffix('.')?;
            number.parse::<u64>().ok()
        });
        let name = match role {
            Role::Timestamp => role.file_name().to_owned(),
            _ => role.served_name(versions.max().unwrap()),
        };
        &self.metadata[&name]
    }

    /// What its newest file signs.
    pub fn signed(&self, role: Role) -> Value {
        parsed(self.bytes(role))["signed"].clone()
    }

    /// The targets before the newest: what a device knows that has not heard of those.
    pub fn known(&self) -> Vec<u8> {
        self.metadata[&Role::Targets.served_name(self.version(Role::Targets) - 1)].clone()
    }

    /// Serves a file under the name that its version gives it.
    pub fn put(&mut self, role: Role, bytes: Vec<u8>) {
        let version = parsed(&bytes)["signed"]["version"].as_u64().unwrap();
        self.metadata.insert(role.served_name(version), bytes);
    }

    /// The next version of a role, edited, and signed with `keys`.
    pub fn next(&mut self, role: Role, keys: &[&LocalKey], edit: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut signed = self.signed(role);
        signed["version"] = json!(self.version(role) + 1);
        edit(&mut signed);
        let bytes = sign(&signed, keys);
        self.put(role, bytes.clone());
        bytes
    }

    /// Puts these targets metadata in force with the online keys: a new snapshot over them and a new timestamp over that.
    pub fn seal(&mut self, targets: &[u8], now: Timestamp) {
        self.seal_edited(targets, now, |_| {}, |_| {});
    }

    /// As [`Repo::seal`], with something of its own in the snapshot and in the timestamp.
    pub fn seal_edited(
        &mut self,
        targets: &[u8],
        now: Timestamp,
        snapshot: impl FnOnce(&mut Value),
        timestamp: impl FnOnce(&mut Value),
    ) {
        let expires = format_utc(now + SignedDuration::from_hours(24));
        let key = self.snapshot_key.clone();
        let bytes = self.next(Role::Snapshot, &[&key], |signed| {
            signed["meta"]["targets.json"] = pin(targets);
            signed["expires"] = json!(expires);
            snapshot(signed);
        });
        let key = self.timestamp_key.clone();
        self.next(Role::Timestamp, &[&key], |signed| {
            signed["meta"]["snapshot.json"] = pin(&bytes);
            signed["expires"] = json!(expires);
            timestamp(signed);
        });
    }

    /// Publishes targets metadata as their owner would, or as somebody would with other keys: the next version, edited,
    /// signed with `keys`, and in force.
    pub fn publish(&mut self, keys: &[&LocalKey], now: Timestamp, edit: impl FnOnce(&mut Value)) {
        let bytes = self.next(Role::Targets, keys, |signed| {
            signed["signed_at"] = json!(format_utc(now));
            edit(signed);
        });
        self.seal(&bytes, now);
    }

    /// The newest list of a delegated role: its version and its bytes.
    pub fn delegated(&self, role: &str) -> (u64, &[u8]) {
        let versions = self.metadata.keys().filter_map(|name| {
            let number = name.strip_suffix(".json")?.strip_suffix(role)?.strip_suffix('.')?;
            number.parse::<u64>().ok()
        });
        let version = versions.max().unwrap();
        (version, &self.metadata[&delegated_name(role, version)])
    }

    /// Publishes a delegated role's next list as its owner would, or as somebody would with other keys.
    pub fn publish_delegated(&mut self, role: &str, keys: &[&LocalKey], now: Timestamp, edit: impl FnOnce(&mut Value)) {
        let (version, bytes) = self.delegated(role);
        let mut signed = parsed(bytes)["signed"].clone();
        (signed["version"], signed["signed_at"]) = (json!(version + 1), json!(format_utc(now)));
        edit(&mut signed);
        let bytes = sign(&signed, keys);
        self.metadata.insert(delegated_name(role, version + 1), bytes.clone());
        self.seal_delegated(role, Some(&bytes), now);
    }

    /// Has a new snapshot pin this list of a delegated role, or none of it, with the online keys.
    pub fn seal_delegated(&mut self, role: &str, list: Option<&[u8]>, now: Timestamp) {
        let targets = self.bytes(Role::Targets).to_vec();
        let meta = |signed: &mut Value| match list {
            Some(list) => signed["meta"][format!("{role}.json")] = pin(list),
            None => drop(signed["meta"].as_object_mut().unwrap().remove(&format!("{role}.json"))),
        };
        self.seal_edited(&targets, now, meta, |_| {});
    }

    /// Serves a target file under its consistent-snapshot name, and gives what targets metadata say of it.
    pub fn put_target(&mut self, path: &str, content: &[u8], custom: Option<Value>) -> Value {
        let (dir, file) = path.rsplit_once('/').unwrap();
        let digest = Digest::of(content);
        self.targets.insert(format!("{dir}/{digest}.{file}"), content.to_owned());
        let mut target = json!({ "length": content.len(), "hashes": { "sha256": digest } });
        if let Some(custom) = custom {
            target["custom"] = custom;
        }
        target
    }

    /// Serves something else in the place of every target whose path holds `part`.
    pub fn replace_targets(&mut self, part: &str, change: impl Fn(&mut Vec<u8>)) {
        let mut found = false;
        for (_, content) in self.targets.iter_mut().filter(|(name, _)| name.contains(part)) {
            change(content);
            found = true;
        }
        assert!(found, "no target's name holds {part:?}");
    }
}
