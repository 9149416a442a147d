//! A document of VEX statements, whichever format it is in.

use jiff::Timestamp;

use super::{DocumentFault, Format, Statement, csaf, cyclonedx, openvex, read};

/// A document of statements on what vulnerabilities do to products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vex {
    /// The format that it is in.
    pub format: Format,
    /// The version of that format: `1.6`, `0.2`, `2.0`.
    pub format_version: String,
    /// What its author calls it.
    pub id: Option<String>,
    /// Which version of that it is, in the author's count.
    pub version: Option<String>,
    /// Who says so.
    pub author: Option<String>,
    /// When it was said.
    pub at: Option<Timestamp>,
    /// The statements, in the document's order.
    pub statements: Vec<Statement>,
}

impl Vex {
    /// Reads and checks a document in whichever of its formats.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        match read(bytes)? {
            (value, Format::CycloneDx) => cyclonedx::vex(&value),
            (value, Format::OpenVex) => openvex::vex(&value),
            (value, Format::Csaf) => csaf::vex(&value),
            (_, other) => Err(DocumentFault::new(format!("is {other}; VEX is CycloneDX, OpenVEX or CSAF"))),
        }
    }
}
