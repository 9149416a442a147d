//! A device whose disk fails: it begins nothing, and its hospital and whoever stands before it hear why.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use suture_agent::face::{self, Ask, Errand, Who};
use suture_agent::{doctor, interlock};
use suture_core::clock::Clock as _;
use suture_core::phase::{Code, Reason};
use suture_proto::connect::ProxyRules;
use suture_tests::world::{Device, not_run, text};

use crate::at_the_device::by_word;
use crate::hospital::Hospital;
use crate::killed::patiently;

/// What stands in the way of the journal's next records.
fn in_the_way(pump: &Device) -> [PathBuf; 2] {
    ["journal.json.tmp", "journal.second.json.tmp"].map(|name| pump.dir.join("state").join(name))
}

/// A cycle that fails; what the hospital hears of the first pump then.
async fn fails(h: &mut Hospital) -> Vec<(String, String)> {
    assert!(h.pumps[0].agent().cycle().await.is_err());
    let why = h.kim.json(&["device", "why", "pump-1"]).await.unwrap();
    let word = |why: &Value, name: &str| why[name].as_str().unwrap().to_owned();
    why.as_array().unwrap().iter().map(|why| (word(why, "code"), word(why, "text"))).collect()
}

/// What the local face of the first pump's agent says to `status` and to `why`.
async fn faced(h: &mut Hospital) -> (String, Value) {
    let pump = &mut h.pumps[0];
    let (hands, settings, now) = (pump.agent().hands(), pump.settings(), h.world.clock.now());
    let ask = async |ask| face::said(&hands, &settings, (ask, None), &Who::here(), now).await.unwrap();
    (ask(Ask::Why).await.text, ask(Ask::Status).await.data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_cannot_write_its_journal_says_so_begins_nothing_and_goes_on_once_it_can() {
    let mut h = Hospital::open().await;
    let draft = h.later_draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
    let places = in_the_way(&h.pumps[0]);
    places.iter().for_each(|place| fs::create_dir(place).unwrap());
    h.world.clock.set(start);
    fails(&mut h).await;
    for _ in 0..3 {
        let told = fails(&mut h).await;
        let said = told.iter().any(|(code, text)| code == "state-damaged" && text.contains("journal"));
        assert!(said, "{told:?}");
        h.untouched();
    }
    let (why, status) = faced(&mut h).await;
    assert!(why.starts_with("state-damaged: the agent cannot write down what it is to do"), "{why}");
    assert!(status["unwritten"]["text"].as_str().unwrap().contains("journal"), "{status}");
    // Whoever says something meanwhile is told at once that it is not done.
    let (hands, settings, now) = (h.pumps[0].agent().hands(), h.pumps[0].settings(), h.world.clock.now());
    let ask = Ask::Recover { reason: "it runs".to_owned() };
    let said = tokio::spawn(async move { face::said(&hands, &settings, (ask, None), &Who::here(), now).await });
    while !said.is_finished() {
        fails(&mut h).await;
    }
    let refused = said.await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("cannot write down"), "{refused}");
    places.iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.confirms(&rollout).await;
    let (why, status) = faced(&mut h).await;
    assert!(!why.contains("cannot write") && status["unwritten"].is_null(), "{why}");
    assert!(!h.why().await.contains(&"state-damaged".to_owned()));
}

/// What is past the switch waits where it is, with the interlock held, and finishes once it can be written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_past_the_switch_leaves_the_device_where_it_is_until_it_can_be_written() {
    let mut h = Hospital::open().await;
    let pump = &h.pumps[0];
    let dir = pump.dir.display();
    // The disk fails as the device's software is restarted.
    let restart = format!(
        "cd {dir} && echo 1 >> restarts && if ! [ -e failed ]; then touch failed && mkdir state/journal.json.tmp \
         state/journal.second.json.tmp; fi"
    );
    pump.configure("rev-a", &["sh", "-c", &restart]);
    let restarts = pump.dir.join("restarts");
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    fails(&mut h).await;
    for _ in 0..2 {
        let told = fails(&mut h).await;
        assert!(told.iter().any(|(code, _)| code == "state-damaged"), "{told:?}");
        assert_eq!(h.pumps[0].state(), "restarting");
        assert_eq!(h.pumps[0].interlock_log(), ["claim"]);
        assert_eq!(
            fs::read_to_string(&restarts).unwrap().lines().count(),
            1,
            "nothing is done that is not written down"
        );
    }
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.confirms(&rollout).await;
}

