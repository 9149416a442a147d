//! The agent's own program, as the loop attends to it.

use suture_core::phase::Reason;
use tokio::time::Instant;

use super::{Agent, AgentError, chain};
use crate::config::Settings;
use crate::itself::{Itself, Standing, Verdict};
use crate::machine::{State, Told};

/// The program and this process of it.
#[derive(Debug)]
pub(super) struct Own {
    itself: Option<Itself>,
    begun: Instant,
    /// Whether it has written the report that it proves itself by.
    introduced: bool,
}

impl Own {
    pub(super) fn new(settings: &Settings) -> Self {
        let itself = Itself::new(settings.itself.as_ref(), &settings.state_dir);
        Self { itself, begun: Instant::now(), introduced: false }
    }
}

impl Agent {
    /// Confirms this program once it has reported, or has the next one started. Nothing of it keeps the agent from its work.
    pub(super) async fn attend_to_itself(&mut self) -> Result<(), AgentError> {
        let Some(itself) = self.own.itself.clone() else { return Ok(()) };
        let program = itself.clone();
        // What cannot be read is said below, where it decides.
        let on_trial = tokio::task::spawn_blocking(move || program.is_on_trial()).await;
        if matches!(on_trial, Ok(Ok(true))) && !self.own.introduced {
            self.mention(None)?;
            self.submit().await?;
            self.own.introduced = true;
        }
        let settled = match self.journal.state() {
            State::Idle { .. } => self.installer.running().await.ok().flatten(),
            _ => None,
        };
        let standing = Standing {
            settled,
            // A server that takes no more reports today has taken the call: that is what is to be proven.
            reported: self.heard.as_ref().is_some_and(|heard| heard.confirmed)
                && (self.outbox.is_empty() || self.put_off),
            ran: self.own.begun.elapsed(),
            now: self.now(),
        };
        let program = itself.clone();
        match tokio::task::spawn_blocking(move || program.attend(&standing)).await {
            Ok(Ok(Verdict::On)) | Err(_) => Ok(()),
            Ok(Ok(Verdict::Tell(reason))) => {
                // Once, also where the power failed before it was forgotten.
                if !self.journal.told().1.iter().any(|told| told.reason.as_ref() == Some(&reason)) {
                    tracing::error!(%reason, "the agent's new program gave way");
                    self.mention(Some(reason))?;
                }
                let now = self.now();
                if let Ok(Err(e)) = tokio::task::spawn_blocking(move || itself.give_up(now)).await {
                    tracing::error!(error = %chain(&e), "that the agent's new program gave way cannot be remembered");
                }
                Ok(())
            }
            Ok(Ok(Verdict::End)) => {
                tracing::info!("this program ends, for the service manager to start what is to run next");
                self.stop.cancel();
                Ok(())
            }
            Ok(Err(e)) => {
                tracing::error!(error = %chain(&e), "the agent's own program cannot be attended to");
                Ok(())
            }
        }
    }

    fn mention(&mut self, reason: Option<Reason>) -> Result<(), AgentError> {
        let phase = self.journal.state().phase();
        self.journal.mention(Told { subject: None, phase, reason, stop: None, permanent: false })?;
        self.tell()
    }
}
