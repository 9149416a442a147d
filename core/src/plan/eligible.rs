//! Which of the selected devices a plan can name at all and by which steps, and why not the others. Slots come later.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::calendars::Calendars;
use super::touched::{asks, has};
use super::way::Roads;
use super::{Blocked, Bundle, Facts, Known, Request};
use crate::approval::{Approval, RosterDevice, VerifiedStop};
use crate::id::{ApprovalId, DeviceId};
use crate::limits::MAX_STEPS;
use crate::phase::{Code, Reason};
use crate::trust::Status;
use crate::version::Release;

/// The facts, by what they are asked for.
pub(super) struct View<'a> {
    facts: &'a Facts,
    request: &'a Request,
    roster: &'a BTreeMap<&'a DeviceId, &'a RosterDevice>,
    known: &'a BTreeMap<&'a DeviceId, &'a Known>,
    /// Approvals that are in force, without those that the request replaces. These and the others are ascending by id.
    live: Vec<&'a Approval>,
    /// Approvals that a stop order holds and nothing has replaced: a lift would bring them back, slots and all.
    held: Vec<&'a Approval>,
    /// Approvals that another, or the request, replaces, and that have not ended: a device that is kept from hearing of it
    /// goes on by them.
    replaced: Vec<&'a Approval>,
    now: Timestamp,
}

/// A device that a plan can name.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    /// The device.
    pub(super) device: &'a RosterDevice,
    /// What it installs, one after another, the plan's bundle last.
    pub(super) way: Vec<&'a Bundle>,
}

