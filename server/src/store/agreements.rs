//! What manufacturer and hospitals agree on for a product.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::notice::Head;
use suture_core::responsibility::Agreement;
use suture_core::word::Word;

use super::risks::Recorded;
use super::{Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

const TABLE: &str = "agreement";

/// An agreement, with the hospital's consent where it has given it.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) agreement: Recorded,
    pub(crate) consent: Option<Recorded>,
}

#[derive(sqlx::FromRow)]
struct Row {
    document: Vec<u8>,
    proposed_by: String,
    proposed_ms: i64,
    consent: Option<Vec<u8>>,
    consent_by: Option<String>,
    consent_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Agreed, StoreError> {
        let recorded = |word, by: &str, at| {
            let (by, at) = (parsed(TABLE, "by", by)?, from_ms(TABLE, "ms", at)?);
            Ok::<_, StoreError>(Recorded { word, by, at })
        };
        let consent = match (self.consent, self.consent_by, self.consent_ms) {
            (Some(word), Some(by), Some(at)) => Some(recorded(word, &by, at)?),
            _ => None,
        };
        Ok(Agreed { agreement: recorded(self.document, &self.proposed_by, self.proposed_ms)?, consent })
    }
}

impl Tx {
    /// The newest agreement with a hospital on a product, and whether the hospital has consented to it.
    pub(crate) async fn agreement_head(
        &mut self,
        hdo: &HdoId,
        product: &ProductId,
    ) -> Result<Option<(Head, bool)>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (i64, Vec<u8>, bool)>(
                "SELECT number, sha256, consent IS NOT NULL FROM agreement WHERE hdo = $1 AND product = $2 \
                 ORDER BY number DESC LIMIT 1",
            )
            .bind(hdo.as_str())
            .bind(product.as_str())
            .fetch_optional(c)
            .await
        })?;
        row.map(|(number, sha256, consented)| {
            let (number, sha256) = (to_u64(TABLE, "number", number)?, digest(TABLE, "sha256", &sha256)?);
            Ok((Head { number, sha256 }, consented))
        })
        .transpose()
    }

    /// Keeps a proposal under its number.
    pub(crate) async fn put_agreement(
        &mut self,
        word: &Word<Agreement>,
        by: &OperatorName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = to_i64("an agreement's number", word.number)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO agreement (hdo, product, number, sha256, document, proposed_by, proposed_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(word.hdo.as_str())
            .bind(word.product.as_str())
            .bind(number)
            .bind(word.digest().as_bytes().as_slice())
            .bind(word.bytes())
            .bind(by.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Keeps the consent to an agreement that has none yet; false where there is none such.
    pub(crate) async fn put_consent(
        &mut self,
        (hdo, product, sha256): (&HdoId, &ProductId, Digest),
        consent: &[u8],
        by: &OperatorName,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "UPDATE agreement SET consent = $4, consent_by = $5, consent_ms = $6 \
                 WHERE hdo = $1 AND product = $2 AND sha256 = $3 AND consent IS NULL",
            )
            .bind(hdo.as_str())
            .bind(product.as_str())
            .bind(sha256.as_bytes().as_slice())
            .bind(consent)
            .bind(by.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(done == 1)
    }
}

impl Store {
    /// Agreements with a hospital on a product after a number, ascending.
    pub(crate) async fn agreements(
        &self,
        (hdo, product): (&HdoId, &ProductId),
        after: u64,
        limit: u32,
    ) -> Result<Vec<Agreed>, StoreError> {
        let after = to_i64("an agreement's number", after)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT document, proposed_by, proposed_ms, consent, consent_by, consent_ms FROM agreement \
                 WHERE hdo = $1 AND product = $2 AND number > $3 ORDER BY number LIMIT $4",
            )
            .bind(hdo.as_str())
            .bind(product.as_str())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}
