//! What one caller may fill the database with, and no more.

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HdoId};
use suture_core::principal::Principal;
use suture_core::report::Signed;
use suture_core::rollout::State;
use suture_core::sign::{LocalKey, PublicKey, Signature, Signer as _};
use zeroize::Zeroizing;

use super::super::certificates::Certificate;
use super::super::reports::Place;
use super::super::rollouts::Rollout;
use super::super::{Store, Tx};
use super::nouns::rollout;
use super::{each, in_intensive_care, place};

fn at(secs: i64) -> Timestamp {
    "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn pump(n: u32) -> DeviceId {
    format!("pump-{n}").parse().unwrap()
}

async fn hospital(store: &Store) -> Tx {
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(&hdo(), "Riverside", at(0)).await.unwrap());
    assert!(tx.insert_hdo(&"lakeside".parse().unwrap(), "Lakeside", at(0)).await.unwrap());
    tx
}

#[tokio::test]
async fn the_latest_plans_are_kept_by_number_and_by_bytes_and_each_hospital_has_its_own() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let plan = |n: u8| vec![n; 10];
        let put = async |tx: &mut Tx, hdo: &HdoId, n: u8, secs: i64| {
            tx.put_plan(hdo, &Digest::of(&plan(n)), &plan(n), "kim", at(secs)).await.unwrap();
        };
        let lakeside = "lakeside".parse().unwrap();
        put(&mut tx, &lakeside, 1, 0).await;
        for n in 1..=5 {
            put(&mut tx, &hdo(), n, i64::from(n)).await;
        }
        // Planned again, the first is the latest; those of one instant are all told apart.
        put(&mut tx, &hdo(), 1, 6).await;
        put(&mut tx, &hdo(), 6, 6).await;
        tx.drop_old_plans(&hdo(), 4, 1_000, at(6)).await.unwrap();
        tx.commit().await.unwrap();
        let kept = async |hdo: &HdoId| {
            let mut kept = Vec::new();
            for n in 1..=6 {
                kept.extend(store.plan(hdo, &Digest::of(&plan(n))).await.unwrap().map(|_| n));
            }
            kept
        };
        assert_eq!(kept(&hdo()).await, [1, 4, 5, 6]);
        let mut tx = store.begin().await.unwrap();
        tx.drop_old_plans(&hdo(), 4, 39, at(6)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(kept(&hdo()).await, [1, 5, 6], "three of them have 30 bytes, four would have 40");
        assert_eq!(kept(&lakeside).await, [1]);
    })
    .await;
}

#[tokio::test]
async fn a_plan_stays_as_long_as_an_approval_of_it_is_in_force_and_counts_for_nothing() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let plan = |n: u8| vec![n; 10];
        for n in 1..=4 {
            tx.put_plan(&hdo(), &Digest::of(&plan(n)), &plan(n), "kim", at(i64::from(n))).await.unwrap();
        }
        for (id, n, state) in [("a1", 1, State::Paused), ("a2", 2, State::Superseded)] {
            let plan_sha256 = Digest::of(&plan(n));
            let rollout = Rollout { id: id.parse().unwrap(), state, plan_sha256, expires: at(100), ..rollout("a1") };
            place(&mut tx, &Rollout { hdo: hdo(), ..rollout }, &[(pump(1), 0)], at(5)).await;
        }
        tx.commit().await.unwrap();
        let kept = async |secs: i64| {
            let mut tx = store.begin().await.unwrap();
            tx.drop_old_plans(&hdo(), 1, 1_000, at(secs)).await.unwrap();
            tx.commit().await.unwrap();
            let mut kept = Vec::new();
            for n in 1..=4 {
                kept.extend(store.plan(&hdo(), &Digest::of(&plan(n))).await.unwrap().map(|_| n));
            }
            kept
        };
        assert_eq!(kept(99).await, [1, 4]);
        assert_eq!(kept(100).await, [4], "the approval has ended");
    })
    .await;
}

