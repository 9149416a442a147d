//! The chain of roots: who may replace keys, and what that undoes.

use serde_json::json;

use super::world::*;
use crate::limits::MAX_ROOT_STEPS;
use crate::phase::Code;
use crate::sign::Signer as _;
use crate::trust::{Answer, Change, Refresh, Role, Root, TrustError, Verified};

const BOTH: [u8; 2] = [ROOT_A, ROOT_B];

#[test]
fn a_chain_is_followed_to_its_end_and_each_root_is_stored() {
    let mut world = World::new();
    world.rotate(&BOTH, |_| {});
    world.rotate(&[ROOT_A, STRANGER], |root| root.root = role(&[ROOT_A, STRANGER], 2));
    world.rotate(&[ROOT_A, STRANGER], |_| {});
    let mut client = world.client();
    assert_eq!(client.refresh(&world).unwrap().seen().root, 4);
    assert_eq!(client.store.root, world.files["4.root.json"]);
    assert_eq!(client.asked[..4], ["2.root.json", "3.root.json", "4.root.json", "5.root.json"]);
}

#[test]
fn a_new_root_needs_the_old_threshold_and_its_own() {
    for (signers, valid) in [
        (&[ROOT_A, ROOT_B, STRANGER][..], true),
        (&[ROOT_A, ROOT_B], false),   // its own threshold is missing
        (&[ROOT_A, STRANGER], false), // the old threshold is missing
        (&[STRANGER], false),
        (&[ROOT_A, TARGETS_A, STRANGER], false),
    ] {
        let mut world = World::new();
        world.rotate(&[ROOT_A, STRANGER], |root| root.root = role(&[ROOT_A, STRANGER], 2));
        world.replace("2.root.json", |bytes| reseal(bytes, signers, |_| {}));
        let mut client = world.client();
        let result = client.refresh(&world);
        assert_eq!(result.is_ok(), valid, "{signers:?}: {result:?}");
        if !valid {
            refused!(result, TrustError::Threshold { role: Role::Root, .. });
            assert_eq!(client.store.root, world.files["1.root.json"], "nothing is stored");
        }
    }
}

#[test]
fn the_next_root_is_the_next_version_and_no_other() {
    for (version, code) in [(1, Code::Rollback), (3, Code::MixAndMatch), (u64::MAX, Code::MixAndMatch)] {
        let mut world = World::new();
        world.rotate(&BOTH, |_| {});
        world.replace("2.root.json", |bytes| reseal(bytes, &BOTH, |root| root["version"] = json!(version)));
        let refused = world.client().refresh(&world).unwrap_err();
        assert_eq!(refused.code(), code, "{version}: {refused}");
    }
}

#[test]
fn an_old_root_again_is_no_new_one() {
    let mut world = World::new();
    world.rotate(&BOTH, |_| {});
    let mut client = world.client();
    client.refresh(&world).unwrap();
    let old = world.files["1.root.json"].clone();
    world.files.insert("3.root.json".to_owned(), old);
    refused!(client.refresh(&world), TrustError::Rollback { role: Role::Root, trusted: 2, offered: 1 });
}

#[test]
fn only_the_last_root_must_be_unexpired() {
    let mut world = World::new();
    world.rotate(&BOTH, |root| root.expires = now() - days(10));
    let mut client = world.client();
    refused!(client.refresh(&world), TrustError::Expired { role: Role::Root, .. });
    assert_eq!(client.store.root, world.files["2.root.json"], "stored all the same: the chain goes on from it");
    world.rotate(&BOTH, |root| root.expires = now() + days(365));
    assert_eq!(client.refresh(&world).unwrap().seen().root, 3);
}

#[test]
fn a_device_from_a_shelf_finds_its_way_back() {
    // Its pinned root expired long ago, as has everything that it stored.
    let mut world = World::new();
    let mut client = world.client();
    client.refresh(&world).unwrap();
    world.now = now() + days(730);
    let expires = world.now + days(365);
    world.rotate(&BOTH, |root| root.expires = expires);
    world.put_targets(2);
    assert_eq!(client.refresh(&world).unwrap().seen().targets, 2);
}

