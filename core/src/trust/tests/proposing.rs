//! The next version on its way from signer to signer: what a signer is told before adding a signature.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use super::world::*;
use crate::sign::{LocalKey, PublicKey, Signer};
use crate::trust::edit::{self, RootDraft, TargetsDraft};
use crate::trust::{Metadata as _, Proposal, Proposed, Role, Root, Target, Targets, TrustError, Verified};

/// What is in force at everybody's.
struct Ground {
    root: Verified<Root>,
    targets: Verified<Targets>,
}

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let root = world.verified_root();
        let targets = Verified::by(&root, &world.files["1.targets.json"]).unwrap();
        Self { root, targets }
    }

    fn propose(&self, root: Option<&[u8]>, targets: Option<&[u8]>) -> Result<Proposal, TrustError> {
        Proposal::read(Some((&self.root, Some(&self.targets))), root, targets, now())
    }

    fn next_targets(&self, change: impl FnOnce(&mut TargetsDraft)) -> Vec<u8> {
        let mut draft = TargetsDraft::following(&self.targets, now(), edit::CATALOG_LIFETIME);
        draft.targets.insert("new.txt".to_owned(), Target::of(b"new", None));
        change(&mut draft);
        edit::sign_targets(&draft, &[]).unwrap()
    }

    fn next_root(&self, change: impl FnOnce(&mut RootDraft)) -> Vec<u8> {
        let mut draft = RootDraft::after(&self.root, now());
        change(&mut draft);
        edit::sign_root(&draft, &[]).unwrap()
    }
}

/// A repository that is to begin.
fn begin(root: Option<&[u8]>, targets: Option<&[u8]>) -> Result<Proposal, TrustError> {
    Proposal::read(None, root, targets, now())
}

fn publics(keys: &[u8]) -> BTreeSet<PublicKey> {
    keys.iter().map(|n| key(*n).public()).collect()
}

#[test]
fn a_repository_begins_with_a_first_root_and_first_targets() {
    let (world, ground) = (World::new(), Ground::new());
    let (root, targets) = (&world.files["1.root.json"], &world.files["1.targets.json"]);
    let proposal = begin(Some(root), Some(targets)).unwrap();
    assert_eq!(proposal.root.unwrap().bytes(), root);
    assert_eq!(proposal.targets.unwrap().bytes(), targets);
    refused!(begin(Some(root), None), TrustError::Missing(_));
    refused!(begin(None, Some(targets)), TrustError::Missing(_));
    refused!(begin(None, None), TrustError::Missing(_));
    let second = ground.next_root(|_| {});
    refused!(begin(Some(&second), Some(targets)), TrustError::WrongVersion { role: Role::Root, wanted: 1, offered: 2 });
    let second = ground.next_targets(|_| {});
    refused!(begin(Some(root), Some(&second)), TrustError::WrongVersion { role: Role::Targets, wanted: 1, offered: 2 });
}

#[test]
fn a_proposal_is_a_root_or_targets_or_both_and_not_nothing() {
    let ground = Ground::new();
    let (root, targets) = (ground.next_root(|_| {}), ground.next_targets(|_| {}));
    for (root, targets) in [(Some(&root), None), (None, Some(&targets)), (Some(&root), Some(&targets))] {
        let proposal = ground.propose(root.map(Vec::as_slice), targets.map(Vec::as_slice)).unwrap();
        assert_eq!(proposal.root.map(|r| r.version()), root.map(|_| 2));
        assert_eq!(proposal.targets.map(|t| t.version()), targets.map(|_| 2));
    }
    refused!(ground.propose(None, None), TrustError::Missing(_));
}

/// TUF 5.3.5, asked before anybody signs: no root is skipped, and none is made twice.
#[test]
fn a_proposed_root_is_the_very_next_one() {
    let ground = Ground::new();
    let offer = |version| ground.propose(Some(&ground.next_root(|root| root.version = version)), None);
    assert!(offer(2).is_ok());
    refused!(offer(1), TrustError::VersionTaken { role: Role::Root, version: 1 });
    refused!(offer(3), TrustError::WrongVersion { role: Role::Root, wanted: 2, offered: 3 });
}

