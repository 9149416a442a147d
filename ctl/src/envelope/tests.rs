//! Envelopes as they ought to be, and as somebody on the way would like them.

use jiff::SignedDuration;
use suture_core::manifest::manifest_path;
use suture_core::sign::{LocalKey, Signer};
use suture_core::trust::edit::{self, CATALOG_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{CatalogEntry, Role, Status, Target, Verified};
use suture_core::version::Release;
use zeroize::Zeroizing;

use super::*;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

fn role(keys: &[u8], threshold: u32) -> RoleDraft {
    RoleDraft { keys: keys.iter().map(|n| key(*n).public()).collect(), threshold }
}

fn root_draft(version: u64) -> RootDraft {
    RootDraft {
        version,
        expires: now() + edit::ROOT_LIFETIME,
        root: role(&[1, 2, 3], 2),
        targets: role(&[4, 5, 6], 2),
        snapshot: role(&[7], 1),
        timestamp: role(&[8], 1),
    }
}

fn entry(release: u64, status: Status) -> Option<serde_json::Value> {
    let entry = CatalogEntry {
        product: "pump".parse().unwrap(),
        release: Release(release),
        version: "1.0".parse().unwrap(),
        hardware: vec!["rev-a".parse().unwrap()],
        min_release: Release(0),
        status,
        floor: Release(0),
    };
    Some(entry.to_custom())
}

fn path(release: u64) -> String {
    manifest_path(&"pump".parse().unwrap(), Release(release))
}

/// A catalog in force that two of three sign, listing release 1.
struct InPlace {
    root: Verified<Root>,
    targets: Verified<Targets>,
}

impl InPlace {
    fn new() -> Self {
        let root = edit::sign_root(&root_draft(1), &[&key(1), &key(2)]).unwrap();
        let root = Verified::pinned(&root).unwrap();
        let mut draft = TargetsDraft::first(now(), CATALOG_LIFETIME);
        draft.targets.insert(path(1), Target::of(b"manifest 1", entry(1, Status::Current)));
        let targets = edit::sign_targets(&draft, &[&key(4), &key(5)]).unwrap();
        let targets = Verified::by(&root, &targets).unwrap();
        Self { root, targets }
    }

    fn in_force(&self) -> InForce<'_> {
        Some((&self.root, Some(&self.targets)))
    }

    fn next(&self) -> TargetsDraft {
        TargetsDraft::following(&self.targets, now(), CATALOG_LIFETIME)
    }
}

fn envelope(targets: Vec<u8>) -> Envelope {
    Envelope {
        which: Which::Catalog,
        hdo: None,
        root: None,
        targets: Some(targets),
        delegated: Delegated::new(),
        files: BTreeMap::from([("a.json".to_owned(), b"{}".to_vec())]),
    }
}

fn text(outcome: Outcome<impl std::fmt::Debug>) -> String {
    outcome.unwrap_err().to_text()
}

#[test]
fn it_reads_back_as_it_was_written_and_is_named_after_what_it_changes() {
    let place = InPlace::new();
    let mut envelope = envelope(edit::sign_targets(&place.next(), &[&key(4)]).unwrap());
    assert_eq!(Envelope::parse(&envelope.to_bytes().unwrap()).unwrap(), envelope);
    assert_eq!(envelope.default_name().unwrap(), "catalog-targets-2.envelope.json");
    envelope.root = Some(edit::sign_root(&root_draft(2), &[]).unwrap());
    (envelope.which, envelope.hdo) = (Which::Approvals, Some("riverside".parse().unwrap()));
    assert_eq!(Envelope::parse(&envelope.to_bytes().unwrap()).unwrap(), envelope);
    assert_eq!(envelope.default_name().unwrap(), "approvals-root-2-targets-2.envelope.json");
}