/// A person at the first pump confirms what is asked.
fn says_yes(h: &Hospital) {
    let dir = h.pumps[0].dir.join("state");
    let question = interlock::question(&dir).unwrap().unwrap();
    interlock::confirm(&dir, &question, h.world.clock.now()).unwrap();
}

/// Found: once there was room again, hours later, the device was restarted by the word that a person had given before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_past_the_switch_and_heals_hours_later_has_a_person_asked_once_more() {
    let mut h = Hospital::open().await;
    let restarts = restarting(&h.pumps[0], "1) mkdir state/journal.json.tmp state/journal.second.json.tmp;;");
    let count = || fs::read_to_string(&restarts).unwrap_or_default().lines().count();
    by_word(&h.pumps[0]);
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    assert_eq!(h.pumps[0].cycle().await, "waiting(person-needed)");
    says_yes(&h);
    for _ in 0..2 {
        fails(&mut h).await;
    }
    assert_eq!((h.pumps[0].state().split('(').next(), count()), (Some("restarting"), 1));
    h.world.clock.set(h.world.clock.now() + SignedDuration::from_hours(5));
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    for _ in 0..2 {
        assert_eq!(h.pumps[0].cycle().await, "restarting(person-needed)");
        assert_eq!(count(), 1, "somebody may use it by now");
    }
    says_yes(&h);
    assert_eq!(h.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(h.reported(&rollout).await.0, "confirmed");
    // Nor does what it stood still count as what an install takes.
    let took: Value = serde_json::from_slice(&fs::read(h.pumps[0].dir.join("state/took.json")).unwrap()).unwrap();
    assert!(took["installs"][0].as_u64().unwrap() <= 600, "{took}");
}

/// What is repeated at a start may restart the device, so it is not before the disk has proven to take what comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_starts_again_and_again_on_a_full_disk_is_not_restarted_again_and_again() {
    let mut h = Hospital::open().await;
    // The new version does not start, and the disk fails as the old one is started again.
    let at = "1) exit 1;; 2) mkdir state/journal.json.tmp state/journal.second.json.tmp;;";
    let restarts = restarting(&h.pumps[0], at);
    let count = || fs::read_to_string(&restarts).unwrap().lines().count();
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    fails(&mut h).await;
    assert_eq!((h.pumps[0].state().split('(').next(), count()), (Some("reverting"), 2));
    for _ in 0..2 {
        h.pumps[0].crash();
        fails(&mut h).await;
        assert_eq!(count(), 2, "nothing is done that cannot be written down");
    }
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.pumps[0].crash();
    h.pumps[0].cycle().await;
    assert_eq!((count(), h.pumps[0].runs().as_str()), (3, "1.0.0"));
    assert_eq!(h.pumps[0].interlock_log(), ["claim", "claim", "release"]);
    assert_eq!(h.reported(&rollout).await.0, "fell_back");
}

/// A restart command that keeps count in `restarts`, and does this too at each time that is named.
fn restarting(pump: &Device, at: &str) -> PathBuf {
    let dir = pump.dir.display();
    let script = format!("cd {dir} && echo 1 >> restarts && case $(wc -l < restarts) in {at} esac");
    pump.configure("rev-a", &["sh", "-c", &script]);
    pump.dir.join("restarts")
}

/// A pump whose disk fails as the interlock is claimed: it holds that, and nothing says so on the disk. Its rollout, and its
/// slot's end.
async fn claims_and_fails(h: &mut Hospital) -> (String, Timestamp) {
    let script = h.pumps[0].dir.join("interlock.sh");
    let text = fs::read_to_string(&script).unwrap();
    let more = "if [ \"$1\" = claim ] && ! [ -e failed ]; then touch failed; \
                mkdir state/journal.json.tmp state/journal.second.json.tmp; fi\n";
    fs::write(&script, text + more).unwrap();
    let draft = h.draft().await;
    let (rollout, start, end) = h.approve(draft).await;
    h.world.clock.set(start);
    fails(h).await;
    fails(h).await;
    assert_eq!(h.pumps[0].state(), "claiming");
    assert_eq!(h.pumps[0].interlock_log(), ["claim"]);
    (rollout, end)
}

