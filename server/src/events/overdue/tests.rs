//! A hospital's assessments run out, one after the other, on both databases.

use jiff::civil::Date;
use suture_core::clock::parse_day;
use suture_core::event::Kind;
use suture_core::id::HdoId;
use suture_core::notice::Head;
use suture_core::risk::{Assessment, Exploitability, Group, Likelihood, Severity, Treatment};
use suture_core::word::{Word, after};

use super::*;
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

async fn told(store: &Store) -> Vec<Kept> {
    let events = store.read().await.unwrap().events_after(Of::All, 0, None, 100).await.unwrap();
    events.into_iter().filter(|kept| kept.event.what.kind == Kind::AssessmentOverdue).collect()
}

async fn subjects(store: &Store) -> Vec<(String, u64)> {
    told(store).await.into_iter().map(|kept| (kept.event.what.subject, kept.event.count)).collect()
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
        assert_eq!(subjects(&store).await, [], "it holds on its last day");
        for now in ["2027-01-01T00:00:00Z", "2027-01-01T00:01:00Z", "2027-01-01T02:00:00Z", "2027-02-01T00:00:00Z"] {
            look(&store, at(now)).await.unwrap();
        }
        assert_eq!(subjects(&store).await, [("riverside/1".to_owned(), 1)], "once, and of none that was replaced");
        let what = &told(&store).await[0].event.what;
        assert_eq!(what.hdo, Some(hdo()), "it is its hospital's to export");
        assert!(what.detail.contains("\"expired\":\"2026-12-31\""), "{}", what.detail);

        // Assessed anew, it is told of again once that has run out.
        assess(&store, "icu", "2027-02-02T00:00:00Z", "2027-04-30").await;
        look(&store, at("2027-04-30T00:00:00Z")).await.unwrap();
        assert_eq!(subjects(&store).await.len(), 1);
        for _ in 0..2 {
            look(&store, at("2027-07-01T00:00:00Z")).await.unwrap();
        }
        let want = ["riverside/1", "riverside/4", "riverside/3"].map(|subject| (subject.to_owned(), 1));
        assert_eq!(subjects(&store).await, want);
        let rows = store.read().await.unwrap().audit_after(0, 100).await.unwrap();
        assert_eq!(rows.len(), 3, "and each is on record");
    })
    .await;
}
