//! What a vulnerability does to a product, as its manufacturer says it.

use jiff::Timestamp;

use super::{Component, DocumentFault, Purl, Status};
use crate::limits::{
    MAX_ALIASES, MAX_ALL_STATED_BYTES, MAX_STATED_BYTES, MAX_STATED_PRODUCTS, MAX_STATEMENTS, MAX_VULNERABILITY_BYTES,
};

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The vulnerability, as in `CVE-2021-44228`.
    pub vulnerability: String,
    /// Other names of the same.
    pub aliases: Vec<String>,
    /// What it is about. Nothing where the document does not say: what it came with.
    pub products: Vec<Product>,
    /// What it does to these.
    pub status: Status,
    /// Why it does nothing, in the format's word: `vulnerable_code_not_present`, `code_not_reachable`, …
    pub justification: Option<String>,
    /// What it does, or why it does nothing, for people. At most [`MAX_STATED_BYTES`].
    pub impact: Option<String>,
    /// What to do about it, for people. At most [`MAX_STATED_BYTES`].
    pub action: Option<String>,
    /// When that was said; else when the document was.
    pub at: Option<Timestamp>,
    /// Who says it.
    pub author: Option<String>,
}

/// A thing that a statement names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Product {
    /// Its package URL.
    pub purl: Option<Purl>,
    /// Its name; where a document names it by an identifier alone, that.
    pub name: Option<String>,
    /// Its version, where one is meant.
    pub version: Option<String>,
    /// The range of versions that is meant, as it is written: `vers:semver/>=1.0.0|<2.0.0`, or the author's own words.
    pub range: Option<String>,
    /// What an SBOM, or the document itself, calls it.
    pub reference: Option<Reference>,
    /// The parts of it that the statement is about; none where it is about the whole.
    pub parts: Vec<Self>,
}

/// A component by its place in a `CycloneDX` document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The serial number of that document (BOM-Link, `urn:cdx:serial/version#ref`), written as `urn:uuid:…`; none for the
    /// document that the statement stands in.
    pub serial: Option<String>,
    /// Its `bom-ref` there.
    pub id: String,
}

impl Product {
    /// What a component is, without who refers to it how.
    pub(super) fn of(component: &Component) -> Self {
        let Component { purl, name, version, .. } = component;
        Self { purl: purl.clone(), name: Some(name.clone()), version: version.clone(), ..Self::default() }
    }

    /// One line that names it, for people.
    pub fn label(&self) -> String {
        let name = match (&self.purl, &self.name, &self.reference) {
            (Some(purl), ..) => purl.to_string(),
            (None, Some(name), _) => name.clone(),
            (None, None, Some(reference)) => reference.id.clone(),
            (None, None, None) => "the product".to_owned(),
        };
        let has_version = self.purl.as_ref().is_some_and(|purl| purl.version().is_some());
        match (&self.version, &self.range) {
            (_, Some(range)) => format!("{name} {range}"),
            (Some(version), None) if !has_version => format!("{name} {version}"),
            _ => name,
        }
    }
}

/// What a document may still state.
///
/// Attack: a short document that comes to a long one, for a reference of a few bytes stands for a product that is written at
/// length, and one remark is made of a thousand products.
#[derive(Debug)]
pub(super) struct Room {
    products: usize,
    statements: usize,
    bytes: usize,
}

impl Room {
    pub(super) const fn new() -> Self {
        Self { products: MAX_STATED_PRODUCTS, statements: MAX_STATEMENTS, bytes: MAX_ALL_STATED_BYTES }
    }

    /// Room for a product.
    pub(super) fn product(&mut self) -> Result<(), DocumentFault> {
        let left = self.products.checked_sub(1);
        self.products = left.ok_or_else(|| {
            DocumentFault::new(format!("all statements together name more than {MAX_STATED_PRODUCTS} products"))
        })?;
        Ok(())
    }

    /// Room for a statement, and for what it says for people.
    pub(super) fn statement(&mut self, statement: &Statement) -> Result<(), DocumentFault> {
        let left = self.statements.checked_sub(1);
        self.statements =
            left.ok_or_else(|| DocumentFault::new(format!("there are more than {MAX_STATEMENTS} statements")))?;
        let said = statement.impact.iter().chain(&statement.action).map(String::len).sum();
        let left = self.bytes.checked_sub(said);
        self.bytes = left.ok_or_else(|| {
            DocumentFault::new(format!("all statements together say more than {MAX_ALL_STATED_BYTES} bytes for people"))
        })?;
        Ok(())
    }
}

/// Other names of a vulnerability, each once.
pub(super) fn aliases(of: &str, names: Vec<String>) -> Result<Vec<String>, DocumentFault> {
    if names.len() > MAX_ALIASES {
        return Err(DocumentFault::new(format!("has {} names, more than {MAX_ALIASES}", names.len())));
    }
    let mut aliases: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if name != of && !aliases.contains(&name) {
            aliases.push(name);
        }
    }
    Ok(aliases)
}

/// The name of a vulnerability: one word.
pub(super) fn vulnerability(value: &serde_json::Value) -> Result<String, DocumentFault> {
    let text = super::fields::text(value)?;
    let plain = text.len() <= MAX_VULNERABILITY_BYTES && !text.contains(char::is_whitespace);
    if plain { Ok(text) } else { Err(DocumentFault::expected("a vulnerability's id, such as CVE-2021-44228", &text)) }
}

/// Texts that say one thing together, cut where they are too long; none where there are none.
pub(super) fn joined<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut out = String::new();
    for text in texts.into_iter().map(str::trim).filter(|text| !text.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(text);
        if out.len() > MAX_STATED_BYTES {
            let end = (0..=MAX_STATED_BYTES - '…'.len_utf8()).rev().find(|end| out.is_char_boundary(*end));
            out.truncate(end.unwrap_or_default());
            out.push('…');
            break;
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(joined([" ", ""]), None);
        assert_eq!(joined(["one", " two "]).unwrap(), "one\ntwo");
        let long = joined(["é".repeat(MAX_STATED_BYTES).as_str(), "never seen"]).unwrap();
        assert!(long.len() <= MAX_STATED_BYTES && long.ends_with("é…"), "{}", long.len());
    }
}
