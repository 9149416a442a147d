//! What bundles' documents say of components and vulnerabilities, as rows, and which devices run what.
//!
//! The rows are made from documents that the catalog pins, and can be made again at any time. Nobody needs to believe them:
//! `suturectl` reads the documents itself.

mod fleet;
mod material;

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::exposure::{Claim, Part, Source, VexEntry, VexStatus};
use suture_core::id::ProductId;
use suture_core::json;
use suture_core::trust::Target;
use suture_core::version::Release;

pub(crate) use fleet::{Exposed, FixRollout, Running};
pub(crate) use material::Material;

use super::{ROWS_PER_INSERT, Store, StoreError, Tx, digest, on, parsed, to_i64, to_ms, to_u64};

/// The status of a document that the catalog lists no more.
const UNLISTED: &str = "unlisted";
/// What these rows mean: a program that reads more out of the documents has the next number, and reads them all anew.
pub(crate) const EDITION: i64 = 1;

/// A bundle whose documents are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) product: ProductId,
    pub(crate) release: Release,
    pub(crate) path: String,
    pub(crate) manifest: Digest,
}

/// What was read of a bundle's documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// Whether it has an SBOM, and that could be read.
    pub(crate) listed: bool,
    /// How its SBOM names the bundle.
    pub(crate) itself: Option<Part>,
    pub(crate) serials: Vec<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) claims: Vec<(Source, Claim)>,
    /// What could not be read, for people.
    pub(crate) problem: Option<String>,
}

/// JSON as a column holds it.
fn written<T: serde::Serialize>(column: &'static str, value: &T) -> Result<String, StoreError> {
    let bytes = json::to_canonical(value).map_err(|e| bad(column, e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| bad(column, e.to_string()))
}

fn bad(column: &'static str, problem: String) -> StoreError {
    StoreError::Row { table: "indexed_bundle", column, problem }
}

impl Store {
    /// Listed bundles whose documents were not read yet, or by an earlier edition, at most so many.
    pub(crate) async fn unread_bundles(&self, limit: u32) -> Result<Vec<Unread>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64, String, Vec<u8>)>(
                "SELECT b.product, b.release, b.path, b.manifest_sha256 FROM bundle b LEFT JOIN indexed_bundle i \
                 ON i.manifest_sha256 = b.manifest_sha256 WHERE b.status <> 'unlisted' \
                 AND (i.edition IS NULL OR i.edition <> $1) ORDER BY b.product, b.release LIMIT $2",
            )
            .bind(EDITION)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter()
            .map(|(product, release, path, manifest)| {
                Ok(Unread {
                    product: parsed("bundle", "product", &product)?,
                    release: Release(to_u64("bundle", "release", release)?),
                    path,
                    manifest: digest("bundle", "manifest_sha256", &manifest)?,
                })
            })
            .collect()
    }

    /// Published documents of statements that an earlier edition has read: path, digest, and what the catalog said of each.
    pub(crate) async fn unread_vex(&self) -> Result<Vec<(String, Digest, VexEntry)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, Vec<u8>, String, String, String, i64, i64)>(
                "SELECT path, sha256, product, id, format, number, after_release FROM vex_document \
                 WHERE edition <> $1 AND status = 'current' ORDER BY path",
            )
            .bind(EDITION)
            .fetch_all(c)
            .await
        })?;
        let read = |(path, sha256, product, id, format, number, after): (_, Vec<u8>, String, String, _, _, _)| {
            let entry = VexEntry {
                product: parsed("vex_document", "product", &product)?,
                id: parsed("vex_document", "id", &id)?,
                format,
                number: to_u64("vex_document", "number", number)?,
                after: Release(to_u64("vex_document", "after_release", after)?),
                status: VexStatus::Current,
                reason: None,
            };
            Ok((path, digest("vex_document", "sha256", &sha256)?, entry))
        };
        rows.into_iter().map(read).collect()
    }
}

