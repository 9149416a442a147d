//! The publishing side: what is signed, countersigned, and let into force.

use jiff::SignedDuration;
use serde_json::json;

use super::world::*;
use crate::digest::Digest;
use crate::phase::Code;
use crate::sign::Signer;
use crate::trust::edit::{self, RootDraft, TargetsDraft};
use crate::trust::{Publication, Role, Root, Target, Targets, TrustError, Verified, verify_publication};

fn signed(draft: &TargetsDraft) -> Vec<u8> {
    let keys = [TARGETS_A, TARGETS_B].map(key);
    edit::sign_targets(draft, &[&keys[0], &keys[1]]).unwrap()
}

fn root() -> Vec<u8> {
    World::new().files["1.root.json"].clone()
}

fn first() -> TargetsDraft {
    TargetsDraft::first(now(), edit::CATALOG_LIFETIME)
}

fn second() -> TargetsDraft {
    let current = signed(&first());
    let verified = Verified::by(&Verified::pinned(&root()).unwrap(), &current).unwrap();
    TargetsDraft::following(&verified, now() + days(1), edit::CATALOG_LIFETIME)
}

fn publish(targets: &[u8]) -> Result<Publication, TrustError> {
    verify_publication(Some(&root()), &[], Some(&signed(&first())), Some(targets), now() + days(1))
}

#[test]
fn a_first_publication_brings_its_root_and_a_second_follows_it() {
    let targets = signed(&first());
    let publication = verify_publication(None, &[root()], None, Some(&targets), now()).unwrap();
    assert_eq!((publication.roots.len(), publication.new_targets), (1, true));
    assert_eq!(publication.targets.bytes(), targets);
    let publication = publish(&signed(&second())).unwrap();
    assert_eq!(publication.targets.version(), 2);
    assert_eq!(publication.targets.previous(), Some(Digest::of(&targets)));
    assert!(publication.roots.is_empty());
}

#[test]
fn a_version_is_used_once_and_names_the_one_before_it() {
    let mut again = second();
    again.version = 1;
    refused!(publish(&signed(&again)), TrustError::VersionTaken { role: Role::Targets, version: 1 });
    let mut skipping = second();
    skipping.version = 3;
    refused!(publish(&signed(&skipping)), TrustError::BaseMoved { role: Role::Targets, current: 1 });
    for previous in [None, Some(Digest::of(b"another line"))] {
        let mut forked = second();
        forked.previous = previous;
        refused!(publish(&signed(&forked)), TrustError::BaseMoved { .. });
    }
}

#[test]
fn a_publication_is_refused_where_clients_would_refuse_it() {
    let few = edit::sign_targets(&second(), &[&key(TARGETS_A)]).unwrap();
    refused!(publish(&few), TrustError::Threshold { role: Role::Targets, .. });
    let mut expired = second();
    expired.expires = now();
    refused!(publish(&signed(&expired)), TrustError::Expired { role: Role::Targets, .. });
    let late = verify_publication(Some(&root()), &[], None, Some(&signed(&first())), now() + days(365));
    refused!(late, TrustError::Expired { role: Role::Root, .. });
}

#[test]
fn clocks_of_signers_are_kept_within_reason() {
    let at = |offset: SignedDuration| {
        let mut draft = second();
        draft.signed_at = now() + days(1) + offset;
        publish(&signed(&draft))
    };
    assert!(at(SignedDuration::from_mins(5)).is_ok());
    refused!(at(SignedDuration::from_mins(6)), TrustError::Rule { role: Role::Targets, .. });
    refused!(at(-days(2)), TrustError::Rule { role: Role::Targets, .. });
    assert!(at(-days(1)).is_ok(), "in the very second of the version before it");
    let silent = reseal(&signed(&second()), &[TARGETS_A, TARGETS_B], |t| {
        t.as_object_mut().unwrap().remove("signed_at");
    });
    refused!(publish(&silent), TrustError::Rule { role: Role::Targets, .. });
}

