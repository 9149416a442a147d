//! Servers that are stopped, killed or slow over their work.

use std::pin::pin;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use super::super::claim::Claim;
use super::super::keep;
use super::super::production::{JobError, Production};
use super::*;

#[tokio::test]
async fn a_server_that_was_killed_over_its_work_is_relieved_when_its_claim_has_run_out() {
    let scene = Scene::open().await;
    let old = noise(2, 300_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 3)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    // What it leaves: its claim, a try, a region without its object.
    let now = scene.app.now();
    let mut tx = scene.app.store().begin().await.unwrap();
    assert!(tx.claim("delta", "another", now, now + SignedDuration::from_secs(120)).await.unwrap());
    tx.try_delta(&pair, 1, now - SignedDuration::from_mins(10)).await.unwrap();
    let region = RegionObject { object: "deltas/abc".to_owned(), length: 7 };
    tx.put_delta_region(&pair, 0, &region).await.unwrap();
    tx.commit().await.unwrap();
    scene.later(119);
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Wanted, 1), "the claim is another's");
    scene.later(1);
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Made, 2));
    assert_eq!(Digest::of(&scene.apply(&pair, &old).await), pair.new);
    let mut tx = scene.app.store().begin().await.unwrap();
    let now = scene.app.now();
    assert!(tx.claim("delta", "a third", now, now).await.unwrap(), "it was given back");
}

#[tokio::test]
async fn a_shutdown_in_the_middle_is_no_try_and_gives_the_claim_back() {
    let scene = Scene::open().await;
    let old = noise(3, 6_000_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 5)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    let mut job = Job::new(scene.app.clone()).unwrap();
    // Scratch files come after the try is counted and remembered.
    let scratch = scene.app.settings().data_dir.join("scratch");
    let begun = async {
        while !scratch.exists() {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.delta(&pair).await.tries, 1);
    };
    tokio::select! {
        result = job.round() => panic!("it has ended: {result:?}"),
        () = begun => {}
    }
    job.stop().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Wanted, 0));
    let mut tx = scene.app.store().begin().await.unwrap();
    let now = scene.app.now();
    assert!(tx.claim("delta", "another", now, now).await.unwrap());
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_given_up_after_three_tries() {
    let scene = Scene::open().await;
    let old = noise(4, 200_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 5)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    std::fs::remove_dir_all(scene.dir.path().join("data/objects/packs")).unwrap();
    scene.want(&pair).await;
    for tries in 1..3 {
        scene.round().await;
        assert_eq!(scene.state(&pair).await, (DeltaState::Wanted, tries));
        scene.later(599);
        scene.round().await;
        assert_eq!(scene.state(&pair).await, (DeltaState::Wanted, tries), "not before ten minutes have passed");
        scene.later(1);
    }
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Failed, 3));
}

#[tokio::test]
async fn a_shutdown_at_any_moment_leaves_a_record_that_can_be_read() {
    let scene = Scene::open().await;
    for moment in 0..10_000_u64 {
        // Neither payload is listed: it is soon settled.
        let pair = Pair { old: Digest::of(&moment.to_le_bytes()), new: Digest::of(b"new") };
        scene.want(&pair).await;
        let mut job = Job::new(scene.app.clone()).unwrap();
        let ended = {
            let (mut round, mut left) = (pin!(job.round()), moment);
            std::future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                round.as_mut().poll(context).map(Some)
            })
            .await
        };
        job.stop().await;
        let left = scene.app.store().deltas_to(&pair.new).await.unwrap();
        if let Some(result) = ended {
            result.unwrap();
            assert!(moment > 10 && left.iter().all(|delta| delta.tries < 2), "{moment} moments");
            return;
        }
        // A try whose commit was cut off may count, and no more than that.
        assert!(left.iter().all(|delta| delta.tries < 2), "{left:?} at moment {moment}");
        // The next moment is of a round that has this one to do.
        scene.later(600);
        scene.round().await;
        assert_eq!(scene.app.store().deltas_to(&pair.new).await.unwrap(), []);
    }
    panic!("it does not end");
}

#[tokio::test]
async fn a_delta_that_ends_the_server_each_time_is_given_up() {
    let scene = Scene::open().await;
    let old = noise(9, 200_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 5)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    // What a server leaves that is killed: a try that was begun, and some regions.
    let region = RegionObject { object: "deltas/abc".to_owned(), length: 4 };
    for _ in 0..3 {
        let mut tx = scene.app.store().begin().await.unwrap();
        tx.try_delta(&pair, 1, scene.app.now()).await.unwrap();
        tx.put_delta_region(&pair, 0, &region).await.unwrap();
        tx.commit().await.unwrap();
    }
    scene.app.blobs().put(&region.object, Bytes::from_static(b"half")).await.unwrap();
    scene.later(600);
    scene.round().await;
    assert_eq!(scene.state(&pair).await, (DeltaState::Failed, 3));
    assert_eq!((scene.objects(), scene.app.store().delta_regions(&pair).await.unwrap()), (0, Vec::new()));
}

