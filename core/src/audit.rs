//! The record of what was changed, chained by hashes, so that the past cannot be rewritten unnoticed.
//!
//! Attack: whoever holds the server's database removes, reorders or alters entries after the fact. Each entry's hash covers
//! the whole past before it, and each side keeps the last [`Head`] that it has seen; a record that was rewritten no
//! longer leads to that head.
//!
//! A hospital must be able to verify the chain without reading what concerns other hospitals. Therefore the chain runs over
//! the *digests* of the payloads: `hash(n) = SHA-256(hash(n-1) || SHA-256(payload(n)))`, 64 bytes in, beginning with 32
//! zero bytes; an entry of somebody else is handed out as its digest alone. Each payload holds a [`Salt`], so that nobody
//! finds out what an entry says by hashing guesses.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::utc;
use crate::digest::{Digest, Hasher};
use crate::id::{HdoId, IdError};
use crate::json::{self, JsonError};
use crate::limits::MAX_AUDIT_ENTRY_BYTES;
use crate::principal::Principal;

/// One entry. Its canonical bytes are the payload that is stored, chained and handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Always [`Entry::TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Its place in the chain, from 1, without gaps.
    pub seq: u64,
    /// When it was written, by the server's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// Who did it: a [`crate::principal::Principal`] as text.
    pub actor: String,
    /// Whom it concerns.
    pub concerns: Concern,
    /// What was done, as in `rollout.pause`.
    pub action: String,
    /// To what, as in the rollout's id.
    pub subject: String,
    /// With what particulars.
    pub detail: Map<String, Value>,
    /// Keeps the payload from being guessed.
    pub salt: Salt,
}

/// Whom an entry concerns: those may read its text, the others verify its digest. Text form: `everybody`, `manufacturer` or
/// `hdo/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Concern {
    /// The manufacturer and every hospital: the catalog, the server itself.
    Everybody,
    /// The manufacturer alone: its own operators.
    Manufacturer,
    /// One hospital. Not the manufacturer, which runs the server but has no part in a hospital's affairs.
    Hospital(HdoId),
}

/// Why a text names nobody whom an entry could concern.
#[derive(Debug, thiserror::Error)]
pub enum ConcernError {
    /// None of the three forms.
    #[error("{0:?} is neither everybody, manufacturer nor hdo/<id>")]
    Form(String),
    /// No hospital's id.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Concern {
    /// Whom the affairs of `principal` itself concern: its certificates, its colleagues.
    pub fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Server => Self::Everybody,
            Principal::Mdm(_) => Self::Manufacturer,
            Principal::Operator(hdo, _) | Principal::Device(hdo, _) => Self::Hospital(hdo.clone()),
        }
    }

    /// Whether `principal` may read the text.
    pub fn includes(&self, principal: &Principal) -> bool {
        match self {
            Self::Everybody => true,
            Self::Manufacturer => matches!(principal, Principal::Mdm(_)),
            Self::Hospital(hdo) => principal.hdo() == Some(hdo),
        }
    }
}

impl From<&HdoId> for Concern {
    fn from(hdo: &HdoId) -> Self {
        Self::Hospital(hdo.clone())
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Manufacturer => f.write_str("manufacturer"),
            Self::Hospital(hdo) => write!(f, "hdo/{hdo}"),
        }
    }
}

impl FromStr for Concern {
    type Err = ConcernError;
    fn from_str(text: &str) -> Result<Self, ConcernError> {
        match (text, text.strip_prefix("hdo/")) {
            ("everybody", _) => Ok(Self::Everybody),
            ("manufacturer", _) => Ok(Self::Manufacturer),
            (_, Some(hdo)) => Ok(Self::Hospital(hdo.parse()?)),
            _ => Err(ConcernError::Form(text.chars().take(200).collect())),
        }
    }
}

impl TryFrom<String> for Concern {
    type Error = ConcernError;
    fn try_from(text: String) -> Result<Self, ConcernError> {
        text.parse()
    }
}

impl From<Concern> for String {
    fn from(concern: Concern) -> Self {
        concern.to_string()
    }
}

/// 16 random bytes; JSON form: 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt(pub [u8; 16]);

impl TryFrom<String> for Salt {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 16];
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        let read = lower && hex::decode_to_slice(&text, &mut bytes).is_ok();
        if read { Ok(Self(bytes)) } else { Err("a salt is 32 lower-case hexadecimal digits") }
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        hex::encode(salt.0)
    }
}

