//! Stop orders that come beside the approvals: signed by any one approver, so that nobody waits for a colleague.
//!
//! They are verified here as every device will, so that a mistake is refused where its maker can see it. The server's copy
//! is no authority: it hands orders on, and a device keeps those that it has heard whatever becomes of them here.

use jiff::Timestamp;
use suture_core::approval::{StopError, VerifiedStop};
use suture_core::id::{ApprovalId, HdoId};
use suture_core::principal::Principal;
use suture_core::trust::{Role, TrustError, Verified};
use suture_proto::Repository;

use crate::rollout::{RolloutError, order};
use crate::store::{Lock, StoreError, Tx};

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// The hospital has no approvals repository, so nobody approves and nothing can be stopped.
    #[error("{0} has published no approvals yet")]
    NoRoot(HdoId),
    /// Not signed as it must be, of another hospital, or unreadable.
    #[error("the order is refused")]
    Refused(#[from] StopError),
    /// The server has no approval of that id.
    #[error("there is no approval {0} that could be stopped; `suturectl rollout list --all` names them")]
    NoApproval(ApprovalId),
    /// A newer order is in force.
    #[error(
        "an order for {approval} with counter {known} is in force, {offered} is no news; sign one upon that: run the \
         command again, and for a lift `rollout stop` before it"
    )]
    Old { approval: ApprovalId, known: u64, offered: u64 },
    /// The stored root cannot be read.
    #[error("the stored root failed")]
    Root(#[from] TrustError),
    /// The rollout could not be changed.
    #[error("the rollout could not be changed")]
    Rollout(#[from] RolloutError),
    /// The database failed.
    #[error("the order could not be stored")]
    Store(#[from] StoreError),
}

/// Verifies an order by the hospital's root in force, stores it, records it and has the rollout obey; false where it was
/// here already.
pub(crate) async fn take(
    tx: &mut Tx,
    hdo: &HdoId,
    envelope: &[u8],
    actor: &Principal,
    now: Timestamp,
) -> Result<bool, TakeError> {
    tx.lock(Lock::Rollouts(hdo)).await?;
    let repository = Repository::Approvals(hdo.clone()).to_string();
    let root = tx.newest_repo_file(&repository, Role::Root).await?.ok_or_else(|| TakeError::NoRoot(hdo.clone()))?;
    let root = Verified::pinned(&root.content)?;
    let stop = VerifiedStop::verify(&root, hdo, envelope)?;
    if stop.is_ahead(now) {
        return Err(StopError::Ahead(stop.approval.clone()).into());
    }
    let rollout = tx.rollout(hdo, &stop.approval).await?;
    if rollout.is_none_or(|r| r.expires <= now) {
        return Err(TakeError::NoApproval(stop.approval.clone()));
    }
    if let Some(known) = tx.stop(hdo, &stop.approval).await? {
        let known = VerifiedStop::kept(&known)?;
        // Attack: an approver who has left, and whose lift no later stop would outdo. Devices do the same.
        let stands = |lift: &VerifiedStop| VerifiedStop::verify(&root, hdo, lift.bytes()).is_ok();
        if !stop.is_news_after(&known) && stop.outlives(&known, stands) {
            tx.drop_stop(hdo, &stop.approval).await?;
            order::stop(tx, hdo, &stop, actor, now).await?;
            return Ok(true);
        }
        if (known.counter, known.stopped) == (stop.counter, stop.stopped) {
            return Ok(false);
        }
        if !stop.is_news_after(&known) {
            let (approval, offered) = (stop.approval.clone(), stop.counter);
            return Err(TakeError::Old { approval, known: known.counter, offered });
        }
    }
    order::stop(tx, hdo, &stop, actor, now).await?;
    Ok(true)
}
