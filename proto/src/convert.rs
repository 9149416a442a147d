//! Where prost's types meet core's.

use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::progress::Progress;
use suture_core::report;
use suture_core::sign::Signature;

use crate::v1;

/// A field of a message that does not hold what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {problem}")]
pub struct Invalid {
    /// The field's name in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Invalid {
    /// A fault of a field.
    pub fn new(field: &'static str, problem: impl ToString) -> Self {
        Self { field, problem: problem.to_string() }
    }
}

/// Parses a field with its type's `FromStr`.
pub fn parse<T>(field: &'static str, text: &str) -> Result<T, Invalid>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e| Invalid::new(field, e))
}

/// Reads a digest's 32 bytes.
pub fn parse_digest(field: &'static str, bytes: &[u8]) -> Result<Digest, Invalid> {
    Digest::try_from(bytes).map_err(|e| Invalid::new(field, e))
}

impl From<&Progress> for v1::Transfer {
    fn from(progress: &Progress) -> Self {
        let Progress {
            total_bytes: _,
            present_bytes: _,
            slot_a_bytes,
            slot_b_bytes,
            delta_made_bytes,
            chunk_made_bytes,
            delta_bytes,
            chunk_bytes,
            bytes_per_sec,
            left_secs,
            waits_for_delta,
            in_line,
        } = *progress;
        Self {
            slot_a_bytes,
            slot_b_bytes,
            delta_made_bytes,
            chunk_made_bytes,
            delta_bytes,
            chunk_bytes,
            bytes_per_sec,
            left_secs,
            waits_for_delta,
            in_line,
        }
    }
}

/// How far a transfer got: bytes that are there, all bytes, and how they came.
pub fn progress(present_bytes: u64, total_bytes: u64, transfer: Option<&v1::Transfer>) -> Progress {
    let v1::Transfer {
        slot_a_bytes,
        slot_b_bytes,
        delta_made_bytes,
        chunk_made_bytes,
        delta_bytes,
        chunk_bytes,
        bytes_per_sec,
        left_secs,
        waits_for_delta,
        in_line,
    } = transfer.copied().unwrap_or_default();
    Progress {
        total_bytes,
        present_bytes,
        slot_a_bytes,
        slot_b_bytes,
        delta_made_bytes,
        chunk_made_bytes,
        delta_bytes,
        chunk_bytes,
        bytes_per_sec,
        left_secs,
        waits_for_delta,
        in_line,
    }
}

/// Which of the two kinds of repository a message speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repository {
    /// The manufacturer's catalog.
    Catalog,
    /// A hospital's approvals.
    Approvals(HdoId),
}

impl Repository {
    /// Reads the message's field; an empty hospital id means the caller's own.
    pub fn parse(message: Option<&v1::Repository>, own: Option<&HdoId>) -> Result<Self, Invalid> {
        use v1::repository::Which;
        match (message.and_then(|r| r.which.as_ref()), own) {
            (Some(Which::Catalog(true)), _) => Ok(Self::Catalog),
            (Some(Which::Approvals(id)), Some(own)) if id.is_empty() => Ok(Self::Approvals(own.clone())),
            (Some(Which::Approvals(id)), _) => Ok(Self::Approvals(parse("repository.approvals", id)?)),
            _ => Err(Invalid::new("repository", "names neither the catalog nor a hospital's approvals")),
        }
    }
}

/// How the store and the audit trail name it.
impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Catalog => f.write_str("catalog"),
            Self::Approvals(hdo) => write!(f, "approvals/{hdo}"),
        }
    }
}

impl From<&Repository> for v1::Repository {
    fn from(repository: &Repository) -> Self {
        use v1::repository::Which;
        let which = match repository {
            Repository::Catalog => Which::Catalog(true),
            Repository::Approvals(hdo) => Which::Approvals(hdo.to_string()),
        };
        Self { which: Some(which) }
    }
}

impl From<Phase> for v1::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Offered => Self::Offered,
            Phase::Fetching => Self::Fetching,
            Phase::Staged => Self::Staged,
            Phase::Waiting => Self::Waiting,
            Phase::Installing => Self::Installing,
            Phase::Restarting => Self::Restarting,
            Phase::Confirming => Self::Confirming,
            Phase::Confirmed => Self::Confirmed,
            Phase::FellBack => Self::FellBack,
            Phase::Failed => Self::Failed,
            Phase::Stopped => Self::Stopped,
            Phase::Withdrawn => Self::Withdrawn,
            Phase::Superseded => Self::Superseded,
            Phase::Expired => Self::Expired,
            Phase::Idle => Self::Idle,
            Phase::Held => Self::Held,
        }
    }
}

/// The phase of a message; `None` where it is unspecified or newer than this program.
pub fn parse_phase(phase: i32) -> Option<Phase> {
    let wire = v1::Phase::try_from(phase).ok()?;
    Phase::ALL.into_iter().find(|p| v1::Phase::from(*p) == wire)
}

impl From<&Reason> for v1::Reason {
    fn from(reason: &Reason) -> Self {
        Self { code: reason.code.to_string(), text: reason.text.clone() }
    }
}

/// The reason of a message; a code of a newer program reads as [`Code::Unknown`], its text is kept.
pub fn parse_reason(reason: Option<&v1::Reason>) -> Option<Reason> {
    let v1::Reason { code, text } = reason?;
    Some(Reason::new(Code::from_name(code), text.clone()))
}

impl From<&report::Signed> for v1::SignedReport {
    fn from(report: &report::Signed) -> Self {
        Self { payload: report.payload.clone().into(), signature: report.signature.0.to_vec().into() }
    }
}

impl TryFrom<&v1::SignedReport> for report::Signed {
    type Error = Invalid;
    fn try_from(report: &v1::SignedReport) -> Result<Self, Invalid> {
        let v1::SignedReport { payload, signature } = report;
        let signature = Signature::try_from(signature.as_ref()).map_err(|e| Invalid::new("signature", e))?;
        Ok(Self { payload: payload.to_vec(), signature })
    }
}

impl TryFrom<&v1::MetadataSeen> for report::Seen {
    type Error = Invalid;
    fn try_from(seen: &v1::MetadataSeen) -> Result<Self, Invalid> {
        let v1::MetadataSeen { root_version, targets_version, targets_sha256 } = seen;
        let targets_sha256 = parse_digest("targets_sha256", targets_sha256)?;
        Ok(Self { root: *root_version, targets: *targets_version, targets_sha256 })
    }
}

impl From<&report::Seen> for v1::MetadataSeen {
    fn from(seen: &report::Seen) -> Self {
        Self {
            root_version: seen.root,
            targets_version: seen.targets,
            targets_sha256: seen.targets_sha256.as_bytes().to_vec().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_one_place_on_the_wire() {
        for phase in Phase::ALL {
            assert_eq!(parse_phase(v1::Phase::from(phase) as i32), Some(phase));
        }
        assert_eq!(parse_phase(0), None);
        assert_eq!(parse_phase(999), None);
    }

    #[test]
    fn an_empty_hospital_means_ones_own_and_needs_one() {
        use v1::repository::Which;
        let own: HdoId = "riverside".parse().unwrap();
        let empty = v1::Repository { which: Some(Which::Approvals(String::new())) };
        assert_eq!(Repository::parse(Some(&empty), Some(&own)).unwrap(), Repository::Approvals(own));
        assert!(Repository::parse(Some(&empty), None).is_err());
        assert!(Repository::parse(None, None).is_err());
        assert!(Repository::parse(Some(&v1::Repository { which: Some(Which::Catalog(false)) }), None).is_err());
    }
}
