//! A hospital with two pumps, one of which moved to release 2 while the other fell back, as its server would tell it.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::{Approval, Meaning, OperatorDocument, Pinned, RosterDevice, SignedDocument as _, path};
use suture_core::audit::{Checkpoint, Concern, Entry, Frontier, LogKey, Salt};
use suture_core::decision::{Choice, Decision, Stated};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::label::Labels;
use suture_core::manifest::{Document, DocumentKind, Install, InstallKind, Manifest, PatchClass, Requires};
use suture_core::notice::{Acknowledgement, Letter, Said, Side};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::report::{Report, Running, Took};
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::edit::{
    self, CATALOG_LIFETIME, ONLINE_LIFETIME, ROOT_LIFETIME, RoleDraft, RootDraft, TargetsDraft,
};
use suture_core::trust::{CatalogEntry, Role, Root, Status, Target, Targets, Verified, served_target_name};
use suture_core::version::Release;
use zeroize::Zeroizing;

use super::reports::{self, Line};
use super::served::{self, Served};
use super::whole::document_place;
use super::{About, Files, Subject, audit, index, kind, repository};
use crate::hospital::fixture::{approval, at, id, wave};
use crate::hospital::statements::{Words, place};
use crate::hospital::{Documents, Edit};
use crate::trust_store::Which;

pub(super) fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

pub(super) fn now() -> Timestamp {
    at("2026-12-24T12:00:00Z")
}

pub(super) fn about() -> About {
    About {
        subject: Subject::Rollout(id("pump-2")),
        hdo: Some(id("riverside")),
        by: "spiffe://acme.example/hdo/riverside/operator/kim".to_owned(),
        server: "https://localhost:7443".to_owned(),
        made: now(),
        program: index::program(),
    }
}

const NOTES: &[u8] = b"a louder alarm";
/// When the two pumps' slots end.
const END: &str = "2026-11-25T03:00:00Z";

pub(super) fn manifest() -> Manifest {
    Manifest {
        kind: suture_core::manifest::TYPE.to_owned(),
        format: 1,
        product: id("pump"),
        version: "1.1.0".parse().unwrap(),
        release: Release(2),
        hardware: vec![id("rev-a")],
        requires: Requires { min_release: Release(1) },
        class: PatchClass::OutOfCycle,
        install: Install {
            kind: InstallKind::Slots,
            budget_secs: 120,
            revert_budget_secs: 60,
            return_to_service: false,
            data: None,
        },
        payloads: vec![suture_core::manifest::Payload {
            name: "app".parse().unwrap(),
            format: suture_core::manifest::PayloadFormat::Image,
            length: 3,
            sha256: Digest::of(b"app"),
            index_length: 40,
            index_sha256: Digest::of(b"index"),
        }],
        documents: vec![Document {
            kind: DocumentKind::ReleaseNotes,
            name: "NOTES.md".to_owned(),
            length: NOTES.len() as u64,
            sha256: Digest::of(NOTES),
        }],
        risks: Vec::new(),
    }
}

/// A root of one repository: key 1 offline, 2 for targets, 3 online.
fn root(of: u8) -> Verified<Root> {
    let role = |n: u8| RoleDraft::single(key(of + n).public());
    let draft = RootDraft {
        version: 1,
        expires: at("2026-11-01T00:00:00Z") + ROOT_LIFETIME,
        root: role(1),
        targets: role(2),
        snapshot: role(3),
        timestamp: role(3),
    };
    Verified::pinned(&edit::sign_root(&draft, &[&key(of + 1)]).unwrap()).unwrap()
}

/// Puts targets metadata in force, at the time at which the evidence is made.
fn in_force(files: &mut Files, which: Which, of: u8, root: &Verified<Root>, targets: &[Verified<Targets>]) {
    let newest = targets.last().unwrap();
    let online = key(of + 3);
    let ends = now() + ONLINE_LIFETIME;
    let snapshot = edit::sign_snapshot(newest.version(), ends, newest, &online).unwrap();
    let snapshot = Verified::by(root, &snapshot).unwrap();
    let timestamp = edit::sign_timestamp(9, ends, &snapshot, &online).unwrap();
    let mut put = |name: String, bytes: &[u8]| files.insert(repository::place(which, &name), bytes.to_vec());
    put(Role::Root.served_name(1), root.bytes());
    put(Role::Snapshot.served_name(snapshot.version()), snapshot.bytes());
    put(Role::Timestamp.served_name(9), &timestamp);
    for version in targets {
        put(Role::Targets.served_name(version.version()), version.bytes());
    }
}

