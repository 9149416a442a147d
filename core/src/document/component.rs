//! What is in a product, as its SBOM lists it.

use jiff::civil::Date;

use super::Purl;

/// A component of a product, or the product itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Component {
    /// By what the same document refers to it: `bom-ref`, or `SPDXID`. Unique in the document.
    pub reference: Option<String>,
    /// Its package URL.
    pub purl: Option<Purl>,
    /// Its CPE, as it is written.
    pub cpe: Option<String>,
    /// Its name, with the group before it where the format has one and there is no package URL: `org.acme/pump`.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Who supplies it.
    pub supplier: Option<String>,
    /// Its licence: an SPDX expression, or the names that are given, joined by commas.
    pub licence: Option<String>,
    /// Digests of it.
    pub hashes: Vec<ComponentHash>,
    /// Until when, and how, its maker supports it, where the document says so.
    pub support: Option<Support>,
}

/// A digest as an SBOM writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentHash {
    /// The algorithm, as the format names it.
    pub algorithm: String,
    /// The digest in lower-case hexadecimal.
    pub hex: String,
}

/// How long a component is supported (FDA, Cybersecurity in Medical Devices, V.A.4.b asks for both of each).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support {
    /// The level, in the document's words.
    pub level: Option<String>,
    /// The day on which it ends.
    pub ends: Option<Date>,
}

impl Component {
    /// By what it is the same thing in another version: its package, else its name.
    pub fn identity(&self) -> String {
        self.purl.as_ref().map_or_else(|| self.name.clone(), Purl::package)
    }
}
