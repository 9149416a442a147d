//! What a question about bundles is answered by.

use std::collections::{BTreeMap, BTreeSet};

use suture_core::digest::Digest;
use suture_core::exposure::{Bundle, Claim, Part, Question, Source};
use suture_core::id::ProductId;
use suture_core::limits::{MAX_QUESTION_COMPONENTS, MAX_QUESTION_STATEMENTS};
use suture_core::version::Release;

use super::super::{StoreError, Tx, digest, on, parsed, text_list, to_u64, with_texts};
use super::{EDITION, bad};

/// Bundles and statements, as [`suture_core::exposure::answer`] takes them.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    /// By product and release.
    pub(crate) bundles: Vec<Bundle>,
    /// What the catalog says of each.
    pub(crate) statuses: Vec<String>,
    /// What could not be read of each one's documents.
    pub(crate) problems: Vec<Option<String>>,
    /// Of each product.
    pub(crate) claims: BTreeMap<ProductId, Vec<(Source, Claim)>>,
    /// Bundles whose documents were not read yet.
    pub(crate) pending: u32,
}

#[derive(sqlx::FromRow)]
struct BundleRow {
    product: String,
    release: i64,
    version: String,
    path: String,
    manifest_sha256: Vec<u8>,
    status: String,
    edition: Option<i64>,
    listed: Option<bool>,
    itself: Option<String>,
    serials: Option<String>,
    problem: Option<String>,
}

#[derive(sqlx::FromRow)]
struct PartRow {
    manifest_sha256: Vec<u8>,
    ordinal: i64,
    package: Option<String>,
    name: String,
    version: String,
    reference: Option<String>,
}

impl PartRow {
    fn read(self) -> Result<(Digest, i64, Part), StoreError> {
        let Self { manifest_sha256, ordinal, package, name, version, reference } = self;
        let manifest = digest("bundle_component", "manifest_sha256", &manifest_sha256)?;
        Ok((manifest, ordinal, Part { package, name, version, reference }))
    }
}

/// What a component is looked up by.
#[derive(Clone, Copy)]
enum By {
    Package,
    Name,
    Reference,
}

fn json<T: serde::de::DeserializeOwned>(column: &'static str, text: &str) -> Result<T, StoreError> {
    suture_core::json::from_slice(text.as_bytes()).map_err(|e| bad(column, e.to_string()))
}

impl Tx {
    /// All that answers a question. Of one product, or of all.
    pub(crate) async fn material(
        &mut self,
        question: &Question,
        product: Option<&ProductId>,
    ) -> Result<Material, StoreError> {
        let mut material = self.read_bundles(product).await?;
        let listed: BTreeSet<&str> = material.bundles.iter().map(|b| b.path.as_str()).collect();
        if let Some(vulnerability) = &question.vulnerability {
            for (product, source, claim) in self.claims(vulnerability).await? {
                // A bundle that the catalog lists no more says nothing any more.
                if source.is_published() || listed.contains(source.path.as_str()) {
                    material.claims.entry(product).or_default().push((source, claim));
                }
            }
        }
        let (mut packages, mut names, mut references) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        if let Some(wanted) = &question.component {
            match (&wanted.package, &wanted.name) {
                (Some(package), _) => drop(packages.insert(package.clone())),
                (None, Some(name)) => drop(names.insert(name.to_ascii_lowercase())),
                (None, None) => {}
            }
        }
        for subject in material.claims.values().flatten().flat_map(|(_, claim)| &claim.about) {
            match (&subject.reference, &subject.package, &subject.name) {
                (Some(reference), _, _) => drop(references.insert(reference.clone())),
                (None, Some(package), _) => drop(packages.insert(package.clone())),
                (None, None, Some(name)) => drop(names.insert(name.to_ascii_lowercase())),
                (None, None, None) => {}
            }
        }
        let mut parts: BTreeMap<Digest, BTreeMap<i64, Part>> = BTreeMap::new();
        for (by, keys) in [(By::Package, packages), (By::Name, names), (By::Reference, references)] {
            for (manifest, ordinal, part) in self.parts(by, &keys.into_iter().collect::<Vec<_>>()).await? {
                parts.entry(manifest).or_default().insert(ordinal, part);
            }
        }
        for bundle in &mut material.bundles {
            bundle.parts = parts.remove(&bundle.manifest).unwrap_or_default().into_values().collect();
        }
        Ok(material)
    }

