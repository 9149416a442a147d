//! Decisions, suggestions, signers' statements and the counts of a bundle, on both databases.

use jiff::SignedDuration;
use suture_core::approval::{Meaning, SignedDocument as _, Statement};
use suture_core::decision::{Choice, Decision};
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::report::Signed;
use suture_core::sign::{LocalKey, Signature, Signer as _};
use suture_core::version::Release;
use zeroize::Zeroizing;

use super::super::Tx;
use super::super::adoption::{Adoption, Asked};
use super::super::bundles::Bundle;
use super::super::proposals::Proposal;
use super::each;
use super::stops::{approval, at, hdo, hospital, pump};

/// The bundle that the rollouts of [`hospital`] install, and one that none does.
async fn publish(tx: &mut Tx) {
    for release in [2, 3] {
        let bundle = Bundle {
            product: "pump".parse().unwrap(),
            release: Release(release),
            version: format!("1.{}.0", release - 1).parse().unwrap(),
            path: format!("bundles/pump/{release}/manifest.json"),
            manifest_sha256: Digest::of(if release == 2 { b"m" } else { b"n" }),
            status: "current".to_owned(),
            payload_length: 1,
            published: at(0),
        };
        tx.put_bundle(&bundle).await.unwrap();
    }
}

fn decision(release: u64, choice: Choice) -> Decision {
    Decision {
        product: "pump".parse().unwrap(),
        release: Release(release),
        plan_sha256: (release == 3).then(|| Digest::of(b"plan")),
        choice,
        reason: "the ward is rebuilt".to_owned(),
        compensating: "a network of their own".to_owned(),
        review: "2027-01-15".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_decision_holds_until_a_later_one_or_a_rollout_answers_it() {
    each(async |store| {
        let mut tx = hospital(&store, 0).await;
        publish(&mut tx).await;
        let kim = "kim".parse().unwrap();
        for (n, (release, choice)) in
            [(2, Choice::Deferred), (3, Choice::Deferred), (3, Choice::Declined)].into_iter().enumerate()
        {
            assert_eq!(tx.decision_count(&hdo()).await.unwrap(), n as u64);
            tx.put_decision(&hdo(), n as u64 + 1, &decision(release, choice), (&kim, None), at(1)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let told = async |all: bool, before: u64| {
            let rows = store.decisions(&hdo(), all, before, 10).await.unwrap();
            rows.into_iter().map(|d| (d.number, d.later, d.rollout)).collect::<Vec<_>>()
        };
        assert_eq!(told(false, 99).await, [(3, None, None), (1, None, None)]);
        assert_eq!(told(true, 3).await, [(2, Some(3), None), (1, None, None)]);
        let third = store.decisions(&hdo(), false, 99, 1).await.unwrap().remove(0);
        assert_eq!((third.decision, third.manifest_sha256), (decision(3, Choice::Declined), Digest::of(b"n")));
        // Rollouts of release 2 from the first hour on: the one that was approved after the decision answers it.
        assert!(store.decisions(&"lakeside".parse().unwrap(), true, 99, 10).await.unwrap().is_empty());
        let mut tx = store.begin().await.unwrap();
        super::place(&mut tx, &super::stops::rollout(1), &[(pump(1), 0)], at(1)).await;
        tx.commit().await.unwrap();
        assert_eq!(told(false, 99).await, [(3, None, None)]);
        assert_eq!(told(true, 2).await, [(1, None, Some(approval(1).to_string()))]);
    })
    .await;
}

#[tokio::test]
async fn of_each_bundle_a_hospital_has_the_latest_suggestion_until_it_expires() {
    each(async |store| {
        let mut tx = hospital(&store, 0).await;
        publish(&mut tx).await;
        let lakeside: HdoId = "lakeside".parse().unwrap();
        tx.insert_hdo(&lakeside, "Lakeside", at(0)).await.unwrap();
        let proposal = |hdo: &HdoId, id: &str, release, created| Proposal {
            id: id.to_owned(),
            hdo: hdo.clone(),
            product: "pump".parse().unwrap(),
            release: Release(release),
            suggestion: b"{}".to_vec(),
            note: "a louder alarm".to_owned(),
            by: "ada".parse().unwrap(),
            created: at(created),
            expires: at(created + 10),
        };
        for p in [
            proposal(&hdo(), "a", 2, 1),
            proposal(&lakeside, "a", 2, 1),
            proposal(&hdo(), "b", 3, 2),
            proposal(&hdo(), "c", 2, 3),
        ] {
            tx.put_proposal(&p).await.unwrap();
        }
        assert_eq!(tx.other_proposals(&hdo(), &"pump".parse().unwrap(), Release(2)).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let ids = async |hdo: Option<&HdoId>, now| {
            let found = store.proposals(hdo, at(now), None, 10).await.unwrap();
            found.into_iter().map(|(p, version)| format!("{}:{}:{version}", p.hdo, p.id)).collect::<Vec<_>>()
        };
        assert_eq!(ids(Some(&hdo()), 4).await, ["riverside:c:1.1.0", "riverside:b:1.2.0"]);
        assert_eq!(ids(None, 4).await.len(), 3);
        assert_eq!(ids(Some(&hdo()), 12).await, ["riverside:c:1.1.0"], "it has expired");
        let mut tx = store.begin().await.unwrap();
        tx.drop_proposals(at(12)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ids(None, 4).await, ["riverside:c:1.1.0"]);
    })
    .await;
}

#[tokio::test]
async fn a_bundle_is_counted_device_by_device_and_no_device_is_named() {
    each(async |store| {
        let mut tx = hospital(&store, 2).await;
        publish(&mut tx).await;
        let asked = |manifest: &[u8]| Asked {
            product: "pump".parse().unwrap(),
            release: Release(2),
            manifest_sha256: Digest::of(manifest),
        };
        let counts = async |tx: &mut Tx, hours| {
            let Adoption { devices, confirmed, under_way, late, failed, open_rollouts, .. } =
                tx.adoption(&hdo(), &asked(b"m"), at(hours)).await.unwrap();
            (devices, confirmed, under_way, late, failed, open_rollouts)
        };
        // Both rollouts name the first pump; the second is in neither.
        assert_eq!(counts(&mut tx, 2).await, (2, 0, 1, 0, 0, 2));
        assert_eq!(counts(&mut tx, 26).await, (2, 0, 0, 1, 0, 2), "the later one has ended as well");
        let report = Signed { payload: b"r".to_vec(), signature: Signature([0; 64]) };
        tx.set_proven(&hdo(), &pump(2), 1, &report, Some(&Digest::of(b"m"))).await.unwrap();
        assert_eq!(counts(&mut tx, 2).await, (2, 1, 1, 0, 0, 2), "whoever brought it there");
        tx.set_proven(&hdo(), &pump(2), 2, &report, None).await.unwrap();
        assert_eq!(counts(&mut tx, 2).await, (2, 0, 1, 0, 0, 2), "its reports do not count");
        tx.keep_check_in(&hdo(), &pump(2), b"said", None, at(3)).await.unwrap();
        let kim = "kim".parse().unwrap();
        tx.put_decision(&hdo(), 1, &decision(2, Choice::Declined), (&kim, None), at(4)).await.unwrap();
        let adoption = tx.adoption(&hdo(), &asked(b"m"), at(5)).await.unwrap();
        assert_eq!(adoption.decided, Some((Choice::Declined, "2027-01-15".to_owned())));
        assert_eq!(adoption.last_heard, Some(at(3)));
        tx.revoke_device(&hdo(), &pump(2), at(6)).await.unwrap();
        assert_eq!(counts(&mut tx, 6).await.0, 1);
        tx.commit().await.unwrap();
        let product = "pump".parse().unwrap();
        let found = store.hospitals_with(&product, None, 10).await.unwrap();
        assert_eq!(found, [(hdo(), "Riverside".to_owned())]);
        assert!(store.hospitals_with(&product, Some(&hdo()), 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn statements_are_kept_by_approval_and_key() {
    each(async |store| {
        let mut tx = hospital(&store, 2).await;
        for (n, seed) in [(0, 2_u8), (0, 1), (1, 1)] {
            let key = LocalKey::from_seed(&Zeroizing::new([seed; 32]));
            let statement = Statement {
                kind: Statement::TYPE.to_owned(),
                format: 1,
                hdo: hdo(),
                approval: approval(n),
                head_sha256: Digest::of(b"a"),
                key: key.public(),
                name: "kim".parse().unwrap(),
                role: "approver".to_owned(),
                meaning: Meaning::Approved,
                reason: "tested".to_owned(),
                signed_at: at(0) + SignedDuration::from_secs(i64::from(seed)),
            };
            tx.put_statement(&hdo(), &statement.sign(&key).unwrap(), at(0)).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(store.statements(&hdo(), &approval(0)).await.unwrap().len(), 2);
        assert_eq!(store.statements(&hdo(), &approval(1)).await.unwrap().len(), 1);
        assert!(store.statements(&"lakeside".parse().unwrap(), &approval(0)).await.unwrap().is_empty());
    })
    .await;
}
