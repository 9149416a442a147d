//! What a role's keys sign beside the metadata: a hospital's stop orders are carried so.

use serde_json::{Value, json};

use super::world::*;
use crate::phase::Code;
use crate::sign::{LocalKey, PublicKey, SignError, Signature, Signer};
use crate::trust::beside::{Beside, countersign, sign};
use crate::trust::{Role, TrustError, key_id};

const ROLE: Role = Role::Targets;

/// A document that means nothing to the trust layer.
fn document() -> Value {
    json!({ "_type": "note", "counter": 3, "text": "stop\nall" })
}

fn signed_by(keys: &[u8]) -> Vec<u8> {
    let keys: Vec<LocalKey> = keys.iter().map(|n| key(*n)).collect();
    sign(ROLE, document(), &keys.iter().map(|k| k as &dyn Signer).collect::<Vec<_>>()).unwrap()
}

/// By the threshold of the world's targets keys, which are two of two.
fn by_threshold(bytes: &[u8]) -> Result<(), TrustError> {
    Beside::open(ROLE, bytes)?.by_threshold(&World::new().verified_root(), ROLE)
}

fn by_any(bytes: &[u8]) -> Result<(), TrustError> {
    Beside::open(ROLE, bytes)?.by_any(&World::new().verified_root(), ROLE)
}

#[test]
fn what_binds_all_takes_the_threshold_of_the_role_s_own_keys() {
    by_threshold(&signed_by(&[TARGETS_B, TARGETS_A])).unwrap();
    by_threshold(&signed_by(&[STRANGER, TARGETS_A, TARGETS_B])).unwrap();
    for too_few in [&[][..], &[TARGETS_A], &[TARGETS_B, STRANGER], &[TARGETS_A, ROOT_A, ROOT_B, SNAPSHOT]] {
        let refused = by_threshold(&signed_by(too_few)).unwrap_err();
        assert!(matches!(refused, TrustError::Threshold { role: ROLE, threshold: 2, .. }), "{too_few:?}");
        assert_eq!(refused.code(), Code::BadSignature);
    }
}

#[test]
fn what_anybody_may_do_takes_one_of_the_role_s_keys_and_not_just_any_key() {
    for one in [TARGETS_A, TARGETS_B] {
        by_any(&signed_by(&[one])).unwrap();
    }
    for none in [&[][..], &[STRANGER], &[ROOT_A, ROOT_B, SNAPSHOT, TIMESTAMP]] {
        refused!(by_any(&signed_by(none)), TrustError::Threshold { role: ROLE, valid: 0, threshold: 1 });
    }
    let other = tamper(&signed_by(&[TARGETS_A]), |file| file["signed"]["counter"] = json!(4));
    refused!(by_any(&other), TrustError::Threshold { valid: 0, .. });
}

#[test]
fn one_hand_twice_is_one_signature() {
    let twice = signed_by(&[TARGETS_A, TARGETS_A]);
    refused!(by_threshold(&twice), TrustError::Threshold { valid: 1, .. });
    let thrice = countersign(ROLE, &twice, &key(TARGETS_A)).unwrap();
    refused!(by_threshold(&thrice), TrustError::Threshold { valid: 1, .. });
}

#[test]
fn each_signer_adds_to_what_is_there_and_changes_nothing_that_is_signed() {
    let one = signed_by(&[TARGETS_A]);
    let two = countersign(ROLE, &one, &key(TARGETS_B)).unwrap();
    by_threshold(&two).unwrap();
    for bytes in [&one, &two] {
        assert_eq!(*Beside::open(ROLE, bytes).unwrap().signed(), document());
    }
}

#[test]
fn a_spoiled_signature_is_mended_by_the_key_that_it_is_said_to_be_of() {
    let spoiled = tamper(&signed_by(&[TARGETS_A, TARGETS_B]), |file| {
        let id = key_id(&key(TARGETS_A).public()).unwrap().to_string();
        let all = file["signatures"].as_array_mut().unwrap();
        let its = all.iter_mut().find(|s| s["keyid"] == json!(id)).unwrap();
        its["sig"] = json!("00".repeat(64));
    });
    refused!(by_threshold(&spoiled), TrustError::Threshold { valid: 1, .. });
    by_threshold(&countersign(ROLE, &spoiled, &key(TARGETS_A)).unwrap()).unwrap();
}

/// A token that was pulled out.
struct Gone;

impl Signer for Gone {
    fn public(&self) -> PublicKey {
        key(TARGETS_A).public()
    }

    fn sign(&self, _: &[u8]) -> Result<Signature, SignError> {
        Err(SignError::Holder("no token".to_owned()))
    }
}

#[test]
fn nobody_signs_what_nobody_will_accept() {
    refused!(sign(ROLE, json!("no object"), &[&key(TARGETS_A)]), TrustError::Rule { role: ROLE, .. });
    refused!(sign(ROLE, json!({ "share": 0.5 }), &[&key(TARGETS_A)]), TrustError::Json { role: ROLE, .. });
    let long = json!({ "text": "x".repeat(ROLE.max_bytes() as usize) });
    refused!(sign(ROLE, long, &[&key(TARGETS_A)]), TrustError::TooLong { role: ROLE, .. });
    refused!(countersign(ROLE, b"{}", &key(TARGETS_A)), TrustError::Rule { role: ROLE, .. });
    refused!(sign(ROLE, document(), &[&Gone]), TrustError::Sign { role: ROLE, .. });
    refused!(countersign(ROLE, &signed_by(&[]), &Gone), TrustError::Sign { role: ROLE, .. });
}

#[test]
fn a_signature_too_many_is_refused_before_the_file_is_handed_on() {
    let full = tamper(&signed_by(&[TARGETS_A]), |file| {
        let all = file["signatures"].as_array_mut().unwrap();
        all.extend((1..64).map(|i| json!({ "keyid": format!("{i:064x}"), "sig": "" })));
    });
    countersign(ROLE, &full, &key(TARGETS_A)).unwrap();
    refused!(countersign(ROLE, &full, &key(TARGETS_B)), TrustError::Rule { role: ROLE, .. });
}
