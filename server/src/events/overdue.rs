//! Assessments of risk that hold no longer and decisions that nobody has looked at again, told once by one server of all.
//!
//! IMDRF N70 has a hospital assess the risk of its legacy devices again and again; one that nobody renews is as good as none. The
//! hospital's program lists them (`suturectl risk overdue`) to whoever asks; this tells those who do not. Each assessment is
//! told of once, on the first day on which it holds no longer, unless a later one of the same group has taken its place;
//! what is assessed anew and runs out again is told of again. It goes on record, and by that becomes a security event.
//!
//! The same holds for a bundle that a hospital declines or defers (`suturectl rollout decisions`): told of once, on the first
//! day after that of its review, unless a later decision or a rollout has answered it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use suture_core::clock::day_of;
use suture_core::principal::Principal;
use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::app::App;
use crate::audit::{self, AuditError};
use crate::store::Store;
use crate::store::decisions::Due;
use crate::store::risks::Expired;

/// How often it is looked for. Assessments and reviews run out by the day.
const LOOK: Duration = Duration::from_secs(60);
/// Assessments, or decisions, in one transaction.
const PART: u32 = 100;

/// Looks until the server stops.
pub(crate) async fn keep(app: Arc<App>, turn: Turn, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let now = app.now();
        let looked = async {
            if turn.is_ours(now).await? {
                look(app.store(), now).await?;
            }
            Ok::<(), AuditError>(())
        };
        if let Err(error) = looked.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "overdue assessments and reviews could not be looked for"
            );
        }
    }
}

/// Tells of assessments that hold no longer and of reviews that are overdue; of some now and of the others at the next look.
pub(crate) async fn look(store: &Store, now: Timestamp) -> Result<(), AuditError> {
    assessments(store, now).await?;
    reviews(store, now).await
}

async fn assessments(store: &Store, now: Timestamp) -> Result<(), AuditError> {
    let expired = store.expired_risks(day_of(now), PART).await?;
    if expired.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for one in &expired {
        if !tx.settle_risk(one, now).await? || one.is_replaced {
            continue;
        }
        let Expired { hdo, number, product, treatment, expires, .. } = one;
        let (subject, concerns) = (format!("{hdo}/{number}"), hdo.into());
        let detail = json!({
            "number": number, "product": product, "treatment": treatment.as_str(), "expired": expires.to_string(),
        });
        audit::append(&mut tx, now, &Principal::Server, concerns, "risk.overdue", &subject, detail).await?;
    }
    Ok(tx.commit().await?)
}

async fn reviews(store: &Store, now: Timestamp) -> Result<(), AuditError> {
    let due = store.due_reviews(day_of(now), PART).await?;
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for one in &due {
        if !tx.settle_review(one, now).await? || one.is_answered {
            continue;
        }
        let Due { hdo, number, product, release, choice, review, .. } = one;
        let (subject, concerns) = (format!("{hdo}/{product}@{release}"), hdo.into());
        let detail = json!({
            "number": number, "product": product, "release": release, "choice": choice.as_str(), "review": review.to_string(),
        });
        audit::append(&mut tx, now, &Principal::Server, concerns, "review.overdue", &subject, detail).await?;
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests;
