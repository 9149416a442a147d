//! Payloads, deltas and claims.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::manifest::{Install, InstallKind, Manifest, PatchClass, Payload, PayloadFormat, Requires, TYPE};
use suture_core::version::Release;

use super::super::bundles::Bundle;
use super::super::deltas::{DeltaState, MadeHead, Pair, RegionObject};
use super::super::{Store, Tx, on};
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
        install: Install {
            kind: InstallKind::Slots,
            budget_secs: 60,
            revert_budget_secs: 60,
            return_to_service: false,
            data: None,
        },
        payloads: vec![payload],
        documents: Vec::new(),
        risks: Vec::new(),
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

/// Who asks.
const DEVICE: &str = "hdo/mercy/device/pump-1";

async fn want(store: &Store, pair: &Pair, asked: bool, at: Timestamp) -> bool {
    let mut tx = store.begin().await.unwrap();
    let news = tx.want_delta(pair, asked.then_some(DEVICE), at).await.unwrap();
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
        // By a clock that was days ahead, and was set right.
        assert!(claim("one", 1_000_000).await);
        assert!(claim("two", -1_000).await);
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
async fn what_was_prepared_comes_first_and_what_failed_last() {
    each(async |store| {
        let (first, second, asked) = (pair("1", "9"), pair("2", "9"), pair("3", "9"));
        want(&store, &asked, true, after(0)).await;
        for (at, pair) in [&first, &second].into_iter().enumerate() {
            want(&store, pair, false, after(1 + at as i64)).await;
        }
        let next = async |retry: i64| store.next_delta(after(retry)).await.unwrap().map(|d| (d.pair, d.tries));
        assert_eq!(next(0).await, Some((first, 0)));
        let waiting = async |device: &str| {
            let mut tx = store.begin().await.unwrap();
            tx.deltas_waiting_for(device).await.unwrap()
        };
        assert_eq!((waiting(DEVICE).await, waiting("another").await), (1, 0));
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&first, 1, after(20)).await.unwrap();
        tx.try_delta(&second, 1, after(20)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(100).await, Some((asked, 0)));
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&second, -1, after(21)).await.unwrap();
        tx.end_delta(&asked, DeltaState::Failed, "no", after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(19).await, Some((second, 0)), "broken off, it was no try");
        let mut tx = store.begin().await.unwrap();
        tx.try_delta(&second, -1, after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(next(19).await, Some((second, 0)), "and no fewer than none");
        let mut tx = store.begin().await.unwrap();
        tx.end_delta(&second, DeltaState::Useless, "large", after(21)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((next(19).await, next(20).await), (None, Some((first, 1))));

        // What some regions were stored of before is deleted, and stays what it is.
        assert_eq!(store.deltas_to_delete().await.unwrap(), []);
        let mut tx = store.begin().await.unwrap();
        let region = RegionObject { object: "deltas/second".to_owned(), length: 1 };
        for pair in [&second, &first] {
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
        assert!(!want(&store, &asked, true, after(20 + day)).await);
        assert!(want(&store, &asked, true, after(21 + day)).await);
        assert!(!want(&store, &second, true, after(21 + day)).await);
        // And what all want is no device's any more.
        assert_eq!(waiting(DEVICE).await, 1);
        assert!(!want(&store, &asked, false, after(21 + day)).await);
        assert_eq!(waiting(DEVICE).await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_one_that_was_made_first_is_crowded_out_first() {
    each(async |store| {
        let made = [pair("1", "9"), pair("2", "9")];
        for (at, pair) in made.iter().enumerate() {
            want(&store, pair, false, now()).await;
            let objects = [format!("{at}a"), format!("{at}b")];
            make(&store, pair, &[&objects[0], &objects[1]], after(9 - at as i64)).await;
        }
        assert_eq!(store.deltas_length().await.unwrap(), 40);
        let mut tx = store.begin().await.unwrap();
        tx.crowd_out_delta(after(10)).await.unwrap();
        tx.commit().await.unwrap();
        let states = (state(&store, &made[0]).await, state(&store, &made[1]).await);
        assert_eq!(states, (Some(DeltaState::Made), Some(DeltaState::Crowded)));
        assert_eq!(store.deltas_length().await.unwrap(), 20);
        assert_eq!(store.delta_head(&made[1]).await.unwrap(), None);
        let day = 86_400;
        assert!(!want(&store, &made[1], false, after(9 + day)).await, "made and dropped without end");
        assert!(want(&store, &made[1], false, after(10 + day)).await);

        // What a device asked for goes before what was there earlier.
        let asked = pair("3", "9");
        want(&store, &asked, true, now()).await;
        make(&store, &asked, &["asked"], after(99)).await;
        let mut tx = store.begin().await.unwrap();
        tx.crowd_out_delta(after(100)).await.unwrap();
        tx.commit().await.unwrap();
        let states = (state(&store, &made[0]).await, state(&store, &asked).await);
        assert_eq!(states, (Some(DeltaState::Made), Some(DeltaState::Crowded)));
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
            let told = store.bundles(None, 100).await.unwrap().into_iter().map(|b| b.status);
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
async fn what_another_release_of_the_program_made_is_forgotten_and_what_was_prepared_wanted_anew() {
    each(async |store| {
        let (prepared, asked, ours) = (pair("1", "9"), pair("2", "9"), pair("3", "9"));
        for (pair, by_device) in [(&prepared, false), (&asked, true), (&ours, true)] {
            want(&store, pair, by_device, now()).await;
            make(&store, pair, &[&pair.old.short()], now()).await;
        }
        let mut tx = store.begin().await.unwrap();
        for pair in [&prepared, &asked] {
            on!(tx, |c| {
                sqlx::query("UPDATE delta SET format = 0 WHERE old_sha256 = $1")
                    .bind(pair.old.as_bytes().as_slice())
                    .execute(c)
                    .await
                    .map(drop)
            })
            .unwrap();
        }
        tx.commit().await.unwrap();
        let offered: Vec<_> = store.deltas_to(&ours.new).await.unwrap().into_iter().map(|d| d.pair).collect();
        assert_eq!(offered, [ours]);

        let mut tx = store.begin().await.unwrap();
        tx.forget_other_formats(after(1)).await.unwrap();
        tx.commit().await.unwrap();
        let states = [state(&store, &prepared).await, state(&store, &asked).await, state(&store, &ours).await];
        assert_eq!(states, [Some(DeltaState::Wanted), None, Some(DeltaState::Made)]);
        let left = [store.delta_regions(&prepared).await.unwrap(), store.delta_regions(&asked).await.unwrap()];
        assert_eq!((left, store.delta_regions(&ours).await.unwrap().len()), ([Vec::new(), Vec::new()], 1));
        make(&store, &prepared, &["again"], after(2)).await;
        assert!(store.delta_head(&prepared).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_delta_that_is_lost_is_dropped_once() {
    each(async |store| {
        let pair = pair("1", "9");
        want(&store, &pair, false, now()).await;
        let head = Digest::of(&make(&store, &pair, &["a"], now()).await.head);
        let lose = async |head: &Digest| {
            let mut tx = store.begin().await.unwrap();
            let lost = tx.lose_delta(&pair, head, after(1)).await.unwrap();
            tx.commit().await.unwrap();
            lost
        };
        assert!(!lose(&sha("another")).await);
        assert_eq!((lose(&head).await, lose(&head).await), (true, false));
        assert_eq!(state(&store, &pair).await, Some(DeltaState::Dropped));
        assert!(want(&store, &pair, true, after(1)).await);
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
        let asked = async |since| store.deltas_asked(&"pump".parse().unwrap(), after(since)).await.unwrap();
        assert_eq!(asked(1).await, 4);
        // One that came to nothing counts too, for a while.
        let useless = pair("app 3", "app 2");
        want(&store, &useless, true, now()).await;
        let mut tx = store.begin().await.unwrap();
        tx.end_delta(&useless, DeltaState::Useless, "", after(1)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!((asked(0).await, asked(1).await), (5, 4));

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
        assert_eq!(store.deltas_to_delete().await.unwrap().len(), 4);
        let objects: Vec<String> = all.iter().map(|pair| format!("deltas/{}", pair.old.short())).collect();
        let asked = [&objects[..], &["deltas/another".to_owned(), "no \"name\"".to_owned()]].concat();
        assert_eq!(store.delta_objects(&asked).await.unwrap(), objects.into_iter().collect());
        assert!(store.delta_objects(&[]).await.unwrap().is_empty());

        let mut tx = store.begin().await.unwrap();
        for pair in all.iter().chain([&useless]) {
            tx.forget_delta(pair).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(store.deltas_to_delete().await.unwrap(), []);
        assert_eq!((state(&store, &all[0]).await, state(&store, &all[2]).await), (None, Some(Made)));
        assert!(want(&store, &all[0], false, now()).await, "listed again, it is made again");
    })
    .await;
}
