//! Timestamp, snapshot and targets: rollback, freeze, mix-and-match, endless data.

use serde_json::json;

use super::world::*;
use crate::phase::Code;
use crate::trust::{Answer, Refresh, Role, TrustError};

/// A client that is up to date at targets version 3.
fn settled() -> (World, Client) {
    let mut world = World::new();
    world.put_targets(2);
    world.put_targets(3);
    let mut client = world.client();
    client.refresh(&world).unwrap();
    (world, client)
}

#[test]
fn nothing_new_costs_two_questions() {
    let (world, mut client) = settled();
    let before = client.store.clone();
    client.refresh(&world).unwrap();
    assert_eq!(client.asked, ["2.root.json", "timestamp.json"]);
    assert_eq!(client.store.timestamp, before.timestamp);
}

#[test]
fn each_role_rolled_back_is_refused_and_nothing_is_stored() {
    let (world, client) = settled();
    let refuse = |world: &World, role: Role| {
        let mut client = client.clone();
        let refused = client.refresh(world).unwrap_err();
        assert!(matches!(&refused, TrustError::Rollback { role: r, .. } if *r == role), "{role}: {refused:?}");
        assert_eq!(refused.code(), Code::Rollback);
        let stored = |file: &Option<Vec<u8>>| client.stored_version(file.as_ref());
        assert_eq!(stored(&client.store.targets), Some(3));
        assert_eq!(stored(&client.store.snapshot), Some(3));
    };
    // The timestamp itself.
    let mut old = World::new();
    old.put_targets(2);
    refuse(&old, Role::Timestamp);
    // A new timestamp for an old snapshot.
    old.timestamp_version = 100;
    old.put_timestamp();
    refuse(&old, Role::Snapshot);
    // A new snapshot for old targets.
    let mut old = world.clone();
    old.put_targets(2);
    refuse(&old, Role::Targets);
}

#[test]
fn expired_stored_files_still_serve_as_floors() {
    let (mut world, mut client) = settled();
    world.now = now() + days(30);
    let mut old = world.clone();
    old.put_targets(2);
    refused!(client.refresh(&old), TrustError::Rollback { role: Role::Targets, .. });
    world.timestamp_version = 0;
    world.put_timestamp();
    refused!(client.refresh(&world), TrustError::Rollback { role: Role::Timestamp, .. });
}

#[test]
fn a_snapshot_may_not_drop_what_was_listed() {
    let (mut world, _) = settled();
    let extra = |bytes: &[u8]| {
        reseal(bytes, &[SNAPSHOT], |s| {
            s["meta"]["extra.json"] = json!({ "version": 4 });
            s["version"] = json!(4);
        })
    };
    let with_extra = extra(&world.files["3.snapshot.json"]);
    world.snapshot_version = 4;
    world.force_snapshot(with_extra);
    let mut client = world.client();
    client.refresh(&world).unwrap();
    world.put_snapshot();
    let refused = client.refresh(&world).unwrap_err();
    assert!(matches!(&refused, TrustError::Dropped(name) if name == "extra.json"), "{refused:?}");
    assert_eq!(refused.code(), Code::Rollback);
}

#[test]
fn the_same_timestamp_version_keeps_the_stored_one() {
    let (mut world, mut client) = settled();
    let before = client.store.timestamp.clone();
    // Other contents under the same version: a later expiry.
    world.replace("timestamp.json", |bytes| {
        reseal(bytes, &[TIMESTAMP], |t| t["expires"] = json!("2036-01-01T00:00:00Z"))
    });
    client.refresh(&world).unwrap();
    assert_eq!(client.store.timestamp, before);
    // So the stored one's expiry still counts, each time anew.
    let later = now() + days(8);
    refused!(client.refresh_at(&world, later), TrustError::Expired { role: Role::Timestamp, .. });
}

