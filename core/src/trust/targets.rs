//! What the targets metadata say: the files that a repository is about.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::hashes::{Hashes, RawHashes};
use super::metadata::{Header, Life, view};
use super::verify::Metadata;
use super::{Role, TrustError};
use crate::clock::parse_utc;
use crate::digest::Digest;

/// The longest path of a target, in bytes.
const MAX_PATH_BYTES: usize = 512;

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

/// The targets metadata: what a repository is about.
///
/// Delegations are passed over: what only a delegated role lists is not found, and so is never installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    life: Life,
    signed_at: Option<Timestamp>,
    previous: Option<Digest>,
    delegates: bool,
    listed: BTreeMap<String, Listed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    target: Target,
    hashes: Hashes,
}

impl Targets {
    /// The target under a path.
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

    /// Whether it speaks of delegated roles.
    pub(super) fn delegates(&self) -> bool {
        self.delegates
    }

    /// TUF 5.7.3: exact length, and every hash that is given.
    pub fn verify_target(&self, path: &str, bytes: &[u8]) -> Result<(), TrustError> {
        let listed = self.listed.get(path).ok_or_else(|| TrustError::NoTarget(path.to_owned()))?;
        let differs =
            if listed.target.length == bytes.len() as u64 { listed.hashes.differs(bytes) } else { Some("length") };
        differs.map_or(Ok(()), |field| Err(TrustError::WrongTarget { path: path.to_owned(), field }))
    }

    /// The name under which a target is served: `dir/HASH.file`, so that a file, once served, never changes.
    pub fn file_name(&self, path: &str) -> Option<String> {
        let sha256 = self.target(path)?.sha256;
        Some(match path.rsplit_once('/') {
            Some((dir, file)) => format!("{dir}/{sha256}.{file}"),
            None => format!("{sha256}.{path}"),
        })
    }
}

/// Relative, of plain segments: nothing that a directory or an object store could take for another place.
pub(super) fn plain_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[derive(Deserialize)]
struct RawTargets {
    #[serde(flatten)]
    header: Header,
    signed_at: Option<String>,
    previous: Option<Digest>,
    delegations: Option<Value>,
    targets: BTreeMap<String, RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    length: u64,
    hashes: RawHashes,
    custom: Option<Value>,
}

impl Metadata for Targets {
    const ROLE: Role = Role::Targets;

    fn read(signed: &Value) -> Result<Self, TrustError> {
        let rule = |rule| TrustError::Rule { role: Self::ROLE, rule };
        let raw: RawTargets = view(Self::ROLE, signed)?;
        let life = raw.header.check(Self::ROLE)?;
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
            let hashes = raw.hashes.check(Self::ROLE)?;
            let sha256 = hashes.sha256().ok_or_else(|| rule("a target has no sha256"))?;
            let target = Target { length: raw.length, sha256, custom: raw.custom };
            listed.insert(path, Listed { target, hashes });
        }
        Ok(Self { life, signed_at, previous: raw.previous, delegates: raw.delegations.is_some(), listed })
    }

    fn version(&self) -> u64 {
        self.life.0
    }

    fn expires(&self) -> Timestamp {
        self.life.1
    }
}
