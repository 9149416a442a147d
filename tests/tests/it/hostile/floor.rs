//! Old releases that both sides once signed, and the floor below which no permit leads.

use jiff::SignedDuration;
use serde_json::{Value, json};
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_tests::hostile::Act;
use suture_tests::world::Device;

use super::documents::{approval, list, manufacturer};
use super::stage::{Keys, Row, Stage, real_time, report, row, standing, state};

/// The manufacturer's catalog says that nothing below the second release is to run any more; a device runs that.
const BELOW: &[Row] = &[
    row(
        "a release below the floor",
        "go for the first release, approved without a permit",
        BELOW_FLOOR,
        |act, keys| {
            first_release(act, keys, false);
        },
    ),
    row("a release below the floor", "go for the first release, with a permit to go down", BELOW_FLOOR, |act, keys| {
        first_release(act, keys, true);
    }),
    row(
        "a release below the floor",
        "the same, and the manufacturer's word on the floor is gone again",
        BELOW_FLOOR,
        |act, keys| {
            first_release(act, keys, true);
            manufacturer(act, keys, |custom| custom["floor"] = json!(0));
        },
    ),
    row(
        "a release below the floor",
        "the same, and the catalog lists the first release alone",
        BELOW_FLOOR,
        |act, keys| {
            first_release(act, keys, true);
            let now = act.loot.now;
            act.loot.catalog.publish(&[&keys.catalog], now, |signed| {
                signed["targets"].as_object_mut().unwrap().retain(|path, _| path == FIRST);
            });
        },
    ),
    row(
        "rollback of the floor",
        "the catalog from before it, freshly signed, and the permit",
        "idle(rollback)",
        |act, keys| {
            let now = act.loot.now;
            let before = act.loot.catalog.known();
            act.loot.catalog.seal(&before, now);
            first_release(act, keys, true);
        },
    ),
];

const BELOW_FLOOR: &str = "idle(below-floor)";
const FIRST: &str = "bundles/pump/1/manifest.json";

/// The hospital approves the first release, by another approval than that which is done.
fn first_release(act: &mut Act, keys: &Keys, permit: bool) {
    let now = act.loot.now;
    let target = act.loot.catalog.signed(Role::Targets)["targets"][FIRST].clone();
    let mut approval = approval(act);
    approval["id"] = json!("f".repeat(64));
    approval["permit_downgrade"] = json!(permit);
    approval["steps"] = json!([{
        "path": FIRST,
        "length": target["length"],
        "sha256": target["hashes"]["sha256"],
        "product": target["custom"]["product"],
        "release": target["custom"]["release"],
        "hardware": target["custom"]["hardware"],
    }]);
    let end = real_time() + SignedDuration::from_hours(6);
    approval["devices"][0]["slots"][0]["end"] = json!(format_utc(end));
    approval["expires"] = json!(format_utc(end));
    list(act, &approval, |repo, edit| repo.publish(&[&keys.approvals], now, edit));
}

/// A device that has installed and confirmed the second release, under a catalog that gives it this floor.
async fn updated(stage: &mut Stage, floor: u64) -> Device {
    let device = stage.device();
    let (now, catalog) = (stage.loot.now, &mut stage.loot.catalog);
    catalog.publish(&[&stage.keys.catalog], now, |signed| {
        let custom: &mut Value = &mut signed["targets"]["bundles/pump/2/manifest.json"]["custom"];
        custom["floor"] = json!(floor);
    });
    stage.hostile.play(Act::honest(&stage.loot));
    let mut agent = device.spawn();
    stage.installs(&device, &mut agent).await;
    agent.kill();
    device
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_permit_leads_below_the_floor() {
    let mut stage = Stage::open().await;
    let device = updated(&mut stage, 2).await;
    let mut came = Vec::new();
    for (row, n) in BELOW.iter().zip(0..) {
        let double = device.double(stage.hospital.world.path(format!("below-{n}")), "rev-a");
        let wrong = stage.plays(row, &double).await;
        came.push((row.attack, row.server, state(&double), wrong));
    }
    report("Below the floor", came);
    assert_eq!(standing(&device), ("1.1.0".to_owned(), vec!["claim".to_owned(), "release".to_owned()]));
}

/// What the floor keeps out is a way that is open without it: the same permit, the same old release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_floor_the_permit_leads_down() {
    let mut stage = Stage::open().await;
    let device = updated(&mut stage, 0).await;
    let mut act = Act::honest(&stage.loot);
    first_release(&mut act, &stage.keys, false);
    stage.hostile.play(act);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("idle(downgrade)", &device, &mut agent).await, None);
    let mut act = Act::honest(&stage.loot);
    first_release(&mut act, &stage.keys, true);
    // The device has seen the version before, and takes another of the same number for what it is.
    act.loot.approvals.publish(&[&stage.keys.approvals], stage.loot.now, |_| {});
    stage.hostile.play(act);
    let began = std::time::Instant::now();
    while device.runs() != "1.0.0" {
        assert!(began.elapsed() < super::stage::PATIENCE, "{}:\n{}", state(&device), device.log());
        tokio::time::sleep(super::stage::LOOK).await;
    }
    agent.kill();
}

/// A catalog's keys in a thief's hands: the genuine release, under a floor above all that will ever be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_floor_above_the_release_that_brings_it_locks_no_device_out() {
    let mut stage = Stage::open().await;
    let device = updated(&mut stage, 1 << 40).await;
    let kept: Value = serde_json::from_slice(&std::fs::read(device.dir.join("state/floor.json")).unwrap()).unwrap();
    assert_eq!(kept["release"], json!(2));
}
