//! The whole life of a product in eight simulated years, in one process and by a clock that the test moves: release, advisory,
//! a patch out of cycle within its 30 and 60 days, the notice of its end of life, limited support, end of support, an
//! accepted risk, and the way out of use. Nothing of it is lost on the way.

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::{Value, json};
use suture_core::approval::SignedDocument as _;
use suture_core::clock::{Clock as _, day_of};
use suture_core::plan::Plan;
use suture_tests::world::{HDO, text};

use crate::hospital::{ASSESS, Hospital, PLAN};

const ADVISORY: &str = r#"
kind = "advisory"
product = "pump"
releases = ["1"]
severity = "critical"
cves = ["CVE-2027-12345"]
subject = "the alarm can be silenced over the network"
text = "Whoever is on the pump's network can silence its alarm."
actions = "Install release 2 out of cycle."
compensating = "Keep the pumps on a network of their own."
"#;

const END: &str = r#"
kind = "KIND"
product = "pump"
releases = ["1..9"]
severity = "medium"
subject = "support changes"
text = "Not everything is patched from that day on."
actions = "Plan what takes its place."
compensating = "A network of its own."
support = { service_change = "DAY", operating_system = "Linux 6.12", maintenance = "patches until then", upgrades = [
    { scope = "full-replacement", text = "pump II" },
] }
"#;

fn today(h: &Hospital) -> Date {
    day_of(h.world.clock.now())
}

/// Lets years pass in which everything that ends is renewed: certificates, roots, lists, what the server signs.
async fn years(h: &mut Hospital, days: i64) {
    let mut left = days;
    while left > 0 {
        let step = left.min(300);
        h.world.idle(step).await;
        h.ada.run(&["whoami"]).await.unwrap();
        h.kim.run(&["whoami"]).await.unwrap();
        h.world.next_root(&h.ada, "catalog").await;
        h.world.next_root(&h.kim, "approvals/riverside").await;
        for pump in &mut h.pumps {
            pump.cycle().await;
        }
        left -= step;
    }
    h.ada.run(&["catalog", "renew"]).await.unwrap();
    h.kim.run(&["approvals", "renew"]).await.unwrap();
}

/// The stage of the first pump, as the hospital reads it.
async fn stage(h: &Hospital) -> Value {
    let devices = h.kim.json(&["life", "list"]).await.unwrap();
    devices.as_array().unwrap().iter().find(|d| d["device"] == "pump-1").unwrap()["stage"].clone()
}

