//! The orchestration of one approval in waves: carrying out what the rules say, and telling those who watch.
//!
//! The rules are pure and stand in [`suture_core::rollout`]. Here each is carried out in one transaction that holds the
//! hospital's lock, so that doing it twice, or on two servers at once, does it once.

pub(crate) mod begin;
mod held;
pub(crate) mod leader;
pub(crate) mod news;
pub(crate) mod order;
pub(crate) mod run;
mod terms;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::DocumentError;
use suture_core::id::ApprovalId;
use suture_core::principal::Principal;

pub(crate) use terms::terms_of;

use crate::audit::{self, AuditError};
use crate::store::rollouts::Rollout;
use crate::store::{StoreError, Tx};

/// Why a rollout could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloutError {
    /// There is none of that id.
    #[error("there is no rollout {0}; `suturectl rollout list --all` names them")]
    NotFound(ApprovalId),
    /// It is over, or in another state than the change needs.
    #[error("rollout {id} is {state}: {what}")]
    State { id: ApprovalId, state: &'static str, what: &'static str },
    /// Its approval is not stored, or cannot be read.
    #[error("the approval of rollout {0} is not stored here")]
    NoApproval(ApprovalId),
    /// A signed document cannot be read.
    #[error("a signed document cannot be read")]
    Document(#[from] DocumentError),
    /// The record failed.
    #[error("the audit trail failed")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the rollout's record failed")]
    Store(#[from] StoreError),
}

async fn record(
    tx: &mut Tx,
    rollout: &Rollout,
    actor: &Principal,
    action: &str,
    said: &str,
    now: Timestamp,
) -> Result<(), AuditError> {
    let detail = json!({
        "state": rollout.state.as_str(),
        "wave": rollout.wave,
        "reason": rollout.reason.as_ref().map(ToString::to_string),
        "said": said,
    });
    audit::append(tx, now, actor, (&rollout.hdo).into(), action, rollout.id.as_str(), detail).await.map(drop)
}
