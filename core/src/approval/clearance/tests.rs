//! Releases by a hospital of three approvers, two of whom approve.

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::*;
use crate::approval::StopOrder;
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

fn clearance() -> Clearance {
    Clearance {
        kind: Clearance::TYPE.to_owned(),
        format: 1,
        hdo: hdo(),
        device: "pump-1".parse().unwrap(),
        approval: "a1".parse().unwrap(),
        manifest: Digest::of(b"m"),
        reported_at: now(),
        unfit: false,
        by: "kim".to_owned(),
        reason: "flow rate measured at three points".to_owned(),
        signed_at: now(),
    }
}

fn signed(clearance: &Clearance, keys: &[u8]) -> Vec<u8> {
    let keys: Vec<LocalKey> = keys.iter().map(|n| key(*n)).collect();
    clearance.sign(&keys.iter().map(|k| k as &dyn Signer).collect::<Vec<_>>()).unwrap()
}

fn verify(bytes: &[u8]) -> Result<VerifiedClearance, ClearanceError> {
    VerifiedClearance::verify(&root(), &hdo(), bytes)
}

#[test]
fn it_takes_as_many_as_to_approve_and_no_other_key_counts() {
    assert_eq!(*verify(&signed(&clearance(), &[1, 3])).unwrap(), clearance());
    for too_few in [&[1][..], &[1, 10], &[2, 11], &[3, 12], &[1, 99], &[10, 11]] {
        assert!(matches!(verify(&signed(&clearance(), too_few)), Err(ClearanceError::TooFew { .. })), "{too_few:?}");
    }
    // From hand to hand; one hand twice is one.
    let once = signed(&clearance(), &[1]);
    let twice = Clearance::countersign(&once, &key(1)).unwrap();
    assert!(matches!(verify(&twice), Err(ClearanceError::TooFew { valid: 1, threshold: 2, .. })));
    verify(&Clearance::countersign(&once, &key(2)).unwrap()).unwrap();
}

#[test]
fn it_is_of_one_hospital_and_nothing_else_that_approvers_sign() {
    let other = Clearance { hdo: "lakeside".parse().unwrap(), ..clearance() };
    assert!(matches!(verify(&signed(&other, &[1, 2])), Err(ClearanceError::OtherHospital { .. })));
    let lift = StopOrder::next(hdo(), "a1".parse().unwrap(), None, false, now()).unwrap();
    let lift = lift.sign(&[&key(1), &key(2)]).unwrap();
    assert!(matches!(verify(&lift), Err(ClearanceError::Document(_))));
    let mut bytes = signed(&clearance(), &[1, 2]);
    bytes = String::from_utf8(bytes).unwrap().replace("pump-1", "pump-2").into_bytes();
    assert!(matches!(verify(&bytes), Err(ClearanceError::TooFew { valid: 0, .. })));
    assert!(verify(b"").is_err() && verify(&vec![b' '; usize::try_from(MAX_STOP_BYTES).unwrap() + 1]).is_err());
}

#[test]
fn it_answers_the_check_that_was_reported_and_none_before_or_after() {
    let c = clearance();
    let (device, other): (DeviceId, DeviceId) = ("pump-1".parse().unwrap(), "pump-2".parse().unwrap());
    let (approval, next): (ApprovalId, ApprovalId) = ("a1".parse().unwrap(), "a2".parse().unwrap());
    let later = now() + SignedDuration::from_secs(1);
    assert!(c.answers(&device, &approval, &Digest::of(b"m"), now()));
    assert!(!c.answers(&other, &approval, &Digest::of(b"m"), now()));
    assert!(!c.answers(&device, &next, &Digest::of(b"m"), now()));
    assert!(!c.answers(&device, &approval, &Digest::of(b"n"), now()));
    assert!(!c.answers(&device, &approval, &Digest::of(b"m"), later), "of an earlier check, played again");
}

#[test]
fn who_and_why_are_words_on_a_line() {
    let by = |by: &str| Clearance { by: by.to_owned(), ..clearance() };
    let reason = |reason: &str| Clearance { reason: reason.to_owned(), ..clearance() };
    let bad = [by(""), by("a\nb"), by(&"x".repeat(MAX_PERSON_BYTES + 1)), reason(" "), reason("\u{1b}[2J")];
    for bad in bad.iter().chain([&Clearance { format: 2, ..clearance() }]) {
        assert!(matches!(bad.sign(&[&key(1)]), Err(ClearanceError::Document(_))), "{bad:?}");
    }
}

#[test]
fn fit_and_unfit_are_two_words_and_neither_is_bent_into_the_other() {
    let unfit = Clearance { unfit: true, reason: "the alarm is silent".to_owned(), ..clearance() };
    let bytes = signed(&unfit, &[1, 2]);
    let verified = verify(&bytes).unwrap();
    assert!(verified.unfit && verified.to_text().contains("found unfit: its old version"), "{}", verified.to_text());
    let fit = signed(&clearance(), &[1, 2]);
    assert!(!verify(&fit).unwrap().unfit && !String::from_utf8(fit.clone()).unwrap().contains("unfit"));
    let bend = |bytes: &[u8], from: &str, to: &str| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        text.replace(from, to).into_bytes()
    };
    assert!(verify(&bend(&bytes, "\"unfit\":true", "\"unfit\":false")).is_err());
    assert!(verify(&bend(&bytes, ",\"unfit\":true", "")).is_err());
    assert!(verify(&bend(&fit, "\"signed_at\"", "\"unfit\":true,\"signed_at\"")).is_err());
}
