//! What somebody altered on a device's disk is seen by its hospital.

use serde_json::Value;

use crate::hospital::Hospital;

/// Cycles until the first pump's signed report says of its integrity what is waited for.
async fn reported(hospital: &mut Hospital, until: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_000 {
        hospital.pumps[0].cycle().await;
        let integrity = hospital.kim.json(&["device", "show", "pump-1"]).await.unwrap()["integrity"].take();
        if until(&integrity) {
            return integrity;
        }
    }
    panic!("it is not reported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_software_is_reported_and_recorded_once() {
    let mut hospital = Hospital::open().await;
    let file = hospital.pumps[0].dir.join("slots/current/app/lib/own");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();

    let found = reported(&mut hospital, |integrity| !integrity["drift"].is_null()).await;
    let drift = found["drift"].as_str().unwrap();
    assert!(drift.contains("slot a") && drift.contains("payload app"), "{drift}");
    for _ in 0..3 {
        hospital.pumps[0].cycle().await;
    }
    let audit = hospital.kim.json(&["audit", "list"]).await.unwrap();
    let entries = audit.as_array().unwrap().iter().filter(|e| e["action"] == "device.drift");
    assert_eq!(entries.count(), 1);
    assert_eq!(hospital.pumps[0].runs(), "1.0.0", "nothing else is done about it");
}
