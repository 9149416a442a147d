//! What bundles are to a vulnerability, by the documents that the signed catalog pins, read here.
//!
//! Attack: a server whose index leaves a component out, or a statement, so that a hospital takes its devices for safe. What a
//! bundle carries and what its manufacturer says of it is therefore computed from the documents themselves, each of the digest
//! that a signed manifest names, over every bundle that the catalog lists; the server's answer is compared with that, and only for
//! which devices run what is its word taken (their signed reports: `suturectl device show`). Documents are fetched once and kept in
//! the home by their digests.

mod open;
mod shelf;

pub use self::open::{Judged, Open, Vulnerability, open};

use std::collections::{BTreeMap, BTreeSet};

use suture_core::digest::Digest;
use suture_core::document::{Sbom, Vex};
use suture_core::exposure::{Bundle, Claim, Contents, Source, VexEntry, VexStatus, stated, vex_at};
use suture_core::id::ProductId;
use suture_core::limits::{MAX_MANIFEST_BYTES, MAX_VEX_BYTES};
use suture_core::manifest::{Document, DocumentKind, Manifest};
use suture_core::trust::{Base, CatalogEntry, Repository, Status, Target};

use crate::client::Client;
use crate::context::Context;
use crate::failure::Outcome;
use crate::trust_store::{TrustStore, Which};

/// The catalog, verified, with all that it and its delegated roles list.
#[derive(Debug)]
pub struct Listed {
    repository: Repository,
    /// By path.
    pub known: BTreeMap<String, Target>,
}

impl Listed {
    /// Refreshes it.
    pub async fn read(context: &Context<'_>, client: &mut Client) -> Outcome<Self> {
        let store = TrustStore::of(&context.home, Which::Catalog);
        let base: Base = store.refresh(client, context.now()).await?.into();
        let files = store.delegated(Some(client), &base).await?;
        let (known, _) = base.listing(&files, context.now());
        let mut repository = base.current(context.now())?;
        repository.survey(&files, context.now());
        Ok(Self { repository, known })
    }

    /// The documents of statements, by path.
    pub fn vex(&self) -> impl Iterator<Item = (&str, VexEntry, &Target)> {
        let entry = |(path, target): (&'_ String, &'_ Target)| VexEntry::of(path, target);
        self.known.iter().filter_map(move |(path, target)| Some((path.as_str(), entry((path, target))?, target)))
    }

    /// The bytes of a target, from this home or else from the server, verified.
    async fn target(
        &self,
        context: &Context<'_>,
        client: &mut Client,
        path: &str,
        target: &Target,
        limit: u64,
    ) -> Outcome<Vec<u8>> {
        if let Some(bytes) = shelf::kept(&context.home, &target.sha256, limit)? {
            return Ok(bytes);
        }
        let store = TrustStore::of(&context.home, Which::Catalog);
        let bytes = store.fetch_target(client, &self.repository, path, limit).await?;
        shelf::keep(&context.home, &target.sha256, &bytes)?;
        Ok(bytes)
    }
}

/// What the documents say.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// By product and release, each with all of its components.
    pub bundles: Vec<Bundle>,
    /// Statements in force, of each product.
    pub claims: BTreeMap<ProductId, Vec<(Source, Claim)>>,
    /// What could not be read, by the catalog's path: whatever rests on it is not known.
    pub problems: BTreeMap<String, String>,
}

impl Known {
    /// Reads the documents of all bundles that the catalog lists, or of one product's.
    pub async fn read(
        context: &Context<'_>,
        client: &mut Client,
        listed: &Listed,
        product: Option<&ProductId>,
    ) -> Outcome<Self> {
        let mut known = Self::default();
        let wanted = |of: &ProductId| product.is_none_or(|product| product == of);
        for (path, target) in &listed.known {
            let entry = CatalogEntry::of(target).filter(|_| vex_at(path).is_none());
            if let Some(entry) = entry.filter(|entry| wanted(&entry.product)) {
                let bytes = listed.target(context, client, path, target, MAX_MANIFEST_BYTES).await?;
                known.bundle(context, client, (path, target), &entry, &bytes).await?;
            }
        }
        for (path, entry, target) in listed.vex().filter(|(_, entry, _)| wanted(&entry.product)) {
            if entry.status == VexStatus::Withdrawn {
                continue;
            }
            let bytes = listed.target(context, client, path, target, MAX_VEX_BYTES).await?;
            known.published(&entry, &bytes);
        }
        known.bundles.sort_by(|a, b| (&a.product, a.release).cmp(&(&b.product, b.release)));
        Ok(known)
    }

