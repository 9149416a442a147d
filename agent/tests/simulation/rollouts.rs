//! The honest server's rollouts: the real rules, carried out as the server carries them out.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Approval, waits};
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::rollout::{Action, Progress, Stage, State, Tally, View, WaveSet, barred, is_barred, late, step, word};

use crate::sabotage::Sabotage;
use crate::simulation::{Happening, Outcome, Simulation};

/// One rollout.
#[derive(Debug)]
pub(crate) struct Rollout {
    pub(crate) approval: Approval,
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) wave: u32,
    unsigned: WaveSet,
    withdrawn: bool,
    pub(crate) members: BTreeMap<DeviceId, Progress>,
    /// Tries of the step that it is at that a device says have failed.
    tries: BTreeMap<DeviceId, u32>,
    /// When it is looked at again though nobody has said anything.
    ticks: Option<Timestamp>,
}

/// What a person does to a rollout without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Abort,
}

impl Rollout {
    pub(crate) fn id(&self) -> &ApprovalId {
        &self.approval.terms.id
    }

    pub(crate) fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(self.approval.terms.attempt_timeout_secs.into())
    }

    pub(crate) fn view(&self, sabotage: Sabotage, now: Timestamp) -> View {
        let stage = |(number, gate): (u32, &suture_core::approval::Wave)| {
            let mut members: Vec<_> = self.members.values().filter(|m| m.wave == number).copied().collect();
            let mut gate = gate.clone();
            match sabotage {
                Sabotage::StagedCounts => members.iter_mut().filter(|m| m.phase == Phase::Staged).for_each(|m| {
                    m.phase = Phase::Confirmed;
                }),
                Sabotage::CeilingIsForgotten => (gate.max_failures, gate.max_failed_percent) = (u32::MAX, 100),
                Sabotage::SoakIsForgotten => gate.soak_secs = 0,
                _ => {}
            }
            Stage { gate, tally: Tally::of(&members, self.timeout(), now) }
        };
        View {
            id: self.id().clone(),
            state: self.state,
            reason: self.reason.clone(),
            wave: self.wave,
            waves: (0..).zip(&self.approval.terms.waves).map(stage).collect(),
            unsigned: self.unsigned,
            withdrawn: self.withdrawn,
            expires: self.approval.terms.expires,
            timeout: self.timeout(),
        }
    }

    /// When time alone may make something due.
    fn turns(&self, now: Timestamp) -> Option<Timestamp> {
        let terms = &self.approval.terms;
        let soaks = self
            .members
            .values()
            .filter(|m| m.phase == Phase::Confirmed)
            .map(|m| m.since + SignedDuration::from_secs(terms.waves[m.wave as usize].soak_secs.into()));
        let turns = self.members.values().filter_map(|m| m.turns(self.timeout()));
        turns.chain(soaks).chain([terms.expires, terms.expires + self.timeout()]).filter(|at| *at > now).min()
    }
}

impl Simulation {
    /// An approval was published: its rollout begins, and those that it supersedes end.
    pub(crate) fn begin_rollout(&mut self, approval: &Approval) -> Outcome {
        for old in &mut self.desk.rollouts {
            if approval.terms.supersedes.contains(old.id()) && !old.state.is_over() {
                old.state = State::Superseded;
                old.reason = Some(Reason::new(Code::Superseded, "another took its place"));
            }
        }
        let slots_end = |d: &suture_core::approval::DeviceSlots| d.slots.last().map_or(self.now, |s| s.end);
        let progress = |d: &suture_core::approval::DeviceSlots| {
            let (wave, phase, since) = (d.wave, Phase::Offered, self.now);
            (d.id.clone(), Progress { wave, phase, since, slots_end: slots_end(d), barred: false, forgiven: false })
        };
        let rollout = Rollout {
            state: State::Running,
            reason: None,
            wave: 0,
            unsigned: WaveSet::gated(&approval.terms.waves),
            withdrawn: false,
            members: approval.devices.iter().map(progress).collect(),
            tries: BTreeMap::new(),
            ticks: None,
            approval: approval.clone(),
        };
        self.desk.rollouts.push(rollout);
        self.advance_rollout(self.desk.rollouts.len() - 1)
    }

