//! What one device of a hospital of 50,000 fetches after each kind of change, counted at the device's own code.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use suture_agent::client::{ClientError, Files, Which};
use suture_agent::documents::documents;
use suture_agent::identity::Device;
use suture_agent::trust_store::TrustStore;
use suture_core::approval::path::Registered;
use suture_core::approval::{
    Approval, DeviceSlots, Gates, Opened, OperatorDocument, Pinned, Register, Roster, RosterDevice, Share,
    SignedDocument as _, Slot, Step, StopOrder, Terms, VerifiedStop, Wave, path,
};
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, IdError};
use suture_core::label::Labels;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::edit::{self, APPROVALS_LIFETIME, ROOT_LIFETIME, RoleDraft, RootDraft, TargetsDraft};
use suture_core::trust::{Metadata, News, Role, Root, Snapshot, Targets, Verified};
use suture_core::version::Release;
use suture_core::window::{Calendar, Scope, Window};
use suture_ctl::hospital::{Documents, Edit};
use zeroize::Zeroizing;

const DEVICES: usize = 50_000;
const WARDS: usize = 300;
/// The one that is looked at, and the wave that it is in.
const DEVICE: usize = 123;
const WAVE: u32 = 0;
/// What a device may fetch after a change.
const BOUND: usize = 64 << 10;
/// What no device may read.
const SECRETS: [&[u8]; 4] = [b"ward-", b"Dr. Kim Novak", b"the alarm fails", b"CHG-"];

