//! Leases on both databases: the last place of a ward is granted once, and a row is what was put.

use jiff::{SignedDuration, Timestamp};
use suture_core::id::{DeviceId, HdoId, WardId};
use suture_core::lease::{Answer, Ask, Stage};
use suture_core::phase::Code;
use suture_core::principal::Principal;

use super::super::Store;
use super::each;
use super::stops::{approval, at, hdo, hospital, pump};
use crate::lease::{give_back, grant};

fn ask(device: u32, ward: &str, cap: u32, stage: Stage) -> Ask {
    Ask {
        device: pump(device),
        ward: ward.parse().unwrap(),
        approval: approval(0),
        cap,
        silence: SignedDuration::from_hours(2),
        expires: at(1_000),
        stage,
    }
}

async fn granted(store: &Store, asked: &Ask, now: Timestamp) -> bool {
    let mut tx = store.begin().await.unwrap();
    let answer = grant(&mut tx, &hdo(), asked, now).await.unwrap();
    tx.commit().await.unwrap();
    matches!(answer, Answer::Granted(_))
}

async fn down(store: &Store, ward: &str, now: Timestamp) -> Vec<DeviceId> {
    let ward: WardId = ward.parse().unwrap();
    let leases = store.read().await.unwrap().ward_leases(&hdo(), &ward).await.unwrap();
    leases.into_iter().filter(|l| l.counts(now)).map(|l| l.device).collect()
}

#[tokio::test]
async fn the_last_place_of_a_ward_is_granted_once_however_many_ask_at_once() {
    each(async |store| {
        hospital(&store, 1).await.commit().await.unwrap();
        for (ward, cap) in [("icu", 1), ("er", 3)] {
            let asks = (1..=12).map(|n| {
                let (store, asked) = (store.clone(), ask(n + 100 * cap, ward, cap, Stage::Wanted));
                tokio::spawn(async move { granted(&store, &asked, at(0)).await })
            });
            let all = futures::future::join_all(asks).await;
            let granted = all.into_iter().filter(|granted| *granted.as_ref().unwrap()).count();
            assert_eq!(granted, cap as usize, "{ward}");
            assert_eq!(down(&store, ward, at(0)).await.len(), cap as usize);
        }
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_kept_as_it_was_granted_and_ends_once() {
    each(async |store| {
        hospital(&store, 1).await.commit().await.unwrap();
        for stage in [Stage::Wanted, Stage::Beginning, Stage::Begun] {
            assert!(granted(&store, &ask(1, "icu", 1, stage), at(0)).await);
        }
        assert!(!granted(&store, &ask(2, "icu", 1, Stage::Wanted), at(1)).await);
        let mut tx = store.begin().await.unwrap();
        let lease = tx.lease(&hdo(), &pump(1)).await.unwrap().unwrap();
        assert_eq!((lease.approval.clone(), lease.cap, lease.begun), (approval(0), 1, Some(at(0))));
        assert_eq!(tx.rollout_leases(&hdo(), &approval(0)).await.unwrap(), [lease]);
        // A person's word ends it, once, and for that very lease.
        let by = Principal::Operator(hdo(), "kim".parse().unwrap());
        for told in [true, false] {
            let ended = give_back(&mut tx, &hdo(), &pump(1), &by, "seen", at(1)).await.unwrap();
            assert_eq!(ended.is_some(), told);
        }
        tx.commit().await.unwrap();
        assert!(granted(&store, &ask(1, "icu", 1, Stage::Begun), at(1)).await, "past the switch it is always heard");
        assert!(granted(&store, &ask(2, "icu", 1, Stage::Wanted), at(1)).await);
        let mut tx = store.begin().await.unwrap();
        for there in [true, false] {
            assert_eq!(tx.drop_lease(&hdo(), &pump(2)).await.unwrap(), there);
        }
        tx.commit().await.unwrap();
        assert!(granted(&store, &ask(1, "icu", 1, Stage::Wanted), at(2)).await, "in its turn, as everybody");
        assert_eq!(down(&store, "icu", at(2)).await, [pump(1)]);
    })
    .await;
}

#[tokio::test]
async fn a_hospitals_ward_is_its_own() {
    each(async |store| {
        hospital(&store, 1).await.commit().await.unwrap();
        assert!(granted(&store, &ask(1, "icu", 1, Stage::Wanted), at(0)).await);
        let other: HdoId = "lakeside".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        let mine = tx.ward_leases(&other, &"icu".parse().unwrap()).await.unwrap();
        assert!(mine.is_empty());
        let answer = grant(&mut tx, &hdo(), &ask(2, "icu", 1, Stage::Beginning), at(0)).await.unwrap();
        assert!(matches!(answer, Answer::Refused { reason, .. } if reason.code == Code::WardBusy));
    })
    .await;
}
