//! What a delegation may say, whom it covers, and who refuses it.

use serde_json::{Value, json};

use super::tree::{Tree, delegation};
use super::world::*;
use crate::digest::Digest;
use crate::phase::Code;
use crate::trust::{Delegations, Refresh, Targets, TrustError, Verified, delegated_name};

/// Targets metadata with these delegations, read.
fn reading(delegations: Value) -> Result<Verified<Targets>, TrustError> {
    let world = World::new();
    let bytes = reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |t| t["delegations"] = delegations);
    Verified::by(&world.verified_root(), &bytes)
}

/// One delegation to the stranger, changed.
fn with(change: impl FnOnce(&mut Value)) -> Result<Verified<Targets>, TrustError> {
    let mut delegations = delegation("pumps", &[STRANGER], 1, &["pumps/*"], false);
    change(&mut delegations);
    reading(delegations)
}

/// Whether a role with these paths may speak for the path.
fn covers(field: &str, list: Value, path: &str) -> bool {
    let targets = with(|d| {
        let role = d["roles"][0].as_object_mut().unwrap();
        role.remove("paths");
        role.insert(field.to_owned(), list);
    });
    targets.unwrap().delegations().all(|d| d.covers(path))
}

#[test]
fn approvals_refuse_targets_that_as_much_as_speak_of_delegations() {
    for delegations in [json!({ "keys": {}, "roles": [] }), delegation("pumps", &[STRANGER], 1, &["pumps/*"], false)] {
        let mut world = World::new();
        let bytes = reseal(&world.files["1.targets.json"], &[TARGETS_A, TARGETS_B], |t| t["delegations"] = delegations);
        world.force_targets(1, bytes);
        let mut client = world.client();
        let refused = client.refresh(&world).unwrap_err();
        assert!(matches!(&refused, TrustError::Rule { .. }), "{refused:?}");
        assert_eq!(refused.code(), Code::BadMetadata);
        assert_eq!(client.store.targets, None, "what is refused is not stored");

        // A reader who follows them takes the same file, and what it stored is refused to others.
        client.follow(&world).unwrap();
        assert!(client.store.targets.is_some());
        assert!(offline(client.store.clone(), now()).is_err());
        let refresh = Refresh::start(client.store.clone(), now()).unwrap().delegations(Delegations::Followed);
        refresh.offline().unwrap().finish().unwrap();
    }
}

#[test]
fn a_delegation_that_breaks_a_rule_refuses_the_file() {
    assert!(with(|_| {}).is_ok());
    type Change = fn(&mut Value);
    let rules: [Change; 17] = [
        |d| d["roles"][0]["name"] = json!("root"),
        |d| d["roles"][0]["name"] = json!("targets"),
        |d| d["roles"][0]["name"] = json!("snapshot"),
        |d| d["roles"][0]["name"] = json!("timestamp"),
        |d| d["roles"][0]["name"] = json!(""),
        |d| d["roles"][0]["name"] = json!("line\nbreak"),
        |d| d["roles"][0]["name"] = json!("x".repeat(513)),
        |d| d["roles"][0]["threshold"] = json!(0),
        |d| d["roles"][0]["threshold"] = json!(2),
        |d| d["roles"][0]["path_hash_prefixes"] = json!(["00"]),
        |d| drop(d["roles"][0].as_object_mut().unwrap().remove("paths")),
        |d| d["roles"][0]["paths"] = json!(["pumps/[ab]"]),
        |d| d["roles"][0]["paths"] = json!(["pumps/\\*"]),
        |d| d["roles"][0]["paths"] = json!(["x".repeat(513)]),
        |d| d["keys"] = json!({}),
        |d| {
            let again = d["roles"][0].clone();
            d["roles"].as_array_mut().unwrap().push(again);
        },
        // A key id that is another key's.
        |d| {
            let key = d["keys"].as_object_mut().unwrap().values_mut().next().unwrap();
            key["note"] = json!("an extra field changes the id");
        },
    ];
    for (i, rule) in rules.iter().enumerate() {
        let refused = with(rule);
        assert!(matches!(refused, Err(TrustError::Rule { .. })), "rule {i}: {refused:?}");
    }
    let shapes: [Change; 5] = [
        |d| *d = json!(null),
        |d| drop(d.as_object_mut().unwrap().remove("roles")),
        |d| drop(d.as_object_mut().unwrap().remove("keys")),
        |d| drop(d["roles"][0].as_object_mut().unwrap().remove("terminating")),
        |d| d["roles"][0]["paths"] = json!("pumps/*"),
    ];
    for (i, shape) in shapes.iter().enumerate() {
        let refused = with(shape);
        assert!(matches!(refused, Err(TrustError::Json { .. })), "shape {i}: {refused:?}");
    }
    for bad in ["", "g0", "0A", &"0".repeat(65)] {
        let refused = with(|d| {
            let role = d["roles"][0].as_object_mut().unwrap();
            role.remove("paths");
            role.insert("path_hash_prefixes".to_owned(), json!([bad]));
        });
        assert!(matches!(refused, Err(TrustError::Rule { .. })), "{bad:?}");
    }
}

