//! Carrying out what the rules say, each in one transaction, so that doing it twice does it once.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use suture_core::approval::{
    Approval, DocumentError, GateNote, Head, OperatorDocument, SignedDocument as _, Terms, VerifiedStop, Wave, path,
};
use suture_core::id::{ApprovalId, HdoId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::principal::Principal;
use suture_core::report::Report;
use suture_core::rollout::{Action, Progress, Stage, State, Tally, View, WaveSet, heard, step};
use suture_core::trust::served_target_name;
use suture_core::version::Version;

use crate::audit::{self, AuditError};
use crate::store::rollouts::{Member, Rollout};
use crate::store::{Lock, Store, StoreError, Tx};

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

/// Carries out everything that is due for a rollout; true where something was.
pub(crate) async fn advance(tx: &mut Tx, hdo: &HdoId, id: &ApprovalId, now: Timestamp) -> Result<bool, RolloutError> {
    tx.lock(Lock::Rollouts).await?;
    let mut rollout = tx.rollout(hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    let terms = terms_of(tx, &rollout).await?;
    let timeout = SignedDuration::from_secs(i64::from(terms.attempt_timeout_secs));
    let mut devices: Vec<_> = tx.members(hdo, id).await?.iter().map(|m| progress(m, rollout.expires)).collect();
    // A device that tries again, or has succeeded since, leaves nothing over for another device to use up.
    let failed = devices.iter_mut().filter(|d| d.wave == rollout.wave && d.phase.is_failure());
    let forgiven = failed.take(rollout.forgiven as usize).map(|d| d.forgiven = true).count();
    let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
    let mut changed = forgiven != rollout.forgiven;
    rollout.forgiven = forgiven;
    let stage = |(number, gate): (u32, Wave)| {
        let tally = Tally::of(devices.iter().filter(|d| d.wave == number), timeout, now);
        Stage { gate, tally }
    };
    let mut view = View {
        id: id.clone(),
        state: rollout.state,
        reason: rollout.reason.clone(),
        wave: rollout.wave,
        waves: (0..).zip(terms.waves).map(stage).collect(),
        unsigned: rollout.unsigned,
        withdrawn: false,
        expires: rollout.expires,
    };
    while let Some(action) = step(&view, now) {
        let what = match action {
            Action::Open(_) => {
                rollout.forgiven = 0;
                "rollout.wave-opened"
            }
            Action::Await(_) => "rollout.waits-for-signature",
            Action::Pause(_) => "rollout.paused",
            Action::Complete => "rollout.completed",
            Action::Expire => "rollout.expired",
        };
        view = view.after(&action);
        rollout.state = view.state;
        rollout.wave = view.wave;
        rollout.reason.clone_from(&view.reason);
        changed = true;
        record(tx, &rollout, &Principal::Server, what, "", now).await?;
    }
    if changed {
        tx.update_rollout(&rollout, now).await?;
    }
    Ok(changed)
}

/// [`advance`]s every rollout that is not over, each in a transaction of its own; one that fails keeps no other back.
pub(crate) async fn advance_all(store: &Store, now: Timestamp) -> Result<bool, RolloutError> {
    let mut changed = false;
    for (hdo, id) in store.open_rollouts().await? {
        let mut tx = store.begin().await?;
        match advance(&mut tx, &hdo, &id, now).await {
            Ok(true) => {
                tx.commit().await?;
                changed = true;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%hdo, rollout = %id, error = &error as &dyn std::error::Error, "it stays as it is");
            }
        }
    }
    Ok(changed)
}

fn progress(member: &Member, slots_end: Timestamp) -> Progress {
    Progress { wave: member.wave, phase: member.phase, since: member.changed, slots_end, forgiven: false }
}

/// What the approval of a rollout says to all of its devices, as it was signed.
pub(crate) async fn terms_of(tx: &mut Tx, rollout: &Rollout) -> Result<Terms, RolloutError> {
    let name = served_target_name(&path::approval(&rollout.id), &rollout.approval_sha256);
    let bytes = tx.target_file(&repository(&rollout.hdo), &name).await?;
    let bytes = bytes.ok_or_else(|| RolloutError::NoApproval(rollout.id.clone()))?;
    Ok(Head::parse(&bytes)?.terms)
}

fn repository(hdo: &HdoId) -> String {
    format!("approvals/{hdo}")
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

/// What a person does to a rollout, without a signature: it only narrows, or undoes what only narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Abort,
}

/// Carries out a person's order.
pub(crate) async fn order(
    tx: &mut Tx,
    hdo: &HdoId,
    id: &ApprovalId,
    order: Order,
    actor: &Principal,
    said: &str,
    now: Timestamp,
) -> Result<(), RolloutError> {
    tx.lock(Lock::Rollouts).await?;
    let mut rollout = tx.rollout(hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    let refuse = |what| Err(RolloutError::State { id: id.clone(), state: rollout.state.as_str(), what });
    match (order, rollout.state) {
        (Order::Pause, State::Paused) | (Order::Resume, State::Running) | (Order::Abort, State::Aborted) => {
            return Ok(());
        }
        (_, state) if state.is_over() => return refuse("it is over; plan and approve a new one"),
        _ => {}
    }
    let (state, action) = match order {
        Order::Pause => (State::Paused, "rollout.paused"),
        Order::Abort => (State::Aborted, "rollout.aborted"),
        Order::Resume if tx.is_stopped(hdo, id).await? => {
            return refuse("a signed stop order is in force; lift it first with `suturectl rollout lift`");
        }
        Order::Resume => {
            // Resuming says: these failures were looked at. Only new ones pause it again.
            let members = tx.members(hdo, id).await?;
            let failed = members.iter().filter(|m| m.wave == rollout.wave && m.phase.is_failure()).count();
            rollout.forgiven = u32::try_from(failed).unwrap_or(u32::MAX);
            (State::Running, "rollout.resumed")
        }
    };
    rollout.state = state;
    rollout.reason = (state != State::Running).then(|| Reason::new(Code::Operator, said));
    tx.update_rollout(&rollout, now).await?;
    record(tx, &rollout, actor, action, said, now).await?;
    Ok(())
}

/// Begins the rollout of an approval that was just published; the approvals that it supersedes end. Nothing happens where
/// the rollout exists.
pub(crate) async fn begin(
    tx: &mut Tx,
    approval: &Approval,
    approval_sha256: suture_core::digest::Digest,
    notes: &OperatorDocument,
    version: Version,
    actor: &Principal,
    now: Timestamp,
) -> Result<(), RolloutError> {
    tx.lock(Lock::Rollouts).await?;
    let Approval { terms: approval, devices } = approval;
    if tx.rollout(&approval.hdo, &approval.id).await?.is_some() {
        return Ok(());
    }
    let Some(last) = approval.steps.last() else { return Ok(()) };
    for id in &approval.supersedes {
        if let Some(mut old) = tx.rollout(&approval.hdo, id).await?.filter(|old| !old.state.is_over()) {
            old.state = State::Superseded;
            old.reason = Some(Reason::new(Code::Superseded, format!("{} took its place", approval.id)));
            tx.update_rollout(&old, now).await?;
            record(tx, &old, actor, "rollout.superseded", "", now).await?;
        }
    }
    let rollout = Rollout {
        hdo: approval.hdo.clone(),
        id: approval.id.clone(),
        state: State::Running,
        reason: None,
        product: last.product.clone(),
        version,
        release: last.release,
        manifest_sha256: last.sha256,
        approval_sha256,
        wave: 0,
        waves: u32::try_from(approval.waves.len()).unwrap_or(u32::MAX),
        unsigned: WaveSet::gated(&approval.waves),
        forgiven: 0,
        ticket: notes.ticket.clone(),
        created: approval.created,
        expires: approval.expires,
    };
    let devices: Vec<_> = devices.iter().map(|d| (d.id.clone(), d.wave)).collect();
    tx.put_rollout(&rollout, &devices, now).await?;
    record(tx, &rollout, actor, "rollout.approved", &notes.reason, now).await?;
    Ok(())
}

/// Notes that the hospital has opened a wave by its signature, and opens it where its turn has come. Nothing happens where
/// it is noted.
pub(crate) async fn open(
    tx: &mut Tx,
    hdo: &HdoId,
    note: &GateNote,
    actor: &Principal,
    now: Timestamp,
) -> Result<(), RolloutError> {
    tx.lock(Lock::Rollouts).await?;
    let id = &note.approval;
    let mut rollout = tx.rollout(hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    if !rollout.unsigned.holds(note.wave) {
        return Ok(());
    }
    rollout.unsigned = rollout.unsigned.without(WaveSet::of([note.wave]));
    // It waits for something else from now on, or for nothing.
    if rollout.state == State::Running {
        rollout.reason = None;
    }
    tx.update_rollout(&rollout, now).await?;
    let said = format!("wave {}, signed open by {}: {}", note.wave + 1, note.approver, note.reason);
    record(tx, &rollout, actor, "rollout.wave-signed", &said, now).await?;
    advance(tx, hdo, id, now).await?;
    Ok(())
}

/// Keeps a signed order and obeys it, where it is news: a stop pauses the rollout. A lift leaves it paused, for `resume` is
/// a person's word of its own. The devices that had stopped by an order before count as not begun: they have answered to
/// that one. Nothing is kept for an approval that the server does not know.
pub(crate) async fn stop(
    tx: &mut Tx,
    hdo: &HdoId,
    stop: &VerifiedStop,
    actor: &Principal,
    now: Timestamp,
) -> Result<(), RolloutError> {
    tx.lock(Lock::Rollouts).await?;
    let Some(mut rollout) = tx.rollout(hdo, &stop.approval).await? else { return Ok(()) };
    if !tx.put_stop(hdo, stop, now).await? {
        return Ok(());
    }
    tx.reopen_stopped(hdo, &stop.approval, now).await?;
    let held = rollout.reason.as_ref().is_some_and(|r| r.code == Code::StopOrder);
    if !rollout.state.is_over() && (stop.stopped || held) {
        let reason = if stop.stopped {
            Reason::new(Code::StopOrder, "a signed stop order is in force; `suturectl rollout lift` undoes it")
        } else {
            Reason::new(Code::Operator, "the stop order was lifted; `suturectl rollout resume` lets it go on")
        };
        rollout.state = State::Paused;
        rollout.reason = Some(reason);
        tx.update_rollout(&rollout, now).await?;
    }
    let action = if stop.stopped { "rollout.stopped" } else { "rollout.stop-lifted" };
    record(tx, &rollout, actor, action, &stop.to_text(), now).await?;
    Ok(())
}

/// Records how far a device got, by its signed report; the rollout then advances.
///
/// That it obeys an order which another has replaced since says nothing of the one in force: it has heard of the approval.
pub(crate) async fn progressed(
    tx: &mut Tx,
    hdo: &HdoId,
    id: &ApprovalId,
    report: &Report,
    now: Timestamp,
) -> Result<(), RolloutError> {
    let Some(rollout) = tx.rollout(hdo, id).await? else { return Ok(()) };
    let outdated = report.phase == Phase::Stopped
        && tx.stop_counter(hdo, id).await?.is_some_and(|in_force| !report.obeys(in_force));
    let (phase, reason) = if outdated { (Phase::Offered, None) } else { heard(report, &rollout.manifest_sha256) };
    if tx.update_member(hdo, id, &report.device, phase, reason.as_ref(), now).await? {
        advance(tx, hdo, id, now).await?;
    }
    Ok(())
}
