//! Why metadata, a target file or a publication was refused.

use jiff::Timestamp;

use super::Role;
use crate::clock::format_utc;
use crate::json::JsonError;
use crate::phase::Code;
use crate::sign::SignError;

/// Why something of a repository was refused. [`TrustError::code`] names the class of attack.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// More bytes than the role, or the file above it, allows.
    #[error("the {role} metadata has {length} bytes, more than {limit}")]
    TooLong {
        /// Whose file.
        role: Role,
        /// How many bytes were offered.
        length: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// More new root versions than one refresh steps through; the next goes on from the last that was stored.
    #[error("more than {0} new root versions at once; the next refresh goes on from the last")]
    RootSteps(u32),
    /// Farther back than versions are followed one by one.
    #[error("version {until} of the targets metadata is more than {limit} versions before version {from}")]
    Descent {
        /// Where the walk begins.
        from: u64,
        /// Where it was to end.
        until: u64,
        /// How far it may go.
        limit: u64,
    },
    /// Not strict JSON, or not of the role's shape.
    #[error("the {role} metadata cannot be read")]
    Json {
        /// Whose file.
        role: Role,
        /// Why.
        source: JsonError,
    },
    /// Readable, but it breaks a rule.
    #[error("the {role} metadata is not valid: {rule}")]
    Rule {
        /// Whose file.
        role: Role,
        /// What does not hold.
        rule: &'static str,
    },
    /// Too few keys of the role have signed.
    #[error("the {role} metadata has valid signatures of {valid} of its keys where {threshold} are needed")]
    Threshold {
        /// Whose file.
        role: Role,
        /// Distinct keys with a valid signature.
        valid: usize,
        /// How many the role needs.
        threshold: usize,
    },
    /// An older version than one that was trusted before.
    #[error("the {role} metadata is version {offered}, but version {trusted} was seen before")]
    Rollback {
        /// Whose file.
        role: Role,
        /// The version that was trusted before.
        trusted: u64,
        /// The version on offer.
        offered: u64,
    },
    /// A targets file that was listed before is listed no more.
    #[error("the snapshot no longer lists {0:?}")]
    Dropped(String),
    /// Another version than the file above it, or the chain of roots, demands.
    #[error("the {role} metadata is version {offered} where version {wanted} belongs")]
    WrongVersion {
        /// Whose file.
        role: Role,
        /// The version that belongs there.
        wanted: u64,
        /// The version on offer.
        offered: u64,
    },
    /// Other bytes than the file above it pins.
    #[error("the {role} metadata has another {field} than the file above it pins")]
    Unpinned {
        /// Whose file.
        role: Role,
        /// `length`, `sha256` or `sha512`.
        field: &'static str,
    },
    /// Past its time.
    #[error("the {role} metadata expired at {}", format_utc(*.at))]
    Expired {
        /// Whose file.
        role: Role,
        /// The first instant at which it no longer counts.
        at: Timestamp,
    },
    /// A delegated role was refused, and the target that it was asked for is not found. Other targets are.
    #[error("the delegated role {role:?} is refused")]
    Delegated {
        /// Which one.
        role: String,
        /// Why.
        source: Box<TrustError>,
    },
    /// More delegated roles than one search asks.
    #[error("more than {0} delegated roles were asked for one target")]
    TooManyRoles(usize),
    /// A file that must exist does not.
    #[error("the repository has no {0}")]
    Missing(String),
    /// The refresh was asked for its result, or given an answer, out of turn.
    #[error("the refresh is not at that point; an earlier step failed or is still open")]
    OutOfTurn,
    /// The repository does not list such a target.
    #[error("the repository does not list {0:?}")]
    NoTarget(String),
    /// Bytes that are not the target's.
    #[error("the bytes of {path:?} have another {field} than was signed")]
    WrongTarget {
        /// The target.
        path: String,
        /// `length`, `sha256` or `sha512`.
        field: &'static str,
    },
    /// A longer target than the caller has room for.
    #[error("{path:?} has {length} bytes, more than {limit}")]
    TargetTooLong {
        /// The target.
        path: String,
        /// Its signed length.
        length: u64,
        /// How many bytes are allowed.
        limit: u64,
    },
    /// A version number is used once; this one has been.
    #[error("version {version} of the {role} metadata exists already")]
    VersionTaken {
        /// Whose file.
        role: Role,
        /// The version.
        version: u64,
    },
    /// A publication does not follow from what is in force. The publisher must look at that and sign again.
    #[error("the {role} metadata does not follow from version {current}, which is in force; refresh and sign again")]
    BaseMoved {
        /// Whose file.
        role: Role,
        /// The version in force.
        current: u64,
    },
    /// A key's holder could not sign.
    #[error("the {role} metadata could not be signed")]
    Sign {
        /// Whose file.
        role: Role,
        /// Why.
        source: SignError,
    },
}

impl TrustError {
    /// The class of attack, or of fault, for reports and monitoring.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLong { .. }
            | Self::RootSteps(_)
            | Self::Descent { .. }
            | Self::TooManyRoles(_)
            | Self::TargetTooLong { .. } => Code::EndlessData,
            Self::Delegated { source, .. } => source.code(),
            Self::Json { .. } | Self::Rule { .. } => Code::BadMetadata,
            Self::Threshold { .. } => Code::BadSignature,
            Self::Rollback { .. } | Self::Dropped(_) | Self::VersionTaken { .. } => Code::Rollback,
            Self::WrongVersion { .. } | Self::Unpinned { .. } | Self::BaseMoved { .. } => Code::MixAndMatch,
            Self::Expired { .. } => Code::MetadataExpired,
            Self::Missing(_) | Self::OutOfTurn => Code::Transfer,
            Self::NoTarget(_) => Code::NotInCatalog,
            Self::WrongTarget { .. } => Code::WrongBytes,
            Self::Sign { .. } => Code::Unknown,
        }
    }
}