    /// Carries out all that is due.
    pub(crate) fn advance_rollout(&mut self, r: usize) -> Outcome {
        let mut news = false;
        loop {
            let view = self.desk.rollouts[r].view(self.sabotage, self.now);
            let early = self.sabotage == Sabotage::WavesOpenEarly
                && view.state == State::Running
                && view.wave as usize + 1 < view.waves.len();
            let action = match step(&view, self.now) {
                None if early => Action::Open(view.wave + 1),
                None => break,
                Some(Action::Expire) if self.sabotage == Sabotage::RolloutsNeverEnd => break,
                Some(action) => action,
            };
            self.tell(|| format!("{}: {action:?}", view.id));
            self.watch_action(r, &action)?;
            let next = view.after(&action);
            let rollout = &mut self.desk.rollouts[r];
            (rollout.state, rollout.wave, rollout.reason) = (next.state, next.wave, next.reason);
            news = true;
            match action {
                Action::Open(_) => self.figures.waves_opened += 1,
                Action::Pause(_) => {
                    self.figures.paused += 1;
                    if self.sabotage == Sabotage::ReasonsAreLost {
                        rollout.reason = None;
                    }
                    self.someone_comes(r);
                }
                Action::Complete => self.figures.complete += 1,
                Action::Expire => self.figures.ended_otherwise += 1,
                Action::Await(_) => {}
            }
        }
        if news {
            self.spread();
        }
        self.watch_rollout(r)?;
        let rollout = &mut self.desk.rollouts[r];
        let turns = rollout.turns(self.now).filter(|_| !rollout.state.is_over());
        if let Some(at) = turns.filter(|at| rollout.ticks != Some(*at)) {
            rollout.ticks = Some(at);
            let late = self.desk.chance.secs(0, 60);
            self.later(at + late, Happening::Tick(r));
        }
        Ok(())
    }

    /// A device's signed report has come.
    pub(crate) fn progressed(&mut self, i: usize, report: &crate::device::Report) -> Outcome {
        let Some(subject) = &report.told.subject else { return Ok(()) };
        let Some(r) = self.desk.rollouts.iter().position(|r| *r.id() == subject.approval) else { return Ok(()) };
        let order = self.approvals.stops.iter().find(|s| s.approval == subject.approval);
        let rollout = &mut self.desk.rollouts[r];
        let last = rollout.approval.terms.steps.last().map(|s| s.sha256);
        // What answers to an order that another has replaced says nothing of the one in force; a step is not the last.
        let outdated = report.told.phase == Phase::Stopped
            && order.is_some_and(|order| report.told.stop.is_none_or(|stop| stop < order.counter));
        let leads_on = report.told.phase == Phase::Confirmed && subject.manifest != last;
        let phase = if outdated || leads_on { Phase::Offered } else { report.told.phase };
        let timeout = rollout.timeout();
        let device = &self.devices[i].it.id;
        let Some(member) = rollout.members.get_mut(device) else { return Ok(()) };
        let tries = rollout.tries.entry(device.clone()).or_default();
        *tries = match report.told.phase {
            Phase::Confirmed => 0,
            Phase::FellBack => *tries + 1,
            _ => *tries,
        };
        let most = rollout.approval.terms.max_attempts;
        let over = report.told.permanent || is_barred(phase, report.told.reason.as_ref(), *tries, most);
        *member = member.told(phase, over, timeout, self.now);
        self.watch_report(r, i, phase);
        self.advance_rollout(r)
    }

