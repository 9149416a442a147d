//! Statements that are published, and documents that are read, as a publication does both.

use std::collections::BTreeMap;

use suture_core::digest::Digest;
use suture_core::exposure::{Question, Verdict, VexEntry, VexStatus};
use suture_core::id::HardwareId;
use suture_core::trust::{CatalogEntry, Status, Target};
use suture_core::version::Release;

use super::super::published::{Shelf, TakeVexError};
use super::fleet::at;
use super::{Asked, Look};
use crate::store::Tx;
use crate::store::bundles::Bundle;
use crate::store::suite::each;

fn openvex(status: &str, version: &str) -> Vec<u8> {
    let why = match status {
        "affected" => r#""action_statement": "update""#,
        "not_affected" => r#""justification": "vulnerable_code_not_present""#,
        _ => r#""status_notes": "looked at""#,
    };
    format!(
        r#"{{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "ACME",
            "timestamp": "2026-11-01T00:00:00Z", "version": 1, "statements": [{{"vulnerability": {{"name": "CVE-2026-0001"}},
            "products": [{{"@id": "pkg:generic/pump@{version}"}}], "status": "{status}", {why}}}]}}"#
    )
    .into_bytes()
}

/// A catalog with two bundles.
struct Catalog {
    listed: BTreeMap<String, Target>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Catalog {
    async fn new(tx: &mut Tx) -> Self {
        let mut listed = BTreeMap::new();
        for release in [1, 2] {
            let entry = CatalogEntry {
                product: "pump".parse().unwrap(),
                release: Release(release),
                version: format!("{release}.0.0").parse().unwrap(),
                hardware: vec!["rev-a".parse::<HardwareId>().unwrap()],
                min_release: Release(0),
                status: Status::Current,
                floor: Release(0),
            };
            let path = format!("bundles/pump/{release}/manifest.json");
            let target = Target::of(path.as_bytes(), Some(entry.to_custom()));
            let bundle = Bundle {
                product: entry.product,
                release: entry.release,
                version: entry.version,
                path: path.clone(),
                manifest_sha256: target.sha256,
                status: "current".to_owned(),
                payload_length: 1,
                published: at(0),
            };
            tx.put_bundle(&bundle).await.unwrap();
            listed.insert(path, target);
        }
        Self { listed, files: BTreeMap::new() }
    }

    fn list(&mut self, id: &str, number: u64, bytes: &[u8], change: impl FnOnce(&mut VexEntry)) {
        let mut entry = VexEntry {
            product: "pump".parse().unwrap(),
            id: id.parse().unwrap(),
            format: "openvex".to_owned(),
            number,
            after: Release(2),
            status: VexStatus::Current,
            reason: None,
        };
        change(&mut entry);
        let path = format!("vex/pump/{id}.json");
        self.listed.insert(path.clone(), Target::of(bytes, Some(entry.to_custom())));
        self.files.insert(path, bytes.to_vec());
    }

    /// What a publication does with the statements that it lists.
    async fn publish(&self, tx: &mut Tx) -> Result<(), TakeVexError> {
        let shelf = Shelf::of(tx, &self.listed).await?;
        for (path, bytes) in &self.files {
            if let Some(target) = self.listed.get(path)
                && !Shelf::knows(tx, path, target).await?
            {
                shelf.take(tx, path, target, bytes, at(0)).await?;
            }
        }
        tx.unlist_vex(&self.listed).await?;
        Ok(())
    }
}

async fn verdicts(tx: &mut Tx) -> Vec<Verdict> {
    let question = Question { vulnerability: Some("cve-2026-0001".to_owned()), component: None };
    let look = Look::take(tx, &Asked { question, product: None }).await.unwrap();
    look.answer.findings.iter().map(|f| f.verdict).collect()
}

#[tokio::test]
async fn what_is_published_counts_until_it_is_replaced_or_taken_back() {
    use Verdict::{Affected, NotAffected, Unknown};
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let mut catalog = Catalog::new(&mut tx).await;
        assert_eq!(verdicts(&mut tx).await, [Unknown, Unknown]);
        catalog.list("acme-1", 1, &openvex("affected", "1.0.0"), |_| {});
        catalog.publish(&mut tx).await.unwrap();
        assert_eq!(verdicts(&mut tx).await, [Affected, Unknown]);
        // The same again changes nothing.
        catalog.publish(&mut tx).await.unwrap();
        catalog.list("acme-2", 2, &openvex("not_affected", "1.0.0"), |_| {});
        catalog.publish(&mut tx).await.unwrap();
        assert_eq!(verdicts(&mut tx).await, [NotAffected, Unknown]);
        // The older document says something else, and is the newer one from then on.
        catalog.list("acme-1", 3, &openvex("affected", "2.0.0"), |_| {});
        catalog.publish(&mut tx).await.unwrap();
        assert_eq!(verdicts(&mut tx).await, [NotAffected, Affected]);
        catalog.list("acme-1", 3, &openvex("affected", "2.0.0"), |entry| {
            (entry.status, entry.reason) = (VexStatus::Withdrawn, Some("it named the wrong version".to_owned()));
        });
        catalog.publish(&mut tx).await.unwrap();
        assert_eq!(verdicts(&mut tx).await, [NotAffected, Unknown]);
        catalog.listed.remove("vex/pump/acme-2.json");
        catalog.publish(&mut tx).await.unwrap();
        assert_eq!(verdicts(&mut tx).await, [Unknown, Unknown]);
        // Its number stays used.
        catalog.list("acme-4", 3, &openvex("affected", "1.0.0"), |_| {});
        let refused = catalog.publish(&mut tx).await.unwrap_err();
        assert!(matches!(refused, TakeVexError::Number { number: 3, highest: 3 }), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn statements_that_do_not_fit_what_the_catalog_says_are_refused() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let good = openvex("affected", "1.0.0");
        let mut tries: Vec<(&str, Catalog)> = Vec::new();
        let mut make = async |what, bytes: &[u8], change: fn(&mut VexEntry)| {
            let mut catalog = Catalog::new(&mut tx).await;
            catalog.list("acme-1", 1, bytes, change);
            tries.push((what, catalog));
        };
        make("it is openvex, and the catalog says", &good, |entry| entry.format = "csaf".to_owned()).await;
        make("release 3 is the product's newest", &good, |entry| entry.after = Release(3)).await;
        make("`custom` part", &good, |entry| entry.id = "acme-2".parse().unwrap()).await;
        make("cannot be read", &good[..good.len() - 1], |_| {}).await;
        make("cannot be read", b"{}", |_| {}).await;
        for (what, catalog) in tries {
            let refused = catalog.publish(&mut tx).await.unwrap_err();
            assert!(refused.to_string().contains(what), "{what}: {refused}");
        }
        assert!(tx.vex("vex/pump/acme-1.json").await.unwrap().is_none(), "nothing is kept of them");
        let digest = Digest::of(&good);
        let entry = Target { length: 1, sha256: digest, custom: None };
        let shelf = Shelf::of(&mut tx, &BTreeMap::new()).await.unwrap();
        let refused = shelf.take(&mut tx, "vex/pump/acme-1.json", &entry, &good, at(0)).await.unwrap_err();
        assert!(matches!(refused, TakeVexError::Entry));
    })
    .await;
}
