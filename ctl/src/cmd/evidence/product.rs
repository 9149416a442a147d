//! What a product is and what became of it: its bundles as the manufacturer signed them; for a hospital its rollouts, for the
//! manufacturer how far each bundle is, in counts.

use std::collections::BTreeSet;

use suture_core::approval::Pinned;
use suture_core::id::{ApprovalId, ProductId};
use suture_core::life;
use suture_core::limits::{MAX_ADOPTIONS_PER_CALL, MAX_EVIDENCE_BUNDLES, MAX_EVIDENCE_ROLLOUTS};
use suture_core::manifest::Manifest;
use suture_core::trust::CatalogEntry;
use suture_core::version::Release;
use suture_proto::v1;

use super::gather::{Gathering, pin};
use super::{letters, rollout, words};
use crate::evidence::bundles::document_place;
use crate::evidence::served::Adoption;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::lists;
use crate::trust_store::Which;

/// Gathers it for a hospital.
pub(super) async fn of_hospital(
    gathering: &mut Gathering<'_, '_>,
    product: &ProductId,
    release: Option<Release>,
) -> Outcome {
    bundles(gathering, product, release).await?;
    let counts = |r: &v1::Rollout| r.product == product.as_str() && release.is_none_or(|want| r.release == want.0);
    // Newest first.
    let rollouts: Vec<v1::Rollout> =
        lists::rollouts(&mut gathering.client, true).await?.into_iter().filter(counts).collect();
    if rollouts.len() > MAX_EVIDENCE_ROLLOUTS {
        let left = rollouts.len() - MAX_EVIDENCE_ROLLOUTS;
        gathering.note(&format!("the {left} oldest rollouts are left out: `evidence rollout ID` has each"));
    }
    let mut devices = BTreeSet::new();
    for row in rollouts.into_iter().take(MAX_EVIDENCE_ROLLOUTS) {
        let id: ApprovalId = suture_proto::parse("id", &row.id)?;
        devices.extend(rollout::approval(gathering, &id).await?);
        rollout::reports(gathering, &id).await?;
    }
    rollout::rosters(gathering, &devices).await?;
    rollout::inventory(gathering, &devices).await?;
    let ids: BTreeSet<String> = devices.iter().map(ToString::to_string).collect();
    gathering.forks(|device| ids.contains(device)).await?;
    let wanted = product.to_string();
    gathering.decisions(|d| d.product == wanted && release.is_none_or(|want| d.release == want.0)).await
}

/// Gathers it for the manufacturer.
pub(super) async fn of_manufacturer(
    gathering: &mut Gathering<'_, '_>,
    product: &ProductId,
    release: Option<Release>,
) -> Outcome {
    for release in bundles(gathering, product, release).await? {
        adoption(gathering, product, release).await?;
    }
    letters::of_manufacturer(gathering, product).await?;
    // Also with hospitals that have no device of it any more.
    for hdo in letters::hospitals(gathering).await? {
        words::agreements(gathering, &hdo, product).await?;
    }
    Ok(())
}

/// The product's bundles that the catalog lists, the latest; gives their releases.
async fn bundles(
    gathering: &mut Gathering<'_, '_>,
    product: &ProductId,
    release: Option<Release>,
) -> Outcome<Vec<Release>> {
    let mut found: Vec<(Release, Pinned)> = Vec::new();
    for (path, target) in &gathering.listed {
        let entry = CatalogEntry::of(target).filter(|e| e.product == *product);
        if let Some(entry) = entry.filter(|e| release.is_none_or(|want| e.release == want)) {
            found.push((entry.release, pin(path, target)));
        }
    }
    if found.is_empty() {
        let release = release.map_or_else(String::new, |r| format!(" release {r}"));
        return Err(Failure::new(format!("the manufacturer's catalog does not list {product}{release}"))
            .next("`suturectl bundle list` names what it lists"));
    }
    found.sort_by_key(|(release, _)| std::cmp::Reverse(*release));
    if found.len() > MAX_EVIDENCE_BUNDLES {
        gathering.note(&format!("the {} oldest bundles are left out", found.len() - MAX_EVIDENCE_BUNDLES));
        found.truncate(MAX_EVIDENCE_BUNDLES);
    }
    let named: BTreeSet<u64> = found.iter().map(|(release, _)| release.0).collect();
    let wanted = product.to_string();
    gathering.bundles(|b| b.product == wanted && named.contains(&b.release)).await?;
    for (_, pinned) in &found {
        manifest(gathering, pinned).await?;
    }
    let count = found.len();
    gathering.note(&format!("{product}: {count} bundles"));
    Ok(found.into_iter().map(|(release, _)| release).collect())
}

/// A manifest with all documents that it pins.
pub(super) async fn manifest(gathering: &mut Gathering<'_, '_>, pinned: &Pinned) -> Outcome {
    let bytes = gathering.target(Which::Catalog, pinned).await?;
    let manifest = Manifest::parse(&bytes).or_fail(|| format!("{} cannot be read", pinned.path))?;
    for document in &manifest.documents {
        gathering.document(document_place(&manifest, document), document).await?;
    }
    gathering.products.insert(manifest.product.clone());
    Ok(())
}

/// What the manufacturer has signed of a product's life, and of vulnerabilities beside the bundles.
pub(super) async fn said(gathering: &mut Gathering<'_, '_>, product: &ProductId) -> Outcome {
    let (life, vex) = (life::path(product), format!("vex/{product}/"));
    let ours = |path: &&String| **path == life || path.starts_with(&vex);
    let listed = gathering.listed.iter().filter(|(path, _)| ours(path));
    let pins: Vec<Pinned> = listed.map(|(path, target)| pin(path, target)).collect();
    for pinned in pins {
        gathering.target(Which::Catalog, &pinned).await?;
    }
    Ok(())
}

async fn adoption(gathering: &mut Gathering<'_, '_>, product: &ProductId, release: Release) -> Outcome {
    let mut after = String::new();
    loop {
        let request = v1::GetAdoptionRequest {
            product: product.to_string(),
            release: release.0,
            after: after.clone(),
            limit: MAX_ADOPTIONS_PER_CALL,
        };
        let v1::GetAdoptionResponse { hospitals, more, .. } = gathering.client.get_adoption(request).await?;
        let last = hospitals.last().map(|h| h.hdo.clone()).unwrap_or_default();
        for h in hospitals {
            let begun = [h.confirmed, h.under_way, h.late, h.failed].into_iter().fold(0, u32::saturating_add);
            gathering.served.adoption.push(Adoption {
                product: product.clone(),
                release,
                hdo: suture_proto::parse("hdo", &h.hdo)?,
                devices: h.devices,
                confirmed: h.confirmed,
                under_way: h.under_way,
                late: h.late,
                failed: h.failed,
                others: h.devices.saturating_sub(begun),
                decision: Some(h.choice).filter(|choice| !choice.is_empty()),
            });
        }
        if !more {
            return Ok(());
        }
        if last <= after {
            return Err(Failure::untrusted("the server's list of hospitals does not come to an end"));
        }
        after = last;
    }
}
