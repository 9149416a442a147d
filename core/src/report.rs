//! What a device says of itself, signed with its report key. Gates count nothing else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::utc;
use crate::digest::Digest;
use crate::id::{ApprovalId, DeviceId, HdoId, ProductId};
use crate::json::{self, JsonError};
use crate::phase::{Phase, Reason};
use crate::sign::{PublicKey, SignError, Signature, Signer};
use crate::version::{Release, Version};

/// One report. Its canonical bytes are what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always `suture-report`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// The hospital.
    pub hdo: HdoId,
    /// The device.
    pub device: DeviceId,
    /// Counts up by one over the device's reports, from 1.
    pub number: u64,
    /// When it was written, by the device's clock.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// The product.
    pub product: ProductId,
    /// What runs.
    pub running: Running,
    /// The attempt that it tells of.
    pub approval: Option<ApprovalId>,
    /// The bundle of that attempt.
    pub manifest: Option<Digest>,
    /// How far it got.
    pub phase: Phase,
    /// Why no further.
    pub reason: Option<Reason>,
    /// Versions and digests of the metadata that the device verified last.
    pub catalog: Option<Seen>,
    /// The same of the approvals.
    pub approvals: Option<Seen>,
}

/// What a device runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// For people.
    pub version: Version,
    /// Its place in the product's order.
    pub release: Release,
    /// The manifest's digest.
    pub manifest: Digest,
}

/// Metadata that a device verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Version of the root.
    pub root: u64,
    /// Version of the targets metadata.
    pub targets: u64,
    /// SHA-256 of the targets metadata.
    pub targets_sha256: Digest,
}

/// A report as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical JSON.
    pub payload: Vec<u8>,
    /// Over the payload.
    pub signature: Signature,
}

/// Why a report was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not strict JSON of a report's shape.
    #[error("the report cannot be read")]
    Json(#[from] JsonError),
    /// Its `_type` is another.
    #[error("this is no report but {0:?}")]
    Kind(String),
    /// The signature is not the device's.
    #[error("the report is not signed by the device's report key")]
    Signature(#[from] SignError),
}

impl Report {
    /// The value of `_type`.
    pub const TYPE: &'static str = "suture-report";

    /// Signs.
    pub fn sign(&self, key: &dyn Signer) -> Result<Signed, ReportError> {
        let payload = json::to_canonical(self)?;
        let signature = key.sign(&payload)?;
        Ok(Signed { payload, signature })
    }
}

impl Signed {
    /// Verifies the received bytes, then reads them.
    pub fn verify(&self, key: &PublicKey) -> Result<Report, ReportError> {
        key.verify(&self.payload, &self.signature)?;
        let report: Report = json::from_slice(&self.payload)?;
        if report.kind == Report::TYPE { Ok(report) } else { Err(ReportError::Kind(report.kind)) }
    }
}
