//! Stop orders and sticks: one approver stops, the threshold lifts, and a device obeys by whatever way it hears of it.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_core::approval::{Approval, OperatorDocument, Pinned, SignedDocument as _, path};
use suture_core::id::ApprovalId;
use suture_proto::v1;
use suture_tests::world::text;

use crate::hospital::Hospital;

/// A hospital whose first pump has fetched the second release and waits for its slot.
struct Waiting {
    hospital: Hospital,
    draft: (Approval, OperatorDocument),
    rollout: String,
    start: Timestamp,
    end: Timestamp,
}

impl Waiting {
    async fn open() -> Self {
        let mut hospital = Hospital::open().await;
        let draft = hospital.later_draft().await;
        let (rollout, start, end) = hospital.approve(draft.clone()).await;
        assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
        Self { hospital, draft, rollout, start, end }
    }

    /// Approves the same once more by another approval, which the first does not know of: both are open now.
    async fn approve_again(&mut self) -> String {
        let (mut approval, mut document) = self.draft.clone();
        let id: ApprovalId = "f".repeat(64).parse().unwrap();
        (approval.terms.id, document.approval) = (id.clone(), id.clone());
        let bytes = document.to_bytes().unwrap();
        approval.terms.operator_document = Pinned::of(path::operator_document(&id), &bytes);
        self.hospital.approve((approval, document)).await.0
    }

    /// From now on two of three approvers must sign.
    async fn with_four_eyes(self) -> Self {
        for name in ["lee", "mo"] {
            self.hospital.kim.run(&["key", "new", name, "--no-passphrase"]).await.unwrap();
        }
        self.hospital.kim.share(&["targets", "lee", "mo"], 2).await;
        // What a home signs without the server, it signs by what it has verified.
        self.hospital.kim.run(&["approvals", "status"]).await.unwrap();
        self
    }

    /// In its slot, which the server has opened, the pump does not begin, and says why.
    async fn obeys(&mut self) {
        self.hospital.world.clock.set(self.start);
        assert_eq!(self.hospital.pumps[0].cycle().await, "idle(stop-order)");
        self.hospital.untouched();
        let told = self.hospital.reported(&self.rollout).await;
        assert_eq!((told.0.as_str(), told.1.as_str()), ("stopped", "stop-order"));
    }

    async fn status(&self) -> Value {
        self.status_of(&self.rollout).await
    }

    async fn status_of(&self, rollout: &str) -> Value {
        self.hospital.kim.json(&["rollout", "stop-status", rollout]).await.unwrap()
    }

    /// How the pump stands to the stop of an approval, and how the rollout has it.
    async fn answers(&self, rollout: &str) -> (String, String) {
        let status = self.status_of(rollout).await;
        let standing = status["devices"][0]["standing"].as_str().unwrap().to_owned();
        (standing, self.hospital.reported(rollout).await.0)
    }

    /// What the pump has reported, the newest first.
    async fn said(&self) -> Vec<Value> {
        let mut calls = self.hospital.world.operator_calls(Some(self.hospital.kim.identity())).await;
        let request = v1::GetDeviceRequest { id: "pump-1".to_owned() };
        let reports = calls.get_device(request).await.unwrap().into_inner().reports;
        reports.iter().map(|r| serde_json::from_slice(&r.payload).unwrap()).collect()
    }

    /// How many orders the server hands out.
    async fn handed(&self) -> usize {
        let mut calls = self.hospital.world.operator_calls(Some(self.hospital.kim.identity())).await;
        calls.get_stops(v1::GetStopsRequest {}).await.unwrap().into_inner().envelopes.len()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.hospital.world.path(name)
    }

    async fn stick(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        self.hospital.kim.run(&["stick", "write", text(&dir)]).await.unwrap();
        dir
    }
}

