//! What both sides have signed, in a few variants, and the real choice by it, looked up once for each question.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{DeviceSlots, Opened, Pinned, Share, Slot, Step, StopOrder, Terms, VerifiedStop, Wave};
use suture_core::digest::Digest;
use suture_core::manifest::{Install, InstallKind, manifest_path};
use suture_core::report::Running;
use suture_core::retry::Tries;
use suture_core::select::{Catalog, Choice, Facts, Selection, select};
use suture_core::trust::{CatalogEntry, Status};
use suture_core::version::Release;

use crate::choice;
use crate::machine::Event;

/// What runs at first.
pub(super) const FIRST: u64 = 2;
const RELEASES: [u64; 3] = [1, 2, 3];

/// One variant.
pub(super) struct Variant {
    approvals: Vec<Share>,
    floor: Release,
    /// Whether the approval may lead to a lower release.
    pub(super) permit: bool,
    /// In minutes: when it is open.
    pub(super) slots: Vec<(i64, i64)>,
    pub(super) return_to_service: bool,
}

/// Variant, what runs, tries used up and whether they are over, whether it is stopped, and the part of its time.
type Question = (usize, u64, u32, bool, bool, usize);

/// All variants, and what was asked of them.
pub(super) struct Signed {
    pub(super) variants: Vec<Variant>,
    catalog: Listed,
    stop: VerifiedStop,
    known: BTreeMap<Question, Selection>,
}

struct Listed(BTreeMap<String, (u64, Digest, CatalogEntry)>);

impl Catalog for Listed {
    fn entry(&self, path: &str) -> Option<(u64, Digest, CatalogEntry)> {
        self.0.get(path).cloned()
    }
}

pub(super) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_mins(minutes)
}

pub(super) fn digest(release: u64) -> Digest {
    Digest::of(&release.to_be_bytes())
}

/// The release with that manifest.
pub(super) fn release(manifest: &Digest) -> u64 {
    RELEASES.into_iter().find(|r| digest(*r) == *manifest).unwrap()
}

/// Install and way back take so many minutes together.
pub(super) const BUDGET: i64 = 10;

pub(super) fn install() -> Install {
    Install {
        kind: InstallKind::Slots,
        budget_secs: 400,
        revert_budget_secs: 200,
        return_to_service: false,
        data: None,
    }
}

fn step(release: u64) -> Step {
    let product = "pump".parse().unwrap();
    Step {
        path: manifest_path(&product, Release(release)),
        length: 900,
        sha256: digest(release),
        product,
        release: Release(release),
        hardware: vec!["rev-a".parse().unwrap()],
    }
}

fn approval(id: &str, to: u64, permit: bool, slots: &[(i64, i64)], supersedes: &[&str]) -> Share {
    let wave = Wave {
        needs_server: false,
        needs_signature: false,
        min_confirmed_percent: 100,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs: 0,
    };
    let slots: Vec<_> = slots.iter().map(|(start, end)| Slot { start: at(*start), end: at(*end) }).collect();
    let terms = Terms {
        id: id.parse().unwrap(),
        hdo: "riverside".parse().unwrap(),
        created: at(-100),
        expires: slots.last().unwrap().end,
        steps: vec![step(to)],
        supersedes: supersedes.iter().map(|id| id.parse().unwrap()).collect(),
        waves: vec![wave],
        max_attempts: 2,
        retry_wait_secs: 60,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: permit,
        operator_document: Pinned::of("operator/x.json".to_owned(), b""),
    };
    let mine = DeviceSlots { id: "pump-1".parse().unwrap(), wave: 0, steps: vec![], slots };
    Share { terms, mine: Some(mine), opened: Opened::Nothing }
}

impl Signed {
    pub(super) fn all() -> Self {
        let mut variants = Vec::new();
        // Open twice for half an hour; or at once, and not again.
        for slots in [vec![(10, 40), (100, 130)], vec![(0, 25)]] {
            for (to, permit, floor) in [(3, false, 0), (3, false, 2), (1, false, 0), (1, true, 0), (1, true, 2)] {
                for return_to_service in [false, true] {
                    let approvals = vec![approval("a1", to, permit, &slots, &[])];
                    let floor = Release(floor);
                    variants.push(Variant { approvals, floor, permit, slots: slots.clone(), return_to_service });
                }
            }
        }
        let entry = |release: u64| {
            let s = step(release);
            let entry = CatalogEntry {
                product: s.product,
                release: s.release,
                version: format!("1.{release}.0").parse().unwrap(),
                hardware: s.hardware,
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            (s.path, (s.length, s.sha256, entry))
        };
        let order = StopOrder::next("riverside".parse().unwrap(), "a1".parse().unwrap(), None, true, at(0)).unwrap();
        Self {
            variants,
            catalog: Listed(RELEASES.into_iter().map(entry).collect()),
            stop: VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap(),
            known: BTreeMap::new(),
        }
    }

    /// What is to be done, by what is signed. `bent` permits every downgrade.
    pub(super) fn look(
        &mut self,
        variant: usize,
        runs: u64,
        tries: &Tries,
        stopped: bool,
        now: i64,
        bent: bool,
    ) -> (Event, Option<Choice>) {
        let Variant { approvals, floor, slots, .. } = &self.variants[variant];
        // Of the time only matters which slots have ended.
        let part = slots.iter().filter(|(_, end)| *end <= now).count();
        let over = tries.ended.is_some();
        let facts = || Facts {
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            product: "pump".parse().unwrap(),
            hardware: "rev-a".parse().unwrap(),
            running: Some(Running {
                version: format!("1.{runs}.0").parse().unwrap(),
                release: Release(runs),
                manifest: digest(runs),
            }),
            floor: if bent { Release(0) } else { *floor },
            tries: approvals
                .iter()
                .flat_map(|a| a.terms.steps.iter().map(|s| ((a.terms.id.clone(), s.sha256), tries.clone())))
                .collect(),
        };
        let ask = || {
            let stops: &[VerifiedStop] = if stopped { std::slice::from_ref(&self.stop) } else { &[] };
            if bent {
                let mut approvals = approvals.clone();
                approvals.iter_mut().for_each(|a| a.terms.permit_downgrade = true);
                return select(&facts(), &self.catalog, &approvals, stops, at(now));
            }
            select(&facts(), &self.catalog, approvals, stops, at(now))
        };
        let question = (variant, runs, tries.spent, over, stopped, part);
        let selection = if bent { ask() } else { self.known.entry(question).or_insert_with(ask).clone() };
        match selection {
            Selection::Chosen(mut choice) => {
                choice.tries = tries.clone();
                let attempt = choice::attempt(&choice, &"pump-1".parse().unwrap(), 0);
                (Event::Chosen(attempt), Some(*choice))
            }
            Selection::Nothing { reason, approval } => {
                (Event::Nothing(choice::nothing(reason, approval, approvals, tries.spent, None)), None)
            }
        }
    }
}
