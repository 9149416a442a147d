//! The other way round: what our editor publishes, both other clients accept and understand, version after version, targets
//! fetched and verified; and once it has expired, nobody does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp as Instant};
use serde_json::json;
use suture_core::sign::{LocalKey, Signer};
use suture_core::trust::edit::{self, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Role, Root, Snapshot, Target, Targets, Verified, delegated_name, key_id, key_object};

use super::accepted_all;
use super::base::{Base, Files, key, now};
use super::case::{Case, Step};
use super::clients::{Verdict, ours, sigstore};
use super::oracle::Python;

fn role(keys: &[u8], threshold: u32) -> RoleDraft {
    RoleDraft { keys: keys.iter().map(|n| key(*n).public()).collect(), threshold }
}

/// A manufacturer's repository, published generation by generation.
struct Publisher {
    now: Instant,
    files: Files,
    root: RootDraft,
    root_signers: Vec<u8>,
    targets_signers: Vec<u8>,
    snapshot: u8,
    timestamp: u8,
    targets: Option<Verified<Targets>>,
    online_version: u64,
}

impl Publisher {
    fn new() -> Self {
        let root = RootDraft {
            version: 1,
            expires: now() + edit::ROOT_LIFETIME,
            root: role(&[1, 2, 8], 2),
            targets: role(&[3, 4], 2),
            snapshot: role(&[5], 1),
            timestamp: role(&[6], 1),
        };
        let mut publisher = Self {
            now: now(),
            files: Files::new(),
            root,
            root_signers: vec![1, 8],
            targets_signers: vec![3, 4],
            snapshot: 5,
            timestamp: 6,
            targets: None,
            online_version: 0,
        };
        publisher.sign_root(&[1, 8]);
        publisher.publish(&["notes", "bundles/pump/1/manifest.json"], None);
        publisher
    }

    /// One signer after another, as a file that goes from hand to hand.
    fn sign_root(&mut self, signers: &[u8]) {
        let mut bytes = edit::sign_root(&self.root, &[&key(signers[0])]).unwrap();
        for n in &signers[1..] {
            bytes = edit::countersign::<Root>(&bytes, &key(*n)).unwrap();
        }
        self.files.insert(Role::Root.served_name(self.root.version), bytes);
    }

    fn verified_root(&self) -> Verified<Root> {
        Verified::pinned(&self.files[&Role::Root.served_name(self.root.version)]).unwrap()
    }

    /// The next root: what signed the last one and what signs this one both sign it.
    fn rotate(&mut self, signers: &[u8], change: impl FnOnce(&mut RootDraft)) {
        self.root = RootDraft::after(&self.verified_root(), self.now);
        change(&mut self.root);
        let mut both = self.root_signers.clone();
        both.extend(signers.iter().filter(|n| !self.root_signers.contains(n)));
        self.sign_root(&both);
        self.root_signers = signers.to_vec();
    }

    fn publish(&mut self, paths: &[&str], delegation: Option<&Verified<Targets>>) {
        let lifetime = edit::CATALOG_LIFETIME;
        let mut draft = match &self.targets {
            None => TargetsDraft::first(self.now, lifetime),
            Some(targets) => TargetsDraft::following(targets, self.now, lifetime),
        };
        draft.targets = paths.iter().map(|path| ((*path).to_owned(), target(path))).collect();
        if delegation.is_some() {
            let key = key(13).public();
            let id = key_id(&key).unwrap().to_string();
            draft.delegations = Some(json!({
                "keys": { id.clone(): key_object(&key) },
                "roles": [{ "name": "pumps", "keyids": [id], "threshold": 1, "terminating": true, "paths": ["pumps/*"] }],
            }));
        }
        let mut bytes = edit::sign_targets(&draft, &[&key(self.targets_signers[0])]).unwrap();
        for n in &self.targets_signers[1..] {
            bytes = edit::countersign::<Targets>(&bytes, &key(*n)).unwrap();
        }
        self.files.insert(Role::Targets.served_name(draft.version), bytes.clone());
        let targets: Verified<Targets> = Verified::by(&self.verified_root(), &bytes).unwrap();
        for path in paths {
            self.files.insert(format!("targets/{}", targets.file_name(path).unwrap()), path.as_bytes().to_vec());
        }
        self.targets = Some(targets);
        self.sign_online(delegation);
    }

    /// What the server does, daily and after each publication.
    fn sign_online(&mut self, delegation: Option<&Verified<Targets>>) {
        self.online_version += 1;
        let (version, expires) = (self.online_version, self.now + edit::ONLINE_LIFETIME);
        let targets = self.targets.as_ref().unwrap();
        let signer = key(self.snapshot);
        let bytes = match delegation {
            None => edit::sign_snapshot(version, expires, targets, &signer).unwrap(),
            Some(pumps) => {
                let delegated = BTreeMap::from([("pumps".to_owned(), pumps.clone())]);
                edit::sign_delegating_snapshot(version, expires, targets, &delegated, None, &signer).unwrap()
            }
        };
        self.files.insert(Role::Snapshot.served_name(version), bytes.clone());
        let snapshot: Verified<Snapshot> = Verified::by(&self.verified_root(), &bytes).unwrap();
        let bytes = edit::sign_timestamp(version, expires, &snapshot, &key(self.timestamp)).unwrap();
        self.files.insert(Role::Timestamp.served_name(version), bytes);
    }

