//! An approval with all that belongs to it: who signed, its slots, gates, documents, rosters, and the order that stopped it.

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::approval::path::{self, Listed};
use suture_core::approval::{
    Approval, GateNote, Gates, Head, Meaning, OperatorDocument, Pinned, Register, Roster, RosterDevice, SignedDocument,
    VerifiedStatement, VerifiedStop,
};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId, OperatorName};
use suture_core::sign::PublicKey;

use super::folder::Reading;
use super::index;
use super::kind::{self, Kind};
use super::repository::Repository;
use crate::failure::{Failure, Outcome};

/// An approval as it was signed.
#[derive(Debug)]
pub struct Approved {
    /// Terms, waves, each device's slots.
    pub approval: Approval,
    /// SHA-256 of its head.
    pub head_sha256: Digest,
    /// The newest version of the targets metadata that lists it.
    pub listed_in: u64,
    /// Whether that is the one in force.
    pub in_force: bool,
    /// Names, reason, ticket.
    pub words: OperatorDocument,
    /// Who signed, by the signers' own signed words, ascending by time.
    pub signers: Vec<Signer>,
    /// The waves that were opened by signature.
    pub gates: Option<Gates>,
    /// Who opened them and why, by wave.
    pub notes: BTreeMap<u32, GateNote>,
    /// The newest order on it.
    pub stop: Option<VerifiedStop>,
    /// Whether the plan that was approved is in the folder.
    pub has_plan: bool,
}

/// One signer of an approval (21 CFR 11.50).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// Who.
    pub name: OperatorName,
    /// As what.
    pub role: String,
    /// What the signature means.
    pub meaning: Meaning,
    /// Why.
    pub reason: String,
    /// When, by the signer's clock.
    pub signed_at: String,
    /// By which key.
    pub key: PublicKey,
    /// Whether it is about the approval as it is listed.
    pub about_what_is_listed: bool,
}

/// Names the file that a rule of a document does not hold for.
fn refused(path: &str, error: &dyn std::error::Error) -> Failure {
    Failure::untrusted(format!("{path}: it is refused")).because(error)
}

fn document<D: SignedDocument>(repository: &Repository, files: &Reading<'_>, pinned: &Pinned) -> Outcome<D> {
    let bytes = repository.file(files, &pinned.path, pinned.length, &pinned.sha256)?;
    D::parse(bytes).map_err(|e| refused(&pinned.path, &e))
}

/// All approvals whose heads are in the folder, ascending by id.
///
/// # Errors
///
/// Something does not verify; the file is named.
pub fn read(files: &Reading<'_>, repository: &Repository, hdo: &HdoId) -> Outcome<BTreeMap<ApprovalId, Approved>> {
    let mut all = BTreeMap::new();
    let listed = repository.versions.values().flat_map(|targets| targets.targets());
    let ids = listed.filter_map(|(path, _)| match Listed::of(path) {
        Some(Listed::Approval(id)) => Some(id),
        _ => None,
    });
    let ids: std::collections::BTreeSet<ApprovalId> = ids.collect();
    for id in ids {
        let Some((targets, target)) = repository.newest_with(&path::approval(&id)) else { continue };
        let place = super::repository::place(
            crate::trust_store::Which::Approvals,
            &suture_core::trust::served_target_name(&path::approval(&id), &target.sha256),
        );
        if !files.contains_key(&place) {
            continue;
        }
        let version = targets.version();
        let approved = one(files, repository, hdo, &id, version)?;
        all.insert(id, approved);
    }
    Ok(all)
}

fn one(files: &Reading<'_>, repository: &Repository, hdo: &HdoId, id: &ApprovalId, version: u64) -> Outcome<Approved> {
    let listed = path::approval(id);
    let missing = || index::stray(&listed);
    let targets = repository.versions.get(&version).ok_or_else(missing)?;
    let target = targets.target(&listed).ok_or_else(missing)?;
    let head_sha256 = target.sha256;
    let head =
        Head::parse(repository.file(files, &listed, target.length, &head_sha256)?).map_err(|e| refused(&listed, &e))?;
    if head.terms.id != *id || head.terms.hdo != *hdo {
        return Err(Failure::untrusted(format!("{listed}: it is another approval, or another hospital's")));
    }
    let shards = head.shards().map(|(_, p)| repository.file(files, &p.path, p.length, &p.sha256));
    let shards = shards.collect::<Outcome<Vec<_>>>()?;
    let approval = head.whole(&shards).map_err(|e| refused(&listed, &e))?;
    let words: OperatorDocument = document(repository, files, &approval.terms.operator_document)?;
    let gates = path::gates(id);
    let gates = match targets.target(&gates) {
        None => None,
        Some(t) => {
            let bytes = repository.file(files, &gates, t.length, &t.sha256)?;
            Some(Gates::read(&approval.terms, head_sha256, bytes).map_err(|e| refused(&gates, &e))?)
        }
    };
    let mut notes = BTreeMap::new();
    for open in gates.iter().flat_map(|gates| &gates.open) {
        notes.insert(open.wave, document(repository, files, &open.note)?);
    }
    let listed_stop = match targets.target(&path::stop(id)) {
        None => None,
        Some(t) => {
            let bytes = repository.file(files, &path::stop(id), t.length, &t.sha256)?;
            Some(VerifiedStop::listed(targets, hdo, bytes).map_err(|e| refused(&path::stop(id), &e))?)
        }
    };
    let beside = match files.get(&kind::stop(id)) {
        None => None,
        Some(bytes) => Some(order(repository, hdo, id, bytes)?),
    };
    let stop = match (listed_stop, beside) {
        (Some(listed), Some(beside)) if !beside.is_news_after(&listed) => Some(listed),
        (listed, beside) => beside.or(listed),
    };
    let has_plan = match files.get(&kind::plan(&words.plan_sha256)) {
        None => false,
        Some(bytes) if Digest::of(bytes) == words.plan_sha256 => true,
        Some(_) => {
            let place = kind::plan(&words.plan_sha256);
            return Err(Failure::untrusted(format!("{place}: it is not the plan that was approved")));
        }
    };
    Ok(Approved {
        signers: signers(files, repository, hdo, id, head_sha256)?,
        in_force: version == repository.base.targets_metadata().version(),
        listed_in: version,
        approval,
        head_sha256,
        words,
        gates,
        notes,
        stop,
        has_plan,
    })
}