impl Tx {
    /// Keeps what was read of a bundle's documents, in the place of what was kept of it before.
    pub(crate) async fn put_read_bundle(
        &mut self,
        bundle: &Unread,
        read: &Read,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let manifest = bundle.manifest.as_bytes().as_slice();
        on!(self, |c| {
            sqlx::query("DELETE FROM bundle_component WHERE manifest_sha256 = $1")
                .bind(manifest)
                .execute(c)
                .await
                .map(drop)
        })?;
        let itself = read.itself.as_ref().map(|part| written("itself", part)).transpose()?;
        let serials = written("serials", &read.serials)?;
        let components = to_i64("a number of components", read.parts.len() as u64)?;
        let statements = to_i64("a number of statements", read.claims.len() as u64)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO indexed_bundle (manifest_sha256, edition, listed, itself, serials, components, statements, \
                 problem, indexed_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (manifest_sha256) \
                 DO UPDATE SET edition = excluded.edition, listed = excluded.listed, itself = excluded.itself, \
                 serials = excluded.serials, components = excluded.components, statements = excluded.statements, \
                 problem = excluded.problem, indexed_ms = excluded.indexed_ms",
            )
            .bind(manifest)
            .bind(EDITION)
            .bind(read.listed)
            .bind(itself.as_deref())
            .bind(serials.as_str())
            .bind(components)
            .bind(statements)
            .bind(read.problem.as_deref())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        let numbered: Vec<(i64, &Part)> = (0..).zip(&read.parts).collect();
        for rows in numbered.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO bundle_component (manifest_sha256, ordinal, package, name, folded, version, reference) ",
                );
                insert.push_values(rows, |mut row, (ordinal, part)| {
                    row.push_bind(manifest).push_bind(*ordinal).push_bind(part.package.as_deref());
                    row.push_bind(part.name.as_str()).push_bind(part.name.to_ascii_lowercase());
                    row.push_bind(part.version.as_str()).push_bind(part.reference.as_deref());
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        self.put_statements(&bundle.path, &bundle.product, &read.claims).await
    }

    /// Keeps a published document of statements, and in the place of those that it had before its statements, where it is in
    /// force.
    pub(crate) async fn put_vex(
        &mut self,
        path: &str,
        entry: &VexEntry,
        sha256: &Digest,
        claims: &[(Source, Claim)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (number, after) = (to_i64("a document's number", entry.number)?, to_i64("a release", entry.after.0)?);
        let statements = to_i64("a number of statements", claims.len() as u64)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO vex_document (path, product, id, number, after_release, format, status, sha256, edition, \
                 statements, published_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (path) \
                 DO UPDATE SET number = excluded.number, after_release = excluded.after_release, \
                 format = excluded.format, status = excluded.status, sha256 = excluded.sha256, \
                 edition = excluded.edition, statements = excluded.statements, published_ms = excluded.published_ms",
            )
            .bind(path)
            .bind(entry.product.as_str())
            .bind(entry.id.as_str())
            .bind(number)
            .bind(after)
            .bind(entry.format.as_str())
            .bind(entry.status.as_str())
            .bind(sha256.as_bytes().as_slice())
            .bind(EDITION)
            .bind(statements)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        self.put_statements(path, &entry.product, claims).await
    }

    /// The highest number that the published statements of each product have reached.
    pub(crate) async fn vex_numbers(&mut self) -> Result<BTreeMap<ProductId, u64>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>("SELECT product, MAX(number) FROM vex_document GROUP BY product")
                .fetch_all(c)
                .await
        })?;
        let read = |(product, number): (String, i64)| {
            Ok((parsed("vex_document", "product", &product)?, to_u64("vex_document", "number", number)?))
        };
        rows.into_iter().map(read).collect()
    }

    /// Lets documents of statements that the catalog lists no more say nothing more; their numbers stay used.
    pub(crate) async fn unlist_vex<T>(&mut self, listed: &BTreeMap<String, T>) -> Result<(), StoreError> {
        let paths = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>("SELECT path, product FROM vex_document WHERE status <> $1")
                .bind(UNLISTED)
                .fetch_all(c)
                .await
        })?;
        for (path, product) in paths.iter().filter(|(path, _)| !listed.contains_key(path)) {
            on!(self, |c| {
                sqlx::query("UPDATE vex_document SET status = $1 WHERE path = $2")
                    .bind(UNLISTED)
                    .bind(path.as_str())
                    .execute(c)
                    .await
                    .map(drop)
            })?;
            self.put_statements(path, &parsed("vex_document", "product", product)?, &[]).await?;
        }
        Ok(())
    }

    /// What is kept of a published document: what it was, and where it stood.
    pub(crate) async fn vex(&mut self, path: &str) -> Result<Option<KnownVex>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, i64, String, i64)>(
                "SELECT sha256, number, status, edition FROM vex_document WHERE path = $1",
            )
            .bind(path)
            .fetch_optional(c)
            .await
        })?;
        row.map(|(sha256, number, status, edition)| {
            Ok(KnownVex {
                sha256: digest("vex_document", "sha256", &sha256)?,
                number: to_u64("vex_document", "number", number)?,
                status,
                is_read: edition == EDITION,
            })
        })
        .transpose()
    }

    async fn put_statements(
        &mut self,
        path: &str,
        product: &ProductId,
        claims: &[(Source, Claim)],
    ) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query("DELETE FROM vex_name WHERE path = $1").bind(path).execute(c).await.map(drop))?;
        on!(self, |c| sqlx::query("DELETE FROM vex_statement WHERE path = $1").bind(path).execute(c).await.map(drop))?;
        let mut rows = Vec::with_capacity(claims.len());
        let mut names = Vec::new();
        for (ordinal, (source, claim)) in (0_i64..).zip(claims) {
            let after = to_i64("a release", source.after.0)?;
            let number = to_i64("a document's number", source.number)?;
            let content = json::to_canonical(claim).map_err(|e| bad("content", e.to_string()))?;
            rows.push((ordinal, source.document.as_str(), after, number, content));
            let mut ids: Vec<String> = claim.vulnerability.iter().map(|id| id.to_ascii_uppercase()).collect();
            ids.sort_unstable();
            ids.dedup();
            names.extend(ids.into_iter().map(|id| (id, ordinal)));
        }
        for part in rows.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO vex_statement (path, ordinal, product, document, after_release, number, content) ",
                );
                insert.push_values(part, |mut row, (ordinal, document, after, number, content)| {
                    row.push_bind(path).push_bind(*ordinal).push_bind(product.as_str()).push_bind(*document);
                    row.push_bind(*after).push_bind(*number).push_bind(content.as_slice());
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        for part in names.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert = sqlx::QueryBuilder::new("INSERT INTO vex_name (vulnerability, path, ordinal) ");
                insert.push_values(part, |mut row, (id, ordinal)| {
                    row.push_bind(id.as_str()).push_bind(path).push_bind(*ordinal);
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }
}

/// What is kept of a published document of statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownVex {
    pub(crate) sha256: Digest,
    pub(crate) number: u64,
    pub(crate) status: String,
    /// Whether its statements were read by this edition.
    pub(crate) is_read: bool,
}

impl KnownVex {
    /// Whether it is what the catalog lists, as the catalog says it.
    pub(crate) fn is(&self, entry: &VexEntry, target: &Target) -> bool {
        (self.sha256, self.number, self.status.as_str()) == (target.sha256, entry.number, entry.status.as_str())
    }
}