fn id<T: std::str::FromStr<Err = IdError>>(text: impl AsRef<str>) -> T {
    text.as_ref().parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn name(n: usize) -> DeviceId {
    id(format!("d-{n:05}"))
}

/// The hospital's repository as a server holds it, signed step by step.
struct Hospital {
    key: LocalKey,
    root: Verified<Root>,
    targets: Verified<Targets>,
    documents: Documents,
    /// Documents by the names that they are served under.
    served: BTreeMap<String, Vec<u8>>,
    online: u64,
    snapshot: Vec<u8>,
    timestamp: Vec<u8>,
}

impl Hospital {
    fn open() -> Self {
        let key = LocalKey::from_seed(&Zeroizing::new([3; 32]));
        let role = || RoleDraft::single(key.public());
        let expires = now() + ROOT_LIFETIME;
        let draft =
            RootDraft { version: 1, expires, root: role(), targets: role(), snapshot: role(), timestamp: role() };
        let root: Verified<Root> = Verified::pinned(&edit::sign_root(&draft, &[&key]).unwrap()).unwrap();
        let first = edit::sign_targets(&TargetsDraft::first(now(), APPROVALS_LIFETIME), &[&key]).unwrap();
        let targets = Verified::by(&root, &first).unwrap();
        let mut hospital = Self {
            key,
            root,
            targets,
            documents: Documents::default(),
            served: BTreeMap::new(),
            online: 0,
            snapshot: Vec::new(),
            timestamp: Vec::new(),
        };
        hospital.sign(&[], |edit| {
            (0..DEVICES).for_each(|n| edit.admit(hospital_device(n, n % WARDS)).unwrap());
            (0..WARDS).for_each(|n| edit.set_calendar(&calendar(n, "sat,sun 02:00 4h")).unwrap());
        });
        // 20 that are live, of 2,500 devices each, and one of 10,000; the device is in one of them.
        let live: Vec<_> = (0..20).map(|n| approval(&format!("a-{n:02}"), n * 2_500..(n + 1) * 2_500)).collect();
        hospital.sign(&live, |_| {});
        hospital.sign(&[approval("a-20", 40_000..50_000)], |_| {});
        hospital
    }

    fn sign(&mut self, approvals: &[(Approval, OperatorDocument)], change: impl FnOnce(&mut Edit<'_>)) {
        let mut edit = Edit::after(id("riverside"), &self.targets, &self.documents, now());
        change(&mut edit);
        for (approval, operator) in approvals {
            edit.approve(approval, operator).unwrap();
        }
        let edited = edit.sign(&[&self.key]).unwrap();
        self.targets = Verified::by(&self.root, &edited.targets).unwrap();
        self.online += 1;
        let expires = now() + edit::ONLINE_LIFETIME;
        self.snapshot = edit::sign_snapshot(self.online, expires, &self.targets, &self.key).unwrap();
        self.stamp();
        self.documents.approvals.extend(approvals.iter().map(|(approval, _)| approval.clone()));
        for (path, bytes) in edited.files {
            self.learn(&path, &bytes);
            self.served.insert(Pinned::of(path, &bytes).file_name(), bytes);
        }
    }

    /// A day passes in which nobody signs: the server signs the timestamp anew.
    fn stamp(&mut self) {
        let snapshot: Verified<Snapshot> = Verified::by(&self.root, &self.snapshot).unwrap();
        self.online += 1;
        self.timestamp =
            edit::sign_timestamp(self.online, now() + edit::ONLINE_LIFETIME, &snapshot, &self.key).unwrap();
    }

    /// As the operators' program reads it back, of what is new.
    fn learn(&mut self, path: &str, bytes: &[u8]) {
        if path == path::REGISTER {
            self.documents.registered = Register::parse(bytes).unwrap().files;
            let listed: Vec<&str> = self.documents.registered.iter().map(|p| p.path.as_str()).collect();
            self.documents.rosters.retain(|(pinned, _)| listed.contains(&pinned.path.as_str()));
        }
        if let Some(Registered::Roster(part)) = Registered::of(path) {
            self.documents.rosters.retain(|(_, roster)| roster.part != part);
            self.documents.rosters.push((Pinned::of(path.to_owned(), bytes), Roster::parse(bytes).unwrap()));
        }
        if path.starts_with("gates/") {
            let gates = Gates::parse(bytes).unwrap();
            self.documents.gates.retain(|known| known.approval != gates.approval);
            self.documents.gates.push(gates);
        }
    }

    /// An approver opens the wave of the device.
    fn open_wave(&mut self, approval: &str) {
        let (approver, reason) = ("Dr. Kim Novak".to_owned(), "the alarm fails no more".to_owned());
        self.sign(&[], |edit| edit.open(&id(approval), WAVE, approver, reason).unwrap());
    }

    fn stop(&mut self, approval: &str) {
        let order = StopOrder::next(id("riverside"), id(approval), None, true, now()).unwrap();
        let order = order.sign(&[&self.key]).unwrap();
        let order = VerifiedStop::verify(&self.root, &id("riverside"), &order).unwrap();
        self.sign(&[], |edit| edit.stop(&order));
    }
}

fn hospital_device(n: usize, ward: usize) -> RosterDevice {
    let report_key = LocalKey::from_seed(&Zeroizing::new([9; 32])).public();
    RosterDevice {
        id: name(n),
        report_key,
        product: id("pump"),
        hardware: id("rev-a"),
        ward: id(format!("ward-{ward}")),
        labels: Labels::default(),
    }
}

fn calendar(ward: usize, window: &str) -> Calendar {
    Calendar {
        windows: vec![Window::parse_weekly(window).unwrap()],
        ..Calendar::empty(id("riverside"), Scope::Ward(id(format!("ward-{ward}"))), "Europe/Vienna".to_owned())
    }
}

/// Three slots each, in the night hours of three days.
fn approval(name: &str, devices: std::ops::Range<usize>) -> (Approval, OperatorDocument) {
    let hours = SignedDuration::from_hours;
    let operator = OperatorDocument {
        kind: OperatorDocument::TYPE.to_owned(),
        format: 1,
        approval: id(name),
        approver: "kim".to_owned(),
        meaning: "approved".to_owned(),
        reason: "the alarm fails".to_owned(),
        ticket: "CHG-4711".to_owned(),
        rosters: Vec::new(),
        plan_sha256: Digest::of(b"plan"),
    };
    let terms = Terms {
        id: id(name),
        hdo: id("riverside"),
        created: now(),
        expires: now() + hours(24 * 10),
        steps: vec![Step {
            path: "bundles/pump/2/manifest.json".to_owned(),
            length: 1_000,
            sha256: Digest::of(b"manifest"),
            product: id("pump"),
            release: Release(2),
            hardware: vec![id("rev-a"), id("rev-b")],
        }],
        supersedes: Vec::new(),
        waves: vec![
            Wave {
                needs_server: true,
                needs_signature: false,
                min_confirmed_percent: 95,
                max_failures: 2,
                max_failed_percent: 100,
                soak_secs: 3_600
            };
            3
        ],
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        needs_lease: false,
        ward_cap: 1,
        permit_downgrade: false,
        operator_document: Pinned::of(path::operator_document(&id(name)), &operator.to_bytes().unwrap()),
    };
    let slot = |n: usize, day: i64| {
        let start = now() + hours(24 * day) + SignedDuration::from_mins(i64::try_from(n % 480).unwrap());
        Slot { start, end: start + SignedDuration::from_mins(25) }
    };
    let device = |n: usize| DeviceSlots {
        steps: Vec::new(),
        id: self::name(n),
        wave: u32::try_from(n % 3).unwrap(),
        slots: (1..=3).map(|day| slot(n, day)).collect(),
    };
    (Approval { terms, devices: devices.map(device).collect() }, operator)
}

/// The same, of waves that wait for the hospital's signature.
fn gated(name: &str, devices: std::ops::Range<usize>) -> (Approval, OperatorDocument) {
    let (mut approval, operator) = approval(name, devices);
    approval.terms.waves.iter_mut().for_each(|wave| wave.needs_signature = true);
    (approval, operator)
}

/// The server, which counts what it gives.
struct Counting<'a> {
    hospital: &'a Hospital,
    calls: usize,
    bytes: usize,
    read: Vec<Vec<u8>>,
}

impl Counting<'_> {
    fn give(&mut self, content: Vec<u8>) -> Vec<u8> {
        self.bytes += content.len();
        self.read.push(content.clone());
        content
    }
}

