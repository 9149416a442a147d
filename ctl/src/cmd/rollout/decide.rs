//! `rollout approve --decline|--defer` and `rollout decisions`: that a bundle is not installed, or not yet, on record.
//!
//! A decision is on the server's record and an entry of the audit trail, and no authority: what installs nothing is that
//! nobody approves. Whoever decides at a home with a key of the hospital's signs it with that, as an approval is stated.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use suture_core::approval::SignedDocument as _;
use suture_core::clock::{format_utc, whole_second};
use suture_core::decision::{Choice, Decision, Stated, VerifiedDecision};
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::manifest::manifest_path;
use suture_core::plan::Plan;
use suture_core::sign::PublicKey;
use suture_core::trust::Role;
use suture_proto::{parse, parse_digest, v1};

use super::plan::BundleName;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::hospital::statements::{may_use, own_name};
use crate::hospital::{Desk, refused};
use crate::keys::{KeyName, Keys};
use crate::print::{Table, count};

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
    (decided, reason): (Decided, String),
    key: &KeyName,
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
    let signed = sign(context, desk, manifest_sha256, &decision, key)?;
    if signed.is_none() {
        context.print.note(&format!(
            "note: this home has no key {key} that approves for the hospital, so the decision is on the server's word alone"
        ));
    }
    let request = v1::RecordDecisionRequest {
        product: decision.product.to_string(),
        release: decision.release.0,
        manifest_sha256: manifest_sha256.as_bytes().to_vec().into(),
        plan_sha256: plan_sha256.map(|s| s.as_bytes().to_vec()).unwrap_or_default().into(),
        choice: choice.as_str().to_owned(),
        reason: decision.reason.clone(),
        compensating: decision.compensating.clone(),
        review: review.to_string(),
        signed: signed.as_ref().map(|s| s.bytes().to_vec()).unwrap_or_default().into(),
    };
    let number = desk.client.record_decision(request).await?.number;
    let result =
        serde_json::json!({ "number": number, "decision": decision, "approved": false, "signed": signed.is_some() });
    context.print.result(&result, |_| {
        format!(
            "{}@{} is {choice}, on record as decision {number}{}; nothing was approved, and nothing is installed by it\nlooked \
             at again on {review}: suturectl rollout decisions",
            decision.product,
            decision.release,
            if signed.is_some() { ", signed" } else { "" }
        )
    })
}

/// Signs a decision where this home has such a key, and the root lists it as one that approves.
fn sign(
    context: &Context<'_>,
    desk: &Desk,
    manifest_sha256: Digest,
    decision: &Decision,
    key: &KeyName,
) -> Outcome<Option<VerifiedDecision>> {
    let root = desk.approvals.root();
    let public = match Keys::of(&context.home).public(key) {
        Ok(public) if root.authority(Role::Targets).keys().any(|k| *k == public) => public,
        _ => return Ok(None),
    };
    may_use(context, root, &public)?;
    let stated = Stated {
        kind: Stated::TYPE.to_owned(),
        format: 1,
        hdo: desk.hdo.clone(),
        manifest_sha256,
        decision: decision.clone(),
        key: public,
        name: own_name(context)?,
        decided_at: whole_second(context.now()),
    };
    stated.sign(&*context.key(key)?).map(Some).map_err(refused)
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
    /// By which key whoever decided has signed it; none where it is the server's word alone.
    signed_by: Option<PublicKey>,
    /// By how many days its review is overdue; null where it is not, or where something has answered it.
    pub(crate) overdue_days: Option<i64>,
    /// A later decision on the same bundle.
    later: Option<u64>,
    /// A rollout of the bundle that was approved since.
    rollout: Option<String>,
}

fn listed(message: v1::Decision, hdo: &HdoId, now: Timestamp) -> Outcome<Listed> {
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
        signed,
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
    let manifest_sha256 = parse_digest("manifest_sha256", &manifest_sha256)?;
    let signed_by = match signed.is_empty() {
        true => None,
        false => Some(by_key(&signed, (hdo, manifest_sha256, &decision, &decided_by), number)?),
    };
    Ok(Listed {
        number,
        version,
        manifest_sha256,
        signed_by,
        overdue_days: decision.overdue_days(now).filter(|_| open),
        decision,
        by: decided_by,
        at: Timestamp::from_millisecond(decided_ms).ok().map(format_utc),
        later,
        rollout,
    })
}

