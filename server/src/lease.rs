//! Granting leases: each in one transaction under the lock of the hospital's ward, so that no two replicas grant its last
//! place. The rules are [`suture_core::lease`]'s. A lease is no authority: it can only make a device wait.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | a device that takes a lease for another, or in another hospital | the caller's certificate says whose it is |
//! | a device that takes one by an approval that does not name it, or where the rollout holds it back | [`take`] |
//! | a device that takes leases and never gives them back, or takes them anew without end | it has one, in its own ward; whoever waits is told its name, and its certificate is revoked |

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use suture_core::id::{ApprovalId, DeviceId, HdoId, WardId};
use suture_core::lease::{Answer, Ask, Lease, Stage, ask};
use suture_core::limits::{LEASE_ASK_AGAIN, MAX_DOWN};
use suture_core::phase::{Code, Reason};
use suture_core::principal::Principal;

use crate::audit;
use crate::offer;
use crate::rollout::{RolloutError, terms_of};
use crate::store::Tx;

/// Answers a device that asks for a lease, or renews it.
///
/// # Errors
///
/// There is no such rollout, it does not name the device, or the database failed.
pub(crate) async fn take(
    tx: &mut Tx,
    hdo: &HdoId,
    device: &DeviceId,
    approval: &ApprovalId,
    stage: Stage,
    now: Timestamp,
) -> Result<Answer, RolloutError> {
    let refused = |reason| {
        let ask_again = now.saturating_add(LEASE_ASK_AGAIN).unwrap_or(Timestamp::MAX);
        Ok(Answer::Refused { reason, ask_again })
    };
    // Attack: a call that a device's thief began before its revocation, and ends after it: its ward would wait for nobody.
    if !tx.holds_active(hdo, device).await? {
        return refused(Reason::new(Code::Pending, "this device is not in good standing here"));
    }
    let missing = || RolloutError::NotFound(approval.clone());
    let rollout = tx.rollout(hdo, approval).await?.ok_or_else(missing)?;
    if tx.member(hdo, approval, device).await?.is_none() {
        return Err(missing());
    }
    let Some(ward) = tx.roster_ward(hdo, device).await? else {
        return refused(Reason::new(Code::Pending, "this device is on no signed roster, so its ward is not known"));
    };
    // One that is past the switch is down whatever is held back now.
    if stage != Stage::Begun
        && let Some(word) = offer::words(tx, hdo, device, now).await?.into_iter().find(|w| w.approval == *approval)
        && let Err(reason) = word.verdict
    {
        return refused(reason);
    }
    let terms = terms_of(tx, &rollout).await?;
    let ask = Ask {
        device: device.clone(),
        ward,
        approval: approval.clone(),
        cap: terms.ward_cap,
        silence: SignedDuration::from_secs(i64::from(terms.attempt_timeout_secs)),
        expires: terms.expires,
        stage,
    };
    grant(tx, hdo, &ask, now).await
}

/// Judges by what the ward has granted and by what its devices have reported, and keeps what is granted.
pub(crate) async fn grant(tx: &mut Tx, hdo: &HdoId, asked: &Ask, now: Timestamp) -> Result<Answer, RolloutError> {
    tx.lock_ward(hdo, &asked.ward).await?;
    let mine = tx.lease(hdo, &asked.device).await?;
    let mut ward = tx.ward_leases(hdo, &asked.ward).await?;
    ward.extend(reported(tx, hdo, &asked.ward, None).await?);
    let answer = ask(asked, mine.as_ref(), &ward, now);
    if let Answer::Granted(lease) = &answer {
        tx.put_lease(hdo, &asked.ward, lease).await?;
    }
    Ok(answer)
}

/// The devices of a ward that are out of service by their signed reports, whether or not their rollout asks for leases: each
/// as if it had taken one when it spoke of that last.
async fn reported(
    tx: &mut Tx,
    hdo: &HdoId,
    ward: &WardId,
    only: Option<&DeviceId>,
) -> Result<Vec<Lease>, RolloutError> {
    let mut terms = BTreeMap::new();
    let mut leases = Vec::new();
    for (device, approval, since, checked) in tx.reported_down(hdo, ward, only).await? {
        if !terms.contains_key(&approval) {
            let Some(rollout) = tx.rollout(hdo, &approval).await? else { continue };
            terms.insert(approval.clone(), terms_of(tx, &rollout).await?);
        }
        let Some(signed) = terms.get(&approval) else { continue };
        leases.push(Lease {
            device,
            approval,
            cap: signed.ward_cap,
            // Until it is checked it is out of service whether or not it speaks: it may be switched off.
            silence: if checked { MAX_DOWN } else { SignedDuration::from_secs(i64::from(signed.attempt_timeout_secs)) },
            taken: since,
            begun: Some(since),
            heard: since,
            returned: None,
        });
    }
    Ok(leases)
}

/// Notes a person's word that a device is back in service, for the record too. The lease that it ends; none where the device
/// counts as down by none.
pub(crate) async fn give_back(
    tx: &mut Tx,
    hdo: &HdoId,
    device: &DeviceId,
    actor: &Principal,
    said: &str,
    now: Timestamp,
) -> Result<Option<Lease>, RolloutError> {
    let lease = match tx.lease(hdo, device).await?.filter(|lease| lease.counts(now)) {
        Some(lease) => {
            tx.return_lease(hdo, device, now).await?;
            lease
        }
        // Down by its report alone: that a person returned it is kept as a lease that has ended.
        None => {
            let Some(ward) = tx.roster_ward(hdo, device).await? else { return Ok(None) };
            let mut reported = reported(tx, hdo, &ward, Some(device)).await?.into_iter();
            let Some(lease) = reported.find(|lease| lease.counts(now)) else { return Ok(None) };
            tx.put_lease(hdo, &ward, &Lease { returned: Some(now), ..lease.clone() }).await?;
            lease
        }
    };
    let detail = json!({ "rollout": lease.approval, "down": lease.to_text(), "said": said });
    audit::append(tx, now, actor, hdo.into(), "device.returned", device.as_str(), detail).await?;
    Ok(Some(lease))
}
