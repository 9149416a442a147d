//! The whole of a folder: verified, and what is drawn from it.

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::approval::SignedDocument as _;
use suture_core::decision::VerifiedDecision;
use suture_core::digest::Digest;
use suture_core::document::{Sbom, Vex};
use suture_core::id::{ApprovalId, HdoId, ProductId};
use suture_core::life::{self, Life};
use suture_core::manifest::{Document, DocumentKind, Manifest};
use suture_core::trust::{CatalogEntry, Status, served_target_name, status_reason};

use super::approval::{self, Approved, Rosters};
use super::audit::Record;
use super::facts::Facts;
use super::folder::{self, Reading};
use super::index::{self, About, Index};
use super::kind::{self, Kind};
use super::letters::Letters;
use super::reports::Reports;
use super::repository::{self, Repository};
use super::served::Served;
use super::{Files, page};
use crate::failure::{Failure, Outcome};
use crate::trust_store::Which;

/// A bundle.
#[derive(Debug)]
pub struct Bundle {
    /// What it is.
    pub manifest: Manifest,
    /// Its identity.
    pub sha256: Digest,
    /// What the catalog says of it; none where it lists it no more.
    pub status: Option<Status>,
    /// Why, in the manufacturer's signed words.
    pub because: Option<String>,
    /// Its documents that are in the folder, each with what it says in short.
    pub documents: Vec<(Document, String)>,
}

/// All that a folder proves, and what the server says beside it.
#[derive(Debug)]
pub struct Evidence {
    /// What it is about.
    pub about: About,
    /// The manufacturer's catalog.
    pub catalog: Repository,
    /// The hospital's approvals, in a hospital's evidence.
    pub approvals: Option<Repository>,
    /// Bundles, ascending by product and release.
    pub bundles: Vec<Bundle>,
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
    /// How long products are supported, by the manufacturer's signed word.
    pub lives: BTreeMap<ProductId, Life>,
    /// Statements about vulnerabilities that were published beside the bundles, by path.
    pub vex: BTreeMap<String, Option<Vex>>,
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
        let mut letters = Letters::default();
        match (&about.hdo, &approvals) {
            (Some(hdo), Some(approvals)) => {
                approved = approval::read(&reading, approvals, hdo)?;
                rosters = Rosters::read(&reading, approvals, hdo, approved.values())?;
                reports = Reports::read(&reading, hdo, &rosters)?;
                decisions = read_decisions(&reading, approvals, hdo, &served)?;
                letters = Letters::read(&reading, hdo, &catalog, approvals)?;
            }
            (Some(_), None) => return Err(missing(Which::Approvals)),
            (None, _) => {}
        }
        let (mut lives, mut vex) = (BTreeMap::new(), BTreeMap::new());
        let bundles = bundles(&reading, &catalog, &approved, &mut lives, &mut vex)?;
        let needs = |path: &str| path != index::PATH && Kind::of(path).is_none_or(|kind| !kind.is_drawn());
        if let Some(stray) = reading.left(needs) {
            return Err(Failure::untrusted(format!("{stray}: nothing that is signed names it")));
        }
        let about = about.clone();
        Ok(Self {
            about,
            catalog,
            approvals,
            bundles,
            approved,
            rosters,
            reports,
            decisions,
            letters,
            lives,
            vex,
            record,
            served,
        })
    }
}

/// Manifests in the folder: each is listed by the catalog, or named by an approval, where the catalog lists it no more.
fn bundles(
    files: &Reading<'_>,
    catalog: &Repository,
    approved: &BTreeMap<ApprovalId, Approved>,
    lives: &mut BTreeMap<ProductId, Life>,
    vex: &mut BTreeMap<String, Option<Vex>>,
) -> Outcome<Vec<Bundle>> {
    let steps = approved.values().flat_map(|a| &a.approval.terms.steps);
    let mut pins: BTreeMap<(String, Digest), u64> =
        steps.map(|step| ((step.path.clone(), step.sha256), step.length)).collect();
    pins.extend(catalog.listed.iter().map(|(path, target)| ((path.clone(), target.sha256), target.length)));
    let mut bundles = Vec::new();
    for ((path, sha256), length) in pins {
        let place = repository::place(Which::Catalog, &served_target_name(&path, &sha256));
        if !files.contains_key(&place) {
            continue;
        }
        let bytes = catalog.file(files, &path, length, &sha256)?;
        if let Some(product) = life::product_of(&path) {
            let life =
                Life::parse(bytes).map_err(|e| Failure::untrusted(format!("{place}: it is refused")).because(&e))?;
            lives.insert(product, life);
        } else if path.starts_with("vex/") {
            // What its author's tools have written may be newer than this program: the file counts by its digest.
            vex.insert(path.clone(), Vex::parse(bytes).ok());
        }
        if !path.starts_with("bundles/") {
            continue;
        }
        let manifest = Manifest::parse(bytes)
            .map_err(|e| Failure::untrusted(format!("{place}: it is no manifest")).because(&e))?;
        if manifest.path() != path {
            return Err(Failure::untrusted(format!("{place}: it is another bundle's manifest")));
        }
        let target = catalog.listed.get(&path).filter(|target| target.sha256 == sha256);
        bundles.push(Bundle {
            status: target.and_then(CatalogEntry::of).map(|entry| entry.status),
            because: target.and_then(status_reason).map(str::to_owned),
            documents: documents(files, &manifest)?,
            manifest,
            sha256,
        });
    }
    bundles.sort_by(|a, b| (&a.manifest.product, a.manifest.release).cmp(&(&b.manifest.product, b.manifest.release)));
    Ok(bundles)
}

