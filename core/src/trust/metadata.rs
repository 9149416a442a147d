//! What the root, the snapshot and the timestamp say.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use jiff::Timestamp as Instant;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::hashes::Hashes;
use super::role::{Keys, RoleEntry};
use super::verify::{Metadata, bounded};
use super::{Authority, Role, TrustError};
use crate::clock::utc;
use crate::digest::Digest;
use crate::id::OperatorName;
use crate::json::JsonError;
use crate::limits::MAX_SIGNATURES;
use crate::sign::PublicKey;

/// The version of the TUF specification that this layer writes.
pub const SPEC_VERSION: &str = "1.0.34";

/// The fields that every role's signed part has.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "_type")]
    kind: String,
    spec_version: String,
    /// The first is 1.
    version: NonZeroU64,
    #[serde(with = "utc")]
    expires: Instant,
}

/// Version and expiry, after the header's rules were checked.
pub(super) type Life = (u64, Instant);

/// Reads and checks those fields.
pub(super) fn life(role: Role, signed: &Value) -> Result<Life, TrustError> {
    let header: Header = view(role, signed)?;
    let rule = |rule| Err(TrustError::Rule { role, rule });
    if header.kind != role.as_str() {
        return rule("_type names another role");
    }
    match header.spec_version.split('.').collect::<Vec<_>>().as_slice() {
        parts if !(2..=3).contains(&parts.len()) || !parts.iter().all(|part| number(part)) => {
            return rule("spec_version is not two or three numbers with dots between them");
        }
        ["1", ..] => {}
        _ => return rule("spec_version is not 1: this program is too old for it"),
    }
    Ok((header.version.get(), header.expires))
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// For `#[serde(default, deserialize_with = "given")]` on a field that may be missing. Where it stands it must say
/// something: some readers take `null` for a value and others for nothing, and then they differ on what was signed.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// The typed view of the value whose canonical bytes were verified.
pub(super) fn view<'a, T: Deserialize<'a>>(role: Role, signed: &'a Value) -> Result<T, TrustError> {
    T::deserialize(signed).map_err(|e| TrustError::Json { role, source: JsonError::Shape(e) })
}

/// The root: who speaks for every role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    life: Life,
    root: Authority,
    targets: Authority,
    snapshot: Authority,
    timestamp: Authority,
    holders: BTreeMap<PublicKey, OperatorName>,
}

impl Root {
    /// Who holds a key, as whoever signed the root says. It names people and is no authority: keys are counted.
    pub fn holder(&self, key: &PublicKey) -> Option<&OperatorName> {
        self.holders.get(key)
    }

    /// All keys whose holders are named.
    pub fn holders(&self) -> &BTreeMap<PublicKey, OperatorName> {
        &self.holders
    }

    /// Attack: one person who signs for two. Where a role needs several signatures, none of the named holders has two of its
    /// keys.
    fn each_holder_once(&self) -> bool {
        [&self.root, &self.targets].into_iter().filter(|role| role.threshold() > 1).all(|role| {
            let mut seen = BTreeSet::new();
            role.keys().filter_map(|key| self.holder(key)).all(|name| seen.insert(name))
        })
    }

    /// Who speaks for a role.
    pub fn authority(&self, role: Role) -> &Authority {
        match role {
            Role::Root => &self.root,
            Role::Targets => &self.targets,
            Role::Snapshot => &self.snapshot,
            Role::Timestamp => &self.timestamp,
        }
    }
}

#[derive(Deserialize)]
struct RawRoot {
    consistent_snapshot: bool,
    keys: BTreeMap<Digest, Value>,
    roles: RawRoles,
    /// Suture's own: who holds which key.
    #[serde(default, rename = "x-suture-holders", deserialize_with = "given")]
    holders: Option<BTreeMap<PublicKey, OperatorName>>,
}

#[derive(Deserialize)]
struct RawRoles {
    root: RoleEntry,
    targets: RoleEntry,
    snapshot: RoleEntry,
    timestamp: RoleEntry,
}

impl Metadata for Root {
    const ROLE: Role = Role::Root;