impl Files for Counting<'_> {
    async fn metadata(&mut self, _: Which, name: &str, _: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.calls += 1;
        let root = (name == "1.root.json").then(|| self.hospital.root.bytes().to_vec());
        Ok(root.map(|root| self.give(root)))
    }

    async fn target(&mut self, _: Which, name: &str, _: u64) -> Result<Vec<u8>, ClientError> {
        self.calls += 1;
        let content = self.hospital.served.get(name).cloned();
        content.map(|c| self.give(c)).ok_or_else(|| ClientError::Stick { text: format!("no {name}") })
    }
}

/// The devices that files name.
fn neighbours(files: &[Vec<u8>]) -> BTreeSet<&[u8]> {
    let named = |text: &&[u8]| text.starts_with(b"d-") && text[2..].iter().all(u8::is_ascii_digit);
    files.iter().flat_map(|file| file.windows(7)).filter(named).collect()
}

/// What one refresh came to.
struct Fetched {
    /// The call that asks what is new, and those after it.
    calls: usize,
    /// Of all files together.
    bytes: usize,
    /// The files.
    read: Vec<Vec<u8>>,
}

/// One refresh of one device: what differs from what it holds comes in one answer, the rest it fetches.
async fn refresh(hospital: &Hospital, store: &TrustStore, device: &Device) -> Fetched {
    let held = store.held().unwrap();
    let (snapshot, targets): (Verified<Snapshot>, _) =
        (Verified::by(&hospital.root, &hospital.snapshot).unwrap(), &hospital.targets);
    let files = [
        (held.timestamp, Role::Timestamp.file_name().to_owned(), &hospital.timestamp[..]),
        (held.snapshot, Role::Snapshot.served_name(Metadata::version(&*snapshot)), &hospital.snapshot[..]),
        (held.targets, Role::Targets.served_name(Metadata::version(&**targets)), targets.bytes()),
    ];
    let new = files.into_iter().filter(|(held, _, bytes)| *held != Some(Digest::of(bytes)));
    let new: Vec<(String, Vec<u8>)> = new.map(|(_, name, bytes)| (name, bytes.to_vec())).collect();
    let mut server = Counting { hospital, calls: 1, bytes: 0, read: Vec::new() };
    new.iter().for_each(|(_, bytes)| drop(server.give(bytes.clone())));
    let news = News::new(new, Some(1), held.timestamp == Some(Digest::of(&hospital.timestamp)));
    let repository = store.refresh(&mut server, news, now()).await.unwrap();
    let listed = documents(store, &mut server, &repository, device).await.unwrap();
    assert_eq!(listed.approvals.len(), hospital.documents.approvals.len());
    for share in &listed.approvals {
        let whole = hospital.documents.approval(&share.terms.id).unwrap();
        let opened = hospital.documents.opened(&share.terms.id);
        let gated = share.mine.as_ref().is_some_and(|mine| share.terms.waves[mine.wave as usize].needs_signature);
        assert_eq!(share.opened, if gated { opened } else { Opened::Nothing });
        let share = Share { opened: Opened::Nothing, ..share.clone() };
        assert_eq!(share, whole.share(&device.device), "as the operators read it");
    }
    Fetched { calls: server.calls, bytes: server.bytes, read: server.read }
}

