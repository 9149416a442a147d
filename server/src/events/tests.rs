//! Floods, folding in the database, bounds, what a device signs, and silence.

use jiff::{SignedDuration, Timestamp};
use suture_core::event::{Batch, Event, Kind, Numbered, OTHERS, Observer, What};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{LOST_AFTER, MAX_EVENTS_WAITING, MAX_KEPT_DEVICE_EVENTS};
use suture_core::sign::{LocalKey, Signer as _};
use zeroize::Zeroizing;

use super::device::TakeEventsError;
use super::out::Way;
use super::{Events, Turn, device, keep, lost, out};
use crate::config::EventScope;
use crate::export::file::Lines;
use crate::export::syslog::tests::{Manner, receiver};
use crate::store::devices::Enrolment;
use crate::store::events::{Kept, Of};
use crate::store::suite::{each, in_intensive_care};
use crate::store::{Driver, Lock, Store};

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn later(secs: i64) -> Timestamp {
    now() + SignedDuration::from_secs(secs)
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn pump() -> DeviceId {
    "pump-1".parse().unwrap()
}

fn key() -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([7; 32]))
}

fn event(kind: Kind, hdo: Option<&HdoId>, subject: &str, at: Timestamp) -> Event {
    Event::once(What::new(kind, Observer::Server, hdo, subject, ""), at)
}

async fn all(store: &Store, of: Of<'_>) -> Vec<Kept> {
    store.read().await.unwrap().events_after(of, 0, None, 1_000).await.unwrap()
}

