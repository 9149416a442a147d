//! Steps of the courier's, on both databases.

use std::sync::Arc;

use suture_core::event::Kind;
use suture_core::id::{ContactName, HdoId};
use suture_core::limits::{MAX_DELIVERY_TRIES, MAX_REPEATS};
use suture_core::notice::Head;

use super::*;
use crate::export::syslog::tests::{Manner, receiver};
use crate::notice::tests::{Now, at};
use crate::notice::webhook::tests::{Act, Receiver};
use crate::store::Driver;
use crate::store::events::Of;
use crate::store::letters::{Answer, Placed};
use crate::store::suite::each;

fn later(hours: i64) -> Timestamp {
    at() + SignedDuration::from_hours(hours)
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

/// A hospital with a first contact and a further one, to which a letter was written that is to be answered in ten days.
async fn scene(store: &Store, url: &str) {
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&hdo(), "Riverside", at()).await.unwrap();
    for (name, further) in [("siem", false), ("head", true)] {
        let name: ContactName = name.parse().unwrap();
        assert!(tx.put_contact(&hdo(), (&name, url, further), b"salt", ("kim", at())).await.unwrap());
    }
    let product = "pump".parse().unwrap();
    let placed = Placed {
        hdo: &hdo(),
        from: Side::Manufacturer,
        head: Head { number: 1, sha256: Digest::of(b"letter") },
        content: b"letter",
        kind: "advisory",
        product: Some(&product),
        fixed_by: None,
        notice: Some(Digest::of(b"notice")),
        answer_by: Some(later(240)),
    };
    tx.put_letter(&placed, at()).await.unwrap();
    tx.put_deliveries(&hdo(), 1, 0, at()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn courier(store: &Store, receiver: &Receiver, dir: &std::path::Path) -> Courier {
    Courier::new(store.clone(), receiver.sender(dir, Arc::new(Now)), Zeroizing::new("seal".to_owned())).unwrap()
}

/// Contact, repetition, tries, whether it was accepted and whether it is over.
async fn deliveries(store: &Store) -> Vec<(String, u32, u32, bool, bool)> {
    let found = store.deliveries(&hdo(), 1).await.unwrap();
    found.into_iter().map(|d| (d.contact.to_string(), d.repetition, d.tries, d.accepted, d.due.is_none())).collect()
}

/// How many rows the hospital's monitoring has of what is overdue, and the manufacturer's.
async fn overdue_events(store: &Store) -> [usize; 2] {
    let mut tx = store.read().await.unwrap();
    let mut counts = [0; 2];
    for (count, of) in counts.iter_mut().zip([Of::Hospital(&hdo()), Of::Own]) {
        let events = tx.events_after(of, 0, None, 1_000).await.unwrap();
        let overdue = events.iter().filter(|kept| kept.event.what.kind == Kind::NoticeOverdue);
        *count = overdue.inspect(|kept| assert_eq!(kept.event.count, 1)).count();
    }
    counts
}

#[tokio::test]
async fn a_letter_is_delivered_once_it_is_taken_and_then_no_more() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(&[Act::Answers("500 No"), Act::Answers("200 OK")]).await;
        scene(&store, &receiver.url).await;
        let courier = courier(&store, &receiver, dir.path()).await;
        courier.look(at()).await.unwrap();
        assert_eq!(
            deliveries(&store).await,
            [("siem".to_owned(), 0, 1, false, false)],
            "further ones are not told yet"
        );
        let outcome = store.deliveries(&hdo(), 1).await.unwrap()[0].outcome.clone();
        assert!(outcome.contains("500"), "{outcome}");
        courier.look(at()).await.unwrap();
        assert_eq!(receiver.got().len(), 1, "not before it is due again");
        courier.look(later(1)).await.unwrap();
        courier.look(later(2)).await.unwrap();
        assert_eq!(deliveries(&store).await, [("siem".to_owned(), 0, 2, true, true)]);
        let got = receiver.got();
        assert_eq!(got.len(), 2);
        let ids: Vec<&str> = got.iter().filter_map(|g| g.lines().find(|l| l.starts_with("webhook-id"))).collect();
        assert_eq!(ids, ["webhook-id: riverside.1.0"; 2]);
        let letter = &store.letters((&hdo(), Side::Manufacturer), 0, 10).await.unwrap()[0];
        let delivered = letter.delivered.clone().unwrap();
        assert_eq!((delivered.by.as_str(), delivered.at), ("webhook siem", later(1)));
        assert_eq!(letter.read, None, "no person has opened it");
    })
    .await;
}

