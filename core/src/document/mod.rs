//! The documents that travel with a bundle: what they are, read as strictly as their formats allow, in one model.
//!
//! FDA asks for a software bill of materials that machines read, with level and end of support of each component (Cybersecurity
//! in Medical Devices, section V.A.4; section 524B(b)(3) of the FD&C Act), and for the elements that NTIA calls the minimum
//! (The Minimum Elements For a Software Bill of Materials, July 2021): supplier, component, version, other unique identifiers,
//! dependency relationship, author and timestamp. What is exploitable is said apart from it, in VEX: the bill of a version never
//! changes, its vulnerabilities do (Minimum Requirements for VEX, CISA, April 2023).
//!
//! | what | formats | read by |
//! | --- | --- | --- |
//! | SBOM | `CycloneDX` JSON 1.4, 1.5, 1.6; SPDX 2.3 JSON | [`Sbom::parse`] |
//! | VEX | `CycloneDX` VEX 1.4, 1.5, 1.6; `OpenVEX` 0.2; CSAF 2.0, profiles `csaf_vex` and `csaf_security_advisory` | [`Vex::parse`] |
//! | MDS2, release notes, security configuration, test evidence | by their first bytes | [`check`] |
//!
//! A document comes from its author's tools, not from Suture's: fields that nothing here reads are let be. What is read is held
//! to its format's rules, and a fault says where it stands ([`DocumentFault`]). Every document is bounded in size, depth, values,
//! components and statements, for the server reads them as well.

mod check;
mod component;
mod csaf;
mod cyclonedx;
mod difference;
mod fault;
mod fields;
mod licence;
mod openvex;
mod purl;
mod sbom;
mod spdx;
mod statement;
mod status;
mod vex;

use serde_json::Value;

pub use self::check::{Contents, check};
pub use self::component::{Component, ComponentHash, Support};
pub use self::difference::{ComponentChange, ComponentVersions, Components, Difference, StatementChange, difference};
pub use self::fault::DocumentFault;
pub use self::purl::{Purl, PurlError};
pub use self::sbom::{Dependency, Gap, Sbom};
pub use self::statement::{Product, Reference, Statement};
pub use self::status::Status;
pub use self::vex::Vex;
use crate::json::{self, JsonError};
use crate::limits::MAX_DOCUMENT_BYTES;

/// A format of an SBOM or of VEX statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// OWASP `CycloneDX`, as JSON.
    CycloneDx,
    /// SPDX 2.3, as JSON.
    Spdx,
    /// `OpenVEX` 0.2.
    OpenVex,
    /// OASIS CSAF 2.0.
    Csaf,
}

impl Format {
    /// One word for it: `cyclonedx`, `spdx`, `openvex` or `csaf`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
            Self::OpenVex => "openvex",
            Self::Csaf => "csaf",
        }
    }

    /// By what the document says that it is.
    fn of(value: &Value) -> Result<Self, DocumentFault> {
        let root = fields::object(value)?;
        let context = root.get("@context").and_then(Value::as_str).unwrap_or_default();
        if root.get("bomFormat").is_some() {
            Ok(Self::CycloneDx)
        } else if root.get("spdxVersion").is_some() {
            Ok(Self::Spdx)
        } else if context.starts_with("https://openvex.dev/") {
            Ok(Self::OpenVex)
        } else if root.get("document").and_then(|d| d.get("csaf_version")).is_some() {
            Ok(Self::Csaf)
        } else if context.contains("spdx.org/rdf/3") {
            Err(DocumentFault::new("is SPDX 3; of SPDX, 2.3 is read").under("@context"))
        } else {
            Err(DocumentFault::new(
                "is in no format that is known here: it has none of bomFormat (CycloneDX), spdxVersion (SPDX), @context \
                 (OpenVEX) and document.csaf_version (CSAF)",
            ))
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CycloneDx => "CycloneDX",
            Self::Spdx => "SPDX",
            Self::OpenVex => "OpenVEX",
            Self::Csaf => "CSAF",
        })
    }
}

/// The JSON of a document, and the format that it says it has.
fn read(bytes: &[u8]) -> Result<(Value, Format), DocumentFault> {
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(DocumentFault::new(format!("has {} bytes, more than {MAX_DOCUMENT_BYTES}", bytes.len())));
    }
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"<") {
        return Err(DocumentFault::new("is XML, and only JSON is read; the tool that wrote it writes JSON too"));
    }
    if start.starts_with(b"SPDXVersion:") {
        return Err(DocumentFault::new("is SPDX in tag-value form, and only JSON is read"));
    }
    let value = json::parse_foreign(bytes).map_err(|e| match e {
        JsonError::Parse(e) | JsonError::Shape(e) => DocumentFault::new(format!("is not strict JSON: {e}")),
        JsonError::Float => DocumentFault::new(e.to_string()),
    })?;
    let format = Format::of(&value)?;
    Ok((value, format))
}

#[cfg(test)]
mod tests;
