//! The manufacturer's side: one product line's releases, of which some are withdrawn at some time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Step;
use suture_core::digest::Digest;
use suture_core::manifest::{Install, InstallKind, PatchClass, manifest_path};
use suture_core::plan::{Bundle, Floor};
use suture_core::report::Running;
use suture_core::select;
use suture_core::trust::{CatalogEntry, Status};
use suture_core::version::Release;

use crate::chance::Chance;

/// One version, as it is in truth.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) entry: CatalogEntry,
    pub(crate) step: Step,
    pub(crate) install: Install,
    /// Of a hundred devices that install it, so many do not prove their health.
    pub(crate) sick_percent: u32,
    /// How long a device takes to fetch it.
    pub(crate) fetch_secs: u32,
}

/// The catalog as it was signed once.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    pub(crate) version: u64,
    pub(crate) signed_at: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) entries: BTreeMap<String, (u64, Digest, CatalogEntry)>,
}

impl select::Catalog for Catalog {
    fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
        self.entries.get(path).cloned()
    }
}

/// The versions of a product line, ascending by release.
pub(crate) fn versions(chance: &mut Chance, hardware: &[&str]) -> Vec<Version> {
    (1..=u64::from(chance.between(3, 5))).map(|release| version(chance, release, hardware)).collect()
}

fn version(chance: &mut Chance, release: u64, hardware: &[&str]) -> Version {
    let product = "pump".parse().unwrap();
    // The first runs on all: it is what the devices were made with.
    let fits = |chance: &mut Chance| release == 1 || chance.percent(90);
    let mut hardware: Vec<_> = hardware.iter().filter(|_| fits(chance)).map(|h| h.parse().unwrap()).collect();
    if hardware.is_empty() {
        hardware.push("rev-a".parse().unwrap());
    }
    let before = |chance: &mut Chance, percent| {
        let back = u64::from(chance.between(1, 2));
        Release(if chance.percent(percent) { release.saturating_sub(back) } else { 0 })
    };
    let (path, sha256) = (manifest_path(&product, Release(release)), Digest::of(&release.to_be_bytes()));
    let entry = CatalogEntry {
        product: product.clone(),
        release: Release(release),
        version: format!("{release}.0.0").parse().unwrap(),
        hardware: hardware.clone(),
        min_release: before(chance, 40),
        status: Status::Current,
        floor: before(chance, 35),
    };
    let step = Step { path, length: 900, sha256, product, release: Release(release), hardware };
    let budget_secs = chance.between(60, 900);
    let revert_budget_secs = chance.between(30, 600);
    let return_to_service = false;
    let install = Install { kind: InstallKind::Slots, budget_secs, revert_budget_secs, return_to_service, data: None };
    let sick_percent = if release > 1 && chance.percent(35) { chance.pick(&[10, 40, 100]) } else { 0 };
    let most = chance.pick(&[30, 900, 900, 5_000]);
    Version { entry, step, install, sick_percent, fetch_secs: chance.between(1, most) }
}

impl Version {
    /// What a device says that runs it.
    pub(crate) fn running(&self) -> Running {
        Running { version: self.entry.version.clone(), release: self.step.release, manifest: self.step.sha256 }
    }
}

impl Catalog {
    /// The first.
    pub(crate) fn new(versions: &[Version], now: Timestamp) -> Self {
        let entry = |v: &Version| (v.step.path.clone(), (v.step.length, v.step.sha256, v.entry.clone()));
        let entries = versions.iter().map(entry).collect();
        Self { version: 0, signed_at: now, expires: now, entries }.signed(now)
    }

    /// The next.
    pub(crate) fn signed(&self, now: Timestamp) -> Self {
        let expires = now + SignedDuration::from_hours(180 * 24);
        Self { version: self.version + 1, signed_at: now, expires, entries: self.entries.clone() }
    }

    /// The next, in which a bundle is withdrawn.
    pub(crate) fn withdrawing(&self, path: &str, now: Timestamp) -> Self {
        let mut next = self.signed(now);
        if let Some((_, _, entry)) = next.entries.get_mut(path) {
            entry.status = Status::Withdrawn;
        }
        next
    }

    pub(crate) fn status(&self, path: &str) -> Option<Status> {
        self.entries.get(path).map(|(_, _, entry)| entry.status)
    }

    /// What a plan needs to know of a version.
    pub(crate) fn bundle(&self, version: &Version) -> Bundle {
        let entries = self.entries.values().map(|(_, _, entry)| entry);
        let floor = |e: &CatalogEntry| Floor { release: e.release, floor: e.floor, status: e.status };
        let mut floors: Vec<_> = entries.map(floor).collect();
        floors.sort_by_key(|f| f.release);
        Bundle {
            step: version.step.clone(),
            version: version.entry.version.clone(),
            class: PatchClass::Routine,
            min_release: version.entry.min_release,
            status: self.status(&version.step.path).unwrap_or(Status::Withdrawn),
            floors,
            budget_secs: version.install.budget_secs,
            revert_budget_secs: version.install.revert_budget_secs,
            return_to_service: false,
            installer: version.install.kind,
            data: version.install.data.clone(),
            payload_bytes: 1 << 20,
            risks: Vec::new(),
        }
    }
}
