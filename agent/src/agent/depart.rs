//! The last words to a hospital that a device leaves.

use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError};
use crate::departure;
use crate::machine::{State, Told};

/// Why a device does not leave.
#[derive(Debug, thiserror::Error)]
pub enum DepartError {
    /// It is in the middle of something.
    #[error(
        "the device is {0} and cannot leave now: an install is finished or put back first; see `suture-agent status`"
    )]
    Busy(&'static str),
    /// The hospital has not heard it.
    #[error(
        "{hdo} has not heard that the device leaves, and its keys would be gone before it has: {why}. Try again where the \
         server can be reached, or have it leave with --untold; then {hdo} has to revoke it by itself"
    )]
    Untold {
        /// The hospital.
        hdo: String,
        /// Why not.
        why: String,
    },
    /// The agent cannot work.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl Agent {
    /// Tells the hospital that the device leaves, sends what waits, and wipes what makes the device the hospital's. With
    /// `untold` a hospital that cannot be told is no hindrance. Whether it was told.
    ///
    /// # Errors
    ///
    /// It is in the middle of an install, the hospital was not told, or the disk failed.
    pub async fn depart(mut self, untold: bool) -> Result<bool, DepartError> {
        let state = self.journal.state();
        // DESIGN, rules 3 and 5: the interlock is held, or the way back is still needed.
        if state.is_committed() && !matches!(state, State::Held { attempt: None, .. }) {
            return Err(DepartError::Busy(state.name()));
        }
        let hdo = self.identity.device().hdo.to_string();
        let phase = state.phase();
        self.tell()?;
        self.check_in().await;
        self.submit().await?;
        // Accident: a device that says that it leaves, cannot be heard, stays, and says it later: its keys would be revoked.
        // So nothing of it is written down before the server has taken all that waited.
        let is_heard = self.outbox.is_empty() && self.heard.as_ref().is_some_and(|h| h.confirmed);
        if is_heard {
            let text = format!("a person at the device has it leave {hdo}; its keys are wiped");
            let reason = Some(Reason::new(Code::Departed, text));
            let told = Told { subject: None, phase, reason, stop: None, permanent: false };
            self.journal.mention(told).map_err(AgentError::from)?;
            self.tell()?;
            self.submit().await?;
        }
        let told = is_heard && self.outbox.is_empty();
        if !told && !untold {
            let why = match (&self.unheard, &self.heard) {
                (Some(why), _) => why.clone(),
                (None, Some(heard)) if !heard.confirmed => "it has not confirmed this device yet".to_owned(),
                _ => "the server did not take the reports".to_owned(),
            };
            return Err(DepartError::Untold { hdo, why });
        }
        departure::begin(&self.settings.state_dir).map_err(AgentError::from)?;
        Ok(told)
    }
}
