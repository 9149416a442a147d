//! A hospital's assessments and reviews run out, one after the other, on both databases.

use jiff::civil::Date;
use suture_core::clock::parse_day;
use suture_core::decision::{Choice, Decision};
use suture_core::digest::Digest;
use suture_core::event::Kind;
use suture_core::id::HdoId;
use suture_core::notice::Head;
use suture_core::risk::{Assessment, Exploitability, Group, Likelihood, Severity, Treatment};
use suture_core::version::Release;
use suture_core::word::{Word, after};

use super::*;
use crate::store::bundles::Bundle;
use crate::store::events::{Kept, Of};
use crate::store::suite::each;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    parse_day(text).unwrap()
}

fn hdo() -> HdoId {
    "riverside".parse().unwrap()
}

/// Adds an assessment of a ward's pumps that holds until a day.
async fn assess(store: &Store, ward: &str, assessed: &str, expires: &str) -> Head {
    let mut tx = store.begin().await.unwrap();
    let (number, previous) = after(tx.risk_head(&hdo()).await.unwrap());
    let assessment = Assessment {
        kind: "suture-risk".to_owned(),
        format: 1,
        hdo: hdo(),
        number,
        previous,
        group: Group {
            product: "pump".parse().unwrap(),
            releases: None,
            wards: [ward.parse().unwrap()].into(),
            labels: Default::default(),
            devices: Default::default(),
        },
        hazard: "a wrong dose over the network".to_owned(),
        likelihood: Likelihood::Remote,
        severity: Severity::Critical,
        exploitability: Exploitability::Medium,
        treatment: Treatment::Acceptance,
        reason: "there is no other pump".to_owned(),
        compensating: vec!["a network of their own".to_owned()],
        reviewer: "Dr. Lee".to_owned(),
        expires: day(expires),
        key: None,
        name: "kim".parse().unwrap(),
        assessed_at: at(assessed),
    };
    let word = Word::unsigned(&assessment).unwrap();
    tx.put_risk(&word, &"kim".parse().unwrap(), at(assessed)).await.unwrap();
    tx.commit().await.unwrap();
    word.head()
}

async fn told(store: &Store, kind: Kind) -> Vec<Kept> {
    let events = store.read().await.unwrap().events_after(Of::All, 0, None, 100).await.unwrap();
    events.into_iter().filter(|kept| kept.event.what.kind == kind).collect()
}

async fn subjects(store: &Store, kind: Kind) -> Vec<(String, u64)> {
    told(store, kind).await.into_iter().map(|kept| (kept.event.what.subject, kept.event.count)).collect()
}

#[tokio::test]
async fn an_assessment_that_runs_out_is_told_of_once_and_its_successor_when_that_runs_out_too() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&hdo(), "Riverside", at("2026-01-01T00:00:00Z")).await.unwrap();
        tx.commit().await.unwrap();
        assess(&store, "icu", "2026-01-02T00:00:00Z", "2026-12-31").await;
        assess(&store, "or", "2026-01-02T00:00:00Z", "2026-12-31").await;
        assess(&store, "or", "2026-07-01T00:00:00Z", "2027-06-30").await;

        look(&store, at("2026-12-31T23:59:59Z")).await.unwrap();
        assert_eq!(subjects(&store, Kind::AssessmentOverdue).await, [], "it holds on its last day");
        for now in ["2027-01-01T00:00:00Z", "2027-01-01T00:01:00Z", "2027-01-01T02:00:00Z", "2027-02-01T00:00:00Z"] {
            look(&store, at(now)).await.unwrap();
        }
        assert_eq!(
            subjects(&store, Kind::AssessmentOverdue).await,
            [("riverside/1".to_owned(), 1)],
            "once, and of none that was replaced"
        );
        let what = &told(&store, Kind::AssessmentOverdue).await[0].event.what;
        assert_eq!(what.hdo, Some(hdo()), "it is its hospital's to export");
        assert!(what.detail.contains("\"expired\":\"2026-12-31\""), "{}", what.detail);

        // Assessed anew, it is told of again once that has run out.
        assess(&store, "icu", "2027-02-02T00:00:00Z", "2027-04-30").await;
        look(&store, at("2027-04-30T00:00:00Z")).await.unwrap();
        assert_eq!(subjects(&store, Kind::AssessmentOverdue).await.len(), 1);
        for _ in 0..2 {
            look(&store, at("2027-07-01T00:00:00Z")).await.unwrap();
        }
        let want = ["riverside/1", "riverside/4", "riverside/3"].map(|subject| (subject.to_owned(), 1));
        assert_eq!(subjects(&store, Kind::AssessmentOverdue).await, want);
        let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        assert_eq!(rows.len(), 3, "and each is on record");
    })
    .await;
}

