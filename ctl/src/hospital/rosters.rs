//! Which roster a device is on: the one whose part of the devices it is in. A roster that is full falls into its two halves,
//! so that a change touches one small file, or two, however many devices the hospital has.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::approval::{Part, Pinned, Roster, RosterDevice};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::MAX_ROSTER_DEVICES;

/// Why a device cannot be put on its roster.
#[derive(Debug, thiserror::Error)]
#[error("the roster that {0} belongs on is full, and as small a part of the devices as there is")]
pub struct RosterFull(DeviceId);

/// Rosters in the making, by part.
#[derive(Debug)]
pub(super) struct Rosters {
    hdo: HdoId,
    all: BTreeMap<Part, Vec<RosterDevice>>,
    /// Those that are no longer what is signed.
    changed: BTreeSet<Part>,
}

impl Rosters {
    pub(super) fn new(hdo: HdoId, signed: &[(Pinned, Roster)]) -> Self {
        let all = signed.iter().map(|(_, r)| (r.part, r.devices.clone())).collect();
        Self { hdo, all, changed: BTreeSet::new() }
    }

    /// Puts a device on its roster, in the place of what the roster said of it.
    pub(super) fn admit(&mut self, device: RosterDevice) -> Result<(), RosterFull> {
        let part = self.part(&device.id).unwrap_or(Part::ALL);
        let devices = self.all.entry(part).or_default();
        devices.retain(|d| d.id != device.id);
        self.changed.insert(part);
        if devices.len() < MAX_ROSTER_DEVICES {
            devices.push(device);
            return Ok(());
        }
        let halves = part.halves().ok_or_else(|| RosterFull(device.id.clone()))?;
        let devices = self.all.remove(&part).unwrap_or_default();
        for half in halves {
            self.all.insert(half, devices.iter().filter(|d| half.holds(&d.id)).cloned().collect());
            self.changed.insert(half);
        }
        self.admit(device)
    }

    /// Takes a device off its roster; says whether it was on one.
    pub(super) fn dismiss(&mut self, id: &DeviceId) -> bool {
        let Some(part) = self.part(id) else { return false };
        let devices = self.all.entry(part).or_default();
        let before = devices.len();
        devices.retain(|d| d.id != *id);
        let found = devices.len() < before;
        if found {
            self.changed.insert(part);
        }
        found
    }

    /// The parts whose roster is no longer what is signed, with the roster to sign; none where there is none any more.
    pub(super) fn changes(self) -> impl Iterator<Item = (Part, Option<Roster>)> {
        let Self { hdo, mut all, changed } = self;
        changed.into_iter().map(move |part| {
            let devices = all.remove(&part);
            (part, devices.map(|devices| Roster::new(hdo.clone(), part, devices)))
        })
    }

    fn part(&self, id: &DeviceId) -> Option<Part> {
        Part::holding(id).find(|part| self.all.contains_key(part))
    }
}