#[test]
fn expiry_counts_from_its_very_instant() {
    let world = World::new();
    let expires = world.root.expires;
    let start = || Refresh::start(world.client().store, expires).unwrap();
    let mut refresh = start();
    refused!(refresh.supply(Answer::NotFound), TrustError::Expired { role: Role::Root, .. });
    let mut refresh = Refresh::start(world.client().store, expires - jiff::SignedDuration::from_nanos(1)).unwrap();
    assert!(refresh.supply(Answer::NotFound).is_ok());
}

#[test]
fn one_refresh_takes_a_bounded_number_of_roots_and_the_next_goes_on() {
    let mut world = World::new();
    for _ in 0..MAX_ROOT_STEPS + 10 {
        world.rotate(&BOTH, |_| {});
    }
    let mut client = world.client();
    refused!(client.refresh(&world), TrustError::RootSteps(_));
    assert_eq!(client.asked.len(), MAX_ROOT_STEPS as usize + 1);
    assert_eq!(client.refresh(&world).unwrap().seen().root, u64::from(MAX_ROOT_STEPS) + 11);
}

#[test]
fn stored_files_go_when_online_keys_change_in_that_order() {
    let mut world = World::new();
    world.rotate(&BOTH, |root| root.timestamp = role(&[STRANGER], 1));
    let mut refresh = Refresh::start(world.client().store, now()).unwrap();
    let changes = refresh.supply(Answer::Found(world.files["2.root.json"].clone())).unwrap();
    let put = Change::Put { name: "root.json", bytes: world.files["2.root.json"].clone() };
    let gone = |name| Change::Remove { name };
    assert_eq!(changes, [put, gone("timestamp.json"), gone("snapshot.json")]);
}

#[test]
fn stored_files_stay_when_online_keys_do() {
    let mut world = World::new();
    let mut client = world.client();
    world.put_targets(2);
    client.refresh(&world).unwrap();
    let mut old = World::new();
    for world in [&mut world, &mut old] {
        world.rotate(&[ROOT_A, STRANGER], |root| {
            root.root = role(&[ROOT_A, STRANGER], 2);
            root.targets = role(&[TARGETS_A, TARGETS_B, STRANGER], 2);
        });
    }
    let mut refresh = Refresh::start(client.store.clone(), now()).unwrap();
    let changes = refresh.supply(Answer::Found(world.files["2.root.json"].clone())).unwrap();
    assert_eq!(changes.len(), 1);
    refused!(client.refresh(&old), TrustError::Rollback { role: Role::Timestamp, .. });
}

#[test]
fn stored_files_go_when_both_online_keys_change() {
    let mut world = World::new();
    let mut client = world.client();
    (world.timestamp_version, world.snapshot_version) = (1_000_000, 1_000_000);
    world.put_targets(1);
    client.refresh(&world).unwrap();
    world.rotate(&BOTH, |root| {
        root.timestamp = role(&[STRANGER], 1);
        root.snapshot = role(&[STRANGER], 1);
    });
    (world.timestamp_key, world.snapshot_key) = (STRANGER, STRANGER);
    (world.timestamp_version, world.snapshot_version) = (2, 2);
    world.put_targets(2);
    assert_eq!(client.refresh(&world).unwrap().seen().targets, 2);
}

#[test]
fn keys_that_change_and_change_back_across_a_power_cut_have_changed() {
    let mut world = World::new();
    let mut client = world.client();
    (world.timestamp_version, world.snapshot_version) = (1_000_000, 1_000_000);
    world.put_targets(1);
    client.refresh(&world).unwrap();
    world.rotate(&BOTH, |root| root.timestamp = role(&[STRANGER], 1));
    // The power failed right after this root was stored.
    client.store.root = world.files["2.root.json"].clone();
    world.rotate(&BOTH, |root| root.timestamp = role(&[TIMESTAMP], 1));
    (world.timestamp_version, world.snapshot_version) = (2, 1_000_001);
    world.put_targets(2);
    assert_eq!(client.refresh(&world).unwrap().seen().root, 3);
}

