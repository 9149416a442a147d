//! Reads bundles' documents into the index: what a publication lists newly, and at start what was not read yet.
//!
//! Documents are read outside of any transaction, one bundle at a time, and its rows are written in one: whoever reads the same
//! at the same time writes the same. A document that cannot be read is no failure: what is wrong with it is kept, and told with
//! every answer about its bundle.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use suture_core::digest::Digest;
use suture_core::document::{DocumentFault, Sbom, Vex};
use suture_core::exposure::{Claim, Contents, Source, VexEntry, VexStatus, stated};
use suture_core::limits::{MAX_QUESTION_COMPONENTS, MAX_ROWS_PER_CALL};
use suture_core::manifest::{DocumentKind, Manifest, ManifestError};
use suture_core::trust::served_target_name;
use suture_proto::Repository;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::store::exposure::{Read, Unread};
use crate::store::{Lock, StoreError};
use crate::transfer::TransferError;

/// Why a bundle's documents were not read.
#[derive(Debug, thiserror::Error)]
enum IndexError {
    #[error("its rows failed")]
    Store(#[from] StoreError),
    #[error("its manifest is not here")]
    NoManifest,
    #[error("its manifest cannot be read")]
    Manifest(#[from] ManifestError),
    #[error("a document of it cannot be fetched")]
    Transfer(#[from] TransferError),
    #[error("the reading of a document came to no end")]
    Cut(#[from] tokio::task::JoinError),
}

/// Reads what was not read yet, until `shutdown`.
pub(crate) async fn begin(app: Arc<App>, shutdown: CancellationToken) {
    shutdown.run_until_cancelled(run(&app)).await;
}

/// Reads what was not read yet, or by an earlier edition. What fails is logged, counted as pending in every answer, and tried
/// again at the next publication or start.
pub(crate) async fn run(app: &App) {
    let mut tried: BTreeSet<Digest> = BTreeSet::new();
    loop {
        let unread = match app.store().unread_bundles(MAX_ROWS_PER_CALL).await {
            Ok(unread) => unread,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "bundles' documents could not be looked for");
                return;
            }
        };
        let unread: Vec<Unread> = unread.into_iter().filter(|bundle| tried.insert(bundle.manifest)).collect();
        if unread.is_empty() {
            break;
        }
        for bundle in unread {
            if let Err(error) = one(app, &bundle).await {
                let (error, path) = (&error as &dyn std::error::Error, bundle.path.as_str());
                tracing::error!(error, path, "a bundle's documents were not read");
            }
        }
    }
    if let Err(error) = vex(app).await {
        tracing::error!(error = &error as &dyn std::error::Error, "published statements were not read anew");
    }
}

async fn one(app: &App, bundle: &Unread) -> Result<(), IndexError> {
    let name = served_target_name(&bundle.path, &bundle.manifest);
    let file = app.store().target_file(&Repository::Catalog.to_string(), &name).await?;
    let (bytes, _) = file.ok_or(IndexError::NoManifest)?;
    let manifest = Manifest::parse(&bytes)?;
    let mut read = Read::default();
    let mut problems = Vec::new();
    for document in &manifest.documents {
        if !matches!(document.kind, DocumentKind::Sbom | DocumentKind::Vex) {
            continue;
        }
        let content = app.transfer().document(&document.sha256).await?;
        let (kind, expected) = (document.kind, document.sha256);
        let parsed = tokio::task::spawn_blocking(move || parse(kind, &content, &expected)).await?;
        match parsed {
            Ok(contents) => {
                let source = Source {
                    path: bundle.path.clone(),
                    document: document.name.clone(),
                    after: bundle.release,
                    number: 0,
                };
                read.take(contents, &source, kind == DocumentKind::Sbom);
            }
            Err(fault) => problems.push(format!("{}: {fault}", document.name)),
        }
    }
    // An SBOM of which a part is missing does not say what is not there.
    read.listed &= problems.is_empty();
    if read.parts.len() > MAX_QUESTION_COMPONENTS as usize {
        problems.push(format!("its SBOMs list more than {MAX_QUESTION_COMPONENTS} components"));
        read = Read::default();
    }
    read.problem = (!problems.is_empty()).then(|| problems.join("; "));
    let mut tx = app.store().begin().await?;
    tx.lock(Lock::Repositories).await?;
    tx.put_read_bundle(bundle, &read, app.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// What one document says; a document of statements alone lists nothing.
fn parse(kind: DocumentKind, content: &Bytes, expected: &Digest) -> Result<Contents, DocumentFault> {
    if Digest::of(content) != *expected {
        let problem = "its bytes on this server are not those that the manifest names".to_owned();
        return Err(DocumentFault { place: String::new(), problem });
    }
    match kind {
        DocumentKind::Sbom => Ok(Contents::from(&Sbom::parse(content)?)),
        _ => Ok(Contents { claims: stated(&Vex::parse(content)?), ..Contents::default() }),
    }
}

impl Read {
    fn take(&mut self, contents: Contents, source: &Source, is_sbom: bool) {
        let Contents { itself, serial, parts, claims } = contents;
        self.listed |= is_sbom;
        self.itself = self.itself.take().or(itself);
        self.serials.extend(serial);
        self.parts.extend(parts);
        self.claims.extend(claims.into_iter().map(|claim| (source.clone(), claim)));
    }
}

/// Published statements that an earlier edition has read.
async fn vex(app: &App) -> Result<(), StoreError> {
    for (path, sha256, entry) in app.store().unread_vex().await? {
        let name = served_target_name(&path, &sha256);
        let Some((bytes, _)) = app.store().target_file(&Repository::Catalog.to_string(), &name).await? else {
            continue;
        };
        let Ok(vex) = Vex::parse(&bytes) else { continue };
        let mut tx = app.store().begin().await?;
        tx.lock(Lock::Repositories).await?;
        tx.put_vex(&path, &entry, &sha256, &sourced(&entry, &vex), app.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The statements of a published document with where they stand; none of one that was withdrawn.
pub(super) fn sourced(entry: &VexEntry, vex: &Vex) -> Vec<(Source, Claim)> {
    match entry.status {
        VexStatus::Current => stated(vex).into_iter().map(|claim| (entry.source(), claim)).collect(),
        VexStatus::Withdrawn => Vec::new(),
    }
}
