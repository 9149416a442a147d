//! The computation: devices into waves, waves into slots.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::calendars::Calendars;
use super::eligible::{Sorted, View};
use super::timetable::Timetable;
use super::{Blocked, Facts, Known, Plan, PlannedWave, Request, WaveSize, WaveSpec};
use crate::approval::{Approval, DeviceSlots, Pinned, RosterDevice, SignedDocument, Slot};
use crate::clock::whole_second;
use crate::id::{ApprovalId, DeviceId, WardId};
use crate::limits::{MAX_APPROVAL_DEVICES, MAX_APPROVAL_SLOTS};
use crate::phase::{Code, Reason};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The request contradicts itself or a bound.
    #[error("the request is not valid: {0}")]
    Request(&'static str),
    /// Nothing is selected.
    #[error("no device of {0} is selected; see `device list`")]
    NoDevice(String),
    /// One approval cannot name so many.
    #[error("{0} devices are selected, an approval names {MAX_APPROVAL_DEVICES} at most; plan ward by ward")]
    TooMany(usize),
    /// One approval cannot hold so many slots.
    #[error(
        "{0} devices with {1} slots each are more than the {MAX_APPROVAL_SLOTS} slots of an approval; plan with fewer slots, or ward by ward"
    )]
    TooManySlots(usize, u32),
    /// The waves have room for fewer devices than there are.
    #[error("{0} devices are in no wave; end the waves with `rest`")]
    LeftOver(usize),
    /// It asks to replace what is not there.
    #[error("approval {0} is to be replaced, and the approvals repository lists no such approval")]
    NoSuchApproval(ApprovalId),
    /// Two rosters list one device.
    #[error("device {0} is on two rosters; revoke it and confirm it again")]
    TwiceOnRosters(DeviceId),
}

/// Computes a plan. `inventory` is what the server says; each device once.
///
/// # Errors
///
/// The request is not valid, selects nobody, or the facts contradict themselves. A device that cannot be planned is no
/// error: the plan names it, with the reason.
pub fn plan(facts: &Facts, request: &Request, inventory: &[Known], now: Timestamp) -> Result<Plan, PlanError> {
    if let Some(rule) = request.broken_rule() {
        return Err(PlanError::Request(rule));
    }
    if let Some(id) = request.supersedes.iter().find(|id| !facts.approvals.iter().any(|a| a.terms.id == **id)) {
        return Err(PlanError::NoSuchApproval(id.clone()));
    }
    let now = whole_second(now);
    let roster = merged(facts)?;
    let known: BTreeMap<_, _> = inventory.iter().map(|k| (&k.id, k)).collect();
    let begins = request.not_before.max(now);
    let until = begins.saturating_add(SignedDuration::from_secs(request.horizon_secs.into())).unwrap_or(begins);
    let view = View::new(facts, request, &roster, &known, now);
    let calendars = Calendars::new(facts, view.on_roster(), begins, until);
    let Sorted { eligible, mut blocked, supersedes, beside } = view.sort(&calendars);
    let selected = eligible.len().saturating_add(blocked.len());
    if selected == 0 {
        return Err(PlanError::NoDevice(facts.bundle.step.product.to_string()));
    }
    if selected > MAX_APPROVAL_DEVICES {
        return Err(PlanError::TooMany(selected));
    }
    if eligible.len().saturating_mul(request.slots_per_device as usize) > MAX_APPROVAL_SLOTS {
        return Err(PlanError::TooManySlots(eligible.len(), request.slots_per_device));
    }

    let about: BTreeSet<_> = eligible.iter().map(|d| &d.id).chain(blocked.iter().map(|b| &b.id)).cloned().collect();
    let taken = Taken::by(&beside, &roster);
    let length = facts.bundle.need().saturating_add(SignedDuration::from_secs(request.slack_secs.into()));
    let timetables = taken.timetables(&eligible, request.cap, length);
    let mut planner = Planner { calendars: &calendars, timetables, begins, waves: Vec::new() };
    planner.first_slots(&eligible, &request.waves, &mut blocked)?;
    (1..request.slots_per_device as usize).for_each(|turn| planner.further_slots(turn));

    blocked.sort_by(|a, b| a.id.cmp(&b.id));
    let mut rosters: Vec<Pinned> = facts.rosters.iter().map(|(pinned, _)| pinned.clone()).collect();
    rosters.sort_by(|a, b| a.path.cmp(&b.path));
    let wards = calendars.planned(planner.waves.iter().flat_map(|w| &w.devices).map(|(device, _)| *device));
    let waves: Vec<PlannedWave> = planner.waves.iter().filter_map(Members::summary).collect();
    let devices = planner.devices();
    let ends = || devices.iter().filter_map(|d| d.slots.last()).map(|s| s.end).max();
    Ok(Plan {
        kind: Plan::TYPE.to_owned(),
        format: 1,
        hdo: facts.hdo.clone(),
        created: now,
        request: request.clone(),
        bundle: facts.bundle.clone(),
        rosters,
        wards,
        inventory: known.into_values().filter(|k| about.contains(&k.id)).cloned().collect(),
        supersedes,
        expected_finish: waves.iter().map(|w| w.ends).max().unwrap_or(now),
        waves,
        blocked,
        expires: ends().unwrap_or(now),
        devices,
    })
}

/// All rosters as one.
fn merged(facts: &Facts) -> Result<BTreeMap<&DeviceId, &RosterDevice>, PlanError> {
    let mut all = BTreeMap::new();
    for device in facts.rosters.iter().flat_map(|(_, roster)| &roster.devices) {
        if all.insert(&device.id, device).is_some() {
            return Err(PlanError::TwiceOnRosters(device.id.clone()));
        }
    }
    Ok(all)
}