/// Hours may pass until there is room: what was asked before is asked again, as after a power cut there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_between_claim_and_switch_lets_nothing_be_installed_that_was_stopped_meanwhile() {
    let mut h = Hospital::open().await;
    let (rollout, _) = claims_and_fails(&mut h).await;
    h.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    assert_eq!(h.pumps[0].cycle().await, "idle(stop-order)");
    assert_eq!(h.pumps[0].interlock_log(), ["claim", "release"]);
    assert_eq!(h.pumps[0].runs(), "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_between_claim_and_switch_and_heals_after_the_slot_claims_nothing_again() {
    let mut h = Hospital::open().await;
    let (_, end) = claims_and_fails(&mut h).await;
    h.world.clock.set(end);
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.pumps[0].cycle().await;
    assert_eq!(h.pumps[0].interlock_log(), ["claim", "release"]);
    assert_eq!(h.pumps[0].runs(), "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_between_claim_and_switch_and_heals_in_the_slot_installs_after_all_was_asked() {
    let mut h = Hospital::open().await;
    let (rollout, _) = claims_and_fails(&mut h).await;
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    assert_eq!(h.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(h.pumps[0].interlock_log(), ["claim", "release", "claim", "release"]);
    assert_eq!(h.reported(&rollout).await.0, "confirmed");
}

/// Only the file for `status` cannot be written: that is said, and keeps no device past the switch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_switch_a_file_for_status_alone_keeps_no_device_from_finishing() {
    let mut h = Hospital::open().await;
    restarting(&h.pumps[0], "1) mkdir state/journal.json.tmp state/journal.second.json.tmp state/live.json.tmp;;");
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    fails(&mut h).await;
    assert_eq!(h.pumps[0].state(), "restarting");
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.confirms(&rollout).await;
    let (why, status) = faced(&mut h).await;
    assert!(why.starts_with("state-damaged") && why.contains("live.json"), "{why}");
    assert!(status["unwritten"]["text"].as_str().unwrap().contains("live.json"), "{status}");
}

/// An order that stops, and cannot be kept: said at each check-in, also where nothing is approved that it would hinder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_order_that_cannot_be_kept_is_told_to_the_hospital() {
    let mut h = Hospital::open().await;
    let draft = h.later_draft().await;
    let (rollout, _, _) = h.approve(draft).await;
    assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
    let place = h.pumps[0].dir.join(format!("state/stops/{rollout}.json.tmp"));
    fs::create_dir(&place).unwrap();
    h.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    h.pumps[0].cycle().await;
    let (why, status) = faced(&mut h).await;
    assert!(why.starts_with("state-damaged") && why.contains("cannot write down"), "{why}");
    assert!(status["unwritten"]["text"].as_str().unwrap().contains("stops"), "{status}");
    assert!(h.why().await.contains(&"state-damaged".to_owned()));
    fs::remove_dir(&place).unwrap();
    assert_eq!(h.pumps[0].cycle().await, "idle(stop-order)");
    assert!(faced(&mut h).await.1["unwritten"].is_null());
}

/// Nobody knows what it was at, so a person looks; a device that has left and joined again is a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_has_lost_its_journal_is_held_until_a_person_has_looked() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    h.confirms(&rollout).await;
    let state = h.pumps[0].dir.join("state");
    // The outbox is evidence, and without it the log is.
    for more in ["no-such", "outbox"] {
        h.pumps[0].crash();
        ["journal.json", "journal.second.json"].iter().for_each(|name| drop(fs::remove_file(state.join(name))));
        drop(fs::remove_dir_all(state.join(more)));
        let status = h.pumps[0].status();
        assert_eq!(
            (status.state, status.reason.unwrap().code.as_str()),
            ("held", "state-damaged"),
            "before any agent runs"
        );
        let (settings, clock) = (h.pumps[0].settings(), h.world.clock.clone());
        doctor::examine(&settings, clock, ProxyRules::from_env(|_| None)).await;
        let why = h.kim.json(&["device", "why", "pump-1"]).await.unwrap().to_string();
        assert!(why.contains("state-damaged"), "what doctor says to the server: {why}");
        for _ in 0..2 {
            assert_eq!(h.pumps[0].cycle().await, "held(state-damaged)", "{more}");
            h.pumps[0].crash();
        }
        let (done, now) = h.pumps[0].tell(Ask::Recover { reason: "it runs as it should".to_owned() }).await;
        done.unwrap();
        assert!(now.starts_with("idle("), "{now}");
    }
    // One is gone and the other is mangled: it may be a new device's only where nothing is known but what a first one tells.
    h.pumps[0].crash();
    fs::remove_file(state.join("journal.second.json")).unwrap();
    fs::write(state.join("journal.json"), b"torn").unwrap();
    assert_eq!(h.pumps[0].cycle().await, "held(state-damaged)");
    assert_eq!(fs::read(state.join("journal.damaged.json")).unwrap(), b"torn");
}

