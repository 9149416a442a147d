//! A withdrawal that the server hides: the manufacturer has taken a release back, the hospital's approval of it stands, and
//! the catalog from before is signed anew by the online keys for ever.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use suture_core::clock::format_utc;
use suture_core::trust::Role;
use suture_tests::hostile::{Act, Sends};

use super::documents::{hospital, later, manufacturer};
use super::news::nothing_has_changed;
use super::recovery::replace_online_keys;
use super::stage::{Stage, real_time, touched};
use super::sticks::{by_hand, import, write_stick};

/// How long the catalog from before still counts: more than a device takes to come to its waiting.
const SOON: SignedDuration = SignedDuration::from_secs(8);

/// As often as it likes, under versions that are higher than any that the owners' server has given out.
fn sign_anew(act: &mut Act) {
    let now = act.loot.now;
    let catalog = act.loot.catalog.bytes(Role::Targets).to_vec();
    for _ in 0..10 {
        act.loot.catalog.seal(&catalog, now);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_not_named_before_the_old_catalog_ends_and_a_freeze_from_then_on() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    let mut act = Act::honest(&stage.loot);
    // Its slot is a day away: that the approval looks good until then is what the server gains.
    hospital(&mut act, &stage.keys, later);
    let (now, ends) = (stage.loot.now, real_time() + SOON);
    act.loot.catalog.publish(&[&stage.keys.catalog], now, |signed| signed["expires"] = json!(format_utc(ends)));
    sign_anew(&mut act);
    stage.hostile.play(act);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("waiting(before-slot)", &device, &mut agent).await, None);
    assert!(real_time() < ends, "this machine is too slow for the test: the catalog has ended before it was looked at");
    assert_eq!(stage.comes_to("waiting(metadata-expired)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}

/// The same repositories after the withdrawal.
fn after(stage: &Stage, act: &Act) -> Act {
    let mut open = act.clone();
    manufacturer(&mut open, &stage.keys, |custom| custom["status"] = json!("withdrawn"));
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_by_stick_and_the_old_catalog_is_a_rollback_from_then_on() {
    let mut stage = Stage::open().await;
    // One hears of it before it has begun anything. Its slot has begun, and the server says go.
    let device = stage.device();
    let mut hiding = Act::honest(&stage.loot);
    let open = after(&stage, &hiding);
    import(&device, &write_stick(&open.loot, stage.hospital.world.path("stick")));
    // That nothing has changed hides it no longer: what the device holds is the stick's.
    let mut act = hiding.clone();
    (act.sends, act.news) = (Sends::OnCall, Arc::new(nothing_has_changed));
    stage.hostile.play(act);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("idle(withdrawn)", &device, &mut agent).await, None);
    // Nor does a fresh signature over the catalog from before.
    sign_anew(&mut hiding);
    assert!(hiding.loot.catalog.version(Role::Timestamp) > open.loot.catalog.version(Role::Timestamp));
    stage.hostile.play(hiding);
    assert_eq!(stage.comes_to("idle(rollback)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();

    // The other has fetched it already and waits for its slot.
    let device = stage.device();
    let mut hiding = Act::honest(&stage.loot);
    hospital(&mut hiding, &stage.keys, later);
    let open = after(&stage, &hiding);
    stage.hostile.play(hiding);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("waiting(before-slot)", &device, &mut agent).await, None);
    import(&device, &write_stick(&open.loot, stage.hospital.world.path("stick-of-the-other")));
    assert_eq!(stage.comes_to("waiting(rollback)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}

/// Whoever has the online keys drives their versions beyond those of every stick. What ends that is a root with other keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comes_by_stick_past_stolen_online_keys_once_the_root_names_others() {
    let mut stage = Stage::open().await;
    let device = stage.device();
    let mut hiding = Act::honest(&stage.loot);
    hospital(&mut hiding, &stage.keys, later);
    let mut open = after(&stage, &hiding);
    sign_anew(&mut hiding);
    stage.hostile.play(hiding);
    let mut agent = device.spawn();
    assert_eq!(stage.comes_to("waiting(before-slot)", &device, &mut agent).await, None);
    let stick = write_stick(&open.loot, stage.hospital.world.path("stick"));
    let refused = by_hand(&device, &["import", stick.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(5) && said.contains("rollback"), "{said}");

    replace_online_keys(&mut open.loot.catalog, &stage.keys.catalog_root, stage.loot.now);
    import(&device, &write_stick(&open.loot, stage.hospital.world.path("stick-with-a-root")));
    // What the server signs has not counted since.
    assert_eq!(stage.comes_to("waiting(bad-signature)", &device, &mut agent).await, None);
    assert_eq!(touched(&device), None);
    agent.kill();
}
