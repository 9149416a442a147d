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
    let mut ward = Ward::open(world, Spec { faulty: true, ..Spec::default() }, &["pump-1"]).await;
    // The first release is faulty too, by the same specification; what runs is not asked for its health.
    let plan =
        ["--bundle", "pump@2", "--ward", "icu", "--wave", "rest", "--cap", "1", "--slots", "1", "--slack", "60s"];
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
