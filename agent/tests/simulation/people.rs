//! What people do: they plan, approve, sign waves open, stop and lift, withdraw, and put held devices in order. Or they do not.

use std::collections::BTreeSet;
use std::rc::Rc;

use jiff::SignedDuration;
use suture_agent::machine::{Event, State};
use suture_core::approval::Approval;
use suture_core::id::ApprovalId;
use suture_core::plan::{Facts, Known, Plan, Signing, plan};
use suture_core::window::Calendar;

use crate::case::Fault;
use crate::request::request;
use crate::rollouts::Order;
use crate::sabotage::Sabotage;
use crate::simulation::{Happening, Outcome, Simulation, days};

/// What a person does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Asks for a plan.
    Plan(u32),
    /// Signs it.
    Approve(Box<Plan>),
    /// Signs a wave open.
    Open(ApprovalId, u32),
    /// Stops an approval, or lifts the stop.
    Order(ApprovalId, bool),
    /// Withdraws a bundle.
    Withdraw(String),
    /// Signs both repositories anew, so that they count for longer.
    Resign,
    /// Says to the server that a rollout is to pause, to go on or to end.
    Tell(usize, Order),
    /// Says at a held device that it is in order again.
    Recover(usize),
    /// Says to the server that a device which it takes to be down is back in service.
    Return(usize),
}

impl Simulation {
    /// What people will do from the beginning.
    pub(crate) fn begin_people(&mut self) {
        let mut at = self.now;
        for n in 1..=self.chance.between(1, 3) {
            at += self.chance.secs(0, 6 * 86_400);
            self.later(at, Happening::Act(Act::Plan(n)));
        }
        if self.may_err(35) {
            let path = self.chance.pick(&self.versions[1..]).step.path;
            let at = self.now + self.chance.secs(0, 20 * 86_400);
            self.later(at, Happening::Act(Act::Withdraw(path)));
        }
        self.end = at + days(2);
        let at = self.now + days(10);
        self.later(at, Happening::Act(Act::Resign));
    }

    /// Whether people do, or leave undone, what happens so many times of a hundred.
    pub(crate) fn may_err(&mut self, percent: u32) -> bool {
        self.chance.percent(percent) && self.case.faults.may(Fault::People)
    }

    pub(crate) fn act(&mut self, act: Act) -> Outcome {
        match act {
            Act::Plan(n) => self.plan(n)?,
            Act::Approve(plan) => self.approve(&plan)?,
            Act::Open(id, wave) => {
                self.tell(|| format!("wave {wave} of {id} is signed open"));
                self.approvals = Rc::new(self.approvals.opening(&id, wave, self.now));
                self.signed_open(&id, wave)?;
                self.spread();
            }
            Act::Order(id, stopped) => self.order(&id, stopped)?,
            Act::Tell(r, order) => self.order_rollout(r, order)?,
            Act::Withdraw(path) => {
                self.tell(|| format!("{path} is withdrawn"));
                self.catalog = Rc::new(self.catalog.withdrawing(&path, self.now));
                self.withdrawn(&path)?;
                self.spread();
            }
            Act::Resign if self.now < self.end => {
                // Sometimes too late.
                let next = self.now + if self.may_err(5) { days(20) } else { days(10) };
                self.catalog = Rc::new(self.catalog.signed(self.now));
                self.approvals = Rc::new(self.approvals.signed(self.now));
                self.later(next, Happening::Act(Act::Resign));
                self.spread();
            }
            Act::Resign => {}
            Act::Return(i) => self.return_device(i),
            Act::Recover(i) => {
                if self.devices[i].power && matches!(self.devices[i].state, State::Held { .. }) {
                    self.apply(i, Event::Recovered)?;
                    self.advance(i)?;
                }
            }
        }
        Ok(())
    }

    /// What a plan is computed from at present.
    fn facts(&self, version: usize, supersedes: &BTreeSet<ApprovalId>) -> Facts {
        let mut calendars = self.hospital.calendars.clone();
        if self.sabotage == Sabotage::FreezesAreIgnored {
            let thaw = |(_, calendar): &mut (_, Calendar)| {
                calendar.freezes.clear();
                calendar.recurring.clear();
            };
            calendars.iter_mut().for_each(thaw);
        }
        let mut approvals: Vec<_> = self.approvals.listed.iter().map(|l| l.approval.clone()).collect();
        if self.sabotage == Sabotage::ReplacedAreForgotten {
            let replaced = |a: &Approval| self.approvals.supersedes(&a.terms.id) || supersedes.contains(&a.terms.id);
            approvals.iter_mut().filter(|a| replaced(a)).for_each(|a| a.devices.clear());
        }
        Facts {
            hdo: self.hospital.hdo.clone(),
            bundle: self.catalog.bundle(&self.versions[version]),
            releases: self.versions.iter().map(|v| self.catalog.bundle(v)).collect(),
            rosters: self.hospital.rosters.clone(),
            calendars,
            approvals,
            stops: self.approvals.stops.clone(),
        }
    }