    /// The file of a delegated role, signed by its key alone.
    fn delegate(&mut self, paths: &[&str]) -> Verified<Targets> {
        let mut draft = TargetsDraft::first(self.now, edit::CATALOG_LIFETIME);
        draft.targets = paths.iter().map(|path| ((*path).to_owned(), target(path))).collect();
        let owner: LocalKey = key(13);
        let bytes = edit::sign_targets(&draft, &[&owner]).unwrap();
        self.files.insert(delegated_name("pumps", draft.version), bytes.clone());
        // Verified as its delegator would: by a root that names its key for targets.
        let alone = RootDraft { targets: RoleDraft::single(owner.public()), ..self.root.clone() };
        let signers: Vec<LocalKey> = self.root_signers.iter().map(|n| key(*n)).collect();
        let signers: Vec<&dyn Signer> = signers.iter().map(|k| k as &dyn Signer).collect();
        let root = Verified::pinned(&edit::sign_root(&alone, &signers).unwrap()).unwrap();
        let targets: Verified<Targets> = Verified::by(&root, &bytes).unwrap();
        for path in paths {
            self.files.insert(format!("targets/{}", targets.file_name(path).unwrap()), path.as_bytes().to_vec());
        }
        targets
    }
}

fn target(path: &str) -> Target {
    Target::of(path.as_bytes(), Some(json!({ "status": "current", "note": "l\u{e9}g\u{e8}re\n" })))
}

#[test]
fn what_we_publish_other_clients_accept_until_it_has_expired() {
    let mut publisher = Publisher::new();
    let mut generations = vec![publisher.files.clone()];
    let mut keep = |publisher: &Publisher| generations.push(publisher.files.clone());

    publisher.publish(&["notes", "bundles/pump/2/manifest.json"], None);
    keep(&publisher);
    // The server signs anew, nothing else.
    publisher.sign_online(None);
    keep(&publisher);
    // All root keys and the online keys are replaced, step by step.
    publisher.rotate(&[8, 9], |root| root.root = role(&[2, 8, 9], 2));
    publisher.rotate(&[9, 10], |root| {
        root.root = role(&[9, 10], 2);
        root.snapshot = role(&[11], 1);
        root.timestamp = role(&[12], 1);
    });
    (publisher.snapshot, publisher.timestamp) = (11, 12);
    publisher.sign_online(None);
    keep(&publisher);
    // Other people release, one of whom must sign twice as many as before.
    publisher.rotate(&[9, 10], |root| root.targets = role(&[4, 14, 15], 3));
    publisher.targets_signers = vec![4, 14, 15];
    publisher.publish(&["notes"], None);
    keep(&publisher);
    // A product line of its own.
    let pumps = publisher.delegate(&["pumps/a", "monitors/a"]);
    publisher.publish(&["notes"], Some(&pumps));
    keep(&publisher);

    let paths = ["notes", "bundles/pump/1/manifest.json", "bundles/pump/2/manifest.json", "pumps/a", "monitors/a"];
    let base = Base {
        root: generations[0]["1.root.json"].clone(),
        generations,
        signers: BTreeMap::new(),
        paths: paths.map(str::to_owned).into(),
        now: now(),
    };
    let mut python = Python::start();
    let id = python.learn(&base);
    let mut judge = |steps: Vec<Step>| {
        let case = Case { steps, paths: base.paths.clone(), download: true, edits: Vec::new() };
        python.ask(id, &case);
        let verdicts = [ours(&base, &case), sigstore(&base, &case), python.verdicts()];
        verdicts.map(|v| (accepted_all(&v, &case), v))
    };

    // A client that follows, and one that comes late.
    let last = base.generations.len() - 1;
    let followed = judge((0..=last).map(|g| Step::honest(g, now())).collect());
    let late = judge(vec![Step::honest(0, now()), Step::honest(last, now())]);
    for verdicts in [followed, late] {
        for (accepted, verdicts) in &verdicts {
            assert!(accepted, "{verdicts:?}");
            let Some(Verdict::Accepted(view)) = verdicts.last() else { unreachable!() };
            assert_eq!(view.versions, [4, 6, 6, 4]);
            let found: Vec<_> = view.targets.iter().filter(|(_, t)| matches!(t, Ok(Some(_)))).map(|(p, _)| p).collect();
            assert_eq!(found, ["notes", "pumps/a"]);
        }
    }
    // A frozen server: what it serves ends with its online files, whatever it claims.
    let frozen = now() + edit::ONLINE_LIFETIME;
    let second = SignedDuration::from_secs(1);
    for (accepted, verdicts) in judge(vec![Step::honest(last, frozen - second)]) {
        assert!(accepted, "{verdicts:?}");
    }
    for at in [frozen + second, now() + edit::ROOT_LIFETIME + second] {
        for (accepted, verdicts) in judge(vec![Step::honest(last, at)]) {
            assert!(!accepted, "{verdicts:?}");
        }
    }
    // An old repository to a client that has seen a newer one.
    for (accepted, verdicts) in judge(vec![Step::honest(1, now()), Step::honest(0, now())]) {
        assert!(!accepted, "{verdicts:?}");
    }
}
