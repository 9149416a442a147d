//! Two forks of one version of the approvals, shown to two devices: whoever has stolen the targets key and the server signs
//! two contents under one number. No device can tell; the server and every `suturectl` raise the alarm.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::hospital::Hospital;

const UNTRUSTED: u8 = 5;

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn calendar(day: &str) -> [String; 7] {
    let weekly = format!("{day} 00:00 6h");
    ["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", &weekly].map(ToOwned::to_owned)
}

async fn publish(by: &suture_tests::world::Operator, day: &str) {
    let line = calendar(day);
    by.run(&line.each_ref().map(String::as_str)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_history_raises_none_whoever_is_behind() {
    let mut hospital = Hospital::open().await;
    for pump in &mut hospital.pumps {
        pump.cycle().await;
        pump.cycle().await;
    }
    publish(&hospital.kim, "mon").await;
    publish(&hospital.kim, "tue").await;
    hospital.pumps[0].cycle().await;
    hospital.pumps[0].cycle().await;
    // One device is ahead of the other, and a colleague has seen nothing yet of either.
    let invitation = hospital.kim.json(&["operator", "invite", "lee"]).await.unwrap();
    let lee = hospital.world.operator("lee");
    lee.run(&["join", invitation["token"].as_str().unwrap()]).await.unwrap();
    for operator in [&hospital.kim, &lee] {
        operator.run(&["device", "list"]).await.unwrap();
        operator.run(&["device", "show", "pump-2"]).await.unwrap();
        operator.run(&["approvals", "status"]).await.unwrap();
    }
    let status = hospital.kim.json(&["approvals", "status"]).await.unwrap();
    let edition = status["edition"].as_str().unwrap();
    lee.run(&["approvals", "status", "--expect", edition]).await.unwrap();
    let (version, _) = edition.split_once(':').unwrap();
    let other = format!("{version}:{}", "0".repeat(64));
    let failed = lee.run(&["approvals", "status", "--expect", &other]).await.unwrap_err();
    assert!(failed.exit == UNTRUSTED && failed.said.contains("you expect"), "{}", failed.said);
    lee.run(&["approvals", "status"]).await.unwrap();
    // The catalog likewise, at the hospital and at the manufacturer.
    let status = hospital.ada.json(&["catalog", "status"]).await.unwrap();
    let edition = status["edition"].as_str().unwrap();
    let (version, _) = edition.split_once(':').unwrap();
    let other = format!("{version}:{}", "0".repeat(64));
    for operator in [&hospital.ada, &lee] {
        let status = operator.json(&["catalog", "status", "--expect", edition]).await.unwrap();
        assert_eq!(status["alarms"], serde_json::json!([]));
        let failed = operator.run(&["catalog", "status", "--expect", &other]).await.unwrap_err();
        assert!(failed.exit == UNTRUSTED && failed.said.contains("you expect"), "{}", failed.said);
        operator.run(&["catalog", "status"]).await.unwrap();
    }
    let shown = lee.run(&["device", "show", "pump-1"]).await.unwrap();
    assert!(shown.contains("(proven by the device's signature)"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_forks_shown_to_two_devices_are_an_alarm_at_the_server_and_in_every_ctl() {
    let mut hospital = Hospital::open().await;
    for pump in &mut hospital.pumps {
        pump.cycle().await;
    }
    let data = hospital.world.data_dir().to_owned();
    let (honest, forked) = (hospital.world.path("honest"), hospital.world.path("forked"));
    hospital.world.stop_server().await;
    copy(&data, &forked);
    copy(hospital.kim.home(), &hospital.world.path("home-thief"));
    let thief = hospital.world.operator("thief");

    hospital.world.start_server().await;
    publish(&hospital.kim, "mon").await;
    hospital.pumps[0].cycle().await;

    hospital.world.stop_server().await;
    fs::rename(&data, &honest).unwrap();
    fs::rename(&forked, &data).unwrap();
    hospital.world.start_server().await;
    publish(&thief, "tue").await;
    hospital.pumps[1].cycle().await;

    hospital.world.stop_server().await;
    fs::rename(&data, &forked).unwrap();
    fs::rename(&honest, &data).unwrap();
    hospital.world.start_server().await;
    hospital.kim.run(&["device", "list"]).await.unwrap();
    for pump in &mut hospital.pumps {
        pump.cycle().await;
    }

    for command in [&["device", "list"][..], &["device", "show", "pump-2"], &["approvals", "status"]] {
        let failed = hospital.kim.run(command).await.unwrap_err();
        let said = &failed.said;
        assert_eq!(failed.exit, UNTRUSTED, "{said}");
        for part in
            ["FORK", "pump-2 verified, by its own signature", "pump-2 verified, as the server says", "rollout stop"]
        {
            assert!(said.contains(part), "{command:?}: {part}: {said}");
        }
        assert!(!said.contains("pump-1"), "{said}");
    }
    // The other pump is as it should be.
    hospital.kim.run(&["device", "show", "pump-1"]).await.unwrap();
    let audit = hospital.kim.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
    assert_eq!(audit.matches("fork.alarm").count(), 1, "{audit}");
    // Whoever built upon the fork is told so by what follows the other, whatever the server says of devices.
    publish(&hospital.kim, "wed").await;
    // First of all by the server's record, which was another one at the fork; that is forgotten here.
    let failed = thief.run(&["approvals", "status"]).await.unwrap_err();
    assert!(failed.exit == UNTRUSTED && failed.said.contains("the audit record was rewritten"), "{}", failed.said);
    thief.run(&["audit", "restart", "--reason", "the server's record was set back"]).await.unwrap();
    let failed = thief.run(&["approvals", "status"]).await.unwrap_err();
    assert!(failed.exit == UNTRUSTED && failed.said.contains("two contents under version"), "{}", failed.said);
    let again = thief.run(&["device", "list"]).await.unwrap_err();
    assert!(again.said.contains("two contents under version"), "it does not fall silent: {}", again.said);
    // The device goes by what is newest, and the alarm is over; it stays in sight. It has doubts about the server's record too,
    // which was another one at the fork, until a person there has that forgotten.
    hospital.pumps[1].crash();
    suture_agent::record::forget(&hospital.pumps[1].dir.join("state")).unwrap().unwrap();
    hospital.pumps[1].cycle().await;
    hospital.pumps[1].cycle().await;
    let shown = hospital.kim.run(&["device", "show", "pump-2"]).await.unwrap();
    assert!(shown.contains("(over since"), "{shown}");
}
