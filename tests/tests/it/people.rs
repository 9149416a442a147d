//! What people at both sides do and see: suggestions, decisions, a withdrawal and its reason, counts, and the answer to "why
//! not?".

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use suture_core::clock::Clock as _;
use suture_tests::world::{Failed, HDO};

use crate::hospital::Hospital;

fn refused(outcome: Result<impl std::fmt::Debug, Failed>, exit: u8, told: &[&str]) {
    let failed = outcome.unwrap_err();
    assert_eq!(failed.exit, exit, "{}", failed.said);
    for words in told {
        assert!(failed.said.contains(words), "{words:?} is not in: {}", failed.said);
    }
}

/// The counts of the hospital.
async fn adoption(h: &Hospital) -> Value {
    let adoption = h.ada.json(&["bundle", "adoption", "pump@2"]).await.unwrap();
    assert_eq!(adoption["hospitals"].as_array().unwrap().len(), 1, "{adoption}");
    assert!(!adoption.to_string().contains("pump-1") && !adoption.to_string().contains("icu"), "{adoption}");
    adoption["hospitals"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suggestion_is_deferred_then_taken_up_and_counted_at_the_manufacturer() {
    let mut h = Hospital::open().await;
    let today = h.world.clock.now();
    let deadline = (today + SignedDuration::from_hours(24 * 60)).strftime("%Y-%m-%dT00:00:00Z").to_string();
    // The manufacturer suggests; each side sees its own.
    let propose = ["rollout", "propose", "pump@2", "--all", "--note", "the alarm is louder", "--wave", "1"];
    let propose = [&propose[..], &["--wave", "rest", "--soak", "1h", "--deadline", &deadline]].concat();
    refused(h.kim.run(&propose).await, 1, &["manufacturer"]);
    let unknown = ["rollout", "propose", "pump@2", "--hdo", "nowhere", "--note", "x"];
    refused(h.ada.run(&unknown).await, 3, &["no hospital nowhere", "hdo list"]);
    let unknown = ["rollout", "propose", "pump@9", "--all", "--note", "x"];
    refused(h.ada.run(&unknown).await, 3, &["no pump release 9"]);
    refused(h.ada.run(&[&propose[..], &["--lasts", "91d"]].concat()).await, 3, &["a second to 90 days"]);
    let sent = h.ada.json(&propose).await.unwrap();
    assert_eq!(sent["hospitals"], json!([HDO]));
    let listed = h.kim.json(&["rollout", "proposals"]).await.unwrap();
    assert_eq!(listed, h.ada.json(&["rollout", "proposals"]).await.unwrap());
    let (id, only) = (sent["proposal"].as_str().unwrap(), &listed[0]);
    assert_eq!((only["id"].as_str(), &only["bundle"], &only["by"]), (Some(id), &json!("pump@2"), &json!("ada")));
    // A second one of the same bundle takes its place.
    let again = h.ada.json(&propose).await.unwrap();
    let listed = h.kim.json(&["rollout", "proposals"]).await.unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &again["proposal"]));
    let id = again["proposal"].as_str().unwrap().to_owned();
    // Taken back it is gone, and who had it reads why.
    let back = ["rollout", "take-back", &id, "--reason", "the notes are wrong"];
    refused(h.kim.run(&back).await, 1, &["manufacturer"]);
    refused(h.ada.run(&[&back[..], &["--hdo", "nowhere"]].concat()).await, 3, &["nowhere has no proposal"]);
    assert_eq!(h.ada.json(&back).await.unwrap()["taken_back_from"], json!([HDO]));
    assert_eq!(h.kim.json(&["rollout", "proposals"]).await.unwrap(), json!([]));
    refused(h.ada.run(&back).await, 3, &["there is no proposal"]);
    assert!(h.kim.run(&["audit", "list", "--limit", "1000"]).await.unwrap().contains("the notes are wrong"));
    let id = h.ada.json(&propose).await.unwrap()["proposal"].as_str().unwrap().to_owned();

    // Not yet: with what protects the pumps meanwhile, and until when.
    let defer = ["rollout", "approve", "pump@2", "--defer", "--reason", "the ward is rebuilt"];
    refused(h.kim.run(&defer).await, 2, &["--compensating", "--review"]);
    let words = ["--compensating", "a network of their own", "--review", "2020-01-01"];
    refused(h.kim.run(&[&defer[..], &words].concat()).await, 1, &["2020-01-01", "today"]);
    let review = today.strftime("%Y-%m-%d").to_string();
    let words = ["--compensating", "a network of their own", "--review", &review];
    let decided = h.kim.json(&[&defer[..], &words].concat()).await.unwrap();
    assert_eq!((&decided["number"], &decided["approved"]), (&json!(1), &json!(false)));
    assert_eq!(decided["signed"], json!(true), "kim has a key");
    let hospital = adoption(&h).await;
    assert_eq!((&hospital["decision"], &hospital["review"]), (&json!("deferred"), &json!(review)));
    assert_eq!((&hospital["devices"], &hospital["confirmed"], &hospital["others"]), (&json!(2), &json!(0), &json!(2)));
    h.world.pass(3 * 86_400);
    let decisions = h.kim.json(&["rollout", "decisions"]).await.unwrap();
    assert_eq!((&decisions[0]["choice"], &decisions[0]["overdue_days"]), (&json!("deferred"), &json!(3)));
    assert!(decisions[0]["signed_by"].is_string(), "{decisions}");
    let bundles = h.kim.json(&["bundle", "list"]).await.unwrap();
    let second = bundles.as_array().unwrap().iter().find(|b| b["release"] == 2).unwrap();
    assert_eq!(second["decision"]["overdue_days"], json!(3));
    assert!(h.kim.run(&["bundle", "list"]).await.unwrap().contains("OVERDUE"));
    refused(h.ada.run(&["rollout", "decisions"]).await, 1, &["hospital"]);
    for (who, action) in [(&h.kim, "bundle.deferred"), (&h.kim, "rollout.proposed"), (&h.ada, "rollout.proposed")] {
        let audit = who.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
        assert!(audit.contains(action), "{action}: {audit}");
    }
    assert!(!h.ada.run(&["audit", "list", "--limit", "1000"]).await.unwrap().contains("the ward is rebuilt"));

    // Then it plans what was suggested, with one flag of its own, and a decision on the plan answers the one on the bundle.
    refused(h.kim.run(&["rollout", "plan", "--proposal", "0000"]).await, 1, &["no proposal", "rollout proposals"]);
    let plan = ["rollout", "plan", "--proposal", &id, "--slots", "1", "--slack", "60s"];
    let suggested = h.kim.json(&plan).await.unwrap();
    assert_eq!(suggested["plan"]["waves"][0]["gate"]["soak_secs"], json!(3_600));
    let plan = h.kim.json(&[&plan[..], &["--soak", "0s"]].concat()).await.unwrap();
    assert_eq!(plan["plan"]["waves"][0]["gate"]["soak_secs"], json!(0));
    assert_eq!(plan["plan"]["waves"].as_array().unwrap().len(), 2);
    let digest = plan["sha256"].as_str().unwrap();
    let late = (today + SignedDuration::from_hours(24 * 30)).strftime("%Y-%m-%d").to_string();
    let decline = ["rollout", "approve", digest, "--decline", "--reason", "too fast", "--review", &late];
    h.kim.run(&[&decline[..], &["--compensating", "none is needed"]].concat()).await.unwrap();
    let all = h.kim.json(&["rollout", "decisions", "--all"]).await.unwrap();
    assert_eq!((&all[0]["plan_sha256"], &all[1]["later"]), (&json!(digest), &json!(2)));
    h.world.pass(2);
    let approved = h.kim.json(&["rollout", "approve", digest, "--reason", "tested after all"]).await.unwrap();
    let rollout = approved["rollout"].as_str().unwrap().to_owned();
    assert_eq!(h.kim.json(&["rollout", "decisions"]).await.unwrap(), json!([]), "the rollout answers it");
    let hospital = adoption(&h).await;
    assert_eq!(hospital["decision"], Value::Null);
    assert_eq!((&hospital["under_way"], &hospital["open_rollouts"]), (&json!(2), &json!(1)));

    // The first wave installs, and its device's signed report is what counts.
    let slot =
        |n: usize| -> Timestamp { plan["plan"]["devices"][n]["slots"][0]["start"].as_str().unwrap().parse().unwrap() };
    h.world.clock.set(slot(0).max(h.world.clock.now()));
    assert_eq!(h.pumps[0].cycle().await, "idle(up-to-date)");
    let hospital = adoption(&h).await;
    assert_eq!((&hospital["confirmed"], &hospital["under_way"]), (&json!(1), &json!(1)));
    assert!(hospital["last_heard"].is_string(), "{hospital}");
    let why = h.kim.json(&["rollout", "why", &rollout]).await.unwrap();
    assert_eq!(why["unmet"][0]["code"], "before-slot", "{why}");
    assert_eq!((&why["unmet"][0]["by"], &why["unmet"][0]["met_by"]), (&json!("signed"), &json!("time")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_says_whom_it_halts_and_every_hospital_reads_why() {
    let mut h = Hospital::open().await;
    let plan = ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--slots", "1", "--slack", "60s"];
    let plan = h.kim.json(&plan).await.unwrap();
    let approve = ["rollout", "approve", plan["sha256"].as_str().unwrap(), "--reason", "tested"];
    let rollout = h.kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned();
    let withdraw = ["bundle", "withdraw", "pump@2", "--reason", "the alarm is too quiet"];
    refused(h.kim.run(&withdraw).await, 1, &["manufacturer"]);
    refused(h.ada.run(&["bundle", "withdraw", "pump@9", "--reason", "x"]).await, 3, &["no pump release 9"]);
    let done = h.ada.json(&withdraw).await.unwrap();
    assert_eq!((&done["rollouts"], &done["hospitals"], &done["changed"]), (&json!(1), &json!(1), &json!(true)));
    let again = h.ada.json(&withdraw).await.unwrap();
    assert_eq!((&again["changed"], &again["targets_version"]), (&json!(false), &Value::Null));

    // Every word of it is the manufacturer's, by the signed catalog.
    let list = h.kim.json(&["rollout", "list"]).await.unwrap();
    assert_eq!(list[0]["withdrawn"], "the alarm is too quiet");
    assert!(h.kim.run(&["rollout", "list"]).await.unwrap().contains("WITHDRAWN by the manufacturer: the alarm is too"));
    let shown = h.kim.run(&["rollout", "show", &rollout]).await.unwrap();
    assert!(shown.contains("WITHDRAWN by the manufacturer: the alarm is too quiet"), "{shown}");
    assert!(h.kim.run(&["bundle", "list"]).await.unwrap().contains("withdrawn: the alarm is too quiet"));
    let why = h.kim.json(&["rollout", "why", &rollout]).await.unwrap();
    let first = &why["unmet"][0];
    assert_eq!((&first["by"], &first["code"]), (&json!("signed"), &json!("withdrawn")), "{why}");
    assert!(first["text"].as_str().unwrap().contains("the alarm is too quiet"), "{why}");
    let device = h.kim.json(&["device", "why", "pump-1"]).await.unwrap();
    assert_eq!((&device[0]["by"], &device[0]["code"]), (&json!("signed"), &json!("withdrawn")), "{device}");
    // The pump, in its slot, refuses it by itself.
    let start: Timestamp = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap().parse().unwrap();
    h.world.clock.set(start);
    assert_eq!(h.pumps[0].cycle().await, "idle(withdrawn)");
    h.untouched();
    // What is current again is so for no old reason.
    h.ada.run(&["catalog", "set-status", "pump", "2", "current"]).await.unwrap();
    assert!(!h.kim.run(&["bundle", "list"]).await.unwrap().contains("too quiet"));
}
