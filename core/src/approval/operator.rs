//! What people read of an approval and of the waves that were opened by signature, and devices do not fetch.

use serde::{Deserialize, Serialize};

use super::document::{SignedDocument, first_broken};
use super::pinned::Pinned;
use crate::digest::Digest;
use crate::id::ApprovalId;
use crate::limits::{MAX_GATE_NOTE_BYTES, MAX_OPERATOR_DOCUMENT_BYTES, MAX_REGISTER_FILES, MAX_TEXT_BYTES};

/// What people read of an approval; devices do not fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorDocument {
    /// Always `suture-operator-document`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// Who signed, by name.
    pub approver: String,
    /// What the signature means, as in 21 CFR 11.50: `approved`, `reviewed`.
    pub meaning: String,
    /// Why.
    pub reason: String,
    /// The hospital's change ticket.
    pub ticket: String,
    /// The rosters that it was planned from.
    pub rosters: Vec<Pinned>,
    /// Digest of the plan that was approved.
    pub plan_sha256: Digest,
}

impl SignedDocument for OperatorDocument {
    const TYPE: &'static str = "suture-operator-document";
    const MAX_BYTES: u64 = MAX_OPERATOR_DOCUMENT_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let texts = [&self.approver, &self.meaning, &self.reason, &self.ticket];
        first_broken(&[
            (texts.iter().all(|t| t.len() <= MAX_TEXT_BYTES), "a text is too long"),
            (self.rosters.len() <= MAX_REGISTER_FILES, "rosters lists too many"),
        ])
    }
}

/// Who opened a wave by signature, and why; devices do not fetch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateNote {
    /// Always `suture-gate-note`.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The approval.
    pub approval: ApprovalId,
    /// The wave, counted from 0.
    pub wave: u32,
    /// Who signed first, by name.
    pub approver: String,
    /// Why.
    pub reason: String,
}

impl SignedDocument for GateNote {
    const TYPE: &'static str = "suture-gate-note";
    const MAX_BYTES: u64 = MAX_GATE_NOTE_BYTES;

    fn header(&self) -> (&str, u32) {
        (&self.kind, self.format)
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let bounded = [&self.approver, &self.reason].iter().all(|t| t.len() <= MAX_TEXT_BYTES);
        first_broken(&[
            (bounded, "a text is too long"),
            (!self.approver.is_empty() && !self.reason.trim().is_empty(), "it does not say who, or why"),
        ])
    }
}
