//! What a bundle names must be on the server before the catalog lists it.

use suture_core::digest::Digest;
use suture_core::manifest::Manifest;
use suture_core::trust::{CatalogEntry, Status};

use super::*;
use crate::store::chunks::DocumentKind;
use crate::store::suite::deltas::manifest as release;

/// What comes in force with the catalog, if it does.
async fn list(
    tx: &mut Tx,
    keys: OnlineKeys,
    base: Option<&Published>,
    manifest: &Manifest,
) -> Result<Published, EffectError> {
    let bytes = manifest.to_bytes().unwrap();
    let entry = CatalogEntry {
        product: manifest.product.clone(),
        release: manifest.release,
        version: manifest.version.clone(),
        hardware: manifest.hardware.clone(),
        min_release: manifest.requires.min_release,
        status: Status::Current,
        floor: manifest.requires.min_release,
    };
    let first = || TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
    let mut draft =
        base.map_or_else(first, |base| TargetsDraft::following(&base.targets, now(), edit::CATALOG_LIFETIME));
    draft.targets.insert(manifest.path(), Target::of(&bytes, Some(entry.to_custom())));
    let targets = Some(edit::sign_targets(&draft, &[&key(2)]).unwrap());
    let files = vec![(manifest.path(), bytes)];
    let roots = if base.is_none() { vec![root(keys)] } else { Vec::new() };
    let offered = Offer { roots, targets, files, ..Offer::default() };
    let done = publish(tx, &CATALOG, SEAL, offered, &actor(), now()).await.unwrap();
    let (root, targets, listed) = (&done.root, &done.targets, &done.listed);
    let (repository, actor, sent) = (&CATALOG, &actor(), std::collections::BTreeMap::new());
    let listing = Listing { repository, root, targets, listed, sent, actor, now: now(), delta_sources: 0 };
    listing.take_effect(tx).await.map(|()| done)
}

async fn send(store: &Store, sha256: &Digest, kind: DocumentKind) {
    let mut tx = store.begin().await.unwrap();
    tx.put_document(sha256, kind, 7, now()).await.unwrap();
    tx.commit().await.unwrap();
}

/// Found: a bundle that was never sent was listed, and no device could fetch it.
#[tokio::test]
async fn a_bundle_is_listed_only_where_all_that_it_names_is_here() {
    each(async |store| {
        let keys = keys(&store, &CATALOG).await;
        let manifest = release(1, "app");
        let index = manifest.payloads[0].index_sha256;
        for sent in [false, true] {
            if sent {
                send(&store, &index, DocumentKind::Document).await;
            }
            let mut tx = store.begin().await.unwrap();
            let refused = list(&mut tx, keys, None, &manifest).await;
            assert!(matches!(&refused, Err(EffectError::NotUploaded { sha256, .. }) if *sha256 == index));
        }
        send(&store, &index, DocumentKind::Index).await;
        let mut tx = store.begin().await.unwrap();
        let one = list(&mut tx, keys, None, &manifest).await.unwrap();
        tx.commit().await.unwrap();
        // The same release, otherwise: what it names now is looked for as well.
        let mut tx = store.begin().await.unwrap();
        let other = release(1, "another app");
        let refused = list(&mut tx, keys, Some(&one), &other).await;
        assert!(matches!(refused, Err(EffectError::NotUploaded { .. })));
    })
    .await;
}