/// Slots that approvals beside the plan have taken, by ward. They count whatever the server says has become of them.
struct Taken(BTreeMap<WardId, Vec<Slot>>);

impl Taken {
    fn by(beside: &[&Approval], roster: &BTreeMap<&DeviceId, &RosterDevice>) -> Self {
        let mut taken: BTreeMap<WardId, Vec<Slot>> = BTreeMap::new();
        for device in beside.iter().flat_map(|a| &a.devices) {
            if let Some(ward) = roster.get(&device.id).map(|d| &d.ward) {
                taken.entry(ward.clone()).or_default().extend(&device.slots);
            }
        }
        Self(taken)
    }

    /// The timetables of these devices' wards.
    fn timetables(
        mut self,
        devices: &[&RosterDevice],
        cap: u32,
        length: SignedDuration,
    ) -> BTreeMap<WardId, Timetable> {
        let wards: BTreeSet<&WardId> = devices.iter().map(|d| &d.ward).collect();
        let timetable = |ward: &WardId| {
            let taken = self.0.remove(ward).unwrap_or_default();
            (ward.clone(), Timetable::new(taken, cap, length))
        };
        wards.into_iter().map(timetable).collect()
    }
}

/// A wave in the making.
struct Members<'a> {
    spec: &'a WaveSpec,
    devices: Vec<(&'a RosterDevice, Vec<Slot>)>,
}

impl Members<'_> {
    fn summary(&self) -> Option<PlannedWave> {
        let firsts = || self.devices.iter().filter_map(|(_, slots)| slots.first());
        Some(PlannedWave {
            gate: self.spec.gate.clone(),
            devices: u32::try_from(self.devices.len()).ok()?,
            begins: firsts().map(|s| s.start).min()?,
            ends: firsts().map(|s| s.end).max()?,
        })
    }
}

struct Planner<'a> {
    calendars: &'a Calendars<'a>,
    timetables: BTreeMap<WardId, Timetable>,
    begins: Timestamp,
    waves: Vec<Members<'a>>,
}

impl<'a> Planner<'a> {
    /// Fills the waves in order. A device for which the calendar has no room is blocked and the next takes its place, so
    /// that no wave, and above all no first one, is smaller than it was asked to be because of a calendar.
    fn first_slots(
        &mut self,
        eligible: &[&'a RosterDevice],
        specs: &'a [WaveSpec],
        blocked: &mut Vec<Blocked>,
    ) -> Result<(), PlanError> {
        let all = eligible.len();
        let mut waiting = eligible.iter().copied();
        let mut earliest = self.begins;
        for spec in specs {
            let size = match spec.size {
                WaveSize::Count(n) => n as usize,
                WaveSize::Percent(p) => all.saturating_mul(p as usize).div_ceil(100),
                WaveSize::Rest => usize::MAX,
            };
            let mut devices = Vec::new();
            while devices.len() < size {
                let Some(device) = waiting.next() else { break };
                match self.place(device, earliest) {
                    Some(slot) => devices.push((device, vec![slot])),
                    None => blocked.push(Blocked { id: device.id.clone(), reason: no_opening(device, earliest) }),
                }
            }
            if devices.is_empty() {
                continue;
            }
            let wave = Members { spec, devices };
            earliest = next_wave(&wave, 0).unwrap_or(earliest);
            self.waves.push(wave);
        }
        match waiting.len() {
            0 => Ok(()),
            left => Err(PlanError::LeftOver(left)),
        }
    }

    /// The device's earliest slot from an instant on.
    fn place(&mut self, device: &RosterDevice, earliest: Timestamp) -> Option<Slot> {
        let hours = self.calendars.of(device).ok()?;
        self.timetables.get_mut(&device.ward)?.place(hours, earliest)
    }

    /// One more chance, the `turn`-th counted from 0, in the same order of waves, in what room there is. A device that
    /// found no room in one turn has none in a later one either: its slots would count as an earlier turn's, and the
    /// waves before it have had that already.
    fn further_slots(&mut self, turn: usize) {
        let mut earliest = self.begins;
        let mut waves = std::mem::take(&mut self.waves);
        for wave in &mut waves {
            for (device, slots) in wave.devices.iter_mut().filter(|(_, slots)| slots.len() == turn) {
                let own = slots.last().map_or(earliest, |s| s.end.max(earliest));
                slots.extend(self.place(device, own));
            }
            earliest = next_wave(wave, turn).unwrap_or(earliest);
        }
        self.waves = waves;
    }

    /// All devices, ascending by id.
    fn devices(self) -> Vec<DeviceSlots> {
        let numbered = (0u32..).zip(self.waves);
        let mut devices: Vec<_> = numbered
            .flat_map(|(wave, members)| members.devices.into_iter().map(move |(d, slots)| (d, wave, slots)))
            .map(|(device, wave, slots)| DeviceSlots { id: device.id.clone(), wave, steps: Vec::new(), slots })
            .collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        devices
    }
}

/// The earliest instant for the wave after this one: all its slots of that turn have ended and it has soaked.
fn next_wave(wave: &Members<'_>, turn: usize) -> Option<Timestamp> {
    let end = wave.devices.iter().filter_map(|(_, slots)| slots.get(turn)).map(|s| s.end).max()?;
    end.checked_add(SignedDuration::from_secs(wave.spec.gate.soak_secs.into())).ok()
}

fn no_opening(device: &RosterDevice, earliest: Timestamp) -> Reason {
    let text = format!(
        "the calendars of ward {} have no room from {} to the plan's horizon; see `calendar preview --device {}`, or raise the horizon or the cap",
        device.ward,
        crate::clock::format_utc(earliest),
        device.id
    );
    Reason::new(Code::NoOpening, text)
}
