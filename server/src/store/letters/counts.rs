//! What the manufacturer sees of its notices, hospital by hospital and in counts. No device leaves these queries.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::notice::{Head, Side};
use suture_core::version::Release;

use super::TABLE;
use super::rows::{Kept, Row};
use crate::store::{Store, StoreError, Tx, digest, from_ms, hex_list, on, parsed, to_i64, to_ms, to_u64, with_list};

/// A notice, counted over the hospitals that it went to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentNotice {
    pub(crate) id: Digest,
    pub(crate) kind: String,
    pub(crate) product: ProductId,
    pub(crate) first: Timestamp,
    /// Went to, delivered, read, answered, overdue.
    pub(crate) counts: [u64; 5],
}

#[derive(sqlx::FromRow)]
struct SentRow {
    notice_id: Vec<u8>,
    kind: String,
    product: String,
    first_ms: i64,
    hospitals: i64,
    delivered: i64,
    read: i64,
    answered: i64,
    overdue: i64,
}

/// What the clocks of a bundle are asked for.
#[derive(Debug, Clone)]
pub(crate) struct ClocksOf {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) manifest_sha256: Digest,
    /// Notices besides those that name the release.
    pub(crate) notices: Vec<Digest>,
    pub(crate) distributed_by: Timestamp,
}

/// One hospital's clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HospitalClocks {
    pub(crate) sent: Option<Timestamp>,
    pub(crate) delivered: Option<Timestamp>,
    pub(crate) answered: Option<Timestamp>,
    pub(crate) devices: u64,
    pub(crate) confirmed: u64,
    pub(crate) in_time: u64,
}

