//! When each device may be touched: what the calendars that bind it open together.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Facts, PlannedWard};
use crate::approval::{Pinned, RosterDevice};
use crate::id::{DeviceId, WardId};
use crate::limits::MAX_OPENINGS;
use crate::phase::{Code, Reason};
use crate::window::{Calendar, Opening, Scope, openings};

/// The openings of the devices that were asked for.
pub(super) struct Calendars<'a> {
    /// All, by what they bind.
    signed: BTreeMap<&'a Scope, &'a (Pinned, Calendar)>,
    /// By ward, what the hospital's calendar and its own open; the reason where that is nothing at all.
    wards: BTreeMap<&'a WardId, Result<Vec<Opening>, Reason>>,
    /// The same of devices that have a calendar of their own, which is among the layers.
    devices: BTreeMap<&'a DeviceId, Result<Vec<Opening>, Reason>>,
}

impl<'a> Calendars<'a> {
    /// Those of `devices` in `[begins, until)`.
    pub(super) fn new(
        facts: &'a Facts,
        devices: impl Iterator<Item = &'a RosterDevice>,
        begins: Timestamp,
        until: Timestamp,
    ) -> Self {
        let signed: BTreeMap<&Scope, _> = facts.calendars.iter().map(|signed| (&signed.1.scope, signed)).collect();
        let of = |scope: Scope| signed.get(&scope).map(|(_, calendar)| calendar);
        let (mut by_ward, mut by_device) = (BTreeMap::new(), BTreeMap::new());
        for device in devices {
            let ward = || [of(Scope::Hospital), of(Scope::Ward(device.ward.clone()))].into_iter().flatten();
            let open = |layers: Vec<&Calendar>| open(device, &layers, begins, until);
            by_ward.entry(&device.ward).or_insert_with(|| open(ward().collect()));
            if let Some(own) = of(Scope::Device(device.id.clone())) {
                by_device.insert(&device.id, open(ward().chain([own]).collect()));
            }
        }
        Self { signed, wards: by_ward, devices: by_device }
    }

    /// What binds a device, or why nothing lets it be touched.
    pub(super) fn of(&self, device: &RosterDevice) -> Result<Hours<'_>, Reason> {
        let (found, own) = match self.devices.get(&device.id) {
            Some(found) => (Some(found), true),
            None => (self.wards.get(&device.ward), false),
        };
        match found {
            Some(Ok(open)) => Ok(Hours { open, own }),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err(none(device)),
        }
    }

    /// The wards of planned devices with the calendars that they were planned by.
    pub(super) fn planned<'d>(&self, devices: impl Iterator<Item = &'d RosterDevice>) -> Vec<PlannedWard> {
        let mut wards: BTreeMap<&WardId, Vec<&DeviceId>> = BTreeMap::new();
        devices.for_each(|d| wards.entry(&d.ward).or_default().push(&d.id));
        let ward = |(ward, mut ids): (&WardId, Vec<&DeviceId>)| {
            ids.sort_unstable();
            let scopes = [Scope::Hospital, Scope::Ward(ward.clone())].into_iter();
            let scopes = scopes.chain(ids.iter().map(|id| Scope::Device((*id).clone())));
            let mut by: Vec<_> = scopes.filter_map(|scope| self.signed.get(&scope).copied()).collect();
            by.sort_by(|a, b| a.0.path.cmp(&b.0.path));
            // People of a ward read its own clock; where it has none, the hospital's or the device's.
            let own = by.iter().find(|(_, c)| matches!(c.scope, Scope::Ward(_))).or(by.first());
            PlannedWard {
                ward: ward.clone(),
                zone: own.map_or_else(|| "UTC".to_owned(), |(_, c)| c.zone.clone()),
                calendars: by.iter().map(|(pinned, _)| pinned.clone()).collect(),
                devices: ids.into_iter().cloned().collect(),
            }
        };
        wards.into_iter().map(ward).collect()
    }
}

/// What binds one device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hours<'a> {
    /// Its openings, ascending and disjoint.
    pub(super) open: &'a [Opening],
    /// Whether they are less than its ward's, for it has a calendar of its own.
    pub(super) own: bool,
}

impl Hours<'_> {
    /// When the last of them ends, where they are as many as are looked at: what opens later is not among them.
    pub(super) fn looked_until(&self) -> Option<Timestamp> {
        self.open.last().filter(|_| self.open.len() >= MAX_OPENINGS).map(|last| last.end)
    }
}

fn open(
    device: &RosterDevice,
    layers: &[&Calendar],
    begins: Timestamp,
    until: Timestamp,
) -> Result<Vec<Opening>, Reason> {
    // Rule 5 of calendars: what no window opens is closed.
    if layers.iter().all(|c| c.windows.is_empty()) {
        return Err(none(device));
    }
    openings(layers, begins, until, MAX_OPENINGS)
        .map_err(|error| Reason::new(Code::NoCalendar, format!("{error}; see `calendar set`")))
}

fn none(device: &RosterDevice) -> Reason {
    let ward = &device.ward;
    let text =
        format!("no calendar with a window binds it, neither the hospital's nor its ward's; see `calendar set {ward}`");
    Reason::new(Code::NoCalendar, text)
}
