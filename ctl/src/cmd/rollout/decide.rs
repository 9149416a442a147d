//! `rollout approve --decline|--defer` and `rollout decisions`: that a bundle is not installed, or not yet, on record.
//!
//! A decision is the server's record and an entry of the audit trail. It is not signed and is no authority: what installs
//! nothing is that nobody approves.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::decision::{Choice, Decision};
use suture_core::digest::Digest;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::manifest::manifest_path;
use suture_core::plan::Plan;
use suture_proto::{parse, parse_digest, v1};

use super::plan::BundleName;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::Desk;
use crate::print::Table;

/// What is said where something is not approved.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Instead {
    /// Do not approve it, and say so on record
    #[arg(long, group = "decision", requires_all = ["compensating", "review"])]
    decline: bool,
    /// Do not approve it yet, and say so on record
    #[arg(long, group = "decision", requires_all = ["compensating", "review"])]
    defer: bool,
    /// With --decline or --defer: what protects the devices meanwhile
    #[arg(long, value_name = "TEXT", requires = "decision")]
    compensating: Option<String>,
    /// With --decline or --defer: when it is looked at again, as in 2027-01-15
    #[arg(long, value_name = "DATE", value_parser = date, requires = "decision")]
    review: Option<Date>,
}

/// What a person has decided instead of approving.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    choice: Choice,
    compensating: String,
    review: Date,
}

fn date(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{text:?} is not a date like 2027-01-15"))
}

impl Instead {
    /// What was decided, if something was.
    pub(super) fn decided(self) -> Option<Decided> {
        let Self { decline, defer, compensating, review } = self;
        let choice = match (decline, defer) {
            (true, _) => Choice::Declined,
            (_, true) => Choice::Deferred,
            _ => return None,
        };
        Some(Decided { choice, compensating: compensating?, review: review? })
    }
}

/// What a decision is about: a bundle, or a plan for one.
pub(super) enum About<'a> {
    Bundle(BundleName),
    Plan(&'a Plan, Digest),
}

/// Records it.
pub(super) async fn run(
    context: &mut Context<'_>,
    desk: &mut Desk,
    about: About<'_>,
    decided: Decided,
    reason: String,
) -> Outcome {
    let Decided { choice, compensating, review } = decided;
    let (bundle, plan_sha256) = match about {
        About::Bundle(bundle) => (bundle, None),
        About::Plan(plan, digest) => {
            let step = &plan.bundle.step;
            (BundleName { product: step.product.clone(), release: step.release }, Some(digest))
        }
    };
    let catalog = desk.catalog(context).await?;
    let path = manifest_path(&bundle.product, bundle.release);
    let Some(manifest_sha256) = catalog.target(&path).map(|target| target.sha256) else {
        return Err(catalog.lacks(&format!("{} release {}", bundle.product, bundle.release)));
    };
    let BundleName { product, release } = bundle;
    let decision = Decision { product, release, plan_sha256, choice, reason, compensating, review };
    decision.check(context.now()).map_err(|e| Failure::new(e.to_string()))?;
    let request = v1::RecordDecisionRequest {
        product: decision.product.to_string(),
        release: decision.release.0,
        manifest_sha256: manifest_sha256.as_bytes().to_vec().into(),
        plan_sha256: plan_sha256.map(|s| s.as_bytes().to_vec()).unwrap_or_default().into(),
        choice: choice.as_str().to_owned(),
        reason: decision.reason.clone(),
        compensating: decision.compensating.clone(),
        review: review.to_string(),
    };
    let number = desk.client.record_decision(request).await?.number;
    let result = serde_json::json!({ "number": number, "decision": decision, "approved": false });
    context.print.result(&result, |_| {
        format!(
            "{}@{} is {choice}, on record as decision {number}; nothing was signed, and nothing is installed by it\nlooked at \
             again on {review}: suturectl rollout decisions",
            decision.product, decision.release
        )
    })
}

/// A decision as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    version: String,
    manifest_sha256: Digest,
    #[serde(flatten)]
    pub(crate) decision: Decision,
    by: String,
    at: Option<String>,
    /// By how many days its review is overdue; null where it is not, or where something has answered it.
    pub(crate) overdue_days: Option<i64>,
    /// A later decision on the same bundle.
    later: Option<u64>,
    /// A rollout of the bundle that was approved since.
    rollout: Option<String>,
}