/// Who is in and who is out.
pub(super) struct Sorted<'a> {
    /// Ascending by id.
    pub(super) eligible: Vec<Candidate<'a>>,
    /// In no order.
    pub(super) blocked: Vec<Blocked>,
    /// What they install together, ascending by release.
    pub(super) steps: Vec<&'a Bundle>,
    /// Approvals that are replaced, those asked for included.
    pub(super) supersedes: BTreeSet<ApprovalId>,
    /// Those of them that nobody asked for: all that they have left to do is in `eligible`.
    pub(super) spent: Vec<&'a Approval>,
    /// Approvals that stay in force beside the plan, and those that a lift would bring back into force: their slots count.
    pub(super) beside: Vec<&'a Approval>,
    /// Approvals that have not ended and that this or another one replaces, those that nobody asked for last.
    pub(super) replaced: Vec<&'a Approval>,
    /// Devices with slots left by approvals that were taken for spent, at last or on the way there: what is left of them
    /// hung on what these devices run.
    pub(super) done: BTreeSet<&'a DeviceId>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        request: &'a Request,
        roster: &'a BTreeMap<&'a DeviceId, &'a RosterDevice>,
        known: &'a BTreeMap<&'a DeviceId, &'a Known>,
        now: Timestamp,
    ) -> Self {
        let replaced: BTreeSet<_> =
            facts.approvals.iter().flat_map(|a| &a.terms.supersedes).chain(&request.supersedes).collect();
        let stopped = |id: &ApprovalId| VerifiedStop::stops(&facts.stops, id);
        let mut lasting: Vec<_> = facts.approvals.iter().filter(|a| now < a.terms.expires).collect();
        lasting.sort_by(|a, b| a.terms.id.cmp(&b.terms.id));
        let (gone, listed): (Vec<_>, Vec<_>) = lasting.into_iter().partition(|a| replaced.contains(&a.terms.id));
        let (held, live): (Vec<_>, Vec<_>) = listed.into_iter().partition(|a| stopped(&a.terms.id));
        Self { facts, request, roster, known, live, held, replaced: gone, now }
    }

    /// Sorts the selected devices. For those of `unplaced` there is no slot.
    pub(super) fn sort(
        &self,
        selected: &BTreeSet<&'a DeviceId>,
        calendars: &Calendars<'_>,
        unplaced: &BTreeMap<DeviceId, Reason>,
    ) -> Sorted<'a> {
        let mut roads = Roads::new(self.facts);
        let mut blocked = Vec::new();
        let mut fitting = Vec::new();
        for id in selected {
            if let Some(reason) = unplaced.get(*id) {
                blocked.push(Blocked { id: (*id).clone(), reason: reason.clone() });
                continue;
            }
            let open = |device: &'a RosterDevice| calendars.of(device).map(|_| device);
            let way = |device| self.way(device, &mut roads).map(|way| Candidate { device, way });
            match self.fits(id).and_then(open).and_then(way) {
                Ok(candidate) => fitting.push(candidate),
                Err(reason) => blocked.push(Blocked { id: (*id).clone(), reason }),
            }
        }
        let steps = together(&mut fitting, &mut blocked);
        let mut fits: BTreeSet<_> = fitting.iter().map(|c| &c.device.id).collect();
        let mut kept: BTreeMap<&DeviceId, &ApprovalId> = BTreeMap::new();
        let mut done = BTreeSet::new();
        // An approval that has nothing left to do beside this plan is replaced by it, so that no device ever finds two. One that
        // has is not, and what it leads on is not in the plan; so another may have something left.
        let (spent, beside) = loop {
            let (spent, beside): (Vec<_>, Vec<_>) = self.live.iter().copied().partition(|a| {
                a.devices.iter().all(|d| fits.contains(&d.id) || !self.open(a, &d.id))
                    && a.devices.iter().any(|d| fits.contains(&d.id))
            });
            let named = spent.iter().flat_map(|a| &a.devices).filter(|d| d.slots.iter().any(|s| self.now < s.end));
            done.extend(named.map(|d| &d.id));
            let before = fits.len();
            for (approval, id) in beside.iter().flat_map(|a| a.devices.iter().map(move |d| (a, &d.id))) {
                if fits.contains(id) && self.open(approval, id) {
                    fits.remove(id);
                    kept.insert(id, &approval.terms.id);
                }
            }
            if fits.len() == before {
                break (spent, beside);
            }
        };
        let mut eligible = Vec::new();
        for candidate in fitting {
            match kept.get(&candidate.device.id) {
                None => eligible.push(candidate),
                Some(other) => {
                    let text = format!(
                        "approval {other} still holds for it and for devices outside this plan; add --supersedes {other}, or wait"
                    );
                    let reason = Reason::new(Code::ConflictingApprovals, text);
                    blocked.push(Blocked { id: candidate.device.id.clone(), reason });
                }
            }
        }
        let supersedes = self.request.supersedes.iter().chain(spent.iter().map(|a| &a.terms.id)).cloned().collect();
        let beside = beside.into_iter().chain(self.held.iter().copied()).collect();
        let replaced = self.replaced.iter().copied().chain(spent.iter().copied()).collect();
        Sorted { eligible, blocked, steps, supersedes, spent, beside, replaced, done }
    }

    /// Those for which there was no slot, and which would still act on an approval that gives way to the plan unasked: it
    /// stays, for they would be left with nothing.
    pub(super) fn left_with_nothing(&self, spent: &[&Approval], lost: &[Blocked]) -> BTreeMap<DeviceId, Reason> {
        let left = |b: &Blocked| {
            let approval = spent.iter().find(|a| self.open(a, &b.id))?;
            let text = format!("{}; approval {}, by which it has slots, stays", b.reason.text, approval.terms.id);
            Some((b.id.clone(), Reason::new(b.reason.code, text)))
        };
        lost.iter().filter_map(left).collect()
    }

    /// Those for which there was no slot, with what they lose besides by what was asked for.
    pub(super) fn what_they_lose(&self, lost: Vec<Blocked>) -> impl Iterator<Item = Blocked> {
        let asked = |a: &&&Approval| self.request.supersedes.contains(&a.terms.id);
        lost.into_iter().map(move |Blocked { id, reason }| {
            let Some(approval) = self.replaced.iter().filter(asked).find(|a| self.open(a, &id)) else {
                return Blocked { id, reason };
            };
            let text = format!(
                "{}; approval {}, by which it has slots, is replaced all the same",
                reason.text, approval.terms.id
            );
            Blocked { id, reason: Reason::new(reason.code, text) }
        })
    }

    /// Ids that the selector names, known to the roster or to the server or not.
    pub(super) fn selected(&self) -> BTreeSet<&'a DeviceId> {
        let selector = &self.request.selector;
        let product = &self.facts.bundle.step.product;
        // One of which nothing at all is known is not selected by what it runs; one of which that alone is not known is
        // blocked, and so stands in the plan and what the plan was computed from.
        let runs = |id: &DeviceId| match (selector.running, self.known.get(id)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(range), Some(known)) => known.running.as_ref().is_none_or(|r| range.contains(r.release)),
        };
        let on_roster = self.roster.values().filter(|d| {
            d.product == *product && asks(self.request, &d.ward) && has(self.request, &d.labels) && runs(&d.id)
        });
        let on_roster = on_roster.map(|d| &d.id);
        // What is on no roster has no labels that anybody has signed.
        let known = self.known.values().filter(|k| {
            !self.roster.contains_key(&k.id)
                && k.product.as_ref() == Some(product)
                && k.ward.as_ref().is_some_and(|ward| asks(self.request, ward))
                && selector.labels.is_empty()
                && runs(&k.id)
        });
        on_roster.chain(known.map(|k| &k.id)).chain(&selector.devices).collect()
    }

    /// Whether the device would still act on that approval: it names it, has a slot left, and what it leads to does not
    /// run. What runs is the server's word at worst, and then a lie only keeps the device out.
    fn open(&self, approval: &Approval, id: &DeviceId) -> bool {
        let running = self.known.get(id).and_then(|k| k.running.as_ref()).map(|r| r.manifest);
        let done = running.is_some() && running == approval.terms.steps.last().map(|s| s.sha256);
        !done && approval.device(id).is_some_and(|d| d.slots.iter().any(|s| self.now < s.end))
    }

    /// The device, or the first reason against it, in the order in which the device itself would find it.
    fn fits(&self, id: &DeviceId) -> Result<&'a RosterDevice, Reason> {
        let no = |code, text: String| Err(Reason::new(code, text));
        let bundle = &self.facts.bundle;
        let name = bundle.name();
        let Some(device) = self.roster.get(id).copied() else {
            return no(Code::Pending, format!("it is on no signed roster; enrol it, then `device confirm {id}`"));
        };
        if bundle.status == Status::Withdrawn {
            return no(Code::Withdrawn, format!("the manufacturer has withdrawn {name}"));
        }
        if device.product != bundle.step.product {
            return no(Code::WrongProduct, format!("{name} is not for it, a {}", device.product));
        }
        if !bundle.step.hardware.contains(&device.hardware) {
            return no(Code::WrongHardware, format!("{name} is not for hardware {}", device.hardware));
        }
        let known = self.known.get(id);
        if let Some(asked) = self.request.selector.running {
            match known.and_then(|k| k.running.as_ref()).map(|r| r.release) {
                Some(release) if asked.contains(release) => {}
                Some(release) => {
                    let text = format!("it runs release {release}, and those that run {asked} are asked for");
                    return no(Code::OtherRelease, text);
                }
                None => {
                    let text = format!(
                        "it is not known what it runs, and those that run {asked} are asked for; plan it by --device"
                    );
                    return no(Code::RunningUnknown, text);
                }
            }
        }
        if let Some(running) = known.and_then(|k| k.running.as_ref()) {
            let says = if known.is_some_and(|k| k.proven) { "its signed report says" } else { "the server says" };
            if running.manifest == bundle.step.sha256 {
                return no(Code::UpToDate, format!("{says} that it runs {name} already"));
            }
            let (from, to) = (running.release, bundle.step.release);
            let floor = bundle.floor_after(from);
            if to < floor {
                return no(Code::BelowFloor, format!("{name} is below its security floor, release {floor}"));
            }
            if to < from && !self.request.permit_downgrade {
                let text = format!(
                    "{says} that it runs release {from}, {name} is release {to}; a way back is `rollout rollback`"
                );
                return no(Code::Downgrade, text);
            }
        }
        Ok(device)
    }

    /// What the device installs, one after another: from what it runs up to the bundle. One of which it is not known what it
    /// runs takes the bundle alone, and refuses it by itself where that cannot be.
    fn way(&self, device: &RosterDevice, roads: &mut Roads<'a>) -> Result<Vec<&'a Bundle>, Reason> {
        let known = self.known.get(&device.id);
        let way = self.road(device, roads)?;
        // Never proven: no report says it.
        let refusal = known.and_then(|k| k.installs).and_then(|installs| installs.refusal(&way, "the server says"));
        refusal.map_or(Ok(way), Err)
    }

    /// The same, by what the manufacturer lets follow what.
    fn road(&self, device: &RosterDevice, roads: &mut Roads<'a>) -> Result<Vec<&'a Bundle>, Reason> {
        let bundle = &self.facts.bundle;
        let known = self.known.get(&device.id);
        let Some(from) = known.and_then(|k| k.running.as_ref()).map(|r| r.release) else { return Ok(vec![bundle]) };
        let says = if known.is_some_and(|k| k.proven) { "its signed report says" } else { "the server says" };
        let said = |reason: Reason| Reason::new(reason.code, format!("{says} that {}", reason.text));
        if from < bundle.step.release {
            return roads.up(from, &device.hardware).map_err(said);
        }
        match bundle.risk(from, &device.hardware) {
            Some(risk) => Err(said(Reason::new(Code::KnownRisk, format!("it runs release {from}: {risk}")))),
            None => Ok(vec![bundle]),
        }
    }
}

/// What all of them install together, as far as one approval has steps for it; who would need more is left out. Short ways
/// come first, so that those who need none of the releases between are never the ones to go.
fn together<'a>(fitting: &mut Vec<Candidate<'a>>, blocked: &mut Vec<Blocked>) -> Vec<&'a Bundle> {
    let releases = |way: &[&Bundle]| way.iter().map(|b| b.step.release).collect::<Vec<Release>>();
    let ways: BTreeSet<(usize, Vec<Release>)> = fitting.iter().map(|c| (c.way.len(), releases(&c.way))).collect();
    let mut steps: BTreeSet<Release> = BTreeSet::new();
    for (_, way) in &ways {
        let more = way.iter().filter(|release| !steps.contains(release)).count();
        if steps.len().saturating_add(more) <= MAX_STEPS {
            steps.extend(way);
        }
    }
    let mut bundles = BTreeMap::new();
    fitting.retain(|candidate| {
        let fits = candidate.way.iter().all(|b| steps.contains(&b.step.release));
        if fits {
            bundles.extend(candidate.way.iter().map(|b| (b.step.release, *b)));
        } else {
            let text = format!(
                "its way leads over releases for which one approval has no steps left beside the others'; plan it by itself: --device {}",
                candidate.device.id
            );
            blocked.push(Blocked { id: candidate.device.id.clone(), reason: Reason::new(Code::TooManySteps, text) });
        }
        fits
    });
    bundles.into_values().collect()
}
