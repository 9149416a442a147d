//! A hospital's word that a device was checked: what is taken of it, and for how long it is handed out.

use suture_core::approval::{Clearance, SignedDocument as _};
use suture_core::digest::Digest;
use suture_core::phase::Reason;
use suture_core::principal::Principal;
use suture_core::report::Report;
use suture_core::sign::{LocalKey, Signer as _};
use suture_core::trust::Role;
use suture_core::trust::edit::{RoleDraft, RootDraft, sign_root};
use zeroize::Zeroizing;

use super::fixture::{Ward, at, pump};
use super::growth::enroll;
use super::*;
use crate::clearance::{self, ClearError};
use crate::report::submit;
use crate::store::Store;

fn key(n: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([n; 32]))
}

/// The hospital's root in a version, by which these keys approve.
async fn root(store: &Store, ward: &Ward, version: u64, approvers: &[u8]) {
    let single = |n| RoleDraft::single(key(n).public());
    let draft = RootDraft {
        version,
        expires: at(1_000_000),
        root: single(10),
        targets: RoleDraft { keys: approvers.iter().map(|n| key(*n).public()).collect(), threshold: 1 },
        snapshot: single(11),
        timestamp: single(12),
    };
    let root = sign_root(&draft, &[&key(10)]).unwrap();
    let mut tx = store.begin().await.unwrap();
    let repository = format!("approvals/{}", ward.hdo());
    tx.put_repo_file(&repository, Role::Root, version, &root, at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

/// A device that says, at that second, that it waits for a check.
async fn waits(store: &Store, ward: &Ward, number: u64, secs: i64) -> Report {
    let reason = Some(Reason::new(Code::ReturnToService, "check it"));
    let report = Report { reason, ..ward.report(&pump(0), Phase::Held, 2, number, secs) };
    submit(store, ward.hdo(), &pump(0), &[report.sign(&key(7)).unwrap()], at(secs)).await.unwrap();
    report
}

/// Approver 1's word on the check that a report tells of.
fn word(report: &Report) -> Clearance {
    Clearance {
        kind: Clearance::TYPE.to_owned(),
        format: 1,
        hdo: report.hdo.clone(),
        device: report.device.clone(),
        approval: report.approval.clone().unwrap(),
        manifest: report.manifest.unwrap(),
        reported_at: report.at,
        unfit: false,
        by: "kim".to_owned(),
        reason: "flow measured".to_owned(),
        signed_at: at(100),
    }
}

async fn take(store: &Store, ward: &Ward, word: &Clearance) -> Result<(), ClearError> {
    let mut tx = store.begin().await.unwrap();
    let signed = word.sign(&[&key(1)]).unwrap();
    clearance::take(&mut tx, ward.hdo(), &signed, &Principal::Server, at(100)).await?;
    tx.commit().await.unwrap();
    Ok(())
}

/// Attack: a thief of an approver's key, whose release waits for a device that is switched off, while the hospital takes the key
/// out of its root.
#[tokio::test]
async fn a_release_is_handed_out_for_as_long_as_who_signed_it_is_an_approver() {
    each(async |store| {
        let ward = Ward::begin(&store, "one", &[1]).await;
        enroll(&store, ward.hdo(), &key(7), 1).await;
        root(&store, &ward, 1, &[1, 2]).await;
        let report = waits(&store, &ward, 1, 50).await;
        take(&store, &ward, &word(&report)).await.unwrap();
        let handed = async || {
            let mut tx = store.read().await.unwrap();
            clearance::awaited(&mut tx, ward.hdo(), &pump(0)).await.unwrap().is_some()
        };
        assert!(handed().await);
        root(&store, &ward, 2, &[2]).await;
        assert!(!handed().await, "nobody has signed it any more");
        root(&store, &ward, 3, &[1, 2]).await;
        assert!(handed().await);
    })
    .await;
}

/// Attack: a release that is signed before the check, or was of an earlier one.
#[tokio::test]
async fn a_release_is_taken_of_the_check_that_the_device_tells_of_and_of_no_other() {
    each(async |store| {
        let ward = Ward::begin(&store, "one", &[1]).await;
        enroll(&store, ward.hdo(), &key(7), 1).await;
        root(&store, &ward, 1, &[1]).await;
        let report = waits(&store, &ward, 1, 50).await;
        let right = word(&report);
        let others = [
            Clearance { reported_at: at(49), ..right.clone() },
            Clearance { reported_at: at(5_000), ..right.clone() },
            Clearance { manifest: Digest::of(b"another"), ..right.clone() },
        ];
        for other in &others {
            let refused = take(&store, &ward, other).await;
            assert!(matches!(refused, Err(ClearError::OtherCheck(_))), "{refused:?}");
        }
        // While it goes from hand to hand, the device may say the same again.
        waits(&store, &ward, 2, 60).await;
        take(&store, &ward, &right).await.unwrap();
    })
    .await;
}
