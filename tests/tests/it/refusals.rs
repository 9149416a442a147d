//! A device refuses what it must not install, each time with a reason of its own, whatever the server does.
//!
//! Nothing here is refused by `suturectl` or the server, which refuse most of it too: mistakes are signed with the
//! hospital's real key past them, and a hostile server has its database, its storage and its online keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use suture_core::clock::Clock as _;
use suture_core::digest::Digest;
use suture_core::limits::BLOCK_KEPT;
use suture_tests::world::Spec;

use crate::hospital::{Hospital, PLAN, untouched};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_the_manufacturer_has_not_signed() {
    // The hospital signs what the catalog does not list.
    let mut hospital = Hospital::open().await;
    let unpublished = hospital.world.build(&hospital.ada, Spec { release: 3, ..Spec::default() }).await;
    let mut draft = hospital.draft().await;
    draft.0.terms.steps = vec![unpublished.step()];
    hospital.refuses(draft.clone(), "idle(not-in-catalog)", ("waiting", "not-in-catalog")).await;
    assert!(hospital.why().await.contains(&"not-in-catalog".to_owned()));

    // Published after all, it is what was approved.
    let dir = unpublished.dir.to_str().unwrap();
    hospital.ada.run(&["bundle", "sign", dir]).await.unwrap();
    hospital.ada.run(&["bundle", "publish", dir]).await.unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(up-to-date)");
    assert_eq!(hospital.pumps[0].runs(), "1.2.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_bundle_under_the_name_of_one_that_the_manufacturer_has_signed() {
    let mut hospital = Hospital::open().await;
    let mut draft = hospital.draft().await;
    draft.0.terms.steps[0].sha256 = Digest::of(b"another");
    hospital.refuses(draft, "idle(not-in-catalog)", ("waiting", "not-in-catalog")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_whoever_holds_the_server_has_signed() {
    let mut hospital = Hospital::open().await;
    let bundle = hospital.world.build(&hospital.ada, Spec { release: 3, ..Spec::default() }).await;
    let mut draft = hospital.draft().await;
    draft.0.terms.steps = vec![bundle.step()];
    let (_, start, _) = hospital.approve(draft).await;
    let manifest = fs::read(bundle.dir.join("manifest.json")).unwrap();
    let custom = serde_json::json!({ "product": "pump", "release": 3, "version": "1.2.0", "hardware": ["rev-a"],
        "min_release": 0, "status": "current", "floor": 0 });
    let path = bundle.step().path;
    let intruder = hospital.world.intruder().await;
    intruder.list("catalog", (&path, &manifest, Some(custom)), &intruder.key()).await;
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(bad-signature)");
    hospital.untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_the_hospital_has_not_approved() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.untouched();
    assert!(hospital.why().await.contains(&"nothing-approved".to_owned()));

    // Whoever holds the server approves it, below the real timestamp and snapshot.
    let (approval, _) = hospital.draft().await;
    let intruder = hospital.world.intruder().await;
    intruder.approve(&approval, &intruder.key()).await;
    hospital.world.clock.set(approval.devices[0].slots[0].start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(bad-signature)");
    hospital.untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_for_another_device() {
    let mut hospital = Hospital::open().await;
    let args = ["--bundle", "pump@2", "--device", "pump-2", "--slots", "1", "--slack", "60s"];
    let draft = hospital.world.draft(&hospital.kim, &args).await;
    let (_, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(not-for-this-device)");
    hospital.untouched();
    assert!(hospital.why().await.contains(&"not-for-this-device".to_owned()));
    assert_eq!(hospital.pumps[1].cycle().await, "idle(up-to-date)", "it is for the other");
    hospital.untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_of_another_hospital() {
    let mut hospital = Hospital::open().await;
    let mut draft = hospital.draft().await;
    draft.0.terms.hdo = "hilltop".parse().unwrap();
    // Signed by the hospital that the device belongs to, and about another: the server would not publish it.
    let intruder = hospital.world.intruder().await;
    intruder.approve(&draft.0, &hospital.kim.targets_key()).await;
    hospital.world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(wrong-hospital)");
    hospital.untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_that_has_passed() {
    let mut hospital = Hospital::open().await;
    let draft = hospital.draft().await;
    let (rollout, _, end) = hospital.approve(draft).await;
    hospital.world.clock.set(end);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(slots-over)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("expired".to_owned(), "slots-over".to_owned()));
    assert!(hospital.why().await.contains(&"slots-over".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_an_opening_is_too_short() {
    let mut hospital = Hospital::open().await;
    let draft = hospital.draft().await;
    let (rollout, _, end) = hospital.approve(draft).await;
    // Install and way back take 90 s.
    hospital.world.clock.set(end - SignedDuration::from_secs(89));
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(slot-too-short)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("waiting".to_owned(), "slot-too-short".to_owned()));
    hospital.world.clock.set(end);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(slots-over)");
    hospital.untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_hardware_revision() {
    let mut hospital = Hospital::open().await;
    let other = hospital.world.publish(&hospital.ada, Spec { release: 3, hardware: "rev-b", ..Spec::default() }).await;
    let mut draft = hospital.draft().await;
    draft.0.terms.steps = vec![other.step()];
    hospital.refuses(draft, "idle(wrong-hardware)", ("failed", "wrong-hardware")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_a_chunk() {
    let mut hospital = Hospital::open().await;
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    let objects = hospital.world.data_dir().join("objects/packs");
    // The newest pack holds what only the second release has.
    let pack = files(&objects).into_iter().max_by_key(|p| fs::metadata(p).unwrap().modified().unwrap()).unwrap();
    let good = fs::read(&pack).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&pack, bad).unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "fetching(wrong-bytes)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("fetching".to_owned(), "wrong-bytes".to_owned()));
    let attempt = hospital.pumps[0].agent().state().attempt().cloned().unwrap();
    let before = hospital.pumps[0].fetched_chunks();

    // Mended, the same attempt goes on from what it has, once the server reads the pack again.
    fs::write(&pack, good).unwrap();
    hospital.world.clock.set(start + BLOCK_KEPT);
    hospital.confirms(&rollout).await;
    assert_eq!(attempt.number, 1);
    let counters = hospital.pumps[0].agent().counters().clone();
    let fetched = counters.fetched_chunks.load(Ordering::SeqCst);
    assert!(before > 0 && fetched > before, "{before} chunks before the flipped one, {fetched} in all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_without_a_permit() {
    let mut hospital = Hospital::that_runs(2).await;
    let mut draft = hospital.draft().await;
    draft.0.terms.steps = vec![hospital.first.step()];
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(downgrade)");
    untouched(&hospital.pumps[0], "1.1.0");
    assert_eq!(hospital.reported(&rollout).await, ("failed".to_owned(), "downgrade".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_was_withdrawn_after_it_was_staged() {
    let mut hospital = Hospital::open().await;
    let later = (hospital.world.clock.now() + SignedDuration::from_hours(1)).to_string();
    let draft = hospital.world.draft(&hospital.kim, &[&PLAN[..], &["--not-before", &later]].concat()).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
    hospital.ada.run(&["catalog", "set-status", "pump", "2", "withdrawn"]).await.unwrap();
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "idle(withdrawn)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("withdrawn".to_owned(), "withdrawn".to_owned()));
    assert!(hospital.why().await.contains(&"withdrawn".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen() {
    let mut hospital = Hospital::open().await;
    let later = (hospital.world.clock.now() + SignedDuration::from_hours(8 * 24)).to_string();
    let draft = hospital.world.draft(&hospital.kim, &[&PLAN[..], &["--not-before", &later]].concat()).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");
    // It looks hourly by real time, so until it is started again it stands at what it signed 8 days ago.
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(metadata-expired)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("waiting".to_owned(), "metadata-expired".to_owned()));
    hospital.world.stop_server().await;
    hospital.world.start_server().await;
    hospital.confirms(&rollout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_in_use() {
    let mut hospital = Hospital::open().await;
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    let in_use = hospital.pumps[0].dir.join("in-use");
    fs::write(&in_use, "").unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(in-use)");
    hospital.untouched();
    assert_eq!(hospital.reported(&rollout).await, ("waiting".to_owned(), "in-use".to_owned()));
    assert!(hospital.why().await.contains(&"in-use".to_owned()));
    hospital.untouched();
    fs::remove_file(in_use).unwrap();
    hospital.confirms(&rollout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_back_to_an_older_state() {
    let mut hospital = Hospital::open().await;
    hospital.world.stop_server().await;
    let database = PathBuf::from(hospital.world.database().trim_start_matches("sqlite:"));
    let old = fs::read(&database).unwrap();
    hospital.world.start_server().await;
    let later = (hospital.world.clock.now() + SignedDuration::from_hours(1)).to_string();
    let draft = hospital.world.draft(&hospital.kim, &[&PLAN[..], &["--not-before", &later]].concat()).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(before-slot)");

    hospital.world.stop_server().await;
    let new = fs::read(&database).unwrap();
    fs::write(&database, old).unwrap();
    hospital.world.start_server().await;
    hospital.world.clock.set(start);
    assert_eq!(hospital.pumps[0].cycle().await, "waiting(rollback)");
    hospital.untouched();

    hospital.world.stop_server().await;
    fs::write(&database, new).unwrap();
    hospital.world.start_server().await;
    hospital.confirms(&rollout).await;
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}