/// Where a document of a bundle is.
pub fn document_place(manifest: &Manifest, document: &Document) -> String {
    format!("documents/{}/{}/{}", manifest.product, manifest.release, document.name)
}

fn documents(files: &Reading<'_>, manifest: &Manifest) -> Outcome<Vec<(Document, String)>> {
    let mut here = Vec::new();
    for document in &manifest.documents {
        let place = document_place(manifest, document);
        let Some(bytes) = files.get(&place) else { continue };
        if bytes.len() as u64 != document.length || Digest::of(bytes) != document.sha256 {
            return Err(Failure::untrusted(format!("{place}: it is not the document that the manifest pins")));
        }
        here.push((document.clone(), in_short(document.kind, bytes)));
    }
    Ok(here)
}

/// What a document says, in a few words.
fn in_short(kind: DocumentKind, bytes: &[u8]) -> String {
    match kind {
        DocumentKind::Sbom => match Sbom::parse(bytes) {
            Ok(sbom) => {
                let gaps: Vec<&str> = sbom.gaps().iter().map(|gap| gap.element).collect();
                let lacks = if gaps.is_empty() { String::new() } else { format!("; lacks {}", gaps.join(", ")) };
                format!("{} components{lacks}", sbom.components.len())
            }
            Err(fault) => format!("cannot be read: {fault}"),
        },
        DocumentKind::Vex => match Vex::parse(bytes) {
            Ok(vex) => format!("{} statements", vex.statements.len()),
            Err(fault) => format!("cannot be read: {fault}"),
        },
        DocumentKind::ReleaseNotes
        | DocumentKind::Mds2
        | DocumentKind::SecurityConfiguration
        | DocumentKind::TestEvidence
        | DocumentKind::Other => String::new(),
    }
}

fn read_decisions(
    files: &Reading<'_>,
    approvals: &Repository,
    hdo: &HdoId,
    served: &Served,
) -> Outcome<BTreeMap<u64, VerifiedDecision>> {
    let mut all = BTreeMap::new();
    for decision in &served.decisions {
        let place = kind::decision(decision.number);
        let refused = |why: &str| Failure::untrusted(format!("{place}: {why}"));
        let bytes = match files.get(&place) {
            Some(bytes) if decision.signed => bytes,
            None if !decision.signed => continue,
            Some(_) => return Err(refused("the server's list says that it is not signed")),
            None => return Err(refused("it is signed, and missing")),
        };
        let stated = VerifiedDecision::verify(bytes).map_err(|e| refused("it is refused").because(&e))?;
        let (d, said) = (&stated.decision, decision);
        let differs = (&stated.hdo, &d.product, d.release) != (hdo, &said.product, said.release)
            || (d.choice.as_str(), &d.reason, &d.compensating)
                != (said.choice.as_str(), &said.reason, &said.compensating)
            || (d.review.to_string(), stated.name.as_str()) != (said.review.clone(), said.by.as_str());
        if differs {
            return Err(refused("the server's list says something else"));
        }
        if !approvals.ever_named(&stated.key) {
            return Err(refused("the key that signed it has never approved for the hospital"));
        }
        all.insert(decision.number, stated);
    }
    Ok(all)
}

