//! What must hold of the honest server's rollouts, by a ledger of what has really been reported.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use suture_agent::machine::State as Machine;
use suture_core::approval::{Approval, DeviceSlots, Slot};
use suture_core::id::ApprovalId;
use suture_core::phase::Phase;
use suture_core::rollout::{Action, State, step};

use crate::case::Fault;
use crate::device::Effect;
use crate::simulation::{Outcome, Simulation};

/// Of one rollout.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// When each wave opened.
    opened: BTreeMap<u32, Timestamp>,
    /// When the server first heard that a device is confirmed, which it is in truth.
    confirmed: BTreeMap<usize, Timestamp>,
    /// Whose last word was that it failed.
    failed: BTreeSet<usize>,
    /// Whom a person has let go.
    let_go: BTreeSet<usize>,
    /// Who was in flight when the ceiling was passed, while it is.
    in_flight: Option<BTreeSet<usize>>,
}

impl Simulation {
    /// A device's report was counted.
    pub(crate) fn watch_report(&mut self, r: usize, i: usize, phase: Phase) {
        let id = self.desk.rollouts[r].id().clone();
        // One that came to run it by another approval has proven its health by that.
        let last = self.approvals.find(&id).and_then(|l| l.approval.terms.steps.last().map(|s| s.sha256));
        let otherwise = last.is_some_and(|last| self.devices[i].confirmed.iter().any(|r| r.manifest == last));
        let true_word = otherwise || self.watch.confirmed.contains(&(i, id.clone()));
        let ledger = self.watch.ledgers.entry(id.clone()).or_default();
        match phase {
            Phase::Confirmed if true_word => {
                ledger.confirmed.entry(i).or_insert(self.now);
            }
            Phase::FellBack | Phase::Failed | Phase::Held => {
                let is_news = !ledger.confirmed.contains_key(&i) && ledger.failed.insert(i);
                if is_news {
                    ledger.let_go.remove(&i);
                }
            }
            Phase::Offered | Phase::Fetching => {
                ledger.failed.remove(&i);
            }
            // What a person has looked at was not this try.
            Phase::Installing => {
                ledger.failed.remove(&i);
                ledger.let_go.remove(&i);
            }
            _ => {}
        }
        self.watch_ceiling(&id);
    }

    /// Whether the ceiling of a wave is passed: notes who is in flight when it comes to be.
    fn watch_ceiling(&mut self, id: &ApprovalId) {
        let Some(listed) = self.approvals.find(id) else { return };
        let terms = &listed.approval.terms;
        let Some(ledger) = self.watch.ledgers.get(id) else { return };
        let wave_of = |i: &usize| listed.approval.device(&self.devices[*i].it.id).map(|d| d.wave);
        let passed = (0..).zip(&terms.waves).any(|(wave, gate)| {
            let failed = ledger.failed.difference(&ledger.let_go).filter(|i| wave_of(i) == Some(wave)).count() as u64;
            let all = listed.approval.devices.iter().filter(|d| d.wave == wave).count() as u64;
            failed > gate.max_failures.into() || failed * 100 > u64::from(gate.max_failed_percent) * all
        });
        let begins = |i: &usize| {
            let d = &self.devices[*i];
            matches!(d.state, Machine::Claiming { .. } | Machine::Switching { .. })
                || matches!(d.effect, Some(Effect::Hash(_)))
                || self.watch.down.contains_key(i)
        };
        let in_flight = passed.then(|| (0..self.devices.len()).filter(begins).collect());
        let ledger = self.watch.ledgers.entry(id.clone()).or_default();
        match (&ledger.in_flight, in_flight) {
            (None, now) => ledger.in_flight = now,
            (Some(_), None) => ledger.in_flight = None,
            (Some(_), Some(_)) => {}
        }
    }

    /// A person lets a rollout go on without those who have failed, or were late.
    pub(crate) fn watch_resume(&mut self, r: usize) {
        let rollout = &self.desk.rollouts[r];
        let (id, timeout) = (rollout.id().clone(), rollout.timeout());
        let is_over = |i: &usize| {
            let member = rollout.members.get(&self.devices[*i].it.id);
            member.is_some_and(|m| m.standing(timeout, self.now).is_forgivable())
        };
        let over: Vec<_> = (0..self.devices.len()).filter(is_over).collect();
        self.watch.ledgers.entry(id.clone()).or_default().let_go.extend(over);
        self.watch_ceiling(&id);
    }

