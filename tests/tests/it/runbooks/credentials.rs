//! `stolen-credential.md`, played: what the thief can do before, and what nothing of it is left after.

use suture_tests::world::{Device, Operator};

use super::page::Page;
use crate::hospital::Hospital;

/// The same home on a thief's machine.
fn copied(hospital: &Hospital, from: &Operator, name: &str) -> Operator {
    let thief = hospital.world.operator(name);
    let status = std::process::Command::new("cp").arg("-a").arg(from.home()).arg(thief.home()).status().unwrap();
    assert!(status.success());
    thief
}

#[tokio::test]
async fn an_operators_laptop() {
    let hospital = Hospital::open().await;
    let Hospital { world, kim, .. } = &hospital;
    let invited = kim.json(&["operator", "invite", "sam"]).await.unwrap();
    let sam = world.operator("sam");
    sam.run(&["join", invited["token"].as_str().unwrap()]).await.unwrap();
    let before = kim.json(&["approvals", "status"]).await.unwrap();

    // Whoever has sam's certificate and no signing key reads, and pauses; signs nothing.
    let thief = copied(&hospital, &sam, "thief");
    thief.run(&["device", "list"]).await.unwrap();
    let refused = thief.run(&["approvals", "renew"]).await.unwrap_err();
    assert!(refused.said.contains("no key named targets"), "{}", refused.said);
    thief.run(&["key", "new", "targets", "--no-passphrase"]).await.unwrap();
    thief.run(&["approvals", "renew"]).await.expect_err("a key that the root does not name");

    let mut page = Page::open("stolen-credential.md").section("An operator's laptop");
    page.run(kim, "operator revoke", &[("NAME", "sam")]).await;
    page.run(kim, "audit list", &[]).await;
    page.run(kim, "rollout list", &[]).await;
    let invited = page.run(kim, "operator invite", &[("NAME", "sam")]).await;
    let back = world.operator("sam-2");
    page.run(&back, "join", &[("TOKEN", invited["token"].as_str().unwrap())]).await;
    page.run(&back, "whoami", &[]).await;
    page.done();

    assert_eq!(thief.run(&["device", "list"]).await.unwrap_err().exit, 3, "from the next call on");
    let after = kim.json(&["approvals", "status"]).await.unwrap();
    assert_eq!(after["targets_sha256"], before["targets_sha256"], "nothing that is signed has changed");
    assert_eq!(back.json(&["approvals", "status"]).await.unwrap()["targets_sha256"], before["targets_sha256"]);

    // The only operator is a colleague of their own, from the backup.
    let thief = copied(&hospital, kim, "thief-of-kim");
    let invited = kim.json(&["operator", "invite", "kim-2"]).await.unwrap();
    let again = world.operator("kim-2");
    again.run(&["join", invited["token"].as_str().unwrap()]).await.unwrap();
    again.run(&["operator", "revoke", "kim"]).await.unwrap();
    assert_eq!(thief.run(&["device", "list"]).await.unwrap_err().exit, 3);
    let keys = std::process::Command::new("cp").arg("-a").arg(kim.home().join("keys")).arg(again.home()).status();
    assert!(keys.unwrap().success());
    again.run(&["approvals", "renew"]).await.unwrap();
}

#[tokio::test]
async fn an_enrolment_token() {
    let Hospital { world, kim, first, .. } = Hospital::open().await;
    let csv = world.path("more.csv");
    std::fs::write(&csv, "id,product,hardware,ward\npump-3,pump,rev-a,icu\n").unwrap();
    kim.run(&["device", "import", "--csv", csv.to_str().unwrap()]).await.unwrap();
    let token = kim.json(&["device", "token", "pump-3"]).await.unwrap();
    let token = token["token"].as_str().unwrap();

    // The thief is first, and waits for a confirmation.
    let mut thief = Device::new(&world, "thief", "rev-a");
    thief.provision(&first);
    thief.enroll(token).await.unwrap();
    assert!(!thief.agent().cycle().await.unwrap().confirmed);
    let real = Device::new(&world, "pump-3", "rev-a");
    real.provision(&first);
    assert!(real.enroll(token).await.unwrap_err().contains("used before"));

    let mut page = Page::open("stolen-credential.md").section("An enrolment token");
    let pending = page.run(&kim, "device list", &[]).await;
    assert_eq!((&pending[0]["id"], pending.as_array().unwrap().len()), (&"pump-3".into(), 1));
    page.run(&kim, "device revoke", &[("DEVICE", "pump-3")]).await;
    let token = page.run(&kim, "device token", &[("DEVICE", "pump-3")]).await;
    page.by_hand("suture-agent enroll");
    let shown = real.enroll(token["token"].as_str().unwrap()).await.unwrap();
    page.run(&kim, "device confirm", &[("DEVICE", "pump-3"), ("FINGERPRINT", &shown)]).await;
    page.done();

    let listed = kim.json(&["device", "list", "--state", "active"]).await.unwrap();
    assert!(listed.as_array().unwrap().iter().any(|d| d["id"] == "pump-3"), "{listed}");
    thief.cycle().await;
    assert_eq!(thief.fetched_chunks(), 0);
    let mut real = real;
    assert_eq!(real.cycle().await, "idle(nothing-approved)");
}

#[tokio::test]
async fn a_device() {
    // The world goes on until the end.
    let Hospital { world: _world, kim, mut pumps, .. } = Hospital::open().await;
    let mut pump = pumps.remove(0);
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");

    let mut page = Page::open("stolen-credential.md").section("A device");
    page.run(&kim, "device revoke", &[("DEVICE", "pump-1")]).await;
    page.run(&kim, "rollout list", &[]).await;
    let shown = kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!(shown["state"], "revoked");
    assert!(!pump.agent().cycle().await.unwrap().confirmed);

    // It comes back.
    let token = page.run(&kim, "device token", &[("DEVICE", "pump-1")]).await;
    let token = token["token"].as_str().unwrap();
    pump.crash();
    let refused = pump.enroll(token).await.unwrap_err();
    let identity = pump.dir.join("state/identity");
    assert!(refused.contains(identity.to_str().unwrap()), "{refused}");
    std::fs::remove_dir_all(identity).unwrap();
    page.by_hand("suture-agent enroll");
    let fingerprint = pump.enroll(token).await.unwrap();
    page.run(&kim, "device confirm", &[("DEVICE", "pump-1"), ("FINGERPRINT", &fingerprint)]).await;
    page.done();
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    assert_eq!(kim.json(&["device", "show", "pump-1"]).await.unwrap()["state"], "active");
}
