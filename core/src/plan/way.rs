//! The way from what a device runs to what is planned: through which releases, where the manufacturer lets it not be one step.
//!
//! An edge leads from a release to a later one where the later one's manifest takes the earlier as a start, names no risk for
//! it on that hardware, runs on that hardware, and does not lie below the security floor that the earlier has brought. The
//! way is the one of fewest steps; of several such, the one over the highest releases, step by step. Back down leads one
//! step or none: who permits a downgrade has looked at where it leads from.

use std::collections::BTreeMap;

use super::{Bundle, Facts};
use crate::id::HardwareId;
use crate::limits::MAX_STEPS;
use crate::phase::{Code, Reason};
use crate::trust::Status;
use crate::version::Release;

/// The releases that ways can lead over, and what is left of each on each hardware.
#[derive(Debug)]
pub(super) struct Roads<'a> {
    target: &'a Bundle,
    /// Ascending by release, the target last.
    releases: Vec<&'a Bundle>,
    /// By hardware, for each of `releases` the next on its way and how many steps are left; none where it leads nowhere.
    onward: BTreeMap<HardwareId, Vec<Option<Onward>>>,
}

/// What follows on a release.
#[derive(Debug, Clone, Copy)]
struct Onward {
    /// The place of the next release; none at the target.
    next: Option<usize>,
    /// Steps that are left.
    steps: usize,
}

impl<'a> Roads<'a> {
    /// Over what the facts list and the manufacturer has not withdrawn.
    pub(super) fn new(facts: &'a Facts) -> Self {
        let target = &facts.bundle;
        let open = |b: &&Bundle| {
            b.step.product == target.step.product
                && b.step.release < target.step.release
                && b.status != Status::Withdrawn
        };
        let mut releases: Vec<&Bundle> = facts.releases.iter().filter(open).collect();
        releases.sort_by_key(|b| b.step.release);
        releases.dedup_by_key(|b| b.step.release);
        releases.push(target);
        Self { target, releases, onward: BTreeMap::new() }
    }

    /// The way up from a release, the target last; or why there is none.
    pub(super) fn up(&mut self, from: Release, hardware: &HardwareId) -> Result<Vec<&'a Bundle>, Reason> {
        if !self.onward.contains_key(hardware) {
            let onward = self.onward(hardware);
            self.onward.insert(hardware.clone(), onward);
        }
        let onward = self.onward.get(hardware).map(Vec::as_slice).unwrap_or_default();
        let mut way = Vec::new();
        let mut at = self.best(onward, from, hardware).map(|(next, _)| next);
        while let Some(place) = at {
            way.extend(self.releases.get(place));
            at = onward.get(place).copied().flatten().and_then(|o| o.next);
        }
        match way.len() {
            0 => Err(self.none(from, hardware)),
            steps if steps > MAX_STEPS => {
                let text = format!("the way from release {from} takes {steps} steps, an approval has {MAX_STEPS}");
                Err(Reason::new(Code::TooOldToStart, text))
            }
            _ => Ok(way),
        }
    }

    /// What is left from each release on, from the target down.
    fn onward(&self, hardware: &HardwareId) -> Vec<Option<Onward>> {
        let mut onward = vec![None; self.releases.len()];
        for place in (0..self.releases.len()).rev() {
            let Some(bundle) = self.releases.get(place) else { continue };
            let here = if bundle.step.release == self.target.step.release {
                Some(Onward { next: None, steps: 0 })
            } else {
                self.best(&onward, bundle.step.release, hardware)
                    .map(|(next, steps)| Onward { next: Some(next), steps })
            };
            if let Some(slot) = onward.get_mut(place) {
                *slot = here;
            }
        }
        onward
    }

    /// The best next release from one, and how many steps there are with it.
    fn best(&self, onward: &[Option<Onward>], from: Release, hardware: &HardwareId) -> Option<(usize, usize)> {
        let reached = self.releases.iter().zip(onward).enumerate();
        let open = reached.filter_map(|(place, (bundle, onward))| {
            let steps = (*onward)?.steps.saturating_add(1);
            self.leads(from, bundle, hardware).then_some((place, steps))
        });
        // Of equally many steps the highest release: what it mends is mended first.
        open.min_by_key(|(place, steps)| (*steps, std::cmp::Reverse(*place)))
    }

    /// Whether one step leads from a release to a later one.
    fn leads(&self, from: Release, to: &Bundle, hardware: &HardwareId) -> bool {
        from < to.step.release
            && to.min_release <= from
            && to.step.hardware.contains(hardware)
            && self.target.floor_after(from) <= to.step.release
            && to.risk(from, hardware).is_none()
    }

    /// Why no way leads from a release to the target.
    fn none(&self, from: Release, hardware: &HardwareId) -> Reason {
        let (name, least) = (self.target.name(), self.target.min_release);
        let near: Vec<String> = self
            .releases
            .iter()
            .filter(|b| self.leads(from, b, hardware))
            .map(|b| b.step.release.to_string())
            .take(8)
            .collect();
        let around = match near.as_slice() {
            [] => {
                "no other release that the manufacturer lists and has not withdrawn can be installed on it".to_owned()
            }
            near => format!("release {} could be installed on it, and none of them leads on to it", near.join(", ")),
        };
        match self.target.risk(from, hardware) {
            Some(risk) if least <= from => {
                let text = format!("it runs release {from}: {risk}; no way leads around that: {around}");
                Reason::new(Code::KnownRisk, text)
            }
            _ => {
                let text = format!("it runs release {from}, {name} starts from {least} or later, and {around}");
                Reason::new(Code::TooOldToStart, text)
            }
        }
    }
}