/// By which key it is signed, if what is signed is what the server says.
fn by_key(
    signed: &[u8],
    (hdo, manifest, decision, by): (&HdoId, Digest, &Decision, &str),
    number: u64,
) -> Outcome<PublicKey> {
    let other = |why: &str| {
        Failure::untrusted(format!("decision {number} of the server's list is not what was signed: {why}"))
            .next("keep the list, and ask the one whose name it bears")
    };
    let stated = VerifiedDecision::verify(signed).map_err(|e| other("its signature does not hold").because(&e))?;
    let says = (&stated.hdo, stated.manifest_sha256, &stated.decision, stated.name.as_str());
    if says == (hdo, manifest, decision, by) { Ok(stated.key) } else { Err(other("the two differ")) }
}

/// The hospital's decisions, newest first, page by page.
pub(crate) async fn fetch(client: &mut Client, hdo: &HdoId, all: bool, now: Timestamp) -> Outcome<Vec<Listed>> {
    let mut rows: Vec<Listed> = Vec::new();
    loop {
        let before = rows.last().map_or(0, |row| row.number);
        let request = v1::ListDecisionsRequest { all, before, limit: MAX_ROWS_PER_CALL };
        let v1::ListDecisionsResponse { decisions, more } = client.list_decisions(request).await?;
        for decision in decisions {
            let row = listed(decision, hdo, now)?;
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
    let hdo = context.home.server()?.hdo()?;
    let rows = fetch(&mut context.connect().await?, &hdo, all, context.now()).await?;
    for row in rows.iter().filter(|row| row.overdue_days.is_some()) {
        context.print.note(&overdue(row));
    }
    context.print.result(&rows, |rows| table(rows))
}

/// That somebody should look at it again.
pub(crate) fn overdue(row: &Listed) -> String {
    let Decision { product, release, choice, review, .. } = &row.decision;
    let days = count(row.overdue_days.unwrap_or(0), "day");
    format!(
        "overdue: {product}@{release} was {choice} until a review on {review}, {days} ago; approve it, or decide again: \
         suturectl rollout approve {product}@{release} --defer|--decline"
    )
}

fn table(rows: &[Listed]) -> String {
    let mut table =
        Table::new(["no", "bundle", "decision", "review", "why", "meanwhile", "by", "at", "signed", "answered by"]);
    for row in rows {
        let d = &row.decision;
        let review = match row.overdue_days {
            Some(days) => format!("{} OVERDUE by {}", d.review, count(days, "day")),
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
            row.signed_by.map_or_else(|| "no".to_owned(), |key| key.to_string().chars().take(12).collect()),
            answered,
        ]);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::fixture::{at, id};
    use suture_core::sign::{LocalKey, Signer as _};

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
        listed(message, &id("riverside"), at("2027-02-01T08:00:00Z")).unwrap()
    }

    #[test]
    fn what_is_listed_is_what_was_signed_or_nothing() {
        let key = LocalKey::from_seed(&zeroize::Zeroizing::new([7; 32]));
        let unsigned = row("2027-03-01", 0, "");
        assert_eq!(unsigned.signed_by, None);
        let stated = Stated {
            kind: Stated::TYPE.to_owned(),
            format: 1,
            hdo: id("riverside"),
            manifest_sha256: unsigned.manifest_sha256,
            decision: unsigned.decision.clone(),
            key: key.public(),
            name: id("kim"),
            decided_at: at("2026-11-24T12:00:00Z"),
        };
        let signed = stated.sign(&key).unwrap();
        let read = |hdo: &str, decision: &Decision, by: &str| {
            by_key(signed.bytes(), (&id(hdo), unsigned.manifest_sha256, decision, by), 3).ok()
        };
        assert_eq!(read("riverside", &unsigned.decision, "kim"), Some(key.public()));
        assert_eq!(read("riverside", &unsigned.decision, "lee"), None);
        assert_eq!(read("lakeside", &unsigned.decision, "kim"), None);
        let declined = Decision { choice: Choice::Declined, ..unsigned.decision.clone() };
        assert_eq!(read("riverside", &declined, "kim"), None);
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
