//! Stop orders on both databases: which of two is in force, which a device is told of, and when they go.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{StopOrder, VerifiedStop};
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::limits::{MAX_KEPT_STOPS, MAX_STOPS_PER_ANSWER};
use suture_core::phase::Phase;
use suture_core::rollout::{Standing, State, WaveSet};
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::edit::{ROOT_LIFETIME, RoleDraft, RootDraft, sign_root};
use suture_core::trust::{Root, Verified};
use suture_core::version::Release;
use zeroize::Zeroizing;

use super::super::rollouts::Rollout;
use super::super::{Store, Tx};
use super::{each, in_intensive_care, place, told};

pub(crate) fn at(hours: i64) -> Timestamp {
    "2026-11-24T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hours)
}

pub(crate) fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

pub(crate) fn pump(n: u32) -> DeviceId {
    format!("pump-{n}").parse().unwrap()
}

pub(crate) fn approval(n: usize) -> ApprovalId {
    format!("a{n:03}").parse().unwrap()
}

fn order(n: usize, counter: u64, stopped: bool) -> VerifiedStop {
    let mut order = StopOrder::next(hdo(), approval(n), None, stopped, at(0)).unwrap();
    order.counter = counter;
    VerifiedStop::kept(&order.sign(&[]).unwrap()).unwrap()
}

/// The rollout of an approval, created so many hours on.
pub(crate) fn rollout(n: usize) -> Rollout {
    let created = at(n as i64);
    Rollout {
        hdo: hdo(),
        id: approval(n),
        state: State::Running,
        reason: None,
        product: "pump".parse().unwrap(),
        version: "1.1.0".parse().unwrap(),
        release: Release(2),
        manifest_sha256: Digest::of(b"m"),
        approval_sha256: Digest::of(b"a"),
        wave: 0,
        waves: 1,
        unsigned: WaveSet::default(),
        attempt_timeout_secs: 3_600,
        max_attempts: 1,
        plan_sha256: Digest::of(b"plan"),
        ticket: String::new(),
        created,
        expires: created + SignedDuration::from_hours(24),
    }
}

/// Two devices, and as many approvals for the first, each created an hour after the one before and over a day after that.
pub(crate) async fn hospital(store: &Store, approvals: usize) -> Tx {
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_hdo(&hdo(), "Riverside", at(0)).await.unwrap());
    let record = |n| in_intensive_care(pump(n));
    tx.import_devices(&hdo(), &[record(1), record(2)], at(0)).await.unwrap();
    for n in 0..approvals {
        place(&mut tx, &rollout(n), &[(pump(1), 0)], at(n as i64)).await;
    }
    tx
}

fn bytes(orders: &[&VerifiedStop]) -> Vec<Vec<u8>> {
    orders.iter().map(|o| o.bytes().to_vec()).collect()
}

#[tokio::test]
async fn the_higher_counter_is_in_force_and_of_two_equal_ones_the_stop() {
    each(async |store| {
        let mut tx = hospital(&store, 2).await;
        assert!(!tx.is_stopped(&hdo(), &approval(0)).await.unwrap());
        assert_eq!(tx.stop(&hdo(), &approval(0)).await.unwrap(), None);
        assert_eq!(tx.stop_counter(&hdo(), &approval(0)).await.unwrap(), None);
        // Each with whether it is news, and whether the approval is stopped after it.
        let story = [
            (5, false, true, false),
            (5, true, true, true),
            (5, true, false, true),
            (5, false, false, true),
            (4, false, false, true),
            (6, false, true, false),
            (u64::from(u32::MAX) + 7, true, true, true),
            (7, false, false, true),
        ];
        let mut newest: Option<VerifiedStop> = None;
        for (counter, stopped, is_news, is_stopped) in story {
            let order = order(0, counter, stopped);
            let news = newest.as_ref().is_none_or(|known| order.is_news_after(known));
            assert_eq!(news, is_news, "the rule of core for {counter} {stopped}");
            assert_eq!(tx.put_stop(&hdo(), &order, at(1)).await.unwrap(), news, "{counter} {stopped}");
            newest = if news { Some(order) } else { newest };
            assert_eq!(tx.is_stopped(&hdo(), &approval(0)).await.unwrap(), is_stopped, "{counter} {stopped}");
            let kept = tx.stop(&hdo(), &approval(0)).await.unwrap();
            assert_eq!(kept.as_deref(), newest.as_ref().map(|o| o.bytes()));
            let in_force = tx.stop_counter(&hdo(), &approval(0)).await.unwrap();
            assert_eq!(in_force, newest.as_ref().map(|o| o.counter));
        }
        assert!(!tx.is_stopped(&hdo(), &approval(1)).await.unwrap(), "another approval");
        assert!(!tx.is_stopped(&"hilltop".parse().unwrap(), &approval(0)).await.unwrap(), "another hospital");
    })
    .await;
}

