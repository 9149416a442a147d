//! Who has signed, and how often that counts.

use serde_json::{Value, json};

use super::world::*;
use crate::digest::Digest;
use crate::json::canonical;
use crate::phase::Code;
use crate::sign::Signer;
use crate::trust::{Role, Root, Snapshot, Targets, TrustError, Verified, key_id, key_object};

fn targets_signed_by(keys: &[u8]) -> Result<Verified<Targets>, TrustError> {
    let world = World::new();
    Verified::by(&world.verified_root(), &reseal(&world.files["1.targets.json"], keys, |_| {}))
}

fn id(n: u8) -> String {
    key_id(&key(n).public()).unwrap().to_string()
}

#[test]
fn a_threshold_takes_that_many_of_the_role_s_own_keys() {
    assert!(targets_signed_by(&[TARGETS_A, TARGETS_B]).is_ok());
    assert!(targets_signed_by(&[TARGETS_B, STRANGER, ROOT_A, TARGETS_A]).is_ok(), "others do no harm");
    for too_few in [&[][..], &[TARGETS_A], &[TARGETS_A, STRANGER], &[TARGETS_A, ROOT_A, ROOT_B, SNAPSHOT, TIMESTAMP]] {
        let refused = targets_signed_by(too_few).unwrap_err();
        assert!(matches!(refused, TrustError::Threshold { role: Role::Targets, threshold: 2, .. }), "{too_few:?}");
        assert_eq!(refused.code(), Code::BadSignature);
    }
}

#[test]
fn one_key_id_that_signs_twice_refuses_the_file() {
    refused!(targets_signed_by(&[TARGETS_A, TARGETS_A]), TrustError::Rule { role: Role::Targets, .. });
    refused!(targets_signed_by(&[TARGETS_A, TARGETS_B, TARGETS_A]), TrustError::Rule { role: Role::Targets, .. });
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let world = World::new();
    // A second spelling of the same key: an extra field gives it another, correct id.
    let mut twin = key_object(&key(TARGETS_A).public());
    twin["note"] = json!("twin");
    let twin_id = Digest::of(&canonical(&twin).unwrap()).to_string();
    let root = reseal(&world.files["1.root.json"], &[ROOT_A, ROOT_B], |root| {
        root["keys"][&twin_id] = twin.clone();
        root["roles"]["targets"] = json!({ "keyids": [id(TARGETS_A), twin_id], "threshold": 2 });
    });
    let root: Verified<Root> = Verified::pinned(&root).unwrap();
    let both = tamper(&reseal(&world.files["1.targets.json"], &[TARGETS_A], |_| {}), |file| {
        let mut second = file["signatures"][0].clone();
        second["keyid"] = json!(twin_id);
        file["signatures"].as_array_mut().unwrap().push(second);
    });
    let refused = Verified::<Targets>::by(&root, &both);
    refused!(refused, TrustError::Threshold { valid: 1, threshold: 2, .. });
}

#[test]
fn bad_signatures_beside_enough_good_ones_are_passed_over() {
    let world = World::new();
    let good = &world.files["1.targets.json"];
    let add = |entry: Value| {
        let file = tamper(good, |file| file["signatures"].as_array_mut().unwrap().insert(0, entry));
        Verified::<Targets>::by(&world.verified_root(), &file)
    };
    assert!(add(json!({ "keyid": id(STRANGER), "sig": "00".repeat(64) })).is_ok());
    assert!(add(json!({ "keyid": id(STRANGER), "sig": "no hex" })).is_ok());
    assert!(add(json!({ "keyid": "no digest", "sig": "" })).is_ok());
    refused!(add(json!({ "keyid": id(STRANGER) })), TrustError::Rule { .. });
    refused!(add(json!("nothing")), TrustError::Rule { .. });
}

#[test]
fn a_signature_has_one_spelling() {
    let world = World::new();
    for respell in [str::to_uppercase as fn(&str) -> String, |s| format!("{s}00"), |s| s[..126].to_owned()] {
        let file = tamper(&world.files["1.targets.json"], |file| {
            let sig = file["signatures"][0]["sig"].as_str().unwrap();
            file["signatures"][0]["sig"] = json!(respell(sig));
        });
        let refused = Verified::<Targets>::by(&world.verified_root(), &file);
        refused!(refused, TrustError::Threshold { valid: 1, .. });
    }
}

#[test]
fn unknown_fields_are_covered_by_the_signature() {
    let world = World::new();
    let root = world.verified_root();
    let extended =
        reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |t| t["x-later"] = json!({"a": [1]}));
    assert!(Verified::<Targets>::by(&root, &extended).is_ok());
    let changed = tamper(&extended, |file| file["signed"]["x-later"]["a"][0] = json!(2));
    refused!(Verified::<Targets>::by(&root, &changed), TrustError::Threshold { valid: 0, .. });
}

#[test]
fn the_received_bytes_are_kept_however_they_are_spaced() {
    let world = World::new();
    let value: Value = serde_json::from_slice(&world.files["1.targets.json"]).unwrap();
    let spaced = serde_json::to_vec_pretty(&value).unwrap();
    let verified: Verified<Targets> = Verified::by(&world.verified_root(), &spaced).unwrap();
    assert_eq!(verified.bytes(), spaced);
    assert_eq!(verified.digest(), Digest::of(&spaced));
}

