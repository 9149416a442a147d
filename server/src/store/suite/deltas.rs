//! Payloads, deltas and claims.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::manifest::{Install, InstallKind, Manifest, PatchClass, Payload, PayloadFormat, Requires, TYPE};
use suture_core::version::Release;

use super::super::bundles::Bundle;
use super::super::deltas::{DeltaState, MadeHead, Pair, RegionObject};
use super::super::{Store, Tx};
use super::each;

fn after(secs: i64) -> Timestamp {
    "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
}

fn now() -> Timestamp {
    after(0)
}

fn sha(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn pair(old: &str, new: &str) -> Pair {
    Pair { old: sha(old), new: sha(new) }
}

/// A release of the pump whose payload is `app`.
pub(crate) fn manifest(release: u64, app: &str) -> Manifest {
    let payload = Payload {
        name: "app".parse().unwrap(),
        format: PayloadFormat::Image,
        length: app.len() as u64,
        sha256: sha(app),
        index_length: 1,
        index_sha256: sha(&format!("index of {app}")),
    };
    Manifest {
        kind: TYPE.to_owned(),
        format: 1,
        product: "pump".parse().unwrap(),
        version: release.to_string().parse().unwrap(),
        release: Release(release),
        hardware: vec!["rev-a".parse().unwrap()],
        requires: Requires { min_release: Release(0) },
        class: PatchClass::Routine,
        install: Install { kind: InstallKind::Slots, budget_secs: 60, revert_budget_secs: 60 },
        payloads: vec![payload],
        documents: Vec::new(),
    }
}

/// Lists that release.
pub(crate) async fn list(tx: &mut Tx, manifest: &Manifest, status: &str) {
    tx.put_bundle(&Bundle {
        product: manifest.product.clone(),
        release: manifest.release,
        version: manifest.version.clone(),
        path: manifest.path(),
        manifest_sha256: sha("manifest"),
        status: status.to_owned(),
        payload_length: manifest.total_length(),
        published: now(),
    })
    .await
    .unwrap();
    tx.put_payloads(manifest).await.unwrap();
}

async fn want(store: &Store, pair: &Pair, asked: bool, at: Timestamp) -> bool {
    let mut tx = store.begin().await.unwrap();
    let news = tx.want_delta(pair, asked, at).await.unwrap();
    tx.commit().await.unwrap();
    news
}

async fn state(store: &Store, pair: &Pair) -> Option<DeltaState> {
    let all = store.deltas_to(&pair.new).await.unwrap();
    all.into_iter().find(|delta| delta.pair == *pair).map(|delta| delta.state)
}

async fn make(store: &Store, pair: &Pair, regions: &[&str], at: Timestamp) -> MadeHead {
    let mut tx = store.begin().await.unwrap();
    for (ordinal, object) in regions.iter().enumerate() {
        let region = RegionObject { object: format!("deltas/{object}"), length: 10 };
        tx.put_delta_region(pair, ordinal as u64, &region).await.unwrap();
    }
    let made = MadeHead {
        head: b"head".to_vec(),
        chunk_bytes: vec![7, 1 << 20],
        length: 10 * regions.len() as u64,
        regions: regions.len() as u64,
    };
    tx.put_delta(pair, &made, at).await.unwrap();
    tx.commit().await.unwrap();
    made
}

#[tokio::test]
async fn a_claim_is_one_holders_until_it_runs_out_or_is_given_back() {
    each(async |store| {
        let claim = async |holder: &str, at: i64| {
            let mut tx = store.begin().await.unwrap();
            let ours = tx.claim("delta", holder, after(at), after(at + 60)).await.unwrap();
            tx.commit().await.unwrap();
            ours
        };
        assert!(claim("one", 0).await);
        assert!(!claim("two", 59).await);
        assert!(claim("one", 30).await, "the holder repeats it");
        assert!(!claim("two", 89).await);
        assert!(claim("two", 90).await);
        assert!(!claim("one", 91).await);
        let mut tx = store.begin().await.unwrap();
        tx.release("delta", "one").await.unwrap();
        tx.commit().await.unwrap();
        assert!(!claim("one", 92).await, "what is another's is not given back");
        let mut tx = store.begin().await.unwrap();
        tx.release("delta", "two").await.unwrap();
        tx.commit().await.unwrap();
        assert!(claim("one", 92).await);
    })
    .await;
}

#[tokio::test]
async fn a_delta_is_wanted_made_once_and_found() {
    each(async |store| {
        let pair = pair("one", "two");
        assert!(want(&store, &pair, false, now()).await);
        assert!(!want(&store, &pair, true, now()).await);
        assert_eq!((store.deltas_wanted().await.unwrap(), state(&store, &pair).await), (1, Some(DeltaState::Wanted)));
        assert_eq!(store.delta_head(&pair).await.unwrap(), None);
        // An earlier try had more regions, and one of another content.
        let mut tx = store.begin().await.unwrap();
        for (ordinal, object) in ["deltas/old", "deltas/b", "deltas/c"].into_iter().enumerate() {
            let region = RegionObject { object: object.to_owned(), length: 1 };
            tx.put_delta_region(&pair, ordinal as u64, &region).await.unwrap();
        }
        tx.commit().await.unwrap();
        let made = make(&store, &pair, &["a", "b"], now()).await;
        assert_eq!(store.delta_head(&pair).await.unwrap(), Some((made.head.clone(), made.chunk_bytes)));
        assert!(store.is_made(&pair, &Digest::of(&made.head)).await.unwrap());
        assert!(!store.is_made(&pair, &sha("another")).await.unwrap());
        let regions = store.delta_regions(&pair).await.unwrap();
        assert_eq!(regions.iter().map(|r| r.object.as_str()).collect::<Vec<_>>(), ["deltas/a", "deltas/b"]);
        assert_eq!(store.deltas_wanted().await.unwrap(), 0);
        assert!(!want(&store, &pair, true, after(1_000_000)).await, "it is there");
    })
    .await;
}

#[tokio::test]
async fn what_devices_wait_for_comes_first_and_what_failed_last() {
    each(async |store| {
        let (first, second, asked) = (pair("1", "9"), pair("2", "9"), pair("3", "9"));
        for (at, pair) in [&first, &second].into_iter().enumerate() {
            want(&store, pair, false, after(at as i64)).await;
        }
        want(&store, &asked, true, after(9)).await;
        let next = async |retry: i64| store.next_delta(after(retry)).await.unwrap().map(|d| (d.pair, d.tries));
        assert_eq!(next(0).await, Some((asked, 0)));
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&asked, 1, after(20)).await.unwrap();
        tx.try_delta(&second, 1, after(20)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(100).await, Some((first, 0)));
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&second, -1, after(21)).await.unwrap();
        tx.end_delta(&first, DeltaState::Failed, "no", after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(19).await, Some((second, 0)), "broken off, it was no try");
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&second, -1, after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(19).await, Some((second, 0)), "and no fewer than none");
        let mut tx = store.begin().await.unwrap();
        tx.end_delta(&second, DeltaState::Useless, "large", after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((next(19).await, next(20).await), (None, Some((asked, 1))));

        // What some regions were stored of before is deleted, and stays what it is.
        assert_eq!(store.deltas_to_delete().await.unwrap(), []);
        let mut tx = store.begin().await.unwrap();
        let region = RegionObject { object: "deltas/second".to_owned(), length: 1 };
        for pair in [&second, &asked] {
            tx.put_delta_region(pair, 0, &region).await.unwrap();
        }
        tx.commit().await.unwrap();
        let left: Vec<_> = store.deltas_to_delete().await.unwrap().into_iter().map(|delta| delta.pair).collect();
        assert_eq!(left, [second]);
        let mut tx = store.begin().await.unwrap();
        tx.forget_delta(&second).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.deltas_to_delete().await.unwrap(), []);
        assert_eq!(state(&store, &second).await, Some(DeltaState::Useless));

        // What failed is wanted again after a day, what was useless never.
        let day = 86_400;
        assert!(!want(&store, &first, true, after(20 + day)).await);
        assert!(want(&store, &first, true, after(21 + day)).await);
        assert!(!want(&store, &second, true, after(21 + day)).await);
    })
    .await;
}

