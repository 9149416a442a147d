//! A measurement: what a report and its step cost in a running rollout, by the size of the fleet. `tests/load/rollout.sh`
//! runs it and prints what it says.

use std::time::{Duration, Instant};

use suture_core::approval::Wave;
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::phase::Phase;
use suture_core::report::Signed;
use suture_core::sign::{LocalKey, Signer as _};
use zeroize::Zeroizing;

use super::fixture::{Ward, at, pump};
use crate::report::submit;
use crate::rollout::run;
use crate::store::devices::Enrolment;
use crate::store::suite::{STRICT, each, in_intensive_care};
use crate::store::{Driver, Store};

/// Devices in all, and in the waves before the last.
const FLEETS: [u32; 3] = [1_000, 10_000, 100_000];
const CANARY: u32 = 10;
const SECOND: u32 = 100;
/// What every device says in order.
const STORY: [Phase; 5] = [Phase::Fetching, Phase::Staged, Phase::Installing, Phase::Restarting, Phase::Confirmed];
/// Devices of the last wave that are heard, looks at a rollout in which nothing is due, and devices that time out one by one.
const HEARD: u32 = 100;
const LOOKS: u32 = 100;
const SILENT: u32 = 20;

/// Durations of the same thing.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    /// The one below which so many percent lie, in milliseconds.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e3
    }
}

#[tokio::test]
#[ignore = "a measurement of some minutes: tests/load/rollout.sh"]
async fn what_a_step_costs_by_the_size_of_the_fleet() {
    println!("database\tdevices\tbegin_ms\treport_ms\treport_p99_ms\tlast_wave_ms\topen_ms\tidle_look_ms\ttimeout_ms");
    each(async |store| {
        let kind = match store.driver() {
            Driver::Sqlite(_) => "SQLite",
            Driver::Postgres(_) => "PostgreSQL",
        };
        for devices in FLEETS {
            println!("{kind}\t{devices}\t{}", measured(&store, devices).await);
        }
    })
    .await;
}

/// The columns for one fleet.
async fn measured(store: &Store, devices: u32) -> String {
    let hundred = Wave { max_failures: SILENT, ..STRICT };
    let waves = [(STRICT, CANARY), (STRICT, SECOND), (hundred, devices - CANARY - SECOND)];
    let begun = Instant::now();
    let ward = Ward::begin_by(store, &format!("fleet-{devices}"), &waves).await;
    let begin = begun.elapsed();
    let key = LocalKey::from_seed(&Zeroizing::new([7; 32]));
    enroll(store, ward.hdo(), &key, devices).await;

    let mut said = vec![0_u64; devices as usize];
    let mut report = async |n: u32, phase: Phase| {
        said[n as usize] += 1;
        let signed: Signed = ward.report(&pump(n), phase, 2, said[n as usize], 10).sign(&key).unwrap();
        let begun = Instant::now();
        submit(store, ward.hdo(), &pump(n), &[signed], at(10)).await.unwrap();
        begun.elapsed()
    };
    for n in 0..CANARY {
        report(n, Phase::Confirmed).await;
    }
    // A wave of a hundred, whatever the fleet.
    let (mut reports, mut open) = (Samples::default(), Duration::ZERO);
    for phase in STORY {
        for n in CANARY..CANARY + SECOND {
            open = report(n, phase).await;
            reports.0.push(open);
        }
    }
    assert_eq!(ward.rollout().await.wave, 2, "the last of them has opened the next");
    // All the rest in one wave.
    let (mut last_wave, first) = (Samples::default(), CANARY + SECOND);
    for phase in [Phase::Fetching, Phase::Staged, Phase::Installing] {
        for n in first..first + HEARD {
            last_wave.0.push(report(n, phase).await);
        }
    }
    let (mut idle, mut timeout) = (Samples::default(), Samples::default());
    for _ in 0..LOOKS {
        let begun = Instant::now();
        assert!(!run::advance_all(store, at(11)).await.unwrap());
        idle.0.push(begun.elapsed());
    }
    // Each falls silent a second after the other.
    for n in 0..SILENT {
        let signed = ward.report(&pump(first + n), Phase::Restarting, 2, 4, 20).sign(&key).unwrap();
        submit(store, ward.hdo(), &pump(first + n), &[signed], at(-500 + i64::from(n))).await.unwrap();
    }
    for n in 0..SILENT {
        let begun = Instant::now();
        assert!(run::advance_all(store, at(100 + i64::from(n))).await.unwrap());
        timeout.0.push(begun.elapsed());
    }
    ward.check().await;
    ward.order(super::Order::Abort, 200).await.unwrap();
    format!(
        "{:.0}\t{:.2}\t{:.2}\t{:.2}\t{:.2}\t{:.2}\t{:.2}",
        begin.as_secs_f64() * 1e3,
        reports.percentile(50),
        reports.percentile(99),
        last_wave.percentile(50),
        open.as_secs_f64() * 1e3,
        idle.percentile(50),
        timeout.percentile(50)
    )
}

/// All devices enrol with one key, which the roster names, and are confirmed.
pub(super) async fn enroll(store: &Store, hdo: &HdoId, key: &LocalKey, devices: u32) {
    let record = |n| in_intensive_care(pump(n));
    let public = key.public();
    let seen = Digest::of(b"seen");
    let mut tx = store.begin().await.unwrap();
    tx.import_devices(hdo, &(0..devices).map(record).collect::<Vec<_>>(), at(0)).await.unwrap();
    for n in 0..devices {
        let enrolment = Enrolment { fingerprint: &seen, report_key: &public, now: at(0) };
        assert!(tx.enroll_device(hdo, &pump(n), enrolment).await.unwrap());
        assert!(tx.confirm_device(hdo, &pump(n), &seen, at(0)).await.unwrap());
    }
    let roster: Vec<_> = (0..devices).map(|n| (pump(n), public, "icu".parse().unwrap())).collect();
    tx.add_roster(hdo, "rosters/icu.json", &roster).await.unwrap();
    tx.commit().await.unwrap();
}