/// The whole folder from what was gathered: verified, facts and pages drawn up, and the index.
///
/// # Errors
///
/// Something does not verify; nothing is drawn up then.
pub fn draw_up(about: &About, gathered: &Files) -> Outcome<Files> {
    let is_drawn = |path: &str| path == index::PATH || Kind::of(path).is_some_and(|kind| kind.is_drawn());
    let mut files: Files =
        gathered.iter().filter(|(path, _)| !is_drawn(path)).map(|(p, b)| (p.clone(), b.clone())).collect();
    let evidence = Evidence::read(about, &files)?;
    let facts = Facts::of(&evidence);
    facts.write(&mut files)?;
    files.insert("index.html".to_owned(), page::draw(&evidence, &facts).into_bytes());
    files.insert("README.md".to_owned(), page::readme(&evidence).into_bytes());
    let index = Index::of(about, &files)?;
    files.insert(index::PATH.to_owned(), index.to_bytes()?);
    folder::bounded(&files)?;
    Ok(files)
}

/// What is wrong with a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, where it is one file's.
    pub file: Option<String>,
    /// What.
    pub what: String,
}

/// A folder that was looked at.
#[derive(Debug)]
pub struct Verdict {
    /// Its index, where that can be read.
    pub index: Option<Index>,
    /// What it proves, where nothing is wrong.
    pub evidence: Option<Evidence>,
    /// What is wrong; nothing, or it is no evidence.
    pub problems: Vec<Problem>,
    /// Whether facts and pages were drawn up again: not where another version of this program drew them up.
    pub drawn_again: bool,
}

/// Verifies a folder: every file against the index, every signature from the roots in the folder on, and every conclusion.
pub fn verify(files: &Files) -> Verdict {
    let mut verdict = Verdict { index: None, evidence: None, problems: Vec::new(), drawn_again: false };
    let index = match files.get(index::PATH).map(|bytes| Index::parse(bytes)) {
        Some(Ok(index)) => index,
        Some(Err(failure)) => {
            verdict.problems.push(problem(files, &failure));
            return verdict;
        }
        None => {
            let what = "it is missing: this is no folder of evidence, or not the whole of one".to_owned();
            verdict.problems.push(Problem { file: Some(index::PATH.to_owned()), what });
            return verdict;
        }
    };
    verdict.problems = against(&index, files);
    if verdict.problems.is_empty() {
        match Evidence::read(&index.about, files) {
            Ok(evidence) => verdict.evidence = Some(evidence),
            Err(failure) => verdict.problems.push(problem(files, &failure)),
        }
    }
    if verdict.problems.is_empty() && index.about.program == index::program() {
        verdict.drawn_again = true;
        verdict.problems = drawn_again(&index, files);
    }
    if !verdict.problems.is_empty() {
        verdict.evidence = None;
    }
    verdict.index = Some(index);
    verdict
}

fn against(index: &Index, files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say =
        |path: &str, what: &str| problems.push(Problem { file: Some(path.to_owned()), what: what.to_owned() });
    for listed in &index.files {
        match files.get(&listed.path) {
            None => say(&listed.path, "it is missing"),
            Some(bytes) if bytes.len() as u64 != listed.length => say(&listed.path, "its length is another"),
            Some(bytes) if Digest::of(bytes) != listed.sha256 => say(&listed.path, "its SHA-256 is another"),
            Some(_) => {}
        }
    }
    let known: std::collections::BTreeSet<&str> = index.files.iter().map(|f| f.path.as_str()).collect();
    for path in files.keys().filter(|path| *path != index::PATH && !known.contains(path.as_str())) {
        say(path, "the index does not list it");
    }
    problems
}

/// What differs from what is drawn up from the same files now.
fn drawn_again(index: &Index, files: &Files) -> Vec<Problem> {
    let again = match draw_up(&index.about, files) {
        Ok(again) => again,
        Err(failure) => return vec![problem(files, &failure)],
    };
    let paths: std::collections::BTreeSet<&String> = again.keys().chain(files.keys()).collect();
    let differs = |path: &&String| again.get(*path) != files.get(*path);
    let what = "it is not what the other files lead to";
    let problem = |path: &String| Problem { file: Some(path.clone()), what: what.to_owned() };
    let mut problems: Vec<Problem> = paths.into_iter().filter(differs).map(problem).collect();
    // An index that lists a file as it was changed is no second problem.
    if problems.len() > 1 {
        problems.retain(|problem| problem.file.as_deref() != Some(index::PATH));
    }
    problems
}

/// A failure whose message begins with the file that it is about, or not.
fn problem(files: &Files, failure: &Failure) -> Problem {
    let because: String = failure.causes.iter().map(|cause| format!("; {cause}")).collect();
    match failure.message.split_once(": ") {
        Some((path, what)) if files.contains_key(path) || Kind::of(path).is_some() => {
            Problem { file: Some(path.to_owned()), what: format!("{what}{because}") }
        }
        _ => Problem { file: None, what: format!("{}{because}", failure.message) },
    }
}
