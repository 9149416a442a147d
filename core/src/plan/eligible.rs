//! Which of the selected devices a plan can name at all, and why not the others. Slots come later.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::calendars::Calendars;
use super::{Blocked, Facts, Known, Request};
use crate::approval::{Approval, RosterDevice, VerifiedStop};
use crate::id::{ApprovalId, DeviceId, WardId};
use crate::phase::{Code, Reason};
use crate::trust::Status;

/// The facts, by what they are asked for.
pub(super) struct View<'a> {
    facts: &'a Facts,
    request: &'a Request,
    roster: &'a BTreeMap<&'a DeviceId, &'a RosterDevice>,
    known: &'a BTreeMap<&'a DeviceId, &'a Known>,
    /// Approvals that are in force, ascending by id, without those that the request replaces.
    live: Vec<&'a Approval>,
    now: Timestamp,
}

/// Who is in and who is out.
pub(super) struct Sorted<'a> {
    /// Ascending by id.
    pub(super) eligible: Vec<&'a RosterDevice>,
    /// In no order.
    pub(super) blocked: Vec<Blocked>,
    /// Approvals that are replaced, those asked for included.
    pub(super) supersedes: BTreeSet<ApprovalId>,
    /// Approvals that stay in force beside the plan.
    pub(super) beside: Vec<&'a Approval>,
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
        let mut live: Vec<_> = facts
            .approvals
            .iter()
            .filter(|a| !replaced.contains(&a.terms.id) && !stopped(&a.terms.id) && now < a.terms.expires)
            .collect();
        live.sort_by(|a, b| a.terms.id.cmp(&b.terms.id));
        Self { facts, request, roster, known, live, now }
    }

    /// The selected devices that are on a roster.
    pub(super) fn on_roster(&self) -> impl Iterator<Item = &'a RosterDevice> {
        self.selected().into_iter().filter_map(|id| self.roster.get(id).copied())
    }

    /// Sorts the selected devices.
    pub(super) fn sort(&self, calendars: &Calendars<'_>) -> Sorted<'a> {
        let mut blocked = Vec::new();
        let mut fitting = Vec::new();
        for id in self.selected() {
            match self.fits(id).and_then(|device| calendars.of(device).map(|_| device)) {
                Ok(device) => fitting.push(device),
                Err(reason) => blocked.push(Blocked { id: id.clone(), reason }),
            }
        }
        let fits: BTreeSet<_> = fitting.iter().map(|d| &d.id).collect();
        // An approval that has nothing left to do beside this plan is replaced by it, so that no device ever finds two.
        let (spent, beside): (Vec<_>, Vec<_>) = self.live.iter().copied().partition(|a| {
            a.devices.iter().all(|d| fits.contains(&d.id) || !self.open(a, &d.id))
                && a.devices.iter().any(|d| fits.contains(&d.id))
        });
        let mut eligible = Vec::new();
        for device in fitting {
            match beside.iter().find(|a| self.open(a, &device.id)) {
                None => eligible.push(device),
                Some(other) => {
                    let text = format!(
                        "approval {} still holds for it and for devices outside this plan; add --supersedes {}, or wait",
                        other.terms.id, other.terms.id
                    );
                    blocked
                        .push(Blocked { id: device.id.clone(), reason: Reason::new(Code::ConflictingApprovals, text) });
                }
            }
        }
        let supersedes = self.request.supersedes.iter().chain(spent.iter().map(|a| &a.terms.id)).cloned().collect();
        Sorted { eligible, blocked, supersedes, beside }
    }

    /// Ids that the selector names, known to the roster or to the server or not.
    fn selected(&self) -> BTreeSet<&'a DeviceId> {
        let selector = &self.request.selector;
        let product = &self.facts.bundle.step.product;
        let only_named = !selector.devices.is_empty() && selector.wards.is_empty() && selector.labels.is_empty();
        let in_ward = |ward: &WardId| !only_named && (selector.wards.is_empty() || selector.wards.contains(ward));
        // One of which nothing at all is known is not selected by what it runs; one of which that alone is not known is
        // blocked, and so stands in the plan and what the plan was computed from.
        let runs = |id: &DeviceId| match (selector.running, self.known.get(id)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(range), Some(known)) => known.running.as_ref().is_none_or(|r| range.contains(r.release)),
        };
        let on_roster = self
            .roster
            .values()
            .filter(|d| d.product == *product && in_ward(&d.ward) && selector.labels.matches(&d.labels) && runs(&d.id));
        let on_roster = on_roster.map(|d| &d.id);
        // What is on no roster has no labels that anybody has signed.
        let known = self.known.values().filter(|k| {
            !self.roster.contains_key(&k.id)
                && k.product.as_ref() == Some(product)
                && k.ward.as_ref().is_some_and(in_ward)
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
        let name = format!("{} {}", bundle.step.product, bundle.version);
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
            if to >= from && from < bundle.min_release {
                let least = bundle.min_release;
                let text = format!(
                    "{says} that it runs release {from}, {name} starts from {least} or later; approve that first"
                );
                return no(Code::TooOldToStart, text);
            }
        }
        Ok(device)
    }
}
