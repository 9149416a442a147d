//! A device: what is on its disk and what it is physically, apart from one another. What it decides is decided by the agent's
//! own rules; what takes time, fails or is cut off is played.
//!
//! - `cycle`: hearing, looking, choosing and resting, as the agent's loop does.
//! - `effect`: what the machine asks for, which takes its time.
//! - `gate`: whether the slot is open.

mod cycle;
mod effect;
mod gate;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use suture_agent::gate::Word;
use suture_agent::machine::{Attempt, State, Told};
use suture_core::approval::{RosterDevice, Share, VerifiedStop};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::report::Running;
use suture_core::retry::Tries;
use suture_core::select::Choice;
use suture_core::version::Release;

pub(crate) use effect::Effect;

use crate::approvals::Approvals;
use crate::catalog::Catalog;
use crate::chance::Chance;

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) it: RosterDevice,
    pub(crate) chance: Chance,
    /// Its clock is ahead of the truth by that.
    pub(crate) skew: SignedDuration,

    // On disk: the journal, the floors, both repositories, stop orders, the outbox.
    pub(crate) state: State,
    pub(crate) tries: BTreeMap<(ApprovalId, Digest), Tries>,
    pub(crate) floor: Release,
    pub(crate) proven: Timestamp,
    pub(crate) catalog: Rc<Catalog>,
    pub(crate) approvals: Rc<Approvals>,
    pub(crate) stops: Vec<VerifiedStop>,
    pub(crate) outbox: VecDeque<Report>,
    /// By which approval it holds a lease, or may hold one.
    pub(crate) lease: Option<ApprovalId>,
    /// The last number given to a report.
    pub(crate) numbered: u64,

    // Physical.
    pub(crate) running: Running,
    /// What ran before: where the link is put back to.
    pub(crate) before: Running,
    /// All that it has ever proven to run.
    pub(crate) confirmed: Vec<Running>,
    pub(crate) claimed: bool,
    pub(crate) power: bool,
    pub(crate) offline_until: Timestamp,

    // In the agent's memory, lost with its process.
    pub(crate) effect: Option<Effect>,
    /// Counts processes and effects, so that the end of an effect that was cut off is told from that of the next.
    pub(crate) generation: u64,
    /// Counts processes alone.
    pub(crate) process: u64,
    pub(crate) situation: Option<Situation>,
    pub(crate) words: Option<Vec<(ApprovalId, Word)>>,
    pub(crate) shares: Vec<Share>,
    pub(crate) shares_of: u64,
    pub(crate) wakes: Option<Timestamp>,
    /// Of the bundle that is being fetched, so many seconds are missing.
    pub(crate) missing_secs: u32,
    /// How long it takes from restart to its proof of health, this time.
    pub(crate) probe: SignedDuration,
}

/// What is to be installed, as the last look found it.
#[derive(Debug, Clone)]
pub(crate) struct Situation {
    pub(crate) choice: Choice,
    pub(crate) attempt: Attempt,
    pub(crate) is_fresh: bool,
}

/// A report in the outbox, or on its way.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) number: u64,
    pub(crate) told: Told,
}

impl Device {
    pub(crate) fn new(
        it: RosterDevice,
        running: Running,
        chance: Chance,
        catalog: Rc<Catalog>,
        approvals: Rc<Approvals>,
    ) -> Self {
        Self {
            it,
            chance,
            skew: SignedDuration::ZERO,
            state: State::rest(),
            tries: BTreeMap::new(),
            floor: Release(0),
            proven: Timestamp::UNIX_EPOCH,
            catalog,
            approvals,
            stops: Vec::new(),
            outbox: VecDeque::new(),
            lease: None,
            numbered: 0,
            before: running.clone(),
            confirmed: vec![running.clone()],
            running,
            claimed: false,
            power: true,
            offline_until: Timestamp::UNIX_EPOCH,
            effect: None,
            generation: 0,
            process: 0,
            situation: None,
            words: None,
            shares: Vec::new(),
            shares_of: 0,
            wakes: None,
            missing_secs: 0,
            probe: SignedDuration::ZERO,
        }
    }

    /// What its clock shows.
    pub(crate) fn own(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.skew).unwrap()
    }

    /// Whether the link names a version.
    pub(crate) fn runs(&self, manifest: &Digest) -> bool {
        self.running.manifest == *manifest
    }

    /// Whether it is past the switch by an approval, and not yet back.
    pub(crate) fn begun_by(&self, approval: &ApprovalId) -> bool {
        let begun =
            self.state.is_committed() && !matches!(self.state, State::Claiming { .. } | State::Switching { .. });
        begun && self.state.attempt().is_some_and(|a| a.approval == *approval)
    }

    /// The counter of the newest order for an approval that it has heard of, where that is a lift; else 0.
    pub(crate) fn lift(&self, approval: &ApprovalId) -> u64 {
        self.stops.iter().find(|s| s.approval == *approval && !s.stopped).map_or(0, |s| s.counter)
    }

    /// Keeps an order, where it is news.
    pub(crate) fn keep(&mut self, stop: &VerifiedStop) {
        match self.stops.iter_mut().find(|s| s.approval == stop.approval) {
            Some(known) if stop.is_news_after(known) => *known = stop.clone(),
            Some(_) => {}
            None => self.stops.push(stop.clone()),
        }
    }

    pub(crate) fn is_stopped(&self, id: &ApprovalId) -> bool {
        VerifiedStop::stops(&self.stops, id)
    }

    /// What is only in memory goes with the process.
    pub(crate) fn forget(&mut self) {
        self.effect = None;
        self.generation += 1;
        self.process += 1;
        self.situation = None;
        self.words = None;
        self.shares.clear();
        self.shares_of = 0;
        self.wakes = None;
    }
}
