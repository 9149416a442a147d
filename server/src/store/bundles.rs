//! What the catalog lists, as rows; and plans, which only wait for their approvers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, ProductId};
use suture_core::version::{Release, Version};

use super::{Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A bundle that the catalog lists, or has listed.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) version: Version,
    /// The manifest's path in the catalog.
    pub(crate) path: String,
    pub(crate) manifest_sha256: Digest,
    /// As the catalog says: `current`, `superseded` or `withdrawn`; [`UNLISTED`] where it lists it no more.
    pub(crate) status: String,
    /// All payloads together, in bytes.
    pub(crate) payload_length: u64,
    pub(crate) published: Timestamp,
}

/// The status of a bundle that the catalog lists no more, itself or through a delegated role. Its row stays: rollouts of its
/// time name it.
const UNLISTED: &str = "unlisted";

#[derive(sqlx::FromRow)]
struct Row {
    product: String,
    release: i64,
    version: String,
    path: String,
    manifest_sha256: Vec<u8>,
    status: String,
    payload_length: i64,
    published_ms: i64,
}

impl Row {
    fn read(self) -> Result<Bundle, StoreError> {
        Ok(Bundle {
            product: parsed("bundle", "product", &self.product)?,
            release: Release(to_u64("bundle", "release", self.release)?),
            version: parsed("bundle", "version", &self.version)?,
            path: self.path,
            manifest_sha256: digest("bundle", "manifest_sha256", &self.manifest_sha256)?,
            status: self.status,
            payload_length: to_u64("bundle", "payload_length", self.payload_length)?,
            published: from_ms("bundle", "published_ms", self.published_ms)?,
        })
    }
}

impl Store {
    /// Bundles by product and release, from behind `after` on.
    pub(crate) async fn bundles(
        &self,
        after: Option<(&ProductId, Release)>,
        limit: u32,
    ) -> Result<Vec<Bundle>, StoreError> {
        let (product, release) = after.map_or(("", Release(0)), |(product, release)| (product.as_str(), release));
        let release = to_i64("a release", release.0)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT product, release, version, path, manifest_sha256, status, payload_length, published_ms \
                 FROM bundle WHERE (product, release) > ($1, $2) ORDER BY product, release LIMIT $3",
            )
            .bind(product)
            .bind(release)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A plan's bytes.
    pub(crate) async fn plan(&self, hdo: &HdoId, sha256: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>("SELECT content FROM plan WHERE hdo = $1 AND sha256 = $2")
                .bind(hdo.as_str())
                .bind(sha256.as_bytes().as_slice())
                .fetch_optional(c)
                .await
        })
    }
}

impl Tx {
    /// Brings a bundle's row in line with the catalog.
    pub(crate) async fn put_bundle(&mut self, b: &Bundle) -> Result<(), StoreError> {
        let release = to_i64("a release", b.release.0)?;
        let payload_length = to_i64("a payload's length", b.payload_length)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO bundle \
                 (product, release, version, path, manifest_sha256, status, payload_length, published_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (product, release) DO UPDATE SET version = excluded.version, path = excluded.path, \
                 manifest_sha256 = excluded.manifest_sha256, status = excluded.status, \
                 payload_length = excluded.payload_length",
            )
            .bind(b.product.as_str())
            .bind(release)
            .bind(b.version.as_str())
            .bind(b.path.as_str())
            .bind(b.manifest_sha256.as_bytes().as_slice())
            .bind(b.status.as_str())
            .bind(payload_length)
            .bind(to_ms(b.published))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }

    /// Marks the bundles that are not among what the catalog lists, by path.
    pub(crate) async fn unlist_bundles<T>(&mut self, listed: &BTreeMap<String, T>) -> Result<(), StoreError> {
        let paths = on!(self, |c| {
            sqlx::query_scalar::<_, String>("SELECT path FROM bundle WHERE status <> $1")
                .bind(UNLISTED)
                .fetch_all(c)
                .await
        })?;
        for path in paths.iter().filter(|path| !listed.contains_key(*path)) {
            on!(self, |c| {
                sqlx::query("UPDATE bundle SET status = $1 WHERE path = $2")
                    .bind(UNLISTED)
                    .bind(path.as_str())
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        Ok(())
    }

    /// What people call a release.
    pub(crate) async fn bundle_version(
        &mut self,
        product: &ProductId,
        release: Release,
    ) -> Result<Option<Version>, StoreError> {
        let release = to_i64("a release", release.0)?;
        let text = on!(self, |c| {
            sqlx::query_scalar::<_, String>("SELECT version FROM bundle WHERE product = $1 AND release = $2")
                .bind(product.as_str())
                .bind(release)
                .fetch_optional(c)
                .await
        })?;
        text.map(|text| parsed("bundle", "version", &text)).transpose()
    }

    /// Keeps a plan, which is the hospital's latest, also where it was kept before.
    pub(crate) async fn put_plan(
        &mut self,
        hdo: &HdoId,
        sha256: &Digest,
        content: &[u8],
        by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO plan (hdo, sha256, content, stored_by, stored_ms) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (hdo, sha256) DO UPDATE SET stored_ms = excluded.stored_ms",
            )
            .bind(hdo.as_str())
            .bind(sha256.as_bytes().as_slice())
            .bind(content)
            .bind(by)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Drops all of a hospital's plans but the latest, so many and so many bytes of them. Attack: an operator who fills
    /// everybody's database. A plan that an approval in force was made of stays besides, and counts for nothing: there are
    /// no more of those than approvals.
    pub(crate) async fn drop_old_plans(
        &mut self,
        hdo: &HdoId,
        most: u64,
        bytes: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (most, bytes) = (to_i64("a bound", most)?, to_i64("a bound", bytes)?);
        on!(self, |c| {
            sqlx::query(
                "DELETE FROM plan WHERE hdo = $1 AND sha256 IN (SELECT ranked.sha256 FROM (SELECT p.sha256, \
                 ROW_NUMBER() OVER latest AS place, CAST(SUM(LENGTH(p.content)) OVER latest AS BIGINT) AS bytes \
                 FROM plan p WHERE p.hdo = $1 AND NOT EXISTS (SELECT 1 FROM rollout r WHERE r.hdo = p.hdo \
                 AND r.plan_sha256 = p.sha256 AND r.expires_ms > $4 AND r.state <> 'superseded') WINDOW latest AS (ORDER BY p.stored_ms DESC, p.sha256 \
                 ROWS UNBOUNDED PRECEDING)) ranked WHERE ranked.place > $2 OR ranked.bytes > $3)",
            )
            .bind(hdo.as_str())
            .bind(most)
            .bind(bytes)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }
}
