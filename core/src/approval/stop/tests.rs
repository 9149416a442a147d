//! Orders by a hospital of three approvers, two of whom approve.

use serde_json::json;
use zeroize::Zeroizing;

use super::*;
use jiff::SignedDuration;

use crate::sign::LocalKey;
use crate::trust::edit::{RoleDraft, RootDraft, sign_root};

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn root() -> Verified<Root> {
    let approvers = RoleDraft { keys: [1, 2, 3].map(|n| key(n).public()).to_vec(), threshold: 2 };
    let draft = RootDraft {
        version: 1,
        expires: "2027-11-24T12:00:00Z".parse().unwrap(),
        root: RoleDraft::single(key(10).public()),
        targets: approvers,
        snapshot: RoleDraft::single(key(11).public()),
        timestamp: RoleDraft::single(key(12).public()),
    };
    Verified::pinned(&sign_root(&draft, &[&key(10)]).unwrap()).unwrap()
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

fn order(counter: u64, stopped: bool) -> StopOrder {
    let mut order = StopOrder::next(hdo(), "a1".parse().unwrap(), None, stopped, now()).unwrap();
    order.counter = counter;
    order
}

fn signed(order: &StopOrder, keys: &[u8]) -> Vec<u8> {
    let keys: Vec<LocalKey> = keys.iter().map(|n| key(*n)).collect();
    order.sign(&keys.iter().map(|k| k as &dyn Signer).collect::<Vec<_>>()).unwrap()
}

fn verify(bytes: &[u8]) -> Result<VerifiedStop, StopError> {
    VerifiedStop::verify(&root(), &hdo(), bytes)
}

#[test]
fn any_one_approver_stops_and_only_the_threshold_lifts() {
    for approver in [1, 2, 3] {
        assert!(verify(&signed(&order(1, true), &[approver])).unwrap().stopped);
        let alone = verify(&signed(&order(2, false), &[approver])).unwrap_err();
        assert!(matches!(alone, StopError::TooFew { valid: 1, threshold: 2, .. }), "{alone}");
        assert_eq!(alone.code(), Code::BadSignature);
    }
    assert!(!verify(&signed(&order(2, false), &[1, 3])).unwrap().stopped);
    // The root's own key, the server's keys and a stranger's are no approvers'.
    for stranger in [10, 11, 12, 99] {
        assert!(matches!(verify(&signed(&order(1, true), &[stranger])), Err(StopError::Unsigned { .. })));
        let two = verify(&signed(&order(2, false), &[1, stranger])).unwrap_err();
        assert!(matches!(two, StopError::TooFew { valid: 1, .. }));
    }
}

#[test]
fn a_lift_goes_from_hand_to_hand_and_one_hand_twice_is_one() {
    let once = signed(&order(2, false), &[1]);
    let twice = StopOrder::countersign(&once, &key(1)).unwrap();
    assert!(matches!(verify(&twice), Err(StopError::TooFew { valid: 1, .. })));
    let both = StopOrder::countersign(&twice, &key(3)).unwrap();
    assert_eq!(*verify(&both).unwrap(), order(2, false));
    // A stranger's signature beside them does no harm.
    assert!(verify(&StopOrder::countersign(&both, &key(99)).unwrap()).is_ok());
}

#[test]
fn what_is_signed_is_what_counts() {
    let good = signed(&order(7, true), &[1]);
    let text = String::from_utf8(good).unwrap();
    for (from, to) in [
        (r#""counter":7"#, r#""counter":8"#),
        (r#""stopped":true"#, r#""stopped":false"#),
        (r#""approval":"a1""#, r#""approval":"a2""#),
        (r#""signed_at":"2026"#, r#""signed_at":"2027"#),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        assert!(verify(text.replace(from, to).as_bytes()).is_err(), "{to}");
    }
    let mut other = order(7, true);
    other.hdo = "hilltop".parse().unwrap();
    let error = verify(&signed(&other, &[1])).unwrap_err();
    assert_eq!(error.code(), Code::WrongHospital);
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let signed_by_one = |value: Value| {
        let bytes = crate::json::canonical(&value).unwrap();
        let sig = hex::encode(key(1).sign(&bytes).unwrap().0);
        let id = crate::trust::key_id(&key(1).public()).unwrap();
        json!({ "signed": value, "signatures": [{ "keyid": id, "sig": sig }] }).to_string()
    };
    let base = serde_json::to_value(order(1, true)).unwrap();
    assert!(verify(signed_by_one(base.clone()).as_bytes()).is_ok());
    let with = |name: &str, value: Value| {
        let mut changed = base.clone();
        changed.as_object_mut().unwrap().insert(name.to_owned(), value);
        signed_by_one(changed)
    };
    let rows = [
        with("counter", json!(0)),
        with("counter", json!(MAX_STOP_COUNTER + 1)),
        with("counter", json!(-1)),
        with("counter", json!("1")),
        with("_type", json!("targets")),
        with("format", json!(2)),
        with("approval", json!("../../etc/passwd")),
        with("approval", json!("")),
        with("signed_at", json!("2026-11-24T12:00:00+00:00")),
        with("surplus", json!(1)),
        with("stopped", json!(null)),
        // A name that stands twice, floats, and what is no object at all.
        r#"{"signed":{"counter":1,"counter":2},"signatures":[]}"#.to_owned(),
        r#"{"signed":{"counter":1.0},"signatures":[]}"#.to_owned(),
        r#"{"signed":[],"signatures":[]}"#.to_owned(),
        r#"{"signatures":[]}"#.to_owned(),
        "[]".to_owned(),
        String::new(),
        "{".repeat(100),
        json!({ "signed": base, "signatures": {} }).to_string(),
        json!({ "signed": base, "signatures": vec![json!({ "keyid": "x", "sig": "y" }); 65] }).to_string(),
    ];
    for (i, row) in rows.iter().enumerate() {
        assert!(verify(row.as_bytes()).is_err(), "row {i}: {row}");
        assert!(VerifiedStop::kept(row.as_bytes()).is_err(), "row {i} is damaged: {row}");
    }
    let mut padded = signed(&order(1, true), &[1]);
    padded.resize(usize::try_from(MAX_STOP_BYTES).unwrap(), b' ');
    assert!(verify(&padded).is_ok());
    padded.push(b' ');
    assert!(matches!(verify(&padded), Err(StopError::Document(DocumentError::TooLong { .. }))));
}

#[test]
fn the_highest_counter_wins_and_of_two_equal_ones_the_stop() {
    let stop = |n| verify(&signed(&order(n, true), &[1])).unwrap();
    let lift = |n| verify(&signed(&order(n, false), &[1, 2])).unwrap();
    let id = "a1".parse().unwrap();
    assert!(lift(2).is_news_after(&stop(1)) && stop(2).is_news_after(&lift(2)) && stop(3).is_news_after(&lift(2)));
    assert!(!stop(1).is_news_after(&stop(1)) && !lift(2).is_news_after(&stop(2)) && !stop(1).is_news_after(&lift(2)));
    assert!(VerifiedStop::stops(&[lift(2), stop(2), stop(1)], &id));
    assert!(!VerifiedStop::stops(&[stop(1), lift(2)], &id));
    assert!(!VerifiedStop::stops(&[stop(9)], &"a2".parse().unwrap()));
}

#[test]
fn an_approver_who_has_seen_no_order_still_signs_one_that_counts() {
    let next = |last, at| StopOrder::next(hdo(), "a1".parse().unwrap(), last, true, at).map(|o| o.counter);
    let clock = u64::try_from(now().as_second()).unwrap();
    assert_eq!(next(None, now()).unwrap(), clock);
    assert_eq!(next(Some(3), now()).unwrap(), clock);
    assert_eq!(next(Some(clock), now()).unwrap(), clock + 1);
    assert_eq!(next(None, Timestamp::UNIX_EPOCH).unwrap(), 1);
    // Whatever a lift says, the next stop counts.
    let highest = verify(&signed(&order(MAX_STOP_COUNTER, false), &[1, 2])).unwrap();
    for last in [MAX_STOP_COUNTER - 1, MAX_STOP_COUNTER, u64::MAX] {
        let counter = next(Some(last), now()).unwrap();
        assert!(verify(&signed(&order(counter, true), &[1])).unwrap().is_news_after(&highest));
    }
}

#[test]
fn a_lift_undoes_the_stop_that_its_signers_have_seen_and_none_that_was_signed_since() {
    let id: ApprovalId = "a1".parse().unwrap();
    let at = |secs: i64| now() + SignedDuration::from_secs(secs);
    let next = |last: Option<&VerifiedStop>, stopped, at| {
        let order = StopOrder::next(hdo(), id.clone(), last.map(|o| o.counter), stopped, at).unwrap();
        verify(&signed(&order, &[1, 2])).unwrap()
    };
    let first = next(None, true, at(0));
    let unseen = next(None, true, at(100));
    let lift = next(Some(&first), false, at(200));
    assert!(lift.is_news_after(&first) && !lift.is_news_after(&unseen));
    // A device that has failed between the two is let try again.
    let failed = u64::try_from(at(150).as_second()).unwrap();
    assert!(first.weight() < failed && failed < lift.weight());
    // By a clock that is slow, with a lift that has come meanwhile.
    let slow = next(None, true, at(200) - SignedDuration::from_mins(3) + SignedDuration::from_secs(90));
    assert!(slow.is_news_after(&lift));
    // Two in the same second: the stop.
    let together = next(None, true, at(1));
    assert_eq!(together.counter, lift.counter);
    assert!(together.is_news_after(&lift) && !lift.is_news_after(&together));
    let again = next(Some(&lift), true, at(0));
    assert!(again.is_news_after(&lift), "whatever the clock");
    assert!(matches!(
        StopOrder::next(hdo(), id, Some(MAX_STOP_COUNTER), false, now()),
        Err(StopError::CounterSpent(_))
    ));
}

#[test]
fn a_lift_far_ahead_of_the_time_is_one_that_nobody_takes() {
    let clock = u64::try_from(now().as_second()).unwrap();
    let order = |counter, stopped| verify(&signed(&order(counter, stopped), &[1, 2])).unwrap();
    assert!(!order(clock + 600, false).is_ahead(now()));
    assert!(order(clock + 601, false).is_ahead(now()) && order(MAX_STOP_COUNTER, false).is_ahead(now()));
    assert!(!order(MAX_STOP_COUNTER, true).is_ahead(now()), "a stop always");
    assert!(!order(1, false).is_ahead(Timestamp::UNIX_EPOCH));
}