/// An order beside the repository, by the approvers whom any of the roots names: one may have left since.
fn order(repository: &Repository, hdo: &HdoId, id: &ApprovalId, bytes: &[u8]) -> Outcome<VerifiedStop> {
    let mut tried = repository.roots.iter().rev().map(|root| VerifiedStop::verify(root, hdo, bytes));
    let found = tried.find_map(Result::ok).filter(|order| order.approval == *id);
    found.ok_or_else(|| {
        Failure::untrusted(format!("{}: no approver of {hdo} has signed it for that approval", kind::stop(id)))
    })
}

fn signers(
    files: &Reading<'_>,
    repository: &Repository,
    hdo: &HdoId,
    id: &ApprovalId,
    head: Digest,
) -> Outcome<Vec<Signer>> {
    let prefix = path::statements(id);
    let mut signers = Vec::new();
    for path in files.keys().filter(|path| path.starts_with(&prefix)) {
        let Some(Kind::Statement(_, key)) = Kind::of(path) else { return Err(index::stray(path)) };
        let Some(bytes) = files.get(path) else { continue };
        let s = VerifiedStatement::verify(bytes).map_err(|e| refused(path, &e))?;
        if (&s.hdo, &s.approval, s.key) != (hdo, id, key) {
            return Err(Failure::untrusted(format!("{path}: it is about something else, or by another key")));
        }
        if !repository.ever_named(&s.key) {
            return Err(Failure::untrusted(format!("{path}: the key that signed it has never approved for {hdo}")));
        }
        signers.push(Signer {
            name: s.name.clone(),
            role: s.role.clone(),
            meaning: s.meaning,
            reason: s.reason.clone(),
            signed_at: format_utc(s.signed_at),
            key: s.key,
            about_what_is_listed: s.head_sha256 == head,
        });
    }
    signers.sort_by(|a, b| (&a.signed_at, &a.name).cmp(&(&b.signed_at, &b.name)));
    Ok(signers)
}

/// What signed rosters have said of devices, newest roster first.
#[derive(Debug, Default)]
pub struct Rosters {
    devices: BTreeMap<DeviceId, Vec<RosterDevice>>,
}

impl Rosters {
    /// Those of the register in force, and those that approvals were planned from, as far as they are in the folder.
    ///
    /// # Errors
    ///
    /// One does not verify.
    pub fn read<'a>(
        files: &Reading<'_>,
        repository: &Repository,
        hdo: &HdoId,
        approved: impl Iterator<Item = &'a Approved>,
    ) -> Outcome<Self> {
        let mut pins: Vec<Pinned> = Vec::new();
        let targets = repository.base.targets_metadata();
        if let Some(target) = targets.target(path::REGISTER) {
            let pinned = Pinned { path: path::REGISTER.to_owned(), length: target.length, sha256: target.sha256 };
            let register: Register = document(repository, files, &pinned)?;
            pins.extend(register.files.into_iter().filter(|p| p.path.starts_with("rosters/")));
        }
        pins.extend(approved.flat_map(|a| a.words.rosters.iter().cloned()));
        let mut rosters = Self::default();
        for pinned in pins {
            let place = super::repository::place(crate::trust_store::Which::Approvals, &pinned.file_name());
            if !files.contains_key(&place) {
                continue;
            }
            let roster: Roster = document(repository, files, &pinned)?;
            if roster.hdo != *hdo {
                return Err(Failure::untrusted(format!("{place}: it is another hospital's")));
            }
            for device in roster.devices {
                let known = rosters.devices.entry(device.id.clone()).or_default();
                if !known.contains(&device) {
                    known.push(device);
                }
            }
        }
        Ok(rosters)
    }

    /// What the newest roster says of a device.
    pub fn device(&self, id: &DeviceId) -> Option<&RosterDevice> {
        self.devices.get(id)?.first()
    }

    /// The keys that signed rosters have had for a device.
    pub fn keys(&self, id: &DeviceId) -> impl Iterator<Item = &PublicKey> {
        self.devices.get(id).into_iter().flatten().map(|d| &d.report_key)
    }
}