fn catalog(files: &mut Files) -> Manifest {
    let (root, manifest) = (root(10), manifest());
    let entry = CatalogEntry {
        product: id("pump"),
        release: Release(2),
        version: manifest.version.clone(),
        hardware: manifest.hardware.clone(),
        min_release: Release(1),
        status: Status::Current,
        floor: Release(0),
    };
    let bytes = manifest.to_bytes().unwrap();
    let target = Target::of(&bytes, Some(entry.to_custom()));
    let name = served_target_name(&manifest.path(), &target.sha256);
    files.insert(repository::place(Which::Catalog, &name), bytes);
    files.insert(document_place(&manifest, &manifest.documents[0]), NOTES.to_vec());
    let mut draft = TargetsDraft::first(at("2026-11-10T00:00:00Z"), CATALOG_LIFETIME);
    draft.targets.insert(manifest.path(), target);
    let targets = edit::sign_targets(&draft, &[&key(12)]).unwrap();
    in_force(files, Which::Catalog, 10, &root, &[Verified::by(&root, &targets).unwrap()]);
    manifest
}

fn report_key(n: u8) -> LocalKey {
    key(30 + n)
}

fn roster(n: u8) -> RosterDevice {
    RosterDevice {
        id: id(&format!("pump-{n}")),
        report_key: report_key(n).public(),
        product: id("pump"),
        hardware: id("rev-a"),
        ward: id("icu"),
        labels: Labels::default(),
    }
}

/// The approvals: a roster, then an approval, then a version without it, for it has ended. The last is in force.
fn approvals(files: &mut Files, manifest: &Manifest) -> ApprovalId {
    let (root, hdo) = (root(20), id("riverside"));
    let approver = key(22);
    let mut given: Files = Files::new();
    let mut versions: Vec<Verified<Targets>> = Vec::new();
    let mut sign = |given: &mut Files, when: Timestamp, change: &mut dyn FnMut(&mut Edit<'_>, &Documents)| {
        let documents =
            versions.last().map_or_else(Documents::default, |targets| Documents::read(&hdo, targets, given).unwrap());
        let mut edit = match versions.last() {
            None => Edit::first(hdo.clone(), &documents, when),
            Some(base) => Edit::after(hdo.clone(), base, &documents, when),
        };
        change(&mut edit, &documents);
        let edited = edit.sign(&[&approver]).unwrap();
        given.extend(edited.files);
        versions.push(Verified::by(&root, &edited.targets).unwrap());
    };
    let signed = at(END) - SignedDuration::from_hours(15);
    sign(&mut given, signed, &mut |edit, _| {
        edit.admit(roster(1)).unwrap();
        edit.admit(roster(2)).unwrap();
    });
    let mut head = None;
    sign(&mut given, signed, &mut |edit, documents| {
        let (approval, words) = approved(manifest, documents);
        head = Some(Digest::of(&approval.seal().unwrap().head_bytes));
        edit.approve(&approval, &words).unwrap();
    });
    sign(&mut given, now() - SignedDuration::from_hours(24), &mut |_, _| {});
    // Each file under the name by which it is served, as it was pinned.
    for (path, bytes) in given.iter().filter(|(path, _)| !path.starts_with("statements/")) {
        let name = served_target_name(path, &Digest::of(bytes));
        files.insert(repository::place(Which::Approvals, &name), bytes.clone());
    }
    // The register of the version in force is another than that of the ones before it; those are no part of the evidence.
    let register = versions.last().unwrap().target(path::REGISTER).unwrap().sha256;
    let in_use = repository::place(Which::Approvals, &served_target_name(path::REGISTER, &register));
    files.retain(|path, _| !path.ends_with(".register.json") || *path == in_use);
    in_force(files, Which::Approvals, 20, &root, &versions[1..]);
    let approval: ApprovalId = id("pump-2");
    let words = Words {
        name: id("kim"),
        role: "clinical engineering".to_owned(),
        meaning: Meaning::Approved,
        reason: "tested on the <bench>".to_owned(),
    };
    let statement = words.state(&id("riverside"), (&approval, head.unwrap()), &approver, signed).unwrap();
    files.insert(place(&statement), statement.bytes().to_vec());
    files.insert(kind::plan(&Digest::of(b"the plan")), b"the plan".to_vec());
    approval
}

