//! The publishing side of delegations: what a server lets into force, and what its snapshot pins.

use serde_json::{Value, json};

use super::tree::Tree;
use super::world::*;
use crate::clock::format_utc;
use crate::digest::Digest;
use crate::trust::edit::{self, TargetsDraft};
use crate::trust::{
    Delegated, Delegations, Publication, Role, Snapshot, Targets, TrustError, Verified, verify_delegating,
    verify_publication,
};

const A: u8 = 31;
const B: u8 = 32;

type Published = (Publication, Delegated<Verified<Targets>>);

/// A top that hands `a*` to `a`, which hands `ab*` on to `b`.
fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["a*"], false);
    tree.delegate("a", "b", B, &["ab*"], false);
    tree.list("a", A, "a1");
    tree.list("b", B, "ab1");
    tree
}

fn top(tree: &Tree) -> Vec<u8> {
    tree.world().files["1.targets.json"].clone()
}

/// The roles' files, signed.
fn roles(tree: &Tree) -> Delegated<Vec<u8>> {
    let delegated = tree.roles.iter().filter(|(name, _)| *name != "targets");
    delegated.map(|(name, signed)| (name.clone(), seal(signed, &[tree.keys[name]]))).collect()
}

fn none() -> Delegated<Vec<u8>> {
    Delegated::new()
}

/// A first publication of the tree with these roles.
fn first(tree: &Tree, new: &Delegated<Vec<u8>>) -> Result<Published, TrustError> {
    let root = tree.world().files["1.root.json"].clone();
    let top = top(tree);
    verify_delegating((None, &[root]), (None, Some(&top)), (&none(), new), Delegations::Followed, now())
}

/// A publication of nothing but roles, on the tree as it was.
fn later(tree: &Tree, new: &Delegated<Vec<u8>>) -> Result<Published, TrustError> {
    let root = tree.world().files["1.root.json"].clone();
    let top = top(tree);
    let force = roles(tree);
    verify_delegating((Some(&root), &[]), (Some(&top), None), (&force, new), Delegations::Followed, now())
}

/// The role's file, one version on, changed.
fn next(tree: &Tree, role: &str, change: impl FnOnce(&mut Value)) -> Delegated<Vec<u8>> {
    let mut signed = tree.roles[role].clone();
    signed["version"] = json!(2);
    signed["previous"] = json!(Digest::of(&roles(tree)[role]));
    change(&mut signed);
    [(role.to_owned(), seal(&signed, &[tree.keys[role]]))].into()
}

#[test]
fn a_delegating_publication_brings_every_role_that_is_delegated_to() {
    let tree = tree();
    let (publication, new) = first(&tree, &roles(&tree)).unwrap();
    assert!(publication.new_targets);
    assert_eq!(new.keys().collect::<Vec<_>>(), ["a", "b"]);
    for gone in ["a", "b"] {
        let mut fewer = roles(&tree);
        fewer.remove(gone);
        let refused = first(&tree, &fewer).unwrap_err();
        let TrustError::Delegated { role, source } = &refused else { panic!("{refused:?}") };
        assert_eq!(role, gone);
        assert!(matches!(&**source, TrustError::Missing(name) if *name == format!("{gone}.json")), "{source:?}");
    }
    let mut more = roles(&tree);
    more.insert("c".to_owned(), more["a"].clone());
    let refused = first(&tree, &more).unwrap_err();
    assert!(matches!(&refused, TrustError::Delegated { role, source } if role == "c"
        && matches!(**source, TrustError::Rule { .. })));
}

#[test]
fn a_repository_that_must_not_delegate_is_refused_with_its_roles() {
    let tree = tree();
    let root = [tree.world().files["1.root.json"].clone()];
    let top = top(&tree);
    let refused = verify_publication(None, &root, None, Some(&top), now());
    refused!(refused, TrustError::Rule { role: Role::Targets, .. });
    let new = roles(&tree);
    let refused = verify_delegating((None, &root), (None, Some(&top)), (&none(), &new), Delegations::Refused, now());
    refused!(refused, TrustError::Rule { role: Role::Targets, .. });
    let plain = World::new().files["1.targets.json"].clone();
    let refused = verify_delegating((None, &root), (None, Some(&plain)), (&none(), &new), Delegations::Refused, now());
    refused!(refused, TrustError::Delegated { .. });
}

