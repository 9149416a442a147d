//! The agent's loop: hearing, looking, choosing, resting.

use jiff::{SignedDuration, Timestamp};
use suture_agent::choice;
use suture_agent::machine::{self, Attempt, Event, Failure, Nothing, State, Trouble};
use suture_core::approval::Share;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::select::{Facts, Selection, select};
use suture_core::trust::Status;

use super::{Report, Situation};
use crate::case::Fault;
use crate::sabotage::Sabotage;
use crate::simulation::{Happening, Outcome, Simulation};

impl Simulation {
    /// One pass: hears the server, looks at what is signed, and goes as far as it can without waiting.
    pub(crate) fn wake(&mut self, i: usize) -> Outcome {
        let d = &mut self.devices[i];
        if d.wakes != Some(self.now) {
            return Ok(());
        }
        d.wakes = None;
        if !d.power || d.effect.is_some() {
            return Ok(());
        }
        if self.faults(i, Fault::Offline, 4) {
            let d = &mut self.devices[i];
            let most = d.chance.pick(&[600, 10_000, 200_000]);
            d.offline_until = self.now + d.chance.secs(1, most);
        }
        if self.faults(i, Fault::Power, 1) {
            return self.cut(i);
        }
        self.hear(i);
        self.give_lease_back(i);
        if !self.devices[i].state.is_committed() {
            let event = self.look(i);
            self.apply(i, event)?;
        }
        self.advance(i)
    }

    /// Starts the agent: after power has come back, or at the beginning.
    pub(crate) fn resume(&mut self, i: usize) -> Outcome {
        if self.devices[i].state.counts_starts() {
            self.apply(i, Event::Started)?;
        }
        let d = &mut self.devices[i];
        let switched = d.state.attempt().map(|a| a.bundle.manifest).is_some_and(|m| d.runs(&m));
        self.apply(i, Event::Resumed { switched })?;
        if self.devices[i].state.is_committed() {
            self.speak(i);
            return self.advance(i);
        }
        self.rouse(i, SignedDuration::ZERO);
        Ok(())
    }

    /// The check-in: what the server says, and the reports that it is handed.
    pub(crate) fn hear(&mut self, i: usize) {
        self.devices[i].words = None;
        if self.is_online(i) {
            self.check_in(i);
        }
    }

    /// Order on the device, 1 to 5, as the agent's `look` does it.
    pub(crate) fn look(&mut self, i: usize) -> Event {
        let online = self.devices[i].words.is_some();
        let own = self.devices[i].own(self.now);
        self.devices[i].situation = None;
        let hindered = |code, text: &str| Event::Hindered(Trouble::new(Reason::new(code, text)));
        let believed = self.sabotage == Sabotage::ClockIsBelieved;
        let behind = |proven: Timestamp| {
            (own < proven && !believed).then(|| hindered(Code::ClockUnproven, "the clock is behind"))
        };
        if let Some(late) = behind(self.devices[i].proven) {
            return late;
        }
        if online {
            let (catalog, approvals) = self.shown(i);
            let d = &mut self.devices[i];
            if catalog.version > d.catalog.version {
                d.catalog = catalog;
            }
            if approvals.version > d.approvals.version {
                d.approvals = approvals;
            }
        }
        let d = &mut self.devices[i];
        if d.catalog.expires <= own || d.approvals.expires <= own {
            return hindered(Code::MetadataExpired, "metadata has expired");
        }
        d.proven = d.proven.max(d.catalog.signed_at).max(d.approvals.signed_at);
        let proven = d.proven;
        if let Some(late) = behind(proven) {
            return late;
        }
        let d = &mut self.devices[i];
        if d.shares_of != d.approvals.version {
            d.shares = d.approvals.shares(&d.it.id, &d.shares);
            d.shares_of = d.approvals.version;
        }
        let approvals = d.approvals.clone();
        approvals.stops.iter().for_each(|stop| d.keep(stop));
        let lifts: Vec<_> = d.stops.iter().filter(|s| !s.stopped).map(|s| (s.approval.clone(), s.counter)).collect();
        for ((approval, _), tries) in &mut d.tries {
            for (_, counter) in lifts.iter().filter(|(lifted, _)| lifted == approval) {
                let before = tries.spent;
                *tries = std::mem::take(tries).lifted(*counter);
                self.figures.lifted += u64::from(tries.spent < before);
            }
        }
        self.choose(i, own)
    }