#[test]
fn delegations_are_not_published() {
    let delegating = reseal(&signed(&second()), &[TARGETS_A, TARGETS_B], |t| t["delegations"] = json!({}));
    refused!(publish(&delegating), TrustError::Json { role: Role::Targets, .. });
    let delegating = reseal(&signed(&second()), &[TARGETS_A, TARGETS_B], |t| {
        t["delegations"] = json!({ "keys": {}, "roles": [] });
    });
    refused!(publish(&delegating), TrustError::Rule { role: Role::Targets, .. });
}

#[test]
fn roots_follow_one_another_here_too() {
    let mut world = World::new();
    world.rotate(&[ROOT_A, ROOT_B], |_| {});
    world.rotate(&[ROOT_A, ROOT_B], |_| {});
    let [one, two, three] = [1, 2, 3].map(|n| world.files[&format!("{n}.root.json")].clone());
    let targets = signed(&first());
    let roots = |current: Option<&[u8]>, new: &[Vec<u8>]| {
        verify_publication(current, new, Some(&targets), None, now()).map(|p| (p.root.version(), p.new_targets))
    };
    assert_eq!(roots(Some(&one), &[two.clone(), three.clone()]).unwrap(), (3, false));
    refused!(
        roots(Some(&one), std::slice::from_ref(&three)),
        TrustError::WrongVersion { role: Role::Root, wanted: 2, offered: 3 }
    );
    refused!(roots(Some(&two), std::slice::from_ref(&two)), TrustError::VersionTaken { role: Role::Root, version: 2 });
    refused!(roots(Some(&two), &[one]), TrustError::VersionTaken { role: Role::Root, version: 1 });
    refused!(roots(None, &[two]), TrustError::WrongVersion { role: Role::Root, wanted: 1, offered: 2 });
    refused!(roots(None, &[]), TrustError::Missing(_));
}

#[test]
fn new_roots_that_disown_the_targets_in_force_bring_new_ones_along() {
    let mut world = World::new();
    world.rotate(&[ROOT_A, ROOT_B], |root| root.targets = role(&[STRANGER], 1));
    let new = [world.files["2.root.json"].clone()];
    let current = signed(&first());
    refused!(
        verify_publication(Some(&root()), &new, Some(&current), None, now()),
        TrustError::Threshold { role: Role::Targets, .. }
    );
    let replacement = edit::sign_targets(&second(), &[&key(STRANGER)]).unwrap();
    let publication =
        verify_publication(Some(&root()), &new, Some(&current), Some(&replacement), now() + days(1)).unwrap();
    assert_eq!((publication.root.version(), publication.targets.version()), (2, 2));
}

#[test]
fn a_file_goes_from_hand_to_hand_until_enough_have_signed() {
    let root = Verified::pinned(&root()).unwrap();
    let one = edit::sign_targets(&first(), &[&key(TARGETS_A)]).unwrap();
    assert!(Verified::<Targets>::by(&root, &one).is_err());
    let again = edit::countersign::<Targets>(&one, &key(TARGETS_A)).unwrap();
    assert!(Verified::<Targets>::by(&root, &again).is_err(), "the same hand twice is one");
    let two = edit::countersign::<Targets>(&again, &key(TARGETS_B)).unwrap();
    assert!(Verified::<Targets>::by(&root, &two).is_ok());
    assert!(edit::countersign::<Root>(&one, &key(ROOT_A)).is_err(), "a targets file is not signed as a root");
}

#[test]
fn line_breaks_are_signed_raw_and_written_escaped() {
    let mut draft = first();
    draft.targets.insert("x".to_owned(), Target::of(b"", Some(json!({ "notes": "one\ntwo\t\"three\"\\" }))));
    let bytes = signed(&draft);
    let root = Verified::pinned(&root()).unwrap();
    let targets: Verified<Targets> = Verified::by(&root, &bytes).unwrap();
    assert_eq!(targets.target("x"), draft.targets.get("x"));
    let signed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert!(crate::json::canonical(&signed["signed"]).unwrap().windows(7).any(|w| w == b"one\ntwo"));
}

