//! Many devices are confirmed by one signature, or none is.

use suture_tests::world::{Device, Kind, Spec, World, text};

#[tokio::test]
async fn a_list_of_fingerprints_is_signed_at_once_or_not_at_all() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let first = world.publish(&ada, Spec { release: 1, ..Spec::default() }).await;
    let csv = world.path("devices.csv");
    std::fs::write(&csv, "id,product,hardware,ward\npump-1,pump,rev-a,icu\npump-2,pump,rev-a,er\n").unwrap();
    kim.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();
    let (mut pumps, mut seen) = (Vec::new(), Vec::new());
    for id in ["pump-1", "pump-2"] {
        let pump = Device::new(&world, id, "rev-a");
        pump.provision(&first);
        let token = kim.json(&["device", "token", id]).await.unwrap();
        seen.push(pump.enroll(token["token"].as_str().unwrap()).await.unwrap());
        pumps.push(pump);
    }
    let version = async || kim.json(&["roster", "show"]).await.unwrap()["approvals_version"].as_u64().unwrap();
    let before = version().await;

    let list = world.path("seen.csv");
    let write = |a: &str, b: &str| std::fs::write(&list, format!("id,fingerprint\npump-1,{a}\npump-2,{b}\n")).unwrap();
    // A server, or a thief of a certificate, that tells of another ward than the hospital's own list.
    let moved = world.path("moved.csv");
    std::fs::write(&moved, "id,product,hardware,ward\npump-2,pump,rev-a,icu\n").unwrap();
    kim.run(&["device", "import", "--csv", text(&moved)]).await.unwrap();
    let sign = ["roster", "sign", "--csv", text(&list), "--list", text(&csv)];
    write(&seen[0], &seen[0]);
    let refused = kim.run(&sign).await.unwrap_err();
    assert!(refused.exit == 5 && refused.said.contains("pump-2"), "{}", refused.said);
    assert_eq!(version().await, before);
    assert!(!pumps[0].agent().cycle().await.unwrap().confirmed, "the good line of a bad list confirms nothing");

    write(&seen[0], &seen[1]);
    let unseen = kim.run(&["roster", "sign", "--csv", text(&list)]).await.unwrap_err();
    assert!(unseen.said.contains("no terminal to ask at") && unseen.said.contains("pump-2"), "{}", unseen.said);
    assert_eq!(version().await, before);
    assert_eq!(kim.json(&sign).await.unwrap()["admitted"], serde_json::json!(["pump-1", "pump-2"]));
    assert_eq!(version().await, before + 1, "one signature for both");
    for pump in &mut pumps {
        assert!(pump.agent().cycle().await.unwrap().confirmed);
    }
    assert_eq!(kim.json(&sign).await.unwrap()["admitted"], serde_json::json!([]));
    let icu = kim.json(&["roster", "show", "--ward", "icu"]).await.unwrap();
    assert_eq!((&icu["devices"][0]["id"], icu["devices"].as_array().unwrap().len()), (&"pump-1".into(), 1));
}
