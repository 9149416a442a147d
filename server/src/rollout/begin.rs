//! Where a rollout begins: an approval that was just published.

use jiff::Timestamp;
use suture_core::approval::{Approval, OperatorDocument, Terms};
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::principal::Principal;
use suture_core::rollout::{Progress, Stage, State, Tally, WaveSet};
use suture_core::version::Version;

use super::run::advance;
use super::{RolloutError, record};
use crate::store::rollouts::Rollout;
use crate::store::{Lock, Tx};

/// Begins the rollout of an approval; the approvals that it supersedes end. One that is complete stays so, with that as its reason,
/// by which no lift opens it again. Nothing happens where the rollout exists.
pub(crate) async fn begin(
    tx: &mut Tx,
    approval: &Approval,
    approval_sha256: Digest,
    notes: &OperatorDocument,
    version: Version,
    actor: &Principal,
    now: Timestamp,
) -> Result<(), RolloutError> {
    let terms = &approval.terms;
    tx.lock(Lock::Rollouts(&terms.hdo)).await?;
    if tx.rollout(&terms.hdo, &terms.id).await?.is_some() {
        return Ok(());
    }
    let Some(last) = terms.steps.last() else { return Ok(()) };
    for id in &terms.supersedes {
        if let Some(mut old) = tx.rollout(&terms.hdo, id).await?.filter(Rollout::may_go_on) {
            if !old.state.is_over() {
                old.state = State::Superseded;
            }
            old.reason = Some(Reason::new(Code::Superseded, format!("{} took its place", terms.id)));
            tx.update_rollout(&old, now).await?;
            record(tx, &old, actor, "rollout.superseded", "", now).await?;
        }
    }
    let rollout = Rollout {
        hdo: terms.hdo.clone(),
        id: terms.id.clone(),
        state: State::Running,
        reason: None,
        product: last.product.clone(),
        version,
        release: last.release,
        manifest_sha256: last.sha256,
        approval_sha256,
        wave: 0,
        waves: u32::try_from(terms.waves.len()).unwrap_or(u32::MAX),
        unsigned: WaveSet::gated(&terms.waves),
        attempt_timeout_secs: terms.attempt_timeout_secs,
        max_attempts: terms.max_attempts,
        plan_sha256: notes.plan_sha256,
        ticket: notes.ticket.clone(),
        created: terms.created,
        expires: terms.expires,
    };
    let devices: Vec<_> = approval.devices.iter().map(|d| (d.id.clone(), offered(d, terms, now))).collect();
    tx.put_rollout(&rollout, now).await?;
    tx.put_steps(&rollout, &terms.steps).await?;
    tx.put_stages(&rollout, &stages(&rollout, terms, &devices, now)).await?;
    tx.put_members(&rollout, &devices, now).await?;
    record(tx, &rollout, actor, "rollout.approved", &notes.reason, now).await?;
    // The catalog may have withdrawn it before it was signed.
    advance(tx, &terms.hdo, &terms.id, now).await?;
    Ok(())
}

fn offered(device: &suture_core::approval::DeviceSlots, terms: &Terms, now: Timestamp) -> Progress {
    let slots_end = device.slots.last().map_or(terms.expires, |slot| slot.end);
    Progress { wave: device.wave, phase: Phase::Offered, since: now, slots_end, barred: false, forgiven: false }
}

fn stages(rollout: &Rollout, terms: &Terms, devices: &[(DeviceId, Progress)], now: Timestamp) -> Vec<Stage> {
    let stage = |(number, gate): (u32, &suture_core::approval::Wave)| {
        let mine = devices.iter().map(|(_, progress)| progress).filter(|p| p.wave == number);
        Stage { gate: gate.clone(), tally: Tally::of(mine, rollout.timeout(), now) }
    };
    (0..).zip(&terms.waves).map(stage).collect()
}