/// Tells the hospital of an end, reads and answers it there.
async fn end(h: &Hospital, kind: &str, flag: &str, day: Date, number: u64) {
    let file = h.world.path(format!("{kind}.toml"));
    std::fs::write(&file, END.replace("KIND", kind).replace("DAY", &day.to_string())).unwrap();
    let set = ["life", "set", "pump", flag, &day.to_string(), "--reason", "the board is no longer made"];
    h.ada.run(&[&set[..], &["--not-covered", "the Bluetooth stack", "--notice", text(&file)]].concat()).await.unwrap();
    let shown = h.kim.run(&["notice", "show", &number.to_string()]).await.unwrap();
    assert!(shown.contains(&day.to_string()) && shown.contains("pump II"), "{shown}");
    let text = ["--text", "a replacement is in the budget"];
    h.kim.run(&[&["notice", "acknowledge", &number.to_string()][..], &text].concat()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_its_release_until_it_is_out_of_use() {
    let mut h = Hospital::open().await;
    let born = today(&h);
    let set = ["life", "set", "pump", "--general-availability", &born.to_string(), "--reason", "released"];
    h.ada.run(&set).await.unwrap();
    assert_eq!(stage(&h).await, json!("support"));
    let duty = ["--cell", "apply-patches@support=shared-manufacturer:contract 4711", "--from", &born.to_string()];
    let propose = ["responsibilities", "propose", "pump", "--hdo", HDO, "--reason", "their engineers are on site"];
    h.ada.run(&[&propose[..], &duty].concat()).await.unwrap();
    h.kim.run(&["responsibilities", "sign", "pump", "1"]).await.unwrap();

    // A vulnerability is learned of; customers are told at once, and the patch is confirmed within the 60 days.
    h.world.pass(60);
    let spec = h.world.path("advisory.toml");
    std::fs::write(&spec, ADVISORY).unwrap();
    let sent = h.ada.json(&["notice", "publish", text(&spec)]).await.unwrap();
    let id = sent["id"].as_str().unwrap().to_owned();
    let learned = today(&h).to_string();
    h.world.idle(2).await;
    h.kim.run(&["notice", "show", "1"]).await.unwrap();
    h.kim.run(&["notice", "acknowledge", "1", "--text", "both pumps are patched this week"]).await.unwrap();
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    h.confirms(&rollout).await;
    let clocks = ["notice", "clocks", "pump@2", "--learned", &learned, "--notice", &id];
    let clocks = h.ada.json(&clocks).await.unwrap();
    let hospital = &clocks["hospitals"][0];
    assert_eq!((&hospital["told_in_time"], &hospital["confirmed_in_time"]), (&json!(true), &json!(1)), "{clocks}");

    // Two years later the end is announced, at least two years ahead, and the hospital answers.
    years(&mut h, 730).await;
    let (eol, eos) = (born + 5.years(), born + 7.years());
    end(&h, "end-of-life", "--eol", eol, 2).await;
    h.world.pass(60);
    end(&h, "end-of-support", "--eos", eos, 3).await;
    assert_eq!(stage(&h).await, json!("support"), "announced is not begun");

    // Limited support: the hospital sees what is no longer covered, and rolls out all the same.
    years(&mut h, 3 * 365 + 5).await;
    assert_eq!(stage(&h).await, json!("limited-support"));
    let device = h.kim.run(&["device", "show", "pump-1"]).await.unwrap();
    assert!(device.contains("no longer covered: the Bluetooth stack"), "{device}");
    let near = h.kim.json(&["life", "list", "--within", "730"]).await.unwrap();
    assert_eq!(near.as_array().unwrap().len(), 2, "both lose it within two years: {near}");

    // End of support: by an accepted risk alone, which holds for a quarter and is overdue after it.
    years(&mut h, 2 * 365).await;
    assert_eq!(stage(&h).await, json!("end-of-support"));
    let plan = [&["rollout", "plan", "--bundle", "pump@2", "--device", "pump-2"][..], &PLAN[4..]].concat();
    let file = h.world.path("plan.json");
    h.kim.run(&[&plan[..], &["-o", text(&file)]].concat()).await.unwrap();
    let approve = ["rollout", "approve", text(&file), "--reason", "no other pump"];
    assert!(h.kim.run(&approve).await.unwrap_err().said.contains("support of pump@2 is over"));
    h.kim.run(&ASSESS).await.unwrap();
    let rollout = h.kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned();
    let plan = Plan::parse(&std::fs::read(&file).unwrap()).unwrap();
    h.world.clock.set(plan.devices[0].slots[0].start);
    // What the server has signed meanwhile.
    h.world.idle(0).await;
    let state = h.pumps[1].cycle().await;
    let shown = h.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!(shown["devices"][0]["phase"], json!("confirmed"), "{state}: {shown}");
    years(&mut h, 120).await;
    let overdue = h.kim.json(&["risk", "overdue"]).await.unwrap();
    assert_eq!(overdue[0]["number"], json!(1), "{overdue}");

    // Out of use: refused from then on, and all of it is still to be read.
    for pump in ["pump-1", "pump-2"] {
        h.kim.run(&["device", "decommission", pump, "--reason", "replaced by pump II; disk wiped"]).await.unwrap();
    }
    assert_eq!(h.kim.json(&["device", "list"]).await.unwrap(), json!([]));
    let device = h.kim.run(&["device", "show", "pump-1"]).await.unwrap();
    assert!(device.contains("replaced by pump II") && device.contains("1.1.0"), "{device}");
    let before = h.kim.json(&["device", "show", "pump-1"]).await.unwrap()["last_seen"].clone();
    h.world.pass(3_600);
    h.pumps[0].cycle().await;
    let after = h.kim.json(&["device", "show", "pump-1"]).await.unwrap()["last_seen"].clone();
    assert_eq!(after, before, "it is refused, and says nothing any more");
    let history = h.kim.json(&["life", "history", "pump"]).await.unwrap();
    assert_eq!(history.as_array().unwrap().len(), 3);
    let notices = h.kim.json(&["notice", "list"]).await.unwrap();
    assert_eq!(notices.as_array().unwrap().len(), 3, "{notices}");
    h.kim.run(&["audit", "verify"]).await.unwrap();
    assert!(
        h.ada.run(&["responsibilities", "show", "pump", "--hdo", HDO]).await.unwrap().contains("end-of-support (now)")
    );
    evidence(&h).await;
}

/// What an auditor of either side gets of all that, signed by whoever made it, and verified without a server.
async fn evidence(h: &Hospital) {
    for (who, name) in [(&h.kim, "kim"), (&h.ada, "ada")] {
        let folder = h.world.path(format!("evidence-{name}"));
        who.run(&["evidence", "product", "pump", "-o", text(&folder)]).await.unwrap();
        let verified = h.kim.json(&["evidence", "verify", text(&folder), "--signed"]).await.unwrap();
        assert_eq!(verified["signed"]["name"], name, "{verified}");
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let notices: Value = serde_json::from_str(&read("facts/notices.json")).unwrap();
        let notices = notices.as_array().unwrap();
        assert_eq!(notices.len(), 3, "{notices:?}");
        for notice in notices {
            let answer = &notice["acknowledged"];
            assert_eq!((&answer["by"], &answer["signed"]), (&json!("kim"), &json!(true)), "{notice}");
            assert_eq!((&notice["read"]["by"], &notice["verified"]), (&json!("kim"), &json!(true)), "{notice}");
        }
        let page = read("index.html");
        assert!(
            page.contains("shared-manufacturer *: contract 4711") && page.contains("end-of-support (now)"),
            "{page}"
        );
        // The hospital's register of risk is the hospital's own.
        assert_eq!(
            (page.contains("its replacement is late"), folder.join("risks").exists()),
            (name == "kim", name == "kim")
        );
        assert_eq!(folder.join("hospitals").exists(), name == "ada");
        // Without the signature it stands, as far as it is signed by others; with another's it does not.
        std::fs::remove_file(folder.join("signature.json")).unwrap();
        let unsigned = h.kim.json(&["evidence", "verify", text(&folder)]).await.unwrap();
        assert_eq!(unsigned["signed"], Value::Null);
        let refused = h.kim.run(&["evidence", "verify", text(&folder), "--signed"]).await.unwrap_err();
        assert!(refused.exit == 5 && refused.said.contains("nobody has signed it"), "{}", refused.said);
    }
}
