use super::*;
use fixture::{id, wave};
use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{OperatorDocument, StopOrder, path};
use suture_core::digest::Digest;
use suture_core::label::Labels;
use suture_core::plan::Signing;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::edit::{ROOT_LIFETIME, RoleDraft, RootDraft, sign_root};
use suture_core::trust::{Root, Verified};
use suture_core::window::{Scope, Window};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// A hospital and what it has signed so far.
struct Hospital {
    key: LocalKey,
    root: Verified<Root>,
    targets: Option<Verified<Targets>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Hospital {
    fn new() -> Self {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([3; 32]));
        let role = || RoleDraft::single(key.public());
        let expires = now() + ROOT_LIFETIME;
        let draft =
            RootDraft { version: 1, expires, root: role(), targets: role(), snapshot: role(), timestamp: role() };
        let root = Verified::pinned(&sign_root(&draft, &[&key]).unwrap()).unwrap();
        let mut hospital = Self { key, root, targets: None, files: BTreeMap::new() };
        hospital.sign(now(), |_| {});
        hospital
    }

    fn documents(&self) -> Documents {
        let targets = self.targets.as_ref();
        targets.map_or_else(Documents::default, |t| Documents::read(&id("riverside"), t, &self.files).unwrap())
    }

    fn sign(&mut self, now: Timestamp, change: impl FnOnce(&mut Edit<'_>)) {
        let documents = self.documents();
        let mut edit = match &self.targets {
            None => Edit::first(id("riverside"), &documents, now),
            Some(base) => Edit::after(id("riverside"), base, &documents, now),
        };
        change(&mut edit);
        let edited = edit.sign(&[&self.key]).unwrap();
        self.files.extend(edited.files);
        self.targets = Some(Verified::by(&self.root, &edited.targets).unwrap());
    }

    fn order(&self, approval: &ApprovalId, counter: u64, stopped: bool) -> VerifiedStop {
        let mut order = StopOrder::next(id("riverside"), approval.clone(), None, stopped, now()).unwrap();
        order.counter = counter;
        VerifiedStop::verify(&self.root, &id("riverside"), &order.sign(&[&self.key]).unwrap()).unwrap()
    }

    fn listed(&self) -> Vec<String> {
        self.targets.as_ref().unwrap().targets().map(|(path, _)| path.to_owned()).collect()
    }

    fn registered(&self) -> Vec<String> {
        self.documents().registered.into_iter().map(|p| p.path).collect()
    }
}

fn device(name: &str) -> RosterDevice {
    let key = LocalKey::from_seed(&zeroize::Zeroizing::new([9; 32]));
    RosterDevice {
        id: id(name),
        report_key: key.public(),
        product: id("pump"),
        hardware: id("rev-a"),
        ward: id("icu"),
        labels: Labels::default(),
    }
}

fn approval(name: &str, end: Timestamp, supersedes: &[&str]) -> (Approval, OperatorDocument) {
    let signing = Signing { approver: "kim".to_owned(), meaning: "approved".to_owned(), reason: "why".to_owned() };
    let operator = OperatorDocument {
        kind: OperatorDocument::TYPE.to_owned(),
        format: 1,
        approval: id(name),
        approver: signing.approver,
        meaning: signing.meaning,
        reason: signing.reason,
        ticket: String::new(),
        rosters: Vec::new(),
        plan_sha256: Digest::of(b"plan"),
    };
    let mut approval = fixture::approval(name, end, &[wave(false)]);
    approval.terms.created = now() - hours(1);
    approval.terms.supersedes = supersedes.iter().map(|s| id(s)).collect();
    approval.terms.operator_document = Pinned::of(path::operator_document(&id(name)), &operator.to_bytes().unwrap());
    (approval, operator)
}

#[test]
fn each_version_follows_the_one_before_and_keeps_what_it_does_not_change() {
    let mut hospital = Hospital::new();
    hospital.sign(now(), |e| e.admit(device("pump-1")).unwrap());
    let before = hospital.targets.clone().unwrap();
    let mut calendar = Calendar::empty(id("riverside"), Scope::Ward(id("icu")), "UTC".to_owned());
    calendar.windows.push(Window::parse_weekly("sat 02:00 2h").unwrap());
    hospital.sign(now(), |e| e.set_calendar(&calendar).unwrap());
    let after = hospital.targets.as_ref().unwrap();
    assert_eq!(after.previous(), Some(before.digest()));
    let documents = hospital.documents();
    assert_eq!(documents.device(&id("pump-1")), Some(&device("pump-1")));
    assert_eq!(documents.calendars[0].1, calendar);
}

#[test]
fn a_device_is_on_one_roster_and_leaves_it() {
    let mut hospital = Hospital::new();
    let names: Vec<String> = (0..40).map(|n| format!("pump-{n}")).collect();
    hospital.sign(now(), |e| e.admit(device(&names[0])).unwrap());
    for name in &names {
        hospital.sign(now(), |e| e.admit(device(name)).unwrap());
    }
    let moved = RosterDevice { ward: id("er"), ..device(&names[0]) };
    hospital.sign(now(), |e| e.admit(moved.clone()).unwrap());
    let documents = hospital.documents();
    assert_eq!(documents.rosters.iter().map(|(_, r)| r.devices.len()).sum::<usize>(), names.len());
    assert_eq!(documents.device(&moved.id), Some(&moved));
    hospital.sign(now(), |e| assert!(e.dismiss(&moved.id)));
    assert_eq!(hospital.documents().device(&moved.id), None);
    hospital.sign(now(), |e| assert!(!e.dismiss(&moved.id), "not twice"));
}

#[test]
fn stops_count_up_and_can_be_lifted() {
    let mut hospital = Hospital::new();
    let (approval, operator) = approval("a", now() + hours(2), &[]);
    hospital.sign(now(), |e| e.approve(&approval, &operator).unwrap());
    for (counter, stopped) in [(1, true), (2, false), (3, true)] {
        let order = hospital.order(&approval.terms.id, counter, stopped);
        hospital.sign(now(), |e| e.stop(&order));
        let documents = hospital.documents();
        assert_eq!((documents.stops[0].counter, documents.is_stopped(&approval.terms.id)), (counter, stopped));
    }
}

/// An approval whose only wave waits for a signature.
fn gated(name: &str, end: Timestamp) -> (Approval, OperatorDocument) {
    let (mut approval, operator) = approval(name, end, &[]);
    approval.terms.waves[0].needs_signature = true;
    (approval, operator)
}

#[test]
fn a_wave_is_opened_with_its_note_and_both_go_with_the_approval() {
    let mut hospital = Hospital::new();
    let (approval, operator) = gated("a.b", now() + hours(2));
    hospital.sign(now(), |e| e.approve(&approval, &operator).unwrap());
    assert_eq!(hospital.documents().unsigned(&approval), [0]);
    hospital.sign(now(), |e| e.open(&approval.terms.id, 0, "kim".to_owned(), "why".to_owned()).unwrap());
    let documents = hospital.documents();
    assert_eq!(documents.unsigned(&approval), [0; 0]);
    let open = &documents.gates(&approval.terms.id).unwrap().open[0];
    assert_eq!(documents.pinned("gate-notes/a.b.0.json"), Some(&open.note));
    assert!(!String::from_utf8_lossy(&hospital.files["gates/a.b.json"]).contains("why"), "devices read no reason");
    hospital.sign(now() + hours(1), |_| {});
    assert_eq!(hospital.documents().unsigned(&approval), [0; 0], "also after another change");
    hospital.sign(now() + hours(3), |_| {});
    assert_eq!((hospital.listed(), hospital.registered().len()), (vec!["register.json".to_owned()], 0));
}

#[test]
fn what_has_no_gate_or_no_reason_is_not_opened() {
    let mut hospital = Hospital::new();
    let (plain, operator) = approval("a", now() + hours(2), &[]);
    hospital.sign(now(), |e| e.approve(&plain, &operator).unwrap());
    let (approval, operator) = gated("b", now() + hours(2));
    hospital.sign(now(), |e| e.approve(&approval, &operator).unwrap());
    let refused = |id: &str, wave, reason: &str| {
        let documents = hospital.documents();
        let mut edit = Edit::after(self::id("riverside"), hospital.targets.as_ref().unwrap(), &documents, now());
        edit.open(&self::id(id), wave, "kim".to_owned(), reason.to_owned()).unwrap_err().to_string()
    };
    assert!(refused("a", 0, "why").contains("has no gate"));
    assert!(refused("b", 1, "why").contains("does not have"));
    assert!(refused("c", 0, "why").contains("not listed"));
    assert!(refused("b", 0, " ").contains("or why"));
}

#[test]
fn an_order_that_came_beside_the_repository_is_listed_with_the_next_version() {
    let mut hospital = Hospital::new();
    let (approval, operator) = approval("a", now() + hours(2), &[]);
    hospital.sign(now(), |e| e.approve(&approval, &operator).unwrap());
    let mut documents = hospital.documents();
    for (id, counter, stopped) in [("a", 2, true), ("a", 1, false), ("gone", 1, true)] {
        documents.learn(hospital.order(&id.parse().unwrap(), counter, stopped));
    }
    let edit = Edit::after(id("riverside"), hospital.targets.as_ref().unwrap(), &documents, now());
    let edited = edit.sign(&[&hospital.key]).unwrap();
    assert_eq!(edited.files.keys().collect::<Vec<_>>(), ["stops/a.json"], "and none of an approval that is not listed");
    hospital.files.extend(edited.files);
    hospital.targets = Some(Verified::by(&hospital.root, &edited.targets).unwrap());
    assert_eq!(hospital.documents().stop(&approval.terms.id).map(|s| s.counter), Some(2));
    let documents = hospital.documents();
    let again = Edit::after(id("riverside"), hospital.targets.as_ref().unwrap(), &documents, now());
    assert!(again.sign(&[&hospital.key]).unwrap().files.is_empty(), "once");
}

#[test]
fn the_targets_outlive_the_last_slot_that_they_list() {
    let mut hospital = Hospital::new();
    let end = now() + hours(24 * 60);
    let (approval, operator) = approval("a", end, &[]);
    hospital.sign(now(), |e| e.approve(&approval, &operator).unwrap());
    let expires = |h: &Hospital| suture_core::trust::Metadata::expires(&**h.targets.as_ref().unwrap());
    assert!(expires(&hospital) > end);
    hospital.sign(now() + hours(1), |e| e.admit(device("pump-1")).unwrap());
    assert!(expires(&hospital) > end, "also after another change");
}

#[test]
fn what_has_expired_goes_and_not_before_what_it_superseded() {
    let mut hospital = Hospital::new();
    let (old, old_operator) = approval("old", now() + hours(500), &[]);
    let (new, new_operator) = approval("new", now() + hours(2), &["old"]);
    let (other, other_operator) = approval("other", now() + hours(900), &[]);
    hospital.sign(now(), |e| e.approve(&old, &old_operator).unwrap());
    hospital.sign(now(), |e| e.approve(&new, &new_operator).unwrap());
    hospital.sign(now(), |e| e.approve(&other, &other_operator).unwrap());
    let order = hospital.order(&new.terms.id, 1, true);
    hospital.sign(now(), |e| e.stop(&order));
    hospital.sign(now() + hours(1), |_| {});
    assert_eq!(hospital.listed().len(), 5, "nothing goes before its time");
    assert_eq!(hospital.registered().len(), 3);
    // Without `new`, `old` would be in force again; and a device that has not heard of `new` has slots by `old`.
    hospital.sign(now() + hours(3), |_| {});
    assert_eq!(hospital.listed().len(), 5);
    hospital.sign(now() + hours(500), |_| {});
    assert_eq!(hospital.listed(), ["approvals/other.json", "register.json"]);
    assert_eq!(hospital.registered(), ["operator/other.json"]);
}

#[test]
fn a_file_that_is_missing_changed_or_misplaced_is_refused_by_name() {
    let mut hospital = Hospital::new();
    hospital.sign(now(), |e| e.admit(device("pump-1")).unwrap());
    let path = hospital.listed().remove(0);
    let targets = hospital.targets.as_ref().unwrap();
    let refused = |files: &BTreeMap<String, Vec<u8>>, hdo: &str| Documents::read(&id(hdo), targets, files).unwrap_err();
    let mut files = hospital.files.clone();
    assert!(matches!(refused(&files, "lakeside"), ReadError::Misplaced { path: p } if p == path));
    files.get_mut(&path).unwrap()[5] ^= 1;
    assert!(matches!(refused(&files, "riverside"), ReadError::Bytes { path: p, .. } if p == path));
    files.clear();
    assert!(matches!(refused(&files, "riverside"), ReadError::Bytes { .. }));
}