#[tokio::test]
async fn a_line_is_told_again_until_the_receiver_has_read_it_and_its_way_is_named() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let mut world =
            receiver("localhost", vec![Manner::CutAfter(0), Manner::Read, Manner::Read, Manner::Read]).await;
        scene(&store, &world.url()).await;
        let sender = Sender::local(dir.path(), world.authority.as_bytes(), Arc::new(Now));
        let courier = Courier::new(store.clone(), sender, Zeroizing::new("seal".to_owned())).unwrap();
        courier.look(at()).await.unwrap();
        assert_eq!(deliveries(&store).await, [("siem".to_owned(), 0, 1, false, false)], "it went away");
        let outcome = store.deliveries(&hdo(), 1).await.unwrap()[0].outcome.clone();
        assert!(outcome.contains("syslog receiver tls://localhost:"), "{outcome}");
        assert_eq!(world.heard.recv().await.unwrap().len(), 0);
        courier.look(later(1)).await.unwrap();
        courier.look(later(2)).await.unwrap();
        assert_eq!(deliveries(&store).await, [("siem".to_owned(), 0, 2, true, true)]);
        let heard = world.heard.recv().await.unwrap();
        assert!(heard.len() == 1 && heard[0].contains("notice-published"), "{heard:?}");
        assert!(heard[0].contains("\"id\":\"riverside.1.0\""), "{heard:?}");
        let letter = &store.letters((&hdo(), Side::Manufacturer), 0, 10).await.unwrap()[0];
        assert_eq!(letter.delivered.clone().unwrap().by, "syslog siem");
        // What nobody answers in time is told to the further contact too.
        courier.look(later(240)).await.unwrap();
        for _ in 0..2 {
            let heard = world.heard.recv().await.unwrap();
            assert!(heard.len() == 1 && heard[0].contains("notice-overdue"), "{heard:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_never_takes_it_is_given_up_and_a_server_that_stops_midway_tries_again() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(&[Act::HangsUp]).await;
        scene(&store, &receiver.url).await;
        // A server writes down that it tries, and is gone.
        let first = courier(&store, &receiver, dir.path()).await;
        assert_eq!(first.ready(at()).await.unwrap().len(), 1);
        assert_eq!(deliveries(&store).await, [("siem".to_owned(), 0, 1, false, false)]);
        let second = courier(&store, &receiver, dir.path()).await;
        let mut now = at();
        for _ in 0..2 * MAX_DELIVERY_TRIES {
            now += SignedDuration::from_hours(9);
            second.deliver(now).await.unwrap();
            now += SignedDuration::from_hours(24);
        }
        assert_eq!(deliveries(&store).await, [("siem".to_owned(), 0, MAX_DELIVERY_TRIES, false, true)]);
        assert_eq!(receiver.got().len(), MAX_DELIVERY_TRIES as usize - 1);
        let contact = store.contacts(&hdo()).await.unwrap().into_iter().find(|c| c.name.as_str() == "siem").unwrap();
        assert_eq!(contact.counts, [0, 0, 1]);
        assert!(contact.last.unwrap().0.contains("given up after 12 tries"));
    })
    .await;
}

