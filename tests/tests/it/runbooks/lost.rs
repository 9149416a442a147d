//! `lost-key.md`, played.

use suture_tests::world::{Kind, Operator, Spec, World};

use super::page::Page;
use crate::delegated::{LINE, PATHS, delegate, line_operator};
use crate::hospital::{Hospital, PLAN};

/// The public half of a key.
pub(super) async fn public(who: &Operator, name: &str) -> String {
    who.run(&["key", "export-public", name]).await.unwrap().trim().to_owned()
}

/// The key is lost: its file goes.
pub(super) fn lose(who: &Operator, name: &str) {
    for end in ["pem", "pub"] {
        std::fs::remove_file(who.home().join(format!("keys/{name}.{end}"))).unwrap();
    }
}

#[tokio::test]
async fn a_passphrase() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.operator("ada");
    let old = world.path("old");
    std::fs::write(&old, "correct horse\n").unwrap();
    let old = old.to_str().unwrap();
    ada.run(&["key", "new", "release", "--passphrase-file", old]).await.unwrap();
    let keys = ada.home().join("keys");
    let safe = std::fs::read(keys.join("release.pem")).unwrap();
    let (new, newer) = (world.path("new"), world.path("newer"));
    for (file, text) in [(&new, "battery\n"), (&newer, "staple\n")] {
        std::fs::write(file, text).unwrap();
    }
    let change = ["key", "change-passphrase", "release", "--new-passphrase-file", new.to_str().unwrap()];
    ada.run(&[&change[..], &["--passphrase-file", old]].concat()).await.unwrap();
    // The new one is forgotten.
    assert_eq!(ada.run(&["key", "check", "release", "--passphrase-file", old]).await.unwrap_err().exit, 1);

    let mut page = Page::open("lost-key.md").section("A passphrase or a PIN");
    std::fs::write(keys.join("release.pem"), safe).unwrap();
    page.run_with(&ada, "key check", &[("NAME", "release")], &["--passphrase-file", old]).await;
    let passphrases = ["--passphrase-file", old, "--new-passphrase-file", newer.to_str().unwrap()];
    page.run_with(&ada, "key change-passphrase", &[("NAME", "release")], &passphrases).await;
    page.done();
    ada.run(&["key", "check", "release", "--passphrase-file", newer.to_str().unwrap()]).await.unwrap();
}

#[tokio::test]
async fn a_targets_key() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let lost = public(&hospital.ada, "targets").await;
    lose(&hospital.ada, "targets");

    let ada = &hospital.ada;
    let mut page = Page::open("lost-key.md").section("A targets key");
    page.run(ada, "key new", &[]).await;
    let new = page.run(ada, "key export-public", &[]).await["public_key"].as_str().unwrap().to_owned();
    page.run(ada, "catalog add-key", &[("PUBLIC_KEY", &new)]).await;
    page.run(ada, "catalog remove-key", &[("LOST_KEY", &lost)]).await;
    page.run(ada, "catalog renew", &[]).await;
    let status = page.run(ada, "catalog status", &[]).await;
    page.done();
    let status = status.to_string();
    assert!(status.contains(&new) && !status.contains(&lost), "{status}");

    // The hospital and its devices follow, and what was published is published still.
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
    let third = hospital.world.build(&hospital.ada, Spec { release: 3, ..Spec::default() }).await;
    let sign = ["bundle", "sign", third.dir.to_str().unwrap(), "--key", "targets-2"];
    hospital.ada.run(&sign).await.unwrap();
}

#[tokio::test]
async fn a_product_lines_key() {
    let mut hospital = Hospital::open().await;
    let (lin, lost) = line_with_a_bundle(&hospital).await;
    lose(&lin, "line");

    let (world, ada) = (&hospital.world, &hospital.ada);
    let envelope = world.path("line.json");
    let envelope = ("line.json", envelope.to_str().unwrap());
    let mut page = Page::open("lost-key.md").section("A product line's key");
    page.run(&lin, "key new", &[]).await;
    let new = page.run(&lin, "key export-public", &[]).await["public_key"].as_str().unwrap().to_owned();
    let values = [("ROLE", LINE), ("PATTERN", PATHS), ("PUBLIC_KEY", &new), envelope];
    page.run(ada, "catalog delegate", &values).await;
    let shown = page.run(&lin, "catalog show", &[envelope]).await;
    assert!(shown["changes"].to_string().contains(&new), "{shown}");
    assert_eq!(page.run(&lin, "catalog sign", &[envelope]).await["published"], true);
    page.run(&lin, "catalog renew", &[("ROLE", LINE)]).await;
    let status = page.run(ada, "catalog status", &[]).await;
    page.done();
    let keys = &status["delegated"][0]["public_keys"];
    assert_eq!(*keys, serde_json::json!([new]), "{lost} is out: {status}");

    // What it listed before counts on: it is approved and installed.
    installs_the_lines(&mut hospital).await;
}

/// The manufacturer's operator of a line that has published the third release by its own key, and that key's public half.
pub(super) async fn line_with_a_bundle(hospital: &Hospital) -> (Operator, String) {
    let (world, ada) = (&hospital.world, &hospital.ada);
    let (lin, public) = line_operator(world, ada, "line").await;
    delegate(world, ada, &lin, &public, PATHS).await;
    let third = world.build(&lin, Spec { release: 3, ..Spec::default() }).await;
    lin.run(&["bundle", "sign", third.dir.to_str().unwrap(), "--role", LINE, "--key", "line"]).await.unwrap();
    lin.run(&["bundle", "publish", third.dir.to_str().unwrap()]).await.unwrap();
    (lin, public)
}