#[test]
fn what_has_expired_is_not_signed() {
    let ground = Ground::new();
    let second = SignedDuration::from_secs(1);
    let root = |expires| ground.propose(Some(&ground.next_root(|root| root.expires = expires)), None);
    assert!(root(now() + second).is_ok());
    refused!(root(now()), TrustError::Expired { role: Role::Root, .. });
    let targets = |expires| {
        let early = |draft: &mut TargetsDraft| {
            draft.expires = expires;
            draft.signed_at = ground.targets.signed_at().unwrap();
        };
        Proposal::read(
            Some((&ground.root, Some(&ground.targets))),
            None,
            Some(&ground.next_targets(early)),
            now() + days(1),
        )
    };
    assert!(targets(now() + days(1) + second).is_ok());
    refused!(targets(now() + days(1)), TrustError::Expired { role: Role::Targets, .. });
}

#[test]
fn proposed_targets_follow_from_what_the_signer_has_verified() {
    let ground = Ground::new();
    let offer = |change: fn(&mut TargetsDraft)| ground.propose(None, Some(&ground.next_targets(change)));
    assert!(offer(|_| {}).is_ok());
    refused!(offer(|t| t.version = 1), TrustError::VersionTaken { role: Role::Targets, version: 1 });
    refused!(offer(|t| t.version = 3), TrustError::BaseMoved { role: Role::Targets, current: 1 });
    refused!(offer(|t| t.previous = None), TrustError::BaseMoved { role: Role::Targets, current: 1 });
    refused!(offer(|t| t.signed_at = now() + days(1)), TrustError::Rule { role: Role::Targets, .. });
    // A signer who does not see what is in force cannot say whether they follow from it.
    let blind = Proposal::read(Some((&ground.root, None)), None, Some(&ground.next_targets(|_| {})), now());
    refused!(blind, TrustError::Missing(_));
}

/// Whoever is let in through a delegation speaks without the threshold from then on.
#[test]
fn no_delegation_slips_in_among_what_is_signed() {
    let ground = Ground::new();
    let delegating = |name: &str| super::tree::delegation(name, &[STRANGER], 1, &["*"], false);
    let offer = |ground: &Ground, name: &str| {
        ground.propose(None, Some(&ground.next_targets(|t| t.delegations = Some(delegating(name)))))
    };
    refused!(offer(&ground, "a"), TrustError::Rule { role: Role::Targets, .. });
    let bytes = reseal(ground.targets.bytes(), &[TARGETS_A, TARGETS_B], |t| t["delegations"] = delegating("a"));
    let ground = Ground { targets: Verified::by(&ground.root, &bytes).unwrap(), root: ground.root };
    assert!(offer(&ground, "a").is_ok(), "as before");
    refused!(offer(&ground, "b"), TrustError::Rule { role: Role::Targets, .. });
    let without = ground.next_targets(|t| t.delegations = None);
    refused!(ground.propose(None, Some(&without)), TrustError::Rule { role: Role::Targets, .. });
}

/// TUF 5.3.4: a new root needs the keys of the root before it and its own; targets need those that the newest root names.
#[test]
fn each_set_of_keys_that_must_sign_is_told_with_who_has_and_who_may() {
    let ground = Ground::new();
    let root = ground.next_root(|root| {
        root.root = role(&[ROOT_B, STRANGER], 1);
        root.targets = role(&[TARGETS_B, STRANGER, SNAPSHOT], 2);
    });
    let root = edit::countersign::<Root>(&root, &key(ROOT_B)).unwrap();
    let targets = edit::countersign::<Targets>(&ground.next_targets(|_| {}), &key(TARGETS_A)).unwrap();
    let told = |root: Option<&[u8]>, targets: Option<&[u8]>| {
        let wants = ground.propose(root, targets).unwrap().wants(Some((&ground.root, None)));
        wants.into_iter().map(|w| (w.role, w.named_by, w.missing(), w.signed, w.open)).collect::<Vec<_>>()
    };
    let old_root = (Role::Root, 1, 1, publics(&[ROOT_B]), publics(&[ROOT_A]));
    let new_root = (Role::Root, 2, 0, publics(&[ROOT_B]), publics(&[STRANGER]));
    let by_new_root = (Role::Targets, 2, 2, publics(&[]), publics(&[TARGETS_B, STRANGER, SNAPSHOT]));
    let by_old_root = (Role::Targets, 1, 1, publics(&[TARGETS_A]), publics(&[TARGETS_B]));
    assert_eq!(told(Some(&root), Some(&targets)), [old_root.clone(), new_root.clone(), by_new_root]);
    assert_eq!(told(Some(&root), None), [old_root, new_root]);
    assert_eq!(told(None, Some(&targets)), [by_old_root]);
}