#[test]
fn a_file_that_is_there_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.envelope.json");
    let envelope = envelope(b"{}".to_vec());
    envelope.create(&file).unwrap();
    assert!(text(envelope.create(&file)).contains("--envelope FILE"));
    assert_eq!(Envelope::open(&file).unwrap(), envelope);
    assert!(text(Envelope::open(&dir.path().join("none"))).contains("there is no file"));
}

#[test]
fn another_form_is_refused() {
    let good = String::from_utf8(envelope(b"{}".to_vec()).to_bytes().unwrap()).unwrap();
    let changes = [
        ("\"format\":1", "\"format\":2"),
        ("suture-envelope", "suture-plan"),
        ("\"format\":1", "\"format\":1,\"format\":1"),
        ("\"format\":1", "\"format\":1,\"note\":\"sign me\""),
        ("\"repository\":\"catalog\"", "\"repository\":\"approvals\""),
        ("\"repository\":\"catalog\"", "\"hdo\":\"riverside\",\"repository\":\"catalog\""),
        ("\"targets\":\"e30=\"", "\"targets\":\"e30\""),
        (",\"targets\":\"e30=\"", ""),
    ];
    for (from, to) in changes {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let refused = text(Envelope::parse(bad.as_bytes()));
        assert!(refused.contains("the envelope is refused"), "{to}: {refused}");
    }
    let mut many = envelope(b"{}".to_vec());
    many.files = (0..=MAX_ENVELOPE_FILES).map(|n| (n.to_string(), Vec::new())).collect();
    assert!(text(Envelope::parse(&many.to_bytes().unwrap())).contains("files"));
    let long = vec![b' '; usize::try_from(MAX_ENVELOPE_BYTES).unwrap() + 1];
    assert!(text(Envelope::parse(&long)).contains("bytes"));
}

#[test]
fn what_does_not_follow_from_what_is_in_force_is_refused() {
    let place = InPlace::new();
    let signed = |draft: &TargetsDraft| envelope(edit::sign_targets(draft, &[&key(4)]).unwrap());
    assert!(signed(&place.next()).propose(place.in_force(), now()).is_ok());
    let mut draft = place.next();
    draft.version = 3;
    assert!(text(signed(&draft).propose(place.in_force(), now())).contains("does not follow from version 1"));
    let mut draft = place.next();
    draft.previous = None;
    assert!(text(signed(&draft).propose(place.in_force(), now())).contains("does not follow"));
    let mut draft = place.next();
    draft.version = 1;
    assert!(text(signed(&draft).propose(place.in_force(), now())).contains("exists already"));
    let mut draft = place.next();
    draft.signed_at = now() + SignedDuration::from_hours(1);
    assert!(text(signed(&draft).propose(place.in_force(), now())).contains("in the future"));
    let late = now() + CATALOG_LIFETIME;
    assert!(text(signed(&place.next()).propose(place.in_force(), late)).contains("expired"));
    // The file that it holds is not the one that it lists.
    let mut draft = place.next();
    draft.targets.insert("a.json".to_owned(), Target::of(b"[]", None));
    assert!(text(signed(&draft).propose(place.in_force(), now())).contains("another sha256"));
    // One that it does not list stands out.
    let listed = signed(&place.next());
    let proposal = listed.propose(place.in_force(), now()).unwrap();
    assert_eq!(listed.unlisted(&proposal), BTreeSet::from(["a.json"]));
    // A root that skips a version.
    let mut root = envelope(Vec::new());
    (root.targets, root.files) = (None, BTreeMap::new());
    root.root = Some(edit::sign_root(&root_draft(3), &[&key(1)]).unwrap());
    assert!(text(root.propose(place.in_force(), now())).contains("version 3 where version 2 belongs"));
}

