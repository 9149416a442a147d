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
        (&kim, "The approvals' targets, 14 days after they were signed, or a day after the last approval's end", 14),
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

#[tokio::test]
async fn an_expired_root_is_followed_by_the_next() {
    let Hospital { mut world, ada, kim, mut pumps, .. } = Hospital::open().await;
    assert_eq!(pumps[0].cycle().await, "idle(nothing-approved)");
    world.idle(366).await;
    assert_eq!(pumps[0].cycle().await, "idle(metadata-expired)");

    let mut page = Page::open("expired-repository.md").section("The root, after 365 days");
    page.run(&ada, "catalog rotate", &[]).await;
    page.run(&ada, "catalog renew", &[]).await;
    let after = page.run(&ada, "catalog status", &[]).await;
    page.done();
    assert_eq!((&after["roles"][0]["days_left"], &after["roles"][0]["version"]), (&365.into(), &2.into()));
    // The hospital's likewise.
    kim.run(&["approvals", "rotate"]).await.unwrap();
    kim.run(&["approvals", "renew"]).await.unwrap();
    assert_eq!(pumps[0].cycle().await, "idle(nothing-approved)");
}

/// Years in which everybody signs in time, and the device lies on its shelf.
async fn shelf(hospital: &mut Hospital, days: i64) {
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
    hospital.pumps[0].crash();
    let mut left = days;
    while left > 0 {
        let some = left.min(300);
        hospital.world.idle(some).await;
        for (who, repository) in [(&hospital.ada, "catalog"), (&hospital.kim, "approvals")] {
            who.run(&[repository, "rotate"]).await.unwrap();
            who.run(&[repository, "renew"]).await.unwrap();
        }
        left -= some;
    }
}

#[tokio::test]
async fn a_device_is_back_after_two_years_on_a_shelf() {
    let mut hospital = Hospital::open().await;
    shelf(&mut hospital, 725).await;
    assert_eq!(
        hospital.pumps[0].cycle().await,
        "idle(nothing-approved)",
        "through every root, with a renewed certificate"
    );

    let mut page = Page::open("device-from-a-shelf.md").section("Up to two years");
    page.by_hand("suture-agent doctor");
    page.by_hand("suture-agent status");
    let kim = &hospital.kim;
    page.run(kim, "device why", &[("DEVICE", "pump-1")]).await;
    let values = [("PRODUCT", "pump"), ("RELEASE", "2"), ("DEVICE", "pump-1")];
    let plan = page.run(kim, "rollout plan", &values).await;
    let approved = page.run(kim, "rollout approve", &[("DIGEST", plan["sha256"].as_str().unwrap())]).await;
    page.done();
    let start = plan["plan"]["devices"][0]["slots"][0]["start"].as_str().unwrap();
    hospital.world.clock.set(start.parse().unwrap());
    let rollout = approved["rollout"].as_str().unwrap().to_owned();
    hospital.confirms(&rollout).await;
}

#[tokio::test]
async fn a_device_is_back_after_longer_than_its_certificate_can_wait() {
    let mut hospital = Hospital::open().await;
    shelf(&mut hospital, 800).await;
    assert!(!hospital.pumps[0].agent().cycle().await.unwrap().confirmed);
    hospital.pumps[0].crash();

    let mut page = Page::open("device-from-a-shelf.md").section("Longer, or its certificate is refused");
    let device = [("DEVICE", "pump-1")];
    page.run(&hospital.kim, "device revoke", &device).await;
    let token = page.run(&hospital.kim, "device token", &device).await;
    std::fs::remove_dir_all(hospital.pumps[0].dir.join("state/identity")).unwrap();
    page.by_hand("suture-agent enroll");
    page.by_hand("systemctl start suture-agent");
    let shown = hospital.pumps[0].enroll(token["token"].as_str().unwrap()).await.unwrap();
    page.run(&hospital.kim, "device confirm", &[("DEVICE", "pump-1"), ("FINGERPRINT", &shown)]).await;
    page.done();
    assert_eq!(hospital.pumps[0].cycle().await, "idle(nothing-approved)");
}