fn approved(manifest: &Manifest, documents: &Documents) -> (Approval, OperatorDocument) {
    let words = OperatorDocument {
        kind: OperatorDocument::TYPE.to_owned(),
        format: 1,
        approval: id("pump-2"),
        approver: "kim".to_owned(),
        meaning: "approved".to_owned(),
        reason: "tested on the <bench>".to_owned(),
        ticket: "CHG-4711".to_owned(),
        rosters: documents.rosters.iter().map(|(pinned, _)| pinned.clone()).collect(),
        plan_sha256: Digest::of(b"the plan"),
    };
    let mut approval = approval("pump-2", at(END), &[wave(false), wave(false)]);
    let bytes = manifest.to_bytes().unwrap();
    approval.terms.steps[0].length = bytes.len() as u64;
    approval.terms.steps[0].sha256 = Digest::of(&bytes);
    approval.terms.operator_document = Pinned::of(path::operator_document(&id("pump-2")), &words.to_bytes().unwrap());
    (approval, words)
}

/// A line of the reports: the device's nth, of a phase, so many minutes after its slot began.
pub(super) fn line(device: u8, number: u64, phase: Phase, reason: Option<Reason>) -> Line {
    let begun = at(END) - SignedDuration::from_hours(1);
    let new = phase == Phase::Confirmed;
    let manifest = Digest::of(&manifest().to_bytes().unwrap());
    let (version, release) = if new { ("1.1.0", 2) } else { ("1.0.0", 1) };
    let report = Report {
        kind: Report::TYPE.to_owned(),
        hdo: id("riverside"),
        device: id(&format!("pump-{device}")),
        number,
        at: begun + SignedDuration::from_mins(number as i64),
        product: id("pump"),
        running: Running {
            version: version.parse().unwrap(),
            release: Release(release),
            manifest: if new { manifest } else { Digest::of(b"release 1") },
        },
        integrity: None,
        approval: Some(id("pump-2")),
        manifest: Some(manifest),
        phase,
        reason,
        stop: None,
        permanent: false,
        sources: None,
        took: Took::default(),
        catalog: None,
        approvals: None,
        record: None,
        log: None,
    };
    let signed = report.sign(&report_key(device)).unwrap();
    Line {
        device: report.device,
        number,
        key: report_key(device).public().to_string(),
        received: report.at + SignedDuration::from_secs(5),
        payload: String::from_utf8(signed.payload).unwrap(),
        signature: hex::encode(signed.signature.0),
    }
}

fn served(signed: &mut Files) -> Served {
    let member = |n: u8, standing: &str| served::Member {
        id: id(&format!("pump-{n}")),
        standing: standing.to_owned(),
        reason: None,
        forgiven: n == 2,
        barred: false,
        tries: u32::from(n == 2),
    };
    let device = |n: u8| served::Device {
        id: id(&format!("pump-{n}")),
        serial: format!("SN{n}"),
        udi: "(01)0950".to_owned(),
        state: "active".to_owned(),
        last_seen: Some(now()),
    };
    let decision = Decision {
        product: id("pump"),
        release: Release(2),
        plan_sha256: None,
        choice: Choice::Deferred,
        reason: "the ward is rebuilt".to_owned(),
        compensating: "a network of their own".to_owned(),
        review: "2027-01-15".parse().unwrap(),
    };
    let stated = Stated {
        kind: Stated::TYPE.to_owned(),
        format: 1,
        hdo: id("riverside"),
        manifest_sha256: Digest::of(&manifest().to_bytes().unwrap()),
        decision: decision.clone(),
        key: key(22).public(),
        name: id("kim"),
        decided_at: at("2026-11-15T00:00:00Z"),
    };
    signed.insert(kind::decision(3), stated.sign(&key(22)).unwrap().bytes().to_vec());
    Served {
        bundles: vec![served::Bundle {
            product: id("pump"),
            release: Release(2),
            version: "1.1.0".parse().unwrap(),
            published: at("2026-11-10T00:00:00Z"),
        }],
        rollouts: vec![served::Rollout {
            id: id("pump-2"),
            state: "complete".to_owned(),
            reason: None,
            created: at(END) - SignedDuration::from_hours(15),
            devices: vec![member(1, "confirmed"), member(2, "failed")],
        }],
        devices: vec![device(1), device(2)],
        forks: Vec::new(),
        decisions: vec![served::Decision {
            number: 3,
            product: id("pump"),
            release: Release(2),
            choice: "deferred".to_owned(),
            reason: decision.reason,
            compensating: decision.compensating,
            review: "2027-01-15".to_owned(),
            by: "kim".to_owned(),
            at: at("2026-11-15T00:00:00Z"),
            rollout: Some(id("pump-2")),
            later: None,
            signed: true,
        }],
        adoption: Vec::new(),
    }
}