#[test]
fn a_frozen_repository_runs_out_role_by_role() {
    let expiring = |role: Role| {
        let mut world = World::new();
        let early = |bytes: &[u8], keys: &[u8]| reseal(bytes, keys, |f| f["expires"] = json!("2026-11-25T15:00:00Z"));
        match role {
            Role::Targets => world.force_targets(1, early(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B])),
            Role::Snapshot => world.force_snapshot(early(&world.files["1.snapshot.json"], &[SNAPSHOT])),
            _ => world.replace("timestamp.json", |bytes| early(bytes, &[TIMESTAMP])),
        }
        world
    };
    for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let world = expiring(role);
        let mut client = world.client();
        client.refresh(&world).unwrap();
        let later = now() + days(2);
        // From the server, from what was kept, and offline: expired is expired.
        for refused in [
            world.client().refresh_at(&world, later).unwrap_err(),
            client.refresh_at(&world, later).unwrap_err(),
            offline(client.store.clone(), later).unwrap_err(),
        ] {
            assert!(matches!(&refused, TrustError::Expired { role: r, .. } if *r == role), "{role}: {refused:?}");
            assert_eq!(refused.code(), Code::MetadataExpired);
        }
    }
}

#[test]
fn files_that_were_never_in_force_together_are_refused() {
    let (mut world, client) = settled();
    world.put_targets(4);
    type Attack = fn(&mut World);
    let attacks: [(Attack, &str); 4] = [
        // The genuine, older file under the newer one's name.
        (|w| w.replace("4.targets.json", |_| w_file(3, "targets")), "targets"),
        (|w| w.replace("4.snapshot.json", |_| w_file(3, "snapshot")), "snapshot"),
        // Signed by the right keys, yet not what is pinned.
        (
            |w| {
                w.replace("4.targets.json", |b| {
                    reseal(b, &[TARGETS_A, TARGETS_B], |t| t["signed_at"] = json!("2026-11-24T15:00:01Z"))
                })
            },
            "targets",
        ),
        (
            |w| {
                w.replace("4.snapshot.json", |b| {
                    reseal(b, &[SNAPSHOT], |s| s["expires"] = json!("2026-12-02T15:00:00Z"))
                })
            },
            "snapshot",
        ),
    ];
    fn w_file(version: u64, role: &str) -> Vec<u8> {
        settled().0.files[&format!("{version}.{role}.json")].clone()
    }
    for (i, (attack, role)) in attacks.iter().enumerate() {
        let mut world = world.clone();
        attack(&mut world);
        let refused = client.clone().refresh(&world).unwrap_err();
        assert_eq!(refused.code(), Code::MixAndMatch, "attack {i}: {refused}");
        assert!(matches!(&refused, TrustError::Unpinned { role: r, .. } if r.as_str() == *role), "{i}: {refused:?}");
    }
}

#[test]
fn versions_must_equal_what_is_pinned_even_where_no_hash_is() {
    for version in [1, 3, 5] {
        let mut world = World::new();
        world.put_targets(2);
        let targets = world.files["2.targets.json"].clone();
        let odd = reseal(&targets, &[TARGETS_A, TARGETS_B], |t| t["version"] = json!(version));
        world.files.insert("2.targets.json".to_owned(), odd);
        let bare = reseal(&world.files["2.snapshot.json"], &[SNAPSHOT], |s| {
            s["meta"]["targets.json"] = json!({ "version": 2 });
        });
        world.force_snapshot(bare);
        refused!(world.client().refresh(&world), TrustError::WrongVersion { role: Role::Targets, wanted: 2, .. });
    }
    for version in [1, 3] {
        let mut world = World::new();
        world.put_targets(2);
        world.replace("2.snapshot.json", |b| reseal(b, &[SNAPSHOT], |s| s["version"] = json!(version)));
        world.replace("timestamp.json", |b| {
            reseal(b, &[TIMESTAMP], |t| t["meta"]["snapshot.json"] = json!({ "version": 2 }))
        });
        refused!(world.client().refresh(&world), TrustError::WrongVersion { role: Role::Snapshot, wanted: 2, .. });
    }
}

