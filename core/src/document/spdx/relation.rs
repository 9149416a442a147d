//! The relationships of an SPDX document (chapter 11): what it describes, and what needs what.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::document::fields::{Fields, object, text};
use crate::document::{Dependency, DocumentFault};
use crate::limits::MAX_DEPENDENCIES;

/// "A depends on B" in other words, read from left to right.
const NEEDS: [&str; 5] = ["DEPENDS_ON", "CONTAINS", "STATIC_LINK", "DYNAMIC_LINK", "HAS_PREREQUISITE"];
/// The same, read from right to left.
const IS_NEEDED: [&str; 7] = [
    "DEPENDENCY_OF",
    "CONTAINED_BY",
    "RUNTIME_DEPENDENCY_OF",
    "BUILD_DEPENDENCY_OF",
    "OPTIONAL_DEPENDENCY_OF",
    "PROVIDED_DEPENDENCY_OF",
    "PREREQUISITE_FOR",
];
/// All others that the specification knows (11.1, table 68).
const OTHERS: [&str; 33] = [
    "AMENDS",
    "ANCESTOR_OF",
    "BUILD_TOOL_OF",
    "COPY_OF",
    "DATA_FILE_OF",
    "DEPENDENCY_MANIFEST_OF",
    "DESCENDANT_OF",
    "DESCRIBED_BY",
    "DESCRIBES",
    "DEV_DEPENDENCY_OF",
    "DEV_TOOL_OF",
    "DISTRIBUTION_ARTIFACT",
    "DOCUMENTATION_OF",
    "EXAMPLE_OF",
    "EXPANDED_FROM_ARCHIVE",
    "FILE_ADDED",
    "FILE_DELETED",
    "FILE_MODIFIED",
    "GENERATED_FROM",
    "GENERATES",
    "METAFILE_OF",
    "OPTIONAL_COMPONENT_OF",
    "OTHER",
    "PACKAGE_OF",
    "PATCH_APPLIED",
    "PATCH_FOR",
    "REQUIREMENT_DESCRIPTION_FOR",
    "SPECIFICATION_FOR",
    "TEST_CASE_OF",
    "TEST_DEPENDENCY_OF",
    "TEST_OF",
    "TEST_TOOL_OF",
    "VARIANT_OF",
];

/// What a document's relationships say.
pub(super) struct Relations {
    /// What it describes, each once.
    pub(super) described: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
}

impl Relations {
    pub(super) fn read(root: &Fields<'_>, ids: &HashSet<String>) -> Result<Self, DocumentFault> {
        let mut described = root.list("documentDescribes", |v| known(v, ids).map(str::to_owned))?;
        let (mut needs, mut edges) = (BTreeMap::<&str, Vec<String>>::new(), 0_usize);
        root.list("relationships", |v| {
            let relation = object(v)?;
            let kind = relation.required("relationshipType", |v| {
                let kind = v.as_str().unwrap_or_default();
                let all = NEEDS.iter().chain(&IS_NEEDED).chain(&OTHERS);
                if all.copied().any(|known| known == kind) {
                    return Ok(kind);
                }
                Err(DocumentFault::expected("a type of relationship that SPDX 2.3 knows", kind))
            })?;
            let left = relation.required("spdxElementId", |v| known(v, ids))?;
            let right = relation.required("relatedSpdxElement", |v| known_or_none(v, ids))?;
            let Some(right) = right else {
                if NEEDS.contains(&kind) {
                    needs.entry(left).or_default();
                }
                return Ok(());
            };
            match kind {
                "DESCRIBES" if left == super::DOCUMENT => described.push(right.to_owned()),
                "DESCRIBED_BY" if right == super::DOCUMENT => described.push(left.to_owned()),
                _ if NEEDS.contains(&kind) => needs.entry(left).or_default().push(right.to_owned()),
                _ if IS_NEEDED.contains(&kind) => needs.entry(right).or_default().push(left.to_owned()),
                _ => {}
            }
            edges += 1;
            if edges > MAX_DEPENDENCIES {
                return Err(DocumentFault::new(format!("there are more than {MAX_DEPENDENCIES} relationships")));
            }
            Ok(())
        })?;
        let mut seen = HashSet::new();
        described.retain(|id| seen.insert(id.clone()));
        let dependencies = needs.into_iter().map(|(of, on)| Dependency { of: of.to_owned(), on }).collect();
        Ok(Self { described, dependencies })
    }
}

/// An id of this document, or of another one by `DocumentRef-…:SPDXRef-…`.
fn known<'a>(value: &'a Value, ids: &HashSet<String>) -> Result<&'a str, DocumentFault> {
    let id = value.as_str().unwrap_or_default();
    let elsewhere = id.strip_prefix("DocumentRef-").and_then(|rest| rest.split_once(':'));
    if ids.contains(id) || elsewhere.is_some_and(|(_, id)| id.starts_with("SPDXRef-")) {
        // Read as text all the same: bounded, and without control characters.
        return text(value).map(|_| id);
    }
    Err(DocumentFault::expected("the SPDXID of an element of this document", id))
}

/// The same; none for `NONE` and `NOASSERTION`.
fn known_or_none<'a>(value: &'a Value, ids: &HashSet<String>) -> Result<Option<&'a str>, DocumentFault> {
    match value.as_str() {
        Some("NONE" | "NOASSERTION") => Ok(None),
        _ => known(value, ids).map(Some),
    }
}
