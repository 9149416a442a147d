//! What is due, carried out: by signed reports, and by the time.

use jiff::Timestamp;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::phase::{Phase, Reason};
use suture_core::principal::Principal;
use suture_core::report::Report;
use suture_core::rollout::{Action, heard, is_barred, step};

use super::held::Held;
use super::{RolloutError, record};
use crate::store::members::{Member, Moved};
use crate::store::rollouts::Rollout;
use crate::store::{Store, StoreError, Tx, retried};

/// Carries out everything that is due for a rollout; true where something was.
pub(crate) async fn advance(tx: &mut Tx, hdo: &HdoId, id: &ApprovalId, now: Timestamp) -> Result<bool, RolloutError> {
    let mut held = Held::take(tx, hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    go_on(tx, &mut held, now).await
}

/// The same for one that is held.
pub(super) async fn go_on(tx: &mut Tx, held: &mut Held, now: Timestamp) -> Result<bool, RolloutError> {
    let turned = held.turn(tx, now).await?;
    if held.rollout.state.is_over() {
        return Ok(turned);
    }
    let mut view = held.view(tx).await?;
    let mut stepped = false;
    while let Some(action) = step(&view, now) {
        let what = match &action {
            Action::Open(_) => "rollout.wave-opened",
            Action::Await(_) => "rollout.waits-for-signature",
            Action::Pause(_) => "rollout.paused",
            Action::Complete => "rollout.completed",
            Action::Expire => "rollout.expired",
        };
        view = view.after(&action);
        let rollout = &mut held.rollout;
        (rollout.state, rollout.wave) = (view.state, view.wave);
        rollout.reason.clone_from(&view.reason);
        stepped = true;
        record(tx, rollout, &Principal::Server, what, "", now).await?;
    }
    if stepped {
        tx.update_rollout(&held.rollout, now).await?;
    }
    Ok(turned || stepped)
}

/// [`advance`]s every rollout that something is due for, each in a transaction of its own; one that fails keeps no other
/// back.
pub(crate) async fn advance_all(store: &Store, now: Timestamp) -> Result<bool, RolloutError> {
    let mut changed = false;
    let due = {
        let mut tx = store.read().await?;
        let mut due = tx.open_rollouts().await?;
        due.extend(tx.turning_rollouts(now).await?);
        due
    };
    for (hdo, id) in due {
        let (hdo, id) = (&hdo, &id);
        let advanced = retried(|| async {
            if !is_due(store, hdo, id, now).await? {
                return Ok(false);
            }
            let mut tx = store.begin().await?;
            let advanced = advance(&mut tx, hdo, id, now).await?;
            tx.commit().await?;
            Ok::<_, RolloutError>(advanced)
        });
        match advanced.await {
            Ok(advanced) => changed |= advanced,
            Err(error) => {
                tracing::error!(%hdo, rollout = %id, error = &error as &dyn std::error::Error, "it stays as it is");
            }
        }
    }
    Ok(changed)
}

/// Whether there is anything to do, found out without the one writer's place and without the hospital's lock.
async fn is_due(store: &Store, hdo: &HdoId, id: &ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = store.read().await?;
    let Some(held) = Held::look(&mut tx, hdo, id).await? else { return Ok(false) };
    Ok(tx.has_turned(hdo, id, now).await? || step(&held.view(&mut tx).await?, now).is_some())
}

/// Records how far a device got, by its signed report; the rollout then advances.
pub(crate) async fn progressed(
    tx: &mut Tx,
    hdo: &HdoId,
    id: &ApprovalId,
    report: &Report,
    now: Timestamp,
) -> Result<(), RolloutError> {
    let Some(mut held) = Held::take(tx, hdo, id).await? else { return Ok(()) };
    let Some(member) = tx.member(hdo, id, &report.device).await? else { return Ok(()) };
    let (phase, reason) = told(tx, &held.rollout, report).await?;
    let before = member.progress;
    let tries = match report.phase {
        // Each step has tries of its own.
        Phase::Confirmed => 0,
        Phase::FellBack => member.tries.saturating_add(1),
        _ => member.tries,
    };
    let over = report.permanent || is_barred(phase, reason.as_ref(), tries, held.rollout.max_attempts);
    let next = before.told(phase, over, held.rollout.timeout(), now);
    if next == before && reason == member.reason {
        return Ok(());
    }
    let moved = Member { progress: next, reason, tries, ..member };
    tx.move_member(&held.rollout, &moved, now).await?;
    let standing = next.standing(held.rollout.timeout(), now);
    let moved = Moved { wave: before.wave, standing: moved.standing, forgiven: before.forgiven, count: 1 };
    held.shift(tx, &[moved], |_| (standing, next.forgiven)).await?;
    go_on(tx, &mut held, now).await?;
    Ok(())
}

/// How far a report says that the device got with what the rollout installs.
///
/// That it obeys an order which another has replaced since says nothing of the one in force: it has heard of the approval.
async fn told(tx: &mut Tx, rollout: &Rollout, report: &Report) -> Result<(Phase, Option<Reason>), StoreError> {
    let outdated = report.phase == Phase::Stopped
        && tx.stop_counter(&rollout.hdo, &rollout.id).await?.is_some_and(|in_force| !report.obeys(in_force));
    Ok(if outdated { (Phase::Offered, None) } else { heard(report, &rollout.manifest_sha256) })
}
