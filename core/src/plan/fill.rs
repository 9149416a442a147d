//! Devices into waves, and waves into slots.
//!
//! A device gets as many slots in a turn as it has steps to take: in the first it takes its first step, in the next, which
//! begins when that has ended or later, the second. All of a wave have had their turn, every step of it, before the next wave
//! has its own. Later turns are further chances for who missed one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::calendars::Calendars;
use super::eligible::Candidate;
use super::timetable::{Offset, Timetable, Wish};
use super::{Blocked, PlanError, PlannedWave, Request, WaveSize, WaveSpec};
use crate::approval::{DeviceSlots, Slot};
use crate::clock::format_utc;
use crate::id::WardId;
use crate::limits::{MAX_OPENINGS, MAX_SLOTS_PER_DEVICE};
use crate::phase::{Code, Reason};
use crate::version::Release;

/// Where nobody has said over how much time starts are spread: a second for each device, and ten minutes at most.
const MOST_SPREAD_SECS: u32 = 600;

/// A wave in the making.
struct Members<'a> {
    spec: &'a WaveSpec,
    devices: Vec<(Candidate<'a>, Vec<Slot>)>,
}

impl Members<'_> {
    fn summary(&self) -> Option<PlannedWave> {
        Some(PlannedWave {
            gate: self.spec.gate.clone(),
            devices: u32::try_from(self.devices.len()).ok()?,
            begins: self.devices.iter().filter_map(|(_, slots)| slots.first()).map(|s| s.start).min()?,
            ends: self.turn_ends(0)?,
        })
    }

    /// When all of its devices have had a turn.
    fn turn_ends(&self, turn: usize) -> Option<Timestamp> {
        let last = |(device, slots): &(Candidate<'_>, Vec<Slot>)| {
            let steps = device.way.len();
            turn.checked_add(1)?.checked_mul(steps)?.checked_sub(1).and_then(|at| slots.get(at)).map(|s| s.end)
        };
        self.devices.iter().filter_map(last).max()
    }

    /// The earliest instant for the wave after this one: all its slots of that turn have ended and it has soaked.
    fn next_wave(&self, turn: usize) -> Option<Timestamp> {
        self.turn_ends(turn)?.checked_add(SignedDuration::from_secs(self.spec.gate.soak_secs.into())).ok()
    }
}

/// The slots in the making.
pub(super) struct Planner<'a> {
    request: &'a Request,
    calendars: &'a Calendars<'a>,
    timetables: BTreeMap<&'a WardId, Timetable<'a>>,
    /// No slot begins before it.
    begins: Timestamp,
    /// No slot ends after it: the deadline or the horizon, whichever comes first.
    until: Timestamp,
    waves: Vec<Members<'a>>,
}

