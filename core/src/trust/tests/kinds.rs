//! Keys of kinds that this program does not know, as ML-DSA will be one day to a device that has not been updated.

use serde_json::{Value, json};

use super::world::*;
use crate::digest::Digest;
use crate::json::canonical;
use crate::trust::{Root, Targets, TrustError, Verified};

/// An ML-DSA-65 signature has 3,309 bytes.
const LONG: usize = 3_309;

/// A key object of another kind, and its id.
fn later(n: u8) -> (String, Value) {
    let public = hex::encode([n; 1_952]);
    let object = json!({ "keytype": "ml-dsa", "scheme": "ml-dsa-65", "keyval": { "public": public, "new": [n] } });
    (Digest::of(&canonical(&object).unwrap()).to_string(), object)
}

/// A root whose targets role lists the two Ed25519 keys and two of the later kind.
fn mixed(threshold: u64) -> Result<Verified<Root>, TrustError> {
    Verified::pinned(&reseal(&World::new().files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
        for (id, object) in [later(1), later(2)] {
            root["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(json!(id));
            root["keys"][id] = object;
        }
        root["roles"]["targets"]["threshold"] = json!(threshold);
    }))
}

/// Targets signed by these Ed25519 keys, with a signature of each later key beside them.
fn signed_by(keys: &[u8], sig: &str) -> Vec<u8> {
    tamper(&reseal(&World::new().files["1.targets.json"], keys, |_| {}), |file| {
        let all = file["signatures"].as_array_mut().unwrap();
        all.extend([later(1), later(2)].map(|(id, _)| json!({ "keyid": id, "sig": sig })));
    })
}

#[test]
fn an_unknown_kind_keeps_its_place_and_never_counts() {
    let long = "ab".repeat(LONG);
    // Signatures of any length, and of any form, are passed over.
    for sig in ["", "ab", &"00".repeat(64), &long, "bm8gaGV4"] {
        let root = mixed(2).unwrap();
        Verified::<Targets>::by(&root, &signed_by(&[TARGETS_A, TARGETS_B], sig)).unwrap();
        let refused = Verified::<Targets>::by(&root, &signed_by(&[TARGETS_A], sig));
        refused!(refused, TrustError::Threshold { valid: 1, threshold: 2, .. });
    }
    let authority = mixed(2).unwrap().authority(crate::trust::Role::Targets).clone();
    assert_eq!(authority.keys().count(), 2, "keys that it can verify by");
    assert_ne!(&authority, World::new().verified_root().authority(crate::trust::Role::Targets), "and others");
}

#[test]
fn a_threshold_that_needs_the_later_kind_is_not_met_by_a_device_that_lacks_it() {
    // Three of four: readable, but nobody who knows Ed25519 alone is satisfied.
    let root = mixed(3).unwrap();
    let refused = Verified::<Targets>::by(&root, &signed_by(&[TARGETS_A, TARGETS_B], &"ab".repeat(LONG)));
    refused!(refused, TrustError::Threshold { valid: 2, threshold: 3, .. });
    assert!(mixed(4).is_ok(), "their places count towards what a threshold may be");
    refused!(mixed(5), TrustError::Rule { .. });
}

#[test]
fn a_kind_is_its_keytype_and_its_scheme() {
    let known = crate::trust::key_object(&crate::sign::Signer::public(&key(TARGETS_B)));
    for (field, value) in [("keytype", "ed448"), ("scheme", "ed25519ph")] {
        let mut odd = known.clone();
        odd[field] = json!(value);
        let id = Digest::of(&canonical(&odd).unwrap()).to_string();
        let root = reseal(&World::new().files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
            root["keys"][&id] = odd.clone();
            root["roles"]["targets"] = json!({ "keyids": [id], "threshold": 1 });
        });
        let root: Verified<Root> = Verified::pinned(&root).unwrap();
        let file = tamper(&reseal(&World::new().files["1.targets.json"], &[TARGETS_B], |_| {}), |file| {
            file["signatures"][0]["keyid"] = json!(id);
        });
        refused!(Verified::<Targets>::by(&root, &file), TrustError::Threshold { valid: 0, .. });
    }
}

#[test]
fn a_later_key_s_id_covers_its_fields_like_any_other() {
    let with = |change: &dyn Fn(&mut Value)| {
        let (id, mut object) = later(1);
        change(&mut object);
        Verified::<Root>::pinned(&reseal(&World::new().files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
            root["keys"][id] = object;
        }))
    };
    assert!(with(&|_| {}).is_ok());
    let changes: [&dyn Fn(&mut Value); 3] =
        [&|key| key["keyval"]["new"] = json!([2]), &|key| key["note"] = json!("one field more"), &|key| {
            drop(key.as_object_mut().unwrap().remove("scheme"))
        }];
    for change in changes {
        refused!(with(change), TrustError::Rule { .. });
    }
}

#[test]
fn a_key_says_its_keytype_and_its_scheme() {
    for gone in ["keytype", "scheme"] {
        let (_, mut object) = later(1);
        object.as_object_mut().unwrap().remove(gone);
        let id = Digest::of(&canonical(&object).unwrap()).to_string();
        let root = reseal(&World::new().files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
            root["keys"][id] = object;
        });
        refused!(Verified::<Root>::pinned(&root), TrustError::Rule { .. });
    }
}

#[test]
fn a_root_lists_sixty_four_keys_and_no_more() {
    let with = |n: u8| {
        Verified::<Root>::pinned(&reseal(&World::new().files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
            let present = root["keys"].as_object().unwrap().len();
            for (id, object) in (0..n - present as u8).map(later) {
                root["keys"][id] = object;
            }
        }))
    };
    assert!(with(64).is_ok());
    refused!(with(65), TrustError::Rule { .. });
}
