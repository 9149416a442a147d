//! What travels with a bundle for people, looked into: what `build` refuses, what it warns of, and what `inspect` counts.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;
use suture_core::document::{Contents, Sbom, check};
use suture_core::manifest::{Document, DocumentKind, Manifest};

use crate::failure::{Failure, Outcome};

/// A document, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentSummary {
    /// Its file name.
    pub name: String,
    /// What it is.
    pub kind: DocumentKind,
    /// Its length in bytes.
    pub length: u64,
    /// What it is in: `CycloneDX 1.6`, `text`, …
    pub format: String,
    /// Components of an SBOM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<usize>,
    /// What of an SBOM's components has a dependency listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<usize>,
    /// Statements on vulnerabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<usize>,
    /// What its author may want to mend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Looks into a document that is to be in a bundle.
pub(super) fn admit(path: &Path, kind: DocumentKind, bytes: &[u8]) -> Outcome<Contents> {
    check(kind, bytes).map_err(|fault| {
        Failure::new(format!("{} cannot be a document of kind {kind}", path.display()))
            .because(&fault)
            .next("have the tool that wrote it write it again, or mend it there")
    })
}

/// Two documents of one name would be one file where they are fetched to.
pub(super) fn distinct(documents: &[Document]) -> Outcome {
    let mut names = HashSet::new();
    match documents.iter().find(|d| !names.insert(d.name.to_ascii_lowercase())) {
        Some(twice) => Err(Failure::new(format!("two documents are called {}", twice.name))
            .next("give them different file names: they are fetched into one directory")),
        None => Ok(()),
    }
}

/// What is in a bundle's documents, in the manifest's order. One that a program before this one let through is told as it is.
pub fn summaries(manifest: &Manifest, documents: &[Vec<u8>]) -> Vec<DocumentSummary> {
    manifest.documents.iter().zip(documents).map(|(document, bytes)| summary(manifest, document, bytes)).collect()
}

/// One of them.
pub fn summary(manifest: &Manifest, document: &Document, bytes: &[u8]) -> DocumentSummary {
    let Document { name, kind, length, .. } = document;
    let mut summary = DocumentSummary {
        name: name.clone(),
        kind: *kind,
        length: *length,
        format: String::new(),
        components: None,
        dependencies: None,
        statements: None,
        warnings: Vec::new(),
    };
    match check(*kind, bytes) {
        Err(fault) => summary.warnings.push(format!("cannot be read: {fault}")),
        Ok(contents) => {
            summary.format = contents.format();
            match contents {
                Contents::Sbom(sbom) => {
                    summary.components = Some(sbom.components.len());
                    summary.dependencies = Some(sbom.dependencies.len());
                    summary.statements = Some(sbom.statements.len()).filter(|n| *n > 0);
                    summary.warnings = warnings(manifest, &sbom);
                }
                Contents::Vex(vex) => summary.statements = Some(vex.statements.len()),
                _ => {}
            }
        }
    }
    summary
}

/// What an SBOM lacks: the version that it is the bill of, and NTIA's minimum elements.
fn warnings(manifest: &Manifest, sbom: &Sbom) -> Vec<String> {
    let version = manifest.version.to_string();
    let of = sbom.subject.as_ref().map(|subject| (subject.name.as_str(), subject.version.as_deref()));
    let named = sbom.components.iter().any(|component| component.version.as_deref() == Some(version.as_str()));
    let mismatch = match of {
        Some((_, Some(said))) if said == version => None,
        Some((name, Some(said))) => Some(format!("it is the bill of {name} {said}, and this is version {version}")),
        // Of several payloads each may stand among the components.
        _ if named => None,
        Some((name, None)) => Some(format!("it does not say which version of {name} it is the bill of")),
        None => Some(format!("it does not say what it is the bill of: nothing in it has version {version}")),
    };
    let gaps = sbom.gaps().into_iter().map(|gap| format!("of NTIA's minimum elements it has {gap}"));
    mismatch.into_iter().chain(gaps).collect()
}
