//! What people do to a rollout: by word, by signature, and by withdrawing what it installs.

use jiff::Timestamp;
use suture_core::approval::{GateNote, VerifiedStop};
use suture_core::id::{ApprovalId, HdoId};
use suture_core::phase::{Code, Reason};
use suture_core::principal::Principal;
use suture_core::rollout::{Standing, State, WaveSet};

use super::held::Held;
use super::run::{advance, go_on};
use super::{RolloutError, record};
use crate::store::Tx;

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
    let mut held = Held::take(tx, hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    let is = held.rollout.state;
    let refuse = |what| Err(RolloutError::State { id: id.clone(), state: is.as_str(), what });
    match (order, is) {
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
        Order::Resume if tx.is_withdrawn(hdo, id).await? => {
            return refuse("the manufacturer has withdrawn what it installs; plan and approve another bundle");
        }
        Order::Resume => {
            held.turn(tx, now).await?;
            // Resuming says: these were looked at. Only what comes after it pauses it again. Where it was paused for anything else,
            // nobody was told of what has failed since: it pauses again at once, and says so.
            let reason = held.rollout.reason.as_ref();
            let told = !reason.is_some_and(|reason| matches!(reason.code, Code::Operator | Code::Withdrawn));
            if told {
                let forgiven = tx.forgive_members(&held.rollout, now).await?;
                held.shift(tx, &forgiven, |m| (m.standing, true)).await?;
            }
            (State::Running, "rollout.resumed")
        }
    };
    let rollout = &mut held.rollout;
    rollout.state = state;
    rollout.reason = (state != State::Running).then(|| Reason::new(Code::Operator, said));
    tx.update_rollout(rollout, now).await?;
    record(tx, rollout, actor, action, said, now).await?;
    go_on(tx, &mut held, now).await?;
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
    let id = &note.approval;
    let mut held = Held::take(tx, hdo, id).await?.ok_or_else(|| RolloutError::NotFound(id.clone()))?;
    let rollout = &mut held.rollout;
    if !rollout.unsigned.holds(note.wave) {
        return Ok(());
    }
    rollout.unsigned = rollout.unsigned.without(WaveSet::of([note.wave]));
    // It waits for something else from now on, or for nothing.
    if rollout.state == State::Running {
        rollout.reason = None;
    }
    tx.update_rollout(rollout, now).await?;
    let said = format!("wave {}, signed open by {}: {}", note.wave + 1, note.approver, note.reason);
    record(tx, rollout, actor, "rollout.wave-signed", &said, now).await?;
    go_on(tx, &mut held, now).await?;
    Ok(())
}

/// Keeps a signed order and obeys it, where it is news: a stop pauses the rollout. A lift leaves it paused, for `resume` is
/// a person's word of its own. The devices that had stopped by an order before count as not begun: they have answered to
/// that one. A lift lets those try again that had failed for good, and opens a rollout again that was complete without them;
/// not one that another has replaced, by which no device begins any more. Nothing is kept for an approval that the server does
/// not know, nor for one that has ended: the hospital may list its order for longer, and the server forgets it then.
pub(crate) async fn stop(
    tx: &mut Tx,
    hdo: &HdoId,
    stop: &VerifiedStop,
    actor: &Principal,
    now: Timestamp,
) -> Result<(), RolloutError> {
    let held = Held::take(tx, hdo, &stop.approval).await?;
    let Some(mut held) = held.filter(|held| now < held.rollout.expires) else { return Ok(()) };
    let stands = tx.is_stopped(hdo, &stop.approval).await?;
    if !tx.put_stop(hdo, stop, now).await? {
        return Ok(());
    }
    let lifted = !stop.stopped && held.rollout.may_go_on();
    let reopened = tx.reopen_members(&held.rollout, lifted, now).await?;
    held.shift(tx, &reopened, |_| (Standing::Awaited, false)).await?;
    let mut waits = !reopened.is_empty();
    if lifted {
        let again = tx.let_try_again(hdo, &stop.approval, now).await?;
        held.shift(tx, &again, |m| (Standing::Retrying, m.forgiven)).await?;
        waits |= !again.is_empty();
    }
    let rollout = &mut held.rollout;
    let because = rollout.reason.as_ref().is_some_and(|r| r.code == Code::StopOrder);
    // One that was complete is waited for again, and what comes of it counts.
    let again = rollout.state == State::Complete && lifted && waits;
    if again {
        tx.await_members(rollout, now).await?;
    }
    if again || (!rollout.state.is_over() && (stop.stopped || because)) {
        let reason = if stop.stopped {
            Reason::new(Code::StopOrder, "a signed stop order is in force; `suturectl rollout lift` undoes it")
        } else {
            Reason::new(Code::Operator, "the stop order was lifted; `suturectl rollout resume` lets it go on")
        };
        rollout.state = State::Paused;
        rollout.reason = Some(reason);
        tx.update_rollout(rollout, now).await?;
    }
    // Attack: one approver's key, by which orders are signed without end: what was stopped is stopped again, and narrows nothing.
    let action = match (stop.stopped, stands) {
        (true, false) => "rollout.stopped",
        (true, true) => "rollout.stopped-again",
        (false, _) => "rollout.stop-lifted",
    };
    record(tx, rollout, actor, action, &stop.to_text(), now).await?;
    go_on(tx, &mut held, now).await?;
    Ok(())
}

/// Halts every rollout, of every hospital, that installs what the catalog lists as withdrawn now, or lists no more. The
/// caller holds the locks of all these hospitals.
pub(crate) async fn halt_withdrawn(tx: &mut Tx, now: Timestamp) -> Result<(), RolloutError> {
    for (hdo, id) in tx.withdrawn_rollouts().await? {
        advance(tx, &hdo, &id, now).await?;
    }
    Ok(())
}
