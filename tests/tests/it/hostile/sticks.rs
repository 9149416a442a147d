//! What a captured server hides comes another way: stop orders by hand, metadata on a stick, and forks to light.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use suture_core::approval::StopOrder;
use suture_core::sign::{LocalKey, Signer};
use suture_core::trust::Role;
use suture_proto::v1;
use suture_tests::hostile::{Act, Loot, Repo};
use suture_tests::world::program::binary;
use suture_tests::world::{Device, HDO};

use super::documents::{hospital, later};
use super::stage::{Stage, state, touched};

/// What a person at the device does.
pub(super) fn by_hand(device: &Device, command: &[&str]) -> Output {
    let mut program = Command::new(binary("suture-agent"));
    program.env_clear().arg("--config").arg(device.config()).args(["--output", "json"]).args(command);
    program.output().unwrap()
}

/// `suture-agent import DIR`, which must take it.
pub(super) fn import(device: &Device, stick: &Path) {
    let taken = by_hand(device, &["import", stick.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
}

fn order(stage: &Stage, key: &LocalKey, stopped: bool, last: Option<u64>) -> Vec<u8> {
    let id = stage.rollout.parse().unwrap();
    let order = StopOrder::next(HDO.parse().unwrap(), id, last, stopped, stage.loot.now).unwrap();
    order.sign(&[key as &dyn Signer]).unwrap()
}

/// A stick of everything that the loot has.
pub(super) fn write_stick(loot: &Loot, dir: PathBuf) -> PathBuf {
    let files = |repo: &Repo| repo.metadata.clone().into_iter().chain(repo.targets.clone());
    for (name, repo) in [("catalog", &loot.catalog), ("approvals", &loot.approvals)] {
        for (file, content) in files(repo) {
            let path = dir.join(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    fs::write(dir.join("stick.json"), json!({ "_type": "suture-stick", "format": 1, "hdo": HDO }).to_string()).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_the_server_hides_is_obeyed_from_a_file() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    // Staged, and waiting for its slot, when the hospital stops it. The server shows no sign of that.
    let mut act = Act::honest(&stage.loot);
    hospital(&mut act, &stage.keys, later);
    stage.hostile.play(act.clone());
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("waiting(before-slot)", &device, &mut agent).await, None);

    // Nobody else's order counts.
    let file = device.dir.join("stop.json");
    for forger in [&stage.keys.attacker, &stage.keys.catalog, &*stage.loot.approvals.timestamp_key] {
        fs::write(&file, order(&stage, forger, true, None)).unwrap();
        let refused = by_hand(&device, &["stop", file.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
    }
    fs::write(&file, order(&stage, &stage.keys.approvals, true, None)).unwrap();
    let taken = by_hand(&device, &["stop", file.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert_eq!(stage.comes_to("idle(stop-order)", &device, &mut agent).await, None);

    // Nor does the server talk it out of that: the slot comes, and the word is go.
    stage.hostile.play(Act::honest(&stage.loot));
    hold(&stage, &device, "idle(rollback)").await;
    assert_eq!(touched(&device), None);
    // Another agent of the same device knows it too.
    agent.kill();
    stage.hostile.play(act);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("idle(stop-order)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}

/// Two more check-ins, whatever the state is meanwhile, as long as it is no attempt.
async fn hold(stage: &Stage, device: &Device, expected: &str) {
    stage.hostile.check_ins(2).await;
    let is = state(device);
    assert!(is == expected || is == "idle(stop-order)", "{is}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stick_brings_what_a_server_hides_and_a_stale_or_foreign_one_nothing() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    let mut act = Act::honest(&stage.loot);
    hospital(&mut act, &stage.keys, later);
    // The newest, and what was in force before.
    let newest = write_stick(&act.loot, device.dir.join("stick-newest"));
    let mut stale = stage.loot.clone();
    let known = stale.approvals.metadata["1.targets.json"].clone();
    stale.approvals.seal(&known, stage.loot.now);
    let stale = write_stick(&stale, device.dir.join("stick-stale"));
    let mut forged = stage.loot.clone();
    forged.approvals.publish(&[&stage.keys.attacker], stage.loot.now, |_| {});
    let forged = write_stick(&forged, device.dir.join("stick-forged"));

    let refused = |dir: &PathBuf, code: &str| {
        let refused = by_hand(&device, &["import", dir.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(5), "{said}");
        assert!(said.contains(code), "{said} does not say {code}");
    };
    refused(&stale, "rollback");
    refused(&forged, "bad-signature");
    let taken = by_hand(&device, &["import", newest.to_str().unwrap()]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let said: Value = serde_json::from_slice(&taken.stdout).unwrap();
    assert_eq!(said["targets"]["approvals"], act.loot.approvals.version(Role::Targets), "{said}");

    // From then on the server's older approvals are a rollback.
    stage.hostile.play(Act::honest(&stage.loot));
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("idle(rollback)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_forks_of_one_version_are_an_alarm() {
    let mut stage = Stage::open().await;
    // Whoever holds the hospital's targets key and the server shows each device another version of the same number.
    let fork = |note: &str| {
        let mut act = Act::honest(&stage.loot);
        hospital(&mut act, &stage.keys, |approval| {
            later(approval);
            if note == "other" {
                later(approval);
            }
        });
        act
    };
    let forks = [fork("one"), fork("other")];
    let digests = forks.each_ref().map(|act| suture_core::digest::Digest::of(act.loot.approvals.bytes(Role::Targets)));
    assert_ne!(digests[0], digests[1]);
    for (act, at) in forks.into_iter().zip(0..) {
        stage.hostile.play(act);
        stage.hospital.pumps[at].cycle().await;
    }
    stage.restore().await;
    for at in 0..2 {
        stage.hospital.pumps[at].crash();
        stage.hospital.pumps[at].cycle().await;
    }
    let kim = stage.hospital.kim.identity();
    let mut calls = stage.hospital.world.operator_calls(Some(kim)).await;
    let forks = calls.list_forks(v1::ListForksRequest {}).await.unwrap().into_inner().forks;
    for (device, digest) in [("pump-1", digests[0]), ("pump-2", digests[1])] {
        let seen =
            forks.iter().find(|f| f.device == device).unwrap_or_else(|| panic!("no alarm of {device}: {forks:?}"));
        assert_eq!(&seen.targets_sha256[..], digest.as_bytes(), "{device}");
        assert_eq!(seen.repository, format!("approvals/{HDO}"));
    }
}