#[tokio::test]
async fn what_nobody_answers_goes_to_all_contacts_again_and_both_sides_read_of_it() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(&[Act::Answers("200 OK")]).await;
        scene(&store, &receiver.url).await;
        let courier = courier(&store, &receiver, dir.path()).await;
        courier.look(later(239)).await.unwrap();
        assert_eq!(deliveries(&store).await.len(), 1);
        for _ in 0..3 {
            courier.look(later(240)).await.unwrap();
        }
        assert_eq!(overdue_events(&store).await, [1, 1], "each side's monitoring hears of it once");
        let taken = |contact: &str, repetition| (contact.to_owned(), repetition, 1, true, true);
        assert_eq!(deliveries(&store).await, [taken("siem", 0), taken("head", 1), taken("siem", 1)]);
        assert!(receiver.got().last().unwrap().contains("notice.overdue"));
        // A server that was down for long repeats it once, not for each week.
        courier.look(later(24 * 30)).await.unwrap();
        courier.look(later(24 * 30)).await.unwrap();
        assert_eq!(deliveries(&store).await.len(), 5);
        assert_eq!(overdue_events(&store).await, [2, 2]);
        for day in 31..60 {
            courier.look(later(24 * day)).await.unwrap();
        }
        let last = store.letters((&hdo(), Side::Manufacturer), 0, 10).await.unwrap()[0].repeats;
        assert_eq!(last, MAX_REPEATS, "and not for ever");
        let mut tx = store.begin().await.unwrap();
        let answer = Answer { by: "kim".to_owned(), text: "done".to_owned(), sha256: None };
        assert!(tx.answer_letter((&hdo(), Side::Manufacturer, 1), &answer, later(24 * 60)).await.unwrap());
        assert!(!tx.answer_letter((&hdo(), Side::Manufacturer, 1), &answer, later(24 * 60)).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(store.sent_notices(None, later(24 * 61), 10).await.unwrap()[0].counts, [1, 1, 1, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn of_two_servers_one_delivers() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(&[Act::Answers("500 No")]).await;
        scene(&store, &receiver.url).await;
        let (one, two) = (courier(&store, &receiver, dir.path()).await, courier(&store, &receiver, dir.path()).await);
        assert!(one.lead(later(9)).await.unwrap());
        two.look(later(9)).await.unwrap();
        assert_eq!(receiver.got().len(), 0);
        two.look(later(10)).await.unwrap();
        assert_eq!(receiver.got().len(), 1, "a claim runs out");
    })
    .await;
}

/// Accident: the database is in the way of one outcome. What another receiver has answered is written down all the same.
#[tokio::test]
async fn an_outcome_that_cannot_be_written_takes_no_other_with_it() {
    each(async |store| {
        let dir = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(&[Act::Answers("200 OK")]).await;
        scene(&store, &receiver.url).await;
        let mut tx = store.begin().await.unwrap();
        let name: ContactName = "aaa".parse().unwrap();
        assert!(tx.put_contact(&hdo(), (&name, &receiver.url, false), b"salt", ("kim", at())).await.unwrap());
        // No outcome of the first can be written.
        let anew = "DELETE FROM delivery";
        match tx.driver() {
            Driver::Sqlite(c) => {
                let refuse = "CREATE TRIGGER refuse BEFORE UPDATE OF accepted ON delivery \
                    WHEN NEW.contact = 'aaa' AND NEW.accepted BEGIN SELECT RAISE(ABORT, 'no'); END";
                sqlx::query(anew).execute(&mut *c).await.unwrap();
                sqlx::query(refuse).execute(c).await.unwrap();
            }
            Driver::Postgres(c) => {
                let refuse = "ALTER TABLE delivery ADD CHECK (contact <> 'aaa' OR NOT accepted)";
                sqlx::query(anew).execute(&mut *c).await.unwrap();
                sqlx::query(refuse).execute(c).await.unwrap();
            }
        }
        tx.put_deliveries(&hdo(), 1, 0, at()).await.unwrap();
        tx.commit().await.unwrap();
        let courier = courier(&store, &receiver, dir.path()).await;
        courier.look(at()).await.unwrap();
        assert_eq!(receiver.got().len(), 2);
        let after = [("aaa".to_owned(), 0, 1, false, false), ("siem".to_owned(), 0, 1, true, true)];
        assert_eq!(deliveries(&store).await, after);
    })
    .await;
}
