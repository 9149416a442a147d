//! What is needed to judge vulnerabilities before and after: what the devices ran, and every statement on the product.

use std::collections::BTreeSet;

use suture_core::digest::Digest;
use suture_core::limits::MAX_EVIDENCE_BUNDLES;
use suture_core::manifest::{DocumentKind, Manifest};
use suture_core::report::Report;
use suture_core::trust::CatalogEntry;

use super::gather::{Gathering, pin};
use crate::evidence::bundles::document_place;
use crate::failure::{OrFail as _, Outcome};
use crate::trust_store::Which;

/// Takes, of each product that the evidence is about, the manifests that the catalog lists, the latest: of those that ran on its
/// devices all documents, of the others what they say of vulnerabilities, which may be about these.
pub(super) async fn gather(gathering: &mut Gathering<'_, '_>) -> Outcome {
    let ran: BTreeSet<Digest> = gathering.lines.iter().filter_map(|line| ran(&line.payload)).collect();
    for product in gathering.products.clone() {
        let listed = gathering.listed.iter().filter(|(path, _)| path.starts_with("bundles/"));
        let of_it = listed.filter_map(|(path, target)| {
            let entry = CatalogEntry::of(target).filter(|entry| entry.product == product)?;
            Some((ran.contains(&target.sha256), entry.release, pin(path, target)))
        });
        let mut bundles: Vec<_> = of_it.collect();
        // Those that ran first, then the latest.
        bundles.sort_by_key(|(ran, release, _)| std::cmp::Reverse((*ran, *release)));
        if let Some(left) = bundles.len().checked_sub(MAX_EVIDENCE_BUNDLES).filter(|left| *left > 0) {
            gathering.note(&format!("{product}: what the {left} oldest bundles say of vulnerabilities is left out"));
        }
        for (is_subject, _, pinned) in bundles.into_iter().take(MAX_EVIDENCE_BUNDLES) {
            let bytes = gathering.target(Which::Catalog, &pinned).await?;
            let manifest = Manifest::parse(&bytes).or_fail(|| format!("{} cannot be read", pinned.path))?;
            for document in &manifest.documents {
                if is_subject || document.kind == DocumentKind::Vex {
                    gathering.document(document_place(&manifest, document), document).await?;
                }
            }
        }
        super::product::said(gathering, &product).await?;
    }
    Ok(())
}

/// The manifest that a report says was running.
fn ran(payload: &str) -> Option<Digest> {
    let report: Report = suture_core::json::from_slice(payload.as_bytes()).ok()?;
    Some(report.running.manifest)
}
