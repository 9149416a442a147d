//! Human gates: a wave that waits for the hospital's signature is fetched and not begun, whatever the server says.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_tests::world::{Device, text};

use crate::hospital::{Hospital, untouched};

/// A hospital that has approved the second release for both its pumps.
struct Gated {
    hospital: Hospital,
    rollout: String,
    /// The devices of each wave with their slots.
    slots: Vec<(String, Timestamp)>,
}

impl Gated {
    /// With these waves.
    async fn open(waves: &[&str]) -> Self {
        let hospital = Hospital::open().await;
        let plan = ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--slots", "1", "--slack", "60s"];
        let plan = hospital.kim.json(&[&plan[..], waves].concat()).await.unwrap();
        let digest = plan["sha256"].as_str().unwrap();
        let approved = hospital.kim.json(&["rollout", "approve", digest, "--reason", "tested"]).await.unwrap();
        let rollout = approved["rollout"].as_str().unwrap().to_owned();
        let mut slots: Vec<(u64, String, Timestamp)> =
            plan["plan"]["devices"].as_array().unwrap().iter().map(slot).collect();
        slots.sort();
        let slots = slots.into_iter().map(|(_, id, start)| (id, start)).collect();
        Self { hospital, rollout, slots }
    }

    /// The pump of a wave, and when its slot begins.
    fn pump(&mut self, wave: usize) -> (&mut Device, Timestamp) {
        let (id, start) = self.slots[wave].clone();
        (self.hospital.pumps.iter_mut().find(|p| p.id == id).unwrap(), start)
    }

    /// Lets the pump of a wave go through a cycle in its slot.
    async fn in_slot(&mut self, wave: usize) -> String {
        let start = self.pump(wave).1;
        self.hospital.world.clock.set(start);
        self.pump(wave).0.cycle().await
    }

    async fn sign_open(&self, wave: &str) -> Result<Value, String> {
        let args = ["rollout", "open", &self.rollout, "--wave", wave, "--reason", "a quiet night"];
        self.hospital.kim.json(&args).await.map_err(|e| e.said)
    }

    async fn shown(&self) -> Value {
        self.hospital.kim.json(&["rollout", "show", &self.rollout]).await.unwrap()
    }
}

fn slot(device: &Value) -> (u64, String, Timestamp) {
    let start = device["slots"][0]["start"].as_str().unwrap().parse().unwrap();
    (device["wave"].as_u64().unwrap(), device["id"].as_str().unwrap().to_owned(), start)
}

/// Whether a gates document is among what a device keeps.
fn keeps_gates(device: &Device) -> bool {
    let documents = fs::read_dir(device.dir.join("state/trust/approvals/documents")).unwrap();
    let mut texts = documents.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    texts.any(|text| text.contains("suture-gates"))
}

