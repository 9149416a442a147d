//! What the approval of a rollout says to all of its devices, as it was signed.

use suture_core::approval::{Head, SignedDocument as _, Terms, path};
use suture_core::trust::served_target_name;

use super::RolloutError;
use crate::store::Tx;
use crate::store::rollouts::Rollout;

/// See the module. What a step needs of it is in the rollout's rows; this reads the head.
pub(crate) async fn terms_of(tx: &mut Tx, rollout: &Rollout) -> Result<Terms, RolloutError> {
    let name = served_target_name(&path::approval(&rollout.id), &rollout.approval_sha256);
    let bytes = tx.target_file(&format!("approvals/{}", rollout.hdo), &name).await?;
    let bytes = bytes.ok_or_else(|| RolloutError::NoApproval(rollout.id.clone()))?;
    Ok(Head::parse(&bytes)?.terms)
}
