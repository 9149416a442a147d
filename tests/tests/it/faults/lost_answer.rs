//! The answer to a token is lost, or cannot be written: the same command again goes on with the same token, and nobody else does.

use std::fs;
use std::process::{Command, Stdio};

use suture_core::clock::Clock as _;
use suture_tests::world::wire::{Newcomer, enroll_request, join_request};
use suture_tests::world::{Device, Kind, Operator, World};
use tonic::Code;

use super::{failed, refused};

async fn token(by: &Operator, args: &[&str]) -> String {
    by.json(args).await.unwrap()["token"].as_str().unwrap().to_owned()
}

async fn imported(world: &World, kim: &Operator, ids: &[&str]) {
    let rows: String = ids.iter().map(|id| format!("{id},pump,rev-a,icu\n")).collect();
    let file = world.path("devices.csv");
    fs::write(&file, format!("id,product,hardware,ward\n{rows}")).unwrap();
    kim.run(&["device", "import", "--csv", file.to_str().unwrap()]).await.unwrap();
}

/// How often the record says this of somebody.
async fn recorded(by: &Operator, action: &str, subject: &str) -> usize {
    let entries = by.json(&["audit", "list", "--after", "0", "--limit", "1000"]).await.unwrap();
    entries.as_array().unwrap().iter().filter(|e| e["action"] == action && e["subject"] == subject).count()
}

async fn a_disk_without_room_for_an_operator(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let pasted = token(&kim, &["operator", "invite", "sam"]).await;

    // Whatever is written last, or not at all: the key is there before the server hears of it.
    let sam = world.operator("sam");
    for name in [".tls.key.new", ".chain.pem.new", "../.server.json.new"] {
        let in_the_way = sam.home().join("identity").join(name);
        fs::create_dir_all(in_the_way.join("full")).unwrap();
        failed(sam.run(&["join", &pasted]).await, 1, &["cannot write", "the same command again", "still works"]);
        fs::remove_dir_all(&in_the_way).unwrap();
    }
    // Nobody else comes in by it, although it is good for sam.
    failed(world.operator("thief").run(&["join", &pasted]).await, 3, &["used before", "if that was not you"]);
    let joined = sam.json(&["join", &pasted]).await.unwrap();
    assert!(joined["uri"].as_str().unwrap().ends_with("/hdo/riverside/operator/sam"), "{joined}");
    sam.run(&["audit", "verify"]).await.unwrap();
    assert!(!sam.home().join("identity/asked.pem").exists());
    assert_eq!(recorded(&kim, "operator.joined", "hdo/riverside/operator/sam").await, 1);
    assert_eq!(recorded(&kim, "certificate.renewed", "hdo/riverside/operator/sam").await, 3);
    failed(world.operator("thief").run(&["join", &pasted]).await, 3, &["used before"]);
}
on_both!(a_disk_without_room_for_an_operators_certificate, super::a_disk_without_room_for_an_operator);

