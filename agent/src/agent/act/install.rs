//! In its slot: asked once more, claimed, switched, restarted and proven, or put back; and released.

use std::path::Path;

use suture_core::digest::Digest;
use suture_core::lease::Stage;
use suture_core::manifest::Manifest;
use suture_core::phase::{Code, Reason};
use suture_core::select::Choice;

use super::super::look::Situation;
use super::super::{Agent, AgentError};
use super::{Done, blocking, chain, rejected};
use crate::gate::{self, Question, Word};
use crate::health;
use crate::interlock::Claim;
use crate::machine::{After, Event, State, Trouble};
use crate::power;
use crate::process;

impl Agent {
    /// TRUST, order on the device, 8: in its slot, refreshed again, hashed again. What is asked of the wave's signature is
    /// asked of that refresh too.
    pub(super) async fn gate(&mut self, situation: &mut Situation) -> Result<Done, AgentError> {
        if !situation.is_fresh {
            // Hours may have passed with fetching: what is signed, and what the server says, may have changed.
            self.check_in().await;
            match self.look().await?.into_event() {
                (Event::Chosen(attempt), Some(next)) if attempt.is_same(&situation.attempt) => *situation = next,
                // Another one, or none: the next cycle begins with it.
                (event, _) => return Ok(Done::Wait(event)),
            }
        }
        let manifest = situation.attempt.bundle.manifest;
        let held = self.slots.spare().and_then(|side| Ok((side, self.slots.manifest(side)?)));
        let (side, install) = match held {
            Ok((side, Some((held, digest)))) if digest == manifest => (side, held.install),
            Ok(_) => {
                let reason =
                    Reason::new(Code::WrongBytes, "the new version is no longer in its slot; it is fetched again");
                return Ok(Done::Wait(Event::Damaged(reason)));
            }
            Err(e) => return Ok(Done::Wait(Event::Hindered(Trouble::new(Reason::from(&e))))),
        };
        let word = match &self.heard {
            None => Word::Unheard,
            Some(heard) => match heard.words.iter().find(|(id, _)| *id == situation.choice.approval) {
                None => Word::Silent,
                Some((_, None)) => Word::Go,
                Some((_, Some(reason))) => Word::Wait(reason.clone()),
            },
        };
        let Choice { slots, unsigned, needs_server, policy, tries, .. } = &situation.choice;
        let question = Question {
            slots,
            install: &install,
            unsigned: unsigned.as_ref(),
            retry: tries.waits(*policy, self.now()),
            needs_server: *needs_server,
            word,
        };
        let window = match gate::ask(&question, self.now()) {
            Ok(window) => window,
            Err(trouble) => return Ok(Done::Wait(Event::Hindered(trouble))),
        };
        if let Err(reason) = power::ask(self.settings.power, Path::new(power::SUPPLIES)) {
            return Ok(Done::Wait(Event::Hindered(Trouble::new(reason))));
        }
        // Asked before minutes go by with hashing: a ward that is busy says so at once.
        if situation.choice.needs_lease
            && let Some(trouble) = self.take_lease(&situation.choice.approval, Stage::Wanted).await?
        {
            return Ok(Done::Wait(Event::Hindered(trouble)));
        }
        let slots = self.slots.clone();
        Ok(match blocking(move || slots.verify(side, &manifest)).await {
            Some(Ok(_)) => Done::On(Event::Open(window)),
            Some(Err(e)) => Done::Wait(match rejected(&e) {
                true => Event::Damaged(Reason::from(&e)),
                false => Event::Hindered(Trouble::new(Reason::from(&e))),
            }),
            None => Done::Later,
        })
    }

    pub(super) async fn claim(&self) -> Done {
        let State::Claiming { attempt, window, .. } = self.journal.state() else { return Done::Later };
        match self.interlock.claim(&attempt.approval, window, self.now()).await {
            Claim::Held => Done::On(Event::Claimed),
            Claim::Refused(trouble) => Done::Wait(Event::Hindered(trouble)),
            Claim::Unclear(trouble) => Done::On(Event::Unclear(trouble)),
        }
    }

