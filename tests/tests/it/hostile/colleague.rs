//! A thief with a hospital operator's certificate, against real colleagues and rollouts that run; and what ends with the
//! certificate.

use std::fs::OpenOptions;
use std::process::Command;
use std::time::Instant;

use jiff::SignedDuration;
use serde_json::{Value, json};
use suture_core::approval::{Approval, OperatorDocument, Pinned, SignedDocument as _, Slot, StopOrder, path};
use suture_core::clock::Clock as _;
use suture_proto::v1;
use suture_tests::world::{Device, HDO, Operator, World, text};
use tonic::Code;

use super::stage::{LOOK, PATIENCE};
use crate::hospital::{Hospital, untouched};

/// A colleague of kim's who may sign as kim may.
async fn colleague(hospital: &Hospital, name: &str) -> Operator {
    let colleague = hospital.world.colleague(&hospital.kim, name).await;
    let key = colleague.public("targets").await;
    let add = ["approvals", "add-key", "--role", "targets", "--public", &key, "--holder", name];
    hospital.kim.run(&add).await.unwrap();
    colleague
}

/// The same, in which somebody else says that they approve it.
fn approved_by(name: &str, (mut approval, mut document): (Approval, OperatorDocument)) -> (Approval, OperatorDocument) {
    document.approver = name.to_owned();
    let place = path::operator_document(&approval.terms.id);
    approval.terms.operator_document = Pinned::of(place, &document.to_bytes().unwrap());
    (approval, document)
}

/// Somebody whom an operator has invited, and who has come.
async fn join(world: &World, by: &Operator, name: &str) -> Operator {
    let token = by.json(&["operator", "invite", name]).await.unwrap();
    let invited = world.operator(name);
    invited.run(&["join", token["token"].as_str().unwrap()]).await.unwrap();
    invited
}

/// Whoever has kim's certificate and nothing else: a home without keys.
fn thief(hospital: &Hospital) -> Operator {
    let thief = hospital.world.operator("thief");
    assert!(Command::new("cp").arg("-a").arg(hospital.kim.home()).arg(thief.home()).status().unwrap().success());
    std::fs::remove_dir_all(thief.home().join("keys")).unwrap();
    thief
}

