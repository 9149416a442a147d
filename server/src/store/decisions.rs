//! What hospitals have said of bundles that they do not install, or not yet.

use jiff::Timestamp;
use jiff::civil::Date;
use suture_core::decision::{Choice, Decision};
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::version::{Release, Version};

use super::{Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A decision's row, with what has answered it.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) number: u64,
    pub(crate) version: Version,
    pub(crate) manifest_sha256: Digest,
    pub(crate) decision: Decision,
    pub(crate) by: OperatorName,
    pub(crate) at: Timestamp,
    /// As it was signed, where it was.
    pub(crate) signed: Option<Vec<u8>>,
    /// A later one on the same bundle.
    pub(crate) later: Option<u64>,
    /// A rollout of the bundle that was approved since.
    pub(crate) rollout: Option<String>,
}

/// A decision that was to be looked at again by a day that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) hdo: HdoId,
    pub(crate) number: u64,
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) choice: Choice,
    pub(crate) review: Date,
    /// A later one on the same bundle, or a rollout of it, has answered it.
    pub(crate) is_answered: bool,
}

#[derive(sqlx::FromRow)]
struct DueRow {
    hdo: String,
    number: i64,
    product: String,
    release: i64,
    choice: String,
    review: String,
    is_answered: bool,
}

impl DueRow {
    fn read(self) -> Result<Due, StoreError> {
        Ok(Due {
            hdo: parsed(TABLE, "hdo", &self.hdo)?,
            number: to_u64(TABLE, "number", self.number)?,
            product: parsed(TABLE, "product", &self.product)?,
            release: Release(to_u64(TABLE, "release", self.release)?),
            choice: parsed::<Choice>(TABLE, "choice", &self.choice)?,
            review: parsed(TABLE, "review", &self.review)?,
            is_answered: self.is_answered,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    product: String,
    release: i64,
    version: String,
    manifest_sha256: Vec<u8>,
    plan_sha256: Option<Vec<u8>>,
    choice: String,
    reason: String,
    compensating: String,
    review: String,
    decided_by: String,
    decided_ms: i64,
    signed: Option<Vec<u8>>,
    later: Option<i64>,
    rollout: Option<String>,
}

const TABLE: &str = "decision";

impl Row {
    fn read(self) -> Result<Decided, StoreError> {
        Ok(Decided {
            number: to_u64(TABLE, "number", self.number)?,
            version: parsed("bundle", "version", &self.version)?,
            manifest_sha256: digest("bundle", "manifest_sha256", &self.manifest_sha256)?,
            decision: Decision {
                product: parsed(TABLE, "product", &self.product)?,
                release: Release(to_u64(TABLE, "release", self.release)?),
                plan_sha256: self.plan_sha256.map(|bytes| digest(TABLE, "plan_sha256", &bytes)).transpose()?,
                choice: parsed::<Choice>(TABLE, "choice", &self.choice)?,
                reason: self.reason,
                compensating: self.compensating,
                review: parsed(TABLE, "review", &self.review)?,
            },
            by: parsed(TABLE, "decided_by", &self.decided_by)?,
            at: from_ms(TABLE, "decided_ms", self.decided_ms)?,
            signed: self.signed,
            later: self.later.map(|n| to_u64(TABLE, "number", n)).transpose()?,
            rollout: self.rollout,
        })
    }
}

impl Tx {
    /// How many decisions a hospital has on record.
    pub(crate) async fn decision_count(&mut self, hdo: &HdoId) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT COALESCE(MAX(number), 0) FROM decision WHERE hdo = $1")
                .bind(hdo.as_str())
                .fetch_one(c)
                .await
        })?;
        to_u64(TABLE, "number", count)
    }

