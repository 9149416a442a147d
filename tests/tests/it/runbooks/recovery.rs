//! `expired-repository.md`, `device-from-a-shelf.md` and `wrong-clock.md`: the ways back that need no visit, and weaken nothing.

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::Clock as _;

use super::page::Page;
use crate::hospital::{Hospital, PLAN};

#[tokio::test]
async fn an_expired_repository_comes_into_force_again() {
    let Hospital { mut world, ada, kim, mut pumps, .. } = Hospital::open().await;
    assert_eq!(pumps[0].cycle().await, "idle(nothing-approved)");
    world.idle(181).await;
    assert_eq!(pumps[0].cycle().await, "idle(metadata-expired)");

    for (who, heading, days) in [
        (&ada, "The catalog's targets, after 180 days without a release", 180),
        (&kim, "The approvals' targets, after 14 days without an approval", 14),
    ] {
        let repository = if days == 180 { "catalog" } else { "approvals" };
        let mut page = Page::open("expired-repository.md").section(heading);
        let before = page.run(who, &format!("{repository} status"), &[]).await;
        assert!(before["roles"][1]["days_left"].as_i64().unwrap() < 0, "{before}");
        page.run(who, &format!("{repository} renew"), &[]).await;
        let after = page.run(who, &format!("{repository} status"), &[]).await;
        assert_eq!(after["roles"][1]["days_left"], days);
        page.done();
    }
    assert_eq!(pumps[0].cycle().await, "idle(nothing-approved)");
}

/// Sets the clock, and gives what the device says then.
async fn at(hospital: &mut Hospital, time: Timestamp) -> String {
    hospital.world.clock.set(time);
    hospital.pumps[0].crash();
    hospital.pumps[0].cycle().await
}

#[tokio::test]
async fn a_dead_battery_opens_no_slot_and_spoils_nothing() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let draft = hospital.draft().await;
    let (rollout, start, _) = hospital.approve(draft).await;
    let right = hospital.world.clock.now();
    assert_eq!(at(&mut hospital, "2000-01-01T00:00:00Z".parse().unwrap()).await, "idle(clock-unproven)");
    // Even an hour before what signatures have proven is refused.
    assert_eq!(at(&mut hospital, right - SignedDuration::from_hours(1)).await, "idle(clock-unproven)");
    hospital.untouched();
    hospital.world.clock.set(start);
    hospital.pumps[0].crash();
    hospital.confirms(&rollout).await;
}

#[tokio::test]
async fn a_clock_far_ahead_spoils_nothing_once_it_is_right() {
    let mut hospital = Hospital::open().await;
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    let right = hospital.world.clock.now();
    assert_eq!(at(&mut hospital, right + SignedDuration::from_hours(24 * 400)).await, "idle(metadata-expired)");
    hospital.untouched();
    assert_eq!(at(&mut hospital, right).await, "idle(nothing-approved)");
    let (rollout, start, _) = {
        let draft = hospital.world.draft(&hospital.kim, &PLAN).await;
        hospital.approve(draft).await
    };
    hospital.world.clock.set(start);
    hospital.confirms(&rollout).await;
}
