//! What must hold at every instant, looked at from outside: by the truth, and not by what anybody in the simulation believes.
//!
//! What the signatures promise of the ward's cap, exactly: of the devices that are down at once in a ward, no more than the cap
//! have begun by their own right clock, by whatever approval they had heard of last, and have kept to their budgets since. A device
//! whose power is cut, whose install or way back takes longer than the manufacturer said, whose interlock does not release,
//! or whose clock is wrong within what no signature disproves, may be down besides; it is named with that excuse, and only
//! leases hold the others back for it.

mod places;
mod plan;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use suture_agent::machine::{After, Attempt, State};
use suture_core::approval::Slot;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, WardId};
use suture_core::limits::{LEASE, MAX_DOWN};
use suture_core::phase::Reason;
use suture_core::trust::Status;
use suture_core::version::Release;

use crate::people::Act;
use crate::simulation::{Happening, Outcome, Simulation};

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Devices that have begun and have not returned to service.
    down: BTreeMap<usize, Down>,
    /// Installs that were begun, by device, approval and step.
    begun: BTreeMap<Try, u32>,
    /// Tries that failed: how many, when the last did by the device's clock, and whether for good.
    failed: BTreeMap<Try, (u32, Timestamp, bool)>,
    /// How many of its ward were down beside a device when it was granted its lease.
    beside: BTreeMap<usize, usize>,
    /// Who holds a place among those of its ward that are down, by what was granted and what people have said.
    places: BTreeMap<usize, places::Place>,
    /// The first device whose place was refused although there was room.
    wrongly_refused: Option<(usize, String)>,
    /// What was confirmed in truth, by device and approval.
    confirmed: BTreeSet<(usize, ApprovalId)>,
    /// The honest server's rollouts.
    ledgers: BTreeMap<ApprovalId, rollout::Ledger>,
    /// The highest floor of what a device has confirmed.
    floors: BTreeMap<usize, Release>,
}

/// A step of an approval on a device, since the newest lift of a stop that it has heard of.
type Try = (usize, ApprovalId, Digest, u64);

#[derive(Debug)]
struct Down {
    ward: WardId,
    slot: Slot,
    cap: u32,
    /// When its approval was signed.
    signed: Timestamp,
    /// When it began.
    since: Timestamp,
    /// By a lease: when it last spoke of it, and how long it may be silent.
    leased: Option<(Timestamp, SignedDuration)>,
    /// Why it may be down beside the cap.
    excuse: Option<&'static str>,
}