    fn read(signed: &Value) -> Result<Self, TrustError> {
        let life = life(Self::ROLE, signed)?;
        let raw: RawRoot = view(Self::ROLE, signed)?;
        // TUF 5.3.12: whether versions stand in file names. Here they always do: a file, once served, never changes.
        if !raw.consistent_snapshot {
            return Err(TrustError::Rule { role: Self::ROLE, rule: "consistent_snapshot is not true" });
        }
        let keys = Keys::read(Self::ROLE, raw.keys)?;
        let holders = raw.holders.unwrap_or_default();
        if holders.len() > MAX_SIGNATURES {
            return Err(TrustError::Rule { role: Self::ROLE, rule: "it names too many holders of keys" });
        }
        let root = Self {
            life,
            root: keys.authority(raw.roles.root)?,
            targets: keys.authority(raw.roles.targets)?,
            snapshot: keys.authority(raw.roles.snapshot)?,
            timestamp: keys.authority(raw.roles.timestamp)?,
            holders,
        };
        if !root.each_holder_once() {
            let rule =
                "one holder has two keys of a role that several must sign for: that would be one person, signing twice";
            return Err(TrustError::Rule { role: Self::ROLE, rule });
        }
        Ok(root)
    }

    fn life(&self) -> Life {
        self.life
    }
}

/// What one metadata file says of another that must be used with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pin {
    version: NonZeroU64,
    #[serde(default, deserialize_with = "given")]
    length: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    hashes: Option<Hashes>,
}

impl Pin {
    /// The version that must be used.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// The most bytes worth reading for it.
    pub(super) fn max_bytes(&self, role: Role) -> u64 {
        self.length.map_or(role.max_bytes(), |length| length.min(role.max_bytes()))
    }

    /// Refuses bytes of another length or hash.
    pub(super) fn check(&self, role: Role, bytes: &[u8]) -> Result<(), TrustError> {
        bounded(role, self.max_bytes(role), bytes)?;
        let differs = if self.length.is_some_and(|length| length != bytes.len() as u64) {
            Some("length")
        } else {
            self.hashes.as_ref().and_then(|h| h.differs(bytes))
        };
        differs.map_or(Ok(()), |field| Err(TrustError::Unpinned { role, field }))
    }
}

/// The snapshot: which targets metadata are in force together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    life: Life,
    targets: Pin,
    files: BTreeMap<String, Pin>,
}

impl Snapshot {
    /// The targets metadata in force.
    pub fn targets(&self) -> &Pin {
        &self.targets
    }

    /// The delegated roles whose metadata it pins, by name, and their versions.
    pub fn delegated(&self) -> impl Iterator<Item = (&str, u64)> {
        let roles = self.files.iter().filter(|(name, _)| *name != Role::Targets.file_name());
        roles.filter_map(|(name, pin)| Some((name.strip_suffix(".json")?, pin.version())))
    }

    /// Every file that it pins, delegated roles' among them.
    pub(super) fn files(&self) -> &BTreeMap<String, Pin> {
        &self.files
    }
}

#[derive(Deserialize)]
struct RawPins {
    meta: BTreeMap<String, Pin>,
}

impl Metadata for Snapshot {
    const ROLE: Role = Role::Snapshot;

    fn read(signed: &Value) -> Result<Self, TrustError> {
        let life = life(Self::ROLE, signed)?;
        let RawPins { meta: files } = view(Self::ROLE, signed)?;
        let targets = files.get(Role::Targets.file_name()).cloned();
        let targets = targets.ok_or(TrustError::Rule { role: Self::ROLE, rule: "it does not list targets.json" })?;
        Ok(Self { life, targets, files })
    }

    fn life(&self) -> Life {
        self.life
    }
}

/// The timestamp: which snapshot is the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    life: Life,
    snapshot: Pin,
}

impl Timestamp {
    /// The snapshot in force.
    pub fn snapshot(&self) -> &Pin {
        &self.snapshot
    }
}

impl Metadata for Timestamp {
    const ROLE: Role = Role::Timestamp;

    fn read(signed: &Value) -> Result<Self, TrustError> {
        let life = life(Self::ROLE, signed)?;
        let RawPins { mut meta } = view(Self::ROLE, signed)?;
        match meta.remove(Role::Snapshot.file_name()) {
            Some(snapshot) if meta.is_empty() => Ok(Self { life, snapshot }),
            _ => Err(TrustError::Rule { role: Self::ROLE, rule: "it does not list snapshot.json and that alone" }),
        }
    }

    fn life(&self) -> Life {
        self.life
    }
}