#[tokio::test]
async fn the_latest_reports_are_kept_of_each_device_and_each_of_its_keys() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let record = |n| in_intensive_care(pump(n));
        tx.import_devices(&hdo(), &[record(1), record(2)], at(0)).await.unwrap();
        let key = |seed| LocalKey::from_seed(&Zeroizing::new([seed; 32])).public();
        let put = async |tx: &mut Tx, device: u32, key: &PublicKey, number: u64| {
            let signed = Signed { payload: b"{}".to_vec(), signature: Signature([0; 64]) };
            tx.put_report(&hdo(), &pump(device), key, number, &signed, at(0)).await.unwrap()
        };
        // Numbers may have gaps: what counts is how many there are.
        let numbers = [1, 2, 3, 900, 1 << 53];
        for number in numbers {
            for (device, key) in [(1, key(1)), (1, key(2)), (2, key(3))] {
                assert!(put(&mut tx, device, &key, number).await);
            }
        }
        for most in [10, 5] {
            tx.drop_old_reports(&hdo(), &pump(1), &key(1), most).await.unwrap();
            assert!(!put(&mut tx, 1, &key(1), 1).await, "all five fit into {most}");
        }
        tx.drop_old_reports(&hdo(), &pump(1), &key(1), 3).await.unwrap();
        // A number that is there is not stored again.
        let mut there = Vec::new();
        for (device, key) in [(1, key(1)), (1, key(2)), (2, key(3))] {
            for number in numbers {
                there.push(!put(&mut tx, device, &key, number).await);
            }
        }
        let all = [true; 5];
        assert_eq!(there, [[false, false, true, true, true], all, all].concat());
    })
    .await;
}

#[tokio::test]
async fn a_devices_reports_are_read_page_by_page_under_each_of_its_keys() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let record = |n| in_intensive_care(pump(n));
        tx.import_devices(&hdo(), &[record(1), record(2)], at(0)).await.unwrap();
        let key = |seed| LocalKey::from_seed(&Zeroizing::new([seed; 32])).public();
        for (device, seed) in [(1, 1), (1, 2), (2, 3)] {
            for number in 1..=3_u64 {
                let signed =
                    Signed { payload: format!("{device} {seed} {number}").into(), signature: Signature([0; 64]) };
                tx.put_report(&hdo(), &pump(device), &key(seed), number, &signed, at(0)).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        for limit in [1, 2, 10] {
            let (mut after, mut read) = (Place::default(), Vec::new());
            loop {
                let page = store.reports_of(&hdo(), &pump(1), &after, limit).await.unwrap();
                let Some(last) = page.last() else { break };
                after = last.place.clone();
                read.extend(page.into_iter().map(|kept| String::from_utf8(kept.report.payload).unwrap()));
            }
            read.sort();
            assert_eq!(read, ["1 1 1", "1 1 2", "1 1 3", "1 2 1", "1 2 2", "1 2 3"], "{limit} at a time");
        }
    })
    .await;
}

#[tokio::test]
async fn the_certificates_of_an_identity_are_counted_from_an_instant_on() {
    each(async |store| {
        let mut tx = hospital(&store).await;
        let kim = Principal::Operator(hdo(), "kim".parse().unwrap());
        for n in 0..5_u8 {
            let issued = at(i64::from(n));
            let spki = Digest::of(&[n]);
            let certificate =
                Certificate { serial: vec![0x40, n], principal: kim.clone(), spki, issued, not_after: at(60) };
            tx.insert_certificate(&certificate).await.unwrap();
        }
        for (since, count) in [(-1, 5), (0, 4), (3, 1), (4, 0)] {
            assert_eq!(tx.issued_since(&kim, at(since)).await.unwrap(), count, "{since}");
        }
        let other = Principal::Operator("lakeside".parse().unwrap(), "kim".parse().unwrap());
        assert_eq!(tx.issued_since(&other, at(-1)).await.unwrap(), 0);
    })
    .await;
}