#[test]
fn the_longest_that_is_allowed_is_allowed() {
    let longest = "x".repeat(512);
    assert!(with(|d| d["roles"][0]["name"] = json!(longest)).is_ok());
    assert!(with(|d| d["roles"][0]["paths"] = json!([longest])).is_ok());
    let paths = |n: usize| with(|d| d["roles"][0]["paths"] = json!(vec!["a"; n]));
    assert!(paths(256).is_ok());
    refused!(paths(257), TrustError::Rule { .. });
    let roles = |n: usize| {
        with(|d| {
            let role = d["roles"][0].clone();
            let named = |i| {
                let mut role = role.clone();
                role["name"] = json!(format!("role-{i}"));
                role
            };
            d["roles"] = (0..n).map(named).collect();
        })
    };
    assert!(roles(256).is_ok());
    refused!(roles(257), TrustError::Rule { .. });
}

#[test]
fn wildcards_stay_within_a_segment() {
    for (pattern, path, wanted) in [
        ("pumps/*.json", "pumps/a.json", true),
        ("pumps/*.json", "pumps/.json", true),
        ("pumps/*.json", "pumps/a.txt", false),
        ("pumps/*.json", "pumps/x/a.json", false),
        ("pumps/*", "pumps/a", true),
        ("pumps/*", "pumps", false),
        ("pumps/*", "pumps/a/b", false),
        ("pumps/*/*", "pumps/a/b", true),
        ("*", "a", true),
        ("*", "a/b", false),
        ("*.tgz", "foo.tgz", true),
        ("*.tgz", "targets/foo.tgz", false),
        ("foo-?.tgz", "foo-2.tgz", true),
        ("foo-?.tgz", "foo-22.tgz", false),
        ("foo-?.tgz", "foo-.tgz", false),
        ("a?b", "a/b", false),
        ("foo.tgz", "foo.tgz", true),
        ("foo.tgz", "fooXtgz", false),
        ("foo.tgz", "foo.tgz2", false),
        ("foo.tgz", "2foo.tgz", false),
        ("*a*b*", "xaxbx", true),
        ("*a*b*", "xbxax", false),
        ("a**c", "abc", true),
        ("?", "é", true),
        ("", "a", false),
    ] {
        assert_eq!(covers("paths", json!([pattern]), path), wanted, "{pattern:?} {path:?}");
    }
    assert!(covers("paths", json!(["x", "pumps/*"]), "pumps/a"), "any of the patterns will do");
    assert!(!covers("paths", json!([]), "a"));
}

#[test]
fn a_pattern_full_of_stars_takes_no_more_time_than_another() {
    let pattern = "*a".repeat(256);
    assert!(!covers("paths", json!([pattern]), &"a".repeat(255)));
    assert!(covers("paths", json!([pattern]), &"a".repeat(256)));
}

#[test]
fn hash_prefixes_are_of_the_path_s_own_digest() {
    let digest = Digest::of(b"pumps/a.json").to_string();
    for n in [1, 2, 63, 64] {
        assert!(covers("path_hash_prefixes", json!([&digest[..n]]), "pumps/a.json"), "{n}");
    }
    let other = if digest.starts_with('0') { "1" } else { "0" };
    assert!(!covers("path_hash_prefixes", json!([other]), "pumps/a.json"));
    assert!(!covers("path_hash_prefixes", json!([&digest[1..4]]), "pumps/a.json"));
    assert!(covers("path_hash_prefixes", json!([other, &digest[..2]]), "pumps/a.json"));
}

#[test]
fn no_role_s_name_leads_to_another_place() {
    for (role, served) in [
        ("pumps", "3.pumps.json"),
        ("a-b_c.d~e", "3.a-b_c.d~e.json"),
        ("../../etc/x", "3...%2F..%2Fetc%2Fx.json"),
        ("a b%c", "3.a%20b%25c.json"),
        ("é?#", "3.%C3%A9%3F%23.json"),
    ] {
        assert_eq!(delegated_name(role, 3), served);
    }
    // And so it is asked for.
    let mut tree = Tree::new();
    tree.delegate("targets", "../a b", STRANGER, &["*"], false);
    tree.list("../a b", STRANGER, "file");
    let world = tree.world();
    assert!(tree.search(&world, "file").unwrap());
    assert_eq!(tree.asked(), ["1...%2Fa%20b.json"]);
}
