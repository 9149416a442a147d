//! What the machine asks for: each takes its time, may fail, and may be cut off before or after it has taken effect.

use jiff::SignedDuration;
use suture_agent::machine::{Action, After, Event, State, Trouble, Window};
use suture_core::lease::Stage;
use suture_core::limits::LEASE_RENEWED;
use suture_core::phase::{Code, Reason};

use crate::case::Fault;
use crate::sabotage::Sabotage;
use crate::simulation::{Happening, Outcome, Simulation};

/// A fetch is left for a new look after that, as the agent leaves it.
const FETCH_SPELL_SECS: u32 = 600;

/// Something that is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Fetch {
        secs: u32,
    },
    Stage,
    /// The slot was found open; what is staged is hashed again.
    Hash(Window),
    Claim,
    Switch,
    Restart,
    Probe,
    Revert,
    Release,
}

/// What an action came to.
enum Done {
    On(Event),
    Wait(Event),
    Later,
}

pub(super) fn trouble(code: Code, text: &str) -> Trouble {
    Trouble::new(Reason::new(code, text))
}

impl Simulation {
    /// Begins what the machine asks for next; rests where that is nothing.
    pub(crate) fn advance(&mut self, i: usize) -> Outcome {
        let d = &mut self.devices[i];
        let begun = match (d.state.duty(), &d.situation) {
            (None, _) | (Some(Action::Fetch | Action::Stage | Action::Gate), None) => None,
            (Some(Action::Fetch), _) => {
                let secs = d.missing_secs.min(FETCH_SPELL_SECS);
                Some((Effect::Fetch { secs }, SignedDuration::from_secs(secs.into())))
            }
            (Some(Action::Stage), _) => Some((Effect::Stage, d.chance.secs(1, 60))),
            (Some(Action::Gate), _) => return self.gate(i),
            (Some(Action::Claim), _) => Some((Effect::Claim, d.chance.secs(0, 5))),
            (Some(Action::Switch), _) => Some((Effect::Switch, d.chance.secs(0, 2))),
            (Some(Action::Restart), _) => Some((Effect::Restart, self.restart_time(i))),
            (Some(Action::Probe), _) => Some((Effect::Probe, d.probe)),
            (Some(Action::Revert), _) => Some((Effect::Revert, self.revert_time(i))),
            (Some(Action::Release), _) => Some((Effect::Release, SignedDuration::ZERO)),
        };
        match begun {
            None => self.rest(i),
            Some((effect, lasts)) => self.begin(i, effect, lasts),
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, i: usize, effect: Effect, lasts: SignedDuration) {
        let cut = self.faults(i, Fault::Power, 2);
        let d = &mut self.devices[i];
        d.generation += 1;
        d.effect = Some(effect);
        let generation = d.generation;
        if cut {
            let at = self.now + d.chance.secs(0, u32::try_from(lasts.as_secs()).unwrap_or(0));
            self.later(at, Happening::Cut(i, generation));
        }
        self.later(self.now + lasts, Happening::Done(i, generation));
    }

    /// An effect has come to its end.
    pub(crate) fn done(&mut self, i: usize, generation: u64) -> Outcome {
        if self.devices[i].generation != generation {
            return Ok(());
        }
        let Some(effect) = self.devices[i].effect.take() else { return Ok(()) };
        let done = match effect {
            Effect::Fetch { secs } => self.fetched(i, secs),
            Effect::Stage => self.staged(i),
            Effect::Hash(window) => match self.faults(i, Fault::Bytes, 2) {
                true => Done::Wait(Event::Damaged(Reason::new(Code::WrongBytes, "a bit has flipped"))),
                false => Done::On(Event::Open(window)),
            },
            Effect::Claim => self.claimed(i),
            Effect::Switch => self.switched(i)?,
            Effect::Restart => match self.faults(i, Fault::Health, 3) {
                true => Done::On(Event::Broken(Reason::new(Code::RestartFailed, "it does not start"))),
                false => Done::On(Event::Restarted),
            },
            Effect::Probe => self.probed(i),
            Effect::Revert => self.reverted(i),
            Effect::Release => self.released(i)?,
        };
        match done {
            Done::On(event) => {
                self.apply(i, event)?;
                self.advance(i)
            }
            Done::Wait(event) => {
                self.apply(i, event)?;
                self.rest(i);
                Ok(())
            }
            Done::Later => {
                self.rest(i);
                Ok(())
            }
        }
    }

    fn fetched(&mut self, i: usize, secs: u32) -> Done {
        let broke = self.faults(i, Fault::Bytes, 5) || !self.is_online(i);
        let d = &mut self.devices[i];
        if let Some(situation) = &mut d.situation {
            situation.is_fresh = false;
        }
        if broke {
            return Done::Wait(Event::Hindered(trouble(Code::Transfer, "the line broke")));
        }
        d.missing_secs = d.missing_secs.saturating_sub(secs);
        if d.missing_secs == 0 {
            return Done::On(Event::Fetched);
        }
        Done::Later
    }

    fn staged(&mut self, i: usize) -> Done {
        if let Some(situation) = &mut self.devices[i].situation {
            situation.is_fresh = false;
        }
        if self.faults(i, Fault::Bytes, 2) {
            self.devices[i].missing_secs = 30;
            return Done::On(Event::Damaged(Reason::new(Code::WrongBytes, "a bit has flipped")));
        }
        if self.faults(i, Fault::Bytes, 1) {
            return Done::Wait(Event::Unusable(Reason::new(Code::BadMetadata, "the bundle contradicts itself")));
        }
        Done::On(Event::Staged)
    }

    fn claimed(&mut self, i: usize) -> Done {
        if self.faults(i, Fault::Interlock, 4) {
            let d = &mut self.devices[i];
            d.claimed = d.chance.percent(50);
            return Done::On(Event::Unclear(trouble(Code::InterlockUnknown, "no answer")));
        }
        if self.faults(i, Fault::Use, 40) {
            let event = match self.sabotage {
                Sabotage::UseIsIgnored => return Done::On(Event::Claimed),
                _ => Event::Hindered(trouble(Code::InUse, "in use")),
            };
            return Done::Wait(event);
        }
        self.devices[i].claimed = true;
        Done::On(Event::Claimed)
    }

    /// The last look before the link is touched, as the agent's `switch` does it.
    fn switched(&mut self, i: usize) -> Result<Done, crate::simulation::Violation> {
        let d = &self.devices[i];
        let State::Switching { attempt, window } = d.state.clone() else { return Ok(Done::Later) };
        if d.runs(&attempt.bundle.manifest) {
            return Ok(Done::On(Event::Switched));
        }
        if let Some(trouble) = self.begins_by_lease(i) {
            return Ok(Done::On(Event::Hindered(trouble)));
        }
        let d = &self.devices[i];
        if !window.holds(d.own(self.now)) {
            return Ok(Done::On(Event::Resumed { switched: false }));
        }
        if d.is_stopped(&attempt.approval) && self.sabotage != Sabotage::StopsAreIgnored {
            return Ok(Done::On(Event::Hindered(trouble(Code::StopOrder, "stopped"))));
        }
        if self.faults(i, Fault::Bytes, 6) {
            return Ok(Done::On(Event::Broken(Reason::new(Code::InstallFailed, "the disk refuses"))));
        }
        self.link(i)?;
        Ok(Done::On(Event::Switched))
    }

    /// Where the device holds a lease: what stands in the way of beginning by it.
    pub(crate) fn begins_by_lease(&mut self, i: usize) -> Option<Trouble> {
        let approval = self.devices[i].state.attempt().map(|a| a.approval.clone())?;
        let holds = self.devices[i].lease.as_ref() == Some(&approval);
        if holds { self.take_lease(i, &approval, Stage::Beginning) } else { None }
    }

    /// The link names the new version: the install has begun.
    pub(crate) fn link(&mut self, i: usize) -> Outcome {
        let Some(attempt) = self.devices[i].state.attempt().cloned() else { return Ok(()) };
        self.watch_begin(i, &attempt)?;
        let version = self.versions.iter().find(|v| v.step.sha256 == attempt.bundle.manifest).unwrap();
        let d = &mut self.devices[i];
        d.before = std::mem::replace(&mut d.running, version.running());
        let process = d.process;
        self.later(self.now + LEASE_RENEWED, Happening::Speak(i, process));
        Ok(())
    }

    fn budgets(&self, i: usize) -> (u32, u32) {
        let path = self.devices[i].state.attempt().map(|a| a.bundle.path.clone());
        let version = self.versions.iter().find(|v| Some(&v.step.path) == path.as_ref());
        version.map_or((60, 60), |v| (v.install.budget_secs, v.install.revert_budget_secs))
    }

    /// How long the restart takes; what is left of the budget, or far more, is the probe's.
    fn restart_time(&mut self, i: usize) -> SignedDuration {
        let (budget, _) = self.budgets(i);
        let most = if self.faults(i, Fault::Slow, 5) {
            self.excuse(i, "it takes longer than its budget");
            budget * 6
        } else {
            budget / 2
        };
        let d = &mut self.devices[i];
        let (restart, probe) = (d.chance.secs(1, most.max(1)), d.chance.secs(1, most.max(1)));
        d.probe = probe - SignedDuration::from_secs(1);
        restart
    }

    fn revert_time(&mut self, i: usize) -> SignedDuration {
        let (_, budget) = self.budgets(i);
        let slow = self.faults(i, Fault::Slow, 5);
        if slow {
            self.excuse(i, "the way back takes longer than its budget");
        }
        self.devices[i].chance.secs(0, if slow { budget * 6 } else { budget })
    }

    fn probed(&mut self, i: usize) -> Done {
        let manifest = self.devices[i].running.manifest;
        let sick = self.versions.iter().find(|v| v.step.sha256 == manifest).map_or(0, |v| v.sick_percent);
        match self.faults(i, Fault::Health, sick) {
            true => Done::On(Event::Broken(Reason::new(Code::HealthFailed, "it is not well"))),
            false => Done::On(Event::Healthy),
        }
    }

    fn reverted(&mut self, i: usize) -> Done {
        if self.faults(i, Fault::Health, 4) {
            self.excuse(i, "the way back fails");
            return Done::On(Event::Broken(Reason::new(Code::RestartFailed, "the old one does not start")));
        }
        self.unlink(i);
        Done::On(Event::Reverted)
    }

    /// The link names the old version.
    pub(crate) fn unlink(&mut self, i: usize) {
        let d = &mut self.devices[i];
        let new = d.state.attempt().map(|a| a.bundle.manifest);
        if new == Some(d.running.manifest) {
            d.running = d.before.clone();
        }
    }

    fn released(&mut self, i: usize) -> Result<Done, crate::simulation::Violation> {
        let d = &mut self.devices[i];
        if let State::Releasing { after: After::Confirmed(attempt), .. } = &d.state {
            d.floor = d.floor.max(attempt.floor);
            d.confirmed.push(d.running.clone());
        }
        if self.faults(i, Fault::Interlock, 4) {
            self.excuse(i, "the interlock does not release");
            return Ok(Done::Wait(Event::Hindered(trouble(Code::InterlockUnknown, "no answer"))));
        }
        self.devices[i].claimed = false;
        self.watch_return(i)?;
        Ok(Done::Wait(Event::Released))
    }
}
