//! The whole of a folder, verified.

use std::collections::BTreeMap;

use suture_core::decision::VerifiedDecision;
use suture_core::id::ApprovalId;
use suture_core::risk::Assessment;

use super::approval::{self, Approved, Rosters};
use super::audit::Record;
use super::bundles::Released;
use super::folder::{self, Reading};
use super::index::{self, About};
use super::kind::Kind;
use super::letters::Letters;
use super::partners::Partners;
use super::reports::Reports;
use super::repository::{self, Repository};
use super::served::Served;
use super::words::{self, Pair, Said};
use super::{Files, decisions, seal};
use crate::failure::{Failure, Outcome};
use crate::trust_store::Which;

/// All that a folder proves, and what the server says beside it.
#[derive(Debug)]
pub struct Evidence {
    /// What it is about.
    pub about: About,
    /// The manufacturer's catalog.
    pub catalog: Repository,
    /// The hospital's approvals, in a hospital's evidence.
    pub approvals: Option<Repository>,
    /// What the manufacturer released, and says of it.
    pub released: Released,
    /// Approvals by id.
    pub approved: BTreeMap<ApprovalId, Approved>,
    /// What signed rosters say of devices.
    pub rosters: Rosters,
    /// The devices' own reports.
    pub reports: Reports,
    /// Decisions, signed, by number.
    pub decisions: BTreeMap<u64, VerifiedDecision>,
    /// What both sides have written to one another.
    pub letters: Letters,
    /// The hospital's register of risk, in a hospital's evidence.
    pub risks: Vec<Said<Assessment>>,
    /// Who does what, as it was proposed and agreed.
    pub agreements: Vec<Pair>,
    /// The hospitals' roots, in a manufacturer's evidence.
    pub partners: Partners,
    /// The audit record, as far as it is here.
    pub record: Option<Record>,
    /// What the server says.
    pub served: Served,
}

impl Evidence {
    /// Verifies every file that is not drawn from others.
    ///
    /// # Errors
    ///
    /// One does not verify, or has no place here; it is named.
    pub fn read(about: &About, files: &Files) -> Outcome<Self> {
        folder::bounded(files)?;
        let reading = Reading::of(files);
        let missing = |which: Which| Failure::untrusted(format!("{}: it has no root", repository::directory(which)));
        let catalog = Repository::read(&reading, Which::Catalog, about.made)?.ok_or_else(|| missing(Which::Catalog))?;
        let approvals = Repository::read(&reading, Which::Approvals, about.made)?;
        let mut approved = BTreeMap::new();
        let mut rosters = Rosters::default();
        let mut reports = Reports::default();
        let served = Served::read(&reading)?;
        let record = Record::read(&reading)?;
        let mut decisions = BTreeMap::new();
        let mut risks = Vec::new();
        let mut partners = Partners::default();
        let letters = match (&about.hdo, &approvals) {
            (Some(hdo), Some(approvals)) => {
                approved = approval::read(&reading, approvals, hdo)?;
                rosters = Rosters::read(&reading, approvals, hdo, approved.values())?;
                reports = Reports::read(&reading, hdo, &rosters)?;
                decisions = decisions::read(&reading, approvals, hdo, &served)?;
                risks = words::risks(&reading, hdo, approvals)?;
                Letters::read(&reading, hdo, &catalog, approvals)?
            }
            (Some(_), None) => return Err(missing(Which::Approvals)),
            (None, _) => {
                partners = Partners::read(&reading)?;
                Letters::of_manufacturer(&reading, &catalog, &partners)?
            }
        };
        let own = about.hdo.as_ref().zip(approvals.as_ref());
        let agreements = words::agreements(&reading, &catalog, own, &partners)?;
        let released = Released::read(&reading, about, &catalog, &approved, &reports)?;
        let is_apart = |path: &str| path == index::PATH || path == seal::PATH;
        let needs = |path: &str| !is_apart(path) && Kind::of(path).is_none_or(|kind| !kind.is_drawn());
        if let Some(stray) = reading.left(needs) {
            return Err(Failure::untrusted(format!("{stray}: nothing that is signed names it")));
        }
        let about = about.clone();
        Ok(Self {
            about,
            catalog,
            approvals,
            released,
            approved,
            rosters,
            reports,
            decisions,
            letters,
            risks,
            agreements,
            partners,
            record,
            served,
        })
    }
}
