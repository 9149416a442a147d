//! What a document calls its own parts.

use std::collections::HashSet;

use serde_json::Value;

use crate::document::DocumentFault;
use crate::document::fields::text;

/// Every `bom-ref` of what is read. "Every bom-ref must be unique within the BOM": held where something refers to one, since the
/// format's own examples of formulas use one twice.
pub(super) struct References(HashSet<String>);

/// The parts of a document in which they count.
const PARTS: [&str; 4] = ["metadata", "components", "services", "vulnerabilities"];

impl References {
    /// Looks through all that stands in these parts; the depth is bounded ([`crate::limits::MAX_JSON_DEPTH`]).
    pub(super) fn collect(document: &Value) -> Result<Self, DocumentFault> {
        let mut found = Self(HashSet::new());
        for part in PARTS {
            let looked = document.get(part).map_or(Ok(()), |value| found.look(value));
            looked.map_err(|fault| fault.under(part))?;
        }
        Ok(found)
    }

    pub(super) fn has(&self, reference: &str) -> bool {
        self.0.contains(reference)
    }

    fn look(&mut self, value: &Value) -> Result<(), DocumentFault> {
        match value {
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.look(item).map_err(|fault| fault.under(&format!("[{i}]")))?;
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let looked = if name == "bom-ref" { self.add(value) } else { self.look(value) };
                    looked.map_err(|fault| fault.under(name))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, value: &Value) -> Result<(), DocumentFault> {
        let reference = text(value)?;
        if self.0.contains(&reference) {
            return Err(DocumentFault::expected("a bom-ref that nothing else in the document has", &reference));
        }
        self.0.insert(reference);
        Ok(())
    }
}
