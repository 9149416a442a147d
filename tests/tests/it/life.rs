//! A product whose support ends: what the manufacturer says of it, what each side has agreed to do, and what a hospital may
//! still roll out, by whose word. In the end a device goes out of use.

use std::fs;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde_json::json;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::{Clock as _, day_of};
use suture_core::life::{Change, Life};
use suture_tests::world::{Failed, HDO};

use crate::hospital::{Hospital, PLAN};

fn refused(outcome: Result<impl std::fmt::Debug, Failed>, exit: u8, told: &[&str]) {
    let failed = outcome.unwrap_err();
    assert_eq!(failed.exit, exit, "{}", failed.said);
    for words in told {
        assert!(failed.said.contains(words), "{words:?} is not in: {}", failed.said);
    }
}

fn after(day: Date, years: i32) -> String {
    (day + years.years()).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_end_of_support_a_product_is_rolled_out_by_an_accepted_risk_alone() {
    let mut h = Hospital::open().await;
    let today = day_of(h.world.clock.now());
    let (now, later) = (today.to_string(), after(today, 3));
    let moved = || h.world.clock.advance(jiff::SignedDuration::from_secs(1));

    // Said by the manufacturer, two years ahead, or with the reason why not.
    let set = ["life", "set", "pump", "--general-availability", "2020-01-01", "--reason", "as sold"];
    refused(h.kim.run(&[&set[..], &["--eos", &later]].concat()).await, 1, &["manufacturer"]);
    refused(h.ada.run(&[&set[..], &["--eos", &now]].concat()).await, 1, &["less than 2 years", "--short-notice"]);
    let covered = ["--eol", &now, "--eos", &later, "--short-notice", "the board is gone", "--not-covered", "Bluetooth"];
    h.ada.run(&[&set[..], &covered].concat()).await.unwrap();
    // Within the same second it is the next change, not one of the same instant, and the rules are asked of it.
    let sooner = ["life", "set", "pump", "--eos", &now, "--reason", "x", "--short-notice", "x"];
    refused(h.ada.run(&sooner).await, 1, &["--earlier"]);
    let history = h.ada.json(&["life", "history", "pump"]).await.unwrap();
    h.ada
        .run(&["life", "set", "pump", "--not-covered", "Bluetooth", "--not-covered", "Wi-Fi", "--reason", "y"])
        .await
        .unwrap();
    let longer = h.ada.json(&["life", "history", "pump"]).await.unwrap();
    assert_ne!(history, longer);
    moved();
    moved();
    let shown = h.kim.json(&["life", "show", "pump"]).await.unwrap();
    assert_eq!(shown["scopes"][0]["stage"], json!("limited-support"), "{shown}");
    let device = h.kim.run(&["device", "show", "pump-1"]).await.unwrap();
    assert!(device.contains("limited-support") && device.contains("no longer covered: Bluetooth"), "{device}");
    assert_eq!(h.kim.json(&["life", "list", "--past-eos"]).await.unwrap(), json!([]));
    let plan = h.kim.run(&[&["rollout", "plan"][..], &PLAN].concat()).await.unwrap();
    assert!(plan.contains("pump@2 is in limited-support") && !plan.contains("NOT TO BE"), "{plan}");

    // Support ends today for what is rolled out, and nobody has accepted that.
    let end = ["life", "set", "pump", "--releases", "2", "--eos", &now, "--reason", "a fault in the chip"];
    refused(h.ada.run(&[&end[..], &["--short-notice", "found today"]].concat()).await, 1, &["--earlier"]);
    let end = [&end[..], &["--short-notice", "found today", "--earlier", "found today"]].concat();
    h.ada.run(&end).await.unwrap();
    moved();
    let history = h.kim.run(&["life", "history", "pump"]).await.unwrap();
    assert!(
        history.contains("short notice: the board is gone") && history.contains("earlier: found today"),
        "{history}"
    );
    let openeox = h.kim.json(&["life", "export", "pump", "--openeox", "--release", "2"]).await.unwrap();
    assert_eq!(openeox["end_of_life"], json!(format!("{}T23:59:59Z", today.yesterday().unwrap())));
    let file = h.world.path("plan.json");
    let out = ["-o", file.to_str().unwrap()];
    let plan = h.kim.run(&[&["rollout", "plan"][..], &PLAN, &out].concat()).await.unwrap();
    assert!(plan.contains("pump@2 is in end-of-support") && plan.contains("NOT TO BE APPROVED"), "{plan}");
    let approve = ["rollout", "approve", file.to_str().unwrap(), "--reason", "no other pump"];
    refused(h.kim.run(&approve).await, 1, &["support of pump@2 is over", "risk assess"]);
    // Nor by another program with the hospital's key.
    let draft = h.draft().await;
    let said = h.kim.try_sign(&draft).await.unwrap_err();
    assert!(said.contains("no signed acceptance of that risk"), "{said}");

    // For another ward, for longer than a quarter, or deferred it does not count.
    let risk = |more: &[&'static str]| {
        let words = [
            "risk",
            "assess",
            "--product",
            "pump",
            "--releases",
            "2",
            "--hazard",
            "a wrong dose",
            "--likelihood",
            "remote",
            "--severity",
            "critical",
            "--exploitability",
            "medium",
            "--reason",
            "no other pump",
            "--compensating",
            "a network of their own",
            "--reviewer",
            "Dr. Lee",
        ];
        [&words[..], more].concat()
    };
    let year = after(today, 1);
    let long = risk(&["--ward", "icu", "--treatment", "acceptance"]);
    refused(h.kim.run(&[&long[..], &["--expires", &year]].concat()).await, 1, &["at the latest"]);
    h.kim.run(&risk(&["--ward", "er", "--treatment", "acceptance"])).await.unwrap();
    h.kim.run(&risk(&["--ward", "icu", "--treatment", "deferral"])).await.unwrap();
    refused(h.kim.run(&approve).await, 1, &["names 1 of the plan's devices", "pump-1"]);
    let accepted = h.kim.json(&risk(&["--ward", "icu", "--treatment", "acceptance"])).await.unwrap();
    assert_eq!((&accepted["number"], &accepted["expires"]), (&json!(3), &json!((today + 3.months()).to_string())));
    let listed = h.kim.json(&["risk", "list"]).await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "the acceptance took the deferral's place: {listed}");
    assert_eq!(h.kim.json(&["risk", "overdue"]).await.unwrap(), json!([]));
    let due = h.kim.json(&["risk", "overdue", "--within", "100"]).await.unwrap();
    assert_eq!(due.as_array().unwrap().len(), 2);
    let rollout = h.kim.json(&approve).await.unwrap()["rollout"].as_str().unwrap().to_owned();
    h.world.clock.set(draft.0.devices[0].slots[0].start);
    h.confirms(&rollout).await;
    let past = h.kim.json(&["life", "list", "--past-eos"]).await.unwrap();
    assert_eq!((past.as_array().unwrap().len(), &past[0]["device"]), (1, &json!("pump-1")), "{past}");

    // Who does what: as usual, until both have signed otherwise.
    let apply = |shown: &serde_json::Value| shown["table"]["apply-patches"]["support"]["holder"].clone();
    let show = ["responsibilities", "show", "pump"];
    assert_eq!(apply(&h.kim.json(&show).await.unwrap()), json!("provider"));
    let cell = "apply-patches@support=shared-manufacturer: contract 4711";
    let propose = ["responsibilities", "propose", "pump", "--hdo", HDO, "--cell", cell, "--reason", "on site"];
    h.ada.run(&propose).await.unwrap();
    assert_eq!(apply(&h.kim.json(&show).await.unwrap()), json!("provider"), "proposed is not agreed");
    refused(h.kim.run(&["responsibilities", "sign", "pump", "2"]).await, 1, &["the newest proposal"]);
    h.kim.run(&["responsibilities", "sign", "pump", "1"]).await.unwrap();
    refused(h.kim.run(&["responsibilities", "sign", "pump", "1"]).await, 3, &["already"]);
    let kim = h.kim.json(&show).await.unwrap();
    assert_eq!((apply(&kim), &kim["agreement"]), (json!("shared-manufacturer"), &json!(1)));
    let both = h.ada.json(&[&show[..], &["--hdo", HDO]].concat()).await.unwrap();
    assert_eq!(both["table"], kim["table"]);
    let told = h.kim.run(&["responsibilities", "history", "pump"]).await.unwrap();
    assert!(told.contains("in force"), "{told}");

    // Out of use for good: refused, listed apart, and all of it on record.
    let out = ["device", "decommission", "pump-2", "--reason", "sold; disk wiped"];
    h.kim.run(&out).await.unwrap();
    let listed = h.kim.json(&["device", "list"]).await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let apart = h.kim.json(&["device", "list", "--state", "decommissioned"]).await.unwrap();
    assert_eq!(apart[0]["id"], json!("pump-2"));
    let device = h.kim.run(&["device", "show", "pump-2"]).await.unwrap();
    assert!(device.contains("by kim: sold; disk wiped") && device.contains("SN-pump-2"), "{device}");
    refused(h.kim.run(&["device", "token", "pump-2"]).await, 3, &["out of use"]);

    // A history that does not begin with what this home has read is refused, whoever signed it.
    let kept = h.kim.home().join("trust/catalog/life/pump.json");
    let life = Life::parse(&fs::read(&kept).unwrap()).unwrap();
    let newest = life.newest().unwrap().clone();
    let longer = life.then(Change { at: h.world.clock.now(), why: "never said".to_owned(), ..newest }).unwrap();
    fs::write(&kept, longer.to_bytes().unwrap()).unwrap();
    refused(h.kim.run(&["life", "show", "pump"]).await, 5, &["does not begin with what was said before"]);
    refused(h.kim.run(&["rollout", "plan", "--bundle", "pump@2"]).await, 5, &["keep what this home has"]);
    let audit = h.kim.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
    for action in ["life.changed", "risk.assessed", "agreement.proposed", "agreement.signed", "device.decommissioned"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
    let audit = h.ada.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
    assert!(audit.contains("agreement.signed") && !audit.contains("risk.assessed"), "{audit}");
}
