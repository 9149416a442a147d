//! What is in a bundle, and what is said of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Range;
use crate::document::Status;
use crate::version::Release;

/// A component of a bundle, as its SBOM lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// Its package URL without version, qualifiers and subpath; none where the SBOM gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version; empty where the SBOM gives none.
    pub version: String,
    /// By what the SBOM's other parts, and other documents, refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Which versions are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// Every one.
    #[default]
    Any,
    /// This one, as it is written.
    One(String),
    /// Those of a range.
    In(Range),
}

impl Versions {
    /// Whether a version is among them. One that is not known is among all only.
    pub fn hold(&self, version: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == version,
            Self::In(range) => !version.is_empty() && range.contains(version),
        }
    }
}

/// What a statement is about: a product, or a component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its package URL without version, qualifiers and subpath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Its name, which counts where there is no package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which versions of it.
    #[serde(default)]
    pub versions: Versions,
    /// What an SBOM calls it, which counts before all else: the SBOM of the same bundle, or the one of `serial`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The serial number of the SBOM that has the reference (`CycloneDX` BOM-Link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

impl Subject {
    /// Whether it means that component. `own`: whether the SBOM is of the bundle that the statement came with.
    pub fn means(&self, part: &Part, serials: &[String], own: bool) -> bool {
        if let Some(reference) = &self.reference {
            let here = self.serial.as_ref().map_or(own, |serial| serials.contains(serial));
            return here && part.reference.as_ref() == Some(reference) && self.versions.hold(&part.version);
        }
        let named = match (&self.package, &self.name) {
            (Some(package), _) => part.package.as_ref() == Some(package),
            (None, Some(name)) => part.name.eq_ignore_ascii_case(name),
            (None, None) => false,
        };
        named && self.versions.hold(&part.version)
    }
}

/// One statement: what a vulnerability does to some things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// By what the vulnerability is known: its id first, then others that mean the same.
    pub vulnerability: Vec<String>,
    /// What is spoken about. Nothing, in a bundle's own documents, is the bundle.
    pub about: Vec<Subject>,
    /// What it does to that.
    pub status: Status,
    /// Why it does nothing, by the word of the format: `vulnerable_code_not_present` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
    /// What it does, or why it does nothing, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<String>,
    /// What to do about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// When that was said, by the document; a whole second.
    #[serde(default, with = "crate::clock::utc_or_none")]
    pub at: Option<Timestamp>,
}

impl Claim {
    /// Whether it speaks of a vulnerability, by whichever of its names; case does not matter.
    pub fn names(&self, vulnerability: &str) -> bool {
        self.vulnerability.iter().any(|id| id.eq_ignore_ascii_case(vulnerability))
    }
}

/// Where a statement stands, and with that its place in the manufacturer's order of documents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The catalog's path of it: a manifest's, or that of what was published later.
    pub path: String,
    /// The document's name.
    pub document: String,
    /// The bundle that it came with; the product's newest when it was published.
    pub after: Release,
    /// How many were published for the product up to it; 0 in a bundle's own documents.
    pub number: u64,
}

impl Source {
    /// Its place in the order: a release's own documents come before all that was published once that release was listed.
    pub fn order(&self) -> (Release, u64) {
        (self.after, self.number)
    }

    /// Whether it was published beside the bundles.
    pub fn is_published(&self) -> bool {
        self.number > 0
    }
}
