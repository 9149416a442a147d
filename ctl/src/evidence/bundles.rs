//! What the manufacturer released: manifests with their documents, how long products are supported, and statements about
//! vulnerabilities; and what vulnerabilities are open in each bundle, by those documents.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::approval::SignedDocument as _;
use suture_core::digest::Digest;
use suture_core::document::{Sbom, Vex};
use suture_core::exposure::{self, VexEntry};
use suture_core::id::{ApprovalId, ProductId};
use suture_core::life::{self, Life};
use suture_core::manifest::{Document, DocumentKind, Manifest};
use suture_core::trust::{CatalogEntry, Status, served_target_name, status_reason};

use super::approval::Approved;
use super::folder::Reading;
use super::reports::Reports;
use super::repository::{self, Repository};
use super::{About, Subject};
use crate::exposure::{Known, unread};
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
    /// Whether the evidence is about it: it was asked for, was approved, or ran on one of its devices. Others are here for what
    /// their documents say of these.
    pub is_subject: bool,
}

/// What the manufacturer has signed.
#[derive(Debug, Default)]
pub struct Released {
    /// Ascending by product and release.
    pub bundles: Vec<Bundle>,
    /// How long products are supported.
    pub lives: BTreeMap<ProductId, Life>,
    /// Statements about vulnerabilities that were published beside the bundles, by path.
    pub vex: BTreeMap<String, Option<Vex>>,
    /// What is in the bundles, and what is said of it, by the documents that are here.
    pub known: Known,
}

/// Which bundles the evidence is about.
struct Subjects<'a> {
    about: &'a About,
    named: BTreeSet<Digest>,
}

impl Subjects<'_> {
    fn hold(&self, manifest: &Manifest, sha256: &Digest) -> bool {
        let asked = match &self.about.subject {
            Subject::Product { product, release } => {
                manifest.product == *product && release.is_none_or(|release| manifest.release == release)
            }
            Subject::Rollout(_) | Subject::Device(_) => false,
        };
        asked || self.named.contains(sha256)
    }
}

impl Released {
    /// Reads all of it: each manifest is listed by the catalog, or named by an approval, where the catalog lists it no more.
    ///
    /// # Errors
    ///
    /// A file is not the one that was signed, or is refused; it is named.
    pub fn read(
        files: &Reading<'_>,
        about: &About,
        catalog: &Repository,
        approved: &BTreeMap<ApprovalId, Approved>,
        reports: &Reports,
    ) -> Outcome<Self> {
        let steps = || approved.values().flat_map(|a| &a.approval.terms.steps);
        let ran = reports.proven.values().flatten().map(|proven| proven.report.running.manifest);
        let subjects = Subjects { about, named: steps().map(|step| step.sha256).chain(ran).collect() };
        let mut pins: BTreeMap<(String, Digest), u64> =
            steps().map(|step| ((step.path.clone(), step.sha256), step.length)).collect();
        pins.extend(catalog.listed.iter().map(|(path, target)| ((path.clone(), target.sha256), target.length)));
        let mut released = Self::default();
        for ((path, sha256), length) in pins {
            let place = repository::place(Which::Catalog, &served_target_name(&path, &sha256));
            if !files.contains_key(&place) {
                continue;
            }
            let bytes = catalog.file(files, &path, length, &sha256)?;
            if let Some(product) = life::product_of(&path) {
                let life = Life::parse(bytes)
                    .map_err(|e| Failure::untrusted(format!("{place}: it is refused")).because(&e))?;
                released.lives.insert(product, life);
            } else if path.starts_with("vex/") {
                // What its author's tools have written may be newer than this program: the file counts by its digest.
                released.vex.insert(path.clone(), Vex::parse(bytes).ok());
                if let Some(entry) = catalog.listed.get(&path).and_then(|target| VexEntry::of(&path, target)) {
                    released.known.published(&entry, bytes);
                }
            } else if path.starts_with("bundles/") {
                released.bundle(files, catalog, &subjects, (&path, sha256), (&place, bytes))?;
            }
        }
        let by = |bundle: &Bundle| (bundle.manifest.product.clone(), bundle.manifest.release);
        released.bundles.sort_by_key(by);
        released.known.bundles.sort_by(|a, b| (&a.product, a.release).cmp(&(&b.product, b.release)));
        Ok(released)
    }

    fn bundle(
        &mut self,
        files: &Reading<'_>,
        catalog: &Repository,
        subjects: &Subjects<'_>,
        (path, sha256): (&str, Digest),
        (place, bytes): (&str, &[u8]),
    ) -> Outcome {
        let manifest = Manifest::parse(bytes)
            .map_err(|e| Failure::untrusted(format!("{place}: it is no manifest")).because(&e))?;
        if manifest.path() != path {
            return Err(Failure::untrusted(format!("{place}: it is another bundle's manifest")));
        }
        let documents = documents(files, &manifest)?;
        let target = catalog.listed.get(path).filter(|target| target.sha256 == sha256);
        let entry = target.and_then(CatalogEntry::of);
        let read = match &entry {
            Some(entry) => unread((path, sha256), entry),
            None => gone((path, sha256), &manifest),
        };
        self.known.take(read, documents.iter().map(|(document, bytes)| (*document, *bytes)));
        self.bundles.push(Bundle {
            status: entry.map(|entry| entry.status),
            because: target.and_then(status_reason).map(str::to_owned),
            documents: documents.iter().map(|(d, bytes)| ((*d).clone(), in_short(d.kind, bytes))).collect(),
            is_subject: subjects.hold(&manifest, &sha256),
            manifest,
            sha256,
        });
        Ok(())
    }
}

/// A bundle that the catalog lists no more.
fn gone((path, sha256): (&str, Digest), manifest: &Manifest) -> exposure::Bundle {
    exposure::Bundle {
        product: manifest.product.clone(),
        release: manifest.release,
        version: manifest.version.clone(),
        manifest: sha256,
        path: path.to_owned(),
        installable: false,
        listed: false,
        itself: None,
        serials: Vec::new(),
        parts: Vec::new(),
    }
}

/// Where a document of a bundle is.
pub fn document_place(manifest: &Manifest, document: &Document) -> String {
    format!("documents/{}/{}/{}", manifest.product, manifest.release, document.name)
}

fn documents<'m, 'f>(files: &Reading<'f>, manifest: &'m Manifest) -> Outcome<Vec<(&'m Document, &'f [u8])>> {
    let mut here = Vec::new();
    for document in &manifest.documents {
        let place = document_place(manifest, document);
        let Some(bytes) = files.get(&place) else { continue };
        if bytes.len() as u64 != document.length || Digest::of(bytes) != document.sha256 {
            return Err(Failure::untrusted(format!("{place}: it is not the document that the manifest pins")));
        }
        here.push((document, bytes.as_slice()));
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
