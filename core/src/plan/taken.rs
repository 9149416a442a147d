//! What earlier approvals have taken of the wards' time.
//!
//! Attack: a server that shows a new approval to some devices and keeps it from others. Those go on by the approval that it
//! replaces, for as long as what they know counts, in slots that the new one may have given to somebody else. So what was
//! once signed is taken until it is over, whatever has become of it: replaced, stopped, or in force beside the plan.
//!
//! A device that is on no roster may come back, under its id and into whatever ward, and then its slots are its own again: they
//! are taken in every ward of the plan. So the slots that are left of one that was revoked or is out of use hold back plans of the
//! whole hospital, until they end.
//!
//! A device that has proven that it runs what a replaced approval leads to is not down by it again, and its slots are free;
//! unless another approval could have led it off that again and the first one back to it, which takes a permit to go down. A
//! hospital for which that is too dear, on the night of a rollback, says so in the request, and signs it
//! ([`Request::reuse_slots`]).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::timetable::Timetable;
use super::{Facts, Known, Request};
use crate::approval::{Approval, RosterDevice, Slot};
use crate::id::{DeviceId, WardId};

/// The slots that are taken, by ward and device.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    roster: &'a BTreeMap<&'a DeviceId, &'a RosterDevice>,
    wards: BTreeMap<&'a WardId, BTreeMap<&'a DeviceId, Vec<Slot>>>,
    settled: BTreeSet<&'a DeviceId>,
}

impl<'a> Taken<'a> {
    /// Of these wards, and nothing yet.
    pub(super) fn new(
        wards: impl Iterator<Item = &'a WardId>,
        roster: &'a BTreeMap<&'a DeviceId, &'a RosterDevice>,
    ) -> Self {
        Self { roster, wards: wards.map(|ward| (ward, BTreeMap::new())).collect(), settled: BTreeSet::new() }
    }

    /// Counts approvals that stay in force, or may come back into force, whatever the server says has become of them, as far
    /// as they are not over.
    pub(super) fn count(&mut self, approvals: &[&'a Approval], now: Timestamp) {
        for device in approvals.iter().flat_map(|a| &a.devices) {
            self.take(&device.id, device.slots.iter().copied().filter(|slot| now < slot.end));
        }
    }

    /// Counts approvals that are replaced, as far as they are not over, unless the request gives their slots out again; then
    /// until when such slots last, if there are any.
    pub(super) fn count_replaced(
        &mut self,
        approvals: &[&'a Approval],
        (facts, request, known): (&Facts, &Request, &BTreeMap<&DeviceId, &Known>),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut reused: Option<Timestamp> = None;
        for approval in approvals {
            for device in &approval.devices {
                let left = device.slots.iter().copied().filter(|slot| now < slot.end);
                let Some(last) = left.clone().map(|slot| slot.end).max() else { continue };
                if !self.counts(&device.id) {
                    continue;
                }
                // No roster, no key: nothing is proven of one that is on none.
                let known = known.get(&device.id).filter(|_| self.roster.contains_key(&device.id));
                if known.is_some_and(|known| is_settled(known, approval, facts)) {
                    self.settled.insert(&device.id);
                } else if request.reuse_slots {
                    reused = reused.max(Some(last));
                } else {
                    self.take(&device.id, left);
                }
            }
        }
        reused
    }

    /// Devices with slots that were not counted, for they have proven to be done.
    pub(super) fn settled(&self) -> BTreeSet<&'a DeviceId> {
        self.settled.clone()
    }

    /// The wards' timetables, with all that.
    pub(super) fn timetables(self, cap: u32, length: SignedDuration) -> BTreeMap<&'a WardId, Timetable<'a>> {
        self.wards.into_iter().map(|(ward, taken)| (ward, Timetable::new(taken, cap, length))).collect()
    }

    /// Whether a device's slots are taken in any of the wards.
    fn counts(&self, device: &DeviceId) -> bool {
        self.roster.get(device).map_or(!self.wards.is_empty(), |d| self.wards.contains_key(&d.ward))
    }

    /// Takes slots for a device, in its ward; in all of them where it is on no roster.
    fn take(&mut self, device: &'a DeviceId, slots: impl Iterator<Item = Slot> + Clone) {
        let ward = self.roster.get(device).map(|d| &d.ward);
        let wards = self.wards.iter_mut().filter(|(name, _)| ward.is_none_or(|ward| ward == **name));
        wards.for_each(|(_, taken)| taken.entry(device).or_default().extend(slots.clone()));
    }
}

/// Whether a device has proven that it is done with an approval, for good.
fn is_settled(known: &Known, approval: &Approval, facts: &Facts) -> bool {
    let leads_to = |a: &Approval| a.terms.steps.last().map(|s| s.sha256);
    let runs = known.running.as_ref().filter(|_| known.proven && known.settled).map(|r| r.manifest);
    if runs.is_none() || runs != leads_to(approval) {
        return false;
    }
    let mut others = facts.approvals.iter().filter(|other| leads_to(other) != runs);
    !others.any(|other| {
        (approval.terms.permit_downgrade || other.terms.permit_downgrade) && other.device(&known.id).is_some()
    })
}