impl Simulation {
    /// The link is about to name a new version.
    pub(crate) fn watch_begin(&mut self, i: usize, attempt: &Attempt) -> Outcome {
        let broken = |property, text: String| self.violated(property, Some(i), text);
        let (d, id) = (&self.devices[i], &attempt.approval);
        let own = d.own(self.now);
        let Some(listed) = self.approvals.find(id) else {
            return broken("what is installed is approved", format!("{id} was never signed"));
        };
        let (terms, version) = (&listed.approval.terms, self.version_of(attempt));
        let Some(mine) = listed.approval.device(&d.it.id) else {
            return broken("what is installed is approved for the device", format!("{id} does not name it"));
        };
        let need = i64::from(version.install.budget_secs) + i64::from(version.install.revert_budget_secs);
        let need = SignedDuration::from_secs(need);
        let Some(slot) = mine.slots.iter().copied().find(|s| s.start <= own && own < s.end) else {
            return broken("no install begins outside a slot", format!("its clock shows {}", format_utc(own)));
        };
        if slot.end.duration_since(own) < need {
            let text = format!("the slot ends at {}", format_utc(slot.end));
            return broken("what is left of a slot holds install and way back", text);
        }
        if own < d.proven {
            return broken("no install begins by a clock that signatures prove to be behind", format_utc(own));
        }
        if !d.claimed {
            return broken("no install begins without the interlock", "it is not claimed".to_owned());
        }
        if d.catalog.status(&attempt.bundle.path) == Some(Status::Withdrawn) {
            return broken(
                "a withdrawn bundle is never begun by a device that has seen that",
                attempt.bundle.path.clone(),
            );
        }
        if d.is_stopped(id) {
            return broken("nothing is begun by a device that has the order to stop it", id.to_string());
        }
        if d.approvals.supersedes(id) {
            return broken("nothing is begun by an approval that the device knows to be superseded", id.to_string());
        }
        if terms.waves[mine.wave as usize].needs_signature && !self.is_signed_open(id, mine.wave) {
            return broken("no signed gate is passed without its signature", format!("wave {} of {id}", mine.wave));
        }
        if version.step.product != d.it.product || !version.step.hardware.contains(&d.it.hardware) {
            return broken("a device installs only what fits it", version.step.path.clone());
        }
        let (to, from) = (version.step.release, d.running.release);
        if to < from && !terms.permit_downgrade {
            return broken("a downgrade is never begun without a permit", format!("from {from} to {to}"));
        }
        if self.watch.floors.get(&i).is_some_and(|floor| to < *floor) {
            return broken("nothing below the security floor is begun", format!("from {from} to {to}"));
        }
        let path = mine.path(terms);
        let place = path.iter().position(|s| s.sha256 == attempt.bundle.manifest);
        let before = path.iter().position(|s| d.runs(&s.sha256));
        // One that runs none of them begins with the first that takes what runs as a start.
        let starts = |s: &&&suture_core::approval::Step| {
            let version = self.versions.iter().find(|v| v.step.sha256 == s.sha256).unwrap();
            from < s.release && s.release < to && version.entry.min_release <= from
        };
        let left_out = before.is_none() && path.iter().any(|s| starts(&s));
        if place.is_none() || left_out || before.is_some_and(|before| place != Some(before + 1)) {
            return broken("the steps of an approval come in order", format!("{place:?} after {before:?}"));
        }
        if to >= from && from < version.entry.min_release {
            return broken("no version that must come between is left out", format!("from {from} to {to}"));
        }
        let on_the_way = place.is_some_and(|place| place + 1 < path.len());
        let step = (i, id.clone(), attempt.bundle.manifest, d.lift(id));
        if terms.needs_lease && d.lease.as_ref() != Some(id) {
            return broken("nothing begins without the lease that it needs", id.to_string());
        }
        let silence = SignedDuration::from_secs(terms.attempt_timeout_secs.into()).max(LEASE);
        let leased = (terms.needs_lease && !self.is_hostile()).then_some((self.now, silence));
        let beside = self.watch.beside.get(&i).copied().unwrap_or(0);
        if leased.is_some() && beside >= terms.ward_cap as usize {
            let property = "no lease is granted beside a cap's worth of devices that are down and say so";
            return broken(property, format!("{beside} are down where {} may", terms.ward_cap));
        }
        // One that failed before the link was touched is used up too.
        let failed = self.watch.failed.get(&step).map_or(0, |(count, ..)| *count);
        let tries = self.watch.begun.get(&step).copied().unwrap_or(0).max(failed);
        if tries >= terms.max_attempts {
            return broken("an approval is not tried more often than it allows", format!("{tries} times by {id}"));
        }
        if let Some((_, at, for_good)) = self.watch.failed.get(&step) {
            if *for_good {
                return broken("nothing is tried again that failed for good", id.to_string());
            }
            if own < *at + SignedDuration::from_secs(terms.retry_wait_secs.into()) {
                return broken("a try waits as long as was signed", format!("it failed at {}", format_utc(*at)));
            }
        }
        if !self.is_hostile() && terms.waves[mine.wave as usize].needs_server {
            self.watch_word(i, id, mine.wave)?;
        }
        let excuse = (d.skew != SignedDuration::ZERO).then_some("its clock is wrong");
        let (signed, cap) = (terms.created, terms.ward_cap);
        let down = Down { ward: d.it.ward.clone(), slot, cap, signed, excuse, since: self.now, leased };
        *self.watch.begun.entry(step).or_default() += 1;
        self.watch.down.insert(i, down);
        self.figures.begun += 1;
        self.figures.steps += u64::from(on_the_way);
        self.figures.most_down = self.figures.most_down.max(self.watch.down.len() as u64);
        self.watch_caps(i)
    }

    /// No more than the cap are down in the ward of a device, but for those with an excuse.
    fn watch_caps(&self, i: usize) -> Outcome {
        let ward = &self.devices[i].it.ward;
        let down = || self.watch.down.values().filter(|d| d.ward == *ward && d.excuse.is_none());
        // Whatever was signed last counted the slots that were signed before.
        let Some(newest) = down().max_by_key(|d| d.signed) else { return Ok(()) };
        let count = down().count();
        if count > newest.cap as usize {
            let text = format!("{count} of {ward} where {} may", newest.cap);
            return self.violated("never more devices of a ward are down than its cap", Some(i), text);
        }
        Ok(())
    }

    /// A lease is granted anew: notes how many are down in the ward by one, of those that the server has heard of lately.
    pub(crate) fn watch_lease(&mut self, i: usize) {
        let ward = &self.devices[i].it.ward;
        let counts = |down: &&Down| {
            let heard = down.leased.is_some_and(|(spoke, silence)| self.now < spoke + silence);
            down.ward == *ward && heard && self.now < down.since + MAX_DOWN
        };
        let count = self.watch.down.values().filter(counts).count();
        self.watch.beside.insert(i, count);
    }