    async fn bundle(
        &mut self,
        context: &Context<'_>,
        client: &mut Client,
        (path, target): (&String, &Target),
        entry: &CatalogEntry,
        bytes: &[u8],
    ) -> Outcome {
        let bundle = unread((path, target.sha256), entry);
        let manifest = match Manifest::parse(bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.problems.insert(path.clone(), error.to_string());
                self.bundles.push(bundle);
                return Ok(());
            }
        };
        let mut documents = Vec::new();
        for document in manifest.documents.iter().filter(|document| speaks(document)) {
            let bytes = shelf::document(context, client, &document.sha256, document.length).await?;
            documents.push((document, bytes));
        }
        self.take(bundle, documents.iter().map(|(document, bytes)| (*document, bytes.as_slice())));
        Ok(())
    }

    /// Takes a bundle with those of its documents that are at hand.
    pub fn take<'d>(&mut self, mut bundle: Bundle, documents: impl IntoIterator<Item = (&'d Document, &'d [u8])>) {
        let mut problems = Vec::new();
        for (document, bytes) in documents.into_iter().filter(|(document, _)| speaks(document)) {
            let contents = match document.kind {
                DocumentKind::Sbom => Sbom::parse(bytes).map(|sbom| Contents::from(&sbom)),
                _ => Vex::parse(bytes).map(|vex| Contents { claims: stated(&vex), ..Contents::default() }),
            };
            let Contents { itself, serial, parts, claims } = match contents {
                Ok(contents) => contents,
                Err(fault) => {
                    problems.push(format!("{}: {fault}", document.name));
                    continue;
                }
            };
            let (path, after) = (bundle.path.clone(), bundle.release);
            let source = Source { path, document: document.name.clone(), after, number: 0 };
            bundle.listed |= document.kind == DocumentKind::Sbom;
            bundle.itself = bundle.itself.take().or(itself);
            bundle.serials.extend(serial);
            bundle.parts.extend(parts);
            let claims = claims.into_iter().map(|claim| (source.clone(), claim));
            self.claims.entry(bundle.product.clone()).or_default().extend(claims);
        }
        bundle.listed &= problems.is_empty();
        if !problems.is_empty() {
            self.problems.insert(bundle.path.clone(), problems.join("; "));
        }
        self.bundles.push(bundle);
    }

    /// Takes a document of statements that was published beside the bundles.
    pub fn published(&mut self, entry: &VexEntry, bytes: &[u8]) {
        if entry.status == VexStatus::Withdrawn {
            return;
        }
        match Vex::parse(bytes) {
            Ok(vex) => {
                let claims = stated(&vex).into_iter().map(|claim| (entry.source(), claim));
                self.claims.entry(entry.product.clone()).or_default().extend(claims);
            }
            Err(fault) => drop(self.problems.insert(entry.path(), fault.to_string())),
        }
    }

    /// Every name by which a statement in force knows a vulnerability, the first of each alone.
    pub fn vulnerabilities(&self, product: &ProductId) -> BTreeSet<String> {
        let claims = self.claims.get(product).into_iter().flatten();
        claims.filter_map(|(_, claim)| claim.vulnerability.first().cloned()).collect()
    }
}

/// A bundle that the catalog lists, of whose documents nothing is read yet.
pub fn unread((path, manifest): (&str, Digest), entry: &CatalogEntry) -> Bundle {
    Bundle {
        product: entry.product.clone(),
        release: entry.release,
        version: entry.version.clone(),
        manifest,
        path: path.to_owned(),
        installable: entry.status != Status::Withdrawn,
        listed: false,
        itself: None,
        serials: Vec::new(),
        parts: Vec::new(),
    }
}

/// Whether a document says what a bundle carries, or what a vulnerability does to it.
pub fn speaks(document: &Document) -> bool {
    matches!(document.kind, DocumentKind::Sbom | DocumentKind::Vex)
}