    async fn read_bundles(&mut self, product: Option<&ProductId>) -> Result<Material, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, BundleRow>(
                "SELECT b.product, b.release, b.version, b.path, b.manifest_sha256, b.status, i.edition, i.listed, \
                 i.itself, i.serials, i.problem FROM bundle b LEFT JOIN indexed_bundle i \
                 ON i.manifest_sha256 = b.manifest_sha256 WHERE b.status <> 'unlisted' AND ($1 = '' OR b.product = $1) \
                 ORDER BY b.product, b.release",
            )
            .bind(product.map_or("", ProductId::as_str))
            .fetch_all(c)
            .await
        })?;
        let mut material = Material {
            bundles: Vec::with_capacity(rows.len()),
            statuses: Vec::with_capacity(rows.len()),
            problems: Vec::with_capacity(rows.len()),
            claims: BTreeMap::new(),
            pending: 0,
        };
        for row in rows {
            material.pending += u32::from(row.edition != Some(EDITION));
            material.bundles.push(Bundle {
                product: parsed("bundle", "product", &row.product)?,
                release: Release(to_u64("bundle", "release", row.release)?),
                version: parsed("bundle", "version", &row.version)?,
                manifest: digest("bundle", "manifest_sha256", &row.manifest_sha256)?,
                path: row.path,
                installable: row.status != "withdrawn",
                listed: row.listed == Some(true),
                itself: row.itself.as_deref().map(|text| json("itself", text)).transpose()?,
                serials: row.serials.as_deref().map(|text| json("serials", text)).transpose()?.unwrap_or_default(),
                parts: Vec::new(),
            });
            material.statuses.push(row.status);
            material.problems.push(row.problem);
        }
        Ok(material)
    }

    async fn claims(&mut self, vulnerability: &str) -> Result<Vec<(ProductId, Source, Claim)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String, String, i64, i64, Vec<u8>)>(
                "SELECT s.product, s.path, s.document, s.after_release, s.number, s.content FROM vex_name n \
                 JOIN vex_statement s ON s.path = n.path AND s.ordinal = n.ordinal WHERE n.vulnerability = $1 \
                 ORDER BY s.path, s.ordinal LIMIT $2",
            )
            .bind(vulnerability.to_ascii_uppercase())
            .bind(i64::from(MAX_QUESTION_STATEMENTS) + 1)
            .fetch_all(c)
            .await
        })?;
        if rows.len() > MAX_QUESTION_STATEMENTS as usize {
            return Err(StoreError::TooMuch {
                what: "statements about one vulnerability",
                most: MAX_QUESTION_STATEMENTS,
            });
        }
        rows.into_iter()
            .map(|(product, path, document, after, number, content)| {
                let source = Source {
                    path,
                    document,
                    after: Release(to_u64("vex_statement", "after_release", after)?),
                    number: to_u64("vex_statement", "number", number)?,
                };
                let claim = suture_core::json::from_slice(&content).map_err(|e| bad("content", e.to_string()))?;
                Ok((parsed("vex_statement", "product", &product)?, source, claim))
            })
            .collect()
    }

    async fn parts(&mut self, by: By, keys: &[String]) -> Result<Vec<(Digest, i64, Part)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let text = match by {
            By::Package => with_texts!(
                self,
                "SELECT manifest_sha256, ordinal, package, name, version, reference FROM bundle_component \
                 WHERE package IN (",
                ") LIMIT $2"
            ),
            By::Name => with_texts!(
                self,
                "SELECT manifest_sha256, ordinal, package, name, version, reference FROM bundle_component \
                 WHERE folded IN (",
                ") LIMIT $2"
            ),
            By::Reference => with_texts!(
                self,
                "SELECT manifest_sha256, ordinal, package, name, version, reference FROM bundle_component \
                 WHERE reference IN (",
                ") LIMIT $2"
            ),
        };
        let rows = on!(self, |c| {
            sqlx::query_as::<_, PartRow>(text)
                .bind(text_list(keys))
                .bind(i64::from(MAX_QUESTION_COMPONENTS) + 1)
                .fetch_all(c)
                .await
        })?;
        if rows.len() > MAX_QUESTION_COMPONENTS as usize {
            return Err(StoreError::TooMuch {
                what: "components that one question is about",
                most: MAX_QUESTION_COMPONENTS,
            });
        }
        rows.into_iter().map(PartRow::read).collect()
    }
}
