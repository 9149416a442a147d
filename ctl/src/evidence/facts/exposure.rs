//! Which vulnerabilities are open, before and after: in each bundle that the evidence is about, and at each device by what it has
//! signed that it runs. Judged from the documents that the catalog pins, as `suturectl exposure` does.
//!
//! A vulnerability counts as ended only where the later bundle is known to be free of it: what nobody says anything of, or what has
//! no SBOM that could be read, is unclear.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::exposure::Verdict;
use suture_core::id::{ApprovalId, DeviceId, ProductId};
use suture_core::limits::{MAX_EVIDENCE_VULNERABILITIES, MAX_SHOWN_VULNERABILITIES};
use suture_core::phase::Phase;
use suture_core::version::{Release, Version};

use super::DeviceOutcome;
use crate::evidence::Evidence;
use crate::exposure::Vulnerability;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exposure {
    /// Each bundle that the evidence is about, by product and release.
    pub releases: Vec<OfRelease>,
    /// Each way that a device has taken from one of them to another.
    pub ways: Vec<Way>,
    /// Each device of a rollout.
    pub devices: Vec<Moved>,
}

/// What is open in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OfRelease {
    /// The product.
    pub product: ProductId,
    /// The release.
    pub release: Release,
    /// The version.
    pub version: Version,
    /// Whether its SBOM is here and could be read: else what it carries is not known.
    pub has_sbom: bool,
    /// Why not, or what else could not be read.
    pub problem: Option<String>,
    /// The worst first.
    pub open: Vec<Vulnerability>,
    /// How many more there are.
    pub more: usize,
}

/// From one bundle to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The product.
    pub product: ProductId,
    /// From this release.
    pub from: Release,
    /// To this one.
    pub to: Release,
    /// How many devices went it.
    pub devices: usize,
    /// Open before, and known to be closed after.
    pub ended: Vec<String>,
    /// Open before and after.
    pub still: Vec<String>,
    /// Open after, and not known before.
    pub new: Vec<String>,
    /// Open before, and nothing is known after.
    pub unclear: Vec<String>,
}

/// A device, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The rollout.
    pub rollout: ApprovalId,
    /// The device.
    pub device: DeviceId,
    /// What it ran before, by the first report on it that it signed before it was confirmed.
    pub before: Option<Ran>,
    /// What it ran by its last report on it.
    pub after: Option<Ran>,
}

/// What a device ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// The release.
    pub release: Release,
    /// By which report.
    pub report: u64,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// How many vulnerabilities are open in it; none where the folder has no such bundle.
    pub open: Option<usize>,
}

/// What is known of each vulnerability in each bundle.
type Judged = BTreeMap<Digest, BTreeMap<String, Verdict>>;

fn open(judged: &BTreeMap<String, Verdict>) -> impl Iterator<Item = &String> {
    judged.iter().filter(|(_, verdict)| verdict.is_exposed()).map(|(id, _)| id)
}

/// Draws it up.
pub(super) fn exposure(evidence: &Evidence, outcomes: &[DeviceOutcome]) -> Exposure {
    let known = &evidence.released.known;
    let mut judged = Judged::new();
    let mut releases = Vec::new();
    for bundle in evidence.released.bundles.iter().filter(|bundle| bundle.is_subject) {
        let m = &bundle.manifest;
        let by_id = known.judged(&bundle.sha256).unwrap_or_default().into_iter().map(|j| (j.id, j.verdict));
        judged.insert(bundle.sha256, by_id.collect());
        let mut open = known.all_open(&bundle.sha256).unwrap_or_default();
        let more = open.len().saturating_sub(MAX_EVIDENCE_VULNERABILITIES);
        open.truncate(MAX_EVIDENCE_VULNERABILITIES);
        releases.push(OfRelease {
            product: m.product.clone(),
            release: m.release,
            version: m.version.clone(),
            has_sbom: known.bundles.iter().any(|b| b.manifest == bundle.sha256 && b.listed),
            problem: known.problems.get(&m.path()).cloned(),
            open,
            more,
        });
    }
    let devices: Vec<Moved> = outcomes.iter().map(|outcome| moved(evidence, &judged, outcome)).collect();
    let ways = ways(evidence, &judged, &devices);
    Exposure { releases, ways, devices }
}

