//! What the signers of an approval state: taken with the approval, kept beside it, handed out to the hospital's operators.
//!
//! The server is no authority over who signed: each operator's program verifies every statement by its key. What is refused
//! here is refused so that a mistake is seen by its maker, and that the record is whole (21 CFR 11.50).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::{SignedBy, StatementError, VerifiedStatement, all_stated, path};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::limits::MAX_SIGNATURES;
use suture_core::principal::Principal;
use suture_core::sign::PublicKey;
use suture_core::trust::{Proposed, Role, Root, Targets, TrustError, Verified};

use crate::audit::{self, AuditError};
use crate::store::{StoreError, Tx};

/// Why an approval was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Somebody who signed it does not say so as it must be said.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// More statements than there can be signatures.
    #[error("{0} statements on one approval are more than {MAX_SIGNATURES}")]
    TooMany(usize),
    /// The record failed.
    #[error("the audit trail failed")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the statements could not be stored")]
    Store(#[from] StoreError),
}

/// The approvers who have signed a publication, with whom the root ties their keys to.
#[derive(Debug, Clone)]
pub(crate) struct Signers {
    root: Verified<Root>,
    keys: BTreeSet<PublicKey>,
}

impl Signers {
    /// Of these targets metadata, by the root in force.
    pub(crate) fn of(root: &Verified<Root>, targets: &Verified<Targets>) -> Result<Self, TrustError> {
        let keys = Proposed::<Targets>::read(targets.bytes())?.signed_by(root.authority(Role::Targets));
        Ok(Self { root: root.clone(), keys })
    }
}

/// A new approval, as it is published.
pub(crate) struct NewApproval<'a> {
    pub(crate) hdo: &'a HdoId,
    pub(crate) id: &'a ApprovalId,
    pub(crate) head_sha256: Digest,
    pub(crate) signers: &'a Signers,
}

impl NewApproval<'_> {
    /// Takes the statements on it out of what was sent along, and keeps and records them.
    ///
    /// # Errors
    ///
    /// A signer has not stated it, one person has signed twice, or nobody has approved.
    pub(crate) async fn take_statements(
        &self,
        tx: &mut Tx,
        sent: &mut BTreeMap<String, Vec<u8>>,
        actor: &Principal,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let paths: Vec<String> = sent.keys().filter(|p| p.starts_with(&path::statements(self.id))).cloned().collect();
        if paths.len() > MAX_SIGNATURES {
            return Err(StateError::TooMany(paths.len()));
        }
        let statements = paths
            .iter()
            .filter_map(|path| sent.remove(path))
            .map(|bytes| VerifiedStatement::verify(&bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let Signers { root, keys } = self.signers;
        let signed = SignedBy { hdo: self.hdo, approval: self.id, head_sha256: self.head_sha256, keys };
        all_stated(signed, &statements, |key| root.holder(key).cloned())?;
        for s in &statements {
            tx.put_statement(self.hdo, s, now).await?;
            let detail = json!({
                "name": s.name, "role": s.role, "meaning": s.meaning, "reason": s.reason, "key": s.key,
                "head_sha256": self.head_sha256,
            });
            audit::append(tx, now, actor, self.hdo.into(), "rollout.signed", self.id.as_str(), detail).await?;
        }
        Ok(())
    }
}
