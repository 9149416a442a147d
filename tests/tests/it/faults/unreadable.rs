//! A device whose disk no longer gives what was written to it: it is written anew, and the update comes home all the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use suture_agent::face::{self, Ask, Hands, Who};
use suture_core::clock::Clock as _;

use crate::hospital::Hospital;

/// Found: such a device waited for ever, since only what reads wrong was written anew, and not what does not read at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_that_cannot_be_read_any_more_is_written_anew() {
    let mut h = Hospital::open().await;
    let draft = h.later_draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
    let slot = h.pumps[0].dir.join("slots/b");
    let manifest = slot.join(".suture/manifest.json");

    // What says what lies there: nothing that makes sense, nothing that can be read, and nothing.
    for bad in ["torn", "unreadable", "gone"] {
        fs::remove_file(&manifest).unwrap();
        match bad {
            "torn" => fs::write(&manifest, b"{").unwrap(),
            "unreadable" => fs::create_dir(&manifest).unwrap(),
            _ => {}
        }
        assert_eq!(h.pumps[0].cycle().await, "fetching(wrong-bytes)", "{bad}");
        assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)", "{bad}");
        // Started anew it has forgotten how often that was.
        h.pumps[0].crash();
    }

    // The bytes themselves, which are read in the slot.
    fs::remove_dir_all(slot.join("app")).unwrap();
    h.world.clock.set(start);
    assert_eq!(h.pumps[0].cycle().await, "fetching(wrong-bytes)");
    h.untouched();
    h.confirms(&rollout).await;
}

/// A disk that keeps nothing is not written again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_disk_keeps_nothing_waits_before_it_fetches_again_and_says_so() {
    let mut h = Hospital::open().await;
    let draft = h.later_draft().await;
    h.approve(draft).await;
    assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
    let manifest = h.pumps[0].dir.join("slots/b/.suture/manifest.json");
    fs::write(&manifest, b"{").unwrap();
    assert_eq!(h.pumps[0].cycle().await, "fetching(wrong-bytes)");
    assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
    fs::write(&manifest, b"{").unwrap();
    for _ in 0..3 {
        assert_eq!(h.pumps[0].cycle().await, "fetching(wrong-bytes)");
    }
    assert_eq!(fs::read(&manifest).unwrap(), b"{", "it is not written meanwhile");
    let why = h.kim.run(&["device", "why", "pump-1"]).await.unwrap();
    assert!(why.contains("2 times in a row, and it is fetched again in"), "{why}");
}

/// Puts a file in the place of one that opens, and that no disk gives (EIO); it is replaced and removed as any other.
fn lose(file: &Path) {
    let _ = fs::remove_file(file);
    symlink("/proc/self/mem", file).unwrap();
}

/// Whether its disk gives it.
fn is_given(file: &Path) -> bool {
    fs::read(file).is_ok()
}

const JOURNAL: [&str; 2] = ["journal.json", "journal.second.json"];

/// Found: the agent never started again, and nobody heard why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_sector_below_one_file_of_the_agents_keeps_it_from_nothing() {
    let single = ["outbox/mark.json", "lease.json", "record.json"];
    for lost in [&JOURNAL[..1], &JOURNAL[1..], &single] {
        let mut h = Hospital::open().await;
        let draft = h.later_draft().await;
        let (rollout, start, _) = h.approve(draft).await;
        assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)");
        h.pumps[0].crash();
        let files: Vec<_> = lost.iter().map(|name| h.pumps[0].dir.join("state").join(name)).collect();
        files.iter().for_each(|file| lose(file));
        let seen = h.pumps[0].status().state;
        assert!(["waiting", "staging"].contains(&seen), "the record before the last, at least: {seen}");
        assert_eq!(h.pumps[0].cycle().await, "waiting(before-slot)", "{lost:?}");
        assert!(!h.why().await.contains(&"state-damaged".to_owned()), "nothing is amiss");
        h.world.clock.set(start);
        h.confirms(&rollout).await;
        assert!(files.iter().all(|file| !file.exists() || is_given(file)), "{lost:?}: written anew, or gone");
    }
}

/// Between claim and release the device is out of use until it has finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_sector_below_the_journal_past_the_switch_leaves_no_device_claimed() {
    for lost in JOURNAL {
        let mut h = Hospital::open().await;
        let dir = h.pumps[0].dir.clone();
        let script = format!("cd {} && mkdir state/journal.json.tmp state/journal.second.json.tmp", dir.display());
        h.pumps[0].configure("rev-a", &["sh", "-c", &format!("{script} || true")]);
        let draft = h.draft().await;
        let (rollout, start, _) = h.approve(draft).await;
        h.world.clock.set(start);
        assert!(h.pumps[0].agent().cycle().await.is_err());
        assert_eq!((h.pumps[0].state().as_str(), h.pumps[0].interlock_log()), ("restarting", vec!["claim".to_owned()]));
        h.pumps[0].crash();
        h.pumps[0].configure("rev-a", &["true"]);
        JOURNAL.iter().for_each(|name| fs::remove_dir(dir.join(format!("state/{name}.tmp"))).unwrap());
        lose(&dir.join("state").join(lost));
        h.confirms(&rollout).await;
    }
}

/// Nobody knows what it was at, so a person looks: with an agent and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_neither_of_whose_records_can_be_read_is_held_and_says_so() {
    let mut h = Hospital::open().await;
    let draft = h.draft().await;
    let (rollout, start, _) = h.approve(draft).await;
    h.world.clock.set(start);
    h.confirms(&rollout).await;
    let state = h.pumps[0].dir.join("state");
    let ask = || Ask::Recover { reason: "it runs as it should".to_owned() };
    for with_agent in [true, false] {
        h.pumps[0].crash();
        JOURNAL.iter().for_each(|name| lose(&state.join(name)));
        let status = h.pumps[0].status();
        assert_eq!((status.state, status.reason.unwrap().code.as_str()), ("held", "state-damaged"));
        if with_agent {
            assert_eq!(h.pumps[0].cycle().await, "held(state-damaged)");
            assert!(h.why().await.contains(&"state-damaged".to_owned()), "the hospital hears it");
            h.pumps[0].tell(ask()).await.0.unwrap();
        } else {
            let (settings, now) = (h.pumps[0].settings(), h.world.clock.now());
            face::said(&Hands::Own, &settings, (ask(), None), &Who::here(), now).await.unwrap();
        }
        let cycle = h.pumps[0].cycle().await;
        assert!(cycle.starts_with("idle("), "{cycle}");
        assert!(JOURNAL.iter().all(|name| is_given(&state.join(name))));
        assert!(!is_given(&state.join("journal.damaged.json")), "what was there is set aside");
    }
}