/// The hospital approves that release, and its first pump installs it.
pub(super) async fn installs_the_lines(hospital: &mut Hospital) {
    let plan = ["--bundle", "pump@3", "--device", "pump-1", "--slots", "1", "--slack", "60s"];
    let draft = hospital.world.draft(&hospital.kim, &plan).await;
    let (_, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[0].runs(), "1.2.0");
}

/// A manufacturer whose catalog needs two of the root keys of three people.
pub(super) async fn three_holders(world: &World) -> [Operator; 3] {
    let ada = world.operator("ada");
    let token = std::fs::read_to_string(world.data_dir().join("operator.token")).unwrap();
    ada.run(&["join", token.trim()]).await.unwrap();
    let mut holders = vec![ada];
    for name in ["bob", "cyd"] {
        let invited = holders[0].json(&["operator", "invite", name]).await.unwrap();
        let holder = world.operator(name);
        holder.run(&["join", invited["token"].as_str().unwrap()]).await.unwrap();
        holder.run(&["key", "new", "root", "--no-passphrase"]).await.unwrap();
        holders.push(holder);
    }
    let [ada, bob, cyd]: [Operator; 3] = holders.try_into().ok().unwrap();
    let (bobs, cyds) = (public(&bob, "root").await, public(&cyd, "root").await);
    let envelope = world.path("begin.json");
    let envelope = envelope.to_str().unwrap();
    let begin = ["catalog", "init", "--no-passphrase", "--root-public", &bobs, "--root-public", &cyds];
    ada.run(&[&begin[..], &["--root-threshold", "2", "--envelope", envelope]].concat()).await.unwrap();
    bob.run(&["catalog", "sign", envelope, "--yes"]).await.unwrap();
    let root = std::fs::read(bob.home().join("trust/catalog/root.json")).unwrap();
    let root = suture_core::digest::Digest::of(&root).to_string();
    for holder in [&ada, &cyd] {
        holder.run(&["catalog", "trust", &root]).await.unwrap();
    }
    [ada, bob, cyd]
}

#[tokio::test]
async fn one_of_several_root_keys() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let [ada, bob, cyd] = three_holders(&world).await;
    let lost = public(&cyd, "root").await;
    lose(&cyd, "root");
    cyd.run(&["key", "new", "root", "--no-passphrase"]).await.unwrap();
    let new = public(&cyd, "root").await;

    let mut page = Page::open("lost-key.md").section("One of several root keys");
    let (add, remove) = (world.path("add.json"), world.path("remove.json"));
    let (add, remove) = (("add.json", add.to_str().unwrap()), ("remove.json", remove.to_str().unwrap()));
    let waiting = page.run(&ada, "catalog add-key", &[("PUBLIC_KEY", &new), add]).await;
    assert_eq!(waiting["published"], false, "{waiting}");
    let shown = page.run(&bob, "catalog show", &[add]).await;
    assert!(shown["changes"].to_string().contains(&new), "{shown}");
    assert_eq!(page.run(&bob, "catalog sign", &[add]).await["published"], true);
    page.run(&ada, "catalog remove-key", &[("LOST_KEY", &lost), remove]).await;
    // The new key counts already.
    assert_eq!(page.run(&cyd, "catalog sign", &[remove]).await["published"], true);
    let status = page.run(&bob, "catalog status", &[]).await;
    page.done();
    let text = status.to_string();
    assert_eq!((&status["roles"][0]["keys"], &status["roles"][0]["threshold"]), (&3.into(), &2.into()), "{text}");
}

#[tokio::test]
async fn the_last_root_key() {
    let Hospital { world, ada, kim, mut pumps, .. } = Hospital::open().await;
    let mut pump = pumps.remove(0);
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    lose(&kim, "root");
    // Everything else goes on.
    kim.run(&["approvals", "renew"]).await.unwrap();

    let mut page = Page::open("lost-key.md").section("The last root key");
    let invited = page.run(&ada, "hdo invite", &[("HOSPITAL", "riverside"), ("TEXT", "Riverside Hospital")]).await;
    let again = world.operator("kim-again");
    let token = world.path("riverside.token");
    std::fs::write(&token, invited["token"].as_str().unwrap()).unwrap();
    page.run(&again, "hdo join", &[("FILE", token.to_str().unwrap()), ("NAME", "kim")]).await;
    let csv = world.path("devices.csv");
    page.run(&again, "device import", &[("FILE", csv.to_str().unwrap())]).await;
    let token = page.run(&again, "device token", &[("DEVICE", "pump-1")]).await;
    pump.crash();
    for state in ["identity", "trust"] {
        std::fs::remove_dir_all(pump.dir.join("state").join(state)).unwrap();
    }
    page.by_hand("suture-agent enroll");
    page.by_hand("systemctl start suture-agent");
    let fingerprint = pump.enroll(token["token"].as_str().unwrap()).await.unwrap();
    page.run(&again, "device confirm", &[("DEVICE", "pump-1"), ("FINGERPRINT", &fingerprint)]).await;
    page.run(&kim, "device revoke", &[("DEVICE", "pump-1")]).await;
    page.done();

    // It obeys the new master alone.
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    let always = "mon,tue,wed,thu,fri,sat,sun 00:00 24h";
    again.run(&["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", always]).await.unwrap();
    let draft = world.draft(&again, &PLAN).await;
    again.sign(&draft).await;
    world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(pump.cycle().await, "idle(up-to-date)");
    assert_eq!(pump.runs(), "1.1.0");
}
