//! What those who have signed an approval in an envelope say with it.

use std::collections::BTreeSet;

use suture_core::approval::path::{self, Listed};
use suture_core::approval::{SignedBy, StatementError, VerifiedStatement, all_stated};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::sign::PublicKey;
use suture_core::trust::{Proposal, Role};

use super::{Change, Envelope, refused};
use crate::failure::Outcome;
use crate::hospital::statements::unstated;
use crate::repository::InForce;

/// The approvals that an envelope would begin, and what its signers have stated of them so far.
#[derive(Debug, Default)]
pub struct Stated {
    /// Each with the SHA-256 of its head.
    pub new: Vec<(ApprovalId, Digest)>,
    /// By whoever has signed.
    pub statements: Vec<VerifiedStatement>,
}

impl Stated {
    /// Reads them out of an envelope of approvals. Whoever has signed must have said who, as what and why.
    ///
    /// # Errors
    ///
    /// A signer has not, or has signed twice; a statement is no signer's.
    pub fn read(envelope: &Envelope, proposal: &Proposal, in_force: InForce<'_>) -> Outcome<Self> {
        let (Some(targets), Some(hdo)) = (&proposal.targets, &envelope.hdo) else { return Ok(Self::default()) };
        let before = in_force.and_then(|(_, targets)| targets);
        let is_new = |path: &str, sha256: Digest| {
            before.and_then(|targets| targets.target(path)).is_none_or(|target| target.sha256 != sha256)
        };
        let new: Vec<_> = targets
            .targets()
            .filter(|(path, target)| is_new(path, target.sha256))
            .filter_map(|(path, target)| match Listed::of(path) {
                Some(Listed::Approval(id)) => Some((id, target.sha256)),
                _ => None,
            })
            .collect();
        let mut statements = Vec::new();
        for (path, bytes) in &envelope.files {
            let Some((id, key)) = path::statement_of(path) else { continue };
            let statement = VerifiedStatement::verify(bytes).map_err(unstated)?;
            if (&statement.approval, statement.key) != (&id, key) || !new.iter().any(|(new, _)| *new == id) {
                return Err(refused(format!("{path} is the statement on another approval, or another key's")));
            }
            statements.push(statement);
        }
        let want = proposal.wants(in_force).into_iter().find(|w| w.role == Role::Targets && w.delegated.is_none());
        let keys: BTreeSet<PublicKey> = want.map(|want| want.signed).unwrap_or_default();
        let root = proposal.root.as_deref().or(in_force.map(|(root, _)| &**root));
        for (approval, head_sha256) in &new {
            let of: Vec<_> = statements.iter().filter(|s| s.approval == *approval).cloned().collect();
            let signed = SignedBy { hdo, approval, head_sha256: *head_sha256, keys: &keys };
            match all_stated(signed, &of, |key| root.and_then(|root| root.holder(key)).cloned()) {
                // Whoever approves may sign last.
                Ok(()) | Err(StatementError::NoneApproved { .. }) => {}
                Err(error) => return Err(unstated(error)),
            }
        }
        Ok(Self { new, statements })
    }

    /// For whoever signs next.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        self.statements.iter().map(|s| Change::new("signed", format!("{}: {}", s.approval, s.to_text())))
    }
}
