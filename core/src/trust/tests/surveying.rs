//! A survey finds each path where a search would, and nothing else; and what drafts and proposals say of delegations.

use std::collections::BTreeMap;

use serde_json::json;

use super::tree::{Tree, delegation};
use super::world::*;
use crate::clock::format_utc;
use crate::digest::Digest;
use crate::limits::MAX_DELEGATIONS;
use crate::phase::Code;
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

/// As many delegations are looked at as one file may hold, wherever they stand; what lies beyond is told of, not followed.
#[test]
fn a_survey_looks_at_so_many_roles_and_no_more() {
    let survey = |extra: usize| {
        let mut tree = Tree::new();
        tree.delegate("targets", "a", A, &["*/*"], false);
        tree.list("a", A, "a/1");
        for i in 1..MAX_DELEGATIONS + extra {
            tree.delegate("a", &format!("r{i}"), A, &["r/*"], false);
        }
        let world = tree.world();
        surveyed_apart(&world, &files(&tree, &world))
    };
    let (known, refused) = survey(0);
    assert!(known == ["a/1"] && refused.is_empty(), "{refused:?}");
    let (known, refused) = survey(1);
    assert_eq!(known, ["a/1"]);
    assert_eq!(refused.len(), 1);
    assert!(refused.values().all(|e| matches!(e, TrustError::TooManyRoles(MAX_DELEGATIONS))), "{refused:?}");
}

#[test]
fn roles_that_are_refused_count_as_looked_at() {
    let mut tree = Tree::new();
    for i in 0..MAX_DELEGATIONS {
        tree.delegate("targets", &format!("r{i}"), A, &["r/*"], false);
    }
    tree.delegate("r0", "last", A, &["r/*"], false);
    let world = tree.world();
    let mut served = files(&tree, &world);
    served.retain(|role, _| ["r0", "last"].contains(&role.as_str()));
    // `r0` is the last of the top's delegations that is looked at, and there is no room for what it delegates to.
    let (_, refused) = surveyed_apart(&world, &served);
    assert_eq!(refused.len(), MAX_DELEGATIONS);
    assert!(!refused.contains_key("r0") && matches!(refused["r1"], TrustError::Missing(_)), "{refused:?}");
    assert!(matches!(refused["last"], TrustError::TooManyRoles(MAX_DELEGATIONS)), "{refused:?}");
}

#[test]
fn circles_of_roles_are_surveyed_once_round() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*/*"], false);
    tree.delegate("a", "b", B, &["*/*"], false);
    tree.delegate("b", "a", A, &["*/*"], false);
    tree.list("b", B, "b/1");
    let world = tree.world();
    let (known, refused) = surveyed(&tree, &world, &files(&tree, &world));
    assert!(known == ["b/1"] && refused.is_empty(), "{refused:?}");
}

#[test]
fn a_listing_is_what_the_top_and_its_roles_list_and_teaches_nobody() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*/*"], false);
    tree.delegate("targets", "b", B, &["*/*"], false);
    tree.list("a", A, "a/1");
    let world = tree.world();
    let mut served = files(&tree, &world);
    served.remove("b");
    let repository = world.client().follow(&world).unwrap();
    let (listed, refused) = repository.listing(&served, world.now);
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["a/1", "dir/file.txt"]);
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(repository.target("a/1"), None);
}

#[test]
fn a_role_s_file_is_the_one_that_is_pinned_and_signed_as_the_top_asks() {
    let mut tree = Tree::new();
    tree.delegate("targets", "a", A, &["*/*"], false);
    tree.list("a", A, "a/1");
    let world = tree.world();
    let file = files(&tree, &world)["a"].clone();
    let repository = world.client().follow(&world).unwrap();
    assert_eq!(repository.role("a", &file).unwrap().bytes(), file);
    repository.verify_delegated("a", &file).unwrap();
    let other = reseal(&file, &[A], |role| role["targets"] = json!({}));
    let refused = repository.role("a", &other).unwrap_err();
    assert!(matches!(&refused, TrustError::Delegated { role, .. } if role == "a"), "{refused:?}");
    refused!(repository.verify_delegated("a", &other), TrustError::Unpinned { role: Role::Targets, .. });
    refused!(repository.role("b", &file), TrustError::Missing(_));
    refused!(repository.verify_delegated("b", &file), TrustError::Missing(_));
    // Pinned, but by a key that the top does not name: it is the file in force, and no authority.
    tree.keys.insert("a".to_owned(), STRANGER);
    let world = tree.world();
    let file = files(&tree, &world)["a"].clone();
    let repository = world.client().follow(&world).unwrap();
    repository.verify_delegated("a", &file).unwrap();
    assert_eq!(repository.role("a", &file).unwrap_err().code(), Code::BadSignature);
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
