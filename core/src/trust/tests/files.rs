//! Target files, their listing, and what the catalog says of them.

use serde_json::{Value, json};

use super::world::*;
use crate::digest::Digest;
use crate::json::JsonError;
use crate::phase::Code;
use crate::trust::{CatalogEntry, Role, Status, Target, Targets, TrustError, Verified};
use crate::version::Release;

fn listing(change: impl FnOnce(&mut Value)) -> Result<Verified<Targets>, TrustError> {
    let world = World::new();
    Verified::by(&world.verified_root(), &reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], change))
}

#[test]
fn a_target_is_its_exact_bytes() {
    let world = World::new();
    let repository = world.client().refresh(&world).unwrap();
    repository.verify_target("dir/file.txt", b"hello").unwrap();
    for (bytes, field) in [(&b"hellp"[..], "sha256"), (b"hello ", "length"), (b"hell", "length"), (b"", "length")] {
        let refused = repository.verify_target("dir/file.txt", bytes).unwrap_err();
        assert!(matches!(&refused, TrustError::WrongTarget { field: f, .. } if *f == field), "{refused:?}");
        assert_eq!(refused.code(), Code::WrongBytes);
    }
    let refused = repository.verify_target("dir/other.txt", b"hello").unwrap_err();
    assert_eq!(refused.code(), Code::NotInCatalog);
}

#[test]
fn every_hash_that_is_given_and_known_is_checked() {
    let sha512 = hex::encode(<sha2::Sha512 as sha2::Digest>::digest(b"hello"));
    let sha256 = Digest::of(b"hello").to_string();
    let with = |hashes: Value| listing(|t| t["targets"]["dir/file.txt"]["hashes"] = hashes);
    let both = with(json!({ "sha256": sha256, "sha512": sha512 })).unwrap();
    both.verify_target("dir/file.txt", b"hello").unwrap();
    let lying = with(json!({ "sha256": sha256, "sha512": sha512.replace('a', "b") })).unwrap();
    refused!(lying.verify_target("dir/file.txt", b"hello"), TrustError::WrongTarget { field: "sha512", .. });
    let beside = with(json!({ "sha256": sha256, "later": "00" })).unwrap();
    beside.verify_target("dir/file.txt", b"hello").unwrap();
    for bad in [
        json!({}),
        json!({ "later": "00" }),
        json!({ "sha256": sha256.to_uppercase() }),
        json!({ "sha256": "" }),
        json!({ "sha256": sha256, "sha512": "00" }),
    ] {
        refused!(with(bad), TrustError::Json { source: JsonError::Shape(_), .. });
    }
    refused!(with(json!({ "sha512": sha512 })), TrustError::Rule { .. });
}

#[test]
fn served_names_carry_the_digest() {
    let world = World::new();
    let repository = world.client().refresh(&world).unwrap();
    let digest = Digest::of(b"hello");
    assert_eq!(repository.file_name("dir/file.txt").unwrap(), format!("dir/{digest}.file.txt"));
    assert_eq!(repository.file_name("file.txt"), None);
    let flat = listing(|t| t["targets"] = json!({ "f": t["targets"]["dir/file.txt"] })).unwrap();
    assert_eq!(flat.file_name("f").unwrap(), format!("{digest}.f"));
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let long = "x".repeat(513);
    for bad in ["", "/etc/passwd", "a/../b", "../a", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", &long] {
        let refused = listing(|t| t["targets"] = json!({ bad: t["targets"]["dir/file.txt"] }));
        assert!(matches!(refused, Err(TrustError::Rule { .. })), "{bad:?}");
    }
}

#[test]
fn the_owner_s_fields_are_read_and_only_from_the_signed_part() {
    let world = World::new();
    let repository = world.client().refresh(&world).unwrap();
    assert_eq!(repository.signed_at(), now());
    assert_eq!(repository.target("dir/file.txt").unwrap().custom, Some(json!({ "n": 1 })));
    assert_eq!(repository.expires(), now() + days(7));
    let seen = repository.seen();
    assert_eq!((seen.root, seen.targets), (1, 1));
    assert_eq!(seen.targets_sha256, Digest::of(&world.files["1.targets.json"]));
    // A repository that does not say raises no clock.
    let silent = listing(|t| drop(t.as_object_mut().unwrap().remove("signed_at"))).unwrap();
    assert_eq!(silent.signed_at(), None);
    refused!(listing(|t| t["signed_at"] = json!("2026-11-24T15:00:00.5Z")), TrustError::Rule { .. });
}

#[test]
fn a_view_lists_what_was_signed_and_says_of_which_versions_it_is() {
    let mut world = World::new();
    world.put_targets(4);
    let targets = reseal(&world.files["4.targets.json"], &[TARGETS_A, TARGETS_B], |t| {
        t["targets"]["a.txt"] = t["targets"]["dir/file.txt"].clone();
    });
    world.force_targets(4, targets);
    world.put_timestamp();
    let repository = world.client().refresh(&world).unwrap();
    let versions = (repository.timestamp_version(), repository.snapshot_version(), repository.seen().targets);
    assert_eq!(versions, (4, 3, 4));
    let listed: Vec<_> = repository.targets().map(|(path, target)| (path, target.length)).collect();
    assert_eq!(listed, [("a.txt", 5), ("dir/file.txt", 5)]);
    assert!(repository.targets().eq(repository.targets_metadata().targets()));
}

#[test]
fn an_error_says_whose_file_it_is_about() {
    let refusals = Role::ALL.map(|role| TrustError::Rule { role, rule: "it is odd" }.to_string());
    assert_eq!(
        refusals,
        ["root", "targets", "snapshot", "timestamp"].map(|r| format!("the {r} metadata is not valid: it is odd"))
    );
}

#[test]
fn offline_nothing_may_be_missing_or_belong_to_another_version() {
    let mut world = World::new();
    let mut client = world.client();
    client.refresh(&world).unwrap();
    let old = client.store.clone();
    world.put_targets(2);
    client.refresh(&world).unwrap();
    let new = client.store.clone();
    assert!(offline(new.clone(), now()).is_ok());
    for i in 0..6 {
        let mut store = new.clone();
        match i {
            0 => store.timestamp = None,
            1 => store.snapshot = None,
            2 => store.targets = None,
            3 => store.timestamp = old.timestamp.clone(),
            4 => store.snapshot = old.snapshot.clone(),
            _ => store.targets = old.targets.clone(),
        }
        assert!(matches!(offline(store, now()), Err(TrustError::Missing(_))), "case {i}");
    }
}

#[test]
fn a_catalog_entry_survives_the_round_trip_and_nothing_else_is_one() {
    let entry = CatalogEntry {
        product: "pump".parse().unwrap(),
        release: Release(7),
        version: "1.4.0".parse().unwrap(),
        hardware: vec!["rev-a".parse().unwrap()],
        min_release: Release(3),
        status: Status::Withdrawn,
        floor: Release(5),
    };
    let target = Target::of(b"manifest", Some(entry.to_custom()));
    assert_eq!(CatalogEntry::of(&target), Some(entry.clone()));
    let as_array = json!(["pump", 7, "1.4.0", ["rev-a"], 3, "withdrawn", 5]);
    for bad in [None, Some(json!(null)), Some(json!({})), Some(as_array)] {
        assert_eq!(CatalogEntry::of(&Target::of(b"manifest", bad)), None);
    }
    for field in ["product", "release", "version", "hardware", "min_release", "status", "floor"] {
        let mut custom = entry.to_custom();
        custom[field] = json!({});
        assert_eq!(CatalogEntry::of(&Target::of(b"manifest", Some(custom))), None, "{field}");
    }
}
