//! A survey finds each path where a search would, and nothing else; and what drafts and proposals say of delegations.

use std::collections::BTreeMap;

use serde_json::json;

use super::tree::{Tree, delegation};
use super::world::*;
use crate::clock::format_utc;
use crate::digest::Digest;
use crate::sign::Signer as _;
use crate::trust::edit::{self, TargetsDraft};
use crate::trust::{Delegated, Grant, Proposal, Role, Targets, TrustError, Verified};

const A: u8 = 41;
const B: u8 = 42;

/// The roles' files as a world serves them.
fn files(tree: &Tree, world: &World) -> Delegated<Vec<u8>> {
    let mut client = world.client();
    let repository = client.follow(world).unwrap();
    let served = repository.delegated().map(|(role, request)| (role.to_owned(), world.files[&request.name].clone()));
    let files: Delegated<Vec<u8>> = served.collect();
    assert_eq!(files.len(), tree.roles.len() - 1);
    files
}

/// Each path that a survey knows beside the top's own, and the roles that it refuses.
fn surveyed(tree: &Tree, world: &World, files: &Delegated<Vec<u8>>) -> (Vec<String>, BTreeMap<String, TrustError>) {
    let mut repository = world.client().follow(world).unwrap();
    let refused = repository.survey(files, world.now);
    let own: Vec<&str> = repository.targets().map(|(path, _)| path).collect();
    let known = repository.known().map(|(path, _)| path.to_owned()).filter(|path| !own.contains(&path.as_str()));
    let known: Vec<String> = known.collect();
    let everything: Vec<&String> = tree.roles.values().flat_map(|r| r["targets"].as_object().unwrap().keys()).collect();
    for path in everything {
        // The property: as a search has it, whichever role it is found in.
        let found = tree.find(world, path).unwrap_or_default();
        let by = tree.roles.keys().find(|name| repository.verify_target(path, name.as_bytes()).is_ok());
        assert_eq!(found.as_ref(), by, "{path}");
    }
    (known, refused)
}

#[test]
fn every_path_is_found_where_a_search_finds_it() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["pumps/*"], true);
    tree.delegate("targets", "b", B, &["pumps/*", "beds/*"], false);
    tree.delegate("a", "a1", A, &["pumps/1*"], false);
    for path in ["pumps/1", "pumps/2", "beds/1"] {
        tree.list("a", A, path);
    }
    for path in ["pumps/1", "pumps/11", "pumps/3", "beds/2"] {
        tree.list("a1", A, path);
        tree.list("b", B, path);
    }
    let world = tree.world();
    let (known, refused) = surveyed(&tree, &world, &files(&tree, &world));
    assert_eq!(known, ["beds/2", "pumps/1", "pumps/11", "pumps/2"]);
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_role_that_is_refused_is_told_of_and_stops_nothing_but_its_paths() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["a/*"], false);
    tree.delegate("targets", "b", B, &["*/*"], false);
    tree.list("a", A, "a/1");
    tree.list("b", B, "a/1");
    tree.list("b", B, "b/1");
    let world = tree.world();
    let mut missing = files(&tree, &world);
    missing.remove("a");
    let refused = surveyed_apart(&world, &missing);
    assert!(matches!(refused.1["a"], TrustError::Missing(_)), "{refused:?}");
    assert_eq!(refused.0, ["b/1"], "what a may have the first word on is not handed to b");

    // Other bytes than the snapshot pins, and a role past its end.
    let mut forged = files(&tree, &world);
    let other = String::from_utf8(forged["a"].clone()).unwrap().replace("a/1", "a/2");
    forged.insert("a".to_owned(), other.into_bytes());
    let refused = surveyed_apart(&world, &forged);
    assert!(matches!(refused.1["a"], TrustError::Unpinned { .. }), "{refused:?}");
    tree.role("a")["expires"] = json!(format_utc(now()));
    let world = tree.world();
    let (known, refused) = surveyed(&tree, &world, &files(&tree, &world));
    assert!(matches!(refused["a"], TrustError::Expired { role: Role::Targets, .. }), "{refused:?}");
    assert_eq!(known, ["b/1"]);
}

fn surveyed_apart(world: &World, files: &Delegated<Vec<u8>>) -> (Vec<String>, BTreeMap<String, TrustError>) {
    let mut repository = world.client().follow(world).unwrap();
    let refused = repository.survey(files, world.now);
    let own = repository.targets_metadata().clone();
    let known = repository.known().map(|(path, _)| path.to_owned()).filter(|path| own.target(path).is_none());
    (known.collect(), refused)
}

fn grant(name: &str, keys: &[u8]) -> Grant {
    Grant { name: name.to_owned(), role: role(keys, 1), paths: vec!["pumps/*".to_owned()] }
}

fn in_force(world: &World) -> Verified<Targets> {
    Verified::by(&world.verified_root(), &world.files["1.targets.json"]).unwrap()
}

