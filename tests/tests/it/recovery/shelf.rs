//! A device that lay on a shelf for two years.

use suture_tests::world::Spec;

use crate::hospital::{Hospital, PLAN};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_years() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.pumps[0].crash();

    // Meanwhile everything is replaced that can be, twice: roots, online keys, the server's certificate. The device's own
    // expired after 30 days.
    for _ in 0..2 {
        hospital.world.idle(350).await;
        hospital.ada.run(&["whoami"]).await.unwrap();
        hospital.kim.run(&["whoami"]).await.unwrap();
        hospital.world.next_root(&hospital.ada, "catalog").await;
        hospital.world.next_root(&hospital.kim, "approvals/riverside").await;
    }
    hospital.world.publish(&hospital.ada, Spec { release: 3, ..Spec::default() }).await;
    hospital.world.idle(29).await;
    hospital.kim.run(&["approvals", "renew"]).await.unwrap();

    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
    let (rollout, start, _) = hospital.approve(draft).await;
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}