/// Puts a hospital and releases of pumps, none of them installed anywhere.
async fn publish(store: &Store, releases: &[u64]) {
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&hdo(), "Riverside", at("2026-01-01T00:00:00Z")).await.unwrap();
    for release in releases {
        let bundle = Bundle {
            product: "pump".parse().unwrap(),
            release: Release(*release),
            version: "1.0.0".parse().unwrap(),
            path: format!("bundles/pump/{release}/manifest.json"),
            manifest_sha256: Digest::of(&release.to_be_bytes()),
            status: "current".to_owned(),
            payload_length: 1,
            published: at("2026-01-01T00:00:00Z"),
        };
        tx.put_bundle(&bundle).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// Declines or defers a release until a day.
async fn decide(store: &Store, release: u64, choice: Choice, decided: &str, review: &str) {
    let mut tx = store.begin().await.unwrap();
    let number = tx.decision_count(&hdo()).await.unwrap() + 1;
    let decision = Decision {
        product: "pump".parse().unwrap(),
        release: Release(release),
        plan_sha256: None,
        choice,
        reason: "the ward is rebuilt".to_owned(),
        compensating: "a network of their own".to_owned(),
        review: day(review),
    };
    let kim = "kim".parse().unwrap();
    tx.put_decision(&hdo(), number, &decision, (&kim, None), at(decided)).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_decision_that_nobody_looks_at_again_is_told_of_once_and_of_none_that_was_answered() {
    each(async |store| {
        publish(&store, &[2, 3]).await;
        decide(&store, 2, Choice::Deferred, "2026-02-01T00:00:00Z", "2026-03-01").await;
        decide(&store, 3, Choice::Deferred, "2026-02-01T00:00:00Z", "2026-03-01").await;
        decide(&store, 3, Choice::Declined, "2026-02-15T00:00:00Z", "2026-05-31").await;

        look(&store, at("2026-03-01T23:59:59Z")).await.unwrap();
        assert_eq!(subjects(&store, Kind::ReviewOverdue).await, [], "its day is not over");
        for now in ["2026-03-02T00:00:00Z", "2026-03-02T00:01:00Z", "2026-03-02T02:00:00Z", "2026-04-01T00:00:00Z"] {
            look(&store, at(now)).await.unwrap();
        }
        let once = [("riverside/pump@2".to_owned(), 1)];
        assert_eq!(subjects(&store, Kind::ReviewOverdue).await, once, "once, and of none that was decided anew");
        let what = &told(&store, Kind::ReviewOverdue).await[0].event.what;
        assert_eq!(what.hdo, Some(hdo()), "it is its hospital's to export");
        assert!(what.detail.contains("\"review\":\"2026-03-01\""), "{}", what.detail);

        // Deferred anew, it is told of again once that is overdue too; and so is what was declined.
        decide(&store, 2, Choice::Deferred, "2026-04-02T00:00:00Z", "2026-04-30").await;
        for _ in 0..2 {
            look(&store, at("2026-06-01T00:00:00Z")).await.unwrap();
        }
        let want = ["pump@2", "pump@2", "pump@3"].map(|subject| (format!("riverside/{subject}"), 1));
        assert_eq!(subjects(&store, Kind::ReviewOverdue).await, want);
        let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        assert_eq!(rows.len(), 3, "and each is on record");
    })
    .await;
}
