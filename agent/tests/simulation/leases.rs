//! Leases: how a device asks and says again, as the agent does, and how the server answers, by core's rules.

use jiff::SignedDuration;
use suture_agent::machine::{State, Trouble};
use suture_core::id::ApprovalId;
use suture_core::lease::{Answer, Ask, Stage, ask};
use suture_core::limits::{LEASE_RENEWED, MAX_DOWN};
use suture_core::phase::{Code, Reason};

use crate::sabotage::Sabotage;
use crate::simulation::{Happening, Simulation};

/// A device that is held until a person comes is asked about less often here than it speaks: nothing else changes meanwhile.
const HELD_SPEAKS: SignedDuration = SignedDuration::from_mins(40);

impl Simulation {
    /// Asks for the lease; what stands in the way where it is not granted.
    pub(crate) fn take_lease(&mut self, i: usize, approval: &ApprovalId, stage: Stage) -> Option<Trouble> {
        if self.sabotage == Sabotage::LeasesAreIgnored {
            return None;
        }
        self.devices[i].lease = Some(approval.clone());
        if !self.is_online(i) {
            return Some(Trouble::new(Reason::new(Code::ServerUnreachable, "no answer to whether it may be down")));
        }
        if self.is_hostile() {
            return None;
        }
        let refused = self.grant(i, approval, stage)?;
        self.devices[i].lease = None;
        Some(refused)
    }

    /// The honest server's answer: none where it grants.
    fn grant(&mut self, i: usize, approval: &ApprovalId, stage: Stage) -> Option<Trouble> {
        let r = self.desk.rollouts.iter().position(|r| r.id() == approval)?;
        if stage != Stage::Begun
            && let Some(Err(reason)) = self.word_for(i, r)
        {
            return Some(Trouble::new(reason));
        }
        let terms = &self.desk.rollouts[r].approval.terms;
        let it = &self.devices[i].it;
        let asked = Ask {
            device: it.id.clone(),
            ward: it.ward.clone(),
            approval: approval.clone(),
            cap: if self.sabotage == Sabotage::LeasesAreNotCounted { u32::MAX } else { terms.ward_cap },
            silence: self.desk.rollouts[r].timeout(),
            expires: terms.expires,
            stage,
        };
        let in_ward = |(other, _): &(&usize, _)| self.devices[**other].it.ward == it.ward;
        let ward: Vec<_> = self.desk.leases.iter().filter(in_ward).map(|(_, lease)| lease.clone()).collect();
        let holds = self.desk.leases.get(&i).is_some_and(|l| l.approval == *approval && l.counts(self.now));
        let (cap, silence) = (asked.cap, asked.silence);
        match ask(&asked, self.desk.leases.get(&i), &ward, self.now) {
            Answer::Granted(lease) => {
                self.desk.leases.insert(i, lease);
                self.watch_place(i, (approval, cap, silence), stage, holds);
                if !holds && stage != Stage::Begun {
                    self.watch_lease(i);
                }
                self.watch_speaks(i);
                None
            }
            Answer::Refused { reason, ask_again } => {
                self.watch_refusal(i, cap);
                Some(Trouble::until(reason, self.devices[i].own(ask_again)))
            }
        }
    }

    /// Says again that it is down, whatever is being done.
    pub(crate) fn speak(&mut self, i: usize) {
        let d = &self.devices[i];
        let (Some(approval), true) = (d.lease.clone(), d.power && d.state.is_committed()) else { return };
        let since = self.desk.leases.get(&i).and_then(|lease| lease.begun);
        if since.is_some_and(|since| self.now.duration_since(since) > MAX_DOWN) {
            return;
        }
        let again = if matches!(d.state, State::Held { .. }) { HELD_SPEAKS } else { LEASE_RENEWED };
        if self.is_online(i) && !self.is_hostile() && d.begun_by(&approval) {
            self.grant(i, &approval, Stage::Begun);
        }
        self.later(self.now + again, Happening::Speak(i, self.devices[i].process));
    }

    /// Gives the lease back once the device is in service, as soon as the server can be reached.
    pub(crate) fn give_lease_back(&mut self, i: usize) {
        let d = &mut self.devices[i];
        if d.words.is_some() && !d.state.is_committed() && d.lease.take().is_some() {
            self.desk.leases.remove(&i);
            self.watch.gives_back(i);
        }
    }

    /// A person says that a device is back in service, as `device return` does.
    pub(crate) fn return_device(&mut self, i: usize) {
        let now = self.now;
        let Some(lease) = self.desk.leases.get_mut(&i).filter(|lease| lease.counts(now)) else { return };
        if self.sabotage != Sabotage::ReturnsAreForgotten {
            lease.returned = Some(now);
        }
        self.figures.returned += 1;
        self.watch.is_returned(i);
    }
}
