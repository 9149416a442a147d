//! The server's desk: what it shows and says to devices, and what it hears of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use suture_agent::gate::Word;
use suture_core::lease::Lease;

use crate::approvals::Approvals;
use crate::case::Fault;
use crate::catalog::Catalog;
use crate::chance::Chance;
use crate::rollouts::Rollout;
use crate::simulation::{Happening, Outcome, Simulation};

/// What the server keeps.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) chance: Chance,
    /// Nobody reaches it until then.
    out_until: Timestamp,
    /// Up to which report it has all, by device.
    through: Vec<u64>,
    /// Until when the hostile server keeps from a device what is new.
    keeps_back_until: Vec<Timestamp>,
    /// The honest server's, in the order in which they began.
    pub(crate) rollouts: Vec<Rollout>,
    /// The leases that it has granted, by device.
    pub(crate) leases: BTreeMap<usize, Lease>,
}

impl Desk {
    pub(crate) fn new(chance: Chance, devices: usize) -> Self {
        let none = Timestamp::UNIX_EPOCH;
        let (through, keeps_back_until) = (vec![0; devices], vec![none; devices]);
        Self { chance, out_until: none, through, keeps_back_until, rollouts: Vec::new(), leases: BTreeMap::new() }
    }

    pub(crate) fn is_out(&self, now: Timestamp) -> bool {
        now < self.out_until
    }
}

impl Simulation {
    /// A device says how it is, hears the server's words, and hands over its reports.
    pub(crate) fn check_in(&mut self, i: usize) {
        if self.case.faults.may(Fault::Late) && self.desk.chance.percent(1) {
            self.desk.out_until = self.now + self.desk.chance.secs(10, 7_200);
            return;
        }
        let words = if self.is_hostile() {
            self.approvals.listed.iter().map(|l| (l.approval.terms.id.clone(), Word::Go)).collect()
        } else {
            let word = |r| {
                let verdict = self.word_for(i, r)?;
                Some((self.desk.rollouts[r].id().clone(), verdict.map_or_else(Word::Wait, |()| Word::Go)))
            };
            (0..self.desk.rollouts.len()).filter_map(word).collect()
        };
        self.devices[i].words = Some(words);
        self.submit(i);
    }

    /// Hands over reports, the oldest first; those that are on their way already are handed over again.
    pub(crate) fn submit(&mut self, i: usize) {
        if self.devices[i].outbox.is_empty() {
            return;
        }
        let late = self.faults(i, Fault::Late, 20);
        let d = &mut self.devices[i];
        let reports: Vec<_> = d.outbox.iter().take(50).cloned().collect();
        let wait = if late { d.chance.secs(1, 90_000) } else { SignedDuration::ZERO };
        self.later(self.now + wait, Happening::Arrive(i, reports));
    }

    /// Reports have come, late or twice.
    pub(crate) fn arrive(&mut self, i: usize, reports: &[crate::device::Report]) -> Outcome {
        for report in reports {
            if report.number == self.desk.through[i] + 1 {
                self.desk.through[i] = report.number;
                self.progressed(i, report)?;
            }
        }
        if !self.faults(i, Fault::Late, 10) {
            self.later(self.now, Happening::Stored(i, self.desk.through[i]));
        }
        Ok(())
    }

    /// Both repositories as a device is shown them: the hostile server keeps back what is new as long as it likes. What is
    /// older than what the device has it shows in vain, which is the same.
    pub(crate) fn shown(&mut self, i: usize) -> (Rc<Catalog>, Rc<Approvals>) {
        if self.is_hostile() {
            if self.desk.chance.percent(2) {
                self.desk.keeps_back_until[i] = self.now + self.desk.chance.secs(0, 20 * 86_400);
            }
            if self.now < self.desk.keeps_back_until[i] {
                let d = &self.devices[i];
                return (d.catalog.clone(), d.approvals.clone());
            }
        }
        (self.catalog.clone(), self.approvals.clone())
    }
}
