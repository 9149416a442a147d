//! Places in a ward for the devices of a rollout.

use suture_core::lease::{Answer, Stage};
use suture_core::sign::LocalKey;
use zeroize::Zeroizing;

use super::fixture::{Ward, at, pump};
use super::growth::enroll;
use super::*;
use crate::lease;

/// Attack: a call that a device's thief began before its revocation, and ends after it, so that its ward waits for nobody.
#[tokio::test]
async fn a_revoked_device_takes_no_place_of_its_ward() {
    each(async |store| {
        let ward = Ward::begin(&store, "one", &[1]).await;
        enroll(&store, ward.hdo(), &LocalKey::from_seed(&Zeroizing::new([7; 32])), 1).await;
        let take = async || {
            let mut tx = store.begin().await.unwrap();
            lease::take(&mut tx, ward.hdo(), &pump(0), ward.id(), Stage::Wanted, at(50)).await
        };
        let judged = take().await;
        assert!(matches!(judged, Err(RolloutError::NoApproval(_))), "by its approval, which is not here: {judged:?}");
        let mut tx = store.begin().await.unwrap();
        assert!(tx.revoke_device(ward.hdo(), &pump(0), at(51)).await.unwrap());
        tx.commit().await.unwrap();
        let refused = take().await;
        assert!(matches!(&refused, Ok(Answer::Refused { reason, .. }) if reason.code == Code::Pending), "{refused:?}");
    })
    .await;
}
