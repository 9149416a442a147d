//! Hospitals' registers of risk.

use jiff::Timestamp;
use jiff::civil::Date;
use suture_core::clock::parse_day;
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

/// An assessment that holds no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) hdo: HdoId,
    pub(crate) number: u64,
    pub(crate) product: ProductId,
    pub(crate) treatment: Treatment,
    pub(crate) expires: Date,
    /// A later one on the same group stands in its place.
    pub(crate) is_replaced: bool,
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

    /// Says that an assessment has expired and that this was seen to; false where it had been before.
    pub(crate) async fn settle_risk(&mut self, expired: &Expired, now: Timestamp) -> Result<bool, StoreError> {
        let number = to_i64("an assessment's number", expired.number)?;
        on!(self, |c| {
            sqlx::query("UPDATE risk SET settled_ms = $3 WHERE hdo = $1 AND number = $2 AND settled_ms IS NULL")
                .bind(expired.hdo.as_str())
                .bind(number)
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected() == 1)
        })
    }
}

impl Store {
    /// Assessments that held until a day before this one and were not seen to yet, the longest expired first.
    pub(crate) async fn expired_risks(&self, day: Date, limit: u32) -> Result<Vec<Expired>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64, String, String, String, bool)>(
                "SELECT r.hdo, r.number, r.product, r.treatment, r.expires, \
                 EXISTS (SELECT 1 FROM risk x WHERE x.hdo = r.hdo AND x.product = r.product \
                  AND x.group_sha256 = r.group_sha256 AND x.number > r.number) \
                 FROM risk r WHERE r.settled_ms IS NULL AND r.expires < $1 ORDER BY r.expires, r.hdo, r.number LIMIT $2",
            )
            .bind(day.to_string())
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read =
            |(hdo, number, product, treatment, expires, is_replaced): (String, i64, String, String, String, bool)| {
                let bad = |problem| StoreError::Row { table: TABLE, column: "expires", problem };
                Ok(Expired {
                    hdo: parsed(TABLE, "hdo", &hdo)?,
                    number: to_u64(TABLE, "number", number)?,
                    product: parsed(TABLE, "product", &product)?,
                    treatment: parsed(TABLE, "treatment", &treatment)?,
                    expires: parse_day(&expires).ok_or_else(|| bad(format!("no day {expires:?}")))?,
                    is_replaced,
                })
            };
        rows.into_iter().map(read).collect()
    }

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