    /// The server has heard that a device is down.
    pub(crate) fn watch_speaks(&mut self, i: usize) {
        if let Some(Down { leased: Some((spoke, _)), .. }) = self.watch.down.get_mut(&i) {
            *spoke = self.now;
        }
    }

    /// A try has failed.
    pub(crate) fn watch_failure(&mut self, i: usize, attempt: &Attempt, reason: &Reason, for_good: bool) {
        let d = &self.devices[i];
        let step = (i, attempt.approval.clone(), attempt.bundle.manifest, d.lift(&attempt.approval));
        let for_good = for_good || reason.code.is_permanent();
        let own = d.own(self.now);
        let failed = self.watch.failed.entry(step).or_insert((0, own, for_good));
        *failed = (failed.0 + 1, own, for_good);
    }

    /// The interlock of a device is released.
    pub(crate) fn watch_return(&mut self, i: usize) -> Outcome {
        self.watch.down.remove(&i);
        Ok(())
    }

    /// A device that is down may be so beyond its slot.
    pub(crate) fn excuse(&mut self, i: usize, why: &'static str) {
        if let Some(down) = self.watch.down.get_mut(&i) {
            down.excuse = Some(why);
        }
    }

    /// Time has passed.
    pub(crate) fn watch_time(&self) -> Outcome {
        if let Some((i, text)) = &self.watch.wrongly_refused {
            let property =
                "a lease is refused for devices that are down, and were not said to be back, and for no others";
            return self.violated(property, Some(*i), text.clone());
        }
        let late = |down: &Down| down.excuse.is_none() && down.slot.end < self.now;
        match self.watch.down.iter().find(|(_, down)| late(down)) {
            Some((i, down)) => {
                let text = format!("its slot ended at {}", format_utc(down.slot.end));
                self.violated("a device that keeps to its budgets is back when its slot ends", Some(*i), text)
            }
            None => Ok(()),
        }
    }

    /// A device has made a transition.
    pub(crate) fn watch_state(&mut self, i: usize) -> Outcome {
        let d = &self.devices[i];
        match &d.state {
            State::Switching { .. } | State::Restarting { .. } | State::Confirming { .. } | State::Reverting { .. }
                if !d.claimed =>
            {
                return self.violated("the interlock is held from the switch to the release", Some(i), d.state.name());
            }
            State::Releasing { after: After::Confirmed(attempt), .. } => {
                let floor = self.version_of(attempt).entry.floor;
                self.watch.confirmed.insert((i, attempt.approval.clone()));
                let highest = self.watch.floors.entry(i).or_insert(floor);
                *highest = floor.max(*highest);
            }
            // A person comes to the device, or does not.
            State::Held { .. } => {
                let never = self.may_err(20);
                let at = self.now + self.chance.secs(600, 3 * 86_400);
                if !never {
                    self.later(at, Happening::Act(Act::Recover(i)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing happens any more.
    pub(crate) fn watch_end(&self) -> Outcome {
        for (i, d) in self.devices.iter().enumerate() {
            let says = d.state.trouble().is_some();
            if !says || (d.state.is_committed() && !matches!(d.state, State::Held { .. })) {
                let text = format!("it is {}", d.state.name());
                return self.violated("every device comes to rest and says why", Some(i), text);
            }
            if d.claimed && !matches!(d.state, State::Held { .. }) {
                return self.violated("every device returns to service", Some(i), "its interlock is held");
            }
        }
        self.watch_last()
    }

    fn is_signed_open(&self, id: &ApprovalId, wave: u32) -> bool {
        use suture_core::approval::{Gates, SignedDocument as _};
        self.approvals.gates.get(id).is_some_and(|bytes| Gates::parse(bytes).unwrap().opens(wave))
    }

    fn version_of(&self, attempt: &Attempt) -> &crate::catalog::Version {
        self.versions.iter().find(|v| v.step.sha256 == attempt.bundle.manifest).unwrap()
    }

    /// Whether the agent would touch the link, at this instant.
    pub(crate) fn may_switch(&self, i: usize) -> bool {
        let d = &self.devices[i];
        match &d.state {
            State::Switching { attempt, window } => {
                window.holds(d.own(self.now)) && !d.is_stopped(&attempt.approval) && !d.runs(&attempt.bundle.manifest)
            }
            _ => false,
        }
    }
}
