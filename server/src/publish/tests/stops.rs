//! What the listing of a stop order says to the rollout, and for how long.

use suture_core::approval::{StopError, StopOrder};
use suture_core::phase::Phase;

use super::*;
use crate::stop::TakeError;
use crate::store::suite::stops::{approval, at, hdo, hospital, pump, rollout};
use crate::store::suite::told;

/// Found: the order was forgotten at the end of each publication, and was news again, of whoever published, at the next.
#[tokio::test]
async fn an_order_that_is_listed_past_the_end_of_its_approval_is_no_news() {
    each(async |store| {
        hospital(&store, 1).await.commit().await.unwrap();
        let riverside = Repository::Approvals(hdo());
        let keys = keys(&store, &riverside).await;
        let order = StopOrder::next(hdo(), approval(0), None, true, at(1)).unwrap().sign(&[&key(2)]).unwrap();
        let mut draft = TargetsDraft::first(now(), edit::APPROVALS_LIFETIME);
        draft.targets.insert(path::stop(&approval(0)), Target::of(&order, None));
        let offered = Offer {
            roots: vec![root(keys)],
            targets: Some(edit::sign_targets(&draft, &[&key(2)]).unwrap()),
            files: vec![(path::stop(&approval(0)), order)],
            ..Offer::default()
        };
        let done = offer_to(&store, &riverside, offered).await.unwrap();
        // It ends after a day.
        for hours in [1, 25, 26, 27] {
            let mut tx = store.begin().await.unwrap();
            let (root, targets, listed) = (&done.root, &done.targets, &done.listed);
            let (repository, actor, sent) = (&riverside, &actor(), std::collections::BTreeMap::new());
            let listing = Listing { repository, root, targets, listed, sent, actor, now: at(hours), delta_sources: 0 };
            listing.take_effect(&mut tx).await.unwrap();
            if hours == 1 {
                assert!(tx.is_stopped(&hdo(), &approval(0)).await.unwrap());
                told(&mut tx, &rollout(0), &pump(1), Phase::Stopped, at(2)).await;
            }
            tx.commit().await.unwrap();
        }
        let actions: Vec<_> = audited(&store).await.into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions.iter().filter(|a| a.starts_with("rollout.stop")).count(), 1, "{actions:?}");
        let member = store.read().await.unwrap().member(&hdo(), &approval(0), &pump(1)).await.unwrap().unwrap();
        assert_eq!(member.progress.phase, Phase::Stopped, "it has obeyed");
    })
    .await;
}

/// Found: an approver's lift of a high counter, by which no stop counted any more, also once the key had left the root.
#[tokio::test]
async fn a_lift_goes_with_the_keys_that_signed_it_and_one_far_ahead_is_refused() {
    each(async |store| {
        hospital(&store, 1).await.commit().await.unwrap();
        let riverside = Repository::Approvals(hdo());
        let online = keys(&store, &riverside).await;
        let done = offer_to(&store, &riverside, first(online)).await.unwrap();
        let order = |counter: u64, stopped: bool, by: u8| {
            let last = counter.checked_sub(1);
            StopOrder::next(hdo(), approval(0), last, stopped, at(0)).unwrap().sign(&[&key(by)]).unwrap()
        };
        let clock = u64::try_from(at(0).as_second()).unwrap();
        let take = async |envelope: &[u8]| {
            let mut tx = store.begin().await.unwrap();
            let taken = crate::stop::take(&mut tx, &hdo(), envelope, &actor(), at(0)).await;
            tx.commit().await.unwrap();
            taken
        };
        let ahead = take(&order(clock + 601, false, 2)).await.unwrap_err();
        assert!(matches!(ahead, TakeError::Refused(StopError::Ahead(_))), "{ahead}");
        assert!(take(&order(clock + 600, false, 2)).await.unwrap());
        let old = take(&order(clock, true, 2)).await.unwrap_err();
        assert!(matches!(old, TakeError::Old { .. }), "{old}");

        let mut draft = root_draft(online);
        (draft.version, draft.targets) = (2, RoleDraft::single(key(3).public()));
        let root = edit::sign_root(&draft, &[&key(1)]).unwrap();
        let targets = TargetsDraft::following(&done.targets, now(), edit::APPROVALS_LIFETIME);
        let targets = Some(edit::sign_targets(&targets, &[&key(3)]).unwrap());
        let offered = Offer { roots: vec![root], targets, files: vec![file(1)], ..Offer::default() };
        offer_to(&store, &riverside, offered).await.unwrap();
        assert!(take(&order(clock, true, 3)).await.unwrap(), "by the clock alone, and it counts");
        assert!(store.read().await.unwrap().is_stopped(&hdo(), &approval(0)).await.unwrap());
    })
    .await;
}
