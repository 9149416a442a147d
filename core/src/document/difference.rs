//! What differs between two bundles, by the documents that came with them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Component, Contents, Product, Purl, Statement};

/// What differs between the documents of an older bundle and those of a newer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What is made of what; none where one of them has no SBOM, for then nothing can be said.
    pub components: Option<Components>,
    /// Of which vulnerabilities something else is said.
    pub statements: Vec<StatementChange>,
}

/// What differs between the components.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Components {
    /// In the newer bundle alone.
    pub added: Vec<ComponentVersions>,
    /// In the older one alone.
    pub removed: Vec<ComponentVersions>,
    /// In both, in other versions.
    pub changed: Vec<ComponentChange>,
    /// How many are in both, in the same version.
    pub unchanged: usize,
}

/// A component, and the versions of it that are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentVersions {
    /// Its package URL without a version, or its name where it has none.
    pub component: String,
    /// Its versions; empty where the SBOM gives none.
    pub versions: BTreeSet<String>,
}

/// A component of which other versions are in the newer bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentChange {
    /// As in [`ComponentVersions`].
    pub component: String,
    /// Versions that the older bundle alone has.
    pub from: BTreeSet<String>,
    /// Versions that the newer one alone has.
    pub to: BTreeSet<String>,
}

/// A vulnerability of which something else is said of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementChange {
    /// The vulnerability.
    pub vulnerability: String,
    /// The product: its package, or its name.
    pub product: String,
    /// What the older bundle's documents say, each with its justification; empty where they say nothing.
    pub from: BTreeSet<String>,
    /// What the newer one's say.
    pub to: BTreeSet<String>,
}

