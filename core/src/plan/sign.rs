//! From a plan to the two documents that an approver signs.

use jiff::Timestamp;

use super::Plan;
use crate::approval::{self, Approval, DocumentError, OperatorDocument, Pinned, SignedDocument};
use crate::clock::whole_second;
use crate::digest::Digest;

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
    /// What an approval of this plan signs: the document that devices read, and the one for people that it pins.
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
            plan_sha256: self.digest()?,
        };
        let approval = Approval {
            kind: Approval::TYPE.to_owned(),
            format: 1,
            hdo: self.hdo.clone(),
            created: whole_second(now),
            expires: self.expires,
            steps: vec![self.bundle.step.clone()],
            supersedes: self.supersedes.iter().cloned().collect(),
            rosters: self.rosters.clone(),
            waves: self.waves.iter().map(|w| w.gate.clone()).collect(),
            devices: self.devices.clone(),
            max_attempts: self.request.max_attempts,
            permit_downgrade: self.request.permit_downgrade,
            operator_document: Pinned {
                path: approval::path::operator_document(&id),
                sha256: Digest::of(&operator.to_bytes()?),
            },
            id,
        };
        approval.check()?;
        Ok((approval, operator))
    }
}
