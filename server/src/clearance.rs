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
use suture_core::report::Report;
use suture_core::trust::{Role, TrustError, Verified};
use suture_proto::Repository;

use crate::audit::{self, AuditError};
use crate::store::{StoreError, Tx};

/// Of a device's latest reports so many are looked at for the one that a release is of: as `suturectl` is shown.
const RECENT_REPORTS: u32 = 20;

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
    /// It is of another check than that which the device tells of.
    #[error(
        "the release is of no check that {0} tells of in its reports; `suturectl device release {0}` makes one of that which it \
         waits for now"
    )]
    OtherCheck(DeviceId),
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

/// The one for a device that waits for it, if the hospital's root in force verifies it still.
///
/// Attack: a thief of an approver's key whose release waits for its device, while the hospital takes the key out of its root. A
/// device that has not heard of that root yet would believe it.
pub(crate) async fn awaited(tx: &mut Tx, hdo: &HdoId, device: &DeviceId) -> Result<Option<Vec<u8>>, ClearError> {
    let Some(envelope) = tx.awaited_clearance(hdo, device).await? else { return Ok(None) };
    let repository = Repository::Approvals(hdo.clone()).to_string();
    let Some(root) = tx.newest_repo_file(&repository, Role::Root).await? else { return Ok(None) };
    let stands = VerifiedClearance::verify(&Verified::pinned(&root.content)?, hdo, &envelope);
    if let Err(error) = &stands {
        tracing::warn!(%hdo, %device, error = error as &dyn std::error::Error, "a release counts no more and is handed to nobody");
    }
    Ok(stands.ok().map(|_| envelope))
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
    let known = tx.device(hdo, device).await?.ok_or_else(|| ClearError::NoDevice(device.clone()))?;
    let member = tx.member(hdo, &clearance.approval, device).await?;
    let waits = member.and_then(|m| m.reason).is_some_and(|reason| reason.code == Code::ReturnToService);
    if !waits {
        return Err(ClearError::NotAwaited(device.clone()));
    }
    // Attack: one that is signed beforehand, or of an earlier check: the device would take the former once it waits.
    let kept = tx.device_reports(hdo, device, RECENT_REPORTS).await?;
    let mut told = kept.iter().filter_map(|signed| signed.verify(known.report_key.as_ref()?).ok());
    let is_of = |report: Report| {
        let waits = report.reason.is_some_and(|reason| reason.code == Code::ReturnToService);
        let (approval, manifest) = (report.approval.as_ref(), report.manifest.as_ref());
        waits
            && (approval, manifest, report.at)
                == (Some(&clearance.approval), Some(&clearance.manifest), clearance.reported_at)
    };
    if !told.any(is_of) {
        return Err(ClearError::OtherCheck(device.clone()));
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