#[test]
fn nobody_signs_what_nobody_will_accept() {
    let world = World::new();
    let mut draft = world.root.clone();
    draft.timestamp.threshold = 0;
    refused!(edit::sign_root(&draft, &[&key(ROOT_A)]), TrustError::Rule { role: Role::Root, .. });
    draft.timestamp.threshold = 2;
    refused!(edit::sign_root(&draft, &[&key(ROOT_A)]), TrustError::Rule { role: Role::Root, .. });
    let mut draft = first();
    draft.targets.insert("../x".to_owned(), Target::of(b"", None));
    refused!(edit::sign_targets(&draft, &[&key(TARGETS_A)]), TrustError::Rule { role: Role::Targets, .. });
    let mut draft = first();
    draft.targets.insert("x".to_owned(), Target::of(b"", Some(json!({ "share": 0.5 }))));
    refused!(edit::sign_targets(&draft, &[&key(TARGETS_A)]), TrustError::Json { role: Role::Targets, .. });
    let mut draft = first();
    draft.targets.insert("x".to_owned(), Target::of(b"", Some(json!("x".repeat(9 << 20)))));
    let refused = edit::sign_targets(&draft, &[&key(TARGETS_A)]).unwrap_err();
    assert_eq!(refused.code(), Code::EndlessData);
}

#[test]
fn what_the_online_keys_sign_is_what_clients_take() {
    let mut world = World::new();
    let root = world.verified_root();
    let targets: Verified<Targets> = Verified::by(&root, &world.files["1.targets.json"]).unwrap();
    let snapshot = edit::sign_snapshot(7, now() + days(3), &targets, &key(SNAPSHOT)).unwrap();
    let pinned = Verified::by(&root, &snapshot).unwrap();
    let timestamp = edit::sign_timestamp(9, now() + days(2), &pinned, &key(TIMESTAMP)).unwrap();
    world.files.extend([("7.snapshot.json".to_owned(), snapshot), ("timestamp.json".to_owned(), timestamp)]);
    let repository = world.client().refresh(&world).unwrap();
    assert_eq!((repository.timestamp_version(), repository.snapshot_version()), (9, 7));
    assert_eq!(repository.expires(), now() + days(2));
}

/// Whoever plans a ceremony counts days, and files have whole seconds.
#[test]
fn what_is_signed_ends_after_the_days_that_were_agreed() {
    let at = now() + SignedDuration::from_millis(900);
    let end = |date: &str| format!("{date}T15:00:00Z").parse().unwrap();
    assert_eq!(RootDraft::after(&World::new().verified_root(), at).expires, end("2027-11-24"), "a year");
    let lifetimes = [
        (edit::CATALOG_LIFETIME, "2027-05-23"),
        (edit::APPROVALS_LIFETIME, "2026-12-08"),
        (edit::ONLINE_LIFETIME, "2026-12-01"),
    ];
    for (lifetime, date) in lifetimes {
        let draft = TargetsDraft::first(at, lifetime);
        assert_eq!((draft.signed_at, draft.expires), (now(), end(date)));
    }
}

#[test]
fn a_root_s_successor_keeps_its_keys() {
    let world = World::new();
    let root = world.verified_root();
    let draft = RootDraft::after(&root, now() + days(30));
    let keys = [ROOT_A, ROOT_B].map(key);
    let next = root.next(&edit::sign_root(&draft, &[&keys[0], &keys[1]]).unwrap()).unwrap();
    for role in Role::ALL {
        assert_eq!(root.authority(role), next.authority(role));
    }
    assert_eq!(next.authority(Role::Snapshot).keys().copied().collect::<Vec<_>>(), [key(SNAPSHOT).public()]);
}