    /// Records a decision under its number, the one after [`Tx::decision_count`].
    pub(crate) async fn put_decision(
        &mut self,
        hdo: &HdoId,
        number: u64,
        d: &Decision,
        (by, signed): (&OperatorName, Option<&[u8]>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (number, release) = (to_i64("a decision's number", number)?, to_i64("a release", d.release.0)?);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO decision (hdo, number, product, release, plan_sha256, choice, reason, compensating, review, \
                 decided_by, decided_ms, signed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            )
            .bind(hdo.as_str())
            .bind(number)
            .bind(d.product.as_str())
            .bind(release)
            .bind(d.plan_sha256.as_ref().map(|s| s.as_bytes().as_slice()))
            .bind(d.choice.as_str())
            .bind(d.reason.as_str())
            .bind(d.compensating.as_str())
            .bind(d.review.to_string())
            .bind(by.as_str())
            .bind(to_ms(now))
            .bind(signed)
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Says that a decision's review is over and that this was seen to; false where it had been before.
    pub(crate) async fn settle_review(&mut self, due: &Due, now: Timestamp) -> Result<bool, StoreError> {
        let number = to_i64("a decision's number", due.number)?;
        on!(self, |c| {
            sqlx::query("UPDATE decision SET settled_ms = $3 WHERE hdo = $1 AND number = $2 AND settled_ms IS NULL")
                .bind(due.hdo.as_str())
                .bind(number)
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected() == 1)
        })
    }

    /// The digest of the manifest that the catalog lists, or has listed, as a release.
    pub(crate) async fn bundle_manifest(
        &mut self,
        product: &ProductId,
        release: Release,
    ) -> Result<Option<(Version, Digest)>, StoreError> {
        let release = to_i64("a release", release.0)?;
        let row = on!(self, |c| {
            sqlx::query_as::<_, (String, Vec<u8>)>(
                "SELECT version, manifest_sha256 FROM bundle WHERE product = $1 AND release = $2",
            )
            .bind(product.as_str())
            .bind(release)
            .fetch_optional(c)
            .await
        })?;
        row.map(|(version, sha256)| {
            Ok((parsed("bundle", "version", &version)?, digest("bundle", "manifest_sha256", &sha256)?))
        })
        .transpose()
    }
}

impl Store {
    /// Decisions whose review was due before a day and that were not seen to yet, the longest overdue first.
    pub(crate) async fn due_reviews(&self, day: Date, limit: u32) -> Result<Vec<Due>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, DueRow>(
                "SELECT d.hdo, d.number, d.product, d.release, d.choice, d.review, \
                 (EXISTS (SELECT 1 FROM decision x WHERE x.hdo = d.hdo AND x.product = d.product \
                  AND x.release = d.release AND x.number > d.number) \
                  OR EXISTS (SELECT 1 FROM rollout r WHERE r.hdo = d.hdo AND r.product = d.product \
                  AND r.release = d.release AND r.created_ms + 999 >= d.decided_ms)) AS is_answered \
                 FROM decision d WHERE d.settled_ms IS NULL AND d.review < $1 ORDER BY d.review, d.hdo, d.number LIMIT $2",
            )
            .bind(day.to_string())
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(DueRow::read).collect()
    }

    /// A hospital's decisions before a number, newest first; where `all` is not set, those that nothing has answered since.
    /// A rollout's time is a whole second by its signer's clock.
    pub(crate) async fn decisions(
        &self,
        hdo: &HdoId,
        all: bool,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Decided>, StoreError> {
        let before = to_i64("a decision's number", before)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT * FROM (SELECT d.number, d.product, d.release, b.version, b.manifest_sha256, d.plan_sha256, \
                 d.choice, d.reason, d.compensating, d.review, d.decided_by, d.decided_ms, d.signed, \
                 (SELECT MAX(x.number) FROM decision x WHERE x.hdo = d.hdo AND x.product = d.product \
                  AND x.release = d.release AND x.number > d.number) AS later, \
                 (SELECT MIN(r.id) FROM rollout r WHERE r.hdo = d.hdo AND r.product = d.product \
                  AND r.release = d.release AND r.created_ms + 999 >= d.decided_ms) AS rollout \
                 FROM decision d JOIN bundle b ON b.product = d.product AND b.release = d.release \
                 WHERE d.hdo = $1 AND d.number < $2) told \
                 WHERE $3 OR (told.later IS NULL AND told.rollout IS NULL) ORDER BY told.number DESC LIMIT $4",
            )
            .bind(hdo.as_str())
            .bind(before)
            .bind(all)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}
