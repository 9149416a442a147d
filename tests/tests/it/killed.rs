//! SIGKILL at the worst moments: the agent that is started next reaches `confirmed`, with the bytes that were signed.
//!
//! The agent is the real program under the real clock. The server's clock stands still where the test began, which is as if
//! it were a little late.

use std::fs;
use std::future::Future;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use suture_agent::install::pack;
use suture_core::approval::Slot;
use suture_core::chunk::Index;
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::manifest::Manifest;
use suture_tests::world::{Bundle, Device};

use crate::hospital::Hospital;

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A hospital that has approved the second release for the first pump, in a slot that is open for the next hour.
pub(crate) async fn approved() -> (Hospital, String) {
    let hospital = Hospital::open().await;
    let mut draft = hospital.draft().await;
    let start = hospital.world.clock.now();
    let end = start + SignedDuration::from_hours(1);
    draft.0.devices[0].slots = vec![Slot { start, end }];
    draft.0.terms.expires = end;
    let (rollout, ..) = hospital.approve(draft).await;
    (hospital, rollout)
}

/// Fails with the agent's log where `until` does not come.
pub(crate) async fn patiently<T>(pump: &Device, what: &str, until: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, until).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come; the agent's log:\n{}", pump.log()),
    }
}

/// Waits until the first pump's signed report says `confirmed`.
pub(crate) async fn confirmed(hospital: &Hospital, rollout: &str) {
    let pump = &hospital.pumps[0];
    let watched = patiently(pump, "the confirmation", hospital.kim.run(&["rollout", "watch", rollout])).await;
    watched.unwrap_or_else(|e| panic!("{e:?}; the agent's log:\n{}", pump.log()));
    assert_eq!(hospital.reported(rollout).await.0, "confirmed");
}