#[test]
fn a_repository_that_begins_wants_its_own_keys_alone() {
    let world = World::new();
    let targets = reseal(&world.files["1.targets.json"], &[TARGETS_A], |_| {});
    let wants = begin(Some(&world.files["1.root.json"]), Some(&targets)).unwrap().wants(None);
    let told: Vec<_> = wants.iter().map(|w| (w.role, w.named_by, w.threshold, w.missing())).collect();
    assert_eq!(told, [(Role::Root, 1, 2, 0), (Role::Targets, 1, 2, 1)]);
}

/// The count that a signer is shown and the door at the end are one: with nothing missing the file verifies, and not before.
#[test]
fn nothing_is_missing_exactly_when_the_file_verifies() {
    let ground = Ground::new();
    let unsigned = ground.next_targets(|_| {});
    let sets: [&[u8]; 6] = [
        &[],
        &[TARGETS_A],
        &[TARGETS_A, TARGETS_A],
        &[TARGETS_B, STRANGER, ROOT_A],
        &[TARGETS_A, TARGETS_B],
        &[TARGETS_B, STRANGER, TARGETS_A],
    ];
    for signers in sets {
        let mut proposed = Proposed::<Targets>::read(&unsigned).unwrap();
        for n in signers {
            proposed = proposed.countersigned(&key(*n)).unwrap();
        }
        let wants = ground.propose(None, Some(proposed.bytes())).unwrap().wants(Some((&ground.root, None)));
        let verified = Verified::<Targets>::by(&ground.root, proposed.bytes());
        assert_eq!(wants.iter().all(|w| w.missing() == 0), verified.is_ok(), "{signers:?}");
    }
}

#[test]
fn a_signature_that_does_not_verify_is_nobody_s() {
    let ground = Ground::new();
    let signed = edit::countersign::<Targets>(&ground.next_targets(|_| {}), &key(TARGETS_A)).unwrap();
    let authority = ground.root.authority(Role::Targets);
    let by = |bytes: &[u8]| Proposed::<Targets>::read(bytes).unwrap().signed_by(authority);
    assert_eq!(by(&signed), publics(&[TARGETS_A]));
    assert_eq!(by(&tamper(&signed, |file| file["signatures"][0]["sig"] = json!("00".repeat(64)))), publics(&[]));
    assert_eq!(by(&tamper(&signed, |file| file["signed"]["x"] = json!(1))), publics(&[]), "of another text");
}

#[test]
fn what_is_signed_has_one_digest_however_many_sign_it() {
    let ground = Ground::new();
    let read = |bytes: &[u8]| Proposed::<Targets>::read(bytes).unwrap();
    let none = read(&ground.next_targets(|_| {}));
    let one = none.countersigned(&key(TARGETS_A)).unwrap();
    assert_ne!(none.bytes(), one.bytes());
    assert_eq!(none.signed_sha256(), one.signed_sha256());
    let other = read(&ground.next_targets(|t| drop(t.targets.remove("new.txt"))));
    assert_ne!(none.signed_sha256(), other.signed_sha256());
    // Others can work it out from the file: the SHA-256 of the canonical form of what is signed.
    let file: serde_json::Value = serde_json::from_slice(one.bytes()).unwrap();
    let canonical = crate::json::canonical(&file["signed"]).unwrap();
    assert_eq!(one.signed_sha256(), crate::digest::Digest::of(&canonical));
}

#[test]
fn a_file_of_another_role_is_not_proposed() {
    let world = World::new();
    refused!(
        Proposed::<Root>::read(&world.files["1.targets.json"]),
        TrustError::Json { role: Role::Root, .. } | TrustError::Rule { role: Role::Root, .. }
    );
    let one: LocalKey = key(ROOT_A);
    refused!(
        edit::countersign::<Targets>(&world.files["1.root.json"], &one),
        TrustError::Json { role: Role::Targets, .. } | TrustError::Rule { role: Role::Targets, .. }
    );
}