#[tokio::test]
async fn the_one_that_was_made_first_is_dropped_first() {
    each(async |store| {
        let made = [pair("1", "9"), pair("2", "9")];
        for (at, pair) in made.iter().enumerate() {
            want(&store, pair, false, now()).await;
            let objects = [format!("{at}a"), format!("{at}b")];
            make(&store, pair, &[&objects[0], &objects[1]], after(9 - at as i64)).await;
        }
        assert_eq!(store.deltas_length().await.unwrap(), 40);
        let mut tx = store.begin().await.unwrap();
        tx.drop_oldest_delta(after(10)).await.unwrap();
        tx.commit().await.unwrap();
        let states = (state(&store, &made[0]).await, state(&store, &made[1]).await);
        assert_eq!(states, (Some(DeltaState::Made), Some(DeltaState::Dropped)));
        assert_eq!(store.deltas_length().await.unwrap(), 20);
    })
    .await;
}

#[tokio::test]
async fn a_release_that_nobody_lists_any_more_is_told_so_and_nothing_leads_to_it() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let manifests = [1, 2].map(|release| manifest(release, &format!("app {release}")));
        for manifest in &manifests {
            list(&mut tx, manifest, "superseded").await;
        }
        let statuses = async |store: &Store| {
            let told = store.bundles().await.unwrap().into_iter().map(|b| b.status);
            told.collect::<Vec<_>>()
        };
        let all: BTreeMap<_, _> = manifests.iter().map(|m| (m.path(), ())).collect();
        tx.unlist_bundles(&all).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(statuses(&store).await, ["superseded", "superseded"]);
        let to = [pair("app 2", "app 1"), pair("app 1", "app 2")];
        for pair in &to {
            want(&store, pair, true, now()).await;
            make(&store, pair, &[&pair.old.short()], now()).await;
        }

        let mut tx = store.begin().await.unwrap();
        tx.unlist_bundles(&[(manifests[0].path(), ())].into()).await.unwrap();
        tx.drop_deltas(now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(statuses(&store).await, ["superseded", "unlisted"]);
        let states = [state(&store, &to[0]).await, state(&store, &to[1]).await];
        assert_eq!(states, [Some(DeltaState::Made), Some(DeltaState::Dropped)]);
        // Deltas away from it are still wanted: it runs on devices.
        assert!(store.payloads(&sha("app 2")).await.unwrap()[0].withdrawn);

        // Listed again, it is as the catalog says.
        let mut tx = store.begin().await.unwrap();
        list(&mut tx, &manifests[1], "current").await;
        tx.unlist_bundles(&all).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(statuses(&store).await, ["superseded", "current"]);
    })
    .await;
}

