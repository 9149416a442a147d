//! The computation: devices into waves, waves into slots.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::back;
use super::calendars::Calendars;
use super::eligible::{Candidate, Sorted, View};
use super::fill::Planner;
use super::taken::Taken;
use super::touched::Touched;
use super::{Bundle, Facts, Known, Plan, Request, room};
use crate::approval::{Pinned, SignedDocument};
use crate::clock::whole_second;
use crate::id::{ApprovalId, DeviceId};
use crate::limits::{MAX_APPROVAL_DEVICES, MAX_APPROVAL_SLOTS};
use crate::version::Release;

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
        "{devices} devices would have {slots} slots, more than the {MAX_APPROVAL_SLOTS} of an approval; plan with fewer slots, or ward by ward"
    )]
    TooManySlots {
        /// Devices that could be planned.
        devices: usize,
        /// What they would have together.
        slots: usize,
    },
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
    let Touched { roster, known } = Touched::new(facts, request, inventory)?;
    let begins = request.not_before.max(now);
    let until = request.until(begins);
    let view = View::new(facts, request, &roster, &known, now);
    let selected = view.selected();
    if selected.is_empty() {
        return Err(PlanError::NoDevice(facts.bundle.step.product.to_string()));
    }
    if selected.len() > MAX_APPROVAL_DEVICES {
        return Err(PlanError::TooMany(selected.len()));
    }
    let on_roster = selected.iter().filter_map(|id| roster.get(id).copied());
    let calendars = Calendars::new(facts, on_roster, begins, until);
    // Devices on whose word it hung, in any round: without it each round would come out otherwise when it is computed again.
    let mut asked = BTreeSet::new();
    let mut unplaced = BTreeMap::new();
    // Whether an approval has anything left to do beside the plan shows only with the slots. A device that finds none and has
    // some by such an approval keeps it: then the plan is made without that device, and without what else the approval holds.
    let (sorted, reuses_until, settled, mut planner) = loop {
        let mut sorted = view.sort(&selected, &calendars, &unplaced);
        asked.extend(sorted.done.iter().copied());
        let eligible = std::mem::take(&mut sorted.eligible);
        let turns = |c: &Candidate<'_>| Planner::turns(request, c.way.len()).saturating_mul(c.way.len());
        let slots = eligible.iter().map(turns).fold(0, usize::saturating_add);
        if slots > MAX_APPROVAL_SLOTS {
            return Err(PlanError::TooManySlots { devices: eligible.len(), slots });
        }
        let need = sorted.steps.iter().map(|b| b.need()).max().unwrap_or(SignedDuration::ZERO);
        let length = need.saturating_add(room(request, &sorted.steps));
        let mut taken = Taken::new(eligible.iter().map(|c| &c.device.ward), &roster);
        taken.count(&sorted.beside, now);
        let reuses_until = taken.count_replaced(&sorted.replaced, (facts, request, &known), now);
        let settled = taken.settled();
        asked.extend(settled.iter().copied());
        let mut planner = Planner::new(request, &calendars, taken.timetables(request.cap, length), (begins, until));
        let mut lost = Vec::new();
        planner.first_turn(eligible, &mut lost)?;
        let more = view.left_with_nothing(&sorted.spent, &lost);
        if more.is_empty() {
            sorted.blocked.extend(view.what_they_lose(lost));
            break (sorted, reuses_until, settled, planner);
        }
        unplaced.extend(more);
    };
    let Sorted { mut blocked, steps, supersedes, .. } = sorted;
    (1..request.slots_per_device as usize).for_each(|turn| planner.further_turn(turn));

    blocked.sort_by(|a, b| a.id.cmp(&b.id));
    let mut rosters: Vec<Pinned> = facts.rosters.iter().map(|(pinned, _)| pinned.clone()).collect();
    rosters.sort_by(|a, b| a.path.cmp(&b.path));
    let wards = calendars.planned(planner.members().map(|c| c.device));
    let waves = planner.waves();
    let mut no_way_back: Vec<_> = planner
        .members()
        .filter_map(|c| back::lost(&facts.bundle, c.device, known.get(&c.device.id).copied()))
        .collect();
    no_way_back.sort_by(|a, b| a.id.cmp(&b.id));
    // What nobody is left for, because no slot was found, is not installed either.
    let taken: BTreeSet<Release> = planner.members().flat_map(|c| &c.way).map(|b| b.step.release).collect();
    let way: Vec<Bundle> = steps
        .into_iter()
        .filter(|b| b.step.release < facts.bundle.step.release && taken.contains(&b.step.release))
        .cloned()
        .collect();
    let releases: Vec<Release> = way.iter().map(|b| b.step.release).chain([facts.bundle.step.release]).collect();
    let devices = planner.devices(&releases);
    let ends = || devices.iter().filter_map(|d| d.slots.last()).map(|s| s.end).max();
    let mut plan = Plan {
        kind: Plan::TYPE.to_owned(),
        format: 1,
        hdo: facts.hdo.clone(),
        created: now,
        request: request.clone(),
        bundle: facts.bundle.clone(),
        way,
        rosters,
        wards,
        inventory: selected
            .iter()
            .chain(&asked)
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|id| known.get(id))
            .map(|k| (*k).clone())
            .collect(),
        settled: settled.into_iter().cloned().collect(),
        reuses_until,
        supersedes,
        expected_finish: waves.iter().map(|w| w.ends).max().unwrap_or(now),
        waves,
        blocked,
        no_way_back,
        expires: ends().unwrap_or(now),
        devices,
    };
    // No device that keeps to the manufacturer's budgets is taken for one that failed.
    let budgets = u32::try_from(plan.need().as_secs()).unwrap_or(u32::MAX);
    plan.request.attempt_timeout_secs = plan.request.attempt_timeout_secs.max(budgets);
    Ok(plan)
}
