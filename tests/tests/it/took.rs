//! What a device's own installs took corrects what it asks of a slot, and what the hospital is told of its plan.

use jiff::SignedDuration;
use suture_tests::world::Spec;

use crate::hospital::Hospital;

const TOOK: &str = r#"{"begun":null,"installs":[700,20],"reverts":[]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_installs_took_longer_needs_a_longer_slot() {
    let mut hospital = Hospital::open().await;
    let file = hospital.pumps[0].dir.join("state/took.json");
    let draft = hospital.later_draft().await;
    let (rollout, start, end) = hospital.approve(draft).await;
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
    hospital.pumps[0].crash();
    // The slot holds what the manufacturer says (60 s and 30 s) and what the plan adds, and no more.
    assert!(end.duration_since(start) < SignedDuration::from_mins(10), "{start} to {end}");
    std::fs::write(&file, TOOK).unwrap();
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(slot-too-short)");
    hospital.untouched();
    let (reason, _) = hospital.pumps[0].agent().state().trouble().unwrap();
    let why = "an install has taken 700 s on this device, where the manufacturer says 60 s";
    assert!(reason.text.contains(why), "{reason}");

    hospital.pumps[0].crash();
    std::fs::remove_file(&file).unwrap();
    hospital.confirms(&rollout).await;
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((kept["installs"].as_array().unwrap().len(), &kept["begun"]), (1, &serde_json::Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_for_whom_its_slots_are_too_short() {
    let mut hospital = Hospital::open().await;
    hospital.world.publish(&hospital.ada, Spec { release: 3, ..Spec::default() }).await;
    let long =
        ["--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", "2", "--slots", "1", "--slack", "20m"];
    let mut draft = hospital.world.draft(&hospital.kim, &long).await;
    let later = SignedDuration::from_mins(10);
    for slot in draft.0.devices.iter_mut().flat_map(|device| &mut device.slots) {
        (slot.start, slot.end) = (slot.start + later, slot.end + later);
    }
    draft.0.terms.expires += later;
    let (rollout, start, _) = hospital.approve(draft).await;
    // Two devices' signed reports say how long installs took; only one says more than a slot holds.
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
    hospital.pumps[0].crash();
    std::fs::write(hospital.pumps[0].dir.join("state/took.json"), TOOK).unwrap();
    hospital.world.clock.set(start + SignedDuration::from_mins(5));
    for pump in &mut hospital.pumps {
        assert_eq!(pump.cycle().await, "idle(up-to-date)");
    }
    assert_eq!(hospital.reported(&rollout).await.0, "confirmed");

    let plan = async |slack: &str| {
        let args =
            ["rollout", "plan", "--bundle", "pump@3", "--ward", "icu", "--wave", "rest", "--cap", "2", "--slots", "1"];
        hospital.kim.json(&[&args[..], &["--slack", slack]].concat()).await.unwrap()["too_short_for"].clone()
    };
    let short = plan("60s").await;
    assert_eq!(short.as_array().unwrap().len(), 1, "{short}");
    assert_eq!((short[0]["device"].as_str(), short[0]["needs_secs"].as_i64()), (Some("pump-1"), Some(730)));
    assert_eq!(plan("20m").await, serde_json::json!([]));
}
