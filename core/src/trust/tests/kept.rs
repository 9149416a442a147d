//! Files that a client has kept: they spare the fetching only if they are the very ones that are pinned.

use serde_json::json;

use super::world::*;
use crate::trust::{Role, TrustError};

/// A client at version 1, and what the server has.
fn settled() -> (World, Client) {
    let world = World::new();
    let mut client = world.client();
    client.refresh(&world).unwrap();
    (world, client)
}

#[test]
fn another_snapshot_under_the_version_that_is_kept_is_fetched() {
    let (mut world, mut client) = settled();
    let other = reseal(&world.files["1.snapshot.json"], &[SNAPSHOT], |s| s["expires"] = json!("2026-12-02T15:00:00Z"));
    world.force_snapshot(other.clone());
    client.refresh(&world).unwrap();
    assert_eq!(client.asked, ["2.root.json", "timestamp.json", "1.snapshot.json"]);
    assert_eq!(client.store.snapshot, Some(other));
}

#[test]
fn a_kept_snapshot_of_another_version_is_not_the_one_that_is_pinned_without_a_hash() {
    let (mut world, mut client) = settled();
    world.put_targets(2);
    world.replace("timestamp.json", |b| {
        reseal(b, &[TIMESTAMP], |t| t["meta"]["snapshot.json"] = json!({ "version": 2 }))
    });
    client.refresh(&world).unwrap();
    assert_eq!(client.asked[2..], ["2.snapshot.json", "2.targets.json"]);
}

#[test]
fn other_targets_under_the_version_that_is_kept_are_fetched() {
    let (mut world, mut client) = settled();
    let other = reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |t| t["x-later"] = json!(1));
    world.force_targets(1, other.clone());
    client.refresh(&world).unwrap();
    assert_eq!(client.store.targets, Some(other));
}

#[test]
fn kept_files_are_asked_for_their_expiry_each_time() {
    let (world, mut client) = settled();
    let later = now() + days(8);
    refused!(client.refresh_at(&world, later), TrustError::Expired { role: Role::Timestamp, .. });
    let mut world = world;
    world.now = later;
    world.put_timestamp();
    refused!(client.refresh(&world), TrustError::Expired { role: Role::Snapshot, .. });
    world.now = now() + crate::trust::edit::CATALOG_LIFETIME;
    world.put_snapshot();
    refused!(client.refresh(&world), TrustError::Expired { role: Role::Targets, .. });
    assert_eq!(
        client.asked.last().unwrap(),
        "2.snapshot.json",
        "the kept targets are the pinned ones, and no others are sought"
    );
}