/// A hospital with a confirmed device that was heard at an instant.
async fn fleet(store: &Store, heard: Timestamp) {
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&hdo(), "Riverside", now()).await.unwrap();
    let record = in_intensive_care(pump());
    tx.import_devices(&hdo(), &[record], now()).await.unwrap();
    let fingerprint = suture_core::digest::Digest::of(b"fingerprint");
    let key = key().public();
    let enrolment = Enrolment { fingerprint: &fingerprint, report_key: &key, now: now() };
    assert!(tx.enroll_device(&hdo(), &pump(), enrolment).await.unwrap());
    assert!(tx.confirm_device(&hdo(), &pump(), &fingerprint, now()).await.unwrap());
    tx.keep_check_in(&hdo(), &pump(), b"", None, heard).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_refused_calls_cost_few_rows_and_every_one_is_counted() {
    each(async |store| {
        let events = Events::default();
        for i in 0..100_000_i64 {
            // Half of them from one caller, half from as many as there are.
            let subject = if i % 2 == 0 { "10.0.0.1".to_owned() } else { format!("caller {i}") };
            events.tell(Kind::CallForbidden, None, &subject, "", now());
            assert!(events.waiting().len() <= MAX_EVENTS_WAITING + 1);
            if i % 50_000 == 49_999 {
                keep::flush(&events, &store, now()).await;
            }
        }
        let mut tx = store.read().await.unwrap();
        let kept = tx.events_after(Of::Own, 0, None, 10_000).await.unwrap();
        assert!(kept.len() <= 2 * MAX_EVENTS_WAITING, "{}", kept.len());
        let count =
            |subject: &str| kept.iter().filter(|k| k.event.what.subject == subject).map(|k| k.event.count).sum();
        let (one, others): (u64, u64) = (count("10.0.0.1"), count(OTHERS));
        assert_eq!(one, 50_000);
        assert!(others > 40_000);
        assert_eq!(kept.iter().map(|k| k.event.count).sum::<u64>(), 100_000);
        assert_eq!(tx.dropped_events(None).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_grows_moves_to_the_end_under_its_number_and_after_an_hour_begins_anew() {
    each(async |store| {
        let put = async |events: &[Event]| keep::write(&store, events, 1_000, now()).await.unwrap();
        put(&[event(Kind::CallForbidden, None, "a", now()), event(Kind::CallForbidden, None, "b", now())]).await;
        put(&[event(Kind::CallForbidden, None, "a", later(60))]).await;
        let kept = all(&store, Of::Own).await;
        let shown: Vec<_> =
            kept.iter().map(|k| (k.event.what.subject.as_str(), k.number, k.seq, k.event.count)).collect();
        assert_eq!(shown, [("b", 2, 2, 1), ("a", 1, 3, 2)]);
        assert_eq!((kept[1].event.first, kept[1].event.last), (now(), later(60)));
        put(&[event(Kind::CallForbidden, None, "a", later(3_601))]).await;
        let kept = all(&store, Of::Own).await;
        assert_eq!(kept.iter().map(|k| (k.number, k.event.count)).collect::<Vec<_>>(), [(2, 1), (1, 2), (3, 1)]);
    })
    .await;
}

#[tokio::test]
async fn no_number_is_given_twice_and_no_way_out_passes_over_an_event_after_the_newest_were_dropped() {
    each(async |store| {
        fleet(&store, now()).await;
        let mine = hdo();
        let grave: Vec<_> =
            (0..3).map(|i| event(Kind::Tampered, Some(&mine), &format!("pump {i}"), later(i))).collect();
        keep::write(&store, &grave, 100, now()).await.unwrap();
        let slight: Vec<_> =
            (0..3).map(|i| event(Kind::HandshakeRefused, Some(&mine), &format!("{i}"), later(i))).collect();
        keep::write(&store, &slight, 100, now()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let way = Way::File(Lines::new(path.clone(), 1 << 20));
        let deliver = async || out::deliver(&store, &way, EventScope::All, "suture.example").await.unwrap();
        assert!(deliver().await);
        // The least grave are the newest here, and go.
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.trim_events(Some(&mine), 3).await.unwrap(), 3);
        tx.commit().await.unwrap();
        keep::write(&store, &[event(Kind::Tampered, Some(&mine), "pump 9", later(9))], 100, now()).await.unwrap();
        assert!(deliver().await, "it is new, and is sent");
        let newest = all(&store, Of::All).await.pop().unwrap();
        assert_eq!((newest.number, newest.seq), (7, 7));
        assert!(std::fs::read_to_string(&path).unwrap().lines().last().unwrap().contains("pump 9"));
    })
    .await;
}

#[tokio::test]
async fn each_hospital_has_its_own_bound_the_grave_stay_and_what_went_is_counted() {
    each(async |store| {
        fleet(&store, now()).await;
        let mine = hdo();
        keep::write(&store, &[event(Kind::Tampered, Some(&mine), "pump-1", now())], 10, now()).await.unwrap();
        for part in 0..5 {
            let flood: Vec<_> = (0..20)
                .map(|i| event(Kind::HandshakeRefused, Some(&mine), &format!("{part}.{i}"), later(part)))
                .collect();
            keep::write(&store, &flood, 10, now()).await.unwrap();
        }
        keep::write(&store, &[event(Kind::HandshakeRefused, None, "server's own", now())], 10, now()).await.unwrap();
        let kept = all(&store, Of::Hospital(&mine)).await;
        let of = |kind| kept.iter().filter(|k| k.event.what.kind == kind).map(|k| k.event.count).sum::<u64>();
        assert_eq!((of(Kind::Tampered), of(Kind::EventsDropped)), (1, 100 - of(Kind::HandshakeRefused)));
        assert!(kept.len() <= 11, "{}", kept.len());
        let dropped = store.read().await.unwrap().dropped_events(Some(&mine)).await.unwrap();
        assert_eq!(dropped, 100 - of(Kind::HandshakeRefused), "nothing went uncounted");
        assert_eq!(all(&store, Of::Own).await.len(), 1, "another's flood costs it nothing");
    })
    .await;
}

#[tokio::test]
async fn what_a_device_has_signed_is_counted_once_and_only_as_its_own() {
    each(async |store| {
        fleet(&store, now()).await;
        let stranger: HdoId = "hilltop".parse().unwrap();
        let numbered = |number: u64, kind| {
            // It names another hospital and the server: neither is believed.
            let what = What::new(kind, Observer::Server, Some(&stranger), "metadata of the catalog", "expired");
            Numbered { number, event: Event { count: u64::MAX >> 11, ..Event::once(what, later(10)) } }
        };
        let batch = |numbers: &[u64]| Batch {
            kind: Batch::TYPE.to_owned(),
            hdo: hdo(),
            device: pump(),
            events: numbers.iter().map(|n| numbered(*n, Kind::MetadataReplayed)).collect(),
        };
        let take = async |batch: &Batch, key: &LocalKey| {
            device::take(&store, &hdo(), &pump(), &batch.sign(key).unwrap(), now()).await
        };
        let forged = take(&batch(&[1]), &LocalKey::from_seed(&Zeroizing::new([8; 32]))).await;
        assert!(matches!(forged, Err(TakeEventsError::Refused(_))), "{forged:?}");
        assert_eq!(take(&batch(&[1]), &key()).await.unwrap(), 1);
        let once = all(&store, Of::Hospital(&hdo())).await;
        assert_eq!(take(&batch(&[1]), &key()).await.unwrap(), 1, "sent again");
        assert_eq!(all(&store, Of::Hospital(&hdo())).await, once);
        let what = &once[0].event.what;
        assert_eq!((what.observer, what.subject.as_str()), (Observer::Device, "hdo/riverside/device/pump-1"));
        assert_eq!(what.detail, "metadata of the catalog: expired");
        // Numbers may have gaps: the least grave go first where a device is full.
        assert_eq!(take(&batch(&[1, 4, 9]), &key()).await.unwrap(), 9);
        let grown = all(&store, Of::Hospital(&hdo())).await;
        assert_eq!((grown.len(), grown[0].event.count), (1, 3_000_000_000), "bounded, and counted three times");
    })
    .await;
}

#[tokio::test]
async fn a_stolen_device_that_has_seen_grave_things_without_end_leaves_what_others_have_seen() {
    each(async |store| {
        fleet(&store, now()).await;
        let mine = hdo();
        keep::write(&store, &[event(Kind::CallForbidden, Some(&mine), "somebody", now())], 1_000, now()).await.unwrap();
        let numbered = |number: u64| {
            let what = What::new(Kind::Tampered, Observer::Device, None, "a", &format!("file {number}"));
            Numbered { number, event: Event::once(what, now()) }
        };
        for first in (1..=600).step_by(10) {
            let events = (first..first + 10).map(numbered).collect();
            let batch = Batch { kind: Batch::TYPE.to_owned(), hdo: hdo(), device: pump(), events };
            device::take(&store, &hdo(), &pump(), &batch.sign(&key()).unwrap(), now()).await.unwrap();
        }
        let kept = all(&store, Of::Hospital(&mine)).await;
        let of = |kind| kept.iter().filter(|k| k.event.what.kind == kind).count() as u64;
        assert_eq!((of(Kind::Tampered), of(Kind::CallForbidden)), (MAX_KEPT_DEVICE_EVENTS, 1));
        let newest = kept.last().unwrap();
        assert!(newest.event.what.detail.ends_with("file 600"), "{newest:?}");
        assert_eq!(
            store.read().await.unwrap().dropped_events(Some(&mine)).await.unwrap(),
            600 - MAX_KEPT_DEVICE_EVENTS
        );
    })
    .await;
}

#[tokio::test]
async fn a_device_that_falls_silent_is_told_once_and_once_more_when_it_is_back() {
    each(async |store| {
        fleet(&store, now()).await;
        let kinds =
            async || all(&store, Of::Hospital(&hdo())).await.into_iter().map(|k| k.event.what.kind).collect::<Vec<_>>();
        let silence = LOST_AFTER.as_secs();
        lost::look(&store, later(silence)).await.unwrap();
        assert_eq!(kinds().await, [], "not yet");
        for again in 1..4 {
            lost::look(&store, later(silence + again)).await.unwrap();
        }
        assert_eq!(kinds().await, [Kind::DeviceLost]);
        assert_eq!(store.lost_devices(&hdo(), "", 10).await.unwrap().len(), 1);
        let mut tx = store.begin().await.unwrap();
        tx.keep_check_in(&hdo(), &pump(), b"", None, later(silence + 60)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.lost_devices(&hdo(), "", 10).await.unwrap(), [], "it has just been heard");
        lost::look(&store, later(silence + 61)).await.unwrap();
        lost::look(&store, later(silence + 62)).await.unwrap();
        assert_eq!(kinds().await, [Kind::DeviceLost, Kind::DeviceBack]);
        // The hospital says what silence is too long, and one that is revoked is looked for no more.
        let mut tx = store.begin().await.unwrap();
        tx.set_lost_after(&hdo(), SignedDuration::from_hours(1)).await.unwrap();
        tx.commit().await.unwrap();
        lost::look(&store, later(silence + 60 + 3_601)).await.unwrap();
        assert_eq!(store.lost_devices(&hdo(), "", 10).await.unwrap().len(), 1);
        let mut tx = store.begin().await.unwrap();
        assert!(tx.revoke_device(&hdo(), &pump(), now()).await.unwrap());
        tx.commit().await.unwrap();
        lost::look(&store, later(silence + 60 + 3_700)).await.unwrap();
        assert_eq!(kinds().await, [Kind::DeviceLost, Kind::DeviceBack, Kind::DeviceLost]);
        assert_eq!(store.lost_devices(&hdo(), "", 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_hospital_whose_devices_fall_silent_by_the_hundred_keeps_no_others_alarm_back() {
    each(async |store| {
        fleet(&store, now()).await;
        let flood: HdoId = "aaa-flood".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&flood, "Flood", now()).await.unwrap();
        let record = |i| in_intensive_care(format!("pump-{i}").parse().unwrap());
        let records: Vec<_> = (0..40).map(record).collect();
        tx.import_devices(&flood, &records, now()).await.unwrap();
        let digest = suture_core::digest::Digest::of(b"fingerprint");
        let public = key().public();
        for record in &records {
            let enrolment = Enrolment { fingerprint: &digest, report_key: &public, now: now() };
            assert!(tx.enroll_device(&flood, &record.id, enrolment).await.unwrap());
            assert!(tx.confirm_device(&flood, &record.id, &digest, now()).await.unwrap());
            // Heard before the other hospital's, so that it is not their age either that decides.
            tx.keep_check_in(&flood, &record.id, b"", None, later(-60)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let silence = LOST_AFTER.as_secs();
        let fallen = store.fallen_silent(later(silence + 1), 10).await.unwrap();
        assert_eq!(fallen.len(), 10, "the places are all used");
        assert_eq!(fallen.iter().filter(|silent| silent.hdo == hdo()).count(), 1, "{fallen:?}");
        // The same of those that are back.
        let mut tx = store.begin().await.unwrap();
        for silent in store.fallen_silent(later(silence + 1), 100).await.unwrap() {
            assert!(tx.lose(&silent).await.unwrap());
            tx.keep_check_in(&silent.hdo, &silent.device, b"", None, later(silence + 60)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let back = store.found_again(10).await.unwrap();
        assert_eq!((back.len(), back.iter().filter(|(silent, _)| silent.hdo == hdo()).count()), (10, 1), "{back:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_receiver_has_not_taken_is_sent_again_and_what_has_grown_once_more() {
    each(async |store| {
        fleet(&store, now()).await;
        let all: Vec<_> = (0..5).map(|i| event(Kind::CallForbidden, None, &format!("caller {i}"), later(i))).collect();
        keep::write(&store, &all, 100, now()).await.unwrap();
        keep::write(&store, &[event(Kind::Tampered, Some(&hdo()), "pump-1", now())], 100, now()).await.unwrap();
        let mut world = receiver("localhost", vec![Manner::CutAfter(2), Manner::Read, Manner::Read]).await;
        let way = Way::Syslog(Box::new(world.receiver()));
        let deliver = async || out::deliver(&store, &way, EventScope::Own, "suture.example").await;
        assert!(deliver().await.is_err(), "cut");
        assert_eq!(world.heard.recv().await.unwrap().len(), 2);
        assert!(deliver().await.unwrap());
        let heard = world.heard.recv().await.unwrap();
        assert_eq!(heard.len(), 5, "all of them, and none of a hospital's");
        assert!(
            heard.iter().all(|m| m.contains("\"class_uid\":6003") && m.contains(" call-forbidden - ")),
            "{heard:?}"
        );
        assert!(!deliver().await.unwrap(), "there is nothing more, and no connection for it");
        keep::write(&store, &all[..1], 100, now()).await.unwrap();
        assert!(deliver().await.unwrap());
        let grown = world.heard.recv().await.unwrap();
        assert!(grown.len() == 1 && grown[0].contains("\"count\":2"), "{grown:?}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_loses_nothing() {
    each(async |store| {
        fleet(&store, now()).await;
        keep::write(&store, &[event(Kind::Tampered, Some(&hdo()), "pump-1", now())], 100, now()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/events.jsonl");
        let way = Way::File(Lines::new(path.clone(), 1 << 20));
        assert!(out::deliver(&store, &way, EventScope::All, "suture.example").await.is_err());
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        assert!(out::deliver(&store, &way, EventScope::All, "suture.example").await.unwrap());
        assert!(!out::deliver(&store, &way, EventScope::All, "suture.example").await.unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let event: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&event["metadata"]["tenant_uid"], &event["class_uid"]), (&"riverside".into(), &2004.into()));
    })
    .await;
}

/// What is counted at each turn is counted once, however many servers look.
#[tokio::test]
async fn a_turn_lasts_until_the_same_server_looks_again() {
    each(async |store| {
        let hour = SignedDuration::from_hours(1);
        let turn = || Turn::new(store.clone(), "audit-retention").unwrap().every(hour);
        let (one, two) = (turn(), turn());
        let mut at = now();
        for _ in 0..5 {
            assert!(one.is_ours(at).await.unwrap());
            assert!(!two.is_ours(at + hour / 2).await.unwrap());
            at += hour;
        }
        // It is gone: the other takes over.
        assert!(two.is_ours(at + hour / 2).await.unwrap());
    })
    .await;
}

/// Attack: an operator who asks for events and resets the call at once, each time, so that what waits is written nowhere.
#[tokio::test]
async fn events_that_were_being_written_when_nobody_waited_any_more_are_written() {
    each(async |store| {
        let events = Events::default();
        events.tell(Kind::CallForbidden, None, "10.0.0.1", "", now());
        let mut writer = store.begin().await.unwrap();
        writer.lock(Lock::Events).await.unwrap();
        {
            let mut flush = Box::pin(keep::flush(&events, &store, now()));
            for _ in 0..20 {
                assert!(futures::poll!(&mut flush).is_pending());
                tokio::task::yield_now().await;
            }
        }
        events.tell(Kind::CallForbidden, None, "10.0.0.2", "", now());
        drop(writer);
        keep::flush(&events, &store, now()).await;
        let kept = all(&store, Of::Own).await;
        let told: Vec<_> = kept.iter().map(|k| (k.event.what.subject.as_str(), k.event.count)).collect();
        assert_eq!(told, [("10.0.0.1", 1), ("10.0.0.2", 1)]);
    })
    .await;
}

/// A check-in that is sent again while the first one is under way.
#[tokio::test]
async fn what_a_device_sends_twice_at_once_is_counted_once_and_through_never_goes_back() {
    each(async |store| {
        fleet(&store, now()).await;
        let batch = |numbers: &[u64]| {
            let what = What::new(Kind::Tampered, Observer::Device, None, "a", "");
            let events = numbers.iter().map(|n| Numbered { number: *n, event: Event::once(what.clone(), now()) });
            let batch = Batch { kind: Batch::TYPE.to_owned(), hdo: hdo(), device: pump(), events: events.collect() };
            batch.sign(&key()).unwrap()
        };
        let mut writer = store.begin().await.unwrap();
        writer.lock(Lock::Events).await.unwrap();
        let mut takes = Vec::new();
        // The later of the two first: the other one has nothing new then.
        for numbers in [&[1, 2][..], &[1, 2], &[1]] {
            let (store, batch) = (store.clone(), batch(numbers));
            let before = waiting(&store).await;
            takes.push(tokio::spawn({
                let store = store.clone();
                async move { device::take(&store, &hdo(), &pump(), &batch, now()).await }
            }));
            // On PostgreSQL each is seen to wait for its turn; SQLite's writers stand in line anyway.
            while matches!(store.driver(), Driver::Postgres(_)) && waiting(&store).await == before {
                tokio::task::yield_now().await;
            }
        }
        drop(writer);
        for take in takes {
            assert_eq!(take.await.unwrap().unwrap(), 2);
        }
        let kept = all(&store, Of::Hospital(&hdo())).await;
        assert_eq!(kept.iter().map(|k| k.event.count).collect::<Vec<_>>(), [2]);
        assert_eq!(store.read().await.unwrap().events_through(&hdo(), &pump(), &key().public()).await.unwrap(), 2);
    })
    .await;
}

/// How many connections to a PostgreSQL database wait for a lock.
async fn waiting(store: &Store) -> i64 {
    let Driver::Postgres(pool) = store.driver() else { return 0 };
    let waiting = "SELECT COUNT(*) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
        WHERE NOT l.granted AND a.datname = current_database()";
    sqlx::query_scalar(waiting).fetch_one(pool).await.unwrap()
}