#[tokio::test]
async fn what_a_device_of_a_hospital_of_50_000_fetches_after_each_change() {
    let mut hospital = Hospital::open();
    let device = Device {
        server: "https://localhost:1".to_owned(),
        trust_domain: "acme.example".parse().unwrap(),
        hdo: id("riverside"),
        device: name(DEVICE),
        catalog_root_sha256: Digest::of(b"catalog"),
        approvals_root_sha256: hospital.root.digest(),
        audit_key: None,
    };
    let dir = tempfile::tempdir().unwrap();
    let store = TrustStore::open(dir.path(), Which::Approvals, device.approvals_root_sha256).unwrap();
    let first = refresh(&hospital, &store, &device).await;
    println!(
        "all of {DEVICES} devices' hospital, for one that knows nothing: {} calls, {} bytes",
        first.calls, first.bytes
    );

    type Change = fn(&mut Hospital);
    let changes: [(&str, Change); 13] = [
        ("nothing", |_| {}),
        ("a day: the server signs the timestamp anew", Hospital::stamp),
        ("an approval of 2,500 devices that names it", |h| h.sign(&[approval("b-0", 0..2_500)], |_| {})),
        ("an approval of 2,500 devices that does not", |h| h.sign(&[approval("b-1", 5_000..7_500)], |_| {})),
        ("an approval of 10,000 devices that names it", |h| h.sign(&[approval("b-2", 0..10_000)], |_| {})),
        ("a ward's calendar", |h| h.sign(&[], |e| e.set_calendar(&calendar(7, "sun 03:00 1h")).unwrap())),
        ("a roster: a device that moves to another ward", |h| {
            h.sign(&[], |e| e.admit(hospital_device(DEVICE, 9)).unwrap());
        }),
        ("a roster: a new device", |h| h.sign(&[], |e| e.admit(hospital_device(DEVICES, 9)).unwrap())),
        ("an approval that names it, whose waves wait for a signature", |h| h.sign(&[gated("b-3", 0..2_500)], |_| {})),
        ("a gate: its wave is signed open", |h| h.open_wave("b-3")),
        ("an approval that does not, with such waves", |h| h.sign(&[gated("b-4", 5_000..7_500)], |_| {})),
        ("a gate of an approval that does not name it", |h| h.open_wave("b-4")),
        ("a stop order", |h| h.stop("b-0")),
    ];
    println!("{:59} {:>6} {:>8}", "after", "calls", "bytes");
    for (what, change) in changes {
        change(&mut hospital);
        let Fetched { calls, bytes, read } = refresh(&hospital, &store, &device).await;
        println!("{what:59} {calls:>6} {bytes:>8}");
        assert!(bytes <= BOUND, "{what}: {bytes} bytes");
        assert!(what != "nothing" || (calls, bytes) == (1, 0));
        let gates = read.iter().filter(|file| file.windows(12).any(|w| w == b"suture-gates")).count();
        assert_eq!(gates, usize::from(what == "a gate: its wave is signed open"), "{what}");
        for secret in SECRETS {
            assert!(!read.iter().any(|file| file.windows(secret.len()).any(|w| w == secret)), "{what}: {secret:?}");
        }
        assert!(neighbours(&read).len() < 200, "{what}: it tells a device of many others");
    }
    let rosters = &hospital.documents.rosters;
    assert_eq!(rosters.iter().map(|(_, r)| r.devices.len()).sum::<usize>(), DEVICES + 1);
    println!(
        "{} rosters, the largest of {} bytes",
        rosters.len(),
        rosters.iter().map(|(p, _)| p.length).max().unwrap()
    );
}
