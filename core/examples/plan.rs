//! Plans for hospitals of a thousand, ten thousand and a hundred thousand devices, and prints what that took.
//!
//! ```sh
//! cargo run --release -p suture-core --example plan
//! ```
//!
//! Time is what the planner spent on a processor; memory is the most that the process held while it planned, above what it
//! held before: the signed rosters and the inventory, of which a hospital's program has one each, are not the planner's. Pages
//! that an earlier line has given back count as held, so the first line of a size says most. An approval names ten thousand
//! devices at most, so a larger hospital is planned by a label, or ward by ward.

#![expect(clippy::print_stdout, reason = "what it measures is for whoever ran it")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use jiff::Timestamp;
use suture_core::approval::{Part, Pinned, Roster, RosterDevice, Step, Wave, path};
use suture_core::digest::Digest;
use suture_core::limits::MAX_ROSTER_DEVICES;
use suture_core::manifest::{InstallKind, PatchClass};
use suture_core::plan::{Bundle, Facts, Floor, Known, Plan, Request, Selector, WaveSize, WaveSpec, plan};
use suture_core::report::Running;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::Status;
use suture_core::version::Release;
use suture_core::window::{Calendar, Scope, Window};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Devices of one ward.
const WARD: usize = 100;

/// A release of the pump that takes `least` or later as a start.
fn bundle(release: u64, least: u64) -> Outcome<Bundle> {
    let floor = |release| Floor { release: Release(release), floor: Release(0), status: Status::Current };
    Ok(Bundle {
        step: Step {
            path: format!("bundles/pump/{release}/manifest.json"),
            length: 900,
            sha256: Digest::of(&release.to_be_bytes()),
            product: "pump".parse()?,
            release: Release(release),
            hardware: vec!["rev-a".parse()?],
        },
        version: format!("{release}.0.0").parse()?,
        class: PatchClass::Routine,
        min_release: Release(least),
        status: Status::Current,
        floors: (1..=release).map(floor).collect(),
        budget_secs: 300,
        revert_budget_secs: 120,
        return_to_service: false,
        installer: InstallKind::Slots,
        data: None,
        payload_bytes: 450 << 20,
        risks: Vec::new(),
    })
}

/// So many devices in wards of `ward` each; one in ten runs a release that leads to the bundle in two steps, and each tenth
/// of them has a label of its own.
fn hospital(devices: usize, ward: usize) -> Outcome<(Facts, Vec<Known>)> {
    let report_key = LocalKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public();
    let mut roster = Vec::with_capacity(devices);
    let mut inventory = Vec::with_capacity(devices);
    for n in 0..devices {
        let entry = RosterDevice {
            id: format!("pump-{n:06}").parse()?,
            report_key,
            product: "pump".parse()?,
            hardware: "rev-a".parse()?,
            ward: format!("ward-{:04}", n / ward).parse()?,
            labels: format!("tenth=t{} kind=bedside", n % 10).parse()?,
        };
        let release = Release(if n % 10 == 0 { 1 } else { 3 });
        let running = Running {
            version: format!("{release}.0.0").parse()?,
            release,
            manifest: Digest::of(&release.0.to_be_bytes()),
        };
        inventory.push(Known {
            id: entry.id.clone(),
            ward: Some(entry.ward.clone()),
            product: Some(entry.product.clone()),
            running: Some(running),
            installs: None,
            proven: true,
            settled: true,
        });
        roster.push(entry);
    }
    let hdo: suture_core::id::HdoId = "riverside".parse()?;
    let parts = u32::try_from((2 * devices / MAX_ROSTER_DEVICES).max(1).next_power_of_two())?;
    let mut shares: Vec<Vec<RosterDevice>> = vec![Vec::new(); parts as usize];
    for device in roster {
        if let Some(share) = shares.get_mut(Part::of(&device.id, parts).number()) {
            share.push(device);
        }
    }
    let rosters = Part::split(parts)
        .zip(shares)
        .map(|(part, devices)| (Pinned::of(path::roster(part), b"roster"), Roster::new(hdo.clone(), part, devices)));
    let mut calendars = Vec::new();
    for n in 0..devices.div_ceil(ward) {
        let scope = Scope::Ward(format!("ward-{n:04}").parse()?);
        let window = Window::parse_weekly("daily 00:00 6h")?;
        let calendar = Calendar {
            windows: vec![window],
            ..Calendar::empty(hdo.clone(), scope.clone(), "Europe/Vienna".to_owned())
        };
        calendars.push((Pinned::of(path::calendar(&scope), b"calendar"), calendar));
    }
    let facts = Facts {
        hdo: hdo.clone(),
        bundle: bundle(5, 3)?,
        releases: vec![bundle(2, 1)?, bundle(3, 1)?, bundle(4, 3)?],
        rosters: rosters.collect(),
        calendars,
        approvals: Vec::new(),
        stops: Vec::new(),
    };
    Ok((facts, inventory))
}

