//! A device that fell back for good is offered the same bundle again by a lift that was signed since, and by nothing else.

use suture_core::phase::{Code, Phase};
use suture_core::report::Report;
use suture_proto::v1;
use suture_tests::world::{Kind, Spec, World};

use crate::ward::Ward;

/// What the pump has reported of an outcome, the newest first.
async fn outcomes(ward: &Ward) -> Vec<Report> {
    let mut calls = ward.world.operator_calls(Some(ward.kim.identity())).await;
    let request = v1::GetDeviceRequest { id: "pump-1".to_owned() };
    let reports = calls.get_device(request).await.unwrap().into_inner().reports;
    let reports = reports.iter().map(|r| serde_json::from_slice::<Report>(&r.payload).unwrap());
    reports.filter(|r| r.phase.is_outcome()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_for_good_is_tried_again_after_a_lift_and_not_by_restarts_or_by_resuming() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    let mut ward = Ward::open(world, Spec::default(), &["pump-1"]).await;
    // The one that runs is sound: it is asked for its health as it comes back.
    ward.world.publish(&ward.ada, Spec { release: 3, faulty: true, ..Spec::default() }).await;
    let plan =
        ["--bundle", "pump@3", "--ward", "icu", "--wave", "rest", "--cap", "1", "--slots", "1", "--slack", "60s"];
    let mut draft = ward.world.draft(&ward.kim, &plan).await;
    let slot = &mut draft.0.devices[0].slots[0];
    slot.end = slot.start + jiff::SignedDuration::from_hours(8);
    let start = slot.start;
    (draft.0.terms.expires, draft.0.terms.max_attempts, draft.0.terms.retry_wait_secs) = (slot.end, 3, 600);
    let rollout = draft.0.terms.id.to_string();
    ward.kim.sign(&draft).await;
    ward.world.clock.set(start);

    assert_eq!(ward.pumps[0].cycle().await, "idle(health-failed)");
    let told = outcomes(&ward).await;
    assert_eq!((told[0].phase, told[0].permanent), (Phase::FellBack, true), "two tries are left, and none is of use");
    assert_eq!(told[0].reason.as_ref().map(|r| r.code), Some(Code::HealthFailed));
    let claims = |ward: &Ward| ward.pumps[0].interlock_log().iter().filter(|l| *l == "claim").count();
    for _ in 0..3 {
        ward.pumps[0].crash();
        ward.pumps[0].cycle().await;
    }
    assert_eq!((claims(&ward), ward.pumps[0].state()), (1, "idle(health-failed)".to_owned()));
    let status = ward.pumps[0].told();
    assert_eq!(
        (status["tried"]["tries"]["spent"].as_u64(), status["tried"]["policy"]["max_attempts"].as_u64()),
        (Some(1), Some(3))
    );

    // Stopped and lifted by a signature that is younger than the failure.
    ward.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    ward.pumps[0].cycle().await;
    let stands = async |ward: &Ward| {
        let status = ward.kim.json(&["rollout", "stop-status", &rollout]).await.unwrap();
        (status["devices"][0]["standing"].as_str().unwrap().to_owned(), !status["safe_from"].is_null())
    };
    let could_begin = ("unanswered".to_owned(), true);
    assert_eq!(
        stands(&ward).await,
        ("spent".to_owned(), true),
        "this home has seen no lift, and another may have signed one"
    );
    ward.kim.run(&["rollout", "lift", &rollout]).await.unwrap();
    // It is tried again at the device's next look, also where a second stop is hidden from it.
    assert_eq!(stands(&ward).await, could_begin);
    ward.kim.run(&["rollout", "stop", &rollout]).await.unwrap();
    assert_eq!(stands(&ward).await, could_begin);
    ward.kim.run(&["rollout", "lift", &rollout]).await.unwrap();
    // A lift says nothing of what has failed: that is said first, and then somebody goes on without it.
    for paused in [true, false] {
        let resumed = ward.kim.json(&["rollout", "resume", &rollout, "--reason", "mended"]).await.unwrap();
        assert_eq!(resumed["paused"], paused);
    }
    // So that the failure is younger than the lift by the seconds that orders are counted in.
    ward.world.pass(60);
    assert_eq!(ward.pumps[0].cycle().await, "idle(health-failed)");
    // This clock stands still while it tries: all that it signs of that is of one second, and tells no failure from the lift.
    assert_eq!((claims(&ward), stands(&ward).await), (2, could_begin), "tried once more");
    // The same lift is no word on the failure after it.
    ward.pumps[0].crash();
    ward.pumps[0].cycle().await;
    assert_eq!(claims(&ward), 2);
    assert_eq!(outcomes(&ward).await.iter().filter(|r| r.phase == Phase::FellBack).count(), 2);
}

/// Found: the way back was believed by an exit code, and a device whose old version was not well either went back to patients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_that_is_not_well_either_is_kept_from_patients_and_calls_a_person() {
    let world = World::start(Kind::Sqlite).await.unwrap();
    // Both releases fail the device's own check: the fault is the device's.
    let mut ward = Ward::open(world, Spec { faulty: true, ..Spec::default() }, &["pump-1"]).await;
    let plan =
        ["--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", "1", "--slots", "1", "--slack", "60s"];
    let draft = ward.world.draft(&ward.kim, &plan).await;
    ward.kim.sign(&draft).await;
    ward.world.clock.set(draft.0.devices[0].slots[0].start);
    assert_eq!(ward.pumps[0].cycle().await, "held(health-failed)");
    assert_eq!((ward.pumps[0].runs(), ward.pumps[0].interlock_log()), ("1.0.0".to_owned(), vec!["claim".to_owned()]));
    let shown = ward.kim.json(&["rollout", "show", draft.0.terms.id.as_str()]).await.unwrap();
    let device = &shown["devices"][0];
    assert_eq!((device["phase"].as_str(), device["reason"]["code"].as_str()), (Some("held"), Some("health-failed")));
    let text = device["reason"]["text"].as_str().unwrap();
    assert!(text.contains("the old version did not prove its health"), "{text}");
    assert!(text.contains("it was put back after health-failed: the new version"), "{text}");
    // The fault is found. The next start of the agent tries the way back again, and the device proves that it is well.
    let fault = ward.pumps[0].dir.join("slots/current/app/FAULT");
    std::fs::remove_file(fault).unwrap();
    ward.pumps[0].crash();
    assert_eq!(ward.pumps[0].cycle().await, "idle(health-failed)");
    assert_eq!(ward.pumps[0].interlock_log().last().unwrap(), "release");
}
