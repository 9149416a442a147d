//! `bundle diff`: what differs between two bundles, by the documents that came with them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use suture_core::document::{Components, Contents, Difference, check, difference};
use suture_core::manifest::{DocumentKind, Manifest};

use super::documents;
use crate::bundle::Bundle;
use crate::cmd::rollout::BundleName;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::print::Table;

/// Arguments of `bundle diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: suturectl bundle diff pump@1 pump@2\n          suturectl bundle diff pump@1 ./pump-1.1.0"
)]
pub struct DiffArgs {
    /// The older one: a directory that `build` made, or a published bundle as in pump@7
    #[arg(value_name = "OLD")]
    old: Side,
    /// The newer one, likewise
    #[arg(value_name = "NEW")]
    new: Side,
}

/// One of the two.
#[derive(Debug, Clone)]
enum Side {
    Directory(PathBuf),
    Published(BundleName),
}

impl FromStr for Side {
    type Err = String;

    /// What has an `@` and no `/` is published; a directory of such a name is `./pump@7`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') && !text.contains('/') {
            return text.parse().map(Self::Published);
        }
        Ok(Self::Directory(PathBuf::from(text)))
    }
}

#[derive(Serialize)]
struct Compared {
    old: String,
    new: String,
    #[serde(flatten)]
    difference: Difference,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, args: DiffArgs) -> Outcome {
    let (old, old_documents) = open(context, &args.old).await?;
    let (new, new_documents) = open(context, &args.new).await?;
    for (name, documents) in [(&old, &old_documents), (&new, &new_documents)] {
        if !documents.iter().any(|document| matches!(document, Contents::Sbom(_))) {
            context.print.note(&format!("{name} has no SBOM: of its components nothing can be said"));
        }
    }
    let compared = Compared { old, new, difference: difference(&old_documents, &new_documents) };
    context.print.result(&compared, text)
}

/// A bundle's name, and those of its documents that say what it is made of and what is known of that.
async fn open(context: &Context<'_>, side: &Side) -> Outcome<(String, Vec<Contents>)> {
    let (manifest, documents) = match side {
        Side::Directory(directory) => {
            let bundle = Bundle::open(directory)?;
            let documents = bundle.documents()?;
            (bundle.manifest, documents)
        }
        Side::Published(name) => {
            let mut client = context.connect().await?;
            let (manifest, _) = documents::manifest(context, &mut client, name).await?;
            let mut documents = Vec::with_capacity(manifest.documents.len());
            for document in &manifest.documents {
                let content = if is_compared(document.kind) {
                    documents::fetch(&mut client, document).await?
                } else {
                    Vec::new()
                };
                documents.push(content);
            }
            (manifest, documents)
        }
    };
    let name = format!("{} {} (release {})", manifest.product, manifest.version, manifest.release);
    let contents = contents(&name, &manifest, &documents)?;
    Ok((name, contents))
}

const fn is_compared(kind: DocumentKind) -> bool {
    matches!(kind, DocumentKind::Sbom | DocumentKind::Vex)
}

fn contents(name: &str, manifest: &Manifest, documents: &[Vec<u8>]) -> Outcome<Vec<Contents>> {
    let compared = manifest.documents.iter().zip(documents).filter(|(document, _)| is_compared(document.kind));
    compared
        .map(|(document, bytes)| {
            let unreadable =
                || Failure::new(format!("{} of {name} cannot be read as {}", document.name, document.kind));
            check(document.kind, bytes).map_err(|fault| unreadable().because(&fault))
        })
        .collect()
}

fn text(compared: &Compared) -> String {
    let Compared { old, new, difference } = compared;
    let mut out = format!("from {old} to {new}\n");
    match &difference.components {
        None => out.push_str("components cannot be compared\n"),
        Some(components) => out.push_str(&components_text(components)),
    }
    if difference.statements.is_empty() {
        out.push_str("\nof every vulnerability the same is said\n");
    } else {
        let mut table = Table::new(["vulnerability", "product", "was", "is"]);
        for s in &difference.statements {
            table.row([s.vulnerability.clone(), s.product.clone(), said(&s.from), said(&s.to)]);
        }
        out.push_str(&format!("\n{}", table.to_text()));
    }
    out
}

fn components_text(components: &Components) -> String {
    let Components { added, removed, changed, unchanged } = components;
    let mut out = format!(
        "components: {} added, {} removed, {} changed, {unchanged} as before\n",
        added.len(),
        removed.len(),
        changed.len()
    );
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        return out;
    }
    let mut table = Table::new(["", "component", "was", "is"]);
    let versions = |versions: &BTreeSet<String>| versions.iter().cloned().collect::<Vec<_>>().join(", ");
    for c in changed {
        table.row(["~".to_owned(), c.component.clone(), versions(&c.from), versions(&c.to)]);
    }
    for c in added {
        table.row(["+".to_owned(), c.component.clone(), String::new(), versions(&c.versions)]);
    }
    for c in removed {
        table.row(["-".to_owned(), c.component.clone(), versions(&c.versions), String::new()]);
    }
    out.push_str(&table.to_text());
    out
}

fn said(words: &BTreeSet<String>) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.iter().cloned().collect::<Vec<_>>().join(", ") }
}