/// Starts the agent again and waits until its signed report says `confirmed`; then looks at the bytes. Gives how many chunks
/// this agent has fetched.
async fn confirms(hospital: &Hospital, rollout: &str) -> u64 {
    let pump = &hospital.pumps[0];
    let agent = pump.spawn();
    confirmed(hospital, rollout).await;
    // With a cycle's end it leaves its counts, and nothing to fetch any more.
    let live = patiently(pump, "the end of its cycle", async {
        loop {
            match pump.status().live.filter(|live| live.total_bytes == 0) {
                Some(live) => break live,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let live = live.await;
    agent.kill();
    let manifest = Manifest::parse(&fs::read(hospital.second.dir.join("manifest.json")).unwrap()).unwrap();
    let mut archive = Vec::new();
    pack(&pump.dir.join("slots/current/app"), &mut archive).unwrap();
    assert_eq!(Digest::of(&archive), manifest.payloads[0].sha256);
    assert_eq!(pump.status().manifest, Some(hospital.second.step().sha256.to_string()));
    live.chunks_from_server
}

fn log_of(pump: &Device, program: &str) -> Vec<String> {
    let log = fs::read_to_string(pump.dir.join(format!("{program}.log"))).unwrap_or_default();
    log.lines().map(ToOwned::to_owned).collect()
}

/// The index that a bundle was built with.
fn index(bundle: &Bundle) -> Index {
    let name = |p: &std::path::Path| p.to_string_lossy().contains("index");
    let mut dirs = vec![bundle.dir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else if name(&entry) {
                return Index::parse(&fs::read(entry).unwrap()).unwrap();
            }
        }
    }
    panic!("{} has no index", bundle.name);
}

/// Chunks of the second release that are not in the first: how many lie on the pump's disk, whole, and how many there are.
fn arrived(hospital: &Hospital) -> (usize, usize) {
    let known: Vec<Digest> = index(&hospital.first).entries().iter().map(|e| e.sha256).collect();
    let fetch = hospital.pumps[0].dir.join("state/fetch").join(hospital.second.step().sha256.to_string());
    let part = fs::read(fetch.join("app.part")).unwrap_or_default();
    let (mut offset, mut there, mut all) = (0, 0, 0);
    for entry in index(&hospital.second).entries() {
        let end = offset + entry.length as usize;
        if !known.contains(&entry.sha256) {
            all += 1;
            there += usize::from(part.get(offset..end).is_some_and(|raw| Digest::of(raw) == entry.sha256));
        }
        offset = end;
    }
    (there, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_fetches() {
    let (hospital, rollout) = approved().await;
    let pump = &hospital.pumps[0];
    hospital.world.line.cut_after(700_000);
    let agent = pump.spawn();
    patiently(pump, "the cut", hospital.world.line.until_cut()).await;
    patiently(pump, "a whole chunk", async {
        while arrived(&hospital).0 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    agent.kill();
    let (there, all) = arrived(&hospital);
    assert!(0 < there && there < all, "{there} of {all} chunks came before the cut");
    let status = pump.status();
    assert_eq!((status.state, pump.runs().as_str()), ("fetching", "1.0.0"), "{:?}", status.reason);
    assert_eq!(pump.interlock_log(), [""; 0]);

    hospital.world.line.mend();
    let fetched = confirms(&hospital, &rollout).await;
    assert_eq!(pump.interlock_log(), ["claim", "release"]);
    assert_eq!(fetched, (all - there) as u64, "of {all} chunks {there} were there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_claims_the_interlock() {
    let (hospital, rollout) = approved().await;
    let pump = &hospital.pumps[0];
    // In the place of the interlock that is always free.
    let mut gate = pump.gated("interlock", "claim");
    let agent = pump.spawn();
    patiently(pump, "the claim", gate.reached()).await;
    agent.kill();
    assert_eq!((pump.status().state, pump.runs().as_str()), ("claiming", "1.0.0"));

    // Nobody knows whether the pump is held: it is released before it is claimed again.
    gate.open().await;
    confirms(&hospital, &rollout).await;
    assert_eq!(pump.interlock_log(), ["claim", "release", "claim", "release"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_restarts_the_device() {
    let (hospital, rollout) = approved().await;
    let pump = &hospital.pumps[0];
    let restart = pump.dir.join("restart.sh");
    pump.configure("rev-a", &[restart.to_str().unwrap(), "restart"]);
    let mut gate = pump.gated("restart", "restart");
    let agent = pump.spawn();
    patiently(pump, "the restart", gate.reached()).await;
    agent.kill();
    assert_eq!((pump.status().state, pump.runs().as_str()), ("restarting", "1.1.0"), "past the switch");
    assert_eq!(pump.interlock_log(), ["claim"], "the pump is held meanwhile");

    gate.open().await;
    confirms(&hospital, &rollout).await;
    assert_eq!(log_of(pump, "restart"), ["restart", "restart"]);
    assert_eq!(pump.interlock_log(), ["claim", "claim", "release"], "asked once more before it goes down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_that_is_ordered_meanwhile_names_the_pump_that_it_does_not_take_back() {
    let (hospital, rollout) = approved().await;
    let (pump, kim) = (&hospital.pumps[0], &hospital.kim);
    let restart = pump.dir.join("restart.sh");
    pump.configure("rev-a", &[restart.to_str().unwrap(), "restart"]);
    let mut gate = pump.gated("restart", "restart");
    let agent = pump.spawn();
    patiently(pump, "the restart", gate.reached()).await;
    // It has switched, and what it runs it has not said.
    let back = ["rollout", "rollback", &rollout, "--reason", "x", "--slots", "1", "--slack", "60s"];
    let shown = kim.json(&back).await.unwrap();
    assert_eq!((&shown["abort"], &shown["unsettled"]), (&json!(true), &json!(["pump-1"])), "{shown}");

    // Past the switch it finishes; once it has said so, the same command takes it back.
    gate.open().await;
    confirmed(&hospital, &rollout).await;
    agent.kill();
    let shown = kim.json(&back).await.unwrap();
    assert_eq!((&shown["plan"]["devices"][0]["id"], &shown["unsettled"]), (&json!("pump-1"), &json!([])), "{shown}");
}
