//! What the manufacturer does not let be done in one step is done in several, or not at all; and who is meant is said by labels
//! that the hospital has signed.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_tests::world::{Spec, text};

use crate::hospital::{Hospital, untouched};

const WARNING: &str = "[[risk]]\nfrom = \"1\"\nhardware = [\"rev-a\"]\ntext = \"the alarm stays silent\"\n\
                       url = \"https://acme.example/fsn/12\"\n";

fn start(plan: &Value, slot: usize) -> Timestamp {
    plan["plan"]["devices"][0]["slots"][slot]["start"].as_str().unwrap().parse().unwrap()
}

async fn phase(hospital: &Hospital, rollout: &str) -> (Value, Value) {
    let shown = hospital.kim.json(&["rollout", "show", rollout]).await.unwrap();
    (shown["state"].clone(), shown["devices"][0]["phase"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pump_that_is_too_old_is_led_over_the_release_between_by_one_approval() {
    let mut hospital = Hospital::open().await;
    hospital.world.publish(&hospital.ada, Spec { release: 3, min_release: 2, ..Spec::default() }).await;
    // What it runs is known once it has said so.
    hospital.pumps[0].cycle().await;
    let file = hospital.world.path("plan.json");
    let args = ["rollout", "plan", "--bundle", "pump@3", "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let plan = hospital.kim.json(&[&args[..], &["-o", text(&file)]].concat()).await.unwrap();
    assert_eq!(plan["plan"]["way"][0]["step"]["release"], 2);
    assert_eq!(plan["plan"]["devices"][0]["slots"].as_array().unwrap().len(), 2, "a slot for each step");
    let approved = ["rollout", "approve", text(&file), "--reason", "tested on the bench"];
    let approved = hospital.kim.json(&approved).await.unwrap();
    let rollout = approved["rollout"].as_str().unwrap().to_owned();

    // The first step; what is left of its slot does not hold the second, which waits for its own.
    hospital.world.clock.set(start(&plan, 0));
    hospital.pumps[0].cycle().await;
    assert_eq!(hospital.pumps[0].runs(), "1.1.0");
    hospital.world.clock.set(start(&plan, 1) - SignedDuration::from_secs(30));
    let waits = hospital.pumps[0].cycle().await;
    assert!(waits.starts_with("waiting("), "{waits}");
    assert_eq!(hospital.pumps[0].runs(), "1.1.0");
    let (state, told) = phase(&hospital, &rollout).await;
    assert_eq!(state, "running", "the gate counts it when its last step runs");
    assert_ne!(told, "confirmed");
    assert_eq!(hospital.pumps[0].interlock_log(), ["claim", "release"]);

    hospital.world.clock.set(start(&plan, 1));
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[0].runs(), "1.2.0");
    assert_eq!(phase(&hospital, &rollout).await, (json!("complete"), json!("confirmed")));

    // The way back is one step, by the pump's own reports to what ran before the rollout.
    let back = ["rollout", "rollback", &rollout, "--reason", "alarm tone", "--slots", "1", "--slack", "60s", "--yes"];
    let back = hospital.kim.json(&back).await.unwrap();
    assert_eq!(back["plan"]["bundle"]["step"]["release"], 1);
    hospital.world.clock.set(start(&back, 0));
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[0].runs(), "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_the_manufacturer_warns_of_is_not_planned_and_refused_by_the_pump_itself() {
    let mut hospital = Hospital::open().await;
    let third = Spec { release: 3, more: WARNING, ..Spec::default() };
    let third = hospital.world.publish(&hospital.ada, third).await;
    let inspected = hospital.ada.run(&["bundle", "inspect", text(&third.dir)]).await.unwrap();
    assert!(inspected.contains("from release 1 on rev-a: the manufacturer warns"), "{inspected}");

    // Around it, by way of the second.
    hospital.pumps[0].cycle().await;
    let args = ["rollout", "plan", "--bundle", "pump@3", "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let plan = hospital.kim.json(&args).await.unwrap();
    assert_eq!(plan["plan"]["way"][0]["step"]["release"], 2);
    hospital.ada.run(&["catalog", "set-status", "pump", "2", "withdrawn"]).await.unwrap();
    let plan = hospital.kim.json(&args).await.unwrap();
    let reason = &plan["plan"]["blocked"][0]["reason"];
    assert_eq!((&reason["code"], plan["plan"]["devices"].as_array().unwrap().len()), (&json!("known-risk"), 0));
    assert!(reason["text"].as_str().unwrap().contains("stays silent (https://acme.example/fsn/12)"), "{reason}");

    // Signed all the same, it is refused where it would be installed, for good.
    hospital.ada.run(&["catalog", "set-status", "pump", "2", "current"]).await.unwrap();
    let mut draft = hospital.draft().await;
    draft.0.terms.steps = vec![third.step()];
    draft.0.terms.max_attempts = 3;
    let (rollout, begins, _) = hospital.approve(draft).await;
    hospital.world.clock.set(begins);
    hospital.pumps[0].cycle().await;
    untouched(&hospital.pumps[0], "1.0.0");
    assert_eq!(hospital.reported(&rollout).await, ("failed".to_owned(), "known-risk".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_count_once_they_are_signed_and_the_hospitals_own_list_signs_them_anew() {
    let mut hospital = Hospital::open().await;
    for pump in &mut hospital.pumps {
        pump.cycle().await;
    }
    let csv = hospital.world.path("labels.csv");
    let list = |kind: &str| {
        let rows = format!("pump-1,pump,rev-a,icu,area=icu kind={kind}\npump-2,pump,rev-a,icu,area=icu\n");
        fs::write(&csv, format!("id,product,hardware,ward,labels\n{rows}")).unwrap();
    };
    list("bedside");
    let kim = &hospital.kim;
    let planned = async || {
        let args = ["rollout", "plan", "--bundle", "pump@2", "--label", "area=icu", "--label", "kind=bedside"];
        let plan = kim.json(&[&args[..], &["--slots", "1", "--slack", "60s"]].concat()).await;
        plan.map(|p| p["plan"]["devices"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect::<Vec<_>>())
    };
    let import = ["device", "import", "--csv", text(&csv)];
    assert_eq!(kim.json(&import).await.unwrap()["changed"], 2);
    assert!(planned().await.is_err(), "the server's word labels nobody");
    let shown = kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!((&shown["differs_from_roster"], &shown["labels"]), (&json!(true), &json!({})));

    let update = ["roster", "update", "--csv", text(&csv)];
    let dry = kim.json(&[&update[..], &["--dry-run"]].concat()).await.unwrap();
    assert_eq!((&dry["devices"], &dry["signed"]), (&json!(2), &json!(false)));
    assert!(planned().await.is_err());
    let signed = kim.json(&update).await.unwrap();
    assert_eq!(
        signed["changes"][0],
        json!({
            "device": "pump-1", "field": "labels", "before": "", "after": "area=icu kind=bedside",
        })
    );
    assert_eq!(planned().await.unwrap(), ["pump-1"]);
    let listed = kim.json(&["device", "list", "--label", "kind=bedside"]).await.unwrap();
    assert_eq!((&listed[0]["id"], listed.as_array().unwrap().len()), (&json!("pump-1"), 1));
    assert_eq!(kim.json(&update).await.unwrap()["devices"], 0, "once is enough");

    // By what they run, by their own signed word.
    let running = ["rollout", "plan", "--bundle", "pump@2", "--running", "2..9", "--slots", "1", "--slack", "60s"];
    assert!(kim.run(&running).await.unwrap_err().said.contains("no device of pump is selected"));
    list("mobile");
    kim.run(&update).await.unwrap();
    assert!(planned().await.is_err());
}
