mod file;
mod tree;
mod witness;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::digest::Digest;
use crate::id::HdoId;
use crate::json::JsonError;
use crate::limits::{MAX_AUDIT_ENTRIES, MAX_AUDIT_ENTRY_BYTES, MAX_PROOF_HASHES};
use crate::principal::Principal;
use crate::sign::{LocalKey, Signer as _};

fn key(seed: u8) -> LocalKey {
    LocalKey::from_seed(&zeroize::Zeroizing::new([seed; 32]))
}

fn log_key(seed: u8) -> LogKey {
    LogKey { origin: "acme.example".parse().unwrap(), key: key(seed).public() }
}

fn checkpoint(leaves: &[Leaf], seed: u8) -> Checkpoint {
    Checkpoint::sign(head(leaves), &log_key(seed).origin, &key(seed)).unwrap()
}

fn entry(seq: u64) -> Entry {
    Entry {
        kind: Entry::TYPE.to_owned(),
        seq,
        at: "2026-11-24T15:00:00Z".parse().unwrap(),
        actor: "hdo/riverside/operator/kim".to_owned(),
        concerns: Concern::Hospital("riverside".parse().unwrap()),
        action: "rollout.pause".to_owned(),
        subject: format!("rollout-{seq}"),
        detail: Map::from_iter([("reason".to_owned(), Value::from("a fault on ward 3"))]),
        salt: Salt([seq as u8; 16]),
    }
}

/// Leaves for payloads, each with the root behind it.
fn leaves(payloads: impl IntoIterator<Item = Vec<u8>>) -> Vec<Leaf> {
    let mut frontier = Frontier::EMPTY;
    let mut leaf = |payload: Vec<u8>| {
        let payload_sha256 = Digest::of(&payload);
        frontier.push(&payload_sha256);
        let Head { size: seq, root } = frontier.head();
        Leaf { seq, payload: Some(payload), payload_sha256, root }
    };
    payloads.into_iter().map(&mut leaf).collect()
}

fn record(length: u64) -> Vec<Leaf> {
    leaves((1..=length).map(|seq| entry(seq).to_bytes().unwrap()))
}

fn head(leaves: &[Leaf]) -> Head {
    leaves.last().map_or_else(Head::empty, |l| Head { size: l.seq, root: l.root })
}

fn verify(leaves: &[Leaf], last_seen: Head) -> Result<Head, AuditError> {
    let mut reading = Reading::from_start(last_seen);
    for leaf in leaves {
        reading.take(leaf)?;
    }
    reading.finish(&head(leaves))
}

#[test]
fn a_record_verifies_whole_and_withheld_in_part() {
    let mut leaves = record(5);
    assert_eq!(verify(&leaves, Head::empty()).unwrap(), head(&leaves));
    for leaf in leaves.iter_mut().step_by(2) {
        leaf.payload = None;
    }
    assert_eq!(verify(&leaves, Head::empty()).unwrap(), head(&leaves));
    let mut reading = Reading::from_start(Head::empty());
    for leaf in &leaves[..4] {
        reading.take(leaf).unwrap();
    }
    let cut = reading.finish(&head(&leaves)).unwrap_err();
    assert!(matches!(cut, AuditError::Head { seq: 4, signed: 5 }), "the last entry is missing: {cut}");
}

#[test]
fn nobody_reads_what_concerns_somebody_else() {
    let hdo = |id: &str| id.parse::<HdoId>().unwrap();
    let mdm = Principal::Mdm("ada".parse().unwrap());
    let kim = Principal::Operator(hdo("riverside"), "kim".parse().unwrap());
    let lee = Principal::Operator(hdo("lakeside"), "lee".parse().unwrap());
    for (concern, readers) in [
        (Concern::Everybody, [true, true, true]),
        (Concern::of(&Principal::Server), [true, true, true]),
        (Concern::of(&mdm), [true, false, false]),
        (Concern::of(&kim), [false, true, false]),
        (Concern::from(&hdo("lakeside")), [false, false, true]),
    ] {
        assert_eq!([&mdm, &kim, &lee].map(|p| concern.includes(p)), readers, "{concern}");
        assert_eq!(concern.to_string().parse::<Concern>().unwrap(), concern);
    }
    for bad in ["", "nobody", "hdo/", "hdo/a/b", "riverside", "Everybody"] {
        assert!(bad.parse::<Concern>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_first_broken_entry_is_named() {
    let broken = |change: &dyn Fn(&mut Vec<Leaf>)| {
        let mut leaves = record(5);
        change(&mut leaves);
        verify(&leaves, Head::empty()).unwrap_err()
    };
    assert!(matches!(broken(&|l| drop(l.remove(2))), AuditError::Gap { wanted: 3, offered: 4 }));
    assert!(matches!(broken(&|l| l.swap(1, 2)), AuditError::Gap { wanted: 2, offered: 3 }));
    assert!(matches!(broken(&|l| l[3].payload = l[2].payload.clone()), AuditError::Payload(4)));
    assert!(matches!(broken(&|l| l[3].root = l[2].root), AuditError::Hash(4)));
    let withheld_and_replaced = |l: &mut Vec<Leaf>| {
        l[1].payload = None;
        l[1].payload_sha256 = Digest::of(b"another");
    };
    assert!(matches!(broken(&withheld_and_replaced), AuditError::Hash(2)));
}

#[test]
fn a_payload_of_another_place_is_refused_though_its_hashes_fit() {
    let other = leaves([entry(7).to_bytes().unwrap()]);
    assert!(matches!(verify(&other, Head::empty()), Err(AuditError::Gap { wanted: 1, offered: 7 })));
}

#[test]
fn a_record_rewritten_as_a_whole_does_not_pass_the_head_seen_last() {
    let seen = head(&record(4));
    let by_mallory = |seq| Entry { actor: "mdm/mallory".to_owned(), ..entry(seq) }.to_bytes().unwrap();
    let other = leaves((1..=6).map(by_mallory));
    assert!(matches!(verify(&other, seen), Err(AuditError::Rewritten { seq: 4, .. })));
    assert!(matches!(verify(&other[..3], seen), Err(AuditError::Rewritten { seq: 4, .. })), "cut off");
    assert_eq!(verify(&record(6), seen).unwrap().size, 6);
}

#[test]
fn an_entry_too_long_or_with_a_float_is_not_written() {
    let mut long = entry(1);
    long.detail.insert("text".to_owned(), Value::from("x".repeat(MAX_AUDIT_ENTRY_BYTES)));
    assert!(matches!(long.to_bytes(), Err(AuditError::TooLong { seq: 1, .. })));
    let mut float = entry(1);
    float.detail.insert("share".to_owned(), Value::from(0.5));
    assert!(matches!(float.to_bytes(), Err(AuditError::Json { seq: 1, source: JsonError::Float })));
}

proptest! {
    #[test]
    fn any_flipped_byte_is_found_at_its_entry(at in 0usize..5, place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut leaves = record(5);
        let payload = leaves[at].payload.as_mut().unwrap();
        let i = place.index(payload.len());
        payload[i] ^= flip;
        prop_assert!(matches!(verify(&leaves, Head::empty()), Err(AuditError::Payload(seq)) if seq == at as u64 + 1));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::parse(1, &bytes);
    }
}
