//! A software bill of materials, whichever format it is in.

use jiff::Timestamp;

use super::{Component, DocumentFault, Format, Statement, cyclonedx, read, spdx};

/// A software bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// The format that it is in.
    pub format: Format,
    /// The version of that format: `1.6`, `2.3`.
    pub format_version: String,
    /// What names the document in the world: the serial number (`urn:uuid:…`), or SPDX's namespace.
    pub serial: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Who says so; tools are nobody.
    pub authors: Vec<String>,
    /// What it is the bill of.
    pub subject: Option<Component>,
    /// What that consists of, in the document's order; what is nested follows what it is nested in.
    pub components: Vec<Component>,
    /// What needs what, by references.
    pub dependencies: Vec<Dependency>,
    /// VEX statements that stand in the same document.
    pub statements: Vec<Statement>,
}

/// What a component needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The reference of the one that needs the others.
    pub of: String,
    /// The references of what it needs; none says that it needs nothing.
    pub on: Vec<String>,
}

/// An element of NTIA's minimum that an SBOM does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The element: `supplier`, `version`, `unique identifier`, `dependency relationship`, `author` or `timestamp`.
    pub element: &'static str,
    /// How many components lack it; none where the whole document does.
    pub components: Option<usize>,
    /// The first of these.
    pub first: Option<String>,
}

impl Sbom {
    /// Reads and checks an SBOM in whichever of its formats.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        match read(bytes)? {
            (value, Format::CycloneDx) => cyclonedx::sbom(&value),
            (value, Format::Spdx) => spdx::sbom(&value),
            (_, other) => Err(DocumentFault::new(format!("is {other}; an SBOM is CycloneDX or SPDX"))),
        }
    }

    /// What of NTIA's minimum elements (July 2021, section IV) it does not have. The name of a component is required by each
    /// format.
    pub fn gaps(&self) -> Vec<Gap> {
        let whole = |there: bool, element| (!there).then_some(Gap { element, components: None, first: None });
        let identified = |c: &Component| c.purl.is_some() || c.cpe.is_some();
        [
            whole(!self.authors.is_empty(), "author"),
            whole(self.created.is_some(), "timestamp"),
            whole(!self.dependencies.is_empty() || self.components.is_empty(), "dependency relationship"),
            self.lacking("supplier", |c| c.supplier.is_none()),
            self.lacking("version", |c| c.version.is_none()),
            self.lacking("unique identifier", |c| !identified(c)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn lacking(&self, element: &'static str, lacks: impl Fn(&Component) -> bool) -> Option<Gap> {
        let mut lacking = self.subject.iter().chain(&self.components).filter(|component| lacks(component));
        let first = lacking.next()?.name.clone();
        Some(Gap { element, components: Some(1 + lacking.count()), first: Some(first) })
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.components, &self.first) {
            (Some(1), Some(first)) => write!(f, "no {} of {first}", self.element),
            (Some(n), Some(first)) => write!(f, "no {} of {n} components, {first} the first", self.element),
            _ => write!(f, "no {}", self.element),
        }
    }
}