/// Accident: the installer hangs, which is what a device is held for as a rule. Found: what a person said there was lost each
/// time, for the loop came to it only after the installer had answered, and they had gone by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_heard_at_a_held_device_whose_installer_answers_nothing() {
    let mut h = Hospital::open().await;
    assert_eq!(h.pumps[0].cycle().await, "idle(nothing-approved)");
    let (config, pump) = (fs::read_to_string(h.pumps[0].config()).unwrap(), &mut h.pumps[0]);
    let (asked, installer, fifo) = (pump.dir.join("asked"), pump.dir.join("hangs.sh"), pump.dir.join("fifo"));
    // Nobody ever writes into it.
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(&installer, format!("#!/bin/sh\necho \"$1\" >> {}\nexec cat {}\n", text(&asked), text(&fifo))).unwrap();
    fs::set_permissions(&installer, fs::Permissions::from_mode(0o755)).unwrap();
    let hangs = format!("[installer]\nkind = \"command\"\ncommand = [{installer:?}]\n[restart]");
    for is_asking in [false, true] {
        pump.crash();
        for name in ["journal.json", "journal.second.json"] {
            fs::write(pump.dir.join("state").join(name), b"torn").unwrap();
        }
        fs::write(pump.config(), config.replace("[restart]", &hangs)).unwrap();
        let (hands, settings, now) = (pump.agent().hands(), pump.settings(), h.world.clock.now());
        let said = async {
            while is_asking && !asked.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let ask = Ask::Recover { reason: "it runs".to_owned() };
            face::said(&hands, &settings, (ask, None), &Who::here(), now).await
        };
        tokio::select! {
            biased;
            done = said => done.unwrap(),
            state = pump.cycle() => panic!("the installer has answered: {state}"),
        };
        assert_eq!(pump.state(), "releasing(state-damaged)");
        let again = face::event(pump.agent().state(), Errand::Recovered(Reason::new(Code::StateDamaged, "x")));
        assert!(again.unwrap_err().contains("not held but releasing"));
        // And it goes on by itself once the installer answers.
        pump.crash();
        fs::write(pump.config(), &config).unwrap();
        assert_eq!(pump.cycle().await, "idle(nothing-approved)");
        drop(fs::remove_file(&asked));
    }
}

/// What a person has put in order is told with what runs since then, though they are heard before it is asked what runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_what_a_person_put_in_order_says_what_runs_after_that() {
    let mut h = Hospital::open().await;
    h.pumps[0].configure("rev-a", &["false"]);
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    assert_eq!(h.pumps[0].cycle().await, "held(restart-failed)");
    assert_eq!(h.pumps[0].runs(), "1.0.0");
    let link = h.pumps[0].dir.join("slots/current");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("b", &link).unwrap();
    h.pumps[0].tell(Ask::Recover { reason: "the new version runs".to_owned() }).await.0.unwrap();
    assert_eq!(h.reported(&rollout).await.0, "fell_back");
    let mut database = SqliteConnection::connect(h.world.database()).await.unwrap();
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM report ORDER BY number").fetch_all(&mut database).await.unwrap();
    let last: Value = serde_json::from_slice(payloads.last().unwrap()).unwrap();
    assert_eq!((&last["phase"], &last["running"]["release"]), (&"fell_back".into(), &2.into()), "{last}");
}