#[test]
fn a_timestamp_lists_the_snapshot_and_a_snapshot_the_targets() {
    let both = [("timestamp.json", TIMESTAMP, "snapshot.json"), ("1.snapshot.json", SNAPSHOT, "targets.json")];
    for (file, key, listed) in both {
        for pin in [json!(null), json!({ "version": 0 }), json!({}), json!([]), json!({ "version": "1" })] {
            let mut world = World::new();
            let sealed = reseal(&world.files[file], &[key], |f| f["meta"] = json!({ listed: pin }));
            if key == SNAPSHOT {
                world.force_snapshot(sealed)
            } else {
                world.replace(file, |_| sealed)
            }
            assert_eq!(world.client().refresh(&world).unwrap_err().code(), Code::BadMetadata, "{file}: {pin}");
        }
        let mut world = World::new();
        let sealed = reseal(&world.files[file], &[key], |f| f["meta"] = json!({ "other.json": { "version": 1 } }));
        if key == SNAPSHOT {
            world.force_snapshot(sealed)
        } else {
            world.replace(file, |_| sealed)
        }
        assert_eq!(world.client().refresh(&world).unwrap_err().code(), Code::BadMetadata, "{file}");
    }
}

#[test]
fn a_timestamp_lists_the_snapshot_alone() {
    let mut world = World::new();
    world.replace("timestamp.json", |bytes| {
        reseal(bytes, &[TIMESTAMP], |t| t["meta"]["other.json"] = json!({ "version": 1 }))
    });
    refused!(world.client().refresh(&world), TrustError::Rule { role: Role::Timestamp, .. });
}

#[test]
fn more_bytes_than_allowed_are_refused_before_they_are_read() {
    let world = World::new();
    let mut refresh = Refresh::start(world.client().store, now()).unwrap();
    let endless = |request: &crate::trust::Request| vec![b' '; request.max_bytes as usize + 1];
    for name in ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let request = refresh.request().unwrap();
        assert_eq!(request.name, name);
        let mut attacked = Refresh::start(world.client().store, now()).unwrap();
        for earlier in ["2.root.json", "timestamp.json", "1.snapshot.json"] {
            if attacked.request().unwrap().name == name {
                break;
            }
            let answer = world.files.get(earlier).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
            attacked.supply(answer).unwrap();
        }
        let refused = attacked.supply(Answer::Found(endless(&request))).unwrap_err();
        assert_eq!(refused.code(), Code::EndlessData, "{name}: {refused}");
        assert!(attacked.request().is_none(), "a refresh that failed asks for nothing more");
        let answer = world.files.get(name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
        refresh.supply(answer).unwrap();
    }
    refresh.finish().unwrap();
}

#[test]
fn only_roots_may_be_missing() {
    for name in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let mut world = World::new();
        world.files.remove(name);
        let refused = world.client().refresh(&world).unwrap_err();
        assert!(matches!(&refused, TrustError::Missing(missing) if missing == name), "{refused:?}");
    }
}

#[test]
fn a_refresh_out_of_turn_gives_nothing() {
    let world = World::new();
    let refresh = Refresh::start(world.client().store, now()).unwrap();
    refused!(refresh.finish(), TrustError::OutOfTurn);
    let mut refresh = Refresh::start(world.client().store, now()).unwrap();
    assert!(refresh.supply(Answer::Found(b"{}".to_vec())).is_err());
    refused!(refresh.supply(Answer::NotFound), TrustError::OutOfTurn);
    refused!(refresh.finish(), TrustError::OutOfTurn);
}

#[test]
fn after_a_power_cut_at_any_point_the_next_refresh_ends_well() {
    let (mut world, client) = settled();
    world.put_targets(4);
    // Every prefix of the changes that a refresh makes is a store that the next refresh can start from.
    for survived in 0..=3 {
        let mut cut = client.clone();
        let mut refresh = Refresh::start(cut.store.clone(), now()).unwrap();
        let mut changes = Vec::new();
        while let Some(request) = refresh.request() {
            let answer = world.files.get(&request.name).map_or(Answer::NotFound, |b| Answer::Found(b.clone()));
            changes.extend(refresh.supply(answer).unwrap());
        }
        assert_eq!(changes.len(), 3);
        changes.iter().take(survived).for_each(|change| cut.store.apply(change));
        let offline = offline(cut.store.clone(), now());
        assert_eq!(offline.is_ok(), survived == 0 || survived == 3, "half a refresh is no repository: {offline:?}");
        assert_eq!(cut.refresh(&world).unwrap().seen().targets, 4);
    }
}
