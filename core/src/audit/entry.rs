//! One entry of the record, and whom it concerns.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{HdoId, IdError};
use crate::json::{self, JsonError};
use crate::limits::MAX_AUDIT_ENTRY_BYTES;
use crate::principal::Principal;

/// One entry. Its canonical bytes are the payload that is stored, counted in as a leaf, and handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Always [`Entry::TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Its place in the record, from 1, without gaps.
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

/// Why an entry was refused, or the first place at which the record is broken.
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
    #[error("the audit record is broken: entry {offered} stands where entry {wanted} belongs")]
    Gap {
        /// The place.
        wanted: u64,
        /// What stands there.
        offered: u64,
    },
    /// The payload is not the one that was counted in.
    #[error("the audit record is broken at entry {0}: its text is not the one that was recorded")]
    Payload(u64),
    /// The tree's root behind the entry is not the one that follows from it and all entries before it.
    #[error(
        "the audit record is broken at entry {0}: the hash behind it does not follow from it and the entries before it"
    )]
    Hash(u64),
    /// The entries do not lead to the head that is signed.
    #[error(
        "the audit record is broken: its {seq} entries lead to another head than the checkpoint's, of {signed} entries"
    )]
    Head {
        /// How many entries there are.
        seq: u64,
        /// How many the checkpoint counts.
        signed: u64,
    },
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
