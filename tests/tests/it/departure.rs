//! A device leaves its hospital for another: by a person at the device, with nothing of the first hospital left on it.

use std::fs;
use std::process::Stdio;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use suture_agent::agent::DepartError;
use suture_agent::face::{self, Ask, Hands, Who};
use suture_core::clock::Clock as _;
use suture_tests::world::{Device, Operator, binary, text};
use tokio::process::Command;

use crate::hospital::{Hospital, PLAN};

/// What lies in the device's state directory.
fn state(pump: &Device) -> Vec<String> {
    let entries = fs::read_dir(pump.dir.join("state")).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Plans the second release for pump-1, and approves it.
async fn approve(hospital: &Hospital, by: &Operator) -> String {
    let file = hospital.world.path("plan.json");
    let plan = by.json(&[&["rollout", "plan"][..], &PLAN, &["-o", text(&file)]].concat()).await.unwrap();
    let digest = plan["sha256"].as_str().unwrap();
    let approved = by.json(&["rollout", "approve", digest, "--reason", "tested"]).await.unwrap();
    approved["rollout"].as_str().unwrap().to_owned()
}

/// `suture-agent recover`, where no agent runs.
async fn recover(pump: &Device, now: Timestamp) {
    let ask = Ask::Recover { reason: "the old version runs".to_owned() };
    face::said(&Hands::Own, &pump.settings(), (ask, None), &Who::here(), now).await.unwrap();
}

/// The codes of the reasons that the hospital was told, oldest report first.
async fn reasons(hospital: &Hospital) -> Vec<String> {
    let mut database = SqliteConnection::connect(hospital.world.database()).await.unwrap();
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM report ORDER BY number").fetch_all(&mut database).await.unwrap();
    let said = payloads.iter().map(|payload| serde_json::from_slice::<Value>(payload).unwrap());
    said.filter_map(|report| Some(report["reason"]["code"].as_str()?.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_was_sold_obeys_its_new_hospital_and_no_longer_the_old_one() {
    let mut hospital = Hospital::open().await;
    let lee = hospital.neighbour().await;
    // It has fetched and staged what the old hospital approved, for ten minutes from now.
    let (_, start, _) = hospital.approve(hospital.later_draft().await).await;
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
    let old_key = fs::read(hospital.pumps[0].dir.join("state/identity/report.pem")).unwrap();

    // Enrolment alone moves no device.
    let refused = hospital.pumps[0].enroll("any").await.unwrap_err();
    assert!(refused.contains("pump-1"), "{refused}");

    assert!(hospital.pumps[0].depart(false).await.unwrap());
    assert_eq!(state(&hospital.pumps[0]), ["floor.json", "lock"]);
    assert_eq!(hospital.pumps[0].runs(), "1.0.0");
    let shown = hospital.kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!(shown["state"], "revoked", "{shown}");
    let record = hospital.kim.run(&["audit", "list"]).await.unwrap();
    assert_eq!(record.lines().filter(|l| l.contains("device.departed")).count(), 1, "{record}");

    let csv = hospital.world.path("moved.csv");
    fs::write(&csv, "id,product,hardware,ward,serial,udi\npump-1,pump,rev-a,icu,SN-1,UDI-1\n").unwrap();
    lee.run(&["device", "import", "--csv", text(&csv)]).await.unwrap();
    let token = lee.json(&["device", "token", "pump-1"]).await.unwrap();
    let fingerprint = hospital.pumps[0].enroll(token["token"].as_str().unwrap()).await.unwrap();
    assert_ne!(fs::read(hospital.pumps[0].dir.join("state/identity/report.pem")).unwrap(), old_key);
    lee.run(&["device", "confirm", "pump-1", "--fingerprint", &fingerprint, "--yes"]).await.unwrap();

    // In the slot that the old hospital had approved.
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    assert_eq!(hospital.pumps[0].runs(), "1.0.0");

    let rollout = approve(&hospital, &lee).await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[0].runs(), "1.1.0");
    let shown = lee.json(&["rollout", "show", &rollout]).await.unwrap();
    assert_eq!(shown["devices"][0]["phase"], "confirmed", "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_hospitals_knowledge_only_where_that_is_asked_for_and_never_during_an_install() {
    let mut hospital = Hospital::open().await;
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
    hospital.world.stop_server().await;
    let refused = hospital.pumps[0].depart(false).await;
    assert!(matches!(&refused, Err(DepartError::Untold { hdo, .. }) if hdo == "riverside"), "{refused:?}");
    assert!(hospital.pumps[0].dir.join("state/identity/report.pem").exists());
    hospital.world.start_server().await;

    // The new version does not start, and the interlock keeps saying that it cannot be released.
    approve(&hospital, &hospital.kim).await;
    let interlock = hospital.pumps[0].dir.join("interlock.sh");
    fs::write(&interlock, "#!/bin/sh\n[ \"$1\" = claim ]\n").unwrap();
    let state_now = hospital.pumps[0].cycle().await;
    assert!(state_now.starts_with("releasing("), "{state_now}: {:?}", hospital.pumps[0].status().reason);
    let refused = hospital.pumps[0].depart(true).await;
    assert!(matches!(refused, Err(DepartError::Claimed(_))), "{refused:?}");
    fs::write(&interlock, "#!/bin/sh\nexit 0\n").unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");

    hospital.world.stop_server().await;
    assert!(!hospital.pumps[0].depart(true).await.unwrap());
    assert_eq!(state(&hospital.pumps[0]), ["floor.json", "lock"]);
}

/// Accident: the journal is lost in the middle of an install. Found: the device left, and its claim stayed for good, so that its
/// software refused clinical use at the next hospital.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_may_hold_a_claim_leaves_once_a_person_has_put_it_in_order_also_where_no_agent_runs() {
    let mut hospital = Hospital::open().await;
    let pump = &mut hospital.pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    pump.crash();
    for name in ["journal.json", "journal.second.json"] {
        fs::write(pump.dir.join("state").join(name), b"torn").unwrap();
    }
    for untold in [false, true] {
        let refused = pump.depart(untold).await;
        assert!(matches!(refused, Err(DepartError::Held)), "{refused:?}");
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("suture-agent recover --reason TEXT"), "{said}");
    }
    assert!(pump.dir.join("state/identity/report.pem").exists());
    recover(pump, hospital.world.clock.now()).await;
    // Not before the claim is released.
    let interlock = pump.dir.join("interlock.sh");
    let script = fs::read_to_string(&interlock).unwrap();
    fs::write(&interlock, "#!/bin/sh\nexit 1\n").unwrap();
    let refused = pump.depart(true).await;
    assert!(matches!(refused, Err(DepartError::Claimed(_))), "{refused:?}");
    fs::write(&interlock, script).unwrap();
    assert!(pump.depart(false).await.unwrap(), "the hospital was told");
    assert_eq!(
        (pump.interlock_log(), state(pump)),
        (vec!["release".to_owned()], vec!["floor.json".into(), "lock".into()])
    );
    assert_eq!(reasons(&hospital).await, ["state-damaged", "departed"], "that it was held no agent had told");
}

/// Found: what `recover` leaves to the next start to tell was wiped, and the hospital was said to know all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_a_person_has_put_in_order_tells_what_became_of_its_attempt_before_it_leaves() {
    let mut hospital = Hospital::open().await;
    hospital.pumps[0].configure("rev-a", &["false"]);
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    let pump = &mut hospital.pumps[0];
    assert_eq!(pump.cycle().await, "held(restart-failed)");
    pump.crash();
    recover(pump, start).await;
    assert!(pump.depart(false).await.unwrap(), "the hospital was told");
    assert_eq!(state(pump), ["floor.json", "lock"]);
    assert_eq!(hospital.reported(&rollout).await.0, "fell_back");
}

/// Found: such a device could leave by no way, for its claim was released only after the installer had answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_installer_answers_no_more_leaves_untold_once_its_own_software_is_released() {
    let mut hospital = Hospital::open().await;
    let pump = &mut hospital.pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    pump.crash();
    for name in ["journal.json", "journal.second.json"] {
        fs::write(pump.dir.join("state").join(name), b"torn").unwrap();
    }
    let config = fs::read_to_string(pump.config()).unwrap();
    let fails = "[installer]\nkind = \"command\"\ncommand = [\"/bin/false\"]\n[restart]";
    fs::write(pump.config(), config.replace("[restart]", fails)).unwrap();
    assert!(matches!(pump.depart(true).await, Err(DepartError::Held)), "nobody has looked at it");
    recover(pump, hospital.world.clock.now()).await;
    let refused = pump.depart(false).await;
    let Err(DepartError::Unsettled(why)) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("settle"), "{why}");
    assert!(refused.unwrap_err().to_string().contains("--untold"));
    // Not while its own software says that it cannot be released.
    let interlock = pump.dir.join("interlock.sh");
    let script = fs::read_to_string(&interlock).unwrap();
    fs::write(&interlock, "#!/bin/sh\nexit 1\n").unwrap();
    let refused = pump.depart(true).await;
    let Err(DepartError::Claimed(why)) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("exit code 1"), "{why}");
    assert!(pump.dir.join("state/identity/report.pem").exists());
    fs::write(&interlock, script).unwrap();
    assert!(!pump.depart(true).await.unwrap(), "nobody can say what it runs");
    assert_eq!(
        (pump.interlock_log(), state(pump)),
        (vec!["release".to_owned()], vec!["floor.json".into(), "lock".into()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_cannot_say_what_it_runs_does_not_take_its_hospital_to_have_heard_it() {
    let mut hospital = Hospital::open().await;
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
    let link = hospital.pumps[0].dir.join("slots/current");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let refused = hospital.pumps[0].depart(false).await;
    let Err(DepartError::Untold { why, .. }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("not known what this device runs"), "{why}");
    assert!(hospital.pumps[0].dir.join("state/identity/report.pem").exists());
    assert!(!hospital.pumps[0].depart(true).await.unwrap(), "a person says that it leaves untold");
    let shown = hospital.kim.json(&["device", "show", "pump-1"]).await.unwrap();
    assert_eq!(shown["state"], "active", "nobody has told them: {shown}");
}

/// The wiping fails in its middle, and the agent goes round once more: it finishes that, and writes down nothing besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiping_that_failed_in_its_middle_is_finished_by_the_same_agent_and_no_journal_begins_anew() {
    let mut hospital = Hospital::open().await;
    let pump = &mut hospital.pumps[0];
    assert!(pump.agent().cycle().await.unwrap().confirmed);
    let dir = pump.dir.join("state");
    ["journal.json", "journal.second.json"].iter().for_each(|name| drop(fs::remove_file(dir.join(name))));
    fs::write(dir.join("leaving"), b"").unwrap();
    pump.agent().cycle().await.unwrap();
    assert_eq!(state(pump), ["floor.json", "lock"]);
    assert!(pump.agent().stopper().is_cancelled(), "the device is nobody's");
}

/// The same where the last name that goes, the mark's, is gone too, and that was not known to be on the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_takes_its_leave_writes_nothing_once_its_resolve_is_wiped() {
    let mut hospital = Hospital::open().await;
    assert!(hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
    hospital.world.stop_server().await;
    let pump = &mut hospital.pumps[0];
    let dir = pump.dir.join("state");
    fs::write(dir.join("farewell"), b"").unwrap();
    pump.agent().cycle().await.unwrap();
    assert!(!pump.agent().stopper().is_cancelled(), "nobody has heard it");
    for name in state(pump).iter().filter(|name| !["floor.json", "lock"].contains(&name.as_str())) {
        let path = dir.join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    pump.agent().cycle().await.unwrap();
    assert_eq!(state(pump), ["floor.json", "lock"]);
    assert!(pump.agent().stopper().is_cancelled());
}

/// `suture-agent leave` by the shell, on a pseudo-terminal, as a remote shell gives it.
async fn from_a_remote_shell(pump: &Device, id: &str) -> (bool, String) {
    let program = binary("suture-agent");
    let command = format!("{} --config {} leave --untold --device {id}", text(&program), text(&pump.config()));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_shell_is_nobody_at_the_device() {
    let hospital = Hospital::open().await;
    let pump = &hospital.pumps[0];
    let (left, said) = from_a_remote_shell(pump, "pump-1").await;
    assert!(!left && said.contains("console"), "{said}");

    let config = fs::read_to_string(pump.config()).unwrap();
    let with_key = |ending: &str| format!("{config}[presence]\ncommand = [\"{ending}\"]\n");
    fs::write(pump.config(), with_key("false")).unwrap();
    let (left, said) = from_a_remote_shell(pump, "pump-1").await;
    assert!(!left && said.contains("exit code 1"), "{said}");
    fs::write(pump.config(), with_key("true")).unwrap();
    let (left, said) = from_a_remote_shell(pump, "pump-2").await;
    assert!(!left && said.contains("not pump-2"), "{said}");
    assert!(pump.dir.join("state/identity/report.pem").exists());
    let (left, said) = from_a_remote_shell(pump, "pump-1").await;
    assert!(left && said.contains("riverside"), "{said}");
    assert_eq!(state(pump), ["lock"], "it has verified nothing yet that gives a floor");
}
