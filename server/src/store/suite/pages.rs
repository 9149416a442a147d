//! Lists, page by page, on both databases.

use suture_core::digest::Digest;
use suture_core::version::Release;

use super::super::bundles::Bundle;
use super::super::proposals::{Place, Proposal};
use super::super::rollouts::Rollout;
use super::each;
use super::nouns::{after, hdo, hospital, now, rollout};

#[tokio::test]
async fn every_list_goes_on_where_its_last_page_ended() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let listed = [("monitor", 2), ("monitor", 11), ("pump", 1)];
        for (product, release) in listed {
            let bundle = Bundle {
                product: product.parse().unwrap(),
                release: Release(release),
                version: "1.0.0".parse().unwrap(),
                path: format!("bundles/{product}/{release}/manifest.json"),
                manifest_sha256: Digest::of(product.as_bytes()),
                status: "current".to_owned(),
                payload_length: 1,
                published: now(),
            };
            tx.put_bundle(&bundle).await.unwrap();
        }
        // Two of one second, and one that ended.
        for (id, created) in [("a3", 1), ("a1", 2), ("a2", 2), ("a4", 3)] {
            tx.put_rollout(&Rollout { created: after(created), ..rollout(id) }, now()).await.unwrap();
        }
        for (n, (product, release)) in listed.into_iter().enumerate() {
            let proposal = Proposal {
                id: n.to_string(),
                hdo: hdo(),
                product: product.parse().unwrap(),
                release: Release(release),
                suggestion: b"{}".to_vec(),
                note: "a louder alarm".to_owned(),
                by: "ada".parse().unwrap(),
                created: after(i64::from(n == 2)),
                expires: after(60),
            };
            tx.put_proposal(&proposal).await.unwrap();
        }
        let mut rollouts: Vec<Rollout> = Vec::new();
        let place = |all: &[Rollout]| all.last().map(|last| (last.created, last.id.clone()));
        while let [next] = &tx.rollouts(&hdo(), true, place(&rollouts).as_ref(), 1).await.unwrap()[..] {
            rollouts.push(next.clone());
        }
        assert_eq!(rollouts.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a4", "a1", "a2", "a3"]);
        assert_eq!(tx.hdos_after(None, 9).await.unwrap().len(), 1);
        assert_eq!(tx.hdos_after(Some(&hdo()), 9).await.unwrap(), []);
        tx.commit().await.unwrap();

        let mut bundles: Vec<Bundle> = Vec::new();
        while let [next] = &store.bundles(bundles.last().map(|b| (&b.product, b.release)), 1).await.unwrap()[..] {
            bundles.push(next.clone());
        }
        assert_eq!(bundles.iter().map(|b| (b.product.as_str(), b.release.0)).collect::<Vec<_>>(), listed);
        let mut proposals: Vec<Proposal> = Vec::new();
        let place = |all: &[Proposal]| {
            let Proposal { created, hdo, product, release, .. } = all.last()?.clone();
            Some(Place { created, hdo, product, release })
        };
        while let [(next, _)] = &store.proposals(None, now(), place(&proposals).as_ref(), 1).await.unwrap()[..] {
            proposals.push(next.clone());
        }
        assert_eq!(proposals.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["2", "0", "1"]);
    })
    .await;
}