/// The refusal's class of attack.
fn named(refused: &suture_agent::hand::HandError, class: &str) {
    let said = suture_agent::agent::chain(refused);
    assert!(refused.is_refusal() && said.contains(class), "{class}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_approvers_stops_a_device_that_waits_for_its_slot_and_two_let_it_go() {
    let mut w = Waiting::open().await.with_four_eyes().await;
    let (kim, rollout) = (&w.hospital.kim, w.rollout.clone());
    let before = w.status().await;
    assert_eq!((&before["stopped"], &before["unanswered"]), (&json!(false), &json!(1)));
    let stopped = kim.json(&["rollout", "stop", &rollout, "--key", "mo"]).await.unwrap();
    assert_eq!((&stopped["published"], &stopped["listed"]), (&json!(true), &json!(false)), "{stopped}");

    // It has not answered yet: the hospital knows until when it could begin, were the order hidden from it.
    let status = w.status().await;
    assert_eq!((&status["stopped"], &status["unanswered"]), (&json!(true), &json!(1)), "{status}");
    assert_eq!(status["safe_from"], json!(suture_core::clock::format_utc(w.end)));
    assert_eq!(status["devices"][0]["phase"], "waiting");
    w.obeys().await;
    let status = w.status().await;
    assert_eq!((&status["acknowledged"], &status["safe_from"]), (&json!(1), &Value::Null), "{status}");
    let shown = w.hospital.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!((&shown["state"], &shown["reason"]["code"]), (&json!("paused"), &json!("stop-order")));
    let resumed = w.hospital.kim.run(&["rollout", "resume", &rollout, "--reason", "x"]).await.unwrap_err();
    assert!(resumed.said.contains("lift it first"), "{}", resumed.said);

    // One signature lifts nothing, at the server or at the device.
    let file = w.path("lift.json");
    let kim = &w.hospital.kim;
    let begun = kim.json(&["rollout", "lift", &rollout, "--envelope", text(&file)]).await.unwrap();
    assert_eq!((&begun["signatures"], &begun["published"]), (&json!({ "given": 1, "needed": 2 }), &json!(false)));
    named(&w.hospital.pumps[0].hand_stop(&file).unwrap_err(), "bad-signature");
    let again = kim.json(&["rollout", "lift", "--sign", text(&file)]).await.unwrap();
    assert_eq!(again["signatures"], json!({ "given": 1, "needed": 2 }), "the same hand twice");
    assert_eq!(w.hospital.pumps[0].cycle().await, "idle(stop-order)");

    // The threshold lifts; that the rollout goes on is a word of its own.
    let lifted = w.hospital.kim.json(&["rollout", "lift", "--sign", text(&file), "--key", "lee"]).await.unwrap();
    assert_eq!((&lifted["signatures"], &lifted["published"]), (&json!({ "given": 2, "needed": 2 }), &json!(true)));
    // Whether or not it has heard of that: it has obeyed an order that holds no more, and could begin.
    let status = w.status().await;
    assert_eq!((&status["acknowledged"], &status["unanswered"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(status["safe_from"], json!(suture_core::clock::format_utc(w.end)));
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(paused)");
    w.hospital.untouched();
    w.hospital.kim.run(&["rollout", "resume", &rollout, "--reason", "checked"]).await.unwrap();
    w.hospital.confirms(&rollout).await;
    let status = w.status().await;
    assert_eq!((&status["stopped"], &status["done"]), (&json!(false), &json!(1)), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_the_server_never_hands_out_comes_by_stick_and_stays() {
    let mut w = Waiting::open().await.with_four_eyes().await;
    let (rollout, order) = (w.rollout.clone(), w.path("order.json"));
    let args = ["rollout", "stop", &rollout, "--key", "lee", "--offline", "--envelope", text(&order)];
    let signed = w.hospital.kim.json(&args).await.unwrap();
    assert_eq!((&signed["published"], &signed["listed"]), (&json!(false), &json!(false)));
    let stick = w.stick("stick").await;
    assert!(stick.join(format!("stops/{rollout}.json")).exists());
    let found = w.hospital.pumps[0].hand_stick(&stick).await.unwrap();
    assert!(found.news && found.orders[0].stopped && found.orders[0].news);

    // The agent dies before it has looked, and once more after it has obeyed; the server says go all the while.
    w.hospital.pumps[0].crash();
    w.obeys().await;
    w.hospital.pumps[0].crash();
    assert_eq!(w.hospital.pumps[0].cycle().await, "idle(stop-order)");
    w.hospital.untouched();
    let again = w.hospital.pumps[0].hand_stop(&order).unwrap();
    assert!(!again.news && !again.orders[0].news, "the device knows it");
    let status = w.status().await;
    assert_eq!((&status["acknowledged"], &status["safe_from"]), (&json!(1), &Value::Null), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_stops_a_device_at_once_and_a_server_that_forgets_does_not_let_it_go() {
    let mut w = Waiting::open().await.with_four_eyes().await;
    let rollout = w.rollout.clone();
    w.hospital.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    w.obeys().await;
    // The server's database goes back to a backup from before the order.
    let mut database = sqlite(&w).await;
    sqlx::query("DELETE FROM stop_order").execute(&mut database).await.unwrap();
    sqlx::query("UPDATE rollout SET state = 'running', reason_code = NULL").execute(&mut database).await.unwrap();
    for _ in 0..2 {
        assert_eq!(w.hospital.pumps[0].cycle().await, "idle(stop-order)");
        w.hospital.pumps[0].crash();
    }
    w.hospital.untouched();

    // A stranger's order, and one of the hospital's that was changed, are refused with the class of attack.
    let kept = w.hospital.kim.home().join(format!("stops/{rollout}.json"));
    let bent = fs::read_to_string(kept).unwrap().replace("\"stopped\":true", "\"stopped\":false");
    let file = w.path("bent.json");
    fs::write(&file, bent).unwrap();
    named(&w.hospital.pumps[0].hand_stop(&file).unwrap_err(), "bad-signature");
    fs::write(&file, b"{}").unwrap();
    named(&w.hospital.pumps[0].hand_stop(&file).unwrap_err(), "bad-metadata");
}

async fn sqlite(w: &Waiting) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;
    let url = w.hospital.world.database().replacen("sqlite:", "sqlite://", 1);
    sqlx::SqliteConnection::connect(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_stick_is_refused_by_version_and_by_time_and_another_hospitals_by_name() {
    let mut w = Waiting::open().await;
    let (stale, rollout) = (w.stick("stale").await, w.rollout.clone());
    w.hospital.kim.run(&["calendar", "set", "er", "--zone", "UTC", "--weekly", "daily 02:00 3h"]).await.unwrap();
    w.hospital.pumps[0].cycle().await;
    named(&w.hospital.pumps[0].hand_stick(&stale).await.unwrap_err(), "rollback");

    let fresh = w.stick("fresh").await;
    let found = w.hospital.pumps[0].hand_stick(&fresh).await.unwrap();
    assert!(!found.news, "the device has it from the server");
    label(&fresh, "hdo", json!("hilltop"));
    named(&w.hospital.pumps[0].hand_stick(&fresh).await.unwrap_err(), "hilltop");
    label(&fresh, "hdo", json!("riverside"));

    // A stop order speaks for itself, also from a stick that is refused.
    let order = w.path("order.json");
    let args = ["rollout", "stop", &rollout, "--offline", "--envelope", text(&order)];
    w.hospital.kim.run(&args).await.unwrap();
    fs::create_dir_all(fresh.join("stops")).unwrap();
    fs::copy(&order, fresh.join("stops/order.json")).unwrap();
    w.hospital.world.idle(8).await;
    let refused = w.hospital.pumps[0].hand_stick(&fresh).await.unwrap_err();
    named(&refused, "metadata-expired");
    assert!(refused.to_string().contains("stop order for"), "{refused}");
    w.hospital.pumps[0].cycle().await;
    let kept = w.hospital.pumps[0].hand_stop(&order).unwrap();
    assert!(!kept.news, "it was taken in");
}

fn label(stick: &Path, name: &str, value: Value) {
    let path = stick.join("stick.json");
    let mut label: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    label[name] = value;
    fs::write(path, label.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_a_network_learns_of_an_approval_by_stick() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let draft = hospital.draft().await;
    hospital.approve(draft).await;
    let stick = hospital.world.path("stick");
    let written = hospital.kim.json(&["stick", "write", text(&stick)]).await.unwrap();
    assert_eq!(written["hdo"], "riverside");
    hospital.world.stop_server().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");

    // Written anew over the old one; then a file of it is missing, and nothing of it counts.
    let shards = stick.join("approvals/slots");
    let (there, aside) = (shards.clone(), stick.join("aside"));
    fs::rename(&there, &aside).unwrap();
    let refused = hospital.pumps[0].hand_stick(&stick).await.unwrap_err();
    named(&refused, "was it written whole");
    fs::rename(&aside, &there).unwrap();

    let found = hospital.pumps[0].hand_stick(&stick).await.unwrap();
    assert!(found.news && found.targets.unwrap().news);
    let state = hospital.pumps[0].cycle().await;
    assert!(state.starts_with("fetching"), "it knows what it may have, and cannot get it: {state}");
    assert!(!hospital.pumps[0].hand_stick(&stick).await.unwrap().news);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_two_open_approvals_answers_to_the_stop_of_either() {
    let obeys = || ("acknowledged".to_owned(), "stopped".to_owned());
    let mut w = Waiting::open().await;
    let first = w.rollout.clone();
    let second = w.approve_again().await;
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(conflicting-approvals)");

    // The one that it is at: the other is chosen in the same look, and the answer is no less an answer.
    w.hospital.kim.run(&["rollout", "stop", &first]).await.unwrap();
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(before-slot)");
    assert_eq!(w.answers(&first).await, obeys());
    assert_eq!(w.answers(&second).await, ("unanswered".to_owned(), "waiting".to_owned()));

    // Lifted, it is open again; then the one that the device is not at is stopped.
    w.hospital.kim.run(&["rollout", "lift", &first]).await.unwrap();
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(conflicting-approvals)");
    assert_eq!(w.answers(&first).await, ("unanswered".to_owned(), "offered".to_owned()));
    w.hospital.kim.run(&["rollout", "stop", &first]).await.unwrap();
    assert_eq!(w.answers(&first).await.0, "unanswered", "an answer to the order before is none to this one");
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(before-slot)");
    assert_eq!(w.answers(&first).await, obeys());

    // Both; each answer is given once, whoever starts the agent again.
    w.hospital.kim.run(&["rollout", "stop", &second]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(w.hospital.pumps[0].cycle().await, "idle(stop-order)");
        w.hospital.pumps[0].crash();
    }
    assert_eq!((w.answers(&first).await, w.answers(&second).await), (obeys(), obeys()));
    w.hospital.untouched();
    let phases: Vec<_> = w.said().await.iter().map(|r| r["phase"].clone()).collect();
    assert_eq!(phases.iter().filter(|p| **p == "stopped").count(), 3, "{phases:?}");

    // At the device both orders are in sight.
    let status = w.hospital.pumps[0].status();
    let mut kept: Vec<_> = status.stops.iter().map(|s| (s.approval.to_string(), s.standing)).collect();
    kept.sort();
    let mut orders = [(first, "stopped"), (second, "stopped")];
    orders.sort();
    assert_eq!(kept, orders);
    assert_eq!(status.text().lines().filter(|l| l.starts_with("stop order")).count(), 2, "{}", status.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_of_what_was_aborted_promises_nothing() {
    let mut w = Waiting::open().await;
    let (kim, rollout) = (&w.hospital.kim, w.rollout.clone());
    kim.run(&["rollout", "abort", &rollout, "--reason", "the alarm is too quiet"]).await.unwrap();
    let lifted = kim.run(&["rollout", "lift", &rollout]).await.unwrap();
    assert!(lifted.contains("stays aborted") && !lifted.contains("rollout resume"), "{lifted}");
    w.hospital.world.clock.set(w.start);
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(aborted)");
    w.hospital.untouched();
    // What is paused can be resumed.
    let second = w.approve_again().await;
    let kim = &w.hospital.kim;
    kim.run(&["rollout", "stop", &second]).await.unwrap();
    let lifted = kim.run(&["rollout", "lift", &second]).await.unwrap();
    assert!(lifted.contains(&format!("suturectl rollout resume {second}")), "{lifted}");
}

/// Attack: a server that hides the second stop from a device, and shows its answer to the first as that to the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_one_stop_is_none_to_the_next_however_little_the_device_has_heard_between() {
    let mut w = Waiting::open().await.with_four_eyes().await;
    let (kim, rollout) = (&w.hospital.kim, w.rollout.clone());
    let first = kim.json(&["rollout", "stop", &rollout]).await.unwrap()["counter"].as_u64().unwrap();
    w.obeys().await;
    let obeys = || ("acknowledged".to_owned(), "stopped".to_owned());
    assert_eq!(w.answers(&rollout).await, obeys());

    // Lifted and stopped again while the device hears nothing: its last word is still that it obeys.
    let lift = w.path("lift.json");
    let kim = &w.hospital.kim;
    kim.run(&["rollout", "lift", &rollout, "--envelope", text(&lift)]).await.unwrap();
    kim.run(&["rollout", "lift", "--sign", text(&lift), "--key", "lee"]).await.unwrap();
    let second = kim.json(&["rollout", "stop", &rollout]).await.unwrap()["counter"].as_u64().unwrap();
    assert!(first < second);
    let status = w.status().await;
    assert_eq!((&status["acknowledged"], &status["unanswered"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(status["devices"][0]["obeyed"], json!(first), "{status}");
    assert_eq!(status["safe_from"], json!(suture_core::clock::format_utc(w.end)), "it could begin until then");
    assert_eq!(w.hospital.reported(&rollout).await.0, "offered", "nor does the server count it");

    // It hears of the second, of which nothing but the counter is other, and answers anew, once.
    for _ in 0..2 {
        assert_eq!(w.hospital.pumps[0].cycle().await, "idle(stop-order)");
        w.hospital.pumps[0].crash();
        assert_eq!(w.answers(&rollout).await, obeys());
    }
    let orders: Vec<_> = w.said().await.iter().filter(|r| r["phase"] == "stopped").map(|r| r["stop"].clone()).collect();
    assert_eq!(orders, [json!(second), json!(first)], "the newest first");
    w.hospital.untouched();
}

/// Attack: a stolen approver's key that signs stops, and is taken out of the root; what it signed, no device takes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_approver_stopped_who_has_left_is_stopped_anew_by_one_who_has_not() {
    let mut w = Waiting::open().await.with_four_eyes().await;
    let (kim, rollout, order) = (&w.hospital.kim, w.rollout.clone(), w.path("order.json"));
    let by_mo = ["rollout", "stop", &rollout, "--key", "mo", "--offline", "--envelope", text(&order)];
    let first = kim.json(&by_mo).await.unwrap()["counter"].as_u64().unwrap();
    let mo = kim.public("mo").await;
    kim.run(&["approvals", "remove-key", "--role", "targets", "--public", &mo]).await.unwrap();

    // Nothing is stopped by it where it has not been heard; the home that remembers it hands it to nobody.
    assert_eq!(w.status().await["stopped"], json!(false));
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(before-slot)");
    named(&w.hospital.pumps[0].hand_stop(&order).unwrap_err(), "bad-signature");
    let stick = w.stick("stick").await;
    assert!(!stick.join("stops").exists());
    // Nor is it listed by those who sign on.
    let file = w.path("calendar.json");
    let kim = &w.hospital.kim;
    let set = ["calendar", "set", "er", "--zone", "UTC", "--weekly", "daily 02:00 3h", "--envelope", text(&file)];
    kim.run(&set).await.unwrap();
    kim.run(&["approvals", "sign", text(&file), "--key", "lee", "--yes"]).await.unwrap();
    assert_eq!(w.status().await["stopped"], json!(false));

    let stopped = kim.json(&["rollout", "stop", &rollout, "--key", "lee"]).await.unwrap();
    assert_eq!((&stopped["published"], &stopped["listed"]), (&json!(true), &json!(false)), "{stopped}");
    let second = stopped["counter"].as_u64().unwrap();
    assert!(first < second, "a device may have taken the first while mo could sign");
    w.obeys().await;
    let again = w.hospital.kim.json(&["rollout", "stop", &rollout]).await.unwrap();
    assert_eq!(again["counter"], json!(second), "it is stopped already");

    // Now lee leaves too; the order is listed before that, and so it stays in force.
    let file = w.path("wards.json");
    let kim = &w.hospital.kim;
    let set = ["calendar", "set", "ward-7", "--zone", "UTC", "--weekly", "daily 02:00 3h", "--envelope", text(&file)];
    kim.run(&set).await.unwrap();
    kim.run(&["approvals", "sign", text(&file), "--key", "lee", "--yes"]).await.unwrap();
    let lee = kim.public("lee").await;
    assert_eq!(w.handed().await, 1);
    let out = ["approvals", "remove-key", "--role", "targets", "--public", &lee, "--threshold", "1"];
    kim.run(&out).await.unwrap();
    assert_eq!(w.handed().await, 0, "what was signed by nobody who is an approver is handed to nobody");
    let status = w.status().await;
    assert_eq!((&status["counter"], &status["acknowledged"]), (&json!(second), &json!(1)), "{status}");
    let again = w.hospital.kim.json(&["rollout", "stop", &rollout]).await.unwrap();
    assert_eq!((&again["counter"], &again["listed"]), (&json!(second), &json!(true)), "{again}");
    // Who is left lifts it.
    let lifted = w.hospital.kim.json(&["rollout", "lift", &rollout]).await.unwrap();
    assert_eq!(
        (&lifted["signatures"], &lifted["published"]),
        (&json!({ "given": 1, "needed": 1 }), &json!(true)),
        "{lifted}"
    );
    assert_eq!(w.hospital.pumps[0].cycle().await, "waiting(paused)");
}

/// Found: what the server was told while a version was hashed and the device claimed, which may take minutes, was heard after the
/// switch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_or_paused_while_the_device_is_claimed_is_not_switched_to() {
    let (stop, pause) = (&["stop"][..], &["pause", "--reason", "the alarm is silent"][..]);
    for (word, first, then) in
        [(stop, "waiting(stop-order)", "idle(stop-order)"), (pause, "waiting(paused)", "waiting(paused)")]
    {
        let mut w = Waiting::open().await;
        w.hospital.world.clock.set(w.start);
        let Hospital { kim, pumps, .. } = &mut w.hospital;
        let pump = &mut pumps[0];
        let mut gate = pump.gated("interlock", "claim");
        let config = fs::read_to_string(pump.config()).unwrap();
        fs::write(pump.config(), config.replace("timeout_secs = 10", "timeout_secs = 300")).unwrap();
        pump.crash();
        let said = async {
            gate.reached().await;
            kim.run(&[&["rollout", word[0], &w.rollout], &word[1..]].concat()).await.unwrap();
            gate.open().await;
        };
        let (state, ()) = tokio::join!(pump.cycle(), said);
        assert_eq!(state, first);
        assert_eq!((pump.runs().as_str(), pump.interlock_log()), ("1.0.0", vec!["claim".into(), "release".to_owned()]));
        assert_eq!(pump.cycle().await, then);
    }
}