#[test]
fn the_owner_recovers_from_versions_driven_up_by_a_thief() {
    for thief_has in [TIMESTAMP, SNAPSHOT] {
        let mut world = World::new();
        let mut client = world.client();
        // The thief of the online keys drives the versions up.
        (world.timestamp_version, world.snapshot_version) = (1_000_000, 1_000_000);
        world.put_targets(1);
        client.refresh(&world).unwrap();
        // The owner's restored server is behind, and stays locked out while the keys are the same.
        (world.timestamp_version, world.snapshot_version) = (2, 2);
        world.put_targets(2);
        refused!(client.clone().refresh(&world), TrustError::Rollback { .. });
        // With new keys it is not.
        world.rotate(&BOTH, |root| {
            let fresh = role(&[STRANGER], 1);
            if thief_has == TIMESTAMP { root.timestamp = fresh } else { root.snapshot = fresh }
        });
        if thief_has == TIMESTAMP {
            world.timestamp_key = STRANGER
        } else {
            world.snapshot_key = STRANGER
        }
        world.put_snapshot();
        assert_eq!(client.refresh(&world).unwrap().seen().targets, 2);
    }
}

#[test]
fn new_online_keys_in_old_hands_do_not_bring_back_what_the_owner_has_replaced() {
    for targets_keys in [vec![TARGETS_A, TARGETS_B], vec![TARGETS_A, TARGETS_B, STRANGER], vec![STRANGER]] {
        let mut world = World::new();
        let mut client = world.client();
        world.put_targets(2);
        let older = world.files["2.targets.json"].clone();
        world.now += days(1);
        world.put_targets(3);
        client.refresh(&world).unwrap();
        let replaced = !targets_keys.contains(&TARGETS_A);
        world.rotate(&BOTH, |root| {
            root.timestamp = role(&[STRANGER], 1);
            root.snapshot = role(&[STRANGER], 1);
            root.targets = role(&targets_keys, if replaced { 1 } else { 2 });
        });
        (world.timestamp_key, world.snapshot_key) = (STRANGER, STRANGER);
        (world.timestamp_version, world.snapshot_version) = (0, 0);
        if replaced {
            // What other keys have signed binds those of today to nothing.
            let fresh = reseal(&older, &[STRANGER], |_| {});
            world.force_targets(2, fresh);
            assert_eq!(client.refresh(&world).unwrap().seen().targets, 2);
        } else {
            world.force_targets(2, older);
            refused!(client.refresh(&world), TrustError::Rollback { role: Role::Targets, trusted: 3, offered: 2 });
            world.put_targets(3);
            assert_eq!(client.refresh(&world).unwrap().seen().targets, 3);
        }
    }
}

#[test]
fn nor_does_a_signer_who_leaves_open_the_way_back_to_what_the_others_have_signed() {
    let mut world = World::new();
    let mut client = world.client();
    // A and C, whom the root of that day lists, signed the older ones; A and B the newer.
    world.rotate(&BOTH, |root| root.targets = role(&[TARGETS_A, TARGETS_B, STRANGER], 2));
    world.put_targets(2);
    let older = reseal(&world.files["2.targets.json"].clone(), &[TARGETS_A, STRANGER], |_| {});
    world.now += days(1);
    world.put_targets(3);
    client.refresh(&world).unwrap();
    // B leaves as the online keys change: of those who signed the newer ones A alone is left.
    world.rotate(&BOTH, |root| {
        root.timestamp = role(&[STRANGER], 1);
        root.snapshot = role(&[STRANGER], 1);
        root.targets = role(&[TARGETS_A, STRANGER], 2);
    });
    (world.timestamp_key, world.snapshot_key) = (STRANGER, STRANGER);
    (world.timestamp_version, world.snapshot_version) = (0, 0);
    world.force_targets(2, older);
    refused!(client.refresh(&world), TrustError::Rollback { role: Role::Targets, trusted: 3, offered: 2 });
    world.put_targets(4);
    let newest = reseal(&world.files["4.targets.json"].clone(), &[TARGETS_A, STRANGER], |_| {});
    world.force_targets(4, newest);
    assert_eq!(client.refresh(&world).unwrap().seen().targets, 4);
}