impl Store {
    /// The notices that were sent, newest first, behind one of them.
    pub(crate) async fn sent_notices(
        &self,
        before: Option<(Timestamp, Digest)>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SentNotice>, StoreError> {
        let (before_ms, before_id) =
            before.map_or((i64::MAX, Vec::new()), |(at, id)| (to_ms(at), id.as_bytes().to_vec()));
        let rows = on!(self, |c| {
            sqlx::query_as::<_, SentRow>(
                "SELECT * FROM (SELECT notice_id, MIN(kind) AS kind, MIN(product) AS product, MIN(stored_ms) AS first_ms, \
                 COUNT(*) AS hospitals, COUNT(delivered_ms) AS delivered, COUNT(read_ms) AS read, \
                 COUNT(answered_ms) AS answered, \
                 CAST(SUM(CASE WHEN answered_ms IS NULL AND answer_by_ms < $1 THEN 1 ELSE 0 END) AS BIGINT) AS overdue \
                 FROM letter WHERE notice_id IS NOT NULL GROUP BY notice_id) sent \
                 WHERE first_ms < $2 OR (first_ms = $2 AND notice_id < $3) ORDER BY first_ms DESC, notice_id DESC LIMIT $4",
            )
            .bind(to_ms(now))
            .bind(before_ms)
            .bind(before_id)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read = |row: SentRow| {
            let count = |n| to_u64(TABLE, "COUNT(*)", n);
            Ok(SentNotice {
                id: digest(TABLE, "notice_id", &row.notice_id)?,
                kind: row.kind,
                product: parsed(TABLE, "product", &row.product)?,
                first: from_ms(TABLE, "stored_ms", row.first_ms)?,
                counts: [
                    count(row.hospitals)?,
                    count(row.delivered)?,
                    count(row.read)?,
                    count(row.answered)?,
                    count(row.overdue)?,
                ],
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// The letters by which a notice went out, by hospital behind one of them, with the hospitals' names.
    pub(crate) async fn noticed(
        &self,
        notice: &Digest,
        after: Option<&HdoId>,
        limit: u32,
    ) -> Result<Vec<(String, Kept)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT * FROM letter WHERE notice_id = $1 AND hdo > $2 ORDER BY hdo, number LIMIT $3",
            )
            .bind(notice.as_bytes().as_slice())
            .bind(after.map_or("", HdoId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let name = on!(self, |c| {
                sqlx::query_scalar::<_, String>("SELECT name FROM hdo WHERE id = $1")
                    .bind(row.hdo.as_str())
                    .fetch_one(c)
                    .await
            })?;
            found.push((name, row.read()?));
        }
        Ok(found)
    }

    /// How far one side's series is at each hospital behind one, by id; of those that have devices of a product, if one is
    /// given.
    pub(crate) async fn letter_heads(
        &self,
        from: Side,
        product: Option<&ProductId>,
        after: Option<&HdoId>,
        limit: u32,
    ) -> Result<Vec<(HdoId, Option<Head>)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, Option<i64>, Option<Vec<u8>>)>(
                "SELECT h.id, l.number, l.sha256 FROM hdo h LEFT JOIN letter l ON l.hdo = h.id AND l.sender = $1 \
                 AND l.number = (SELECT MAX(x.number) FROM letter x WHERE x.hdo = h.id AND x.sender = $1) \
                 WHERE h.id > $2 AND ($3 = '' OR EXISTS (SELECT 1 FROM device d WHERE d.hdo = h.id AND d.product = $3 \
                 AND d.state <> 'revoked')) ORDER BY h.id LIMIT $4",
            )
            .bind(from.as_str())
            .bind(after.map_or("", HdoId::as_str))
            .bind(product.map_or("", ProductId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let read = |(hdo, number, sha256): (String, Option<i64>, Option<Vec<u8>>)| {
            let head = match (number, sha256) {
                (Some(number), Some(sha256)) => {
                    Some(Head { number: to_u64(TABLE, "number", number)?, sha256: digest(TABLE, "sha256", &sha256)? })
                }
                _ => None,
            };
            Ok((parsed("hdo", "id", &hdo)?, head))
        };
        rows.into_iter().map(read).collect()
    }
}

impl Tx {
    /// When a bundle was published first.
    pub(crate) async fn bundle_published(
        &mut self,
        product: &ProductId,
        release: Release,
    ) -> Result<Option<Timestamp>, StoreError> {
        let release = to_i64("a release", release.0)?;
        let at = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT published_ms FROM bundle WHERE product = $1 AND release = $2")
                .bind(product.as_str())
                .bind(release)
                .fetch_optional(c)
                .await
        })?;
        at.map(|ms| from_ms("bundle", "published_ms", ms)).transpose()
    }

    /// When a hospital was told of what a bundle ends, and how far the bundle is there.
    pub(crate) async fn hospital_clocks(&mut self, hdo: &HdoId, of: &ClocksOf) -> Result<HospitalClocks, StoreError> {
        let release = to_i64("a release", of.release.0)?;
        let told = with_list!(
            self,
            "SELECT MIN(stored_ms), MIN(delivered_ms), MIN(answered_ms) FROM letter WHERE hdo = $2 \
             AND sender = 'manufacturer' AND product = $3 AND (fixed_by = $4 OR notice_id IN (",
            "))"
        );
        let (sent, delivered, answered) = on!(self, |c| {
            sqlx::query_as::<_, (Option<i64>, Option<i64>, Option<i64>)>(told)
                .bind(hex_list(&of.notices))
                .bind(hdo.as_str())
                .bind(of.product.as_str())
                .bind(release)
                .fetch_one(c)
                .await
        })?;
        let (devices, confirmed, in_time) = on!(self, |c| {
            sqlx::query_as::<_, (i64, i64, i64)>(
                "WITH standing AS (SELECT CASE WHEN d.proven_manifest = $4 THEN 1 ELSE 0 END AS runs, \
                 CASE WHEN EXISTS (SELECT 1 FROM rollout_device m JOIN rollout r ON r.hdo = m.hdo AND r.id = m.rollout \
                  WHERE m.hdo = d.hdo AND m.device = d.id AND m.phase = 'confirmed' AND m.changed_ms < $5 \
                  AND r.product = $2 AND r.release = $3) THEN 1 ELSE 0 END AS timely \
                 FROM device d WHERE d.hdo = $1 AND d.product = $2 AND d.state <> 'revoked') \
                 SELECT COUNT(*), CAST(COALESCE(SUM(runs), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(runs * timely), 0) AS BIGINT) FROM standing",
            )
            .bind(hdo.as_str())
            .bind(of.product.as_str())
            .bind(release)
            .bind(of.manifest_sha256.as_bytes().as_slice())
            .bind(to_ms(of.distributed_by))
            .fetch_one(c)
            .await
        })?;
        let at = |column, ms: Option<i64>| ms.map(|ms| from_ms(TABLE, column, ms)).transpose();
        let count = |n| to_u64("device", "COUNT(*)", n);
        Ok(HospitalClocks {
            sent: at("stored_ms", sent)?,
            delivered: at("delivered_ms", delivered)?,
            answered: at("answered_ms", answered)?,
            devices: count(devices)?,
            confirmed: count(confirmed)?,
            in_time: count(in_time)?,
        })
    }
}
