//! What the targets metadata say: the files that a repository is about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::delegation::{Delegation, read_delegations};
use super::hashes::Hashes;
use super::metadata::{Life, given, life, view};
use super::verify::Metadata;
use super::{Delegations, Role, TrustError};
use crate::clock::parse_utc;
use crate::digest::Digest;
use crate::limits::MAX_TARGET_PATH_BYTES;

/// One file that a repository lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// What the repository's owner says of it besides; see [`super::CatalogEntry`].
    pub custom: Option<Value>,
}

impl Target {
    /// The target that some bytes make.
    pub fn of(bytes: &[u8], custom: Option<Value>) -> Self {
        Self { length: bytes.len() as u64, sha256: Digest::of(bytes), custom }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({ "length": self.length, "hashes": { "sha256": self.sha256 } });
        if let (Some(custom), Some(fields)) = (&self.custom, value.as_object_mut()) {
            fields.insert("custom".to_owned(), custom.clone());
        }
        value
    }
}

/// The targets metadata, top-level or delegated: the files that they list, and the roles that they let speak for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    life: Life,
    signed_at: Option<Timestamp>,
    previous: Option<Digest>,
    delegations: Option<Vec<Delegation>>,
    listed: BTreeMap<String, Listed>,
}

/// A target with all that is said of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) target: Target,
    hashes: Hashes,
}

impl Listed {
    /// TUF 5.7.3: exact length, and every hash that is given.
    pub(super) fn verify(&self, path: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let differs =
            if self.target.length == bytes.len() as u64 { self.hashes.differs(bytes) } else { Some("length") };
        differs.map_or(Ok(()), |field| Err(TrustError::WrongTarget { path: path.to_owned(), field }))
    }

    /// TUF 5.7.3: `dir/HASH.file`.
    pub(super) fn file_name(&self, path: &str) -> String {
        served_target_name(path, &self.target.sha256)
    }
}

impl Targets {
    /// The target under a path, if these metadata list it themselves.
    pub fn target(&self, path: &str) -> Option<&Target> {
        self.listed.get(path).map(|l| &l.target)
    }

    /// All targets, ascending by path.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.listed.iter().map(|(path, l)| (path.as_str(), &l.target))
    }

    /// When its owner signed it, by the owner's clock. Every file that Suture publishes says so.
    pub fn signed_at(&self) -> Option<Timestamp> {
        self.signed_at
    }

    /// SHA-256 of the version before it, signatures included.
    pub fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// Refuses metadata that speak of delegated roles, if only to name none, where delegations are refused.
    pub(super) fn may_delegate(&self, delegations: Delegations) -> Result<(), TrustError> {
        match (&self.delegations, delegations) {
            (Some(_), Delegations::Refused) => {
                Err(TrustError::Rule { role: Role::Targets, rule: "it delegates, which this repository must not" })
            }
            (Some(_), Delegations::Followed) | (None, _) => Ok(()),
        }
    }

    /// The roles that it delegates to, in the order in which they are asked.
    pub fn delegations(&self) -> impl Iterator<Item = &Delegation> {
        self.delegations.iter().flatten()
    }

    /// What it says of the role of that name, if it delegates to it.
    pub fn delegation(&self, role: &str) -> Option<&Delegation> {
        self.delegations().find(|delegation| delegation.name == role)
    }

    pub(super) fn listed(&self, path: &str) -> Option<&Listed> {
        self.listed.get(path)
    }

    /// Refuses bytes that are not exactly the target's.
    pub fn verify_target(&self, path: &str, bytes: &[u8]) -> Result<(), TrustError> {
        self.listed.get(path).ok_or_else(|| TrustError::NoTarget(path.to_owned()))?.verify(path, bytes)
    }

    /// The name under which a target is served: `dir/HASH.file`, so that a file, once served, never changes.
    pub fn file_name(&self, path: &str) -> Option<String> {
        self.listed.get(path).map(|l| l.file_name(path))
    }
}

/// The name under which a file is served that metadata list, or that a listed document pins: `dir/HASH.file`.
pub fn served_target_name(path: &str, sha256: &Digest) -> String {
    match path.rsplit_once('/') {
        Some((dir, file)) => format!("{dir}/{sha256}.{file}"),
        None => format!("{sha256}.{path}"),
    }
}

/// Relative, of plain segments: nothing that a directory or an object store could take for another place.
pub(super) fn plain_path(path: &str) -> bool {
    path.len() <= MAX_TARGET_PATH_BYTES
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[derive(Deserialize)]
struct RawTargets {
    #[serde(default, deserialize_with = "given")]
    signed_at: Option<String>,
    #[serde(default, deserialize_with = "given")]
    previous: Option<Digest>,
    targets: BTreeMap<String, RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    length: u64,
    hashes: Hashes,
    custom: Option<Value>,
}

impl Metadata for Targets {
    const ROLE: Role = Role::Targets;

    fn read(signed: &Value) -> Result<Self, TrustError> {
        let rule = |rule| TrustError::Rule { role: Self::ROLE, rule };
        let life = life(Self::ROLE, signed)?;
        let raw: RawTargets = view(Self::ROLE, signed)?;
        let signed_at = match raw.signed_at {
            Some(text) => {
                Some(parse_utc(&text).ok_or_else(|| rule("signed_at is no UTC instant like 2026-11-24T15:00:00Z"))?)
            }
            None => None,
        };
        let mut listed = BTreeMap::new();
        for (path, raw) in raw.targets {
            if !plain_path(&path) {
                return Err(rule("a target's path is not relative, plain and at most 512 bytes"));
            }
            let RawTarget { length, hashes, custom } = raw;
            let sha256 = hashes.sha256().ok_or_else(|| rule("a target has no sha256"))?;
            listed.insert(path, Listed { target: Target { length, sha256, custom }, hashes });
        }
        let delegations = signed.get("delegations").map(read_delegations).transpose()?;
        Ok(Self { life, signed_at, previous: raw.previous, delegations, listed })
    }

    fn life(&self) -> Life {
        self.life
    }
}
