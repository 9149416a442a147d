//! What people at the device say, as far as the loop has a part in it; and the log of what happened.

use std::path::Path;

use suture_core::approval::VerifiedClearance;
use suture_core::phase::{Code, Reason};

use super::{Agent, AgentError, chain};
use crate::face::{self, Hands};
use crate::history::{self, Entry};
use crate::interlock::Interlock;
use crate::machine::{Attempt, Event, State, Told};

/// The last transition that stands in the log, and with how much of what it tells.
pub(super) fn logged(state_dir: &Path) -> (u64, usize) {
    let entries = history::last(state_dir);
    let last = entries.iter().filter_map(|entry| entry.transition).max();
    (last.unwrap_or(0), entries.iter().filter(|entry| last.is_some() && entry.transition == last).count())
}

impl Agent {
    /// By what the local face has the loop do something.
    pub fn hands(&self) -> Hands {
        Hands::Loop(self.errands.sender(), self.unwritten.clone(), self.runs.clone())
    }

    /// Does what people at the device wait for, and tells them.
    pub(super) async fn run_errands(&mut self) -> Result<(), AgentError> {
        while let Some((errand, reply)) = self.errands.take() {
            let done = match face::event(self.journal.state(), errand) {
                Ok(Some(event)) => match self.way_back(&event).await {
                    Ok(()) => {
                        // Who stands at the device and has just checked it says by that how it is.
                        if let (Event::Unfit(_), Interlock::Person(_)) = (&event, &self.interlock) {
                            self.asks_once_more = false;
                        }
                        let before = self.journal.state().name();
                        let applied = self.apply(event);
                        if let Err(e) = applied {
                            // What the journal has is done, whether or not more could be written.
                            let done = if self.journal.state().name() == before { Err(chain(&e)) } else { Ok(()) };
                            if let Some(reply) = reply {
                                reply.send(done);
                            }
                            return Err(e);
                        }
                        Ok(())
                    }
                    Err(text) => {
                        // Who said so may wait no more, and the hospital is to know.
                        if let (Event::Unfit(_), Some(attempt)) = (&event, self.journal.state().attempt().cloned()) {
                            self.stay_out_of_use(&attempt, text.clone())?;
                        }
                        Err(text)
                    }
                },
                Ok(None) => Ok(()),
                Err(text) => Err(text),
            };
            if let Some(reply) = reply {
                reply.send(done);
            }
        }
        Ok(())
    }

    /// Tells people that wait, where nothing can be written, that what they said is not done.
    pub(super) fn refuse_errands(&mut self) {
        while let Some((errand, reply)) = self.errands.take() {
            let why = self.unwritten.reason().map(|reason| reason.to_string()).unwrap_or_default();
            tracing::warn!(?errand, "this is not done");
            if let Some(reply) = reply {
                reply.send(Err(why));
            }
        }
    }

    /// Goes back to service by the hospital's signed word from afar, where the device waits for a check and the server has
    /// brought one. Attack: a server that has made one up, or kept one of an earlier check, or keeps back the root that takes its
    /// signer's key away. The device verifies it by the root that a refresh brings, and only where what that shows has not
    /// expired, for a device may wait for weeks and its signer may have left since.
    pub(super) async fn heed_clearance(&mut self) -> Result<(), AgentError> {
        let State::Checking { attempt, since, .. } = self.journal.state() else { return Ok(()) };
        let (attempt, since) = (attempt.clone(), *since);
        let Some(bytes) = self.tidings.as_ref().and_then(|tidings| tidings.clearance.clone()) else { return Ok(()) };
        let now = self.now();
        if let (_, Err(e)) = self.refresh(now).await {
            tracing::warn!(error = %chain(&e), "a release waits until the hospital's approvals can be verified");
            return Ok(());
        }
        let clearance = match self.verified(&bytes) {
            Ok(clearance) => clearance,
            Err(why) => {
                tracing::error!(why, "a release that the server handed out is refused");
                return Ok(());
            }
        };
        if !clearance.answers(&self.identity.device().device, &attempt.approval, &attempt.bundle.manifest, since) {
            tracing::error!(release = clearance.to_text(), "it is not of the check that this device waits for");
            return Ok(());
        }
        let word = format!("by the hospital's signed word of {}: {}", clearance.by, clearance.reason);
        let event = match clearance.unfit {
            true => Event::Unfit(Reason::new(Code::Unfit, format!("checked and found unfit, {word}"))),
            false => Event::Checked(Reason::new(Code::Returned, format!("checked, {word}"))),
        };
        if let Err(text) = self.way_back(&event).await {
            return self.stay_out_of_use(&attempt, text);
        }
        // Rule 3: no remote party has a part in whether the device is in use, which it may be since days.
        self.asks_once_more = true;
        self.apply(event)?;
        self.advance(None).await?;
        self.submit().await
    }

    /// Whether what the event asks for can be had, where it asks for the old version.
    async fn way_back(&self, event: &Event) -> Result<(), String> {
        match (event, self.journal.state().attempt()) {
            (Event::Unfit(_), Some(attempt)) => {
                self.pulse.beat(self.installer.limits().prepare);
                self.installer.way_back(&attempt.bundle.manifest).await
            }
            _ => Ok(()),
        }
    }

    /// Tells the hospital, once, that the device was found unfit and has no way back by itself.
    fn stay_out_of_use(&mut self, attempt: &Attempt, text: String) -> Result<(), AgentError> {
        let reason = Some(Reason::new(Code::ReturnToService, format!("found unfit, and {text}")));
        if self.journal.told().1.iter().any(|told| told.reason == reason) {
            return Ok(());
        }
        tracing::error!(text, "the device stays out of use");
        let phase = self.journal.state().phase();
        // Rule 4: what was found unfit opens no gate.
        self.journal.mention(Told { subject: Some(attempt.subject()), phase, reason, stop: None, permanent: true })?;
        self.tell()
    }

    fn verified(&self, bytes: &[u8]) -> Result<VerifiedClearance, String> {
        let root = self.approvals.root().map_err(|e| chain(&e))?.ok_or("there is no root to judge it by")?;
        VerifiedClearance::verify(&root, &self.identity.device().hdo, bytes).map_err(|e| chain(&e))
    }

    /// Adds to the log what the last transition told. Once for each, as far as the log goes back.
    pub(super) fn write_history(&mut self) {
        let (transition, told) = self.journal.told();
        let done = match self.logged {
            (last, _) if last > transition => return,
            (last, done) if last == transition => done,
            _ => 0,
        };
        let now = self.around.clock.now();
        let entries: Vec<_> = told.iter().skip(done).map(|told| Entry::told(transition, told, now)).collect();
        if entries.is_empty() {
            return;
        }
        match history::add(&self.settings.state_dir, &entries) {
            Ok(()) => self.logged = (transition, told.len()),
            Err(e) => tracing::warn!(error = %chain(&e), "the log cannot be written"),
        }
    }
}
