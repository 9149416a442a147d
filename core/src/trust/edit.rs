//! The publishing side: drafts, and their signing.
//!
//! Pure: keys come as [`Signer`]s, the time as an argument. What is drafted here is read back by the same rules that
//! clients apply before it is handed out, so that nobody signs what nobody will accept.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp as Instant};
use serde_json::{Value, json};

use super::beside;
use super::delegation::listed_name;
use super::metadata::SPEC_VERSION;
use super::role::{key_id, key_object};
use super::verify::{Envelope, Metadata};
use super::{Base, Delegated, Role, Root, Snapshot, Target, Targets, Timestamp, TrustError, Verified};
use crate::clock::{format_utc, whole_second};
use crate::digest::Digest;
use crate::id::OperatorName;
use crate::json;
use crate::sign::{PublicKey, Signer};

/// How long a root counts: 365 days.
pub const ROOT_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How long the catalog's targets count: 180 days.
pub const CATALOG_LIFETIME: SignedDuration = SignedDuration::from_hours(180 * 24);
/// How long the approvals' targets count, where no slot demands longer: 14 days.
pub const APPROVALS_LIFETIME: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long snapshot and timestamp count: 7 days; the server signs them anew daily.
pub const ONLINE_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The keys of one role in a [`RootDraft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDraft {
    /// Who may sign.
    pub keys: Vec<PublicKey>,
    /// How many of them must.
    pub threshold: u32,
}

impl RoleDraft {
    /// One key that signs alone.
    pub fn single(key: PublicKey) -> Self {
        Self { keys: vec![key], threshold: 1 }
    }
}

/// A root to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDraft {
    /// Its version: 1, then one more each time.
    pub version: u64,
    /// When it ends.
    pub expires: Instant,
    /// Who signs roots.
    pub root: RoleDraft,
    /// Who signs targets.
    pub targets: RoleDraft,
    /// The server's key for snapshots.
    pub snapshot: RoleDraft,
    /// The server's key for timestamps.
    pub timestamp: RoleDraft,
}

impl RootDraft {
    /// The same keys, one version on, counting from `now`. Keys of kinds that this program does not know are left out.
    pub fn after(root: &Root, now: Instant) -> Self {
        let role = |role| {
            let authority = root.authority(role);
            let threshold = u32::try_from(authority.threshold()).unwrap_or(u32::MAX);
            RoleDraft { keys: authority.keys().copied().collect(), threshold }
        };
        Self {
            version: root.version().saturating_add(1),
            expires: end(now, ROOT_LIFETIME),
            root: role(Role::Root),
            targets: role(Role::Targets),
            snapshot: role(Role::Snapshot),
            timestamp: role(Role::Timestamp),
        }
    }

    fn to_value(&self) -> Result<Value, TrustError> {
        let mut keys = serde_json::Map::new();
        let mut roles = serde_json::Map::new();
        let drafts = [&self.root, &self.targets, &self.snapshot, &self.timestamp];
        for (role, draft) in [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp].into_iter().zip(drafts) {
            let mut ids = BTreeSet::new();
            for key in &draft.keys {
                let id = key_id(key)?.to_string();
                keys.insert(id.clone(), key_object(key));
                ids.insert(id);
            }
            roles.insert(role.as_str().to_owned(), json!({ "keyids": ids, "threshold": draft.threshold }));
        }
        Ok(json!({
            "_type": Role::Root.as_str(),
            "spec_version": SPEC_VERSION,
            "version": self.version,
            "expires": format_utc(self.expires),
            "consistent_snapshot": true,
            "keys": keys,
            "roles": roles,
        }))
    }
}

/// Signs a root. A root that replaces keys needs signers of the old threshold and of the new one.
pub fn sign_root(draft: &RootDraft, signers: &[&dyn Signer]) -> Result<Vec<u8>, TrustError> {
    sign_held_root(draft, &BTreeMap::new(), signers)
}

/// As [`sign_root`], saying who holds which key. Of those only the keys that the root names are said.
pub fn sign_held_root(
    draft: &RootDraft,
    holders: &BTreeMap<PublicKey, OperatorName>,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, TrustError> {
    let mut value = draft.to_value()?;
    let named = |key: &PublicKey| draft.root.keys.contains(key) || draft.targets.keys.contains(key);
    let held: BTreeMap<_, _> = holders.iter().filter(|(key, _)| named(key)).collect();
    if let (Some(fields), false) = (value.as_object_mut(), held.is_empty()) {
        fields.insert("x-suture-holders".to_owned(), json!(held));
    }
    sign::<Root>(value, signers)
}

/// Targets metadata to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetsDraft {
    /// Its version: one more than the one before.
    pub version: u64,
    /// When it ends.
    pub expires: Instant,
    /// When it is signed.
    pub signed_at: Instant,
    /// SHA-256 of the version before it, signatures included; none for the first.
    pub previous: Option<Digest>,
    /// What it lists.
    pub targets: BTreeMap<String, Target>,
    /// The `delegations` as they stand in the metadata; none where it does not speak of any.
    pub delegations: Option<Value>,
}

impl TargetsDraft {
    /// The first version, listing nothing yet.
    pub fn first(now: Instant, lifetime: SignedDuration) -> Self {
        let signed_at = whole_second(now);
        Self {
            version: 1,
            expires: end(now, lifetime),
            signed_at,
            previous: None,
            targets: BTreeMap::new(),
            delegations: None,
        }
    }

    /// The version after the one that `base` has verified, listing the same.
    pub fn after(base: &Base, now: Instant, lifetime: SignedDuration) -> Self {
        Self::following(base.targets_metadata(), now, lifetime)
    }

    /// As [`TargetsDraft::after`], where only the targets metadata are at hand.
    pub fn following(base: &Verified<Targets>, now: Instant, lifetime: SignedDuration) -> Self {
        Self {
            version: base.version().saturating_add(1),
            expires: end(now, lifetime),
            signed_at: whole_second(now),
            previous: Some(base.digest()),
            targets: base.targets().map(|(path, target)| (path.to_owned(), target.clone())).collect(),
            delegations: json::parse(base.bytes()).ok().and_then(|f| f.pointer("/signed/delegations").cloned()),
        }
    }
}

/// Signs targets metadata.
pub fn sign_targets(draft: &TargetsDraft, signers: &[&dyn Signer]) -> Result<Vec<u8>, TrustError> {
    let targets: BTreeMap<_, _> = draft.targets.iter().map(|(path, target)| (path, target.to_value())).collect();
    let mut value = json!({
        "_type": Role::Targets.as_str(),
        "spec_version": SPEC_VERSION,
        "version": draft.version,
        "expires": format_utc(draft.expires),
        "signed_at": format_utc(draft.signed_at),
        "targets": targets,
    });
    if let Some(fields) = value.as_object_mut() {
        fields.extend(draft.previous.map(|previous| ("previous".to_owned(), json!(previous))));
        fields.extend(draft.delegations.clone().map(|delegations| ("delegations".to_owned(), delegations)));
    }
    sign::<Targets>(value, signers)
}

/// Signs a snapshot that puts these targets metadata in force.
pub fn sign_snapshot(
    version: u64,
    expires: Instant,
    targets: &Verified<Targets>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, TrustError> {
    sign::<Snapshot>(pinning(Role::Snapshot, version, expires, targets), &[signer])
}

/// As [`sign_snapshot`], for a repository that delegates: pins the delegated roles' new metadata too. What the snapshot
/// before it pins stays pinned, because clients refuse one that drops a file; its bytes come from the signer's own store.
pub fn sign_delegating_snapshot(
    version: u64,
    expires: Instant,
    targets: &Verified<Targets>,
    new: &Delegated<Verified<Targets>>,
    before: Option<&[u8]>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, TrustError> {
    let mut value = pinning(Role::Snapshot, version, expires, targets);
    let kept = before.and_then(|bytes| json::parse(bytes).ok()).and_then(|f| f.pointer("/signed/meta").cloned());
    if let Some(Value::Object(meta)) = value.get_mut("meta") {
        for (name, kept) in kept.as_ref().and_then(Value::as_object).into_iter().flatten() {
            meta.entry(name).or_insert_with(|| kept.clone());
        }
        meta.extend(new.iter().map(|(role, file)| (listed_name(role), pin(file))));
    }
    sign::<Snapshot>(value, &[signer])
}

/// Signs a timestamp that puts this snapshot in force.
pub fn sign_timestamp(
    version: u64,
    expires: Instant,
    snapshot: &Verified<Snapshot>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, TrustError> {
    sign::<Timestamp>(pinning(Role::Timestamp, version, expires, snapshot), &[signer])
}

/// Adds one signature to a file that goes from hand to hand until enough have signed. The signer must have verified what
/// it says; whoever verifies the file later decides whether the signatures suffice.
pub fn countersign<T: Metadata>(bytes: &[u8], signer: &dyn Signer) -> Result<Vec<u8>, TrustError> {
    T::read(&Envelope::open(T::ROLE, bytes)?.signed)?;
    beside::countersign(T::ROLE, bytes, signer)
}

fn pinning<T: Metadata>(role: Role, version: u64, expires: Instant, file: &Verified<T>) -> Value {
    json!({
        "_type": role.as_str(),
        "spec_version": SPEC_VERSION,
        "version": version,
        "expires": format_utc(expires),
        "meta": { T::ROLE.file_name(): pin(file) },
    })
}

fn pin<T: Metadata>(file: &Verified<T>) -> Value {
    json!({ "version": file.version(), "length": file.bytes().len(), "hashes": { "sha256": file.digest() } })
}

fn end(now: Instant, lifetime: SignedDuration) -> Instant {
    now.checked_add(lifetime).map_or(Instant::MAX, whole_second)
}

fn sign<T: Metadata>(signed: Value, signers: &[&dyn Signer]) -> Result<Vec<u8>, TrustError> {
    T::read(&signed)?;
    beside::sign(T::ROLE, signed, signers)
}