/// Has the server record that a wave is open, and which waves wait for a signature, a bit for each.
async fn set(gated: &Gated, wave: i64, unsigned: i64) {
    use sqlx::Connection as _;
    let url = gated.hospital.world.database().replacen("sqlite:", "sqlite://", 1);
    let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let update = sqlx::query("UPDATE rollout SET wave = $1, unsigned_waves = $2");
    update.bind(wave).bind(unsigned).execute(&mut database).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_wave_is_staged_and_begins_only_once_it_is_signed_open() {
    let mut g = Gated::open(&["--wave", "1", "--wave", "rest:signed"]).await;
    assert_eq!(g.shown().await["waits_for_signature"], json!([2]));
    assert_eq!(g.pump(1).0.cycle().await, "waiting(signature-needed)", "fetched and staged");
    assert!(g.pump(1).0.fetched_chunks() > 0);

    // The first wave succeeds, and the rollout says what it waits for; once in the record, however often it looks.
    assert_eq!(g.in_slot(0).await, "idle(up-to-date)");
    let shown = g.shown().await;
    assert_eq!((&shown["state"], &shown["wave"]), (&json!("running"), &json!(1)), "{shown}");
    assert_eq!(shown["reason"]["code"], "signature-needed");
    let command = format!("suturectl rollout open {} --wave 2", g.rollout);
    assert!(shown["reason"]["text"].as_str().unwrap().contains(&command), "{shown}");
    let second = g.slots[1].0.clone();
    let why = g.hospital.kim.json(&["device", "why", &second]).await.unwrap();
    let first = &why.as_array().unwrap()[0];
    assert_eq!((&first["by"], &first["code"]), (&json!("signed"), &json!("signature-needed")), "{why}");

    // In its slot; then with a server that says go.
    assert_eq!(g.in_slot(1).await, "waiting(signature-needed)");
    set(&g, 1, 0).await;
    for _ in 0..2 {
        assert_eq!(g.pump(1).0.cycle().await, "waiting(signature-needed)");
        untouched(g.pump(1).0, "1.0.0");
        g.pump(1).0.crash();
    }
    set(&g, 0, 2).await;

    for (wave, said) in [("1", "does not wait for a signature"), ("3", "no wave 3")] {
        let refused = g.sign_open(wave).await.unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let opened = g.sign_open("2").await.unwrap();
    assert_eq!((&opened["wave"], &opened["opened"], &opened["devices"]), (&json!(2), &json!(true), &json!(1)));
    assert!(g.sign_open("2").await.unwrap_err().contains("is open already"));
    let shown = g.shown().await;
    assert_eq!(
        (&shown["wave"], &shown["reason"], &shown["waits_for_signature"]),
        (&json!(2), &Value::Null, &json!([]))
    );
    let record = g.hospital.kim.run(&["audit", "list"]).await.unwrap();
    assert!(record.contains("rollout.wave-signed"), "{record}");
    assert_eq!(record.matches("rollout.waits-for-signature").count(), 1, "{record}");

    assert_eq!(g.pump(1).0.cycle().await, "idle(up-to-date)");
    assert_eq!(g.pump(1).0.runs(), "1.1.0");
    assert_eq!(g.shown().await["state"], "complete");
    g.pump(0).0.cycle().await;
    assert!(!keeps_gates(g.pump(0).0), "its wave waits for nobody, so it has fetched no gates");
    assert!(keeps_gates(g.pump(1).0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_comes_by_stick_to_a_device_that_is_alone() {
    let mut g = Gated::open(&["--wave", "1:signed", "--wave", "rest", "--without-server"]).await;
    assert_eq!(g.pump(0).0.cycle().await, "waiting(signature-needed)", "the first wave may wait too");
    let shut = g.hospital.world.path("shut");
    g.hospital.kim.run(&["stick", "write", text(&shut)]).await.unwrap();
    g.sign_open("1").await.unwrap();
    let stick = g.hospital.world.path("stick");
    g.hospital.kim.run(&["stick", "write", text(&stick)]).await.unwrap();
    g.hospital.world.stop_server().await;
    assert_eq!(g.in_slot(0).await, "waiting(signature-needed)");
    g.pump(0).0.hand_stick(&shut).await.unwrap();
    assert_eq!(g.pump(0).0.cycle().await, "waiting(signature-needed)", "a stick of before opens nothing");

    // Without the file, or with another in its place, nothing is opened, and whoever stands there hears it.
    let (there, aside) = (stick.join("approvals/gates"), stick.join("aside"));
    fs::rename(&there, &aside).unwrap();
    let refused = g.pump(0).0.hand_stick(&stick).await.unwrap_err();
    assert!(suture_agent::agent::chain(&refused).contains("was it written whole"), "{refused}");
    fs::rename(&aside, &there).unwrap();
    let file = fs::read_dir(&there).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("\"wave\":0", "\"wave\":1")).unwrap();
    let refused = g.pump(0).0.hand_stick(&stick).await.unwrap_err();
    assert!(refused.is_refusal() && suture_agent::agent::chain(&refused).contains("wrong-bytes"), "{refused}");
    assert_eq!(g.pump(0).0.cycle().await, "waiting(signature-needed)");
    untouched(g.pump(0).0, "1.0.0");

    fs::write(&file, whole).unwrap();
    assert!(g.pump(0).0.hand_stick(&stick).await.unwrap().news);
    // It is kept: the stick is gone, and so is the agent that took it in.
    g.pump(0).0.crash();
    fs::remove_dir_all(&stick).unwrap();
    assert_eq!(g.pump(0).0.cycle().await, "idle(up-to-date)");
    assert_eq!(g.pump(0).0.runs(), "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_open_as_approve_and_one_stops_what_is_open() {
    let mut g = Gated::open(&["--wave", "rest:signed", "--cap", "2"]).await;
    g.hospital.kim.run(&["key", "new", "lee", "--no-passphrase"]).await.unwrap();
    g.hospital.kim.share(&["targets", "lee"], 2).await;
    assert_eq!(g.pump(0).0.cycle().await, "waiting(signature-needed)");
    let file = g.hospital.world.path("open.envelope.json");
    let args = ["rollout", "open", &g.rollout, "--wave", "1", "--reason", "a quiet night", "--envelope", text(&file)];
    let waiting = g.hospital.kim.json(&args).await.unwrap();
    assert_eq!(waiting["published"], false, "{waiting}");
    assert_eq!(g.in_slot(0).await, "waiting(signature-needed)", "one signature opens nothing");

    let shown = g.hospital.kim.run(&["approvals", "show", text(&file)]).await.unwrap();
    for part in [format!("wave 1 of {} is OPENED: 2 devices of it", g.rollout), "kim says \"a quiet night\"".to_owned()]
    {
        assert!(shown.contains(&part), "{part}\n{shown}");
    }
    let sign = ["approvals", "sign", text(&file), "--key", "lee", "--yes"];
    let signed = g.hospital.kim.json(&sign).await.unwrap();
    assert_eq!(signed["published"], true, "{signed}");

    // Open, and stopped before the device has looked: the stop counts, and nothing can be opened under it.
    g.hospital.kim.run(&["rollout", "stop", &g.rollout]).await.unwrap();
    assert_eq!(g.pump(0).0.cycle().await, "idle(stop-order)");
    untouched(g.pump(0).0, "1.0.0");
    assert!(g.sign_open("1").await.unwrap_err().contains("is open already"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_takes_no_opening_back_and_none_of_another_approval() {
    let g = Gated::open(&["--wave", "1:signed", "--wave", "rest:signed"]).await;
    g.sign_open("1").await.unwrap();
    let path = format!("gates/{}.json", g.rollout);
    let kim = &g.hospital.kim;
    let closed = kim.republish(|targets, _| drop(targets.remove(&path))).await.unwrap_err();
    assert!(closed.contains("closed by a stop order"), "{closed}");
    for (from, to, said) in [
        ("\"wave\":0", "\"wave\":1", "note is another"),
        (g.rollout.as_str(), "another", "another approval"),
        ("\"hdo\":\"riverside\"", "\"hdo\":\"hilltop\"", "another hospital"),
    ] {
        let bent = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(from, to).into_bytes();
        let refused = kim.republish_file(&path, bent).await.unwrap_err();
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert_eq!(g.shown().await["waits_for_signature"], json!([2]), "nothing of it counts");
    g.sign_open("2").await.unwrap();
    assert_eq!(g.shown().await["waits_for_signature"], json!([]));
}