#[test]
fn signatures_are_counted_for_each_set_of_keys_that_must_sign() {
    let place = InPlace::new();
    let mut draft = root_draft(2);
    draft.root = role(&[2, 3, 9], 3);
    let mut envelope = envelope(edit::sign_targets(&place.next(), &[&key(4), &key(7)]).unwrap());
    envelope.files.clear();
    envelope.root = Some(edit::sign_root(&draft, &[&key(1), &key(9)]).unwrap());
    let proposal = envelope.propose(place.in_force(), now()).unwrap();
    let wants = proposal.wants(place.in_force());
    let summary: Vec<_> = wants.iter().map(|w| (w.role, w.named_by, w.signed.len(), w.missing())).collect();
    // Key 9 is no key of root 1, key 1 none of root 2, key 7 none of the targets'.
    assert_eq!(summary, [(Role::Root, 1, 1, 1), (Role::Root, 2, 1, 2), (Role::Targets, 2, 1, 1)]);
    // What is signed stays the same, however many sign it.
    let again = proposal.targets.as_ref().unwrap().countersigned(&key(6)).unwrap();
    assert_eq!(again.signed_sha256(), proposal.targets.as_ref().unwrap().signed_sha256());
    assert!(Verified::<Targets>::by(&place.root, again.bytes()).is_ok());
    // The same key twice is one signature.
    let twice = proposal.targets.as_ref().unwrap().countersigned(&key(4)).unwrap();
    assert_eq!(twice.signed_by(place.root.authority(Role::Targets)).len(), 1);
}

#[test]
fn keys_and_thresholds_are_told_in_words() {
    let place = InPlace::new();
    let mut draft = root_draft(2);
    draft.targets = role(&[4, 5, 9], 1);
    let mut envelope = envelope(Vec::new());
    (envelope.targets, envelope.files) = (None, BTreeMap::new());
    envelope.root = Some(edit::sign_root(&draft, &[&key(1)]).unwrap());
    let proposal = envelope.propose(place.in_force(), now()).unwrap();
    let told: Vec<String> = metadata(place.in_force(), &proposal).into_iter().map(|c| c.text).collect();
    let added = format!("targets: the key {} may sign from now on", key(9).public());
    let removed = format!("targets: the key {} may NOT sign any more", key(6).public());
    let threshold = "targets: 1 of 3 keys must sign, it was 2 of 3".to_owned();
    for line in [added, removed, threshold] {
        assert!(told.contains(&line), "{line}: {told:#?}");
    }
    assert!(told.iter().any(|t| t.contains("root 2, after root 1")), "{told:#?}");
    assert_eq!(told.len(), 5, "{told:#?}");
}

#[test]
fn a_catalog_is_told_bundle_by_bundle_and_replaces_none() {
    let place = InPlace::new();
    let told = |change: &dyn Fn(&mut TargetsDraft)| {
        let mut draft = place.next();
        change(&mut draft);
        let bytes = edit::sign_targets(&draft, &[&key(4)]).unwrap();
        let next = Proposed::<Targets>::read(&bytes).unwrap();
        catalog(Some(&place.targets), &next, &BTreeMap::new())
    };
    let withdrawn = told(&|draft| {
        draft.targets.insert(path(1), Target::of(b"manifest 1", entry(1, Status::Withdrawn)));
    });
    assert_eq!(withdrawn.unwrap(), [Change::new("status", "pump 1.0 (release 1) was current and is withdrawn")]);
    assert!(told(&|_| {}).unwrap().is_empty());
    let replaced = told(&|draft| {
        draft.targets.insert(path(1), Target::of(b"another", entry(1, Status::Current)));
    });
    assert!(text(replaced).contains("never replaced"));
    let removed = told(&|draft| drop(draft.targets.remove(&path(1))));
    assert!(text(removed).contains("never removed"));
    let unseen = told(&|draft| {
        draft.targets.insert(path(2), Target::of(b"manifest 2", entry(2, Status::Current)));
    });
    assert!(text(unseen).contains("does not hold it"));
    let nameless = told(&|draft| {
        draft.targets.insert("x.bin".to_owned(), Target::of(b"x", None));
    });
    assert!(text(nameless).contains("no bundle"));
}