#[test]
fn targets_of_a_year_far_ahead_prove_no_later_time_than_the_root_ends() {
    let mut world = World::new();
    let ends = world.verified_root().expires();
    world.put_targets(2);
    let bytes = reseal(&world.files["2.targets.json"].clone(), &[TARGETS_A, TARGETS_B], |signed| {
        signed["signed_at"] = "9998-01-01T00:00:00Z".into();
        signed["expires"] = "9999-01-01T00:00:00Z".into();
    });
    world.force_targets(2, bytes);
    assert_eq!(world.client().refresh(&world).unwrap().signed_at(), ends);
    world.put_targets(3);
    assert_eq!(world.client().refresh(&world).unwrap().signed_at(), now());
}

#[test]
fn keys_that_change_and_change_back_have_changed() {
    let mut world = World::new();
    let mut client = world.client();
    (world.timestamp_version, world.snapshot_version) = (1_000_000, 1_000_000);
    world.put_targets(1);
    client.refresh(&world).unwrap();
    world.rotate(&BOTH, |root| root.timestamp = role(&[STRANGER], 1));
    world.rotate(&BOTH, |root| root.timestamp = role(&[TIMESTAMP], 1));
    (world.timestamp_version, world.snapshot_version) = (2, 2);
    world.put_targets(2);
    assert_eq!(client.refresh(&world).unwrap().seen().root, 3);
}

#[test]
fn after_a_power_cut_stored_files_count_only_if_the_present_root_verifies_them() {
    let mut world = World::new();
    let mut client = world.client();
    (world.timestamp_version, world.snapshot_version) = (1_000_000, 1_000_000);
    world.put_targets(1);
    client.refresh(&world).unwrap();
    world.rotate(&BOTH, |root| {
        root.timestamp = role(&[STRANGER], 1);
        root.snapshot = role(&[STRANGER], 1);
    });
    // The new root was stored; the power failed before the old files were removed.
    client.store.root = world.files["2.root.json"].clone();
    (world.timestamp_key, world.snapshot_key) = (STRANGER, STRANGER);
    (world.timestamp_version, world.snapshot_version) = (2, 2);
    world.put_targets(2);
    assert_eq!(client.refresh(&world).unwrap().seen().targets, 2);
}

#[test]
fn a_revoked_key_signs_nothing_more() {
    let mut world = World::new();
    world.rotate(&BOTH, |root| root.targets = role(&[TARGETS_A, STRANGER], 2));
    let mut client = world.client();
    refused!(client.refresh(&world), TrustError::Threshold { role: Role::Targets, valid: 1, .. });
    // A server that hides the new root, once the client has it, gains nothing.
    world.files.remove("2.root.json");
    refused!(client.refresh(&world), TrustError::Threshold { role: Role::Targets, .. });
}

#[test]
fn a_pinned_root_that_contradicts_itself_is_refused() {
    let world = World::new();
    refused!(
        Verified::<Root>::pinned(&reseal(&world.files["1.root.json"], &[ROOT_A], |_| {})),
        TrustError::Threshold { role: Role::Root, valid: 1, threshold: 2 }
    );
}

#[test]
fn one_named_holder_is_not_two_of_those_who_must_sign() {
    let held = |threshold: u32, holders: &[(u8, &str)]| {
        let mut world = World::new();
        let holders: std::collections::BTreeMap<String, &str> =
            holders.iter().map(|(seed, name)| (key(*seed).public().to_string(), *name)).collect();
        world.rotate(&BOTH, |root| root.targets = role(&[TARGETS_A, TARGETS_B], threshold));
        world.replace("2.root.json", |bytes| reseal(bytes, &BOTH, |root| root["x-suture-holders"] = json!(holders)));
        Verified::<Root>::pinned(&world.files["2.root.json"])
    };
    let root = held(2, &[(TARGETS_A, "kim"), (TARGETS_B, "lee")]).unwrap();
    assert_eq!(root.holder(&key(TARGETS_B).public()).map(ToString::to_string).as_deref(), Some("lee"));
    assert_eq!(root.holder(&key(ROOT_A).public()), None);
    refused!(held(2, &[(TARGETS_A, "kim"), (TARGETS_B, "kim")]), TrustError::Rule { role: Role::Root, .. });
    held(1, &[(TARGETS_A, "kim"), (TARGETS_B, "kim")]).unwrap();
    held(2, &[(TARGETS_A, "kim"), (ROOT_A, "kim")]).unwrap();
    refused!(held(2, &[(TARGETS_A, "Kim!")]), TrustError::Json { role: Role::Root, .. });
}
