//! The last words to a hospital that a device leaves.

use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError};
use crate::departure;
use crate::machine::{After, State, Told};

/// Why a device does not leave.
#[derive(Debug, thiserror::Error)]
pub enum DepartError {
    /// It is in the middle of something.
    #[error(
        "the device is {0} and cannot leave now: an install is finished or put back first; see `suture-agent status`"
    )]
    Busy(&'static str),
    /// Its interlock is not released: why not.
    #[error(
        "the device's own software may still refuse clinical use, and nobody could end that after the device has left: {0}. \
         `suture-agent why` says what to do; have it leave again once it is released"
    )]
    Claimed(String),
    /// The same, where the installer is what it waits for, and a person has put the device in order.
    #[error(
        "the device's own software may still refuse clinical use: it is released once the installer has made sure what the device \
         starts next, and the installer says: {0}. Have that put right by the maker's manual and have it leave again, or look \
         that what it starts next is what should run, and have it leave with --untold, which releases it all the same"
    )]
    Unsettled(String),
    /// It may hold a claim that nothing of it says any more.
    #[error(
        "the device is held, and its own software may still refuse clinical use for an install: put it in order by the maker's \
         manual and run `suture-agent recover --reason TEXT`, then have it leave again"
    )]
    Held,
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
    /// The hospital is being told.
    #[error(
        "the device leaves, and {hdo} has not heard it yet: it begins nothing any more, and wipes its keys once the server has \
         heard it, by itself. To have that done now, try again with --untold; then {hdo} has to revoke it by itself"
    )]
    Telling {
        /// The hospital.
        hdo: String,
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
    /// It is in the middle of an install, held, or not released, the hospital was not told, or the disk failed.
    pub async fn depart(mut self, untold: bool) -> Result<bool, DepartError> {
        // What a person has put in order is released here: there may be no agent that does it.
        if let State::Releasing { after: After::Recovered(_), .. } = self.journal.state() {
            // What was told by then stands in the journal alone, as after `recover`, and stays there until it is known what runs.
            self.tell()?;
            Box::pin(self.advance(None)).await?;
        }
        let released = self.release_unsettled(untold).await?;
        let state = self.journal.state();
        // Rules 3 and 5: the interlock is held, or the way back is still needed. A device that has lost its journal may hold it too,
        // and nothing would ever release it.
        if let State::Held { .. } = state {
            return Err(DepartError::Held);
        }
        if let State::Releasing { trouble, .. } = state
            && !released
        {
            let why = trouble.as_ref().map_or_else(|| "it was not released yet".to_owned(), |t| t.reason.to_string());
            return Err(DepartError::Claimed(why));
        }
        if state.is_committed() && !released {
            return Err(DepartError::Busy(state.name()));
        }
        let hdo = self.identity.device().hdo.to_string();
        self.note_running().await;
        let resolved = departure::is_resolved(&self.settings.state_dir);
        // Accident: a device whose slots are damaged, as one that is sent back may be. It can write no last report.
        let can_say = self.running().is_some();
        if !resolved {
            self.tell()?;
            self.check_in().await;
            self.submit().await?;
            // Accident: a device that says that it leaves, cannot be heard, stays, and says it later: its keys would be
            // revoked. So nothing of it is written down before the server has taken all that waited.
            let is_told = can_say && self.is_heard_out();
            if !is_told && !untold {
                let why = match (&self.unheard, &self.heard) {
                    (Some(why), _) => why.clone(),
                    _ if !can_say => {
                        "it is not known what this device runs, and a report says that; see `suture-agent doctor`"
                            .to_owned()
                    }
                    (None, Some(heard)) if !heard.confirmed => "it has not confirmed this device yet".to_owned(),
                    _ => "the server did not take the reports".to_owned(),
                };
                return Err(DepartError::Untold { hdo, why });
            }
        }
        let mut told = false;
        if resolved || (can_say && self.is_heard_out()) {
            departure::resolve(&self.settings.state_dir).map_err(AgentError::from)?;
            told = self.say_farewell().await?;
        }
        if !told && !untold {
            return Err(DepartError::Telling { hdo });
        }
        departure::begin(&self.settings.state_dir).map_err(AgentError::from)?;
        Ok(told)
    }

    /// Releases the interlock without the installer's word, where the device waits for nothing else, a person has put it in
    /// order, and leaves with `untold`: it could leave by no way where that word never comes. Whether it is released by that.
    async fn release_unsettled(&self, untold: bool) -> Result<bool, DepartError> {
        let State::Releasing { after: After::Recovered(_), trouble: Some(t) } = self.journal.state() else {
            return Ok(false);
        };
        if t.reason.code == Code::InterlockUnknown {
            return Ok(false);
        }
        if !untold {
            return Err(DepartError::Unsettled(t.reason.to_string()));
        }
        match self.let_go().await {
            Ok(()) => Ok(true),
            Err(reason) => Err(DepartError::Claimed(reason.to_string())),
        }
    }

    /// A cycle of a device that leaves: it tells its hospital, and is wiped once that has heard it. The process ends by that,
    /// since the device is nobody's.
    pub(super) async fn take_leave(&mut self) -> Result<(), AgentError> {
        self.leaves = true;
        self.note_running().await;
        if self.say_farewell().await? {
            departure::begin(&self.settings.state_dir)?;
            self.has_left();
        }
        Ok(())
    }

    /// Whether a wiping has begun that failed in its middle: the resolve to leave may be wiped already, and the mark too.
    pub(super) fn is_wiped(&self) -> bool {
        let dir = &self.settings.state_dir;
        departure::has_begun(dir) || (self.leaves && !departure::is_resolved(dir))
    }

    /// Goes on with it, and writes nothing else: an ordinary pass would begin a journal anew on a device that is nobody's.
    pub(super) fn finish_wiping(&mut self) -> Result<(), AgentError> {
        departure::finish(&self.settings.state_dir)?;
        self.has_left();
        Ok(())
    }

    fn has_left(&self) {
        tracing::info!("the device has left its hospital; its keys and its record are wiped");
        self.stop.cancel();
    }

    /// Says that the device leaves, once, and whether the hospital knows: its server has the report, or does not know the
    /// device any more.
    async fn say_farewell(&mut self) -> Result<bool, AgentError> {
        let written = self.write_farewell();
        if let Err(e) = &written {
            self.found(e);
        }
        self.check_in().await;
        written?;
        self.submit().await?;
        Ok(self.is_heard_out() || self.is_stranger)
    }

    fn write_farewell(&mut self) -> Result<(), AgentError> {
        self.prove_disk()?;
        // What the last transition told is told first.
        self.tell()?;
        let is_it = |told: &Told| told.reason.as_ref().is_some_and(|reason| reason.code == Code::Departed);
        if !self.journal.told().1.iter().any(is_it) {
            let hdo = &self.identity.device().hdo;
            let text = format!("a person at the device has it leave {hdo}; its keys are wiped");
            let reason = Some(Reason::new(Code::Departed, text));
            let phase = self.journal.state().phase();
            self.journal.mention(Told { subject: None, phase, reason, stop: None, permanent: false })?;
        }
        self.tell()
    }

    /// Whether the server has taken all that there is to tell.
    fn is_heard_out(&self) -> bool {
        self.outbox.is_empty() && !self.journal.is_owing() && self.heard.as_ref().is_some_and(|heard| heard.confirmed)
    }
}
