//! Idle hospitals and manufacturers: nobody signs until the targets have expired, and everybody finds the way back.

use suture_tests::world::{Failed, Kind, World};

fn expired(refused: &Failed) {
    assert_eq!(refused.exit, 5, "{}", refused.said);
    assert!(refused.said.contains("targets metadata expired") && refused.said.contains("renew"), "{}", refused.said);
}

#[tokio::test]
async fn an_idle_hospital_signs_its_approvals_again() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    kim.run(&["calendar", "set", "icu", "--zone", "UTC", "--weekly", "daily 02:00 3h"]).await.unwrap();
    world.idle(15).await;

    // Who relies on them gets nothing, and is told the way.
    expired(&kim.run(&["calendar", "show"]).await.unwrap_err());
    expired(&kim.run(&["rollout", "plan", "--bundle", "pump@1", "--wave", "rest"]).await.unwrap_err());
    expired(&kim.run(&["rollout", "approve", &"0".repeat(64), "--reason", "x"]).await.unwrap_err());

    let shown = kim.json(&["approvals", "status"]).await.unwrap();
    let version = |shown: &serde_json::Value| shown["roles"][1]["version"].as_u64().unwrap();
    let renewed = kim.json(&["approvals", "renew"]).await.unwrap();
    assert_eq!(version(&renewed), version(&shown) + 1);
    assert_eq!(renewed["calendars"], serde_json::json!(["ward icu"]), "nothing is lost");
    kim.run(&["calendar", "show", "icu"]).await.unwrap();

    // Any other signature does it too.
    world.idle(15).await;
    expired(&kim.run(&["calendar", "show"]).await.unwrap_err());
    kim.run(&["calendar", "set", "er", "--zone", "UTC", "--weekly", "daily 02:00 3h"]).await.unwrap();
    kim.run(&["calendar", "show", "icu"]).await.unwrap();
}

#[tokio::test]
async fn an_idle_manufacturer_signs_its_catalog_again() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    world.idle(181).await;
    let shown = ada.json(&["catalog", "status"]).await.unwrap();
    assert!(shown["roles"][1]["days_left"].as_i64().unwrap() < 0, "{shown}");
    let renewed = ada.json(&["catalog", "renew"]).await.unwrap();
    assert_eq!(renewed["roles"][1]["days_left"], 180);
}