    /// A person's order.
    pub(crate) fn order_rollout(&mut self, r: usize, order: Order) -> Outcome {
        let stopped = self.approvals.stops(self.desk.rollouts[r].id());
        let now = self.now;
        let rollout = &mut self.desk.rollouts[r];
        if rollout.state.is_over() || (order == Order::Resume && (stopped || rollout.withdrawn)) {
            return Ok(());
        }
        rollout.state = match order {
            Order::Pause => State::Paused,
            Order::Abort => State::Aborted,
            Order::Resume => State::Running,
        };
        rollout.reason = (order != Order::Resume).then(|| Reason::new(Code::Operator, "a person says so"));
        let timeout = rollout.timeout();
        if order == Order::Resume {
            for member in rollout.members.values_mut().filter(|m| m.standing(timeout, now).is_forgivable()) {
                member.forgiven = true;
            }
            self.watch_resume(r);
        }
        self.tell(|| format!("{}: {order:?}", self.desk.rollouts[r].id()));
        self.spread();
        self.advance_rollout(r)
    }

    /// The hospital has signed a wave open.
    pub(crate) fn signed_open(&mut self, id: &ApprovalId, wave: u32) -> Outcome {
        let Some(r) = self.desk.rollouts.iter().position(|r| r.id() == id) else { return Ok(()) };
        let rollout = &mut self.desk.rollouts[r];
        rollout.unsigned = rollout.unsigned.without(WaveSet::of([wave]));
        if rollout.state == State::Running {
            rollout.reason = None;
        }
        self.advance_rollout(r)
    }

    /// A stop order, or its lift, was published.
    pub(crate) fn ordered(&mut self, id: &ApprovalId, stopped: bool) -> Outcome {
        let Some(r) = self.desk.rollouts.iter().position(|r| r.id() == id) else { return Ok(()) };
        let now = self.now;
        let rollout = &mut self.desk.rollouts[r];
        for member in rollout.members.values_mut().filter(|m| m.phase == Phase::Stopped) {
            (member.phase, member.since) = (Phase::Offered, now);
        }
        if !stopped {
            rollout.members.values_mut().for_each(|m| m.barred = false);
            rollout.tries.clear();
        }
        let held = rollout.reason.as_ref().is_some_and(|r| r.code == Code::StopOrder);
        let timeout = rollout.timeout();
        let waits = rollout.members.values().any(|m| m.standing(timeout, now).is_open());
        let again = rollout.state == State::Complete && !stopped && waits && now < rollout.approval.terms.expires;
        if again || (!rollout.state.is_over() && (stopped || held)) {
            let code = if stopped { Code::StopOrder } else { Code::Operator };
            (rollout.state, rollout.reason) = (State::Paused, Some(Reason::new(code, "a stop order, or its lift")));
            self.someone_comes(r);
        }
        self.advance_rollout(r)
    }

    /// The manufacturer has withdrawn a bundle.
    pub(crate) fn withdrawn(&mut self, path: &str) -> Outcome {
        for r in 0..self.desk.rollouts.len() {
            let rollout = &mut self.desk.rollouts[r];
            if rollout.approval.terms.steps.iter().any(|s| s.path == path) {
                rollout.withdrawn = true;
                self.advance_rollout(r)?;
            }
        }
        Ok(())
    }

    /// What a device is told of an approval; none where it is in no rollout of that id.
    pub(crate) fn word_for(&self, i: usize, r: usize) -> Option<Result<(), Reason>> {
        let rollout = &self.desk.rollouts[r];
        let Progress { wave, slots_end, barred: over, .. } = *rollout.members.get(&self.devices[i].it.id)?;
        let unsigned = rollout.unsigned.holds(wave).then(|| waits(rollout.id(), wave));
        let no = over.then(|| barred(rollout.id())).or_else(|| late(slots_end, self.now));
        let word = word(rollout.state, rollout.wave, wave, rollout.reason.as_ref(), unsigned);
        Some(word.and(no.map_or(Ok(()), Err)))
    }
}
