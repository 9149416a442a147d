//! What the catalog says of a document of statements that is published beside the bundles.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Source;
use crate::id::{ProductId, VexId};
use crate::limits::MAX_TEXT_BYTES;
use crate::trust::Target;
use crate::version::Release;

/// Of which product the catalog lists statements under a path, and what document that is; none for all other paths.
pub fn vex_at(path: &str) -> Option<(ProductId, VexId)> {
    match *path.split('/').collect::<Vec<_>>() {
        ["vex", product, file] => Some((product.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?)),
        _ => None,
    }
}

/// The `custom` part of such a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VexEntry {
    /// The product that it speaks of.
    pub product: ProductId,
    /// What the manufacturer calls it.
    pub id: VexId,
    /// The document's format, as in `openvex`, `csaf` or `cyclonedx`.
    pub format: String,
    /// Counts the publications for the product, each new and each replaced document: of two the higher one was said later.
    pub number: u64,
    /// The product's newest release at that time; 0 before the first.
    pub after: Release,
    /// Whether it counts.
    pub status: VexStatus,
    /// Why it was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a document of statements counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VexStatus {
    /// It does.
    Current,
    /// The manufacturer has taken it back.
    Withdrawn,
}

impl VexStatus {
    /// The name in JSON, in the store and on a terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl VexEntry {
    /// Reads what the catalog says under a path; none where that is missing, of another shape, or of another path.
    pub fn of(path: &str, target: &Target) -> Option<Self> {
        let entry = Self::deserialize(target.custom.as_ref()?).ok()?;
        let plain = entry.format.len() <= MAX_TEXT_BYTES && entry.number > 0;
        let reason = match (&entry.reason, entry.status) {
            (None, VexStatus::Current) => true,
            (Some(text), VexStatus::Withdrawn) => !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES,
            _ => false,
        };
        (plain && reason && entry.path() == path).then_some(entry)
    }

    /// Writes it.
    pub fn to_custom(&self) -> Value {
        serde_json::json!(self)
    }

    /// The path in the catalog.
    pub fn path(&self) -> String {
        format!("vex/{}/{}.json", self.product, self.id)
    }

    /// Where its statements stand.
    pub fn source(&self) -> Source {
        Source { path: self.path(), document: self.id.to_string(), after: self.after, number: self.number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_path_is_a_documents() {
        let at = |path| vex_at(path).map(|(product, id)| (product.to_string(), id.to_string()));
        assert_eq!(at("vex/pump/acme-1.json"), Some(("pump".to_owned(), "acme-1".to_owned())));
        for other in [
            "",
            "vex/pump",
            "vex/pump/a.xml",
            "vex/pump/.json",
            "vex/../a.json",
            "vex/pump/b/a.json",
            "vex/P/a.json",
            "bundles/pump/2/manifest.json",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }

    #[test]
    fn an_entry_reads_back_under_its_own_path_alone() {
        let entry = VexEntry {
            product: "pump".parse().unwrap(),
            id: "acme-1".parse().unwrap(),
            format: "openvex".to_owned(),
            number: 1,
            after: Release(2),
            status: VexStatus::Current,
            reason: None,
        };
        let target = |entry: &VexEntry| Target::of(b"{}", Some(entry.to_custom()));
        let path = "vex/pump/acme-1.json";
        assert_eq!(VexEntry::of(path, &target(&entry)), Some(entry.clone()));
        assert_eq!(VexEntry::of("vex/pump/acme-2.json", &target(&entry)), None);
        let withdrawn = VexEntry { status: VexStatus::Withdrawn, ..entry.clone() };
        assert_eq!(VexEntry::of(path, &target(&withdrawn)), None, "nobody takes it back without a reason");
        let because = |reason: String| VexEntry { reason: Some(reason), ..withdrawn.clone() };
        assert!(VexEntry::of(path, &target(&because("wrong product".to_owned()))).is_some());
        assert_eq!(VexEntry::of(path, &target(&because("x".repeat(MAX_TEXT_BYTES + 1)))), None);
        assert_eq!(VexEntry::of(path, &target(&VexEntry { number: 0, ..entry })), None);
        assert_eq!(VexEntry::of(path, &Target::of(b"{}", None)), None);
    }
}
