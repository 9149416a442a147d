//! Signed reports, each counted once however often it is sent.
//!
//! Attack: a server's database or a phantom device that opens a gate. A report is verified by the key that the device
//! enrolled with, and moves a rollout only where the hospital's signed roster names that same key.
//!
//! Attack: a stolen device that says without end what the audit record keeps. See [`growth`].
//!
//! Attack: a stolen operator's certificate, by which a thousand devices are enrolled that nobody has, each of which reports as
//! much as is kept of a device. So of devices that are on no signed roster so many bytes are kept of a day, of all together.
//!
//! Attack: stolen keys of many devices that are on it. So of a hospital's devices so many bytes are taken a day; what is more is
//! not taken, waits on the device, and is taken the next day. See [`growth::taken`].

use jiff::Timestamp;
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{MAX_DEVICE_REPORT_BYTES, MAX_HOSPITAL_REPORT_BYTES, MAX_KEPT_REPORTS, MAX_UNROSTERED_BYTES};
use suture_core::phase::{Code, Phase};
use suture_core::principal::Principal;
use suture_core::report::{ReportError, Sighting, Signed};

use crate::audit::{self, AuditError, growth};
use crate::fork;
use crate::rollout::{RolloutError, run};
use crate::store::{Lock, Store, StoreError, Tx, retried};

