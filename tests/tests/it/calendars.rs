//! Calendars as people use them: seen before they are signed, in layers, and exchanged as iCalendar files.

use serde_json::{Value, json};
use suture_tests::world::{Kind, Operator, Spec, World, text};

async fn starts(kim: &Operator, args: &[&str]) -> Vec<String> {
    let shown = kim.json(&[&["calendar", "preview"], args].concat()).await.unwrap();
    shown.as_array().unwrap().iter().map(|o| o["start"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hospitals_a_wards_and_a_devices_calendar_are_layers() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    world.publish(&ada, Spec { release: 2, ..Spec::default() }).await;
    let kim = world.hospital(&ada).await;
    let _pumps = world.devices(&kim, &["pump-1", "pump-2"], &first).await;
    let from = ["--from", "2026-12-20T00:00:00Z", "--count", "2"];

    // The hospital only freezes; that alone opens nothing.
    kim.run(&["calendar", "set", "--hospital", "--zone", "UTC", "--freeze", "2026-12-20..2026-12-26"]).await.unwrap();
    assert!(starts(&kim, &[&["icu"][..], &from].concat()).await.is_empty());
    kim.run(&["calendar", "set", "icu", "--zone", "Europe/Vienna", "--weekly", "daily 02:00 2h"]).await.unwrap();
    let own = ["--rrule", "FREQ=WEEKLY;BYDAY=TU", "--dtstart", "2026-12-01T03:00", "--duration", "2h"];
    let set = ["calendar", "set", "--device", "pump-1", "--zone", "Europe/Vienna"];
    kim.run(&[&set[..], &own].concat()).await.unwrap();
    assert_eq!(starts(&kim, &[&["icu"][..], &from].concat()).await, ["2026-12-27T01:00:00Z", "2026-12-28T01:00:00Z"]);
    let pump = [&["--device", "pump-1"][..], &from].concat();
    assert_eq!(starts(&kim, &pump).await, ["2026-12-29T02:00:00Z", "2027-01-05T02:00:00Z"]);

    // A plan goes by the same.
    let plan =
        ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--slots", "1", "--slack", "60s"];
    let planned = kim
        .json(&[&plan[..], &["--not-before", "2026-12-20T00:00:00Z", "--horizon", "60d", "--spread", "0s"]].concat())
        .await
        .unwrap();
    let slots: Vec<&str> = planned["plan"]["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["slots"][0]["start"].as_str().unwrap())
        .collect();
    assert_eq!(slots, ["2026-12-29T02:00:00Z", "2026-12-27T01:00:00Z"], "{planned}");
    let pins: Vec<&str> = planned["plan"]["wards"][0]["calendars"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].as_str().unwrap())
        .collect();
    assert_eq!(pins, ["calendars/devices/pump-1.json", "calendars/hospital.json", "calendars/wards/icu.json"]);

    // Taken off, the device goes by its ward's again; what is not there cannot be.
    kim.run(&["calendar", "remove", "--device", "pump-1"]).await.unwrap();
    assert_eq!(starts(&kim, &pump).await, ["2026-12-27T01:00:00Z", "2026-12-28T01:00:00Z"]);
    let failed = kim.run(&["calendar", "remove", "--device", "pump-1"]).await.unwrap_err();
    assert!(failed.said.contains("device pump-1 has no calendar"), "{}", failed.said);
    let failed = kim.run(&["calendar", "set", "--zone", "UTC", "--freeze", "2026-12-24"]).await.unwrap_err();
    assert!(failed.said.contains("whose calendar"), "{}", failed.said);

    // To the change board and back.
    let file = world.path("icu.ics");
    kim.run(&["calendar", "export", "icu", "-o", text(&file)]).await.unwrap();
    kim.run(&["calendar", "set", "er", "--ics", text(&file)]).await.unwrap();
    let ward = |ward| [&[ward][..], &from].concat();
    assert_eq!(starts(&kim, &ward("er")).await, starts(&kim, &ward("icu")).await);

    // What is only looked at needs no server.
    world.stop_server().await;
    let rule = ["--rrule", "FREQ=WEEKLY;BYDAY=SU", "--dtstart", "2026-03-22T02:30", "--zone", "Europe/Vienna"];
    let never = ["--rrule", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "--dtstart", "2026-01-01T02:00", "--zone", "UTC"];
    assert!(starts(&kim, &[&never[..], &["--duration", "1h"]].concat()).await.is_empty());
    let more = ["--duration", "2h", "--exclude", "2026-04-05", "--count", "3"];
    let shown: Value = kim.json(&[&["calendar", "preview"][..], &rule, &more].concat()).await.unwrap();
    let opening = |start, end, local, local_end| json!({ "start": start, "end": end, "local": local, "local_end": local_end, "zone": "Europe/Vienna" });
    assert_eq!(
        shown,
        json!([
            opening(
                "2026-03-22T01:30:00Z",
                "2026-03-22T03:30:00Z",
                "2026-03-22T02:30:00+01:00",
                "2026-03-22T04:30:00+01:00"
            ),
            opening(
                "2026-03-29T01:00:00Z",
                "2026-03-29T03:00:00Z",
                "2026-03-29T03:00:00+02:00",
                "2026-03-29T05:00:00+02:00"
            ),
            opening(
                "2026-04-12T00:30:00Z",
                "2026-04-12T02:30:00Z",
                "2026-04-12T02:30:00+02:00",
                "2026-04-12T04:30:00+02:00"
            ),
        ])
    );
}