#[tokio::test]
async fn a_device_is_told_of_those_that_concern_it_the_newest_approval_first() {
    each(async |store| {
        let count = MAX_STOPS_PER_ANSWER + 2;
        let mut tx = hospital(&store, count).await;
        let [first, last] = [order(0, 1, true), order(count - 1, 1, false)];
        for order in [&first, &last] {
            tx.put_stop(&hdo(), order, at(1)).await.unwrap();
        }
        assert_eq!(tx.stops_of(&hdo(), &pump(1), at(23)).await.unwrap(), bytes(&[&last, &first]), "lifts too");
        assert_eq!(tx.stops_of(&hdo(), &pump(1), at(24)).await.unwrap(), bytes(&[&last]), "the first has expired");
        assert_eq!(tx.stops_of(&hdo(), &pump(2), at(1)).await.unwrap(), bytes(&[]), "it names another device");
        for n in 0..count {
            tx.put_stop(&hdo(), &order(n, 2, true), at(2)).await.unwrap();
        }
        let told = tx.stops_of(&hdo(), &pump(1), at(1)).await.unwrap();
        let newest: Vec<_> = (2..count).rev().map(|n| order(n, 2, true)).collect();
        assert_eq!(told, bytes(&newest.iter().collect::<Vec<_>>()), "as many as one answer takes");
    })
    .await;
}

#[tokio::test]
async fn an_order_goes_with_its_approval_and_a_hospital_is_given_no_more_than_a_device_keeps() {
    each(async |store| {
        let count = MAX_KEPT_STOPS + 1;
        let mut tx = hospital(&store, count).await;
        for n in 0..count {
            tx.put_stop(&hdo(), &order(n, 1, true), at(n as i64)).await.unwrap();
        }
        let all = tx.stops(&hdo()).await.unwrap();
        assert_eq!(all.len(), MAX_KEPT_STOPS);
        assert_eq!(all[0], order(count - 1, 1, true).bytes(), "the latest first");
        assert!(!all.contains(&order(0, 1, true).bytes().to_vec()));
        // A lift takes the place of a stop and is the latest of all.
        tx.put_stop(&hdo(), &order(0, 2, false), at(1_000)).await.unwrap();
        assert_eq!(tx.stops(&hdo()).await.unwrap()[0], order(0, 2, false).bytes());

        tx.drop_stops(&"hilltop".parse().unwrap(), at(1_000)).await.unwrap();
        assert!(tx.stop(&hdo(), &approval(0)).await.unwrap().is_some(), "another hospital's");
        tx.drop_stops(&hdo(), at(24)).await.unwrap();
        assert_eq!(tx.stop(&hdo(), &approval(0)).await.unwrap(), None, "it expired at this instant");
        assert!(tx.stop(&hdo(), &approval(1)).await.unwrap().is_some());
        tx.drop_stops(&hdo(), at(1_000)).await.unwrap();
        assert_eq!(tx.stops(&hdo()).await.unwrap(), bytes(&[]));
    })
    .await;
}

