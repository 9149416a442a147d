//! What a document of each kind must be, by its contents.
//!
//! MDS2 (ANSI/NEMA HN 1-2019) is a form that manufacturers fill in and hand on as PDF or as an XLSX workbook; no form of it for
//! machines is in general use. It is therefore told by its first bytes, and kept as it is.

use super::{DocumentFault, Sbom, Vex};
use crate::limits::MAX_DOCUMENT_BYTES;
use crate::manifest::DocumentKind;

/// What is in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// Components.
    Sbom(Box<Sbom>),
    /// Statements.
    Vex(Box<Vex>),
    /// Text.
    Text,
    /// Portable Document Format.
    Pdf,
    /// A workbook, or another Office Open XML package.
    OfficeOpenXml,
    /// JSON that is not looked into.
    Json,
    /// Something else, where that may be.
    Other,
}

impl Contents {
    /// For people and for programs: `CycloneDX 1.6`, `text`, …
    pub fn format(&self) -> String {
        match self {
            Self::Sbom(sbom) => format!("{} {}", sbom.format, sbom.format_version),
            Self::Vex(vex) => format!("{} {}", vex.format, vex.format_version),
            Self::Text => "text".to_owned(),
            Self::Pdf => "PDF".to_owned(),
            Self::OfficeOpenXml => "Office Open XML".to_owned(),
            Self::Json => "JSON".to_owned(),
            Self::Other => "not looked into".to_owned(),
        }
    }
}

/// Reads and checks a document of a kind.
pub fn check(kind: DocumentKind, bytes: &[u8]) -> Result<Contents, DocumentFault> {
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(DocumentFault::new(format!("has {} bytes, more than {MAX_DOCUMENT_BYTES}", bytes.len())));
    }
    if bytes.is_empty() {
        return Err(DocumentFault::new("is empty"));
    }
    match kind {
        DocumentKind::Sbom => Sbom::parse(bytes).map(|sbom| Contents::Sbom(Box::new(sbom))),
        DocumentKind::Vex => Vex::parse(bytes).map(|vex| Contents::Vex(Box::new(vex))),
        // For people, who read it in a terminal too.
        DocumentKind::ReleaseNotes => text(bytes).map(|()| Contents::Text),
        DocumentKind::Mds2 => match told(bytes)? {
            Contents::Other => Err(DocumentFault::new("is neither PDF nor XLSX, nor CSV, JSON or other text in UTF-8")),
            contents => Ok(contents),
        },
        DocumentKind::SecurityConfiguration | DocumentKind::TestEvidence | DocumentKind::Other => told(bytes),
    }
}

/// What bytes are by how they begin. What begins as PDF, a workbook or JSON is to be whole as well, as far as that is seen
/// without reading it: a download that was cut is no evidence.
fn told(bytes: &[u8]) -> Result<Contents, DocumentFault> {
    let ends = |with: &[u8], within: usize| {
        let tail = bytes.get(bytes.len().saturating_sub(within)..).unwrap_or_default();
        tail.windows(with.len()).any(|window| window == with)
    };
    if bytes.starts_with(b"%PDF-") {
        // ISO 32000-1, 7.5.5: the last line of a file is %%EOF; readers look for it in the last 1,024 bytes.
        let whole = ends(b"%%EOF", 1_024);
        return if whole { Ok(Contents::Pdf) } else { Err(DocumentFault::new("is PDF, and its end is missing")) };
    }
    if bytes.starts_with(b"PK\x03\x04") {
        // APPNOTE 4.3.16: the end of the central directory is at most 22 bytes and a comment from the end.
        if !ends(b"PK\x05\x06", 22 + 65_535) {
            return Err(DocumentFault::new("is a ZIP archive, and its end is missing"));
        }
        // ECMA-376-2: an Office Open XML package has this part, and its name stands in the central directory.
        let package = ends(b"[Content_Types].xml", bytes.len());
        return Ok(if package { Contents::OfficeOpenXml } else { Contents::Other });
    }
    match text(bytes) {
        Ok(()) if bytes.trim_ascii_start().starts_with(b"{") && crate::json::parse_foreign(bytes).is_ok() => {
            Ok(Contents::Json)
        }
        Ok(()) => Ok(Contents::Text),
        Err(_) => Ok(Contents::Other),
    }
}

/// UTF-8 that a terminal can show: no control characters but tab and the ends of lines, so that no text moves the cursor.
fn text(bytes: &[u8]) -> Result<(), DocumentFault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| DocumentFault::new(format!("is not text in UTF-8, from byte {} on", e.valid_up_to())))?;
    let control = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    match control {
        Some((at, c)) => Err(DocumentFault::new(format!("holds the control character {c:?} at byte {at}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_by_its_bytes() {
        let ok = |kind, bytes: &[u8]| check(kind, bytes).map(|contents| contents.format());
        let zip = b"PK\x03\x04...[Content_Types].xml...PK\x05\x06................".as_slice();
        assert_eq!(ok(DocumentKind::Mds2, b"%PDF-1.7\n...\n%%EOF\n").unwrap(), "PDF");
        assert_eq!(ok(DocumentKind::Mds2, zip).unwrap(), "Office Open XML");
        assert_eq!(ok(DocumentKind::Mds2, b"question,answer\nMPII-1,yes\n").unwrap(), "text");
        assert_eq!(ok(DocumentKind::Mds2, b"{\"MPII-1\": true}").unwrap(), "JSON");
        assert_eq!(ok(DocumentKind::TestEvidence, b"\x00\x01").unwrap(), "not looked into");
        assert_eq!(ok(DocumentKind::ReleaseNotes, "# Notes\r\n\tlouder é\n".as_bytes()).unwrap(), "text");
        for (kind, bytes, says) in [
            (DocumentKind::Mds2, b"%PDF-1.7\n...".as_slice(), "its end is missing"),
            (DocumentKind::Mds2, b"PK\x03\x04...", "its end is missing"),
            (DocumentKind::Mds2, b"PK\x03\x04...PK\x05\x06", "neither PDF"),
            (DocumentKind::Mds2, b"\xff\xfe", "neither PDF"),
            (DocumentKind::ReleaseNotes, b"a\xff", "not text in UTF-8, from byte 1 on"),
            (DocumentKind::ReleaseNotes, b"a\x1b[2J", "control character '\\u{1b}' at byte 1"),
            (DocumentKind::Other, b"", "is empty"),
            (DocumentKind::Sbom, b"<bom/>", "is XML"),
            (DocumentKind::Sbom, b"SPDXVersion: SPDX-2.3", "tag-value"),
            (
                DocumentKind::Sbom,
                b"{\"a\": 1, \"a\": 2}",
                "not strict JSON: the name \"a\" occurs twice at line 1 column 1",
            ),
            (DocumentKind::Sbom, b"{\"@context\": \"https://spdx.org/rdf/3.0.1/x\"}", "SPDX 3"),
            (DocumentKind::Vex, b"{}", "in no format that is known"),
            (DocumentKind::Vex, b"[]", "expected an object, found a list"),
        ] {
            let fault = ok(kind, bytes).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }
}