async fn a_device_is_ended_while_it_enrols(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    let places = [
        "write identity/asked.pem",
        "settle identity/asked.pem",
        "before call for the enrolment",
        "after call for the enrolment",
        "settle identity/report.pem",
        "write identity/tls.pem",
        "rename identity/device.json",
        "remove identity/asked.pem",
    ];
    let ids: Vec<String> = (0..places.len()).map(|n| format!("pump-{n}")).collect();
    imported(&world, &kim, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (place, id) in places.into_iter().zip(&ids) {
        let pasted = token(&kim, &["device", "token", id]).await;
        let pump = Device::new(&world, id, "rev-a");
        let now = world.clock.now().as_millisecond().to_string();
        let mut cut = Command::new(env!("CARGO_BIN_EXE_cut-agent"));
        cut.arg("--config").arg(pump.config()).args(["--now-ms", &now, "--at", place, "--nth", "1"]);
        let ended = cut.args(["enroll", &pasted]).stdin(Stdio::null()).stdout(Stdio::null()).output().unwrap();
        assert!(!ended.status.success(), "{place} was not passed");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{place}");

        let spent = recorded(&kim, "device.enrolled", id).await == 1;
        assert_eq!(spent, !place.contains("asked.pem") && !place.starts_with("before") || place.starts_with("remove"));
        if spent {
            // For another key it is gone, wherever the first one was cut off.
            let said = Device::new(&world, &format!("{id}-thief"), "rev-a").enroll(&pasted).await.unwrap_err();
            assert!(said.contains("used before"), "{place}: {said}");
        }
        let shown = pump.enroll(&pasted).await.unwrap_or_else(|said| panic!("{place}: {said}"));
        assert!(!pump.dir.join("state/identity/asked.pem").exists(), "{place}");
        kim.run(&["device", "confirm", id, "--fingerprint", &shown, "--yes"]).await.unwrap();
        assert_eq!(recorded(&kim, "device.enrolled", id).await, 1, "{place}");
        let said = pump.enroll(&pasted).await.unwrap_err();
        assert!(said.contains("is enrolled as"), "{place}: {said}");
    }
    // A disk that refuses says what to do.
    imported(&world, &kim, &["pump-full"]).await;
    let pasted = token(&kim, &["device", "token", "pump-full"]).await;
    let pump = Device::new(&world, "pump-full", "rev-a");
    let in_the_way = pump.dir.join("state/identity/ca.pem");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    let said = pump.enroll(&pasted).await.unwrap_err();
    assert!(said.contains("the same command again") && said.contains("still works"), "{said}");
    fs::remove_dir_all(&in_the_way).unwrap();
    pump.enroll(&pasted).await.unwrap();
    kim.run(&["audit", "verify"]).await.unwrap();
}
on_both!(a_device_that_is_ended_while_it_enrols, super::a_device_is_ended_while_it_enrols);

/// What a token that was used is worth to whoever has the key that it was used with.
async fn shown_again(kind: Kind) {
    let Some(world) = World::start(kind).await else { return };
    let ada = world.manufacturer().await;
    let kim = world.hospital(&ada).await;
    imported(&world, &kim, &["pump-1", "pump-2"]).await;
    let mut operators = world.operator_calls(None).await;
    let mut devices = world.device_calls(None).await;
    let used = &["used before"];

    // The same name alone, where the token leaves it open; the same device alone, where it is for any.
    let pasted = token(&ada, &["hdo", "invite", "lakeside", "--name", "Lakeside"]).await;
    let key = Newcomer::default();
    operators.join(join_request(&pasted, "lea", &key)).await.unwrap();
    operators.join(join_request(&pasted, "lea", &key)).await.unwrap();
    refused(operators.join(join_request(&pasted, "eve", &key)).await, Code::Unauthenticated, used);
    let pasted = token(&kim, &["device", "token"]).await;
    let key = Newcomer::default();
    devices.enroll(enroll_request(&pasted, "pump-1", &key)).await.unwrap();
    devices.enroll(enroll_request(&pasted, "pump-1", &key)).await.unwrap();
    refused(devices.enroll(enroll_request(&pasted, "pump-2", &key)).await, Code::Unauthenticated, used);
    let mut other = enroll_request(&pasted, "pump-1", &key);
    other.report_key = vec![9; 32].into();
    assert!(
        devices.enroll(other).await.is_err(),
        "a device's fingerprint would be another than the one that is compared"
    );
    // What was enrolled with another token since is not displaced by this one.
    let later = token(&kim, &["device", "token", "pump-1"]).await;
    devices.enroll(enroll_request(&later, "pump-1", &Newcomer::default())).await.unwrap();
    refused(devices.enroll(enroll_request(&pasted, "pump-1", &key)).await, Code::Unauthenticated, used);

    // Whoever was revoked does not come back by it, nor by one that a revoked colleague has made.
    let sams = token(&kim, &["operator", "invite", "sam"]).await;
    let sam = Newcomer::default();
    operators.join(join_request(&sams, "sam", &sam)).await.unwrap();
    kim.run(&["operator", "revoke", "sam"]).await.unwrap();
    refused(operators.join(join_request(&sams, "sam", &sam)).await, Code::Unauthenticated, used);
    let pasted = token(&kim, &["device", "token", "pump-2"]).await;
    let key = Newcomer::default();
    devices.enroll(enroll_request(&pasted, "pump-2", &key)).await.unwrap();
    kim.run(&["device", "revoke", "pump-2", "--reason", "lost"]).await.unwrap();
    refused(devices.enroll(enroll_request(&pasted, "pump-2", &key)).await, Code::Unauthenticated, used);
    let anns = token(&kim, &["operator", "invite", "ann"]).await;
    let ann = world.operator("ann");
    ann.run(&["join", &anns]).await.unwrap();
    let lees = token(&ann, &["operator", "invite", "lee"]).await;
    let lee = Newcomer::default();
    operators.join(join_request(&lees, "lee", &lee)).await.unwrap();
    kim.run(&["operator", "revoke", "ann"]).await.unwrap();
    refused(operators.join(join_request(&lees, "lee", &lee)).await, Code::Unauthenticated, used);

    // Nor for ever, nor as often as one likes.
    let bens = token(&kim, &["operator", "invite", "ben", "--valid-hours", "2"]).await;
    let ben = Newcomer::default();
    for _ in 0..24 {
        operators.join(join_request(&bens, "ben", &ben)).await.unwrap();
    }
    refused(operators.join(join_request(&bens, "ben", &ben)).await, Code::ResourceExhausted, &["within a day"]);
    world.pass(2 * 3_600);
    refused(operators.join(join_request(&bens, "ben", &ben)).await, Code::Unauthenticated, used);
    kim.run(&["audit", "verify"]).await.unwrap();
}
on_both!(a_token_that_is_shown_again, super::shown_again);
