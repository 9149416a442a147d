//! Who holds a place in a ward by a lease: counted from what was granted, given back and said by people, and not by the leases
//! that the server keeps.

use jiff::{SignedDuration, Timestamp};
use suture_core::id::ApprovalId;
use suture_core::lease::Stage;
use suture_core::limits::{LEASE, MAX_DOWN};

use super::Watch;
use crate::simulation::Simulation;

/// A device's place.
#[derive(Debug)]
pub(super) struct Place {
    approval: ApprovalId,
    cap: u32,
    silence: SignedDuration,
    heard: Timestamp,
    begun: Option<Timestamp>,
    /// A person has said that it is back.
    returned: bool,
}

impl Place {
    fn counts(&self, now: Timestamp) -> bool {
        let heard = match self.begun {
            None => now < self.heard + LEASE,
            Some(begun) => now < self.heard + self.silence.max(LEASE) && now < begun + MAX_DOWN,
        };
        heard && !self.returned
    }
}

impl Watch {
    /// A device gives its lease back.
    pub(crate) fn gives_back(&mut self, i: usize) {
        self.places.remove(&i);
    }

    /// A person says that a device is back in service; it need not be so.
    pub(crate) fn is_returned(&mut self, i: usize) {
        if let Some(place) = self.places.get_mut(&i) {
            place.returned = true;
        }
        if let Some(down) = self.down.get_mut(&i) {
            down.leased = None;
        }
    }
}

impl Simulation {
    /// A lease is granted, or granted again: `holds` where the device had it.
    pub(crate) fn watch_place(
        &mut self,
        i: usize,
        (approval, cap, silence): (&ApprovalId, u32, SignedDuration),
        stage: Stage,
        holds: bool,
    ) {
        let same = |p: &&Place| p.approval == *approval && (holds || stage == Stage::Begun);
        let before = self.watch.places.get(&i).filter(same);
        let begins = (stage != Stage::Wanted).then_some(self.now);
        let begun = before.and_then(|p| p.begun).or(begins);
        let returned = before.is_some_and(|p| p.returned);
        let place = Place { approval: approval.clone(), cap, silence, heard: self.now, begun, returned };
        self.watch.places.insert(i, place);
    }

    /// A lease is refused because the ward is busy.
    pub(crate) fn watch_refusal(&mut self, i: usize, cap: u32) {
        let ward = &self.devices[i].it.ward;
        let others = || {
            let of_ward = |(o, place): &(&usize, &Place)| {
                **o != i && self.devices[**o].it.ward == *ward && place.counts(self.now)
            };
            self.watch.places.iter().filter(of_ward)
        };
        let least = others().map(|(_, place)| place.cap).min().unwrap_or(cap).min(cap);
        let count = others().count();
        if count < least as usize {
            let text = format!("{count} of {ward} are down where {least} may");
            self.watch.wrongly_refused.get_or_insert((i, text));
        }
    }
}
