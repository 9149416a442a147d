//! Letters and their states, on both databases.

use jiff::SignedDuration;
use suture_core::notice::Side;

use super::*;
use crate::store::suite::each;

fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn at(hours: i64) -> Timestamp {
    now() + SignedDuration::from_hours(hours)
}

async fn write(tx: &mut Tx, hdo: &HdoId, from: Side, number: u64, answer_by: Option<Timestamp>) {
    let (content, notice) = (format!("{hdo} {from} {number}"), Digest::of(&[number as u8]));
    let head = Head { number, sha256: Digest::of(content.as_bytes()) };
    let product = "pump".parse().unwrap();
    let placed = Placed {
        hdo,
        from,
        head,
        content: content.as_bytes(),
        kind: "advisory",
        product: Some(&product),
        fixed_by: Some(Release(2)),
        notice: (from == Side::Manufacturer).then_some(notice),
        answer_by,
    };
    tx.put_letter(&placed, at(number as i64)).await.unwrap();
}

#[tokio::test]
async fn a_letter_goes_from_delivered_over_read_to_answered_and_each_is_said_once() {
    each(async |store| {
        let (hdo, other): (HdoId, HdoId) = ("riverside".parse().unwrap(), "hilltop".parse().unwrap());
        let from = Side::Manufacturer;
        let mut tx = store.begin().await.unwrap();
        for hdo in [&hdo, &other] {
            tx.insert_hdo(hdo, "Hospital", now()).await.unwrap();
            assert_eq!(tx.letter_head(hdo, from).await.unwrap(), None);
            for number in 1..=3 {
                write(&mut tx, hdo, from, number, Some(at(100))).await;
            }
        }
        write(&mut tx, &hdo, Side::Hospital, 1, None).await;
        assert_eq!(tx.letter_head(&hdo, from).await.unwrap().unwrap().number, 3);
        assert_eq!(tx.letter_head(&hdo, Side::Hospital).await.unwrap().unwrap().number, 1);
        assert_eq!(tx.deliver_letters((&hdo, from), 2, "kim", at(5)).await.unwrap(), [1, 2]);
        assert_eq!(tx.deliver_letters((&hdo, from), 3, "lee", at(6)).await.unwrap(), [3]);
        assert!(tx.read_letter((&hdo, from, 1), "kim", at(7)).await.unwrap());
        assert!(!tx.read_letter((&hdo, from, 1), "lee", at(8)).await.unwrap());
        let certificate = Answer { by: "kim".to_owned(), text: "we look".to_owned(), sha256: None };
        let signed = Answer { by: "lee".to_owned(), text: "installed".to_owned(), sha256: Some(Digest::of(b"a")) };
        assert!(tx.answer_letter((&hdo, from, 2), &certificate, at(9)).await.unwrap());
        assert!(!tx.answer_letter((&hdo, from, 2), &certificate, at(10)).await.unwrap());
        assert!(tx.answer_letter((&hdo, from, 2), &signed, at(11)).await.unwrap(), "a signed one says more");
        assert!(!tx.answer_letter((&hdo, from, 2), &signed, at(12)).await.unwrap());
        assert!(!tx.answer_letter((&hdo, Side::Hospital, 1), &signed, at(12)).await.unwrap(), "it asks for none");
        tx.commit().await.unwrap();

        let kept = store.letters((&hdo, from), 0, 10).await.unwrap();
        let by = |step: &Option<Step>| step.as_ref().map(|s| s.by.clone());
        assert_eq!((by(&kept[0].delivered), by(&kept[0].read)), (Some("kim".to_owned()), Some("kim".to_owned())));
        assert_eq!((by(&kept[2].delivered), by(&kept[2].read)), (Some("lee".to_owned()), None));
        assert_eq!(by(&kept[1].read), Some("kim".to_owned()), "what is answered has been read");
        assert_eq!(kept[1].answered.as_ref().unwrap().1, signed);
        assert_eq!(store.letters((&hdo, from), 1, 1).await.unwrap()[0].number, 2);
        assert_eq!(store.unread_letters(Some(&hdo), from).await.unwrap(), 1);
        assert_eq!(store.unread_letters(None, from).await.unwrap(), 4);
        assert_eq!(store.unread_letters(None, Side::Hospital).await.unwrap(), 0);

        let sent = store.sent_notices(None, at(101), 10).await.unwrap();
        let counts: Vec<[u64; 5]> = sent.iter().map(|s| s.counts).collect();
        assert_eq!(counts, [[2, 1, 0, 0, 2], [2, 1, 1, 1, 1], [2, 1, 1, 0, 2]]);
        let behind = store.sent_notices(Some((sent[0].first, sent[0].id)), at(99), 1).await.unwrap();
        assert_eq!((behind[0].id, behind[0].counts[4]), (sent[1].id, 0), "not yet overdue");
        let noticed = store.noticed(&Digest::of(&[1]), None, 10).await.unwrap();
        assert_eq!(noticed.iter().map(|(_, k)| k.hdo.as_str()).collect::<Vec<_>>(), ["hilltop", "riverside"]);
        assert_eq!(store.noticed(&Digest::of(&[1]), Some(&other), 10).await.unwrap().len(), 1);
        let heads = store.letter_heads(Side::Hospital, None, None, 10).await.unwrap();
        let numbers: Vec<Option<u64>> = heads.iter().map(|(_, head)| head.map(|h| h.number)).collect();
        assert_eq!(numbers, [None, Some(1)]);
        assert_eq!(store.letter_heads(from, Some(&"pump".parse().unwrap()), None, 10).await.unwrap(), [], "no devices");
    })
    .await;
}