/// Why reports were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    /// The device has not enrolled.
    #[error("this device has no report key here; enrol it again")]
    Unknown,
    /// The device was revoked, or taken out of use, while the call was under way.
    #[error("this device is not in good standing here; enrol it again")]
    Revoked,
    /// One of them is not the device's.
    #[error("report {place} of this call is refused")]
    Refused {
        /// Its place in the call, counted from 1.
        place: usize,
        /// Why.
        source: ReportError,
    },
    /// One of them names another device.
    #[error("report {number} is of hdo/{hdo}/device/{device}, not of the caller")]
    Foreign { number: u64, hdo: HdoId, device: DeviceId },
    /// A rollout could not be moved.
    #[error("a report could not be counted")]
    Rollout(#[from] RolloutError),
    /// What it has seen could not be recorded.
    #[error("a fork could not be recorded")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the reports could not be stored")]
    Store(#[from] StoreError),
}

/// Stores reports in order and says up to which number all are stored.
///
/// The device sends its oldest first. If that one lies behind a gap, the reports between were lost after they had been
/// acknowledged: the database was restored from a copy, or somebody else answered under the server's name. They will not
/// come any more, so they are not waited for; the record says which they are. A gap within a call waits on the device.
pub(crate) async fn submit(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    reports: &[Signed],
    now: Timestamp,
) -> Result<u64, SubmitError> {
    retried(|| take(store, hdo, device, reports, now)).await
}

async fn take(
    store: &Store,
    hdo: &HdoId,
    device: &DeviceId,
    reports: &[Signed],
    now: Timestamp,
) -> Result<u64, SubmitError> {
    let mut tx = store.begin().await?;
    tx.lock(Lock::Rollouts(hdo)).await?;
    // Whoever revokes it meanwhile waits until this is kept, or has done so before it is looked at.
    let active = tx.holds_active(hdo, device).await?;
    let known = tx.device(hdo, device).await?.ok_or(SubmitError::Unknown)?;
    let key = known.report_key.ok_or(SubmitError::Unknown)?;
    if !active {
        return Err(SubmitError::Revoked);
    }
    let counts = tx.roster_key(hdo, device).await? == Some(key);
    let (mut next, mut lost, mut heard) = (known.reports_through.saturating_add(1), None, Vec::new());
    for (i, signed) in reports.iter().enumerate() {
        let report = signed.verify(&key).map_err(|source| SubmitError::Refused { place: i + 1, source })?;
        if report.hdo != *hdo || report.device != *device {
            return Err(SubmitError::Foreign { number: report.number, hdo: report.hdo, device: report.device });
        }
        if i == 0 && report.number > next {
            lost = Some((next, report.number - 1));
        } else if report.number != next {
            continue;
        }
        next = report.number.saturating_add(1);
        heard.push((report, signed));
    }
    let mut put_off = 0;
    if counts && !heard.is_empty() {
        let bytes = heard.iter().map(|(_, signed)| signed.payload.len());
        let taken = growth::taken(&mut tx, (hdo, device), bytes, now).await?;
        put_off = heard.len() - taken;
        heard.truncate(taken);
    }
    let mut through = known.reports_through;
    let (mut last, mut seen, mut news, mut unkept) = (None, Vec::new(), Vec::new(), false);
    // What is put off as a whole comes again, and with it what is missing before it.
    let lost = lost.filter(|_| !heard.is_empty());
    for (report, signed) in heard {
        through = report.number;
        // What runs and has not proven its health yet is not what the device is on.
        let settled = !matches!(report.phase, Phase::Installing | Phase::Restarting | Phase::Confirming);
        last = Some((signed, (counts && settled).then_some(report.running.manifest)));
        let sighting = Sighting::new(hdo.clone(), device.clone(), report.catalog.clone(), report.approvals.clone());
        if seen.last() != Some(&sighting) {
            seen.push(sighting);
        }
        if !counts && !growth::has_room(&mut tx, hdo, signed.payload.len(), now).await? {
            unkept = true;
        } else if !tx.put_report(hdo, device, &key, report.number, signed, now).await? {
            continue;
        }
        news.push(report);
    }
    if let Some((signed, manifest)) = last {
        tx.set_proven(hdo, device, through, signed, manifest.as_ref()).await?;
        tx.drop_old_reports(hdo, device, &key, MAX_KEPT_REPORTS).await?;
    }
    // After the device's own row, as at a check-in: the record of what follows is what others wait for longest.
    for report in &news {
        // The device tells it once, in a report of its own.
        if let Some(reason) = report.reason.as_ref().filter(|reason| reason.code == Code::Drift) {
            tracing::warn!(%hdo, %device, reason = %reason, "a device's software was altered where it lies");
            let detail = serde_json::json!({ "report": report.number, "drift": reason.text });
            record(&mut tx, (hdo, device), "device.drift", detail, now).await?;
        }
        // The same of this very record: a server that was set back, by whoever it was, has it from the device.
        if let Some(reason) = report.reason.as_ref().filter(|reason| reason.code == Code::RecordRewritten) {
            tracing::error!(%hdo, %device, reason = %reason, "a device finds that the audit record was rewritten");
            let detail =
                serde_json::json!({ "report": report.number, "doubt": reason.text, "remembers": report.record });
            record(&mut tx, (hdo, device), "device.record-doubt", detail, now).await?;
        }
        // Its keys are gone, it says: whoever shows them from now on has a copy.
        if let Some(reason) = report.reason.as_ref().filter(|reason| reason.code == Code::Departed) {
            let by = Principal::Device(hdo.clone(), device.clone());
            if tx.revoke_device(hdo, device, now).await? {
                tx.drop_lease(hdo, device).await?;
                tx.lock(Lock::AuditChain).await?;
                tx.revoke_certificates(&by, now).await?;
                let detail = serde_json::json!({ "report": report.number, "reason": reason.text });
                audit::append(&mut tx, now, &by, hdo.into(), "device.departed", device.as_str(), detail).await?;
            }
        }
        // Who has let it back to patients, and who or what keeps it from what is approved: people look for that later.
        let what = match report.reason.as_ref().map(|reason| reason.code) {
            Some(Code::ReturnToService) if report.phase == Phase::Held => Some("device.waits-for-check"),
            Some(Code::Returned) => Some("device.checked"),
            Some(Code::Unfit) => Some("device.unfit"),
            Some(Code::Deferred) => Some("device.deferred"),
            Some(Code::HeldHere) => Some("device.held"),
            _ => None,
        };
        if let Some((what, reason)) = what.zip(report.reason.as_ref()) {
            let detail =
                serde_json::json!({ "report": report.number, "rollout": report.approval, "said": reason.text });
            record(&mut tx, (hdo, device), what, detail, now).await?;
        }
        if let Some(approval) = report.approval.as_ref().filter(|_| counts) {
            run::progressed(&mut tx, hdo, approval, report, now).await?;
        }
    }
    for sighting in &seen {
        fork::watch(&mut tx, sighting, true, now).await?;
    }
    if unkept {
        tracing::warn!(%hdo, %device, "reports of a device that is on no signed roster are not kept today");
        let detail = serde_json::json!({ "most_bytes": MAX_UNROSTERED_BYTES, "through": through });
        record(&mut tx, (hdo, device), "device.reports-not-kept", detail, now).await?;
    }
    if put_off > 0 && growth::is_put_off_first(&mut tx, (hdo, device), now).await? {
        tracing::warn!(%hdo, %device, put_off, "a device has sent so many reports that more are taken tomorrow (UTC)");
        let detail = serde_json::json!({
            "most_bytes": MAX_DEVICE_REPORT_BYTES, "hospital_most_bytes": MAX_HOSPITAL_REPORT_BYTES, "through": through,
        });
        record(&mut tx, (hdo, device), "device.reports-put-off", detail, now).await?;
    }
    if let Some((first, last)) = lost {
        tracing::warn!(%hdo, %device, first, last, "reports of a device were lost after they had been acknowledged");
        let detail = serde_json::json!({ "first": first, "last": last });
        record(&mut tx, (hdo, device), "device.reports-lost", detail, now).await?;
    }
    tx.commit().await?;
    Ok(through)
}

/// Records what a device has said of itself.
async fn record(
    tx: &mut Tx,
    of: (&HdoId, &DeviceId),
    action: &str,
    detail: serde_json::Value,
    now: Timestamp,
) -> Result<(), AuditError> {
    let (hdo, device) = of;
    let by = Principal::Device(hdo.clone(), device.clone());
    growth::heard(tx, now, of, (&by, hdo.into()), (action, device.as_str(), detail)).await
}

#[cfg(test)]
mod tests;