/// Why an entry was refused, or the first place at which a chain is broken.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Longer than an entry may be.
    #[error("audit entry {seq} has {length} bytes, more than {MAX_AUDIT_ENTRY_BYTES}")]
    TooLong {
        /// Which.
        seq: u64,
        /// How long it is.
        length: usize,
    },
    /// Not strict JSON of an entry's shape.
    #[error("audit entry {seq} cannot be read")]
    Json {
        /// Which.
        seq: u64,
        /// Why.
        source: JsonError,
    },
    /// Removed, inserted or out of order.
    #[error("the audit chain is broken: entry {offered} stands where entry {wanted} belongs")]
    Gap {
        /// The place.
        wanted: u64,
        /// What stands there.
        offered: u64,
    },
    /// The payload is not the one that was chained.
    #[error("the audit chain is broken at entry {0}: its text is not the one that was chained")]
    Payload(u64),
    /// The entry does not follow from the one before it.
    #[error("the audit chain is broken at entry {0}: its hash does not follow from the entry before it")]
    Hash(u64),
    /// The record is shorter than, or leads elsewhere than, a head that was seen before.
    #[error("the audit record was rewritten: entry {seq} was {before} when it was last seen")]
    Rewritten {
        /// The entry last seen.
        seq: u64,
        /// Its hash then.
        before: Digest,
    },
}

impl Entry {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-audit";

    /// The payload.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuditError> {
        let bytes = json::to_canonical(self).map_err(|source| AuditError::Json { seq: self.seq, source })?;
        bounded(self.seq, &bytes)?;
        Ok(bytes)
    }

    /// Reads a payload that stands at `seq`.
    pub fn parse(seq: u64, payload: &[u8]) -> Result<Self, AuditError> {
        bounded(seq, payload)?;
        let entry: Self = json::from_slice(payload).map_err(|source| AuditError::Json { seq, source })?;
        if entry.kind != Self::TYPE {
            return Err(AuditError::Payload(seq));
        }
        if entry.seq != seq {
            return Err(AuditError::Gap { wanted: seq, offered: entry.seq });
        }
        Ok(entry)
    }
}

fn bounded(seq: u64, payload: &[u8]) -> Result<(), AuditError> {
    let length = payload.len();
    if length > MAX_AUDIT_ENTRY_BYTES { Err(AuditError::TooLong { seq, length }) } else { Ok(()) }
}

/// How far a chain reaches, and the hash that stands for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last entry; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub sha256: Digest,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { seq: 0, sha256: Digest::from_bytes([0; 32]) };

    /// The head after one more entry, whose payload has that digest.
    pub fn then(&self, payload: &Digest) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(self.sha256.as_bytes());
        hasher.update(payload.as_bytes());
        Self { seq: self.seq.saturating_add(1), sha256: hasher.finish() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.sha256)
    }
}

/// One entry as it is handed out: whole, or as its digest where it concerns somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its place.
    pub seq: u64,
    /// The payload, unless it is withheld.
    pub payload: Option<Vec<u8>>,
    /// SHA-256 of the payload.
    pub payload_sha256: Digest,
    /// The chain's hash at this entry.
    pub sha256: Digest,
}

/// Verifies entries as they come in, in order.
#[derive(Debug, Clone)]
pub struct Chain {
    head: Head,
    last_seen: Head,
}

impl Chain {
    /// Begins at the chain's beginning and will insist on passing through `last_seen`, the head that the caller kept from
    /// the last time; [`Head::START`] where there was no last time.
    pub fn from_start(last_seen: Head) -> Self {
        Self { head: Head::START, last_seen }
    }

    /// Goes on from a head that the caller verified before.
    pub fn resume(head: Head) -> Self {
        Self { head, last_seen: head }
    }

    /// How far it has been verified.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Verifies the next entry; reads it, unless it is withheld. An error names the first entry that is broken, and the
    /// chain stays where it was.
    pub fn take(&mut self, link: &Link) -> Result<Option<Entry>, AuditError> {
        let next = self.head.then(&link.payload_sha256);
        if link.seq != next.seq {
            return Err(AuditError::Gap { wanted: next.seq, offered: link.seq });
        }
        if link.payload.as_ref().is_some_and(|payload| Digest::of(payload) != link.payload_sha256) {
            return Err(AuditError::Payload(link.seq));
        }
        if link.sha256 != next.sha256 {
            return Err(AuditError::Hash(link.seq));
        }
        if next.seq == self.last_seen.seq && next != self.last_seen {
            return Err(AuditError::Rewritten { seq: next.seq, before: self.last_seen.sha256 });
        }
        let entry = link.payload.as_ref().map(|payload| Entry::parse(link.seq, payload)).transpose()?;
        self.head = next;
        Ok(entry)
    }

    /// Says that there are no more entries: a chain that ends before the head seen last has lost entries.
    pub fn finish(self) -> Result<Head, AuditError> {
        if self.head.seq < self.last_seen.seq {
            return Err(AuditError::Rewritten { seq: self.last_seen.seq, before: self.last_seen.sha256 });
        }
        Ok(self.head)
    }
}

#[cfg(test)]
mod tests;
