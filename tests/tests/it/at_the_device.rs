//! What people at a device say to its agent, and what comes of it at the hospital: holds, checks before the return to service,
//! and an interlock that puts an attempt off again and again.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use suture_agent::face::{Ask, RefusedCode};
use suture_core::approval::{Clearance, SignedDocument as _};
use suture_core::clock::Clock as _;
use suture_core::sign::LocalKey;
use suture_proto::v1;
use suture_tests::world::program::binary;
use suture_tests::world::{Device, HDO, Kind, Spec, World, text};

use crate::hospital::{Hospital, PLAN, untouched};
use crate::ward::Ward;

/// The program, as a person at the device runs it.
fn agent(config: &Path, arguments: &[&str], uid: Option<u32>) -> Output {
    let mut command = Command::new(binary("suture-agent"));
    command.env_clear().arg("--config").arg(config).args(arguments);
    uid.map(|uid| command.uid(uid).gid(uid));
    command.output().unwrap()
}

fn exit(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn hold() -> Ask {
    Ask::Hold { reason: "the ward is full".to_owned() }
}

fn release(checked: bool, reason: &str) -> Ask {
    Ask::Release { reason: reason.to_owned(), checked }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_ask_the_agent_that_runs_and_the_files_where_none_does() {
    let hospital = Hospital::open().await;
    let pump = &hospital.pumps[0];
    let config = pump.config();
    let status = agent(&config, &["--output", "json", "status"], None);
    assert!(String::from_utf8_lossy(&status.stderr).contains("no agent answers at"), "{status:?}");
    assert_eq!(json_of(&status)["source"], json!("files"));

    let running = pump.spawn();
    while json_of(&agent(&config, &["--output", "json", "status"], None))["source"] != json!("agent") {}
    // Each exit code that is documented.
    assert_eq!(exit(&agent(&config, &["release", "--reason", "x"], None)), 3, "nobody holds it");
    assert_eq!(exit(&agent(&config, &["release", "--checked", "--reason", "x"], None)), 3, "no check is waited for");
    assert_eq!(exit(&agent(&config, &["confirm"], None)), 3);
    assert_eq!(exit(&agent(&config, &["recover"], None)), 3);
    assert_eq!(exit(&agent(&config, &["hold"], None)), 2, "without a reason");
    assert_eq!(exit(&agent(&config, &["hold", "--reason", " "], None)), 2);
    assert_eq!(exit(&agent(Path::new("/nowhere.toml"), &["status"], None)), 64);
    assert_eq!(exit(&agent(&config, &["stop", "/nowhere.json"], None)), 1);
    let (junk, dir) = (hospital.world.path("junk.json"), hospital.world.path("empty"));
    fs::write(&junk, "{}").unwrap();
    fs::create_dir(&dir).unwrap();
    assert_eq!(exit(&agent(&config, &["stop", text(&junk)], None)), 5);
    // To programs each is told as `suturectl` does it: one object, with the exit code that it names.
    let nowhere = Path::new("/nowhere.toml");
    for (config, words, code, said) in [
        (&*config, &["confirm"][..], 3, "nothing waits"),
        (&config, &["hold", "--reason", " "], 2, "a reason is a line"),
        (&config, &["stop", "/nowhere.json"], 1, "/nowhere.json"),
        (&config, &["stop", text(&junk)], 5, "order"),
        (nowhere, &["status"], 64, "/nowhere.toml"),
    ] {
        let told = agent(config, &[&["--output", "json"], words].concat(), None);
        assert_eq!((exit(&told), told.stdout.len()), (code, 0), "{words:?}");
        let told: Value = serde_json::from_slice(&told.stderr).unwrap();
        assert!(told["exit"] == code && told["error"].as_str().unwrap().contains(said), "{words:?}: {told}");
        assert!(told["causes"].is_array() && (told["next"].is_string() || told["next"].is_null()), "{told}");
        // And to people in text, with the same advice.
        let said = String::from_utf8(agent(config, words, None).stderr).unwrap();
        let advice = told["next"].as_str().map(|next| format!("\n  try: {next}\n")).unwrap_or_default();
        assert!(said.ends_with(&advice) && said.contains("try:") != advice.is_empty(), "{words:?}: {said}");
    }
    let stick = agent(&config, &["import", text(&dir)], None);
    assert_eq!(exit(&stick), 5);
    assert!(
        String::from_utf8_lossy(&stick.stderr).contains(text(&dir)),
        "it names the stick as it was named: {stick:?}"
    );

    let held = agent(&config, &["hold", "--reason", "the ward is full", "--by", "Kim"], None);
    assert_eq!(exit(&held), 0, "{held:?}");
    let log = agent(&config, &["log"], None);
    assert!(String::from_utf8_lossy(&log.stdout).contains("hold        by Kim, by "), "{log:?}");
    drop(running);
    // It outlives the agent, and is told without one.
    let why = agent(&config, &["why"], None);
    let (said, beside) = (String::from_utf8_lossy(&why.stdout), String::from_utf8_lossy(&why.stderr));
    assert!(said.contains("held-here: held at the device since") && said.contains("you can"), "{said}");
    assert!(beside.contains("no agent answers at"), "{beside}");
    assert_eq!(exit(&agent(&config, &["release", "--reason", "free again"], None)), 0);
}

/// Every account may read and only root may change, unless groups are named.
/// Whoever is woken is not sent to those who approve updates for a device that asks nobody.
#[tokio::test]
async fn a_device_that_is_no_hospitals_says_that_and_what_to_do() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let config = Device::new(&world, "pump-1", "rev-a").config();
    let said = |words: &[&str]| {
        let told = agent(&config, words, None);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (exit(&told), text(&told.stdout) + &text(&told.stderr))
    };
    for words in [["status"], ["why"]] {
        let (code, text) = said(&words);
        assert!(code == 0 && text.contains("not-enrolled: this device has not enrolled"), "{text}");
        assert!(text.contains("enroll --token-file -") && !text.contains("nothing-approved"), "{text}");
        assert!(text.contains("nothing happens by itself until the agent runs"), "{text}");
    }
    for words in [&["recover"][..], &["hold", "--reason", "the ward is full"]] {
        let (code, text) = said(words);
        assert!(code == 3 && text.contains("made as the device enrols"), "{words:?}: {text}");
    }
    let (code, text) = said(&["stop", "/nowhere.json"]);
    assert!(code == 1 && text.contains("/nowhere.json cannot be read: there is no such file"), "{text}");
    let (code, text) = said(&["leave", "--device", "pump-1"]);
    assert!(code == 3 && text.contains("nobody is known to be at the device"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_says_who_asks() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    const STRANGER: u32 = 64_321;
    let hospital = Hospital::open().await;
    let pump = &hospital.pumps[0];
    // Where another account gets to: the state directory stays shut to it.
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (config, program) = (open.path().join("agent.toml"), open.path().join("suture-agent"));
    fs::copy(binary("suture-agent"), &program).unwrap();
    fs::set_permissions(pump.dir.join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    let socket = open.path().join("agent.sock");
    let old = fs::read_to_string(pump.config()).unwrap();
    let new = old.replace(text(&pump.dir.join("agent.sock")), text(&socket));
    fs::write(pump.config(), &new).unwrap();
    fs::write(&config, &new).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let by_stranger = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.env_clear().arg("--config").arg(&config).args(arguments).uid(STRANGER).gid(STRANGER);
        command.output().unwrap()
    };
    let running = pump.spawn();
    while json_of(&agent(&config, &["--output", "json", "status"], None))["source"] != json!("agent") {}
    assert_eq!(json_of(&by_stranger(&["--output", "json", "status"]))["source"], json!("agent"));
    assert_eq!(exit(&by_stranger(&["why"])), 0);
    for change in
        [&["hold", "--reason", "x"][..], &["confirm"], &["recover"], &["release", "--checked", "--reason", "x"]]
    {
        let refused = by_stranger(change);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(exit(&refused), 3, "{change:?}: {said}");
        assert!(said.contains("uid 64321 may not change anything here"), "{said}");
    }
    drop(running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_held_begins_nothing_and_says_so() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.pumps[0].tell(hold()).await.0.unwrap();
    h.world.clock.set(start);
    assert_eq!(h.pumps[0].cycle().await, "waiting(held-here)");
    h.pumps[0].crash();
    assert_eq!(h.pumps[0].cycle().await, "waiting(held-here)");
    h.untouched();
    assert_eq!(h.reported(&rollout).await, ("waiting".to_owned(), "held-here".to_owned()));
    let why = h.kim.run(&["device", "why", "pump-1"]).await.unwrap();
    assert!(why.contains("Kim") && why.contains("the ward is full") && why.contains("suture-agent release"), "{why}");
    let why = h.kim.run(&["rollout", "why", &rollout]).await.unwrap();
    assert!(why.contains("held back by somebody at the device: pump-1"), "{why}");
    let (released, state) = h.pumps[0].tell(release(false, "the ward is free")).await;
    released.unwrap();
    assert_eq!(state, "idle(up-to-date)");
    h.confirms(&rollout).await;
}

/// Two pumps of a ward of which one may be down at once, by a bundle after which a person checks them.
async fn checked() -> (Ward, String) {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let ward = Ward::open(world, Spec { checked: true, ..Spec::default() }, &["pump-1", "pump-2"]).await;
    let args = ["--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", "1", "--leases"];
    let more = ["--slots", "1", "--slack", "60s", "--spread", "0s"];
    let planned = ward.kim.run(&[&["rollout", "plan"][..], &args, &more].concat()).await.unwrap();
    assert!(planned.contains("stays out of service until a person has checked it"), "{planned}");
    let mut draft = ward.world.draft(&ward.kim, &[&args[..], &more].concat()).await;
    // Both in one slot: the lease alone keeps the ward's cap.
    let slot = draft.0.devices[0].slots[0];
    draft.0.devices[1].slots[0] = slot;
    ward.kim.sign(&draft).await;
    ward.world.clock.set(slot.start);
    (ward, draft.0.terms.id.to_string())
}

async fn counts_as(ward: &Ward, rollout: &str, device: &str) -> (String, String) {
    let shown = ward.kim.json(&["rollout", "show", rollout]).await.unwrap();
    let device = shown["devices"].as_array().unwrap().iter().find(|d| d["id"] == device).unwrap();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (word(&device["phase"]), word(&device["reason"]["code"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_goes_back_to_service_when_a_person_there_has_checked_it() {
    let (mut ward, rollout) = checked().await;
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    assert_eq!(ward.pumps[0].runs(), "1.1.0");
    // Confirmed for the gates, and down for the ward.
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("confirmed".to_owned(), "return-to-service".to_owned()));
    assert_eq!(ward.pumps[1].cycle().await, "waiting(ward-busy)");
    for command in [["rollout", "why", &rollout], ["device", "why", "pump-1"], ["device", "show", "pump-1"]] {
        let told = ward.kim.run(&command).await.unwrap();
        assert!(told.contains("return-to-service"), "{command:?}: {told}");
    }
    // It holds whatever happens to its agent, and its interlock with it.
    ward.pumps[0].crash();
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    assert_eq!(ward.pumps[0].interlock_log(), ["claim"]);
    // What is said of a hold, or of a device that cannot go on, is no word on the check.
    let (refused, state) = ward.pumps[0].tell(release(false, "x")).await;
    assert_eq!(refused.unwrap_err().code, RefusedCode::NotNow);
    assert_eq!(state, "checking(return-to-service)");
    let (refused, _) = ward.pumps[0].tell(Ask::Recover { reason: "x".to_owned() }).await;
    assert!(refused.unwrap_err().text.contains("--checked"));

    let (released, state) = ward.pumps[0].tell(release(true, "flow measured at three points")).await;
    released.unwrap();
    assert_eq!(state, "idle(up-to-date)");
    assert_eq!(ward.pumps[0].interlock_log(), ["claim", "release"]);
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("confirmed".to_owned(), "returned".to_owned()));
    assert_eq!(ward.pumps[1].cycle().await, "checking(return-to-service)", "its place is free");
    let record = ward.kim.run(&["audit", "list"]).await.unwrap();
    for words in ["device.waits-for-check", "device.checked"] {
        assert!(record.contains(words), "{words}: {record}");
    }
    let record = ward.kim.json(&["audit", "list"]).await.unwrap().to_string();
    assert!(record.contains("Kim, by") && record.contains("flow measured at three points"), "{record}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_goes_back_to_service_by_the_approvers_signature_and_by_no_server() {
    let (mut ward, rollout) = checked().await;
    let args = ["device", "release", "pump-1", "--reason", "flow measured from the control room"];
    let early = ward.kim.run(&args).await.unwrap_err();
    assert!(early.said.contains("waits for no check"), "{}", early.said);
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    // The place in the ward's cap is the server's to give; the interlock is not.
    ward.kim.run(&["device", "return", "pump-1", "--reason", "x"]).await.unwrap();
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");

    // Found: a file that was there was written over.
    let file = ward.world.path("release.json");
    fs::write(&file, "precious").unwrap();
    let with = [&args[..], &["--envelope", file.to_str().unwrap()]].concat();
    let there = ward.kim.run(&with).await.unwrap_err();
    assert!(there.said.contains("is there already"), "{}", there.said);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    fs::remove_file(&file).unwrap();
    let told = ward.kim.json(&with).await.unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("pump-1"));
    assert_eq!(
        (&told["published"], &told["signatures"]),
        (&json!(true), &json!({ "given": 1, "needed": 1 })),
        "{told}"
    );
    assert_eq!(ward.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(ward.pumps[0].interlock_log(), ["claim", "release"]);
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("confirmed".to_owned(), "returned".to_owned()));
    let record = ward.kim.json(&["audit", "list"]).await.unwrap().to_string();
    assert!(record.contains("device.released") && record.contains("from the control room"), "{record}");
    let again = ward.kim.run(&args).await.unwrap_err();
    assert!(again.said.contains("waits for no check"), "{}", again.said);
}

fn unfit(reason: &str) -> Ask {
    Ask::Unfit { reason: reason.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_found_unfit_has_its_old_version_back_where_that_is_whole() {
    let (mut ward, rollout) = checked().await;
    let pump = &mut ward.pumps[0];
    assert_eq!(pump.cycle().await, "checking(return-to-service)");
    // Nothing leads back to what somebody has altered meanwhile.
    let old = pump.dir.join("slots/a/app/lib/own");
    let bytes = fs::read(&old).unwrap();
    fs::write(&old, [&bytes[1..], &bytes[..1]].concat()).unwrap();
    let (refused, state) = pump.tell(unfit("flow is 8 % too high")).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code, state.as_str()), (RefusedCode::NotNow, "checking(return-to-service)"));
    assert!(refused.text.contains("not whole") && refused.text.contains("call its maker"), "{}", refused.text);
    // Whoever said so may wait no more: the hospital hears of it.
    let shown = ward.kim.json(&["device", "show", "pump-1"]).await.unwrap().to_string();
    assert!(shown.contains("found unfit, and") && shown.contains("call its maker"), "{shown}");
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("held".to_owned(), "return-to-service".to_owned()));
    fs::write(&old, bytes).unwrap();
    let pump = &mut ward.pumps[0];

    let (found, state) = pump.tell(unfit("flow is 8 % too high")).await;
    found.unwrap();
    assert_eq!((state.as_str(), pump.runs().as_str()), ("idle(unfit)", "1.0.0"));
    assert_eq!(pump.interlock_log(), ["claim", "release"]);
    assert_eq!(pump.cycle().await, "idle(unfit)", "it is not tried again");
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("fell_back".to_owned(), "unfit".to_owned()));
    let why = ward.kim.run(&["rollout", "why", &rollout]).await.unwrap();
    assert!(why.contains("failed"), "{why}");
    let record = ward.kim.json(&["audit", "list"]).await.unwrap().to_string();
    assert!(record.contains("device.unfit") && record.contains("8 % too high"), "{record}");
}

/// Found: it stayed confirmed, the next wave opened over it, and its ward had one down less than it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_found_unfit_and_cannot_go_back_opens_no_gate_and_counts_as_down() {
    let (mut ward, rollout) = checked().await;
    let pump = &mut ward.pumps[0];
    let broken = pump.dir.join("broken");
    pump.configure("rev-a", &["sh", "-c", &format!("test ! -e {}", broken.display())]);
    assert_eq!(pump.cycle().await, "checking(return-to-service)");
    fs::write(&broken, "").unwrap();
    let (found, state) = pump.tell(unfit("flow is 8 % too high")).await;
    found.unwrap();
    assert_eq!(state, "held(restart-failed)");
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("held".to_owned(), "restart-failed".to_owned()));
    let shown = ward.kim.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!((&shown["state"], &shown["reason"]["code"]), (&json!("paused"), &json!("failure-ceiling")), "{shown}");
    // Whoever lets the rollout go on finds its place in the ward taken all the same.
    ward.kim.run(&["rollout", "resume", &rollout, "--reason", "it is in the workshop"]).await.unwrap();
    assert_eq!(ward.pumps[1].cycle().await, "waiting(ward-busy)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvers_send_a_device_back_from_afar_and_say_it_as_they_let_it_go() {
    let (mut ward, rollout) = checked().await;
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    let args = ["device", "release", "pump-1", "--unfit", "--reason", "the alarm is silent"];
    let told = ward.kim.json(&args).await.unwrap();
    assert_eq!((&told["unfit"], &told["published"]), (&json!(true), &json!(true)), "{told}");
    // Attack: whoever has stolen a certificate sends it again and again, to fill the record.
    let mut database = SqliteConnection::connect(ward.world.database()).await.unwrap();
    let envelope: Vec<u8> = sqlx::query_scalar("SELECT content FROM clearance").fetch_one(&mut database).await.unwrap();
    let mut calls = ward.world.operator_calls(Some(ward.kim.identity())).await;
    for _ in 0..3 {
        calls.release_device(v1::ReleaseDeviceRequest { envelope: envelope.clone().into() }).await.unwrap();
    }
    // Found: the ward used the device since, and it was restarted under its patient.
    let in_use = ward.pumps[0].dir.join("in-use");
    fs::write(&in_use, "").unwrap();
    for _ in 0..2 {
        assert_eq!(ward.pumps[0].cycle().await, "reverting(in-use)");
        assert_eq!(ward.pumps[0].runs(), "1.1.0");
    }
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await.1, "in-use");
    fs::remove_file(&in_use).unwrap();
    assert_eq!(ward.pumps[0].cycle().await, "idle(unfit)");
    assert_eq!((ward.pumps[0].runs(), ward.pumps[0].interlock_log().len()), ("1.0.0".to_owned(), 3));
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await, ("fell_back".to_owned(), "unfit".to_owned()));
    let record = ward.kim.json(&["audit", "list"]).await.unwrap().to_string();
    assert!(record.matches("device.refused").count() == 1 && record.contains("the alarm is silent"), "{record}");
}

/// Leaves a device without an interlock of its own: a person's word is the claim.
pub(crate) fn by_word(pump: &Device) {
    let toml = fs::read_to_string(pump.config()).unwrap();
    let (before, rest) = toml.split_once("[interlock]").unwrap();
    let (_, after) = rest.split_once("[poll]").unwrap();
    fs::write(pump.config(), format!("{before}[poll]{after}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_from_afar_takes_no_device_down_before_a_person_there_has_said_so() {
    let (mut ward, rollout) = checked().await;
    by_word(&ward.pumps[0]);
    assert_eq!(ward.pumps[0].cycle().await, "waiting(person-needed)");
    assert_eq!(ward.pumps[0].tell(Ask::Confirm).await.1, "checking(return-to-service)");
    ward.world.clock.set(ward.world.clock.now() + SignedDuration::from_mins(90));
    ward.kim.run(&["device", "release", "pump-1", "--unfit", "--reason", "the alarm is silent"]).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ward.pumps[0].cycle().await, "reverting(person-needed)");
        assert_eq!(ward.pumps[0].runs(), "1.1.0");
    }
    let why = ward.pumps[0].tell(Ask::Why).await.0.unwrap();
    assert!(why.text.contains("the alarm is silent") && why.text.contains("suture-agent confirm"), "{}", why.text);
    ward.pumps[0].tell(Ask::Confirm).await.0.unwrap();
    // The cycle that was under way may have asked before it was said.
    let state = ward.pumps[0].cycle().await;
    assert!(state.starts_with("idle") && ward.pumps[0].runs() == "1.0.0", "{state}");
    assert_eq!(counts_as(&ward, &rollout, "pump-1").await.0, "fell_back");
}

/// Has the captured server hand a device this as the hospital's word.
async fn hand_out(ward: &Ward, rollout: &str, device: &str, envelope: &[u8]) {
    let mut database = SqliteConnection::connect(ward.world.database()).await.unwrap();
    let insert =
        "INSERT OR REPLACE INTO clearance (hdo, device, approval, content, stored_ms) VALUES ($1, $2, $3, $4, 0)";
    sqlx::query(insert).bind(HDO).bind(device).bind(rollout).bind(envelope).execute(&mut database).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captured_server_lets_no_device_back_to_patients() {
    let (mut ward, rollout) = checked().await;
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    let manifest = ward.pumps[0].told()["manifest"].as_str().unwrap().parse().unwrap();
    let forged = Clearance {
        kind: Clearance::TYPE.to_owned(),
        format: 1,
        hdo: HDO.parse().unwrap(),
        device: "pump-1".parse().unwrap(),
        approval: rollout.parse().unwrap(),
        manifest,
        reported_at: ward.world.clock.now() + SignedDuration::from_hours(1),
        unfit: false,
        by: "kim".to_owned(),
        reason: "it is fine".to_owned(),
        signed_at: ward.world.clock.now(),
    };
    let stranger = LocalKey::from_seed(&zeroize::Zeroizing::new([66; 32]));
    for envelope in [forged.sign(&[&stranger]).unwrap(), forged.sign(&[]).unwrap(), b"{}".to_vec()] {
        hand_out(&ward, &rollout, "pump-1", &envelope).await;
        assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    }
    // The hospital's own word on one device is none on another.
    ward.kim.run(&["device", "release", "pump-1", "--reason", "flow measured"]).await.unwrap();
    assert_eq!(ward.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(ward.pumps[1].cycle().await, "checking(return-to-service)");
    let mut database = SqliteConnection::connect(ward.world.database()).await.unwrap();
    let query = "SELECT content FROM clearance WHERE device = 'pump-1'";
    let first: Vec<u8> = sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap();
    hand_out(&ward, &rollout, "pump-2", &first).await;
    assert_eq!(ward.pumps[1].cycle().await, "checking(return-to-service)");
    assert_eq!(ward.pumps[1].interlock_log(), ["claim"]);
}

/// A server that keeps back the root which took the signer's key away: what it shows runs out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_waits_while_the_approvals_have_expired() {
    let (mut ward, _) = checked().await;
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    ward.kim.run(&["device", "release", "pump-1", "--reason", "flow measured"]).await.unwrap();
    ward.world.idle(15).await;
    assert_eq!(ward.pumps[0].cycle().await, "checking(return-to-service)");
    assert_eq!(ward.pumps[0].interlock_log(), ["claim"]);
    ward.kim.run(&["approvals", "renew"]).await.unwrap();
    // The approval that it was updated by has ended meanwhile.
    assert_eq!(ward.pumps[0].cycle().await, "idle(nothing-approved)");
    assert_eq!(ward.pumps[0].interlock_log(), ["claim", "release"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_put_off_again_and_again_has_people_told_and_is_never_forced() {
    let mut h = Hospital::open().await;
    let long: Vec<_> = PLAN.iter().map(|word| if *word == "60s" { "2h" } else { word }).collect();
    let draft = h.world.draft(&h.kim, &long).await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    let in_use = h.pumps[0].dir.join("in-use");
    fs::write(&in_use, "").unwrap();
    let quarter = SignedDuration::from_mins(15);
    for state in ["waiting(in-use)", "waiting(in-use)", "waiting(deferred)", "waiting(deferred)"] {
        assert_eq!(h.pumps[0].cycle().await, state);
        h.world.clock.set(h.world.clock.now() + quarter);
        h.pumps[0].crash();
    }
    h.untouched();
    assert_eq!(h.reported(&rollout).await, ("waiting".to_owned(), "deferred".to_owned()));
    let status = h.pumps[0].told();
    assert_eq!((&status["deferred"]["count"], &status["deferred"]["answer"]["code"]), (&json!(4), &json!("in-use")));
    for command in [["rollout", "why", &rollout], ["device", "why", "pump-1"], ["rollout", "show", &rollout]] {
        let told = h.kim.run(&command).await.unwrap();
        assert!(told.contains("deferred"), "{command:?}: {told}");
    }
    let record = h.kim.json(&["audit", "list"]).await.unwrap().to_string();
    assert!(record.contains("device.deferred") && record.contains("interlock.sh"), "{record}");
    // The device comes out of use: it goes on as if nothing had been.
    fs::remove_file(in_use).unwrap();
    h.confirms(&rollout).await;
    assert_eq!(h.pumps[0].told()["deferred"], Value::Null);
    untouched(&h.pumps[1], "1.0.0");
}

/// The socket's own protocol, as the device's software speaks it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_of_the_devices_maker_shows_the_question_and_answers_it() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    let pump: &mut Device = &mut h.pumps[0];
    by_word(pump);
    h.world.clock.set(start);
    assert_eq!(pump.cycle().await, "waiting(person-needed)");
    let (why, _) = pump.tell(Ask::Why).await;
    let why = why.unwrap();
    assert_eq!(why.data["question"]["approval"], json!(rollout), "{why:?}");
    assert!(why.text.contains("suture-agent confirm"), "{}", why.text);
    let (confirmed, state) = pump.tell(Ask::Confirm).await;
    confirmed.unwrap();
    assert_eq!((state.as_str(), pump.runs().as_str()), ("idle(up-to-date)", "1.1.0"));
    let (log, _) = pump.tell(Ask::Log).await;
    let log = log.unwrap().data;
    let what: Vec<_> = log.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    let order = ["offered", "staged", "waiting", "confirm", "installing", "confirmed"];
    let places: Vec<_> = order.iter().map(|name| what.iter().position(|w| w == name).unwrap()).collect();
    assert!(places.is_sorted(), "{what:?}");
}
