//! The manufacturer withdraws a bundle: every rollout of it halts in every hospital at once, those who watch are told, and
//! no device begins.

use std::time::Duration;

use serde_json::{Value, json};
use suture_proto::v1;
use suture_tests::world::{Device, Operator, text};

use crate::hospital::{Hospital, untouched};

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another hospital of the same manufacturer, with one pump.
async fn neighbour(hospital: &Hospital) -> (Operator, Device) {
    let lee = hospital.neighbour().await;
    let mut pumps = hospital.world.devices(&lee, &["pump-8"], &hospital.first).await;
    (lee, pumps.remove(0))
}

/// Plans the second release for all pumps of the ward, the first of them first, and approves it; the rollout's id.
async fn approve(hospital: &Hospital, by: &Operator, name: &str) -> String {
    let file = hospital.world.path(format!("plan-{name}.json"));
    let plan = ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--slots", "1", "--slack", "60s"];
    let plan = by.json(&[&plan[..], &["-o", text(&file)]].concat()).await.unwrap();
    let digest = plan["sha256"].as_str().unwrap();
    let approved = by.json(&["rollout", "approve", digest, "--reason", "tested"]).await.unwrap();
    approved["rollout"].as_str().unwrap().to_owned()
}

async fn shown(by: &Operator, rollout: &str) -> Value {
    by.json(&["rollout", "show", rollout]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_halts_every_hospitals_rollouts_tells_those_who_watch_and_no_device_begins() {
    let mut hospital = Hospital::open().await;
    let (lee, mut other) = neighbour(&hospital).await;
    let ours = approve(&hospital, &hospital.kim, "ours").await;
    let theirs = approve(&hospital, &lee, "theirs").await;
    // A person's own pause does not hide that it is withdrawn.
    lee.run(&["rollout", "pause", &theirs, "--reason", "the ward is full"]).await.unwrap();
    assert_eq!(other.cycle().await, "waiting(paused)", "fetched and staged");

    let mut calls = hospital.world.operator_calls(Some(hospital.kim.identity())).await;
    let watch = v1::WatchRolloutRequest { id: ours.clone() };
    let mut watched = calls.watch_rollout(watch).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().rollout.unwrap().state, "running");
    hospital.ada.run(&["catalog", "set-status", "pump", "2", "withdrawn"]).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, watched.message()).await.unwrap().unwrap().unwrap();
    let told = told.rollout.unwrap();
    assert_eq!((told.state.as_str(), told.reason.unwrap().code.as_str()), ("paused", "withdrawn"));

    for (by, rollout) in [(&hospital.kim, &ours), (&lee, &theirs)] {
        let shown = shown(by, rollout).await;
        assert_eq!((&shown["state"], &shown["reason"]["code"]), (&json!("paused"), &json!("withdrawn")), "{shown}");
        let record = by.run(&["audit", "list"]).await.unwrap();
        let halted = record.lines().filter(|l| l.contains("rollout.paused") && l.contains(rollout.as_str())).count();
        // The neighbour's was paused by a person before.
        assert_eq!(halted, if by.home() == lee.home() { 2 } else { 1 }, "{record}");
        let refused = by.run(&["rollout", "resume", rollout, "--reason", "go on"]).await.unwrap_err();
        assert!(refused.exit == 3 && refused.said.contains("withdrawn"), "{}", refused.said);
    }
    assert_eq!(other.cycle().await, "idle(withdrawn)");
    untouched(&other, "1.0.0");
    for pump in &mut hospital.pumps {
        assert_eq!(pump.cycle().await, "idle(withdrawn)");
        untouched(pump, "1.0.0");
    }

    // Taken back, it goes on by a person's word in each hospital, and in none by itself.
    hospital.ada.run(&["catalog", "set-status", "pump", "2", "current"]).await.unwrap();
    assert_eq!(shown(&hospital.kim, &ours).await["state"], "paused");
    for pump in &mut hospital.pumps {
        // One because of the pause, the other for its slot too.
        let state = pump.cycle().await;
        assert!(state.starts_with("waiting("), "{state}");
    }
    hospital.kim.run(&["rollout", "resume", &ours, "--reason", "the manufacturer was mistaken"]).await.unwrap();
    assert_eq!(shown(&hospital.kim, &ours).await["state"], "running");
    assert_eq!(shown(&lee, &theirs).await["state"], "paused");
}