    /// The server is about to do something.
    pub(crate) fn watch_action(&mut self, r: usize, action: &Action) -> Outcome {
        let Action::Open(wave) = action else { return Ok(()) };
        let approval = &self.desk.rollouts[r].approval;
        let before = wave - 1;
        let gate = &approval.terms.waves[before as usize];
        let of_wave: Vec<usize> = approval
            .devices
            .iter()
            .filter(|d| d.wave == before)
            .map(|d| self.devices.iter().position(|o| o.it.id == d.id).unwrap())
            .collect();
        let none = Ledger::default();
        let ledger = self.watch.ledgers.get(&approval.terms.id).unwrap_or(&none);
        let confirmed = of_wave.iter().filter(|i| ledger.confirmed.contains_key(i)).count() as u64;
        let let_go = of_wave.iter().filter(|i| ledger.let_go.contains(i) && !ledger.confirmed.contains_key(i)).count();
        let counted = (of_wave.len() - let_go) as u64;
        let property = "no wave opens before enough of the one before are confirmed, and for long enough";
        if confirmed * 100 < u64::from(gate.min_confirmed_percent) * counted {
            let text = format!("wave {wave} of {}: {confirmed} of {counted} are confirmed", approval.terms.id);
            return self.violated(property, None, text);
        }
        let last = of_wave.iter().filter_map(|i| ledger.confirmed.get(i)).max();
        let soaked = last.map(|last| *last + SignedDuration::from_secs(gate.soak_secs.into()));
        if soaked.is_some_and(|soaked| self.now < soaked) {
            return self.violated(property, None, format!("wave {wave} of {} has not soaked", approval.terms.id));
        }
        let id = approval.terms.id.clone();
        self.watch.ledgers.entry(id).or_default().opened.insert(*wave, self.now);
        Ok(())
    }

    /// A device begins by an approval, in a wave that waits for the server's word.
    pub(super) fn watch_word(&self, i: usize, id: &ApprovalId, wave: u32) -> Outcome {
        let ledger = self.watch.ledgers.get(id);
        if wave > 0 && !ledger.is_some_and(|l| l.opened.contains_key(&wave)) {
            return self.violated("no wave begins before its gate", Some(i), format!("wave {wave} of {id}"));
        }
        match ledger.and_then(|l| l.in_flight.as_ref()) {
            Some(in_flight) if !in_flight.contains(&i) => {
                let text = format!("it begins by {id}, whose ceiling was passed before");
                self.violated("failures exceed a ceiling by no more than what was in flight", Some(i), text)
            }
            _ => Ok(()),
        }
    }

    /// All that is due for a rollout is done.
    pub(crate) fn watch_rollout(&self, r: usize) -> Outcome {
        let rollout = &self.desk.rollouts[r];
        let property = "a rollout that rests says what for";
        if rollout.state == State::Paused && rollout.reason.is_none() {
            return self.violated(property, None, format!("{} is paused", rollout.id()));
        }
        let view = rollout.view(self.sabotage, self.now);
        if rollout.state != State::Running || rollout.reason.is_some() || step(&view, self.now).is_some() {
            return Ok(());
        }
        // It waits for devices of a wave that is open, or for the soak of the last.
        let waits = view
            .waves
            .iter()
            .take(view.wave as usize + 1)
            .any(|w| w.tally.open() + w.tally.again + w.tally.timed_out > 0);
        let wave = &view.waves[view.wave as usize];
        let soak = SignedDuration::from_secs(wave.gate.soak_secs.into());
        let soaks = wave.tally.last_confirmed.is_some_and(|last| self.now < last + soak);
        let beyond =
            view.waves.iter().any(|w| w.tally.open() + w.tally.again > 0) && view.wave as usize + 1 == view.waves.len();
        if waits || soaks || beyond {
            return Ok(());
        }
        self.violated(property, None, format!("{} is running: {:?}", rollout.id(), view.waves))
    }

    /// Nothing happens any more.
    pub(super) fn watch_last(&self) -> Outcome {
        let open = self.desk.rollouts.iter().find(|r| !r.state.is_over());
        match open {
            Some(r) => self.violated("every rollout ends", None, format!("{} is {}", r.id(), r.state.as_str())),
            None => self.watch_calm(),
        }
    }

    /// Where nothing goes wrong, everybody is served: all devices of a rollout that nothing has replaced, of which none has
    /// lost a slot because it was approved late, and which leaves some time in each.
    fn watch_calm(&self) -> Outcome {
        if Fault::ALL.into_iter().any(|fault| self.case.faults.may(fault)) {
            return Ok(());
        }
        for rollout in &self.desk.rollouts {
            let Approval { terms, devices } = &rollout.approval;
            let install = |v: &&crate::catalog::Version| terms.steps.iter().any(|s| s.sha256 == v.step.sha256);
            let needs =
                self.versions.iter().filter(install).map(|v| v.install.budget_secs + v.install.revert_budget_secs);
            let need = i64::from(needs.max().unwrap());
            let in_time = |s: &Slot| {
                let slack = s.end.duration_since(s.start).as_secs() - need;
                slack >= 600 && s.start.duration_since(terms.created) >= SignedDuration::from_hours(6)
            };
            // The next step's bundle is fetched once the one before runs, for which a slot that follows at once leaves no time.
            let apart = |d: &DeviceSlots| {
                let follow = d.slots.iter().zip(d.slots.iter().skip(1)).take(d.path(terms).len() - 1);
                follow.clone().all(|(a, b)| b.start.duration_since(a.end) >= SignedDuration::from_hours(6))
            };
            let serves = |d: &DeviceSlots| d.slots.first().is_some_and(in_time) && apart(d);
            let all = devices.iter().all(serves);
            if all && rollout.state != State::Superseded && rollout.state != State::Complete {
                let text = format!("{} is {}: {:?}", rollout.id(), rollout.state.as_str(), rollout.members);
                return self.violated("where nothing goes wrong every rollout is complete", None, text);
            }
        }
        Ok(())
    }
}
