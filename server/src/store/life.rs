//! What the manufacturer has said last of each product's life.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::ProductId;

use super::{StoreError, Tx, digest, on, to_ms};

const TABLE: &str = "life";

impl Tx {
    /// The document on a product's life that was published last, with its digest.
    pub(crate) async fn life(&mut self, product: &ProductId) -> Result<Option<(Digest, Vec<u8>)>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>("SELECT sha256, document FROM life WHERE product = $1")
                .bind(product.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(|(sha256, document)| Ok((digest(TABLE, "sha256", &sha256)?, document))).transpose()
    }

    /// Keeps it.
    pub(crate) async fn put_life(
        &mut self,
        product: &ProductId,
        document: &[u8],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO life (product, sha256, document, published_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (product) DO UPDATE SET sha256 = $2, document = $3, published_ms = $4",
            )
            .bind(product.as_str())
            .bind(Digest::of(document).as_bytes().as_slice())
            .bind(document)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }
}
