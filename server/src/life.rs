//! What the catalog says of a product's life, taken when it is published.
//!
//! The manufacturer's keys can sign any history; what they have signed before stands here, and another one than its
//! continuation is refused, as every operator's program refuses it.

use jiff::Timestamp;
use serde_json::json;
use suture_core::approval::{DocumentError, SignedDocument as _};
use suture_core::audit::Concern;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::ProductId;
use suture_core::life::{Change, Life, LifeError};
use suture_core::principal::Principal;

use crate::audit::{self, AuditError};
use crate::store::{StoreError, Tx};

/// Why a history was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeLifeError {
    /// It cannot be read.
    #[error("it is no history of a product")]
    Document(#[from] DocumentError),
    /// It is another product's than its path says.
    #[error("it is the history of {0}")]
    Misplaced(ProductId),
    /// It does not follow from what was published, or not now.
    #[error("it cannot be published")]
    Life(#[from] LifeError),
    /// The record failed.
    #[error("the audit trail failed")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("its row failed")]
    Store(#[from] StoreError),
}

/// Takes the document that the catalog lists on a product's life, if it is new, and records each of its new changes.
///
/// # Errors
///
/// It is another's, does not begin with what was published before, or was not made lately.
pub(crate) async fn take(
    tx: &mut Tx,
    product: &ProductId,
    bytes: &[u8],
    actor: &Principal,
    now: Timestamp,
) -> Result<(), TakeLifeError> {
    let before = tx.life(product).await?;
    if before.as_ref().is_some_and(|(sha256, _)| *sha256 == Digest::of(bytes)) {
        return Ok(());
    }
    let life = Life::parse(bytes)?;
    if life.product != *product {
        return Err(TakeLifeError::Misplaced(life.product));
    }
    let known = match before {
        None => 0,
        Some((_, before)) => {
            let before = Life::parse(&before)?;
            life.extends(&before)?;
            before.changes().len()
        }
    };
    life.is_new_at(known, now)?;
    tx.put_life(product, bytes, now).await?;
    for change in life.changes().iter().skip(known) {
        // Without its notes, which would not fit an entry: the document has them under its digest.
        let Change { at, by, why, releases, dates, short_notice, earlier, components: _, not_covered: _ } = change;
        let detail = json!({
            "at": format_utc(*at), "by": by, "why": why, "releases": releases, "dates": dates,
            "short_notice": short_notice, "earlier": earlier, "sha256": Digest::of(bytes),
        });
        audit::append(tx, now, actor, Concern::Everybody, "life.changed", product.as_str(), detail).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::each;
    use suture_core::clock::parse_day;
    use suture_core::life::Dates;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn change(when: &str, eos: &str) -> Change {
        Change {
            at: at(when),
            by: "ada".parse().unwrap(),
            why: "as planned".to_owned(),
            releases: None,
            dates: Dates {
                general_availability: parse_day("2026-01-01"),
                end_of_support: parse_day(eos),
                ..Dates::default()
            },
            short_notice: None,
            earlier: None,
            components: Vec::new(),
            not_covered: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_history_is_continued_and_recorded_and_nothing_else_takes_its_place() {
        each(async |store| {
            let pump: ProductId = "pump".parse().unwrap();
            let ada = Principal::Mdm("ada".parse().unwrap());
            let now = at("2026-11-24T15:00:00Z");
            let first = Life::begin(pump.clone(), change("2026-11-24T14:00:00Z", "2031-01-01")).unwrap();
            let second = first.then(change("2026-11-24T14:30:00Z", "2032-01-01")).unwrap();
            let other = Life::begin(pump.clone(), change("2026-11-24T14:40:00Z", "2040-01-01")).unwrap();
            let bytes = |life: &Life| life.to_bytes().unwrap();
            let mut tx = store.begin().await.unwrap();
            take(&mut tx, &pump, &bytes(&first), &ada, now).await.unwrap();
            take(&mut tx, &pump, &bytes(&second), &ada, now).await.unwrap();
            take(&mut tx, &pump, &bytes(&second), &ada, now).await.unwrap();
            for rewritten in [&first, &other] {
                let refused = take(&mut tx, &pump, &bytes(rewritten), &ada, now).await;
                assert!(matches!(refused, Err(TakeLifeError::Life(LifeError::Rewritten))), "{refused:?}");
            }
            let syringe: ProductId = "syringe".parse().unwrap();
            let refused = take(&mut tx, &syringe, &bytes(&first), &ada, now).await;
            assert!(matches!(refused, Err(TakeLifeError::Misplaced(product)) if product == pump));
            // The past is not announced today: two years of notice begin on the day on which it is given.
            let old = Life::begin(syringe.clone(), change("2026-01-24T14:00:00Z", "2028-02-01")).unwrap();
            let refused = take(&mut tx, &syringe, &bytes(&old), &ada, now).await;
            assert!(matches!(refused, Err(TakeLifeError::Life(LifeError::NotNow { .. }))), "{refused:?}");
            tx.commit().await.unwrap();
            let mut tx = store.read().await.unwrap();
            assert_eq!(tx.life(&pump).await.unwrap().unwrap().1, bytes(&second));
            assert!(tx.life(&syringe).await.unwrap().is_none());
            assert_eq!(tx.audit_after(0, 10).await.unwrap().len(), 2, "one entry for each change, and none twice");
        })
        .await;
    }
}
