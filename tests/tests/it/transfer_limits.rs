//! How much a hospital lets its devices fetch, and when: set by its operator, held by the server, told by the device.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_agent::config::Settings;
use suture_agent::status::Status;
use suture_core::clock::Clock as _;
use suture_tests::world::{Kind, Spec, World};

use crate::ward::Ward;

/// From the hour before to the hour after, in UTC.
fn around(at: Timestamp) -> String {
    let hour = |hours: i64| (at + SignedDuration::from_hours(hours)).strftime("%H:00").to_string();
    format!("{}-{}", hour(-1), hour(1))
}

async fn are_set_shown_and_cleared(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let none = kim.json(&["transfer", "show"]).await.unwrap();
    assert_eq!((&none["now"]["rate_bits_per_sec"], &none["periods"]), (&Value::Null, &json!([])));

    // Two hours by the clock, which it is now, and two that it is not.
    let (now, later) = (around(world.clock.now()), around(world.clock.now() + SignedDuration::from_hours(5)));
    let day = ["transfer", "set", "--between", &now, "--rate", "20Mbit", "--device-rate", "2Mbit"];
    let early = kim.run(&day).await.unwrap_err();
    assert!(early.said.contains("--zone"), "{}", early.said);
    let set = kim.json(&[&day[..], &["--streams", "8", "--zone", "Etc/UTC"]].concat()).await.unwrap();
    let limits = json!({ "rate_bits_per_sec": 20_000_000, "device_rate_bits_per_sec": 2_000_000, "streams": 8 });
    assert_eq!((&set["now"], &set["zone"]), (&limits, &json!("Etc/UTC")));
    kim.run(&["transfer", "set", "--between", &later, "--rate", "0"]).await.unwrap();
    kim.run(&["transfer", "set", "--rate", "200Mbit"]).await.unwrap();
    let all = kim.json(&["transfer", "show"]).await.unwrap();
    assert_eq!(
        (all["periods"].as_array().unwrap().len(), &all["otherwise"]["rate_bits_per_sec"]),
        (2, &json!(200_000_000))
    );
    assert_eq!(all["now"], limits);
    world.pass(5 * 3_600);
    assert_eq!(kim.json(&["transfer", "show"]).await.unwrap()["now"]["rate_bits_per_sec"], 0);

    for (args, part) in [
        (&["--streams", "100", "--rate", "1Mbit"][..], "256kbit"),
        (&["--between", "01:02-01:03", "--zone", "Europe/London", "--streams", "1"], "Etc/UTC"),
        (&[], "nothing is limited"),
    ] {
        let refused = kim.run(&[&["transfer", "set"], args].concat()).await.unwrap_err();
        assert!(refused.said.contains(part), "{args:?}: {}", refused.said);
    }
    assert!(kim.run(&["transfer", "clear", "--between", "01:02-01:03"]).await.is_err());
    kim.run(&["transfer", "clear", "--between", &later]).await.unwrap();
    assert_eq!(kim.json(&["transfer", "clear"]).await.unwrap()["otherwise"]["rate_bits_per_sec"], Value::Null);
    assert!(ada.run(&["transfer", "show"]).await.is_err(), "it is the hospital's network");

    let record = kim.run(&["audit", "list"]).await.unwrap();
    for action in ["transfer.limited", "transfer.cleared"] {
        assert!(record.contains(action), "{record}");
    }
}

async fn a_device_waits_for_the_end_of_the_quiet_hours(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let mut ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    let start = ward.approve().await;
    let (kim, pump) = (&ward.kim, &mut ward.pumps[0]);

    kim.run(&["transfer", "set", "--between", &around(start), "--zone", "Etc/UTC", "--rate", "0"]).await.unwrap();
    assert_eq!(pump.cycle().await, "fetching(quiet-hours)");
    let end = (start + SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:00:00Z").to_string();
    let status = Status::read(&Settings::load(&pump.config()).unwrap(), None);
    assert_eq!(status.until.as_deref(), Some(end.as_str()));
    let why = status.why().text();
    assert!(why.contains(&format!("this hospital lets nothing be fetched until {end}")), "{why}");
    // It was told when to ask again, and does not ask before.
    let calls = pump.agent().traffic().counts().0;
    assert_eq!(pump.cycle().await, "fetching(quiet-hours)");
    assert_eq!(pump.fetched_chunks(), 0);
    assert!(pump.agent().traffic().counts().0 <= calls + 4);
    let said = kim.run(&["device", "why", "pump-1"]).await.unwrap();
    assert!(said.contains("quiet-hours"), "{said}");

    // Started again, it asks; they are over.
    kim.run(&["transfer", "clear"]).await.unwrap();
    pump.crash();
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(pump.runs(), "1.1.0");
}

on_both!(limits_are_set_shown_and_cleared, super::are_set_shown_and_cleared);
on_both!(quiet_hours, super::a_device_waits_for_the_end_of_the_quiet_hours);