#[test]
fn a_role_is_published_by_itself_one_version_on() {
    let tree = tree();
    let (publication, new) = later(&tree, &next(&tree, "b", |_| {})).unwrap();
    assert!(!publication.new_targets);
    assert_eq!(new.iter().map(|(role, file)| (role.as_str(), file.version())).collect::<Vec<_>>(), [("b", 2)]);
    assert!(later(&tree, &none()).unwrap().1.is_empty());
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 6] = [
        (|s| s["version"] = json!(1), "exists already"),
        (|s| s["version"] = json!(3), "does not follow"),
        (|s| drop(s.as_object_mut().unwrap().remove("previous")), "does not follow"),
        (|s| drop(s.as_object_mut().unwrap().remove("signed_at")), "when it was signed"),
        (|s| s["expires"] = json!(format_utc(now())), "expired"),
        (|s| s["signed_at"] = json!(format_utc(now() + days(1))), "in the future"),
    ];
    for (change, why) in changes {
        let refused = later(&tree, &next(&tree, "b", change)).unwrap_err();
        let TrustError::Delegated { role, source } = &refused else { panic!("{why}: {refused:?}") };
        assert_eq!(role, "b");
        assert!(source.to_string().contains(why), "{why}: {source}");
    }
}

#[test]
fn a_role_in_force_is_not_asked_to_be_fresh_but_still_to_be_signed() {
    let mut tree = tree();
    tree.role("a")["expires"] = json!(format_utc(now() - days(1)));
    assert!(later(&tree, &next(&tree, "b", |_| {})).is_ok());
    tree.keys.insert("a".to_owned(), STRANGER);
    let refused = later(&tree, &none()).unwrap_err();
    assert!(matches!(&refused, TrustError::Delegated { role, .. } if role == "a"), "{refused:?}");
}

#[test]
fn each_delegator_of_a_role_must_be_satisfied() {
    let mut tree = tree();
    // `b` again, by another key.
    tree.delegate("targets", "b", STRANGER, &["b*"], false);
    let refused = first(&tree, &roles(&tree)).unwrap_err();
    assert!(matches!(&refused, TrustError::Delegated { role, .. } if role == "b"), "{refused:?}");
}

#[test]
fn circles_of_roles_are_published_like_any_other() {
    let mut tree = tree();
    tree.delegate("b", "a", A, &["ab*"], false);
    assert_eq!(first(&tree, &roles(&tree)).unwrap().1.len(), 2);
}

#[test]
fn a_snapshot_pins_what_is_new_and_keeps_what_was_pinned() {
    let tree = tree();
    let (publication, new) = first(&tree, &roles(&tree)).unwrap();
    let expires = now() + edit::ONLINE_LIFETIME;
    let sign = |version, new: &Delegated<Verified<Targets>>, before: Option<&[u8]>| {
        let signer = key(SNAPSHOT);
        let bytes =
            edit::sign_delegating_snapshot(version, expires, &publication.targets, new, before, &signer).unwrap();
        Verified::<Snapshot>::by(&publication.root, &bytes).unwrap()
    };
    let one = sign(1, &new, None);
    let pinned = |s: &Snapshot| s.delegated().map(|(role, version)| (role.to_owned(), version)).collect::<Vec<_>>();
    assert_eq!(pinned(&one), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    let (_, newer) = later(&tree, &next(&tree, "b", |_| {})).unwrap();
    let two = sign(2, &newer, Some(one.bytes()));
    assert_eq!(pinned(&two), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(two.files()["a.json"], one.files()["a.json"]);
    two.files()["b.json"].check(Role::Targets, newer["b"].bytes()).unwrap();
    let three = sign(3, &Delegated::new(), Some(two.bytes()));
    assert_eq!(three.files(), two.files());
    assert_eq!(pinned(&sign(1, &Delegated::new(), None)), []);
}

#[test]
fn the_next_version_of_the_top_delegates_as_before() {
    let tree = tree();
    let world = tree.world();
    let verified: Verified<Targets> = Verified::by(&world.verified_root(), &top(&tree)).unwrap();
    let draft = TargetsDraft::following(&verified, now(), edit::CATALOG_LIFETIME);
    let keys = [TARGETS_A, TARGETS_B].map(key);
    let bytes = edit::sign_targets(&draft, &[&keys[0], &keys[1]]).unwrap();
    let signed: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(signed["signed"]["delegations"], tree.roles["targets"]["delegations"]);
    let next: Verified<Targets> = Verified::by(&world.verified_root(), &bytes).unwrap();
    assert_eq!(next.delegations().count(), 1);
}
