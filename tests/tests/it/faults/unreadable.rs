//! A device whose disk no longer gives what was written to it: it is written anew, and the update comes home all the same.

use std::fs;

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
