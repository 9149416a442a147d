//! Devices whose clocks are wrong while everybody else's are right.

use std::fs;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::Clock as _;
use suture_tests::world::{Device, TestClock};

use crate::hospital::{Hospital, PLAN, untouched};

fn stands_at(at: Timestamp) -> Arc<TestClock> {
    let clock = TestClock::start();
    clock.set(at);
    Arc::new(clock)
}

fn kept(pump: &Device, name: &str) -> String {
    fs::read_to_string(pump.dir.join("state").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_battery() {
    for wakes in ["1970-01-01T00:00:10Z", "2000-01-01T00:00:00Z"] {
        let mut hospital = Hospital::open().await;
        assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
        let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
        let (rollout, start, _) = hospital.approve(draft).await;
        hospital.world.clock.set(start);

        // It installs nothing, and still says why: by that clock no certificate is valid yet.
        hospital.pumps[0].with_clock(stands_at(wakes.parse().unwrap()));
        assert_eq!(hospital.pumps[0].cycle().await, "idle(clock-unproven)");
        assert!(hospital.why().await.contains(&"clock-unproven".to_owned()), "{wakes}");
        hospital.untouched();

        // Somebody, or the network's time, sets it.
        let clock = hospital.world.clock.clone();
        hospital.pumps[0].with_clock(clock);
        hospital.confirms(&rollout).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_battery_and_a_certificate_that_expired_meanwhile() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let expired = kept(&hospital.pumps[0], "identity/tls.pem");
    hospital.world.idle(60).await;
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    hospital.pumps[0].with_clock(stands_at("1970-01-01T00:00:10Z".parse().unwrap()));
    // By its own clock the certificate is as good as new; the server knows better, and renews it.
    assert_eq!(hospital.pumps[0].cycle().await, "idle(clock-unproven)");
    assert_ne!(kept(&hospital.pumps[0], "identity/tls.pem"), expired);
    assert!(hospital.why().await.contains(&"clock-unproven".to_owned()));

    let clock = hospital.world.clock.clone();
    hospital.pumps[0].with_clock(clock);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_far_ahead_and_then_right() {
    // Near enough that the server's certificate still counts, and so far that none does.
    for days in [40, 5_000] {
        let mut hospital = Hospital::open().await;
        assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
        let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
        let (rollout, start, _) = hospital.approve(draft).await;
        hospital.world.clock.set(start);
        let (floors, identity) = (kept(&hospital.pumps[0], "floor.json"), kept(&hospital.pumps[0], "identity/tls.pem"));

        let ahead = hospital.world.clock.now() + SignedDuration::from_hours(24 * days);
        hospital.pumps[0].with_clock(stands_at(ahead));
        for _ in 0..3 {
            assert_eq!(hospital.pumps[0].cycle().await, "idle(metadata-expired)", "{days} days ahead");
        }
        untouched(&hospital.pumps[0], "1.0.0");
        let raised: serde_json::Value = serde_json::from_str(&kept(&hospital.pumps[0], "floor.json")).unwrap();
        let before: serde_json::Value = serde_json::from_str(&floors).unwrap();
        let time = |floors: &serde_json::Value| floors["time"].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert!(time(&raised) >= time(&before) && time(&raised) <= start, "no floor was poisoned: {raised}");
        assert_eq!(kept(&hospital.pumps[0], "identity/tls.pem"), identity, "no certificate was lost");

        let clock = hospital.world.clock.clone();
        hospital.pumps[0].with_clock(clock);
        hospital.confirms(&rollout).await;
    }
}

/// By the clock of a battery that died, by one that somebody set wrong, and by one that no certificate outlives.
const WRONG: [&str; 3] = ["1970-01-01T00:00:10Z", "2099-06-01T00:00:00Z", "2026-01-01T00:00:00Z"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_wrong_once_the_new_version_is_staged() {
    for wakes in WRONG {
        let mut hospital = Hospital::open().await;
        let draft = hospital.later_draft().await;
        let (rollout, start, _) = hospital.approve(draft).await;
        assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");

        hospital.pumps[0].with_clock(stands_at(wakes.parse().unwrap()));
        for _ in 0..3 {
            let state = hospital.pumps[0].cycle().await;
            assert!(
                ["waiting(clock-unproven)", "waiting(metadata-expired)"].contains(&state.as_str()),
                "{wakes}: {state}"
            );
        }
        hospital.untouched();

        // Once it is right the device goes on from where it was, with what it has.
        let clock = hospital.world.clock.clone();
        hospital.pumps[0].with_clock(clock);
        hospital.world.clock.set(start);
        hospital.confirms(&rollout).await;
        assert_eq!(hospital.pumps[0].fetched_chunks(), 0, "{wakes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_wrong_past_the_switch() {
    for wakes in WRONG {
        let mut hospital = Hospital::open().await;
        let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
        let (rollout, start, _) = hospital.approve(draft).await;
        let pump = &mut hospital.pumps[0];
        pump.configure("rev-a", &[pump.dir.join("restart.sh").to_str().unwrap(), "now"]);
        let mut gate = pump.gated("restart", "now");
        hospital.world.clock.set(start);
        tokio::select! {
            state = pump.cycle() => panic!("it came to {state} without a restart"),
            () = gate.reached() => {}
        }
        // The power fails, and with it the clock. Past the switch a device asks neither for the time nor for the server.
        pump.with_clock(stands_at(wakes.parse().unwrap()));
        gate.open().await;
        pump.cycle().await;
        assert_eq!(
            (pump.runs().as_str(), pump.interlock_log()),
            ("1.1.0", vec!["claim".into(), "claim".into(), "release".into()]),
            "{wakes}"
        );

        let clock = hospital.world.clock.clone();
        hospital.pumps[0].with_clock(clock);
        assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)", "{wakes}");
        assert_eq!(hospital.reported(&rollout).await.0, "confirmed", "{wakes}");
        assert_eq!(hospital.pumps[0].runs(), "1.1.0");
    }
}
