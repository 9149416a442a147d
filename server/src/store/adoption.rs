//! How far a bundle is at a hospital, in counts. No device and no ward leaves this query.

use jiff::Timestamp;
use suture_core::decision::Choice;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::version::Release;

use super::{Store, StoreError, Tx, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// The bundle that is asked about.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) manifest_sha256: Digest,
}

/// The counts of one hospital.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Adoption {
    /// Devices of the product that are not revoked.
    pub(crate) devices: u64,
    /// Of these, confirmed on the bundle by signed reports that count.
    pub(crate) confirmed: u64,
    /// Of the others, in a rollout of it that goes on.
    pub(crate) under_way: u64,
    /// Of the others, in one that ended before they had.
    pub(crate) late: u64,
    /// Of the others, failed or fallen back.
    pub(crate) failed: u64,
    /// Rollouts of it that run or are paused.
    pub(crate) open_rollouts: u64,
    /// The hospital's last word on it, where that is one: what, and when it looks at it again.
    pub(crate) decided: Option<(Choice, String)>,
    /// When a device of the product was last heard of.
    pub(crate) last_heard: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct Row {
    devices: i64,
    confirmed: i64,
    under_way: i64,
    late: i64,
    failed: i64,
    open_rollouts: i64,
    choice: Option<String>,
    review: Option<String>,
    last_heard_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Adoption, StoreError> {
        let count = |n| to_u64("device", "COUNT(*)", n);
        let decided = match (self.choice, self.review) {
            (Some(choice), Some(review)) => Some((parsed("decision", "choice", &choice)?, review)),
            _ => None,
        };
        Ok(Adoption {
            devices: count(self.devices)?,
            confirmed: count(self.confirmed)?,
            under_way: count(self.under_way)?,
            late: count(self.late)?,
            failed: count(self.failed)?,
            open_rollouts: count(self.open_rollouts)?,
            decided,
            last_heard: self.last_heard_ms.map(|ms| from_ms("device", "last_seen_ms", ms)).transpose()?,
        })
    }
}

impl Tx {
    /// The counts of one hospital: its devices of the product, each with its place in the latest rollout of the bundle that
    /// names it. By the indexes on devices by product and rollouts by bundle.
    pub(crate) async fn adoption(
        &mut self,
        hdo: &HdoId,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Adoption, StoreError> {
        let release = to_i64("a release", asked.release.0)?;
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "WITH placed AS (SELECT m.device, m.phase, r.state, r.expires_ms, \
                  ROW_NUMBER() OVER (PARTITION BY m.device ORDER BY r.created_ms DESC, r.id DESC) AS place \
                  FROM rollout r JOIN rollout_device m ON m.hdo = r.hdo AND m.rollout = r.id \
                  WHERE r.hdo = $1 AND r.product = $2 AND r.release = $3), \
                 standing AS (SELECT d.last_seen_ms, CASE \
                  WHEN d.proven_manifest = $4 THEN 'confirmed' \
                  WHEN p.phase IN ('failed', 'fell_back') THEN 'failed' \
                  WHEN p.state IN ('running', 'paused') AND p.expires_ms > $5 THEN 'under_way' \
                  WHEN p.state IN ('running', 'paused', 'expired', 'complete') THEN 'late' \
                  ELSE 'none' END AS stands \
                  FROM device d LEFT JOIN placed p ON p.device = d.id AND p.place = 1 \
                  WHERE d.hdo = $1 AND d.product = $2 AND d.state NOT IN ('revoked', 'decommissioned')), \
                 latest AS (SELECT x.choice, x.review, x.decided_ms FROM decision x \
                  WHERE x.hdo = $1 AND x.product = $2 AND x.release = $3 ORDER BY x.number DESC LIMIT 1), \
                 word AS (SELECT l.choice, l.review FROM latest l WHERE NOT EXISTS (SELECT 1 FROM rollout r \
                  WHERE r.hdo = $1 AND r.product = $2 AND r.release = $3 AND r.created_ms + 999 >= l.decided_ms)) \
                 SELECT COUNT(*) AS devices, \
                  CAST(COALESCE(SUM(CASE WHEN stands = 'confirmed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS confirmed, \
                  CAST(COALESCE(SUM(CASE WHEN stands = 'under_way' THEN 1 ELSE 0 END), 0) AS BIGINT) AS under_way, \
                  CAST(COALESCE(SUM(CASE WHEN stands = 'late' THEN 1 ELSE 0 END), 0) AS BIGINT) AS late, \
                  CAST(COALESCE(SUM(CASE WHEN stands = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT) AS failed, \
                  (SELECT COUNT(*) FROM rollout r WHERE r.hdo = $1 AND r.product = $2 AND r.release = $3 \
                   AND r.state IN ('running', 'paused')) AS open_rollouts, \
                  (SELECT choice FROM word) AS choice, (SELECT review FROM word) AS review, \
                  MAX(last_seen_ms) AS last_heard_ms FROM standing",
            )
            .bind(hdo.as_str())
            .bind(asked.product.as_str())
            .bind(release)
            .bind(asked.manifest_sha256.as_bytes().as_slice())
            .bind(to_ms(now))
            .fetch_one(c)
            .await
        })?;
        row.read()
    }
}

impl Store {
    /// The hospitals behind one that have devices of a product, by id, with their names.
    pub(crate) async fn hospitals_with(
        &self,
        product: &ProductId,
        after: Option<&HdoId>,
        limit: u32,
    ) -> Result<Vec<(HdoId, String)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>(
                "SELECT h.id, h.name FROM hdo h WHERE h.id > $2 AND EXISTS (SELECT 1 FROM device d \
                 WHERE d.hdo = h.id AND d.product = $1 AND d.state NOT IN ('revoked', 'decommissioned')) ORDER BY h.id LIMIT $3",
            )
            .bind(product.as_str())
            .bind(after.map_or("", HdoId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(|(id, name)| Ok((parsed("hdo", "id", &id)?, name))).collect()
    }
}
