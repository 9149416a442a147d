//! A rollout in the hands of a transaction that holds its hospital's lock: its row, and its waves with their tallies.

use jiff::Timestamp;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::rollout::{Stage, Standing, View};

use crate::store::members::Moved;
use crate::store::rollouts::Rollout;
use crate::store::{Lock, StoreError, Tx};

/// See the module.
pub(super) struct Held {
    pub(super) rollout: Rollout,
    stages: Vec<Stage>,
    /// As they are stored.
    stored: Vec<Stage>,
}

impl Held {
    /// Takes hold of a rollout, if there is one of that id.
    pub(super) async fn take(tx: &mut Tx, hdo: &HdoId, id: &ApprovalId) -> Result<Option<Self>, StoreError> {
        tx.lock(Lock::Rollouts(hdo)).await?;
        Self::look(tx, hdo, id).await
    }

    /// The same without the lock, to look and to write nothing.
    pub(super) async fn look(tx: &mut Tx, hdo: &HdoId, id: &ApprovalId) -> Result<Option<Self>, StoreError> {
        let Some(rollout) = tx.rollout(hdo, id).await? else { return Ok(None) };
        let stages = tx.stages(hdo, id).await?;
        Ok(Some(Self { rollout, stored: stages.clone(), stages }))
    }

    /// What the rules see.
    pub(super) async fn view(&self, tx: &mut Tx) -> Result<View, StoreError> {
        let Rollout { hdo, id, state, reason, wave, unsigned, expires, .. } = &self.rollout;
        Ok(View {
            id: id.clone(),
            state: *state,
            reason: reason.clone(),
            wave: *wave,
            waves: self.stages.clone(),
            unsigned: *unsigned,
            withdrawn: !state.is_over() && tx.is_withdrawn(hdo, id).await?,
            expires: *expires,
            timeout: self.rollout.timeout(),
        })
    }

    /// Counts devices as something else, and writes the tallies that changes.
    pub(super) async fn shift(
        &mut self,
        tx: &mut Tx,
        moved: &[Moved],
        to: impl Fn(&Moved) -> (Standing, bool),
    ) -> Result<(), StoreError> {
        let Rollout { hdo, id, .. } = &self.rollout;
        for moved in moved {
            let Some(stage) = self.stages.get_mut(moved.wave as usize) else { continue };
            let (standing, forgiven) = to(moved);
            stage.tally.shift((moved.standing, moved.forgiven), (standing, forgiven), moved.count);
            if [moved.standing, standing].contains(&Standing::Confirmed) {
                stage.tally.last_confirmed = tx.last_confirmed(hdo, id, moved.wave).await?;
            }
        }
        tx.put_tallies(hdo, id, &self.stored, &self.stages).await?;
        self.stored.clone_from(&self.stages);
        Ok(())
    }

    /// Counts as missed or timed out whom time alone has made that; true where there was one.
    pub(super) async fn turn(&mut self, tx: &mut Tx, now: Timestamp) -> Result<bool, StoreError> {
        let Rollout { hdo, id, state, .. } = &self.rollout;
        let moved = tx.turn_members(hdo, id, state.is_over(), now).await?;
        let turned = |m: &Moved| match m.standing {
            Standing::Begun => (Standing::TimedOut, m.forgiven),
            Standing::Retrying => (Standing::Failed, m.forgiven),
            _ => (Standing::Missed, m.forgiven),
        };
        self.shift(tx, &moved, turned).await?;
        Ok(!moved.is_empty())
    }
}
