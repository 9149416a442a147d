//! Roots: begun, changed, named other online keys, and expired.

use suture_core::trust::Proposed;

use super::*;

async fn root_key(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let bob = world.colleague(&ada, "bob").await;
    let file = envelope(&ada, "two");
    let add = ["catalog", "add-key", "--role", "root", "--public", &bob.public("root").await, "--threshold", "2"];
    ada.run(&[&add[..], &["--envelope", &file]].concat()).await.unwrap();
    // By the old root it is signed; by the new one bob must sign too.
    let said = ada.force(Path::new(&file)).await.unwrap_err();
    assert!(said.contains("1 of its keys where 2 are needed"), "{said}");
    bob.run(&["catalog", "sign", &file, "--yes"]).await.unwrap();
    // Ada's key is lost. A new one takes its place, signed by what is left? Not by bob alone: two must sign.
    ada.run(&["key", "new", "root-2", "--no-passphrase"]).await.unwrap();
    let file = envelope(&ada, "replace");
    ada.run(&["catalog", "add-key", "--role", "root", "--key", "root-2", "--envelope", &file]).await.unwrap();
    bob.run(&["catalog", "sign", &file, "--yes"]).await.unwrap();
    let (old, file) = (ada.public("root").await, envelope(&ada, "out"));
    let out =
        ["catalog", "remove-key", "--role", "root", "--public", &old, "--root-key", "root-2", "--envelope", &file];
    ada.run(&out).await.unwrap();
    bob.run(&["catalog", "sign", &file, "--yes"]).await.unwrap();
    let status = bob.json(&["catalog", "status"]).await.unwrap();
    let keys: Vec<&str> = status["roles"][0]["public_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["public_key"].as_str().unwrap())
        .collect();
    assert_eq!((keys.len(), keys.contains(&old.as_str())), (2, false));
    assert_eq!(status["roles"][0]["version"], 4);
    // Every root stays: a home that trusts the first one steps through them all.
    let late = world.colleague(&ada, "eve").await;
    assert_eq!(late.json(&["catalog", "status"]).await.unwrap()["roles"][0]["version"], 4);
    refused(
        bob.run(&["catalog", "remove-key", "--role", "root", "--public", keys[0]]).await,
        1,
        &["2 signatures", "--threshold"],
    );
}

on_both!(a_root_key_is_replaced_by_the_thresholds_of_both_roots, super::root_key);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_is_begun_by_two() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.operator("ada");
    let token = fs::read_to_string(world.data_dir().join("operator.token")).unwrap();
    ada.run(&["join", token.trim()]).await.unwrap();
    let bob = world.colleague(&ada, "bob").await;
    let file = envelope(&ada, "begin");
    let (root, targets) = (bob.public("root").await, bob.public("targets").await);
    let init = ["catalog", "init", "--no-passphrase", "--root-public", &root, "--targets-public", &targets];
    let two = ["--root-threshold", "2", "--targets-threshold", "2", "--envelope", &file];
    let waiting = ada.json(&[&init[..], &two].concat()).await.unwrap();
    assert_eq!(waiting["published"], false);
    refused(ada.run(&["catalog", "status"]).await, 1, &["no catalog to trust yet"]);
    // Cut off before the file was handed on: the same root is handed out again, and there is no other.
    let begun = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    world.pass(3_600);
    ada.json(&[&init[..], &two].concat()).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), begun);
    refused(ada.run(&[&init[..], &two[..2], &two[4..]].concat()).await, 1, &["other targets keys", "begun.json"]);
    bob.run(&["catalog", "sign", &file, "--key", "root", "--yes"]).await.unwrap();
    let half = fs::read(&file).unwrap();
    let waiting = ada.json(&[&init[..], &two].concat()).await.unwrap();
    assert_eq!((&waiting["signatures"][0]["missing"], &waiting["signatures"][1]["missing"]), (&0.into(), &1.into()));
    assert_eq!(fs::read(&file).unwrap(), half, "bob's signature stays");
    let seen = bob.run(&["catalog", "show", &file]).await.unwrap();
    assert!(seen.contains("the repository begins") && seen.contains("root: 2 of 2 keys must sign"), "{seen}");
    bob.run(&["catalog", "sign", &file, "--key", "targets", "--yes"]).await.unwrap();
    let status = bob.json(&["catalog", "status"]).await.unwrap();
    // A home that has not signed it hears the fingerprint from bob, and not from the server.
    let eve = world.colleague(&bob, "eve-2").await;
    fs::remove_dir_all(eve.home().join("trust")).unwrap();
    refused(eve.run(&["catalog", "init", "--no-passphrase"]).await, 5, &["catalog trust"]);
    refused(eve.run(&["catalog", "trust", &"0".repeat(64)]).await, 5, &["no catalog root"]);
    eve.run(&["catalog", "trust", status["root_sha256"].as_str().unwrap()]).await.unwrap();
    // Ada knows it: it says to the last byte what she signed.
    let begun = ada.json(&[&init[..], &two].concat()).await.unwrap();
    assert_eq!(begun["root_sha256"], status["root_sha256"]);
    assert!(!ada.home().join("trust/catalog/begun.json").exists());
    assert_eq!(ada.json(&["catalog", "status"]).await.unwrap()["edition"], status["edition"]);
    // Both sign a bundle.
    let bundle = world.build(&ada, Spec::default()).await;
    ada.run(&["bundle", "sign", text(&bundle.dir)]).await.unwrap();
    let file = envelope(&ada, "bundle");
    ada.run(&["bundle", "publish", text(&bundle.dir), "--envelope", &file]).await.unwrap();
    let seen = bob.run(&["catalog", "show", &file]).await.unwrap();
    assert!(seen.contains("pump 1.0.0 (release 1) is added, current: for rev-a"), "{seen}");
    bob.run(&["catalog", "sign", &file, "--yes"]).await.unwrap();
    assert_eq!(ada.json(&["catalog", "status"]).await.unwrap()["bundles"][0]["release"], 1);
    ada.run(&["bundle", "publish", text(&bundle.dir)]).await.unwrap();
}