fn listed(message: v1::Decision, now: Timestamp) -> Outcome<Listed> {
    let v1::Decision {
        number,
        product,
        version,
        release,
        manifest_sha256,
        plan_sha256,
        choice,
        reason,
        compensating,
        review,
        decided_by,
        decided_ms,
        later,
        rollout,
    } = message;
    let decision = Decision {
        product: parse("product", &product)?,
        release: suture_core::version::Release(release),
        plan_sha256: (!plan_sha256.is_empty()).then(|| parse_digest("plan_sha256", &plan_sha256)).transpose()?,
        choice: parse("choice", &choice)?,
        reason,
        compensating,
        review: parse("review", &review)?,
    };
    let (later, rollout) = ((later > 0).then_some(later), Some(rollout).filter(|r| !r.is_empty()));
    let open = later.is_none() && rollout.is_none();
    Ok(Listed {
        number,
        version,
        manifest_sha256: parse_digest("manifest_sha256", &manifest_sha256)?,
        overdue_days: decision.overdue_days(now).filter(|_| open),
        decision,
        by: decided_by,
        at: Timestamp::from_millisecond(decided_ms).ok().map(format_utc),
        later,
        rollout,
    })
}

/// The hospital's decisions, newest first, page by page.
pub(crate) async fn fetch(client: &mut Client, all: bool, now: Timestamp) -> Outcome<Vec<Listed>> {
    let mut rows: Vec<Listed> = Vec::new();
    loop {
        let before = rows.last().map_or(0, |row| row.number);
        let request = v1::ListDecisionsRequest { all, before, limit: MAX_ROWS_PER_CALL };
        let v1::ListDecisionsResponse { decisions, more } = client.list_decisions(request).await?;
        for decision in decisions {
            let row = listed(decision, now)?;
            if rows.last().is_some_and(|last| last.number <= row.number) {
                return Err(Failure::untrusted("the server's list of decisions does not come to an end"));
            }
            rows.push(row);
        }
        if !more || rows.last().map_or(0, |row| row.number) == before {
            return Ok(rows);
        }
    }
}

/// `rollout decisions`.
pub(super) async fn list(context: &mut Context<'_>, all: bool) -> Outcome {
    context.home.server()?.hdo()?;
    let rows = fetch(&mut context.connect().await?, all, context.now()).await?;
    for row in rows.iter().filter(|row| row.overdue_days.is_some()) {
        context.print.note(&overdue(row));
    }
    context.print.result(&rows, |rows| table(rows))
}

/// That somebody should look at it again.
pub(crate) fn overdue(row: &Listed) -> String {
    let Decision { product, release, choice, review, .. } = &row.decision;
    let days = row.overdue_days.unwrap_or(0);
    format!(
        "overdue: {product}@{release} was {choice} until a review on {review}, {days} days ago; approve it, or decide again: \
         suturectl rollout approve {product}@{release} --defer|--decline"
    )
}

fn table(rows: &[Listed]) -> String {
    let mut table = Table::new(["no", "bundle", "decision", "review", "why", "meanwhile", "by", "at", "answered by"]);
    for row in rows {
        let d = &row.decision;
        let review = match row.overdue_days {
            Some(days) => format!("{} OVERDUE by {days} days", d.review),
            None => d.review.to_string(),
        };
        let answered = match (&row.rollout, row.later) {
            (Some(rollout), _) => format!("rollout {rollout}"),
            (None, Some(later)) => format!("decision {later}"),
            (None, None) => String::new(),
        };
        let plan = d.plan_sha256.map_or_else(String::new, |plan| format!(" (plan {})", plan.short()));
        table.row([
            row.number.to_string(),
            format!("{}@{} {}{plan}", d.product, d.release, row.version),
            d.choice.to_string(),
            review,
            d.reason.clone(),
            d.compensating.clone(),
            row.by.clone(),
            row.at.clone().unwrap_or_default(),
            answered,
        ]);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::at;

    fn row(review: &str, later: u64, rollout: &str) -> Listed {
        let message = v1::Decision {
            number: 3,
            product: "pump".to_owned(),
            version: "2.0.0".to_owned(),
            release: 2,
            manifest_sha256: vec![7; 32].into(),
            choice: "deferred".to_owned(),
            reason: "the ward is rebuilt".to_owned(),
            compensating: "a network of their own".to_owned(),
            review: review.to_owned(),
            decided_by: "kim".to_owned(),
            later,
            rollout: rollout.to_owned(),
            ..Default::default()
        };
        listed(message, at("2027-02-01T08:00:00Z")).unwrap()
    }

    #[test]
    fn a_review_that_is_overdue_is_said_until_something_answers_the_decision() {
        assert_eq!(row("2027-03-01", 0, "").overdue_days, None);
        let late = row("2027-01-15", 0, "");
        assert_eq!(late.overdue_days, Some(17));
        assert!(overdue(&late).contains("pump@2 was deferred until a review on 2027-01-15, 17 days ago"));
        assert!(table(&[late]).contains("2027-01-15 OVERDUE by 17 days"));
        assert_eq!(row("2027-01-15", 4, "").overdue_days, None);
        assert_eq!(row("2027-01-15", 0, "pump-2").overdue_days, None);
        assert!(table(&[row("2027-01-15", 0, "pump-2")]).contains("rollout pump-2"));
    }
}