    fn choose(&mut self, i: usize, own: Timestamp) -> Event {
        let d = &mut self.devices[i];
        let mut facts = Facts {
            hdo: self.hospital.hdo.clone(),
            device: d.it.id.clone(),
            product: d.it.product.clone(),
            hardware: d.it.hardware.clone(),
            running: Some(d.running.clone()),
            floor: d.floor,
            tries: d.tries.clone(),
        };
        let mut catalog = d.catalog.clone();
        let (mut shares, mut stops): (&[Share], _) = (&d.shares, d.stops.as_slice());
        let bent: Vec<Share>;
        match self.sabotage {
            Sabotage::TriesAreForgotten => facts.tries.values_mut().for_each(|tries| tries.spent = 0),
            Sabotage::FailuresForGoodAreForgotten => facts.tries.values_mut().for_each(|tries| tries.ended = None),
            Sabotage::FloorIsForgotten => facts.floor = suture_core::version::Release(0),
            Sabotage::StopsAreIgnored => stops = &[],
            Sabotage::WithdrawalsAreIgnored => {
                let entries = std::rc::Rc::make_mut(&mut catalog).entries.values_mut();
                entries.for_each(|(_, _, entry)| entry.status = Status::Current);
            }
            Sabotage::StepsAreSkipped => {
                let entries = std::rc::Rc::make_mut(&mut catalog).entries.values_mut();
                entries.for_each(|(_, _, entry)| entry.min_release = suture_core::version::Release(0));
                bent = shares.iter().cloned().map(at_once).collect();
                shares = &bent;
            }
            Sabotage::DowngradesArePermitted => {
                bent = shares.iter().cloned().map(permitted).collect();
                shares = &bent;
            }
            _ => {}
        }
        match select(&facts, catalog.as_ref(), shares, stops, own) {
            Selection::Nothing { reason, approval } => {
                let share = d.shares.iter().find(|share| approval.as_ref() == Some(&share.terms.id));
                let step = share.and_then(|share| Some((share, choice::step_of(&facts, catalog.as_ref(), share)?)));
                let tries = step.and_then(|(share, step)| d.tries.get(&(share.terms.id.clone(), step.sha256)));
                let spent = tries.map_or(0, |tries| tries.spent);
                let order = approval.as_ref().and_then(|id| d.stops.iter().find(|s| s.approval == *id));
                let stop = order.map(|s| s.counter);
                Event::Nothing(choice::nothing(reason, approval, &d.shares, spent, stop))
            }
            Selection::Chosen(choice) => {
                let order = d.stops.iter().find(|s| s.approval == choice.approval).map_or(0, |s| s.counter);
                let attempt = choice::attempt(&choice, &d.it.id, order);
                if d.state.attempt().map(|a| a.bundle.manifest) != Some(attempt.bundle.manifest) {
                    let version = self.versions.iter().find(|v| v.step.sha256 == attempt.bundle.manifest);
                    d.missing_secs = version.map_or(1, |v| v.fetch_secs);
                }
                d.situation = Some(Situation { choice: *choice, attempt: attempt.clone(), is_fresh: true });
                Event::Chosen(attempt)
            }
        }
    }

    /// One transition, in the journal before anything else happens, and what it tells in the outbox.
    pub(crate) fn apply(&mut self, i: usize, event: Event) -> Outcome {
        let d = &self.devices[i];
        // An attempt whose approval is stopped ends by that, also where another approval is chosen in the same look.
        if let Event::Chosen(next) = &event
            && let Some(attempt) = d.state.attempt()
            && attempt.approval != next.approval
            && !d.state.is_committed()
            && d.is_stopped(&attempt.approval)
        {
            let stop = d.stops.iter().find(|s| s.approval == attempt.approval).map(|s| s.counter);
            let reason = Reason::new(Code::StopOrder, "stopped");
            let phase = Phase::Stopped;
            self.step(i, Event::Nothing(Nothing { about: Some(attempt.subject()), phase, reason, stop }))?;
        }
        self.step(i, event)
    }

