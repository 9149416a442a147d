//! A start in the middle of something, by what the installer says of the switch; and one that says nothing.
//!
//! Accident: a service that the installer asks is not up yet, or a program of the device's maker fails once. Read as "nothing
//! was switched", it would release a device that may run an unproven version, or take back one that is well.

use suture_core::digest::Digest;
use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError, chain};
use crate::install::InstallError;
use crate::machine::{Event, State};

/// How often it is asked before the way back is taken: with at most 15 seconds between two, and what each ask takes. Five minutes where
/// it answers at once that it cannot say.
const MAX_ASKS: u32 = 20;

impl Agent {
    /// Counts this start, once, where the new version is to prove itself. Accident: a version that takes the device down before
    /// the installer has said what runs, or while it says nothing.
    pub(super) fn count_start(&mut self) -> Result<(), AgentError> {
        if !self.counted && self.journal.state().counts_starts() {
            self.apply(Event::Started)?;
            // Accident: a version that takes the device down as it is asked for its health. Held, it is not asked again before the next
            // start, so that the device can say so.
            self.resumed |= matches!(self.journal.state(), State::Held { .. });
        }
        self.counted = true;
        Ok(())
    }

    /// Enters the journal's state once more. Where that needs to know whether the switch was made, and the installer cannot
    /// say it, nothing is done, and it is asked again.
    pub(super) async fn resume(&mut self) -> Result<(), AgentError> {
        let switched = match self.journal.state() {
            State::Claiming { attempt, .. }
            | State::Switching { attempt, .. }
            | State::Restarting { attempt, .. }
            | State::Confirming { attempt, .. } => self.was_switched(&attempt.bundle.manifest).await,
            // The machine does not go by it.
            _ => Ok(false),
        };
        match switched {
            Ok(switched) => {
                self.settle().await;
                let cut = || {
                    let text = "the agent was stopped between the copy of the device's data and the switch, so the old version was restarted";
                    Reason::new(Code::InstallFailed, text)
                };
                let stands = if switched { Ok(false) } else { self.may_stand_still() };
                if let Some(reason) = stands.map_or_else(Some, |stands| stands.then(cut)) {
                    self.owe_restart().await;
                    self.apply(Event::Broken(reason))?;
                } else {
                    self.apply(Event::Resumed { switched })?;
                }
            }
            Err(e) => self.unsaid(e).await?,
        }
        (self.resumed, self.unsaid) = (true, 0);
        Ok(())
    }

    /// What runs was switched to. Accident: RAUC names the first slot with a try left, and at the last try of the new one that is the
    /// old one: the new version would be kept for good with nothing proven.
    async fn was_switched(&self, to: &Digest) -> Result<bool, InstallError> {
        if self.installer.is_switched(to).await? {
            return Ok(true);
        }
        Ok(self.installer.running().await?.is_some_and(|version| version.digest == *to))
    }

    /// Rule 5: always a way back. From the switch on it is taken in the end without that word: it leads from before the
    /// switch to the old version too. While the interlock is being claimed, and the device may be in use, a person is to come.
    async fn unsaid(&mut self, error: InstallError) -> Result<(), AgentError> {
        self.unsaid = self.unsaid.saturating_add(1);
        if self.unsaid < MAX_ASKS || matches!(error, InstallError::Left(_)) {
            return Err(AgentError::Unsaid(error));
        }
        if self.settings.data.is_some() {
            self.owe_restart().await;
        }
        let Reason { code, text } = Reason::from(&error);
        self.apply(Event::Broken(Reason::new(code, format!("{}: {text}", AgentError::UNSAID))))
    }

    /// What keeps the data may have been called before this start. This process knows of it also where no boot id says it.
    async fn owe_restart(&self) {
        if let Err(e) = self.installer.owe_restart().await {
            tracing::error!(error = %chain(&e), "that what runs is to be restarted cannot be noted");
        }
    }

    /// At the start, with nothing under way: what runs is to start again. Else the attempt says what is.
    async fn settle(&self) {
        if !self.journal.state().is_committed()
            && let Err(e) = self.installer.settle().await
        {
            tracing::error!(error = %chain(&e), "whether what runs starts again is not sure");
        }
    }
}