/// Two letters of the manufacturer's, of which the hospital has acknowledged the second.
fn letters(files: &mut Files) {
    let mut previous = None;
    let mut write = |from: Side, number: u64, previous: Option<Digest>, about: (u64, Digest), by: u8| {
        let letter = Letter {
            kind: Letter::TYPE.to_owned(),
            format: 1,
            from,
            hdo: id("riverside"),
            number,
            previous,
            said: Said::Acknowledgement(Acknowledgement { number: about.0, sha256: about.1, text: "noted".to_owned() }),
            key: key(by).public(),
            name: id("ada"),
            written_at: at(END),
        };
        let letter = letter.sign(&key(by)).unwrap();
        files.insert(super::letters::place(from, number), letter.bytes().to_vec());
        letter.digest()
    };
    for number in 1..=2 {
        previous = Some(write(Side::Manufacturer, number, previous, (number, Digest::of(b"a report")), 12));
    }
    write(Side::Hospital, 1, None, (2, previous.unwrap()), 22);
}

/// A record of two entries, of which the second concerns the rollout.
fn record(files: &mut Files) {
    let log = key(40);
    let origin: suture_core::id::TrustDomain = "acme.example".parse().unwrap();
    let entry = |seq: u64, action: &str| Entry {
        kind: Entry::TYPE.to_owned(),
        seq,
        at: at(END),
        actor: "spiffe://acme.example/server".to_owned(),
        concerns: Concern::Hospital(id("riverside")),
        action: action.to_owned(),
        subject: "pump-2".to_owned(),
        detail: serde_json::Map::new(),
        salt: Salt([seq as u8; 16]),
    };
    let payloads = [entry(1, "server.init"), entry(2, "rollout.complete")].map(|e| e.to_bytes().unwrap());
    let mut tree = Frontier::EMPTY;
    for payload in &payloads {
        tree.push(&Digest::of(payload));
    }
    let path = vec![suture_core::audit::leaf_hash(Digest::of(&payloads[0]).as_bytes())];
    let line = audit::Line { seq: 2, payload: String::from_utf8(payloads[1].clone()).unwrap(), path };
    let note = Checkpoint::sign(tree.head(), &origin, &log).unwrap().note().to_owned();
    files.insert(audit::KEY.to_owned(), format!("{}\n", LogKey { origin, key: log.public() }).into_bytes());
    files.insert(audit::CHECKPOINT.to_owned(), note.into_bytes());
    files.insert(audit::ENTRIES.to_owned(), audit::to_bytes(&[line]).unwrap());
}

/// What `suturectl evidence rollout pump-2` would have gathered.
pub(super) fn gathered() -> Files {
    let mut files = Files::new();
    let manifest = catalog(&mut files);
    approvals(&mut files, &manifest);
    record(&mut files);
    letters(&mut files);
    served(&mut files.clone()).write(&mut files).unwrap();
    let mut signed = Files::new();
    served(&mut signed);
    files.extend(signed);
    let unhealthy = Reason { code: Code::HealthFailed, text: "<b>the alarm stays silent</b>".to_owned() };
    let lines = vec![
        line(1, 1, Phase::Installing, None),
        line(1, 2, Phase::Confirmed, None),
        line(2, 1, Phase::Installing, None),
        line(2, 2, Phase::FellBack, Some(unhealthy)),
    ];
    files.insert(reports::PATH.to_owned(), reports::to_bytes(lines).unwrap());
    files
}
