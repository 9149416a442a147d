//! What the listing of a stop order says to the rollout, and for how long.

use suture_core::approval::StopOrder;
use suture_core::phase::Phase;

use super::*;
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
