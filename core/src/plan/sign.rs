//! From a plan to the two documents that an approver signs.

use jiff::Timestamp;

use super::Plan;
use crate::approval::{Approval, DocumentError, OperatorDocument, Pinned, SignedDocument, Terms, path};
use crate::clock::whole_second;

/// Who signs, and what the signature means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Who, by name.
    pub approver: String,
    /// `approved`, `reviewed`, …
    pub meaning: String,
    /// Why.
    pub reason: String,
}

impl Plan {
    /// What an approval of this plan signs: the approval, and the document for people that it pins.
    ///
    /// # Errors
    ///
    /// The plan names no device, its last slot has ended, or a text is too long.
    pub fn to_approval(
        &self,
        signing: &Signing,
        now: Timestamp,
    ) -> Result<(Approval, OperatorDocument), DocumentError> {
        let id = self.request.approval.clone();
        let operator = OperatorDocument {
            kind: OperatorDocument::TYPE.to_owned(),
            format: 1,
            approval: id.clone(),
            approver: signing.approver.clone(),
            meaning: signing.meaning.clone(),
            reason: signing.reason.clone(),
            ticket: self.request.ticket.clone(),
            rosters: self.rosters.clone(),
            plan_sha256: self.digest()?,
        };
        let terms = Terms {
            hdo: self.hdo.clone(),
            created: whole_second(now),
            expires: self.expires,
            steps: self.steps().map(|b| b.step.clone()).collect(),
            supersedes: self.supersedes.iter().cloned().collect(),
            waves: self.waves.iter().map(|w| w.gate.clone()).collect(),
            max_attempts: self.request.max_attempts,
            retry_wait_secs: self.request.retry_wait_secs,
            attempt_timeout_secs: self.request.attempt_timeout_secs,
            needs_lease: self.request.leases,
            ward_cap: self.request.cap,
            permit_downgrade: self.request.permit_downgrade,
            operator_document: Pinned::of(path::operator_document(&id), &operator.to_bytes()?),
            id,
        };
        let approval = Approval { terms, devices: self.devices.clone() };
        approval.check()?;
        Ok((approval, operator))
    }
}