#[test]
fn what_is_delegated_is_read_back_and_taken_away_without_a_trace() {
    let world = World::new();
    let mut draft = TargetsDraft::following(&in_force(&world), now(), edit::CATALOG_LIFETIME);
    let before = draft.clone();
    draft.delegate(&grant("a", &[A])).unwrap();
    draft.delegate(&grant("b", &[A, B])).unwrap();
    draft.delegate(&Grant { paths: vec!["pumps/1".to_owned()], ..grant("a", &[A]) }).unwrap();
    let signed = edit::sign_targets(&draft, &[&key(TARGETS_A), &key(TARGETS_B)]).unwrap();
    let targets: Verified<Targets> = Verified::by(&world.verified_root(), &signed).unwrap();
    let names: Vec<&str> = targets.delegations().map(|d| d.name()).collect();
    assert_eq!(names, ["a", "b"], "the place in the order stays");
    let a = targets.delegation("a").unwrap();
    assert_eq!((a.paths(), a.terminating), (&["pumps/1".to_owned()][..], true));
    assert!(a.covers("pumps/1") && !a.covers("pumps/2"));
    assert_eq!(targets.delegation("b").unwrap().authority().keys().count(), 2);

    assert!(draft.undelegate("b") && !draft.undelegate("b"));
    let keys = draft.delegations.as_ref().unwrap()["keys"].as_object().unwrap().len();
    assert_eq!(keys, 1, "a key that signs for nobody is listed no more");
    assert!(draft.undelegate("a"));
    assert_eq!(draft, before);
    for bad in [grant("targets", &[A]), grant("", &[A]), Grant { paths: vec!["[ab]".to_owned()], ..grant("a", &[A]) }] {
        refused!(draft.clone().delegate(&bad), TrustError::Rule { .. });
    }
}

#[test]
fn a_proposal_brings_the_lists_of_roles_that_begin_and_of_no_others() {
    let world = World::new();
    let (root, top) = (world.verified_root(), in_force(&world));
    let force = Some((&root, Some(&top)));
    let none = Delegated::new();
    let mut draft = TargetsDraft::following(&top, now(), edit::CATALOG_LIFETIME);
    draft.delegate(&grant("a", &[A])).unwrap();
    let next = edit::sign_targets(&draft, &[&key(TARGETS_A)]).unwrap();
    let list = |version, previous| {
        let mut draft = TargetsDraft::first(now(), edit::CATALOG_LIFETIME);
        (draft.version, draft.previous) = (version, previous);
        edit::sign_targets(&draft, &[]).unwrap()
    };
    let propose = |targets: Option<&[u8]>, before: &Delegated<Vec<u8>>, new: &Delegated<Vec<u8>>| {
        Proposal::delegating(force, (None, targets), (before, new), now())
    };
    let with = |name: &str, bytes: Vec<u8>| Delegated::from([(name.to_owned(), bytes)]);
    // Whoever may not delegate refuses it; whoever may asks for the role's list with it.
    refused!(Proposal::read(force, None, Some(&next), now()), TrustError::Rule { .. });
    refused!(propose(Some(&next), &none, &none), TrustError::Delegated { .. });
    refused!(propose(Some(&next), &none, &with("b", list(1, None))), TrustError::Delegated { .. });
    refused!(propose(Some(&next), &none, &with("a", list(2, None))), TrustError::Delegated { .. });
    refused!(propose(None, &none, &with("a", list(1, None))), TrustError::Delegated { .. });
    refused!(propose(None, &none, &none), TrustError::Missing(_));
    let proposal = propose(Some(&next), &none, &with("a", list(1, None))).unwrap();
    let wants = proposal.wants(force);
    let told: Vec<_> = wants.iter().map(|w| (w.role, w.delegated.as_deref(), w.named_by, w.missing())).collect();
    assert_eq!(told, [(Role::Targets, None, 1, 1), (Role::Targets, Some("a"), 2, 1)]);
    assert_eq!(wants[1].open, [key(A).public()].into());

    // Once it is in force, its next version follows it, and other keys ask for another list.
    let next = edit::countersign::<Targets>(&next, &key(TARGETS_B)).unwrap();
    let top: Verified<Targets> = Verified::by(&root, &next).unwrap();
    let force = Some((&root, Some(&top)));
    let propose = |targets: Option<&[u8]>, before: &Delegated<Vec<u8>>, new: &Delegated<Vec<u8>>| {
        Proposal::delegating(force, (None, targets), (before, new), now())
    };
    let first = edit::countersign::<Targets>(&list(1, None), &key(A)).unwrap();
    let before = with("a", first.clone());
    propose(None, &before, &with("a", list(2, Some(Digest::of(&first))))).unwrap();
    refused!(propose(None, &before, &with("a", list(2, None))), TrustError::Delegated { .. });
    let mut draft = TargetsDraft::following(&top, now(), edit::CATALOG_LIFETIME);
    let same = edit::sign_targets(&draft, &[]).unwrap();
    propose(Some(&same), &none, &none).unwrap();
    draft.delegate(&grant("a", &[A, B])).unwrap();
    let wider = edit::sign_targets(&draft, &[]).unwrap();
    propose(Some(&wider), &before, &none).unwrap();
    draft.delegate(&grant("a", &[B])).unwrap();
    let other = edit::sign_targets(&draft, &[]).unwrap();
    refused!(propose(Some(&other), &before, &none), TrustError::Delegated { .. });
    propose(Some(&other), &before, &with("a", list(2, Some(Digest::of(&first))))).unwrap();
    // Key ids in the delegation are those of the keys' objects.
    assert_eq!(draft.delegations.unwrap()["keys"], delegation("a", &[B], 1, &[], true)["keys"]);
}