#[test]
fn a_root_that_breaks_a_rule_about_keys_is_refused() {
    let world = World::new();
    let both = [ROOT_A, ROOT_B];
    let with = |change: &dyn Fn(&mut Value)| {
        Verified::<Root>::pinned(&reseal(&world.files["1.root.json"], &both, |root| change(root)))
    };
    assert!(with(&|_| {}).is_ok());
    let rules: [&dyn Fn(&mut Value); 8] = [
        &|root| root["roles"]["timestamp"]["threshold"] = json!(0),
        &|root| root["roles"]["timestamp"]["threshold"] = json!(2),
        &|root| root["roles"]["targets"]["keyids"] = json!([id(TARGETS_A), id(TARGETS_B), id(TARGETS_A)]),
        &|root| root["roles"]["timestamp"]["keyids"] = json!([id(STRANGER)]),
        // A key id that is another key's.
        &|root| root["keys"][id(TIMESTAMP)] = key_object(&key(STRANGER).public()),
        &|root| root["keys"][id(TIMESTAMP)]["note"] = json!("an extra field changes the id"),
        &|root| root["consistent_snapshot"] = json!(false),
        &|root| root["spec_version"] = json!("2.0.0"),
    ];
    for (i, rule) in rules.iter().enumerate() {
        let refused = with(*rule);
        assert!(matches!(refused, Err(TrustError::Rule { role: Role::Root, .. })), "rule {i}: {refused:?}");
    }
    let shapes: [&dyn Fn(&mut Value); 7] = [
        &|root| root["roles"]["timestamp"]["threshold"] = json!(-1),
        &|root| root["roles"]["timestamp"]["threshold"] = json!("1"),
        &|root| root["keys"]["x"] = key_object(&key(STRANGER).public()),
        &|root| drop(root["roles"].as_object_mut().unwrap().remove("snapshot")),
        &|root| drop(root.as_object_mut().unwrap().remove("expires")),
        &|root| root["version"] = json!("1"),
        &|root| root["version"] = json!(0),
    ];
    for (i, shape) in shapes.iter().enumerate() {
        let refused = with(*shape);
        assert!(matches!(refused, Err(TrustError::Json { role: Role::Root, .. })), "shape {i}: {refused:?}");
    }
}

#[test]
fn dates_have_one_form() {
    let world = World::new();
    for bad in
        ["2027-11-24T15:00:00.0Z", "2027-11-24T15:00:00+00:00", "2027-11-24 15:00:00Z", "2027-11-24", "never", ""]
    {
        let root = reseal(&world.files["1.root.json"], &[ROOT_A, ROOT_B], |root| root["expires"] = json!(bad));
        assert!(matches!(Verified::<Root>::pinned(&root), Err(TrustError::Json { .. })), "{bad}");
    }
}

#[test]
fn a_file_of_one_role_does_not_pass_for_another() {
    // One key for all online roles, so that only `_type` tells the files apart.
    let mut world = World::new();
    world.rotate(&[ROOT_A, ROOT_B], |root| root.timestamp = role(&[SNAPSHOT], 1));
    world.timestamp_key = SNAPSHOT;
    world.put_timestamp();
    let mut client = world.client();
    assert!(client.refresh(&world).is_ok());
    world.replace("timestamp.json", |bytes| {
        reseal(bytes, &[SNAPSHOT], |t| {
            t["_type"] = json!("snapshot");
            t["version"] = json!(9);
        })
    });
    refused!(client.refresh(&world), TrustError::Rule { role: Role::Timestamp, .. });
}

/// Other clients refuse these, or take `null` for something that was never signed.
#[test]
fn the_specification_s_version_is_one_of_numbers() {
    let world = World::new();
    let with = |text: &str| {
        let both = [ROOT_A, ROOT_B];
        Verified::<Root>::pinned(&reseal(&world.files["1.root.json"], &both, |root| root["spec_version"] = json!(text)))
    };
    for good in ["1.0", "1.0.0", "1.0.34", "1.99.0"] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in ["1", "1.", "1.0.0.0", "1.0.0-rc1", "1.a.b", "01.0.0", "+1.0.0", " 1.0.0", "0.9.0", "2.0.0", ""] {
        assert!(matches!(with(bad), Err(TrustError::Rule { role: Role::Root, .. })), "{bad}");
    }
}

#[test]
fn a_field_that_may_be_missing_says_something_where_it_stands() {
    let world = World::new();
    let root = world.verified_root();
    for field in ["length", "hashes"] {
        let without = reseal(&world.files["1.snapshot.json"], &[SNAPSHOT], |snapshot| {
            snapshot["meta"]["targets.json"].as_object_mut().unwrap().remove(field);
        });
        assert!(Verified::<Snapshot>::by(&root, &without).is_ok(), "{field}");
        let null = reseal(&world.files["1.snapshot.json"], &[SNAPSHOT], |snapshot| {
            snapshot["meta"]["targets.json"][field] = json!(null);
        });
        refused!(Verified::<Snapshot>::by(&root, &null), TrustError::Json { role: Role::Snapshot, .. });
    }
    for field in ["signed_at", "previous", "delegations"] {
        let null =
            reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |targets| targets[field] = json!(null));
        refused!(Verified::<Targets>::by(&root, &null), TrustError::Json { role: Role::Targets, .. });
    }
}