#[tokio::test]
async fn what_came_to_nothing_is_deleted_by_whoever_comes_after_a_server_that_was_killed_before_it() {
    let scene = Scene::open().await;
    let region = |name: &str| RegionObject { object: format!("deltas/{name}"), length: 4 };
    let ends = [(DeltaState::Useless, "useless"), (DeltaState::Failed, "failed"), (DeltaState::Dropped, "dropped")];
    for (state, name) in ends {
        let pair = Pair { old: nothing(), new: Digest::of(name.as_bytes()) };
        scene.want(&pair).await;
        let mut tx = scene.app.store().begin().await.unwrap();
        tx.put_delta_region(&pair, 0, &region(name)).await.unwrap();
        tx.end_delta(&pair, state, "", scene.app.now()).await.unwrap();
        tx.commit().await.unwrap();
        scene.app.blobs().put(&region(name).object, Bytes::from_static(b"half")).await.unwrap();
    }
    assert_eq!(scene.objects(), 3);
    scene.round().await;
    assert_eq!(scene.objects(), 0);
    for (state, name) in ends {
        let pair = Pair { old: nothing(), new: Digest::of(name.as_bytes()) };
        let left = scene.app.store().deltas_to(&pair.new).await.unwrap();
        assert_eq!(left.first().map(|delta| delta.state), Some(state).filter(|s| *s != DeltaState::Dropped));
        assert_eq!(scene.app.store().delta_regions(&pair).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_server_that_has_lost_its_claim_changes_nothing() {
    let scene = Scene::open().await;
    let (slow, quick) = (Claim::new(scene.app.clone()).unwrap(), Claim::new(scene.app.clone()).unwrap());
    assert!(slow.take().await.unwrap());
    assert!(!quick.take().await.unwrap());
    let pair = Pair { old: nothing(), new: Digest::of(b"new") };
    scene.want(&pair).await;
    slow.begin().await.unwrap().commit().await.unwrap();
    scene.later(120);
    assert!(quick.take().await.unwrap());
    assert!(matches!(slow.begin().await, Err(JobError::Lost)));
    quick.begin().await.unwrap().commit().await.unwrap();
    // Neither a region of it nor what came of it is recorded.
    let old = noise(10, 300_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 3)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    let scratch = scene.dir.path().join("scratch");
    let made = Production { app: &scene.app, claim: &slow, scratch: &scratch, pair }.run().await;
    assert!(matches!(made, Err(JobError::Lost)));
    assert_eq!((scene.objects(), scene.app.store().delta_regions(&pair).await.unwrap()), (0, Vec::new()));
    assert_eq!(scene.state(&pair).await, (DeltaState::Wanted, 0));
}

/// Where deltas are switched off, those that were made before are deleted, and what was wanted is not.
#[tokio::test]
async fn a_server_that_makes_none_deletes_what_is_there() {
    let scene = Scene::open().await;
    let old = noise(12, 300_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 3)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    scene.round().await;
    scene.app.blobs().put("deltas/0000", Bytes::from_static(b"left")).await.unwrap();
    scene.want(&Pair { old: nothing(), new: pair.new }).await;
    let store = scene.app.store();
    assert!(scene.objects() == 2 && store.deltas_length().await.unwrap() > 0);

    let mut settings = scene.app.settings().clone();
    settings.delta_sources = 0;
    let off = App::open(settings, scene.clock.clone()).await.unwrap();
    // It ends by itself.
    keep(off.clone(), CancellationToken::new()).await;
    assert_eq!((scene.objects(), store.deltas_to(&pair.new).await.unwrap()), (0, Vec::new()));
    assert_eq!((store.deltas_length().await.unwrap(), store.deltas_wanted().await.unwrap()), (0, 0));
    let asker = scene.pump();
    let offer = off.deltas().offer(&pair.new, &[pair.old], asker, scene.app.now()).await.unwrap();
    assert_eq!(offer, Offer::default());
    // Nor is the claim kept from a server that makes some.
    let mut tx = store.begin().await.unwrap();
    let now = scene.app.now();
    assert!(tx.claim("delta", "another", now, now).await.unwrap());
}
