//! Which bundles are exposed to a vulnerability, which of a hospital's devices run those, and why they still do.
//!
//! The rules are [`suture_core::exposure`]'s; here is what they are asked of. Every answer is made from one unchanging view of
//! the database, save the hospital's decisions, which are read beside it.

pub(crate) mod index;
pub(crate) mod published;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::exposure::why::{Place, Why, why};
use suture_core::exposure::{self, Answer, Bundle, Finding, Question};
use suture_core::id::{DeviceId, HdoId, ProductId};
use suture_core::limits::{MAX_DECISIONS, MAX_ROWS_PER_CALL};
use suture_core::version::Release;

use crate::store::decisions::Decided;
use crate::store::exposure::{Exposed, FixRollout, Material};
use crate::store::{Store, StoreError, Tx};

/// Whose question, and of which product.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) product: Option<ProductId>,
}

/// The bundles, each with what it is to the question.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) material: Material,
    pub(crate) answer: Answer,
}

impl Look {
    /// Looks at all bundles.
    pub(crate) async fn take(tx: &mut Tx, asked: &Asked) -> Result<Self, StoreError> {
        let material = tx.material(&asked.question, asked.product.as_ref()).await?;
        let answer = exposure::answer(&asked.question, &material.bundles, &material.claims);
        Ok(Self { material, answer })
    }

    /// The bundles, by product and release.
    pub(crate) fn findings(&self) -> impl Iterator<Item = (&Bundle, &Finding)> {
        self.material.bundles.iter().zip(&self.answer.findings)
    }

    /// Those that are exposed.
    pub(crate) fn exposed(&self) -> impl Iterator<Item = (&Bundle, &Finding)> {
        self.findings().filter(|(_, finding)| finding.verdict.is_exposed())
    }

    /// The manifests of those that are exposed.
    pub(crate) fn exposed_manifests(&self) -> Vec<Digest> {
        self.exposed().map(|(bundle, _)| bundle.manifest).collect()
    }

    /// Whether a bundle ends it.
    pub(crate) fn is_fix(&self, bundle: &Bundle) -> bool {
        self.answer.fixes.get(&bundle.product).is_some_and(|fixes| fixes.contains(&bundle.release))
    }

    /// The manifests of those that end it.
    pub(crate) fn fix_manifests(&self) -> Vec<Digest> {
        let fixes = self.material.bundles.iter().filter(|bundle| self.is_fix(bundle));
        fixes.map(|bundle| bundle.manifest).collect()
    }
}

/// What a hospital does about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Course {
    /// Its rollouts of bundles that end it, the nearest first.
    pub(crate) rollouts: Vec<FixRollout>,
    /// Its decisions on such bundles that nothing has answered, the latest first.
    decisions: Vec<Decided>,
}

impl Course {
    /// Looks at a hospital.
    pub(crate) async fn of(
        store: &Store,
        tx: &mut Tx,
        hdo: &HdoId,
        look: &Look,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let rollouts = tx.fix_rollouts(hdo, &look.fix_manifests(), now).await?;
        let mut decisions = Vec::new();
        let mut before = i64::MAX.unsigned_abs();
        // No hospital has more of them.
        for _ in 0..=MAX_DECISIONS / u64::from(MAX_ROWS_PER_CALL) {
            if look.answer.fixes.is_empty() {
                break;
            }
            let page = store.decisions(hdo, false, before, MAX_ROWS_PER_CALL).await?;
            let Some(last) = page.last() else { break };
            before = last.number;
            let ends_it = |d: &Decided| {
                look.answer.fixes.get(&d.decision.product).is_some_and(|fixes| fixes.contains(&d.decision.release))
            };
            decisions.extend(page.into_iter().filter(ends_it));
        }
        Ok(Self { rollouts, decisions })
    }

    /// What the hospital has said last of a bundle that would end it on a device that runs this release.
    pub(crate) fn decided(&self, look: &Look, product: &ProductId, running: Release) -> Option<&Decided> {
        let ends_it = |d: &&Decided| {
            d.decision.product == *product
                && look.answer.fixes_for(product, running).any(|fix| fix == d.decision.release)
        };
        self.decisions.iter().find(ends_it)
    }

    /// Why a device that runs this exposed bundle still does.
    pub(crate) fn why(&self, look: &Look, bundle: &Bundle, place: Option<Place>) -> Why {
        let fix = look.answer.fixes_for(&bundle.product, bundle.release).next().is_some();
        let decided = self.decided(look, &bundle.product, bundle.release).map(|d| d.decision.choice);
        why(place, fix, decided)
    }
}

/// How many devices run a bundle, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) proven: u64,
    pub(crate) believed: u64,
    pub(crate) whys: BTreeMap<Why, u64>,
}

/// Counts a hospital's devices that run exposed bundles, by bundle.
pub(crate) async fn count(
    tx: &mut Tx,
    hdo: &HdoId,
    look: &Look,
    course: &Course,
) -> Result<BTreeMap<Digest, Counts>, StoreError> {
    let bundles: BTreeMap<Digest, &Bundle> = look.exposed().map(|(bundle, _)| (bundle.manifest, bundle)).collect();
    let mut counts: BTreeMap<Digest, Counts> = BTreeMap::new();
    for group in tx.exposed_groups(hdo, &look.exposed_manifests(), &course.rollouts).await? {
        let Some(bundle) = bundles.get(&group.manifest) else { continue };
        let count = counts.entry(group.manifest).or_default();
        *(if group.proven { &mut count.proven } else { &mut count.believed }) += group.devices;
        *count.whys.entry(course.why(look, bundle, group.place)).or_default() += group.devices;
    }
    Ok(counts)
}

/// A hospital's devices that run exposed bundles, at most so many from behind one on: by bundle, then by id.
#[derive(Debug, Clone)]
pub(crate) struct Page<'a> {
    pub(crate) devices: Vec<((&'a Bundle, &'a Finding), Exposed)>,
    pub(crate) more: bool,
}

impl<'a> Page<'a> {
    /// Reads it; none where the bundle that it begins in is not exposed any more.
    pub(crate) async fn read(
        tx: &mut Tx,
        hdo: &HdoId,
        look: &'a Look,
        course: &Course,
        mut from: Option<(Digest, DeviceId)>,
        limit: u32,
    ) -> Result<Option<Self>, StoreError> {
        let mut devices = Vec::new();
        for (bundle, finding) in look.exposed() {
            // What comes before the bundle that the last page ended in is behind us.
            let after = match &from {
                Some((manifest, _)) if *manifest != bundle.manifest => continue,
                Some(_) => from.take().map(|(_, id)| id),
                None => None,
            };
            let left = (limit as usize).saturating_add(1).saturating_sub(devices.len());
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let page = tx.exposed_devices(hdo, &bundle.manifest, &course.rollouts, after.as_ref(), left).await?;
            devices.extend(page.into_iter().map(|device| ((bundle, finding), device)));
            if devices.len() > limit as usize {
                break;
            }
        }
        let more = devices.len() > limit as usize;
        devices.truncate(limit as usize);
        Ok(from.is_none().then_some(Self { devices, more }))
    }
}