/// Accident: the disk that has mangled the journal takes nothing any more as the agent starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_cannot_write_what_its_start_asks_for_is_not_silent_and_goes_on_once_it_can() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    h.confirms(&rollout).await;
    let state = h.pumps[0].dir.join("state");
    h.pumps[0].crash();
    ["journal.json", "journal.second.json"].iter().for_each(|name| fs::write(state.join(name), b"torn").unwrap());
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::create_dir(place).unwrap());
    for _ in 0..2 {
        let told = fails(&mut h).await;
        let said = told.iter().any(|(code, text)| code == "state-damaged" && text.contains("cannot write down"));
        assert!(said, "{told:?}");
        assert!(faced(&mut h).await.0.contains("cannot write down"));
        h.pumps[0].crash();
    }
    fails(&mut h).await;
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    assert_eq!(h.pumps[0].cycle().await, "held(state-damaged)");
    assert_eq!(fs::read(state.join("journal.damaged.json")).unwrap(), b"torn");
    h.pumps[0].tell(Ask::Recover { reason: "it runs".to_owned() }).await.0.unwrap();
    assert!(!h.why().await.contains(&"state-damaged".to_owned()));
}

/// The same where the power had failed between both records: nothing is done before the one is where the other is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_cannot_even_out_its_records_waits_past_the_switch_and_then_finishes() {
    let mut h = Hospital::open().await;
    let at = "1) mkdir state/journal.json.tmp state/journal.second.json.tmp;;";
    let restarts = restarting(&h.pumps[0], at);
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    fails(&mut h).await;
    fs::remove_file(h.pumps[0].dir.join("state/journal.second.json")).unwrap();
    for _ in 0..2 {
        h.pumps[0].crash();
        fails(&mut h).await;
        assert_eq!(h.pumps[0].state(), "restarting");
        assert_eq!(fs::read_to_string(&restarts).unwrap().lines().count(), 1);
    }
    in_the_way(&h.pumps[0]).iter().for_each(|place| fs::remove_dir(place).unwrap());
    h.confirms(&rollout).await;
}

/// What the hospital hears of the first pump, until it hears this.
async fn heard(h: &Hospital, code: &str) {
    let heard = async {
        loop {
            let why = h.kim.json(&["device", "why", "pump-1"]).await.unwrap();
            if why.as_array().unwrap().iter().any(|why| why["code"] == code) {
                return;
            }
        }
    };
    patiently(&h.pumps[0], code, heard).await;
}

/// What `suture-agent status` says of what cannot be written, until it says this.
async fn shown(pump: &Device, wanted: Option<&str>) {
    let shown = async {
        loop {
            let told = pump.told();
            if told["source"] == "agent" && told["unwritten"]["code"].as_str() == wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    patiently(pump, "the status", shown).await;
}

/// The program itself, on a disk of its own that somebody else fills; then on one that can only be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_on_a_full_disk_and_one_on_a_disk_for_reading_alone_are_not_silent() {
    let h = Hospital::open().await;
    let agent = h.pumps[0].spawn();
    patiently(&h.pumps[0], "a cycle", async {
        while h.pumps[0].told()["live"].is_null() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    agent.kill();
    let Some((agent, state)) = h.pumps[0].spawn_on(4, false) else {
        return not_run("no file system of its own: unshare is refused");
    };
    shown(&h.pumps[0], None).await;
    let other = state.join("somebody-else's.log");
    let mut file = File::create(&other).unwrap();
    while file.write_all(&[b'x'; 4_096]).is_ok() {}
    shown(&h.pumps[0], Some("disk-full")).await;
    heard(&h, "disk-full").await;
    fs::remove_file(&other).unwrap();
    drop(file);
    shown(&h.pumps[0], None).await;
    let log = h.pumps[0].log();
    assert_eq!(log.matches("not said here again").count(), 1, "{log}");
    assert_eq!(log.matches("it goes on").count(), 1, "{log}");
    drop(agent);

    let (agent, _) = h.pumps[0].spawn_on(4, true).unwrap();
    shown(&h.pumps[0], Some("state-damaged")).await;
    heard(&h, "state-damaged").await;
    assert!(h.pumps[0].log().contains("Read-only file system"));
    drop(agent);
}