#[tokio::test]
async fn deltas_go_with_their_release() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        for release in 1..=3 {
            list(&mut tx, &manifest(release, &format!("app {release}")), "current").await;
        }
        tx.commit().await.unwrap();
        let all = [pair("", "app 2"), pair("app 1", "app 2"), pair("app 2", "app 3"), pair("app 1", "app 3")];
        for pair in &all {
            want(&store, pair, true, now()).await;
            make(&store, pair, &[&pair.old.short()], now()).await;
        }
        let held = store.payloads(&sha("app 2")).await.unwrap();
        assert_eq!((held.len(), held[0].index_sha256, held[0].withdrawn), (1, sha("index of app 2"), false));
        assert_eq!(store.deltas_asked(&"pump".parse().unwrap()).await.unwrap(), 4);

        // The second is withdrawn, the first is listed with other bytes.
        let mut tx = store.begin().await.unwrap();
        list(&mut tx, &manifest(1, "app 1 again"), "current").await;
        list(&mut tx, &manifest(2, "app 2"), "withdrawn").await;
        tx.drop_deltas(now()).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.payloads(&sha("app 2")).await.unwrap()[0].withdrawn);
        assert_eq!(store.payloads(&sha("app 1")).await.unwrap(), []);
        let mut states = Vec::new();
        for pair in &all {
            states.push(state(&store, pair).await.unwrap());
        }
        use DeltaState::{Dropped, Made};
        // Away from a release that was withdrawn leads the delta that is needed most.
        assert_eq!(states, [Dropped, Dropped, Made, Dropped]);
        assert_eq!(store.deltas_to_delete().await.unwrap().len(), 3);
        let objects: Vec<String> = all.iter().map(|pair| format!("deltas/{}", pair.old.short())).collect();
        let asked = [&objects[..], &["deltas/another".to_owned(), "no \"name\"".to_owned()]].concat();
        assert_eq!(store.delta_objects(&asked).await.unwrap(), objects.into_iter().collect());
        assert!(store.delta_objects(&[]).await.unwrap().is_empty());

        let mut tx = store.begin().await.unwrap();
        for pair in &all {
            tx.forget_delta(pair).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(store.deltas_to_delete().await.unwrap(), []);
        assert_eq!((state(&store, &all[0]).await, state(&store, &all[2]).await), (None, Some(Made)));
        assert!(want(&store, &all[0], false, now()).await, "listed again, it is made again");
    })
    .await;
}
