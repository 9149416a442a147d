//! Devices that ask for too much, and a store that lost something.

use suture_core::limits::MAX_DELTAS_PER_DEVICE;

use super::*;

#[tokio::test]
async fn one_device_has_few_wait_and_another_is_not_kept_from_asking() {
    let scene = Scene::open().await;
    let new = scene.list(9, &noise(9, 1_000)).await.payloads[0].sha256;
    let mut held = Vec::new();
    for release in 1..=MAX_DELTAS_PER_DEVICE + 1 {
        held.push(scene.list(release, &noise(release, 1_000)).await.payloads[0].sha256);
    }
    let (last, first) = held.split_last().unwrap();
    for old in first {
        assert!(scene.offer(&new, &[*old]).await.ask_again_secs.is_some());
    }
    assert_eq!(scene.offer(&new, &[*last]).await, Offer::default());
    let other = Asker { name: "hdo/mercy/device/pump-2", ..scene.pump() };
    let offer = scene.app.deltas().offer(&new, &[*last], other, scene.app.now()).await.unwrap();
    assert!(offer.ask_again_secs.is_some());
}

#[tokio::test]
async fn a_delta_that_is_larger_than_all_may_be_is_made_again_only_on_another_day() {
    let scene = Scene::with(|settings| settings.delta_store_bytes = 4_000).await;
    let old = noise(8, 150_000);
    let first = scene.list(1, &old).await;
    let second = scene.list(2, &[old, noise(2, 5_000)].concat()).await;
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    scene.round().await;
    assert_eq!((scene.state(&pair).await, scene.objects()), ((DeltaState::Crowded, 1), 0));
    let offer = scene.offer(&pair.new, &[pair.old]).await;
    assert_eq!(offer, Offer::default());
    scene.later(86_400);
    let offer = scene.offer(&pair.new, &[pair.old]).await;
    assert!(offer.ask_again_secs.is_some() && scene.state(&pair).await == (DeltaState::Wanted, 0));
}

#[tokio::test]
async fn a_delta_whose_object_is_gone_or_short_is_offered_no_more_and_made_anew() {
    let scene = Scene::open().await;
    let old = noise(11, 300_000);
    let (first, second) = (scene.list(1, &old).await, scene.list(2, &changed(&old, 3)).await);
    let pair = Pair { old: first.payloads[0].sha256, new: second.payloads[0].sha256 };
    scene.want(&pair).await;
    for short in [false, true] {
        scene.round().await;
        assert_eq!(scene.state(&pair).await, (DeltaState::Made, 1));
        let object = scene.app.store().delta_regions(&pair).await.unwrap().remove(0).object;
        scene.app.blobs().delete(&object).await.unwrap();
        if short {
            scene.app.blobs().put(&object, Bytes::from_static(b"short")).await.unwrap();
        }
        let (head, _) = scene.app.store().delta_head(&pair).await.unwrap().unwrap();
        let read = scene.app.deltas().read(&pair, &Digest::of(&head), &[(0, 10)], scene.app.now()).await.unwrap();
        assert!(matches!(read.try_collect::<Vec<_>>().await, Err(DeltaError::Gone)));
        let offer = scene.offer(&pair.new, &[pair.old]).await;
        assert!(offer.delta.is_none() && offer.ask_again_secs.is_some());
    }
    scene.round().await;
    assert_eq!(Digest::of(&scene.apply(&pair, &old).await), pair.new);
}
