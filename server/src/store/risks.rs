//! Hospitals' registers of risk.

use jiff::Timestamp;
use jiff::civil::Date;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::notice::Head;
use suture_core::risk::{Assessment, Treatment};
use suture_core::word::Word;

use super::{Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

const TABLE: &str = "risk";

/// A word as it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) word: Vec<u8>,
    pub(crate) by: OperatorName,
    pub(crate) at: Timestamp,
}

impl Tx {
    /// The newest entry of a hospital's register.
    pub(crate) async fn risk_head(&mut self, hdo: &HdoId) -> Result<Option<Head>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (i64, Vec<u8>)>(
                "SELECT number, sha256 FROM risk WHERE hdo = $1 ORDER BY number DESC LIMIT 1",
            )
            .bind(hdo.as_str())
            .fetch_optional(c)
            .await
        })?;
        row.map(|(number, sha256)| {
            Ok(Head { number: to_u64(TABLE, "number", number)?, sha256: digest(TABLE, "sha256", &sha256)? })
        })
        .transpose()
    }

    /// Adds an entry under its number.
    pub(crate) async fn put_risk(
        &mut self,
        word: &Word<Assessment>,
        by: &OperatorName,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = to_i64("an assessment's number", word.number)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO risk (hdo, number, product, group_sha256, treatment, expires, sha256, document, signed, \
                 assessed_by, assessed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            )
            .bind(word.hdo.as_str())
            .bind(number)
            .bind(word.group.product.as_str())
            .bind(word.group.digest().as_bytes().as_slice())
            .bind(word.treatment.as_str())
            .bind(word.expires.to_string())
            .bind(word.digest().as_bytes().as_slice())
            .bind(word.bytes())
            .bind(word.key.is_some())
            .bind(by.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// The signed acceptances of a product's risk that hold on a day and that no later entry on the same group has replaced.
    pub(crate) async fn acceptances(
        &mut self,
        hdo: &HdoId,
        product: &ProductId,
        day: Date,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>(
                "SELECT r.document FROM risk r WHERE r.hdo = $1 AND r.product = $2 AND r.treatment = $3 AND r.signed \
                 AND r.expires >= $4 AND NOT EXISTS (SELECT 1 FROM risk x WHERE x.hdo = r.hdo AND x.product = r.product \
                 AND x.group_sha256 = r.group_sha256 AND x.number > r.number) ORDER BY r.number",
            )
            .bind(hdo.as_str())
            .bind(product.as_str())
            .bind(Treatment::Acceptance.as_str())
            .bind(day.to_string())
            .fetch_all(c)
            .await
        })
    }
}

impl Store {
    /// A hospital's register after a number, ascending.
    pub(crate) async fn risks(&self, hdo: &HdoId, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let after = to_i64("an assessment's number", after)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, String, i64)>(
                "SELECT document, assessed_by, assessed_ms FROM risk WHERE hdo = $1 AND number > $2 \
                 ORDER BY number LIMIT $3",
            )
            .bind(hdo.as_str())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter()
            .map(|(word, by, at)| {
                let (by, at) = (parsed(TABLE, "assessed_by", &by)?, from_ms(TABLE, "assessed_ms", at)?);
                Ok(Recorded { word, by, at })
            })
            .collect()
    }
}