    /// What the server says of the devices; the hostile one lies.
    fn inventory(&mut self) -> Vec<Known> {
        let mut all = Vec::new();
        for i in 0..self.devices.len() {
            let lies = self.is_hostile() && self.chance.percent(20);
            let d = &self.devices[i];
            let mut running = Some(d.running.clone());
            // What a device once signed can be shown for ever, and nothing else is proven.
            let stale = self.is_hostile() && self.chance.percent(20);
            if stale {
                running = Some(self.chance.pick(&d.confirmed));
            } else if lies {
                running = self.chance.percent(50).then(|| self.versions[0].running());
            }
            let proven = stale || !lies;
            let settled = proven && (stale || !d.state.is_committed());
            let (ward, product) = (Some(d.it.ward.clone()), Some(d.it.product.clone()));
            all.push(Known { id: d.it.id.clone(), ward, product, running, installs: None, proven, settled });
        }
        all
    }

    fn plan(&mut self, n: u32) -> Outcome {
        let id: ApprovalId = format!("rollout-{n}").parse().unwrap();
        let last = self.versions.len() - 1;
        let mut version =
            if self.chance.percent(70) { last } else { usize::try_from(self.chance.below(last as u64)).unwrap() };
        let mut request = request(&mut self.chance, &self.hospital, id, self.now);
        if n > 1 && self.chance.percent(30) {
            request.permit_downgrade = true;
            version = usize::try_from(self.chance.below(last as u64)).unwrap();
        }
        if self.chance.percent(30) {
            request.supersedes.extend(self.approvals.listed.last().map(|l| l.approval.terms.id.clone()));
        }
        let cap = request.cap;
        if self.sabotage == Sabotage::CapIsIgnored {
            request.cap = u32::MAX;
        }
        let inventory = self.inventory();
        let Ok(mut plan) = plan(&self.facts(version, &request.supersedes), &request, &inventory, self.now) else {
            return Ok(());
        };
        plan.request.cap = cap;
        if plan.devices.is_empty() {
            return Ok(());
        }
        let wait = self.chance.secs(0, 14_400);
        self.later(self.now + wait, Happening::Act(Act::Approve(Box::new(plan))));
        Ok(())
    }

    /// The approver's program computes the plan again, and signs it only where nothing differs.
    fn approve(&mut self, plan: &Plan) -> Outcome {
        let version = self.versions.iter().position(|v| v.step.sha256 == plan.bundle.step.sha256).unwrap();
        let bent = matches!(self.sabotage, Sabotage::CapIsIgnored | Sabotage::FreezesAreIgnored);
        if !bent && plan.recompute(&self.facts(version, &plan.request.supersedes)).ok().as_ref() != Some(plan) {
            return Ok(());
        }
        let signing = Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "due".to_owned() };
        let Ok((approval, _)) = plan.to_approval(&signing, self.now) else { return Ok(()) };
        self.tell(|| format!("{} is approved: {:?}", approval.terms.id, approval.devices));
        self.watch_plan(plan)?;
        self.figures.approvals += 1;
        self.figures.planned += approval.devices.len() as u64;
        let (id, expires) = (approval.terms.id.clone(), approval.terms.expires);
        let span = u32::try_from(expires.duration_since(self.now).as_secs()).unwrap_or(0);
        for (wave, gate) in (0..).zip(&approval.terms.waves) {
            if gate.needs_signature && !self.may_err(20) {
                let most = if self.may_err(60) { span } else { 60 };
                let wait = self.chance.secs(0, most);
                self.later(self.now + wait, Happening::Act(Act::Open(id.clone(), wave)));
            }
        }
        if self.may_err(20) {
            let stopped = self.now + self.chance.secs(0, span);
            self.later(stopped, Happening::Act(Act::Order(id.clone(), true)));
            if self.chance.percent(60) {
                let lifted = stopped + self.chance.secs(60, 3 * 86_400);
                self.later(lifted, Happening::Act(Act::Order(id, false)));
            }
        }
        self.approvals = Rc::new(self.approvals.approving(approval.clone(), self.now));
        self.end = self.end.max(expires + days(2));
        self.spread();
        if self.is_hostile() {
            return Ok(());
        }
        let r = self.desk.rollouts.len();
        if self.may_err(15) {
            let order = self.chance.pick(&[Order::Pause, Order::Pause, Order::Abort]);
            let at = self.now + self.chance.secs(0, span);
            self.later(at, Happening::Act(Act::Tell(r, order)));
            self.later(at + days(1), Happening::Act(Act::Tell(r, Order::Resume)));
        }
        self.begin_rollout(&approval)
    }

    /// A rollout has paused: somebody looks at it and lets it go on, or ends it, or nobody comes.
    pub(crate) fn someone_comes(&mut self, r: usize) {
        let order = match self.chance.below(10) {
            0..2 => return,
            2 => Order::Abort,
            _ => Order::Resume,
        };
        let at = self.now + self.chance.secs(60, 86_400);
        self.later(at, Happening::Act(Act::Tell(r, order)));
    }

    fn order(&mut self, id: &ApprovalId, stopped: bool) -> Outcome {
        self.tell(|| format!("{id} is {}", if stopped { "stopped" } else { "lifted" }));
        self.approvals = Rc::new(self.approvals.ordering(id, stopped, self.now));
        // Some are handed the order by a person.
        for i in 0..self.devices.len() {
            if self.devices[i].chance.percent(10) {
                let stops = self.approvals.stops.clone();
                stops.iter().filter(|s| s.approval == *id).for_each(|s| self.devices[i].keep(s));
                self.rouse(i, SignedDuration::ZERO);
            }
        }
        self.spread();
        self.ordered(id, stopped)
    }
}
