//! `bundle list`: what the server has, how much of it the signed catalog says, and what the hospital has decided.

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::digest::Digest;
use suture_core::trust::{CatalogEntry, status_reason};
use suture_proto::{parse_digest, v1};

use crate::cmd::rollout::decide;
use crate::context::Context;
use crate::failure::Outcome;
use crate::lists;
use crate::print::{Table, bytes};
use crate::trust_store::{TrustStore, Which};

#[derive(Serialize)]
struct Listed {
    product: String,
    release: u64,
    version: String,
    status: String,
    /// Why that is its status, in the manufacturer's signed words.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    payload_length: u64,
    manifest_sha256: Digest,
    /// Whether the catalog that this home verified lists just this manifest.
    signed: bool,
    /// What the hospital has said of it last, where nothing has answered that; not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<decide::Listed>,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>) -> Outcome {
    let mut client = context.connect().await?;
    let store = TrustStore::of(&context.home, Which::Catalog);
    let catalog =
        if store.is_pinned()? { Some(store.refresh_catalog(&mut client, context.now()).await?) } else { None };
    let mut decisions = BTreeMap::new();
    if let Ok(hdo) = context.home.server()?.hdo() {
        for row in decide::fetch(&mut client, &hdo, false, context.now()).await? {
            decisions.insert((row.decision.product.to_string(), row.decision.release.0), row);
        }
    }
    let bundles = lists::bundles(&mut client).await?;
    let mut rows = Vec::with_capacity(bundles.len());
    for v1::Bundle { product, version, release, manifest_sha256, status, payload_length, published_ms: _ } in bundles {
        let manifest_sha256 = parse_digest("manifest_sha256", &manifest_sha256)?;
        let path = format!("bundles/{product}/{release}/manifest.json");
        let target = catalog.as_ref().and_then(|c| c.target(&path)).filter(|t| t.sha256 == manifest_sha256);
        // What the signature says counts, where there is one.
        let status = target.and_then(CatalogEntry::of).map_or(status, |e| e.status.as_str().to_owned());
        rows.push(Listed {
            decision: decisions.remove(&(product.clone(), release)),
            status_reason: target.and_then(status_reason).map(str::to_owned),
            product,
            release,
            version,
            status,
            payload_length,
            manifest_sha256,
            signed: target.is_some(),
        });
    }
    for row in rows.iter().filter_map(|r| r.decision.as_ref()).filter(|d| d.overdue_days.is_some()) {
        context.print.note(&decide::overdue(row));
    }
    context.print.result(&rows, |rows| table(rows))
}

fn table(rows: &[Listed]) -> String {
    let mut table =
        Table::new(["product", "release", "version", "status", "payload", "manifest", "signature", "decision"]);
    for r in rows {
        let decision = r.decision.as_ref().map(|d| {
            let late = d.overdue_days.map_or_else(String::new, |_| ", OVERDUE".to_owned());
            format!("{}, review {}{late}", d.decision.choice, d.decision.review)
        });
        table.row([
            r.product.clone(),
            r.release.to_string(),
            r.version.clone(),
            r.status_reason.as_ref().map_or_else(|| r.status.clone(), |why| format!("{}: {why}", r.status)),
            bytes(r.payload_length),
            r.manifest_sha256.short(),
            if r.signed { "verified" } else { "NOT VERIFIED" }.to_owned(),
            decision.unwrap_or_default(),
        ]);
    }
    table.to_text()
}