#[tokio::test]
async fn what_nobody_has_answered_is_overdue_until_somebody_does() {
    each(async |store| {
        let hdo: HdoId = "riverside".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo, "Hospital", now()).await.unwrap();
        write(&mut tx, &hdo, Side::Manufacturer, 1, Some(at(50))).await;
        write(&mut tx, &hdo, Side::Manufacturer, 2, Some(at(40))).await;
        write(&mut tx, &hdo, Side::Hospital, 1, Some(at(45))).await;
        let overdue = async |tx: &mut Tx, now| {
            let found = tx.overdue_letters(now, 10).await.unwrap();
            found.into_iter().map(|o| (o.from, o.number)).collect::<Vec<_>>()
        };
        assert_eq!(overdue(&mut tx, at(39)).await, []);
        let all = [(Side::Manufacturer, 2), (Side::Hospital, 1), (Side::Manufacturer, 1)];
        assert_eq!(overdue(&mut tx, at(50)).await, all);
        let first = tx.overdue_letters(at(40), 1).await.unwrap().remove(0);
        tx.repeat_letter(&first, Some(at(60))).await.unwrap();
        assert_eq!(overdue(&mut tx, at(50)).await, all[1..]);
        let again = tx.overdue_letters(at(60), 10).await.unwrap().pop().unwrap();
        assert_eq!((again.number, again.repeats), (2, 1));
        tx.repeat_letter(&again, None).await.unwrap();
        let answer = Answer { by: "kim".to_owned(), text: "done".to_owned(), sha256: None };
        tx.answer_letter((&hdo, Side::Manufacturer, 1), &answer, at(51)).await.unwrap();
        assert_eq!(overdue(&mut tx, at(99)).await, [(Side::Hospital, 1)]);
        tx.commit().await.unwrap();
        assert!(store.letters_wait(at(99)).await.unwrap() && !store.letters_wait(at(44)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn clocks_count_who_was_told_by_which_notice() {
    each(async |store| {
        let hdo: HdoId = "riverside".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo, "Hospital", now()).await.unwrap();
        write(&mut tx, &hdo, Side::Manufacturer, 1, Some(at(50))).await;
        write(&mut tx, &hdo, Side::Manufacturer, 2, Some(at(50))).await;
        tx.deliver_letters((&hdo, Side::Manufacturer), 2, "kim", at(3)).await.unwrap();
        let of = |release, notices: &[u8]| ClocksOf {
            product: "pump".parse().unwrap(),
            release: Release(release),
            manifest_sha256: Digest::of(b"m"),
            notices: notices.iter().map(|n| Digest::of(&[*n])).collect(),
            distributed_by: at(60),
        };
        let told = tx.hospital_clocks(&hdo, &of(2, &[])).await.unwrap();
        assert_eq!((told.sent, told.delivered, told.answered), (Some(at(1)), Some(at(3)), None));
        let told = tx.hospital_clocks(&hdo, &of(3, &[2, 9])).await.unwrap();
        assert_eq!((told.sent, told.devices), (Some(at(2)), 0));
        assert_eq!(tx.hospital_clocks(&hdo, &of(3, &[])).await.unwrap().sent, None);
    })
    .await;
}
