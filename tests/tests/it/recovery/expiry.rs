//! Repositories that nobody has signed in time.

use crate::hospital::{Hospital, PLAN};

/// Approves for the first pump, and lets it install.
async fn installs(hospital: &mut Hospital) {
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.world.idle(15).await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(metadata-expired)");
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    installs(&mut hospital).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.world.idle(181).await;
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(metadata-expired)");
    hospital.ada.run(&["catalog", "renew"]).await.unwrap();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    installs(&mut hospital).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.world.idle(366).await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(metadata-expired)");
    // Certificates of operators go as long as that; the roots' keys lie in a safe.
    hospital.ada.run(&["whoami"]).await.unwrap();
    hospital.kim.run(&["whoami"]).await.unwrap();
    hospital.world.next_root(&hospital.ada, "catalog").await;
    hospital.world.next_root(&hospital.kim, "approvals/riverside").await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    installs(&mut hospital).await;
}