/// Who did that, to what, in the record that an operator reads.
async fn recorded(by: &Operator, action: &str) -> Vec<(String, String)> {
    let entries = by.json(&["audit", "list", "--after", "0", "--limit", "1000"]).await.unwrap();
    let word = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let entries = entries.as_array().unwrap_or_else(|| panic!("{entries}")).iter();
    entries.filter(|e| e["action"] == action).map(|e| (word(e, "actor"), word(e, "subject"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_revokes_a_colleague_and_the_colleagues_signature_counts_on() {
    let mut hospital = Hospital::open().await;
    let sam = colleague(&hospital, "sam").await;
    // It knows sam's key from here on.
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let draft = approved_by("sam", hospital.draft().await);
    let start = draft.0.devices[0].slots[0].start;
    let rollout = draft.0.terms.id.to_string();
    sam.sign(&draft).await;

    // The server lets it, and refuses to lock the caller out.
    let mut calls = hospital.world.operator_calls(Some(hospital.kim.identity())).await;
    let revoke = |name: &str| v1::RevokeOperatorRequest { name: name.to_owned() };
    assert_eq!(calls.revoke_operator(revoke("kim")).await.unwrap_err().code(), Code::FailedPrecondition);
    let mut open = hospital.world.operator_calls(Some(sam.identity())).await;
    open.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    calls.revoke_operator(revoke("sam")).await.unwrap();
    assert_eq!(calls.revoke_operator(revoke("sam")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(sam.run(&["device", "list"]).await.unwrap_err().exit, 3);
    assert_eq!(open.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err().code(), Code::Unauthenticated, "open lines too");

    // The record names both, for whoever looks: the other operators, and the manufacturer not.
    let told = ("hdo/riverside/operator/kim", "hdo/riverside/operator/sam");
    let told = |of: &[(String, String)]| of.iter().any(|(by, whom)| (by.as_str(), whom.as_str()) == told);
    let revoked = recorded(&hospital.kim, "operator.revoked").await;
    assert!(told(&revoked), "{revoked:?}");
    assert!(!told(&recorded(&hospital.ada, "operator.revoked").await), "a hospital's people are its own affair");

    // Devices know of no certificates: what sam has signed is in force, and sam's stop order holds, handed over at the device.
    let order = StopOrder::next(HDO.parse().unwrap(), draft.0.terms.id.clone(), None, true, hospital.world.clock.now());
    let file = hospital.world.path("stop.json");
    std::fs::write(&file, order.unwrap().sign(&[&sam.targets_key()]).unwrap()).unwrap();
    hospital.pumps[0].crash();
    let mut stopped = hospital.pumps[0].double(hospital.world.path("stopped"), "rev-a");
    let found = stopped.hand_stop(&file).unwrap();
    assert!(found.news, "{found:?}");
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
    assert_eq!(stopped.cycle().await, "idle(stop-order)");
    untouched(&stopped, "1.0.0");
}

/// A device whose restart takes until the test lets it go on: past its switch, and not yet proven healthy.
struct Restarting {
    begun: std::path::PathBuf,
    /// The restart ends once nobody holds this open.
    hold: std::fs::File,
}

impl Restarting {
    fn of(pump: &Device) -> Self {
        let (begun, fifo) = (pump.dir.join("restart.begun"), pump.dir.join("restart.fifo"));
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!("touch '{}'; exec cat '{}'", text(&begun), text(&fifo));
        pump.configure("rev-a", &["sh", "-c", &script]);
        // To read as well, so that it opens without anybody at the other end.
        let hold = OpenOptions::new().read(true).write(true).open(fifo).unwrap();
        Self { begun, hold }
    }

    /// Waits until the device restarts; it goes on once what this gives is dropped.
    async fn begun(self) -> std::fs::File {
        let began = Instant::now();
        while !self.begun.exists() {
            assert!(began.elapsed() < PATIENCE, "the device never restarts");
            tokio::time::sleep(LOOK).await;
        }
        self.hold
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_aborts_a_rollout_that_runs_and_devices_wait_finish_or_do_not_hear_of_it() {
    let mut hospital = Hospital::open().await;
    let both = ["--ward", "icu", "--wave", "rest", "--cap", "2", "--without-server"];
    let plan = [&["--bundle", "pump@2", "--slots", "1", "--slack", "60s"][..], &both].concat();
    let mut draft = hospital.world.draft(&hospital.kim, &plan).await;
    let start = hospital.world.clock.now() + SignedDuration::from_hours(1);
    let slot = Slot { start, end: start + SignedDuration::from_hours(2) };
    draft.0.devices.iter_mut().for_each(|device| device.slots = vec![slot]);
    draft.0.terms.expires = slot.end;
    let (rollout, start, _) = hospital.approve(draft).await;
    let mut calls = hospital.world.operator_calls(Some(hospital.kim.identity())).await;
    let abort = v1::AbortRolloutRequest { id: rollout.clone(), reason: "an accident".to_owned() };

    // pump-1 is past its switch when the thief aborts. pump-2 has fetched and not begun; so has its twin, who hears nothing.
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(before-slot)");
    hospital.pumps[1].crash();
    let mut deaf = hospital.pumps[1].double(hospital.world.path("deaf"), "rev-a");
    let restarting = Restarting::of(&hospital.pumps[0]);
    hospital.world.clock.set(start);
    let (state, ()) = tokio::join!(hospital.pumps[0].cycle(), async {
        let restart = restarting.begun().await;
        calls.abort_rollout(abort.clone()).await.unwrap();
        drop(restart);
    });
    assert_eq!(state, "idle(up-to-date)", "past the switch it finishes");
    assert_eq!(
        (hospital.pumps[0].runs().as_str(), hospital.reported(&rollout).await.0.as_str()),
        ("1.1.0", "confirmed")
    );
    assert_eq!(hospital.pumps[1].cycle().await, "waiting(aborted)");
    untouched(&hospital.pumps[1], "1.0.0");

    // The record names who and why; what is aborted stays so, for the thief too.
    let shown = hospital.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!((&shown["state"], &shown["reason"]["code"]), (&json!("aborted"), &json!("operator")), "{shown}");
    assert!(shown["reason"]["text"].as_str().unwrap().contains("an accident"), "{shown}");
    let by_kim = ("hdo/riverside/operator/kim".to_owned(), rollout.clone());
    assert_eq!(recorded(&hospital.kim, "rollout.aborted").await, [by_kim]);
    let resume = v1::ResumeRolloutRequest { id: rollout.clone(), reason: "never mind".to_owned() };
    assert_eq!(calls.resume_rollout(resume).await.unwrap_err().code(), Code::FailedPrecondition);

    // Nothing that is signed has changed, so a device whose wave asks for no server installs where it hears of none.
    hospital.world.stop_server().await;
    assert_eq!(deaf.cycle().await, "idle(up-to-date)");
    assert_eq!(deaf.runs(), "1.1.0");
    hospital.world.start_server().await;
    hospital.pumps[1].crash();

    // What the hospital wants all the same it plans and approves anew; the thief is let out meanwhile.
    let sam = colleague(&hospital, "sam").await;
    sam.run(&["operator", "revoke", "kim"]).await.unwrap();
    assert_eq!(calls.abort_rollout(abort).await.unwrap_err().code(), Code::Unauthenticated);
    let again = ["--bundle", "pump@2", "--device", "pump-2", "--slots", "1", "--slack", "60s"];
    let draft = approved_by("sam", hospital.world.draft(&sam, &again).await);
    sam.sign(&draft).await;
    hospital.world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(hospital.pumps[1].cycle().await, "idle(up-to-date)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_the_thief_has_made_end_with_the_certificate() {
    let hospital = Hospital::open().await;
    let Hospital { world, kim, first, .. } = &hospital;
    let sam = join(world, kim, "sam").await;
    let csv = world.path("more.csv");
    let rows = ["pump-8", "pump-9"].map(|id| format!("{id},pump,rev-a,icu\n")).concat();
    std::fs::write(&csv, format!("id,product,hardware,ward\n{rows}")).unwrap();
    let thief = thief(&hospital);
    thief.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();

    // For a colleague and for a device: one of each is spent before anybody notices, one of each is kept for later. An
    // honest colleague's token is none of the thief's.
    let token =
        async |by: &Operator, args: [&str; 3]| by.json(&args).await.unwrap()["token"].as_str().unwrap().to_owned();
    let guest = join(world, &thief, "guest").await;
    let kept = token(&thief, ["operator", "invite", "later"]).await;
    let spent = token(&thief, ["device", "token", "pump-8"]).await;
    let kept_device = token(&thief, ["device", "token", "pump-9"]).await;
    let honest = token(&sam, ["operator", "invite", "lee"]).await;
    let mut enrolled = Device::new(world, "pump-8", "rev-a");
    enrolled.provision(first);
    enrolled.enroll(&spent).await.unwrap();

    sam.run(&["operator", "revoke", "kim"]).await.unwrap();
    let refused = world.operator("later").run(&["join", &kept]).await.unwrap_err();
    assert!(refused.said.contains("expired"), "{}", refused.said);
    let device = Device::new(world, "pump-9", "rev-a");
    device.provision(first);
    let refused = device.enroll(&kept_device).await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
    world.operator("lee").run(&["join", &honest]).await.unwrap();

    // What was spent before stays: a device that nobody confirms, and an operator, whom the record names.
    assert!(!enrolled.agent().cycle().await.unwrap().confirmed);
    guest.run(&["device", "list"]).await.unwrap();
    let name = |who: &str| format!("hdo/riverside/operator/{who}");
    let invited = recorded(&sam, "operator.invited").await;
    assert!(invited.contains(&(name("kim"), name("guest"))), "{invited:?}");
    assert!(recorded(&sam, "operator.joined").await.iter().any(|(who, _)| *who == name("guest")));
    sam.run(&["operator", "revoke", "guest"]).await.unwrap();
    assert_eq!(guest.run(&["device", "list"]).await.unwrap_err().exit, 3);
}
