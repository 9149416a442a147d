//! The server's leave to be down, where the hospital has signed that a device needs it: a lease. It only narrows: no slot opens
//! by it, and past the switch no answer stops anything.

use suture_core::id::ApprovalId;
use suture_core::lease::Stage;
use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError, chain};
use crate::client::LeaseAnswer;
use crate::machine::{State, Trouble};

impl Agent {
    /// Asks for the lease; what stands in the way where it is not granted. Without a word of the server the device waits.
    pub(super) async fn take_lease(
        &mut self,
        approval: &ApprovalId,
        stage: Stage,
    ) -> Result<Option<Trouble>, AgentError> {
        self.lease.note(approval, self.now())?;
        let trouble = match self.client.take_lease(approval, stage).await {
            Ok(LeaseAnswer::Granted) => {
                self.keep_lease();
                return Ok(None);
            }
            Ok(LeaseAnswer::Refused { reason, after }) => {
                // What is held no more is not given back.
                self.lease.forget()?;
                let until = self.now().checked_add(self.jittered(after)).ok();
                Trouble { reason, until }
            }
            Err(e) => {
                let text = format!(
                    "approval {approval} needs a lease of the server's before this device may be taken out of service, and \
                     the server gives no answer: {}",
                    chain(&e)
                );
                Trouble::new(Reason::new(Code::ServerUnreachable, text))
            }
        };
        Ok(Some(trouble))
    }

    /// Has the lease said again from now on, where one is held and the device goes on by it.
    pub(super) fn keep_lease(&mut self) {
        let state = self.journal.state();
        let Some(approval) = state.attempt().map(|a| &a.approval) else { return };
        if self.lease.by(approval).is_none() {
            return;
        }
        // From the switch on until the interlock is released.
        let begun = state.is_committed() && !matches!(state, State::Claiming { .. } | State::Switching { .. });
        if begun || matches!(state, State::Waiting { .. } | State::Claiming { .. } | State::Switching { .. }) {
            self.lease.keep(&self.client, begun);
        }
    }

    /// Gives the lease back once the device is in service, as soon as the server can be reached.
    pub(super) async fn give_lease_back(&mut self) -> Result<(), AgentError> {
        if !self.lease.is_owed() || self.journal.state().is_committed() || self.heard.is_none() {
            return Ok(());
        }
        match self.client.return_lease().await {
            Ok(()) => self.lease.forget()?,
            Err(e) => tracing::info!(error = %chain(&e), "the lease is given back later"),
        }
        Ok(())
    }
}