fn moved(evidence: &Evidence, judged: &Judged, outcome: &DeviceOutcome) -> Moved {
    let ran = |proven: &crate::evidence::reports::Proven| {
        let running = &proven.report.running;
        let open = judged.get(&running.manifest).map(|judged| open(judged).count());
        Ran { release: running.release, report: proven.report.number, manifest: running.manifest, open }
    };
    let mut reports = evidence.reports.on(&outcome.device, &outcome.rollout);
    let after = reports.next_back().map(ran);
    let before = evidence
        .reports
        .on(&outcome.device, &outcome.rollout)
        .find(|proven| proven.report.phase != Phase::Confirmed)
        .map(ran);
    Moved { rollout: outcome.rollout.clone(), device: outcome.device.clone(), before, after }
}

fn ways(evidence: &Evidence, judged: &Judged, devices: &[Moved]) -> Vec<Way> {
    let mut counts: BTreeMap<(Digest, Digest), usize> = BTreeMap::new();
    for device in devices {
        let (Some(before), Some(after)) = (&device.before, &device.after) else { continue };
        if before.manifest != after.manifest {
            *counts.entry((before.manifest, after.manifest)).or_default() += 1;
        }
    }
    let nothing = BTreeMap::new();
    let bundle = |sha256: &Digest| evidence.released.bundles.iter().find(|bundle| bundle.sha256 == *sha256);
    let mut ways: Vec<Way> = Vec::new();
    for ((from, to), devices) in counts {
        let (Some(before), Some(after)) = (bundle(&from), bundle(&to)) else { continue };
        let of = |sha256: &Digest| judged.get(sha256).unwrap_or(&nothing);
        let was: BTreeSet<&String> = open(of(&from)).collect();
        let bounded = |ids: Vec<String>| ids.into_iter().take(MAX_EVIDENCE_VULNERABILITIES).collect::<Vec<_>>();
        let those = |counts: &dyn Fn(Verdict) -> bool| {
            let verdict = |id: &&&String| counts(of(&to).get(**id).copied().unwrap_or(Verdict::Unknown));
            bounded(was.iter().filter(verdict).map(|id| (*id).clone()).collect())
        };
        ways.push(Way {
            product: after.manifest.product.clone(),
            from: before.manifest.release,
            to: after.manifest.release,
            devices,
            ended: those(&Verdict::is_free),
            still: those(&Verdict::is_exposed),
            new: bounded(open(of(&to)).filter(|id| !was.contains(id)).cloned().collect()),
            unclear: those(&|verdict| !verdict.is_free() && !verdict.is_exposed()),
        });
    }
    ways.sort_by(|a, b| (&a.product, a.from, a.to).cmp(&(&b.product, b.from, b.to)));
    ways
}

/// Ids for people: the first few, and how many more.
pub fn few(ids: &[String]) -> String {
    let shown = ids.get(..MAX_SHOWN_VULNERABILITIES).unwrap_or(ids).join(", ");
    match ids.len().checked_sub(MAX_SHOWN_VULNERABILITIES) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

pub(super) const HEADINGS: [&str; 8] = [
    "rollout",
    "device",
    "release before (signed)",
    "report",
    "open before",
    "release after (signed)",
    "report",
    "open after",
];

impl Moved {
    pub(super) fn cells(&self) -> [String; 8] {
        let release = |ran: &Option<Ran>| ran.as_ref().map(|ran| ran.release.to_string()).unwrap_or_default();
        let report = |ran: &Option<Ran>| ran.as_ref().map(|ran| ran.report.to_string()).unwrap_or_default();
        [
            self.rollout.to_string(),
            self.device.to_string(),
            release(&self.before),
            report(&self.before),
            Ran::open_text(self.before.as_ref()),
            release(&self.after),
            report(&self.after),
            Ran::open_text(self.after.as_ref()),
        ]
    }
}

impl Ran {
    /// How many are open, for people.
    pub fn open_text(ran: Option<&Self>) -> String {
        match ran {
            None => String::new(),
            Some(Self { open: Some(open), .. }) => open.to_string(),
            Some(Self { open: None, .. }) => "not known".to_owned(),
        }
    }
}
