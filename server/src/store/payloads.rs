//! The payloads of bundles: where a payload's chunks are found by its digest.

use suture_core::digest::Digest;
use suture_core::id::{PayloadName, ProductId};
use suture_core::manifest::Manifest;
use suture_core::version::Release;

use super::{Store, StoreError, Tx, digest, on, parsed, to_i64, to_u64};

/// A payload of a listed bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) name: PayloadName,
    pub(crate) sha256: Digest,
    pub(crate) length: u64,
    pub(crate) index_sha256: Digest,
    /// Whether the manufacturer has withdrawn the bundle.
    pub(crate) withdrawn: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    product: String,
    release: i64,
    name: String,
    sha256: Vec<u8>,
    length: i64,
    index_sha256: Vec<u8>,
    withdrawn: bool,
}

impl Row {
    fn read(self) -> Result<Held, StoreError> {
        Ok(Held {
            product: parsed("payload", "product", &self.product)?,
            release: Release(to_u64("payload", "release", self.release)?),
            name: parsed("payload", "name", &self.name)?,
            sha256: digest("payload", "sha256", &self.sha256)?,
            length: to_u64("payload", "length", self.length)?,
            index_sha256: digest("payload", "index_sha256", &self.index_sha256)?,
            withdrawn: self.withdrawn,
        })
    }
}

impl Store {
    /// What is listed with that payload, those that are not withdrawn first.
    pub(crate) async fn payloads(&self, sha256: &Digest) -> Result<Vec<Held>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT p.product, p.release, p.name, p.sha256, p.length, p.index_sha256, \
                 b.status NOT IN ('current', 'superseded') AS withdrawn \
                 FROM payload p JOIN bundle b ON b.product = p.product AND b.release = p.release \
                 WHERE p.sha256 = $1 ORDER BY withdrawn, p.product, p.release, p.name",
            )
            .bind(sha256.as_bytes().as_slice())
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }
}

impl Tx {
    /// Brings the payloads of a bundle that is there in line with its manifest.
    pub(crate) async fn put_payloads(&mut self, manifest: &Manifest) -> Result<(), StoreError> {
        let release = to_i64("a release", manifest.release.0)?;
        on!(self, |c| {
            sqlx::query("DELETE FROM payload WHERE product = $1 AND release = $2")
                .bind(manifest.product.as_str())
                .bind(release)
                .execute(c)
                .await
                .map(drop)
        })?;
        for payload in &manifest.payloads {
            let length = to_i64("a payload's length", payload.length)?;
            on!(self, |c| {
                sqlx::query(
                    "INSERT INTO payload (product, release, name, sha256, length, index_sha256) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(manifest.product.as_str())
                .bind(release)
                .bind(payload.name.as_str())
                .bind(payload.sha256.as_bytes().as_slice())
                .bind(length)
                .bind(payload.index_sha256.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        Ok(())
    }
}