fn request(selector: Selector, cap: u32, now: Timestamp) -> Outcome<Request> {
    let gate = Wave {
        needs_server: true,
        needs_signature: false,
        min_confirmed_percent: 95,
        max_failures: 1,
        max_failed_percent: 5,
        soak_secs: 3_600,
    };
    let wave = |size| WaveSpec { size, gate: gate.clone() };
    Ok(Request {
        approval: "pump-5".parse()?,
        selector,
        waves: vec![wave(WaveSize::Count(1)), wave(WaveSize::Percent(10)), wave(WaveSize::Rest)],
        cap,
        slack_secs: 600,
        slots_per_device: 3,
        spread_secs: None,
        not_before: now,
        horizon_secs: 60 * 86_400,
        deadline: None,
        max_attempts: 1,
        retry_wait_secs: 0,
        attempt_timeout_secs: 3_600,
        leases: false,
        permit_downgrade: false,
        supersedes: BTreeSet::new(),
        reuse_slots: false,
        ticket: String::new(),
    })
}

/// What one way of asking took, printed.
fn measure(
    name: &str,
    devices: usize,
    facts: &Facts,
    inventory: &[Known],
    requests: &[Request],
    now: Timestamp,
) -> Outcome<()> {
    // From here on the kernel counts the most that is held anew.
    fs::write("/proc/self/clear_refs", "5")?;
    let (held, before) = (memory("VmRSS")?, cpu_secs()?);
    let (mut planned, mut slots, mut left_out) = (0, 0, 0);
    for request in requests {
        let Plan { devices, blocked, .. } = plan(facts, request, inventory, now)?;
        planned += devices.len();
        left_out += blocked.len();
        slots += devices.iter().map(|d| d.slots.len()).sum::<usize>();
    }
    let (secs, most) = (cpu_secs()? - before, memory("VmHWM")? - held);
    let each = secs * 1e6 / (planned.max(1) as f64);
    println!(
        "{devices:>7}  {name:<26} {:>6} {planned:>8} {left_out:>8} {slots:>8} {secs:>9.3} {each:>10.1} {most:>8.1}",
        requests.len()
    );
    Ok(())
}

fn memory(field: &str) -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// Seconds that the process has spent on processors; the kernel counts hundredths.
fn cpu_secs() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).ok_or("no stat")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

fn main() -> Outcome<()> {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse()?;
    println!(
        "{:>7}  {:<26} {:>6} {:>8} {:>8} {:>8} {:>9} {:>10} {:>8}",
        "devices", "asked for", "plans", "planned", "left out", "slots", "CPU s", "us/device", "MiB"
    );
    for devices in [1_000, 10_000, 100_000] {
        let (facts, inventory) = hospital(devices, WARD)?;
        if devices <= 10_000 {
            let all = request(Selector::default(), 4, now)?;
            measure("all", devices, &facts, &inventory, &[all], now)?;
        }
        let labels = ["tenth=t3".parse()?].into_iter().collect();
        let tenth = request(Selector { labels, ..Selector::default() }, 4, now)?;
        measure("a tenth, by label", devices, &facts, &inventory, &[tenth], now)?;
        let one = Selector { wards: ["ward-0003".parse()?].into(), ..Selector::default() };
        measure("one ward", devices, &facts, &inventory, &[request(one, 4, now)?], now)?;
        // Ten wards in one approval, and as many approvals as it takes.
        let wards: Vec<_> =
            (0..devices.div_ceil(WARD)).map(|n| format!("ward-{n:04}").parse()).collect::<Result<_, _>>()?;
        let by_tens: Vec<Request> = wards
            .chunks(10)
            .map(|ten| request(Selector { wards: ten.iter().cloned().collect(), ..Selector::default() }, 4, now))
            .collect::<Outcome<_>>()?;
        measure("all, ten wards a plan", devices, &facts, &inventory, &by_tens, now)?;
    }
    // The worst that a hospital can make of its wards: all in one.
    for devices in [1_000, 10_000] {
        let (facts, inventory) = hospital(devices, devices)?;
        let all = request(Selector::default(), 40, now)?;
        measure("all in one ward, cap 40", devices, &facts, &inventory, &[all], now)?;
    }
    Ok(())
}
