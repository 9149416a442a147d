//! A hospital with one ward, and the plan that its tests approve and print.

use std::collections::BTreeSet;

use jiff::Timestamp;
use suture_core::approval::{Part, Pinned, Roster, RosterDevice, Step, Wave, path};
use suture_core::digest::Digest;
use suture_core::label::Labels;
use suture_core::manifest::{InstallKind, PatchClass, manifest_path};
use suture_core::plan::{Bundle, Facts, Known, Plan, Request, Selector, WaveSize, WaveSpec, plan};
use suture_core::report::Running;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::Status;
use suture_core::version::Release;
use suture_core::window::{Calendar, Scope, Window};

pub(in crate::cmd) fn id<T: std::str::FromStr<Err = suture_core::id::IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(in crate::cmd) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A Monday.
pub(in crate::cmd) fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn pinned(path: String) -> Pinned {
    Pinned { length: 1, sha256: Digest::of(path.as_bytes()), path }
}

/// Two pumps and a monitor board in `icu`, which opens on Tuesdays at 02:00 in Vienna.
pub(in crate::cmd) fn facts() -> Facts {
    let report_key = LocalKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public();
    let device = |name: &str, hardware: &str| RosterDevice {
        id: id(name),
        report_key,
        product: id("pump"),
        hardware: id(hardware),
        ward: id("icu"),
        labels: Labels::default(),
    };
    let devices = vec![device("p1", "rev-a"), device("p2", "rev-a"), device("p3", "rev-z")];
    let roster = Roster::new(id("riverside"), Part::ALL, devices);
    let calendar = Calendar {
        windows: vec![Window::parse_weekly("tue 02:00 2h").unwrap()],
        ..Calendar::empty(id("riverside"), Scope::Ward(id("icu")), "Europe/Vienna".to_owned())
    };
    Facts {
        hdo: id("riverside"),
        bundle: Bundle {
            step: Step {
                path: manifest_path(&id("pump"), Release(5)),
                length: 900,
                sha256: Digest::of(b"release 5"),
                product: id("pump"),
                release: Release(5),
                hardware: vec![id("rev-a")],
            },
            version: "5.0.0".parse().unwrap(),
            class: PatchClass::OutOfCycle,
            min_release: Release(0),
            status: Status::Current,
            floors: Vec::new(),
            budget_secs: 600,
            revert_budget_secs: 300,
            return_to_service: false,
            installer: InstallKind::Slots,
            data: None,
            payload_bytes: 1 << 20,
            risks: Vec::new(),
        },
        releases: Vec::new(),
        rosters: vec![(pinned(path::roster(Part::ALL)), roster)],
        calendars: vec![(pinned(path::calendar(&Scope::Ward(id("icu")))), calendar)],
        approvals: Vec::new(),
        stops: Vec::new(),
    }
}

/// Another release of the pump, on the way to 5.
pub(in crate::cmd) fn between(release: u64) -> Bundle {
    let bundle = facts().bundle;
    let step = Step {
        path: manifest_path(&id("pump"), Release(release)),
        sha256: Digest::of(format!("release {release}").as_bytes()),
        release: Release(release),
        ..bundle.step
    };
    Bundle { step, version: format!("{release}.0.0").parse().unwrap(), ..bundle }
}

/// That a pump has proven to run a release.
pub(in crate::cmd) fn on(name: &str, release: u64) -> Known {
    let running = Running {
        version: format!("{release}.0.0").parse().unwrap(),
        release: Release(release),
        manifest: Digest::of(format!("release {release}").as_bytes()),
    };
    Known {
        id: id(name),
        ward: None,
        product: None,
        running: Some(running),
        installs: None,
        proven: true,
        settled: true,
    }
}

/// One pump, then the other after a soak; the third's board is another.
pub(in crate::cmd) fn planned(facts: &Facts) -> Plan {
    let gate = Wave {
        needs_server: true,
        needs_signature: false,
        min_confirmed_percent: 90,
        max_failures: 0,
        max_failed_percent: 100,
        soak_secs: 1_800,
    };
    let wave = |size| WaveSpec { size, gate: gate.clone() };
    let request = Request {
        approval: id("pump-5"),
        selector: Selector::default(),
        waves: vec![wave(WaveSize::Count(1)), wave(WaveSize::Rest)],
        cap: 1,
        slack_secs: 300,
        slots_per_device: 2,
        not_before: now(),
        spread_secs: Some(0),
        horizon_secs: 14 * 86_400,
        deadline: None,
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        leases: false,
        permit_downgrade: false,
        supersedes: BTreeSet::new(),
        reuse_slots: false,
        ticket: "CHG-1".to_owned(),
    };
    plan(facts, &request, &[], now()).unwrap()
}
