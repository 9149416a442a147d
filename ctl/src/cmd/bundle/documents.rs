//! `bundle documents`: what travels with a published bundle, fetched and verified.
//!
//! The signed catalog pins the manifest, the manifest pins each document: a server that hands out another one is told from one
//! that hands out the right one, and there is nothing of a document to trust it with.

use std::path::{Path, PathBuf};

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::limits::{MAX_DOCUMENT_BYTES, MAX_MANIFEST_BYTES};
use suture_core::manifest::{Document, DocumentKind, Manifest, manifest_path};

use crate::bundle::DocumentSummary;
use crate::bundle::documents::summary;
use crate::client::Client;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Exit, Failure, OrFail as _, Outcome};
use crate::files::{self, Access};
use crate::print::{Table, bytes};
use crate::trust_store::{TrustStore, Which};

/// Arguments of `bundle documents`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: suturectl bundle documents pump@2 --kind sbom --kind vex -o papers")]
pub struct DocumentsArgs {
    /// The bundle, as in pump@7
    #[arg(value_name = "PRODUCT@RELEASE")]
    bundle: BundleName,
    /// Where to write them; made where it is not there [default: only list them]
    #[arg(short, long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Only of this kind: release-notes, sbom, vex, mds2, security-configuration, test-evidence or other; may be given again
    #[arg(long, value_name = "KIND")]
    kind: Vec<DocumentKind>,
}

#[derive(Serialize)]
struct Fetched {
    bundle: String,
    version: String,
    manifest_sha256: Digest,
    documents: Vec<FetchedDocument>,
}

#[derive(Serialize)]
struct FetchedDocument {
    #[serde(flatten)]
    summary: DocumentSummary,
    sha256: Digest,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
}

/// A published bundle's manifest, verified by the catalog.
pub(super) async fn manifest(
    context: &Context<'_>,
    client: &mut Client,
    bundle: &BundleName,
) -> Outcome<(Manifest, Digest)> {
    let store = TrustStore::of(&context.home, Which::Catalog);
    let catalog = store.refresh_catalog(client, context.now()).await?;
    let path = manifest_path(&bundle.product, bundle.release);
    if catalog.target(&path).is_none() {
        return Err(
            Failure::new(format!("the catalog lists no {bundle}")).next("`suturectl bundle list` shows what it lists")
        );
    }
    let manifest_bytes = store.fetch_target(client, &catalog, &path, MAX_MANIFEST_BYTES).await?;
    let manifest = Manifest::parse(&manifest_bytes).map_err(|e| Failure::of(Exit::Untrusted, &e))?;
    if manifest.path() != path {
        return Err(Failure::untrusted(format!("the catalog lists the manifest of {} as {path}", manifest.path())));
    }
    Ok((manifest, Digest::of(&manifest_bytes)))
}

/// A document that a verified manifest pins.
pub(super) async fn fetch(client: &mut Client, document: &Document) -> Outcome<Vec<u8>> {
    let Document { name, length, sha256, .. } = document;
    if *length > MAX_DOCUMENT_BYTES {
        return Err(Failure::untrusted(format!("{name} has {length} bytes, more than any document may have")));
    }
    let fetched = client.document(sha256, *length).await;
    fetched.map_err(|failure| {
        let exit = failure.exit;
        Failure::new(format!("{name} cannot be fetched")).exit(exit).because_of(failure)
    })
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: DocumentsArgs) -> Outcome {
    let DocumentsArgs { bundle, output_dir, kind } = args;
    let mut client = context.connect().await?;
    let (manifest, manifest_sha256) = manifest(context, &mut client, &bundle).await?;
    if let Some(directory) = &output_dir {
        std::fs::create_dir_all(directory).or_fail(|| format!("cannot create {}", directory.display()))?;
    }
    let mut documents = Vec::new();
    for document in manifest.documents.iter().filter(|d| kind.is_empty() || kind.contains(&d.kind)) {
        let content = fetch(&mut client, document).await?;
        let path = output_dir.as_deref().map(|directory| keep(directory, document, &content)).transpose()?;
        documents.push(FetchedDocument {
            summary: summary(&manifest, document, &content),
            sha256: document.sha256,
            path,
        });
    }
    let version = manifest.version.to_string();
    let fetched = Fetched { bundle: bundle.to_string(), version, manifest_sha256, documents };
    context.print.result(&fetched, |fetched| text(fetched, output_dir.as_deref()))
}

/// Writes a document under its name, which a valid manifest keeps to a plain file name. What is there already is left alone.
fn keep(directory: &Path, document: &Document, content: &[u8]) -> Outcome<PathBuf> {
    let path = directory.join(&document.name);
    match files::read(&path, MAX_DOCUMENT_BYTES) {
        Ok(None) => files::write(&path, content, Access::Public)?,
        Ok(Some(there)) if there == content => {}
        _ => {
            return Err(Failure::new(format!("{} is there already, and is something else", path.display()))
                .next("name another directory"));
        }
    }
    Ok(path)
}

fn text(fetched: &Fetched, directory: Option<&Path>) -> String {
    let Fetched { bundle, version, documents, .. } = fetched;
    if documents.is_empty() {
        return format!("{bundle} {version} has no such document");
    }
    let summaries: Vec<_> = documents.iter().map(|document| document.summary.clone()).collect();
    let place = directory.map_or_else(String::new, |directory| format!("written to {}\n", directory.display()));
    format!("documents of {bundle} {version}, each verified by the catalog\n{place}{}", table(&summaries))
}

/// Documents in numbers, a line each.
pub(super) fn table(documents: &[DocumentSummary]) -> String {
    let mut table = Table::new(["document", "kind", "length", "format", "components", "statements"]);
    let count = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
    for d in documents {
        table.row([
            d.name.clone(),
            d.kind.to_string(),
            bytes(d.length),
            d.format.clone(),
            count(d.components),
            count(d.statements),
        ]);
    }
    let warnings =
        documents.iter().flat_map(|d| d.warnings.iter().map(move |warning| format!("{}: {warning}\n", d.name)));
    table.to_text() + &warnings.collect::<String>()
}
