//! A hospital's signed word that a device was checked after its update, and is fit or unfit: taken, recorded, and handed to that
//! device.
//!
//! It is verified here as the device will, so that a mistake is refused where its maker can see it. The server's copy is no
//! authority: a server that makes one up, or hands out an old one, moves no device.

use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::{Clearance, ClearanceError, VerifiedClearance};
use suture_core::id::{DeviceId, HdoId};
use suture_core::phase::Code;
use suture_core::principal::Principal;
use suture_core::trust::{Role, TrustError, Verified};
use suture_proto::Repository;

use crate::audit::{self, AuditError};
use crate::store::{StoreError, Tx};

/// Why one was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClearError {
    /// The hospital has no approvals repository, so nobody can sign for it.
    #[error("{0} has published no approvals yet")]
    NoRoot(HdoId),
    /// Not signed as it must be, of another hospital, or unreadable.
    #[error("the release is refused")]
    Refused(#[from] ClearanceError),
    /// The hospital has no such device.
    #[error("there is no device {0}; `suturectl device list` names them")]
    NoDevice(DeviceId),
    /// By its reports it waits for no check.
    #[error(
        "by its reports {0} does not wait for a check after that update; `suturectl device why {0}` says what it does"
    )]
    NotAwaited(DeviceId),
    /// The stored root cannot be read.
    #[error("the stored root failed")]
    Root(#[from] TrustError),
    /// It could not be recorded.
    #[error("the release could not be recorded")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the release could not be stored")]
    Store(#[from] StoreError),
}

/// Verifies one by the hospital's root in force, stores it and records it.
pub(crate) async fn take(
    tx: &mut Tx,
    hdo: &HdoId,
    envelope: &[u8],
    actor: &Principal,
    now: Timestamp,
) -> Result<(), ClearError> {
    let repository = Repository::Approvals(hdo.clone()).to_string();
    let root = tx.newest_repo_file(&repository, Role::Root).await?.ok_or_else(|| ClearError::NoRoot(hdo.clone()))?;
    let clearance = VerifiedClearance::verify(&Verified::pinned(&root.content)?, hdo, envelope)?;
    let device = &clearance.device;
    if tx.device(hdo, device).await?.is_none() {
        return Err(ClearError::NoDevice(device.clone()));
    }
    let member = tx.member(hdo, &clearance.approval, device).await?;
    let waits = member.and_then(|m| m.reason).is_some_and(|reason| reason.code == Code::ReturnToService);
    if !waits {
        return Err(ClearError::NotAwaited(device.clone()));
    }
    // Attack: one that is sent again and again, to fill the record with what only narrows.
    let stands = tx.awaited_clearance(hdo, device).await?;
    if stands.as_deref() == Some(clearance.bytes()) {
        return Ok(());
    }
    let was_unfit = stands.is_some_and(|bytes| Clearance::read_unverified(&bytes).is_ok_and(|stands| stands.unfit));
    tx.put_clearance(hdo, &clearance, now).await?;
    let detail = json!({
        "rollout": clearance.approval, "manifest": clearance.manifest, "by": clearance.by, "said": clearance.reason,
    });
    let what = match (clearance.unfit, was_unfit) {
        (true, false) => "device.refused",
        (true, true) => "device.refused-again",
        (false, _) => "device.released",
    };
    audit::append(tx, now, actor, hdo.into(), what, device.as_str(), detail).await?;
    Ok(())
}