/// One device's place in its wave.
#[derive(Clone, Copy)]
struct Place {
    place: usize,
    of: usize,
    /// Slots that its ward has to place with its own.
    slots: usize,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        request: &'a Request,
        calendars: &'a Calendars<'a>,
        timetables: BTreeMap<&'a WardId, Timetable<'a>>,
        (begins, until): (Timestamp, Timestamp),
    ) -> Self {
        Self { request, calendars, timetables, begins, until, waves: Vec::new() }
    }

    /// How many turns a device of so many steps gets.
    pub(super) fn turns(request: &Request, steps: usize) -> usize {
        let most = MAX_SLOTS_PER_DEVICE.checked_div(steps).unwrap_or(1);
        (request.slots_per_device as usize).min(most).max(1)
    }

    /// Fills the waves in order. A device for which the calendar has no room is blocked and the next takes its place, so
    /// that no wave, and above all no first one, is smaller than it was asked to be because of a calendar.
    pub(super) fn first_turn(
        &mut self,
        eligible: Vec<Candidate<'a>>,
        blocked: &mut Vec<Blocked>,
    ) -> Result<(), PlanError> {
        let all = eligible.len();
        let mut waiting = eligible.into_iter();
        let mut earliest = self.begins;
        for spec in &self.request.waves {
            let size = match spec.size {
                WaveSize::Count(n) => n as usize,
                WaveSize::Percent(p) => all.saturating_mul(p as usize).div_ceil(100),
                WaveSize::Rest => usize::MAX,
            };
            let expected = waiting.as_slice().get(..size).unwrap_or(waiting.as_slice());
            let (of, slots) = (expected.len(), slots_by_ward(expected));
            let mut devices = Vec::with_capacity(of);
            let mut place: usize = 0;
            while devices.len() < size {
                let Some(device) = waiting.next() else { break };
                let of_ward = slots.get(&device.device.ward).copied().unwrap_or(device.way.len());
                match self.place(&device, earliest, earliest, Place { place, of, slots: of_ward }) {
                    Some(slots) => devices.push((device, slots)),
                    None => {
                        let hours = self.calendars.of(device.device).ok();
                        let looked = hours.and_then(|hours| hours.looked_until()).filter(|end| *end < self.until);
                        let reason = no_opening(&device, earliest, self.request, (self.until, looked));
                        blocked.push(Blocked { id: device.device.id.clone(), reason });
                    }
                }
                place = place.saturating_add(1);
            }
            if devices.is_empty() {
                continue;
            }
            let wave = Members { spec, devices };
            earliest = wave.next_wave(0).unwrap_or(earliest);
            self.waves.push(wave);
        }
        match waiting.len() {
            0 => Ok(()),
            left => Err(PlanError::LeftOver(left)),
        }
    }

    /// One turn's slots of a device: one for each of its steps, one after another, the first from an instant on; all or none.
    fn place(
        &mut self,
        candidate: &Candidate<'a>,
        since: Timestamp,
        mut from: Timestamp,
        Place { place, of, slots }: Place,
    ) -> Option<Vec<Slot>> {
        let hours = self.calendars.of(candidate.device).ok()?;
        let timetable = self.timetables.get_mut(&candidate.device.ward)?;
        let spread_secs = self
            .request
            .spread_secs
            .unwrap_or_else(|| u32::try_from(of).unwrap_or(MOST_SPREAD_SECS).min(MOST_SPREAD_SECS));
        let offset = Offset { spread_secs, place, of, slots };
        let mut found = Vec::with_capacity(candidate.way.len());
        for _ in 0..candidate.way.len() {
            let slot = timetable.find(&candidate.device.id, hours, Wish { from, since, offset })?;
            from = slot.end;
            found.push(slot);
        }
        found.iter().for_each(|slot| timetable.take(&candidate.device.id, *slot));
        Some(found)
    }

    /// One more chance, the `turn`-th counted from 0, in the same order of waves, in what room there is. A device that
    /// found no room in one turn has none in a later one either: its slots would count as an earlier turn's, and the
    /// waves before it have had that already.
    pub(super) fn further_turn(&mut self, turn: usize) {
        let mut earliest = self.begins;
        let mut waves = std::mem::take(&mut self.waves);
        for wave in &mut waves {
            let of = wave.devices.len();
            let slots = slots_by_ward(wave.devices.iter().map(|(device, _)| device));
            for (place, (device, found)) in wave.devices.iter_mut().enumerate() {
                let steps = device.way.len();
                if turn >= Self::turns(self.request, steps) || found.len() != turn.saturating_mul(steps) {
                    continue;
                }
                let own = found.last().map_or(earliest, |s| s.end.max(earliest));
                let of_ward = slots.get(&device.device.ward).copied().unwrap_or(steps);
                found
                    .extend(self.place(device, earliest, own, Place { place, of, slots: of_ward }).unwrap_or_default());
            }
            earliest = wave.next_wave(turn).unwrap_or(earliest);
        }
        self.waves = waves;
    }

    /// The waves, as they came out.
    pub(super) fn waves(&self) -> Vec<PlannedWave> {
        self.waves.iter().filter_map(Members::summary).collect()
    }

    /// The planned devices.
    pub(super) fn members(&self) -> impl Iterator<Item = &Candidate<'a>> {
        self.waves.iter().flat_map(|w| &w.devices).map(|(device, _)| device)
    }

    /// What is signed of all devices, ascending by id. `steps` are the releases that the approval installs.
    pub(super) fn devices(self, steps: &[Release]) -> Vec<DeviceSlots> {
        let numbered = (0u32..).zip(self.waves);
        let of = |candidate: &Candidate<'_>| -> Vec<u32> {
            if candidate.way.len() == steps.len() {
                return Vec::new();
            }
            let place = |bundle: &&super::Bundle| steps.binary_search(&bundle.step.release).ok();
            candidate.way.iter().filter_map(place).filter_map(|at| u32::try_from(at).ok()).collect()
        };
        let mut devices: Vec<_> = numbered
            .flat_map(|(wave, members)| members.devices.into_iter().map(move |(d, slots)| (d, wave, slots)))
            .map(|(d, wave, slots)| DeviceSlots { id: d.device.id.clone(), wave, steps: of(&d), slots })
            .collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        devices
    }
}

/// How many slots each ward has to place for one turn of these devices.
fn slots_by_ward<'c, 'a: 'c>(devices: impl IntoIterator<Item = &'c Candidate<'a>>) -> BTreeMap<&'a WardId, usize> {
    let mut slots: BTreeMap<&WardId, usize> = BTreeMap::new();
    for Candidate { device, way } in devices {
        let count = slots.entry(&device.ward).or_default();
        *count = count.saturating_add(way.len());
    }
    slots
}

/// Why a device finds no slot: nothing begins before its wave may, and nothing ends after the deadline or the horizon,
/// whichever comes first; or after what was `looked` at, where its calendars open more often before that than is looked at.
fn no_opening(
    Candidate { device, way }: &Candidate<'_>,
    earliest: Timestamp,
    request: &Request,
    (until, looked): (Timestamp, Option<Timestamp>),
) -> Reason {
    let (from, ward, id) = (format_utc(earliest), &device.ward, &device.id);
    let needs = match way.len() {
        1 => "room".to_owned(),
        steps => format!("room for {steps} steps one after another"),
    };
    let look = format!("see `calendar preview --device {id}`");
    if let Some(end) = looked {
        let text = format!(
            "the calendars of ward {ward} have no {needs} from {from} on in their first {MAX_OPENINGS} openings, the last until {}; {look}, or set a later --not-before or a higher cap",
            format_utc(end)
        );
        return Reason::new(Code::NoOpening, text);
    }
    match request.deadline.filter(|deadline| *deadline == until) {
        Some(deadline) => {
            let text = format!(
                "the calendars of ward {ward} have no {needs} from {from} to the deadline, {}; {look}, or set a later deadline or a higher cap",
                format_utc(deadline)
            );
            Reason::new(Code::PastDeadline, text)
        }
        None => {
            let text = format!(
                "the calendars of ward {ward} have no {needs} from {from} to the plan's horizon; {look}, or raise the horizon or the cap"
            );
            Reason::new(Code::NoOpening, text)
        }
    }
}