/// Compares the documents of an older bundle with those of a newer one.
pub fn difference(old: &[Contents], new: &[Contents]) -> Difference {
    let components = match (components(old), components(new)) {
        (Some(old), Some(new)) => Some(components_between(&old, &new)),
        _ => None,
    };
    let (old, new) = (said(old), said(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let of = |all: &Statements, key| all.get(key).cloned().unwrap_or_default();
    let statements = keys.into_iter().filter_map(|key| {
        let (from, to) = (of(&old, key), of(&new, key));
        let (vulnerability, product) = key.clone();
        (from != to).then_some(StatementChange { vulnerability, product, from, to })
    });
    Difference { components, statements: statements.collect() }
}

/// The versions of each component.
type Versions = BTreeMap<String, BTreeSet<String>>;
/// What is said of each vulnerability and product.
type Statements = BTreeMap<(String, String), BTreeSet<String>>;

fn components(documents: &[Contents]) -> Option<Versions> {
    let mut out: Option<Versions> = None;
    for document in documents {
        let Contents::Sbom(sbom) = document else { continue };
        let versions = out.get_or_insert_default();
        for component in &sbom.components {
            let of = versions.entry(component.identity()).or_default();
            of.extend(version_of(component));
        }
    }
    out
}

fn version_of(component: &Component) -> Option<String> {
    let written = component.purl.as_ref().and_then(Purl::version).map(str::to_owned);
    component.version.clone().or(written)
}

fn components_between(old: &Versions, new: &Versions) -> Components {
    let mut out = Components::default();
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for component in keys {
        let named = |versions: BTreeSet<String>| ComponentVersions { component: component.clone(), versions };
        let (from, to) = match (old.get(component), new.get(component)) {
            (Some(from), Some(to)) if from == to => {
                out.unchanged += 1;
                continue;
            }
            (Some(from), Some(to)) => (from - to, to - from),
            (Some(from), None) => {
                out.removed.push(named(from.clone()));
                continue;
            }
            (None, to) => {
                out.added.push(named(to.cloned().unwrap_or_default()));
                continue;
            }
        };
        match (from.is_empty(), to.is_empty()) {
            // One of several versions of it has come, or gone.
            (true, _) => out.added.push(named(to)),
            (false, true) => out.removed.push(named(from)),
            (false, false) => out.changed.push(ComponentChange { component: component.clone(), from, to }),
        }
    }
    out
}

fn said(documents: &[Contents]) -> Statements {
    let mut out = Statements::new();
    for document in documents {
        let statements = match document {
            Contents::Sbom(sbom) => &sbom.statements,
            Contents::Vex(vex) => &vex.statements,
            _ => continue,
        };
        for statement in statements {
            let word = word(statement);
            let names = if statement.products.is_empty() {
                vec!["the product".to_owned()]
            } else {
                statement.products.iter().map(name).collect()
            };
            for name in names {
                out.entry((statement.vulnerability.clone(), name)).or_default().insert(word.clone());
            }
        }
    }
    out
}

fn word(statement: &Statement) -> String {
    match &statement.justification {
        Some(why) => format!("{} ({why})", statement.status),
        None => statement.status.to_string(),
    }
}

/// A product in any version, for a statement on the next version of it is about the same.
fn name(product: &Product) -> String {
    let reference = product.reference.as_ref().map(|reference| reference.id.clone());
    let whole = product.purl.as_ref().map(Purl::package).or(product.name.clone()).or(reference);
    let whole = whole.unwrap_or_else(|| "the product".to_owned());
    let parts: Vec<_> = product.parts.iter().map(name).collect();
    if parts.is_empty() { whole } else { format!("{} in {whole}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::check;
    use crate::manifest::DocumentKind;

    fn sbom(components: &[(&str, &str)]) -> Contents {
        let components: Vec<_> = components
            .iter()
            .map(|(name, version)| {
                json!({ "type": "library", "name": name, "version": version, "purl": format!("pkg:cargo/{name}@{version}") })
            })
            .collect();
        let product = json!({ "type": "firmware", "name": "pump" });
        let sbom = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": { "component": product }, "components": components,
        });
        check(DocumentKind::Sbom, sbom.to_string().as_bytes()).unwrap()
    }

    fn vex(statements: &[(&str, &str, &str)]) -> Contents {
        let statements: Vec<_> = statements
            .iter()
            .map(|(vulnerability, status, version)| {
                let mut statement = json!({
                    "vulnerability": { "name": vulnerability }, "status": status,
                    "products": [{ "@id": format!("pkg:generic/acme/pump@{version}") }],
                    "action_statement": "update",
                });
                if *status == "not_affected" {
                    statement["justification"] = json!("component_not_present");
                }
                statement
            })
            .collect();
        let vex = json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://acme.example/vex/1", "author": "Acme",
            "timestamp": "2026-11-24T15:00:00Z", "version": 1, "statements": statements,
        });
        check(DocumentKind::Vex, vex.to_string().as_bytes()).unwrap()
    }

    fn versions(all: &[ComponentVersions]) -> Vec<String> {
        all.iter().map(|c| format!("{} {:?}", c.component, c.versions)).collect()
    }

    #[test]
    fn components_come_go_and_change_their_version() {
        let old = sbom(&[("a", "1"), ("b", "1"), ("c", "1"), ("c", "2"), ("d", "1")]);
        let new = sbom(&[("a", "1"), ("b", "2"), ("c", "2"), ("e", "1"), ("a", "2")]);
        let between = difference(&[old], &[new]).components.unwrap();
        assert_eq!(versions(&between.added), [r#"pkg:cargo/a {"2"}"#, r#"pkg:cargo/e {"1"}"#]);
        assert_eq!(versions(&between.removed), [r#"pkg:cargo/c {"1"}"#, r#"pkg:cargo/d {"1"}"#]);
        let changed: Vec<_> =
            between.changed.iter().map(|c| format!("{} {:?} {:?}", c.component, c.from, c.to)).collect();
        assert_eq!((changed, between.unchanged), (vec![r#"pkg:cargo/b {"1"} {"2"}"#.to_owned()], 0));
        assert_eq!(difference(&[], &[sbom(&[])]).components, None, "of a bundle without an SBOM nothing is known");
    }

    #[test]
    fn a_statement_on_the_next_version_is_about_the_same_product() {
        let old = vex(&[("CVE-1", "affected", "1.0"), ("CVE-2", "not_affected", "1.0"), ("CVE-3", "affected", "1.0")]);
        let new = vex(&[
            ("CVE-1", "fixed", "1.1"),
            ("CVE-2", "not_affected", "1.1"),
            ("CVE-4", "under_investigation", "1.1"),
        ]);
        let between = difference(&[old], &[new]).statements;
        let lines: Vec<_> = between
            .iter()
            .map(|s| {
                let side = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(" ");
                format!("{} {}: {} -> {}", s.vulnerability, s.product, side(&s.from), side(&s.to))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "CVE-1 pkg:generic/acme/pump: affected -> fixed",
                "CVE-3 pkg:generic/acme/pump: affected -> ",
                "CVE-4 pkg:generic/acme/pump:  -> under_investigation",
            ]
        );
    }
}
