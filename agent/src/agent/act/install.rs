//! In its slot: asked once more, claimed, switched, restarted and proven, or put back; and released.

use std::path::Path;

use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::lease::Stage;
use suture_core::phase::{Code, Reason};
use suture_core::select::Choice;

use super::super::look::Situation;
use super::super::{Agent, AgentError};
use super::{Done, blocking, chain};
use crate::checkpoint::{self, Deed};
use crate::config::Health;
use crate::data::Keeper;
use crate::deferral;
use crate::gate::{self, Question, Word};
use crate::health;
use crate::hold::Hold;
use crate::install::{InstallError, Proof};
use crate::interlock::Claim;
use crate::machine::{After, Event, State, Trouble, Window, too_late};
use crate::power;
use crate::took;

impl Agent {
    /// Order on the device, 8: in its slot, refreshed again, hashed again. What is asked of the wave's signature is
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
        let install = match self.installer.prepared().await {
            Ok(Some(version)) if version.digest == manifest => version.manifest.install,
            Ok(_) => return Ok(self.unprepared(&manifest, &InstallError::NotPrepared)),
            Err(e) => return Ok(self.unprepared(&manifest, &e)),
        };
        let word = self.word(&situation.choice.approval);
        let Choice { slots, unsigned, needs_server, policy, tries, .. } = &situation.choice;
        let took = self.took.longest();
        let held = Hold::standing(&self.settings.state_dir);
        let question = Question {
            held: held.as_ref(),
            slots,
            install: &took::corrected(&install, took),
            unsigned: unsigned.as_ref(),
            retry: tries.waits(*policy, self.now()),
            needs_server: *needs_server,
            word,
        };
        let window = match gate::ask(&question, self.now()) {
            Ok(window) => window,
            Err(mut trouble) => {
                if let (Code::SlotTooShort, Some(why)) = (trouble.reason.code, took::because(&install, took)) {
                    trouble.reason = Reason::new(trouble.reason.code, format!("{}; {why}", trouble.reason.text));
                }
                return Ok(Done::Wait(Event::Hindered(trouble)));
            }
        };
        // A driver may take its time to ask a battery.
        let wanted = self.settings.power;
        match blocking(move || power::ask(wanted, Path::new(power::SUPPLIES))).await {
            Some(Ok(())) => {}
            Some(Err(reason)) => return Ok(Done::Wait(Event::Hindered(Trouble::new(reason)))),
            None => return Ok(Done::Later),
        }
        // Asked before minutes go by with hashing: a ward that is busy says so at once.
        if situation.choice.needs_lease
            && let Some(trouble) = self.take_lease(&situation.choice.approval, Stage::Wanted).await?
        {
            return Ok(Done::Wait(Event::Hindered(trouble)));
        }
        self.pulse.beat(self.installer.limits().prepare);
        let verified = tokio::select! {
            verified = self.installer.verify_prepared(&manifest) => verified,
            () = self.stop.cancelled() => return Ok(Done::Later),
        };
        Ok(match verified {
            Ok(_) => {
                self.damage.is_over();
                Done::On(Event::Open(window))
            }
            Err(e) => self.unprepared(&manifest, &e),
        })
    }

    /// What the server says of an approval, as far as it was heard.
    fn word(&self, approval: &ApprovalId) -> Word {
        let Some(heard) = &self.heard else { return Word::Unheard };
        match heard.words.iter().find(|(id, _)| id == approval) {
            None => Word::Silent,
            Some((_, None)) => Word::Go,
            Some((_, Some(reason))) => Word::Wait(reason.clone()),
        }
    }

    pub(super) async fn claim(&mut self) -> Done {
        let State::Claiming { attempt, window, .. } = self.journal.state() else { return Done::Later };
        let claim = self.interlock.claim(&attempt.approval, window, self.now());
        match checkpoint::deed(Deed::Claim, claim).await {
            Claim::Held => {
                self.asks_once_more = false;
                if let Err(e) = deferral::forget(&self.settings.state_dir, &attempt.approval) {
                    tracing::warn!(error = %chain(&e), "how often it was put off cannot be forgotten");
                }
                Done::On(Event::Claimed)
            }
            Claim::Refused(trouble) => Done::Wait(Event::Hindered(self.put_off(trouble))),
            Claim::Unclear(trouble) => Done::On(Event::Unclear(self.put_off(trouble))),
        }
    }

    /// Counts that the interlock has put the attempt off; once it has done so often enough, people are told that instead of
    /// the answer.
    fn put_off(&self, trouble: Trouble) -> Trouble {
        let State::Claiming { attempt, window, .. } = self.journal.state() else { return trouble };
        let said = (&*self.interlock.name(), &trouble.reason);
        match deferral::count(&self.settings.state_dir, &attempt.approval, said, window, self.now()) {
            Ok(deferral) if deferral.count >= self.settings.notify_after => {
                Trouble { reason: deferral.reason(), ..trouble }
            }
            Ok(_) => trouble,
            Err(e) => {
                tracing::warn!(error = %chain(&e), "that it was put off cannot be counted");
                trouble
            }
        }
    }

    pub(super) async fn switch(&mut self) -> Result<Done, AgentError> {
        let State::Switching { attempt, .. } = self.journal.state() else { return Ok(Done::Later) };
        let approval = attempt.approval.clone();
        let manifest = attempt.bundle.manifest;
        match self.installer.is_switched(&manifest).await {
            Ok(true) => return Ok(Done::On(Event::Switched)),
            Ok(false) => {}
            Err(InstallError::Left(_)) => return Ok(Done::Later),
            // As at a start: it is asked again, and all else too once it is known that nothing was switched.
            Err(e) => {
                self.resumed = false;
                return Err(AgentError::Unsaid(e));
            }
        }
        // From here on the device may be lost while it is out of service, so the server is to know that it begins.
        if self.lease.by(&approval).is_some()
            && let Some(trouble) = self.take_lease(&approval, Stage::Beginning).await?
        {
            return Ok(Done::On(Event::Hindered(trouble)));
        }
        Ok(self.switch_now(&manifest).await)
    }

    async fn switch_now(&mut self, manifest: &Digest) -> Done {
        let State::Switching { attempt, window } = self.journal.state() else { return Done::Later };
        let (approval, window) = (attempt.approval.clone(), *window);
        // What keeps the data may stop what writes them, so it is not begun in vain.
        if !window.holds(self.now()) {
            return Done::On(Event::Hindered(Trouble::new(too_late())));
        }
        // Rule 5: what the new version converts is there for the old one too.
        let copied = match self.keep_data(manifest, &window).await {
            Ok(copied) => copied,
            Err(done) => return done,
        };
        // Order on the device, 8: no stop. Hashing, claiming and copying may have taken minutes since the last look.
        self.hear_once_more().await;
        self.heed_inbox(None);
        // The clock is looked at again before anything is switched.
        if !window.holds(self.now()) {
            return Self::not_now(copied, Trouble::new(too_late()));
        }
        let waits = match self.word(&approval) {
            Word::Wait(reason) => Some(reason),
            Word::Go | Word::Silent | Word::Unheard => None,
        };
        let hindered = self.stops.hinders(&approval).or_else(|| Hold::standing(&self.settings.state_dir)).or(waits);
        if let Some(reason) = hindered {
            return Self::not_now(copied, Trouble::new(reason));
        }
        if copied && let Err(reason) = self.keeper().switches(manifest) {
            return Done::On(Event::Broken(reason));
        }
        match self.installer.switch(manifest).await {
            Ok(()) => Done::On(Event::Switched),
            Err(e) => Done::broken(&e),
        }
    }

    /// No switch after all. Rule 4: what keeps the data may have stopped the device's software, so where it was called the old version
    /// is restarted, and proves its health before the device is released.
    fn not_now(copied: bool, trouble: Trouble) -> Done {
        if !copied {
            return Done::On(Event::Hindered(trouble));
        }
        let Reason { code, text } = trouble.reason;
        let text =
            format!("{text}; the device's data had been copied for the switch, so the old version was restarted");
        Done::On(Event::Broken(Reason::new(code, text)))
    }

    fn keeper(&self) -> Keeper<'_> {
        Keeper::new(self.settings.data.as_ref(), &self.settings.state_dir, &self.settings.installer.boot_id)
    }

    /// Before the switch: what lies prepared may convert the device's data. Whether they were copied.
    async fn keep_data(&self, manifest: &Digest, window: &Window) -> Result<bool, Done> {
        let hindered = |reason| Done::On(Event::Hindered(Trouble::new(reason)));
        let unknown = |e: InstallError| hindered(Reason::from(&e));
        let prepared = self.installer.prepared().await.map_err(unknown)?;
        let prepared = prepared.filter(|version| version.digest == *manifest);
        let prepared = prepared.ok_or_else(|| unknown(InstallError::NotPrepared))?;
        let running = self.installer.running().await.map_err(unknown)?;
        let keeper = self.keeper();
        if !keeper.needs(running.as_ref().map(|v| &v.manifest), &prepared.manifest).map_err(hindered)? {
            // What an earlier update has left is no copy for this one.
            keeper.forget().map_err(hindered)?;
            return Ok(false);
        }
        keeper.begin(manifest).map_err(hindered)?;
        self.installer.owe_restart().await.map_err(unknown)?;
        let copied = keeper.copy(window.left(self.now())).await;
        copied.map(|()| true).map_err(|reason| Done::On(Event::Broken(reason)))
    }

    /// Whether what keeps the data may have left the device's software standing still, for a switch that was not made.
    pub(in crate::agent) fn may_stand_still(&self) -> Result<bool, Reason> {
        match self.journal.state() {
            State::Switching { attempt, .. } => {
                let sure = !self.installer.contract().forgets_a_switch();
                self.keeper().may_stand_still(&attempt.bundle.manifest, sure)
            }
            _ => Ok(false),
        }
    }

    pub(super) async fn restart(&mut self) -> Done {
        let State::Restarting { attempt, .. } = self.journal.state() else { return Done::Later };
        if self.asks_once_more {
            let manifest = attempt.bundle.manifest;
            // It came up with the power: nothing needs to go down once more.
            if self.installer.started().await == Some(manifest) {
                return Done::On(Event::Restarted);
            }
            return self.claim_again("then the new version is started").await;
        }
        self.start_anew().await
    }

    /// Rule 3: never while in use. The power may have been away for hours, or somebody far away have spoken of a device that
    /// its ward uses meanwhile. From where it is held again it is held until it is released.
    async fn claim_again(&mut self, so_long: &str) -> Done {
        let Some(attempt) = self.journal.state().attempt() else { return Done::Later };
        let claim = self.interlock.claim_again(&attempt.approval, self.now());
        match checkpoint::deed(Deed::Claim, claim).await {
            Ok(()) => {
                self.asks_once_more = false;
                Done::On(Event::Claimed)
            }
            Err(Trouble { reason: Reason { code, text }, until }) => {
                let reason = Reason::new(code, format!("{text}; {so_long}"));
                Done::Wait(Event::Hindered(Trouble { reason, until }))
            }
        }
    }

    async fn start_anew(&self) -> Done {
        match checkpoint::deed(Deed::Restart, self.installer.restart(&self.settings.restart)).await {
            Ok(()) => Done::On(Event::Restarted),
            Err(e) => Done::broken(&e),
        }
    }

    pub(super) async fn probe(&self) -> Done {
        let server = async || {
            let (mut client, said) = (self.client.clone(), self.said());
            client.check_in(said).await.map(drop).map_err(|e| format!("the server cannot be reached: {}", chain(&e)))
        };
        let State::Confirming { attempt, .. } = self.journal.state() else { return Done::Later };
        let manifest = attempt.bundle.manifest;
        let proven = async {
            let proof = self.installer.probe(&manifest).await;
            if let Proof::Asked = proof.map_err(|e| Done::broken(&e))?
                && let Err(reason) =
                    checkpoint::deed(Deed::Probe, health::prove(&self.settings.health, "the new version", server)).await
            {
                // It may have given way meanwhile, and what was asked was the old one.
                return Err(match self.installer.probe(&manifest).await {
                    Err(e @ (InstallError::GaveWay(_) | InstallError::WentBack(_))) => Done::broken(&e),
                    _ => Done::On(Event::Broken(reason)),
                });
            }
            // Before it is told that the new version is confirmed: from then on nothing may go back by itself.
            self.installer.commit(&manifest).await.map_err(|e| Done::broken(&e))?;
            Ok(if self.asks_for_check(&manifest).await { Event::Unchecked } else { Event::Healthy })
        };
        tokio::select! {
            proven = proven => proven.map_or_else(|done| done, Done::On),
            () = self.stop.cancelled() => Done::Later,
        }
    }

    /// Whether a person is to check the device before it is in clinical use again. Where its manifest cannot be read, that is
    /// not known, and it is asked for.
    async fn asks_for_check(&self, manifest: &Digest) -> bool {
        let running = self.installer.running().await.ok().flatten();
        running.is_none_or(|version| version.digest != *manifest || version.manifest.install.return_to_service)
    }

    /// Rule 5: always a way back.
    pub(super) async fn revert(&mut self) -> Done {
        let State::Reverting { attempt, reason, restarted, .. } = self.journal.state() else { return Done::Later };
        let (manifest, after) = (&attempt.bundle.manifest.clone(), reason.to_string());
        if *restarted {
            return self.prove_old(manifest, &after).await;
        }
        let so_long = format!("then the old version comes back, after {after}");
        let is_back = self.has_its_data(manifest).await;
        // The boot loader has gone back by itself, or the way back has restarted the device: nothing goes down any more.
        let runs = self.asks_once_more
            && matches!(is_back, Ok(true))
            && self.installer.started().await.is_some_and(|started| started != *manifest);
        if self.asks_once_more && !runs {
            return self.claim_again(&so_long).await;
        }
        // The data first: after a power cut the device starts what it finds, with no agent to ask, and the old version must
        // not find data that it cannot read. The new one finds data that it converts once more.
        let is_back = match is_back {
            Ok(is_back) => is_back,
            Err(reason) => return Done::On(Event::Broken(reason)),
        };
        if !is_back && let Err(done) = self.put_data_back(manifest).await {
            return done;
        }
        if let Err(e) = self.installer.revert(manifest).await {
            return Done::broken(&e);
        }
        // From here on the old version starts, on its own data: under it they are not put back once more.
        if !is_back && let Err(reason) = self.keeper().came_back(manifest) {
            return Done::On(Event::Broken(reason));
        }
        if runs { Done::On(Event::Restarted) } else { self.start_anew().await }
    }

    /// Whether the old version has its data. Where the new one may run after all it may have converted them once more.
    async fn has_its_data(&self, new: &Digest) -> Result<bool, Reason> {
        let keeper = self.keeper();
        if !keeper.is_back(new)? {
            return Ok(false);
        }
        if !keeper.has_kept(new) {
            return Ok(true);
        }
        let running = self.installer.running().await.map_err(|e| Reason::from(&e))?;
        Ok(running.is_none_or(|version| version.digest != *new))
    }

    /// What runs has its data taken from under it, so it is restarted whichever version it is.
    async fn put_data_back(&self, new: &Digest) -> Result<(), Done> {
        self.installer.owe_restart().await.map_err(|e| Done::broken(&e))?;
        self.keeper().restore(new).await.map_err(|reason| Done::On(Event::Broken(reason)))
    }

    /// Rule 4: success is what the device proves, that of a way back too. Accident: what was put back is not whole, or the fault
    /// is the device's own, whichever version runs. The copy of the data and the claim stay until the old version is well.
    async fn prove_old(&self, new: &Digest, after: &str) -> Done {
        let proven = async {
            let old = self.installer.running().await.map_err(|e| Done::broken(&e))?;
            let proof = match &old {
                Some(old) if old.digest == *new => {
                    let text = format!("the new version still runs after the way back, which was taken after {after}");
                    return Err(Done::On(Event::Broken(Reason::new(Code::HealthFailed, text))));
                }
                Some(old) => self.installer.probe(&old.digest).await.map_err(|e| Done::broken(&e))?,
                None => Proof::Asked,
            };
            // Without the server: the way back needs none.
            let health = Health { server: false, ..self.settings.health.clone() };
            if let Proof::Asked = proof
                && let Err(Reason { code, text }) =
                    checkpoint::deed(Deed::Probe, health::prove(&health, "the old version", async || Ok(()))).await
            {
                let text = format!("{text}; it was put back after {after}");
                return Err(Done::On(Event::Broken(Reason::new(code, text))));
            }
            Ok(Event::Reverted)
        };
        tokio::select! {
            proven = proven => proven.map_or_else(|done| done, Done::On),
            () = self.stop.cancelled() => Done::Later,
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
        // Also where nothing was switched, or a person has decided what runs.
        if let Err(e) = self.installer.settle().await {
            return Ok(Done::Wait(Event::Hindered(Trouble::new(Reason::from(&e)))));
        }
        Ok(match self.let_go().await {
            Ok(()) => Done::Wait(Event::Released),
            Err(reason) => Done::Wait(Event::Hindered(Trouble::new(reason))),
        })
    }

    /// The end of it: the device's own software is told that the device may be used.
    pub(in crate::agent) async fn let_go(&self) -> Result<(), Reason> {
        self.keeper().over().await;
        checkpoint::deed(Deed::Release, self.interlock.release()).await
    }
}