#[tokio::test]
async fn whoever_watches_reads_the_rows_alone_that_were_written_since() {
    each(async |store| {
        let mut tx = hospital(&store, 1).await;
        let rollout = tx.rollout(&hdo(), &approval(0)).await.unwrap().unwrap();
        let begun = tx.members(&hdo(), &approval(0)).await.unwrap().len();
        let since = async |tx: &mut Tx, secs| tx.members_since(&hdo(), &approval(0), at(secs)).await.unwrap().len();
        assert_eq!((since(&mut tx, -1_000).await, since(&mut tx, 10).await), (begun, 0));
        told(&mut tx, &rollout, &pump(1), Phase::FellBack, at(10)).await;
        assert_eq!((since(&mut tx, 10).await, since(&mut tx, 11).await), (1, 0));
        tx.forgive_members(&rollout, at(11)).await.unwrap();
        assert_eq!((since(&mut tx, 11).await, since(&mut tx, 12).await), (1, 0));
        tx.let_try_again(&hdo(), &approval(0), at(12)).await.unwrap();
        assert_eq!((since(&mut tx, 12).await, since(&mut tx, 13).await), (1, 0));
        tx.update_fetched(&hdo(), &approval(0), &pump(1), (1, 2), None, at(13)).await.unwrap();
        assert_eq!((since(&mut tx, 13).await, since(&mut tx, 14).await), (1, 0));
        told(&mut tx, &rollout, &pump(1), Phase::Stopped, at(14)).await;
        tx.reopen_members(&rollout, false, at(15)).await.unwrap();
        assert_eq!((since(&mut tx, 15).await, since(&mut tx, 16).await), (1, 0));
        tx.turn_members(&hdo(), &approval(0), false, at(1_000)).await.unwrap();
        assert_eq!(since(&mut tx, 1_000).await, begun);
    })
    .await;
}

#[tokio::test]
async fn a_lift_puts_back_those_alone_who_had_stopped() {
    each(async |store| {
        let mut tx = hospital(&store, 2).await;
        for (n, phase) in [(0, Phase::Stopped), (1, Phase::FellBack)] {
            let rollout = tx.rollout(&hdo(), &approval(n)).await.unwrap().unwrap();
            told(&mut tx, &rollout, &pump(1), phase, at(1)).await;
            let moved = tx.reopen_members(&rollout, true, at(2)).await.unwrap();
            assert_eq!(moved.iter().map(|m| m.count).sum::<u32>(), u32::from(phase == Phase::Stopped));
        }
        let [reopened, other] = [0, 1].map(approval);
        let member = tx.members(&hdo(), &reopened).await.unwrap().remove(0);
        let rest = (member.progress.phase, member.standing, member.progress.since);
        assert_eq!(rest, (Phase::Offered, Standing::Awaited, at(2)));
        let member = tx.members(&hdo(), &other).await.unwrap().remove(0);
        let rest = (member.progress.phase, member.standing, member.progress.since);
        assert_eq!(rest, (Phase::FellBack, Standing::Failed, at(1)));
    })
    .await;
}

#[tokio::test]
async fn an_order_whose_signer_has_left_is_handed_to_nobody_and_stays_in_force_here() {
    let [mo, lee] = [7, 8].map(|n| LocalKey::from_seed(&Zeroizing::new([n; 32])));
    let root = |approvers: &LocalKey| {
        let single = |key: &LocalKey| RoleDraft::single(key.public());
        let (expires, targets) = (at(24) + ROOT_LIFETIME, single(approvers));
        let draft = RootDraft {
            version: 1,
            expires,
            targets,
            root: single(&mo),
            snapshot: single(&mo),
            timestamp: single(&mo),
        };
        Verified::<Root>::pinned(&sign_root(&draft, &[&mo]).unwrap()).unwrap()
    };
    each(async |store| {
        let mut tx = hospital(&store, 1).await;
        let order = StopOrder::next(hdo(), approval(0), None, true, at(0)).unwrap();
        let stop = VerifiedStop::kept(&order.sign(&[&mo]).unwrap()).unwrap();
        tx.put_stop(&hdo(), &stop, at(1)).await.unwrap();
        for (approver, counts) in [(&mo, true), (&lee, false), (&mo, true)] {
            tx.judge_stops(&hdo(), &root(approver)).await.unwrap();
            let handed = if counts { bytes(&[&stop]) } else { bytes(&[]) };
            assert_eq!(tx.stops(&hdo()).await.unwrap(), handed);
            assert_eq!(tx.stops_of(&hdo(), &pump(1), at(1)).await.unwrap(), handed);
            assert!(tx.is_stopped(&hdo(), &approval(0)).await.unwrap());
        }
    })
    .await;
}