    pub(super) async fn switch(&mut self) -> Result<Done, AgentError> {
        let State::Switching { attempt, .. } = self.journal.state() else { return Ok(Done::Later) };
        let (approval, manifest) = (attempt.approval.clone(), attempt.bundle.manifest);
        // From here on the device may be lost while it is out of service, so the server is to know that it begins.
        if self.lease.by(&approval).is_some()
            && !self.slots.runs(&manifest).unwrap_or(false)
            && let Some(trouble) = self.take_lease(&approval, Stage::Beginning).await?
        {
            return Ok(Done::On(Event::Hindered(trouble)));
        }
        Ok(self.switch_now())
    }

    fn switch_now(&mut self) -> Done {
        // TRUST, order on the device, 8: no stop. Hashing and claiming may have taken minutes since the last look.
        self.heed_inbox();
        let State::Switching { attempt, window } = self.journal.state() else { return Done::Later };
        let manifest = attempt.bundle.manifest;
        let stopped = self.stops.is_stopped(&attempt.approval) || self.stops.trouble(&attempt.approval).is_some();
        match self.slots.runs(&manifest) {
            Ok(true) => return Done::On(Event::Switched),
            // The clock is looked at again before the link is touched.
            Ok(false) if !window.holds(self.now()) => return Done::On(Event::Resumed { switched: false }),
            Ok(false) if stopped => {
                let text = format!("the hospital has stopped approval {}", attempt.approval);
                return Done::On(Event::Hindered(Trouble::new(Reason::new(Code::StopOrder, text))));
            }
            Ok(false) => {}
            Err(e) => return Done::On(Event::Broken(Reason::from(&e))),
        }
        match self.slots.switch_to(&manifest) {
            Ok(()) => Done::On(Event::Switched),
            Err(e) => Done::On(Event::Broken(Reason::from(&e))),
        }
    }

    pub(super) async fn restart(&self) -> Done {
        let ending = process::run(&self.settings.restart, &[], None).await;
        if ending.is_success() {
            return Done::On(Event::Restarted);
        }
        Done::On(Event::Broken(Reason::new(Code::RestartFailed, format!("the restart command {ending}"))))
    }

    pub(super) async fn probe(&self) -> Done {
        let server = async || {
            let (mut client, said) = (self.client.clone(), self.said());
            client.check_in(said).await.map(drop).map_err(|e| format!("the server cannot be reached: {}", chain(&e)))
        };
        tokio::select! {
            proof = health::prove(&self.settings.health, server) => Done::On(match proof {
                Ok(()) if self.asks_for_check() => Event::Unchecked,
                Ok(()) => Event::Healthy,
                Err(reason) => Event::Broken(reason),
            }),
            () = self.stop.cancelled() => Done::Later,
        }
    }

    /// Whether a person is to check the device before it is in clinical use again. Where its manifest cannot be read, that is
    /// not known, and it is asked for.
    fn asks_for_check(&self) -> bool {
        let State::Confirming { attempt, .. } = self.journal.state() else { return true };
        let held = self.slots.current().and_then(|side| side.map_or(Ok(None), |side| self.slots.manifest(side)));
        let asks =
            |(held, digest): (Manifest, Digest)| digest != attempt.bundle.manifest || held.install.return_to_service;
        held.ok().flatten().is_none_or(asks)
    }

    /// DESIGN, rule 5: always a way back.
    pub(super) async fn revert(&self) -> Done {
        let State::Reverting { attempt, .. } = self.journal.state() else { return Done::Later };
        if let Err(e) = self.slots.switch_from(&attempt.bundle.manifest) {
            return Done::On(Event::Broken(Reason::from(&e)));
        }
        match self.restart().await {
            Done::On(Event::Restarted) => Done::On(Event::Reverted),
            other => other,
        }
    }

    pub(super) async fn release(&mut self) -> Result<Done, AgentError> {
        // The floor is raised after confirmation, before anything else can be begun.
        if let (State::Releasing { after: After::Confirmed(attempt) | After::Checked(attempt), .. }, Ok(floors)) =
            (self.journal.state(), &mut self.floors)
        {
            let time = floors.time();
            floors.raise(attempt.floor, time)?;
        }
        Ok(match self.interlock.release().await {
            Ok(()) => Done::Wait(Event::Released),
            Err(reason) => Done::Wait(Event::Hindered(Trouble::new(reason))),
        })
    }
}