    fn step(&mut self, i: usize, event: Event) -> Outcome {
        let (own, name) = (self.devices[i].own(self.now), event.name());
        let before = std::mem::replace(&mut self.devices[i].state, State::rest());
        let was = before.name();
        let step = match machine::step(before, event, own) {
            Ok(step) => step,
            Err(e) => return self.violated("the machine takes whatever happens to its device", Some(i), e.to_string()),
        };
        let d = &mut self.devices[i];
        d.state = step.state;
        if let Some(attempt) = step.spends {
            let tries = d.tries.entry((attempt.approval, attempt.bundle.manifest)).or_default();
            *tries = std::mem::take(tries).spend();
        }
        if let Some(attempt) = step.succeeds {
            let tries = d.tries.entry((attempt.approval, attempt.bundle.manifest)).or_default();
            *tries = std::mem::take(tries).succeed();
        }
        if let Some(Failure { attempt, reason, for_good }) = step.fails {
            self.watch_failure(i, &attempt, &reason, for_good);
            let d = &mut self.devices[i];
            let Attempt { approval, bundle, policy, order, jitter, .. } = attempt;
            let tries = d.tries.entry((approval, bundle.manifest)).or_default();
            *tries = std::mem::take(tries).fail(policy, (&reason, for_good), own, order, jitter);
        }
        let d = &mut self.devices[i];
        for told in step.told {
            d.numbered += 1;
            self.figures.confirmed += u64::from(told.phase == Phase::Confirmed);
            self.figures.fell_back += u64::from(told.phase == Phase::FellBack);
            d.outbox.push_back(Report { number: d.numbered, told });
        }
        self.say(i, || format!("{was} on {name}"));
        self.watch_state(i)
    }

    /// Rests until there may be something to do again.
    pub(crate) fn rest(&mut self, i: usize) {
        // What the cycle has come to is told before it ends.
        if self.devices[i].words.is_some() && self.is_online(i) {
            self.submit(i);
            self.give_lease_back(i);
        }
        let d = &mut self.devices[i];
        let own = d.own(self.now);
        let idle = d.chance.secs(12 * 3_600, 36 * 3_600);
        let (slot, soon, long) = (d.chance.secs(20, 300), d.chance.secs(30, 1_800), d.chance.secs(7_200, 43_200));
        let wait = match &d.state {
            State::Idle { .. } if d.outbox.is_empty() => idle,
            State::Idle { .. } => soon,
            State::Held { .. } => return,
            State::Waiting { trouble: Some(trouble), .. } => match (trouble.reason.code, trouble.until) {
                (Code::InUse | Code::InterlockUnknown | Code::PersonNeeded, _) => slot,
                (_, Some(until)) => long.min(until.duration_since(own).max(SignedDuration::ZERO)),
                (Code::WaveClosed | Code::ServerUnreachable | Code::SlotTooShort, None) => soon,
                _ => long,
            },
            State::Fetching { .. } | State::Staging { .. } | State::Waiting { .. } => soon,
            _ => slot,
        };
        self.rouse(i, wait);
    }

    /// Wakes a device after a while, where it would not wake earlier; none wakes once all approvals have ended for good.
    pub(crate) fn rouse(&mut self, i: usize, wait: SignedDuration) {
        let at = self.now + wait;
        let d = &mut self.devices[i];
        // Where its clock is behind, the approvals end later for it.
        let end = self.end - d.skew.min(SignedDuration::ZERO);
        // One whose power came back later than that looks once more.
        let due = at <= end || wait.is_zero() || d.state.is_committed();
        if due && d.power && d.wakes.is_none_or(|wakes| at < wakes) {
            d.wakes = Some(at);
            self.later(at, Happening::Wake(i));
        }
    }
}

fn at_once(mut share: Share) -> Share {
    let last = u32::try_from(share.terms.steps.len() - 1).unwrap();
    if let Some(mine) = &mut share.mine {
        mine.steps = vec![last];
    }
    share
}

fn permitted(mut share: Share) -> Share {
    share.terms.permit_downgrade = true;
    share
}
