//! What the manufacturer suggests to hospitals.

use jiff::Timestamp;
use suture_core::id::{HdoId, OperatorName, ProductId};
use suture_core::version::{Release, Version};

use super::{Store, StoreError, Tx, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A suggestion to one hospital.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub(crate) id: String,
    pub(crate) hdo: HdoId,
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) suggestion: Vec<u8>,
    pub(crate) note: String,
    pub(crate) by: OperatorName,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}

/// A suggestion's place in the order of all.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) created: Timestamp,
    pub(crate) hdo: HdoId,
    pub(crate) product: ProductId,
    pub(crate) release: Release,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    hdo: String,
    product: String,
    release: i64,
    version: String,
    suggestion: Vec<u8>,
    note: String,
    proposed_by: String,
    created_ms: i64,
    expires_ms: i64,
}

const TABLE: &str = "proposal";

impl Row {
    fn read(self) -> Result<(Proposal, Version), StoreError> {
        let proposal = Proposal {
            id: self.id,
            hdo: parsed(TABLE, "hdo", &self.hdo)?,
            product: parsed(TABLE, "product", &self.product)?,
            release: Release(to_u64(TABLE, "release", self.release)?),
            suggestion: self.suggestion,
            note: self.note,
            by: parsed(TABLE, "proposed_by", &self.proposed_by)?,
            created: from_ms(TABLE, "created_ms", self.created_ms)?,
            expires: from_ms(TABLE, "expires_ms", self.expires_ms)?,
        };
        Ok((proposal, parsed("bundle", "version", &self.version)?))
    }
}

impl Tx {
    /// Removes the suggestions that have expired.
    pub(crate) async fn drop_proposals(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM proposal WHERE expires_ms <= $1").bind(to_ms(now)).execute(c).await.map(drop)
        })
    }

    /// Of what bundle a suggestion is, and each hospital that has it; none where there is none.
    pub(crate) async fn proposal_to(&mut self, id: &str) -> Result<Vec<(ProductId, Release, HdoId)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64, String)>(
                "SELECT product, release, hdo FROM proposal WHERE id = $1 ORDER BY hdo",
            )
            .bind(id)
            .fetch_all(c)
            .await
        })?;
        let read = |(product, release, hdo): (String, i64, String)| {
            let release = Release(to_u64(TABLE, "release", release)?);
            Ok((parsed(TABLE, "product", &product)?, release, parsed(TABLE, "hdo", &hdo)?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Removes a hospital's suggestion of a bundle.
    pub(crate) async fn drop_proposal(
        &mut self,
        hdo: &HdoId,
        product: &ProductId,
        release: Release,
    ) -> Result<(), StoreError> {
        let release = to_i64("a release", release.0)?;
        on!(self, |c| {
            sqlx::query("DELETE FROM proposal WHERE hdo = $1 AND product = $2 AND release = $3")
                .bind(hdo.as_str())
                .bind(product.as_str())
                .bind(release)
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// How many suggestions a hospital has of other bundles.
    pub(crate) async fn other_proposals(
        &mut self,
        hdo: &HdoId,
        product: &ProductId,
        release: Release,
    ) -> Result<u64, StoreError> {
        let release = to_i64("a release", release.0)?;
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM proposal WHERE hdo = $1 AND NOT (product = $2 AND release = $3)",
            )
            .bind(hdo.as_str())
            .bind(product.as_str())
            .bind(release)
            .fetch_one(c)
            .await
        })?;
        to_u64(TABLE, "COUNT(*)", count)
    }

    /// Keeps a suggestion in the place of an earlier one of the same bundle to the same hospital.
    pub(crate) async fn put_proposal(&mut self, p: &Proposal) -> Result<(), StoreError> {
        let release = to_i64("a release", p.release.0)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO proposal (hdo, product, release, id, suggestion, note, proposed_by, created_ms, expires_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                 ON CONFLICT (hdo, product, release) DO UPDATE SET id = excluded.id, suggestion = excluded.suggestion, \
                 note = excluded.note, proposed_by = excluded.proposed_by, created_ms = excluded.created_ms, \
                 expires_ms = excluded.expires_ms",
            )
            .bind(p.hdo.as_str())
            .bind(p.product.as_str())
            .bind(release)
            .bind(p.id.as_str())
            .bind(p.suggestion.as_slice())
            .bind(p.note.as_str())
            .bind(p.by.as_str())
            .bind(to_ms(p.created))
            .bind(to_ms(p.expires))
            .execute(c)
            .await
            .map(drop)
        })
    }
}

impl Store {
    /// The suggestions to a hospital, or to all, that have not expired, newest first, with what people call the release; from
    /// behind `after` on.
    pub(crate) async fn proposals(
        &self,
        hdo: Option<&HdoId>,
        now: Timestamp,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<(Proposal, Version)>, StoreError> {
        let (created, place, product, release) = match after {
            Some(Place { created, hdo, product, release }) => {
                (to_ms(*created), hdo.as_str(), product.as_str(), *release)
            }
            None => (i64::MAX, "", "", Release(0)),
        };
        let release = to_i64("a release", release.0)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT p.id, p.hdo, p.product, p.release, b.version, p.suggestion, p.note, p.proposed_by, p.created_ms, \
                 p.expires_ms FROM proposal p JOIN bundle b ON b.product = p.product AND b.release = p.release \
                 WHERE ($1 = '' OR p.hdo = $1) AND p.expires_ms > $2 AND (p.created_ms < $3 \
                 OR (p.created_ms = $3 AND (p.hdo, p.product, p.release) > ($4, $5, $6))) \
                 ORDER BY p.created_ms DESC, p.hdo, p.product, p.release LIMIT $7",
            )
            .bind(hdo.map_or("", HdoId::as_str))
            .bind(to_ms(now))
            .bind(created)
            .bind(place)
            .bind(product)
            .bind(release)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}
