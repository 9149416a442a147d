//! What a document calls its own parts.

use std::collections::HashSet;

use serde_json::Value;

use crate::document::DocumentFault;
use crate::document::fields::text;

/// Every `bom-ref` of a document. "Every bom-ref must be unique within the BOM", whatever it names.
pub(super) struct References(HashSet<String>);

impl References {
    /// Looks through the whole document, whose depth is bounded ([`crate::limits::MAX_JSON_DEPTH`]).
    pub(super) fn collect(document: &Value) -> Result<Self, DocumentFault> {
        let mut found = Self(HashSet::new());
        found.look(document)?;
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
