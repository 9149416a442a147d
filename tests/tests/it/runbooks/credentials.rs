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
    let invited = thief.json(&["operator", "invite", "eve"]).await.unwrap();
    let eve = world.operator("eve");
    eve.run(&["join", invited["token"].as_str().unwrap()]).await.unwrap();

    let mut page = Page::open("stolen-credential.md").section("An operator's laptop");
    page.run(kim, "operator revoke", &[("NAME", "sam")]).await;
    let record = page.run(kim, "audit list", &[]).await;
    let by_sam =
        |e: &serde_json::Value| e["actor"] == "hdo/riverside/operator/sam" && e["action"] == "operator.invited";
    let mut guests = record.as_array().unwrap().iter().filter(|e| by_sam(e)).map(|e| e["subject"].as_str().unwrap());
    let guest = guests.next().and_then(|subject| subject.rsplit_once('/')).unwrap().1;
    eve.run(&["device", "list"]).await.unwrap();
    page.run(kim, "operator revoke", &[("GUEST", guest)]).await;
    page.run(kim, "rollout list", &[]).await;
    page.run(kim, "device list", &[]).await;
    page.run(kim, "device list --state decommissioned", &[]).await;
    page.run(kim, "notice contact list", &[]).await;
    page.run(kim, "device lost-after", &[]).await;
    page.run(kim, "transfer show", &[]).await;
    let invited = page.run(kim, "operator invite", &[("NAME", "sam")]).await;
    let back = world.operator("sam-2");
    let token = world.path("sam.token");
    std::fs::write(&token, invited["token"].as_str().unwrap()).unwrap();
    page.run(&back, "join", &[("FILE", token.to_str().unwrap())]).await;
    page.run(&back, "whoami", &[]).await;
    page.done();

    for gone in [&thief, &eve] {
        assert_eq!(gone.run(&["device", "list"]).await.unwrap_err().exit, 3, "from the next call on");
    }
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
    holds(&again, "kim-2").await;
    again.run(&["approvals", "renew"]).await.unwrap();
}

#[tokio::test]
async fn the_only_operators_home() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let paper = |status: serde_json::Value| status["root_sha256"].as_str().unwrap().to_owned();
    let catalog = paper(hospital.kim.json(&["catalog", "status"]).await.unwrap());
    let approvals = paper(hospital.kim.json(&["approvals", "status"]).await.unwrap());
    let safe = hospital.world.path("safe");
    std::fs::rename(hospital.kim.home().join("keys"), &safe).unwrap();
    // No call over the network leads in: not the manufacturer's, and not a stranger's.
    let again = ["hdo", "invite", "riverside", "--name", "Riverside Hospital"];
    let refused = hospital.ada.run(&again).await.unwrap_err();
    assert!(refused.said.contains("suture-server operator invite NAME --hdo riverside"), "{}", refused.said);

    let world = &hospital.world;
    let mut page = Page::open("stolen-credential.md").section("The only operator's home");
    let values = [("NAME", "kim"), ("HOSPITAL", "riverside")];
    let told = page.on_server(world, "operator invite", &values);
    assert!(!told.contains("suture1."), "no secret is printed: {told}");
    let file = world.data_dir().join("operator-riverside-kim-2.token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let back = world.operator("kim-2");
    page.run(&back, "join", &[("FILE", file.to_str().unwrap())]).await;
    // The server vouches for no root: what is on paper does.
    assert!(back.run(&["catalog", "status"]).await.unwrap_err().said.contains("no catalog to trust yet"));
    page.run(&back, "catalog trust", &[("CATALOG_ROOT", &catalog)]).await;
    page.run(&back, "approvals trust", &[("APPROVALS_ROOT", &approvals)]).await;
    page.run(&back, "operator revoke", &[("NAME", "kim")]).await;
    let record = page.run(&back, "audit list", &[]).await.to_string();
    page.done();
    assert!(record.contains("operator.invited") && record.contains("operator.revoked"), "{record}");
    assert_eq!(hospital.kim.run(&["whoami"]).await.unwrap_err().exit, 3);
    assert!(again_on_server(&hospital, &["kim-2", "--hdo", "riverside"]).contains("is there already"));
    std::fs::remove_file(file).unwrap();
    assert!(again_on_server(&hospital, &["kim-2", "--hdo", "riverside"]).contains("there is an operator"));
    assert!(again_on_server(&hospital, &["kim-3", "--hdo", "lakeside"]).contains("no hospital lakeside"));

    // Whoever is let in reads; what signs comes from the safe, and the device's master is the same as before.
    assert!(back.run(&["approvals", "renew"]).await.unwrap_err().said.contains("no key named targets"));
    std::fs::rename(&safe, back.home().join("keys")).unwrap();
    // As a page says that tells to copy the keys.
    holds(&back, "kim-2").await;
    back.run(&["approvals", "renew"]).await.unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let refreshed = std::fs::read(hospital.pumps[0].dir.join("state/trust/approvals/targets.json")).unwrap();
    assert_eq!(refreshed, std::fs::read(back.home().join("trust/approvals/targets.json")).unwrap());

    // The manufacturer's own people come in the same way.
    let told = on_server(&hospital, &["bob"]);
    let file = hospital.world.data_dir().join("operator-bob.token");
    assert!(told.status.success());
    let bob = hospital.world.operator("bob");
    bob.run(&["join", "--token-file", file.to_str().unwrap()]).await.unwrap();
    bob.run(&["operator", "revoke", "ada"]).await.unwrap();
    assert_eq!(hospital.ada.run(&["whoami"]).await.unwrap_err().exit, 3);
}

/// The root says that the key is held by whoever has come back under that name; until then it signs for nobody.
async fn holds(back: &Operator, name: &str) {
    let refused = back.run(&["approvals", "renew"]).await.unwrap_err();
    assert!(refused.said.contains("--holder"), "{}", refused.said);
    let public = back.json(&["key", "export-public", "targets"]).await.unwrap();
    let public = public["public_key"].as_str().unwrap();
    back.run(&["approvals", "add-key", "--role", "targets", "--public", public, "--holder", name]).await.unwrap();
}

fn on_server(hospital: &Hospital, args: &[&str]) -> std::process::Output {
    let config = hospital.world.data_dir().join("server.toml");
    let mut command = std::process::Command::new(suture_tests::world::program::binary("suture-server"));
    command.args(["operator", "invite", "--config"]).arg(config).args(args).output().unwrap()
}

/// What the command says as it fails.
fn again_on_server(hospital: &Hospital, args: &[&str]) -> String {
    let done = on_server(hospital, args);
    assert_eq!(done.status.code(), Some(1));
    String::from_utf8(done.stderr).unwrap()
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
    page.by_hand("systemctl start suture-agent");
    let fingerprint = pump.enroll(token).await.unwrap();
    page.run(&kim, "device confirm", &[("DEVICE", "pump-1"), ("FINGERPRINT", &fingerprint)]).await;
    page.done();
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    assert_eq!(kim.json(&["device", "show", "pump-1"]).await.unwrap()["state"], "active");
}