async fn online_keys(kind: Kind) {
    let Some(mut world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let bundle = world.publish(&ada, Spec::default()).await;
    let kim = world.hospital(&ada).await;
    let mut pump = world.devices(&kim, &["pump-1"], &bundle).await.remove(0);
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    refused(ada.run(&["catalog", "rotate", "--online"]).await, 1, &["suture-server keys rotate"]);
    let prepared = world.prepare_online_keys().await;
    assert_eq!(prepared.len(), 2);
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    for (who, repository, held) in [(&ada, "catalog", &prepared[1]), (&kim, "approvals", &prepared[0])] {
        let status = who.json(&[repository, "rotate", "--online"]).await.unwrap();
        assert_eq!(
            (&status["roles"][0]["version"], &status["roles"][1]["version"].as_u64().is_some()),
            (&Value::from(2), &true)
        );
        let timestamp = &status["roles"][3]["public_keys"][0]["public_key"];
        assert_eq!(*timestamp, Value::from(held.keys.next_timestamp.unwrap().to_string()));
        assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    }
    // The server signs on by itself with the new keys.
    world.idle(5).await;
    kim.run(&["approvals", "renew"]).await.unwrap();
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    let root = fs::read(kim.home().join("trust/approvals/root.json")).unwrap();
    assert_eq!(suture_core::trust::Metadata::version(&*Proposed::<Root>::read(&root).unwrap()), 2);
    for who in [&ada, &kim] {
        who.run(&["audit", "verify"]).await.unwrap();
    }
}

on_both!(online_keys_are_rotated_while_a_device_keeps_refreshing, super::online_keys);

async fn stolen_online_keys(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let bundle = world.publish(&ada, Spec::default()).await;
    let kim = world.hospital(&ada).await;
    let mut pump = world.devices(&kim, &["pump-1"], &bundle).await.remove(0);
    // The thief drives the versions up, the device and kim see them, then the server is restored from its backup.
    let thief = world.intruder().await;
    let backup = thief.drive_up("approvals/riverside").await;
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    kim.run(&["approvals", "status"]).await.unwrap();
    thief.restore("approvals/riverside", backup).await;
    refused(kim.run(&["approvals", "status"]).await, 5, &["was seen before"]);
    refused(kim.run(&["approvals", "renew"]).await, 5, &["was seen before"]);
    // The way out: other online keys, named by the hospital's root.
    world.prepare_online_keys().await;
    kim.run(&["approvals", "rotate", "--online"]).await.unwrap();
    let set = ["calendar", "set", "icu", "--zone", "UTC", "--weekly", "daily 02:00 3h"];
    kim.run(&set).await.unwrap();
    assert_eq!(pump.cycle().await, "idle(nothing-approved)");
    let refreshed = fs::read(pump.dir.join("state/trust/approvals/targets.json"));
    if let Ok(targets) = refreshed {
        assert_eq!(targets, fs::read(kim.home().join("trust/approvals/targets.json")).unwrap());
    }
    assert_eq!(kim.json(&["approvals", "status"]).await.unwrap()["roles"][0]["version"], 2);
}

on_both!(stolen_online_keys_lock_nobody_out_once_others_have_taken_their_place, super::stolen_online_keys);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_expired_is_followed_by_one_that_has_not() {
    let mut world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    world.idle(300).await;
    let status = ada.json(&["catalog", "status"]).await.unwrap();
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("catalog rotate") && warnings.contains("in 2 months"), "{warnings}");
    world.idle(100).await;
    refused(ada.run(&["catalog", "status"]).await, 5, &["root metadata expired"]);
    // First a root that changes nothing but its end; then all the rest can be seen again.
    ada.run(&["key", "new", "other", "--no-passphrase"]).await.unwrap();
    let keys = ["catalog", "add-key", "--role", "targets", "--key", "other"];
    ada.run(&["catalog", "rotate"]).await.unwrap();
    refused(ada.run(&["bundle", "list"]).await, 5, &["targets metadata expired"]);
    ada.run(&keys).await.unwrap();
    let status = ada.json(&["catalog", "renew"]).await.unwrap();
    assert_eq!((&status["roles"][0]["version"], &status["warnings"]), (&Value::from(3), &Value::Array(Vec::new())));
}
