//! What every document of the approvals repository has in common: a type, a layout, a bound and rules.

use serde::Serialize;

use crate::json::{self, JsonError};

/// Why a document of the approvals repository was refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than such a document may be.
    #[error("the {kind} has {length} bytes, more than {limit}")]
    TooLong {
        /// What it was read as.
        kind: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: u64,
    },
    /// Not strict JSON of the document's shape.
    #[error("the {kind} cannot be read")]
    Json {
        /// What it was read as.
        kind: &'static str,
        /// Why.
        source: JsonError,
    },
    /// Other bytes than the document pins that names the file.
    #[error("{path} is not the file that is pinned: its {field} differs")]
    Unpinned {
        /// The file.
        path: String,
        /// What differs.
        field: &'static str,
    },
    /// Readable, but it contradicts itself or a bound.
    #[error("the {kind} is not valid: {rule}")]
    Rule {
        /// What it was read as.
        kind: &'static str,
        /// What does not hold.
        rule: &'static str,
    },
}

/// A document with a kind, a bound and rules of its own.
pub trait SignedDocument: Serialize + serde::de::DeserializeOwned {
    /// The value of its `_type`.
    const TYPE: &'static str;
    /// Its bound in bytes.
    const MAX_BYTES: u64;

    /// Its `_type` and `format`.
    fn header(&self) -> (&str, u32);

    /// The first rule that does not hold, if one does not.
    fn broken_rule(&self) -> Option<&'static str>;

    /// Reads and validates.
    fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        within::<Self>(bytes)?;
        let document: Self =
            json::from_slice(bytes).map_err(|source| DocumentError::Json { kind: Self::TYPE, source })?;
        document.check()?;
        Ok(document)
    }

    /// Validates and writes the canonical bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        let bytes = json::to_canonical(self).map_err(|source| DocumentError::Json { kind: Self::TYPE, source })?;
        within::<Self>(&bytes)?;
        Ok(bytes)
    }

    /// Validates.
    fn check(&self) -> Result<(), DocumentError> {
        let (kind, format) = self.header();
        let rule = if kind != Self::TYPE {
            Some("_type names another kind of document")
        } else if format != 1 {
            Some("format is not 1: this program is too old for it")
        } else {
            self.broken_rule()
        };
        rule.map_or(Ok(()), |rule| Err(DocumentError::Rule { kind: Self::TYPE, rule }))
    }
}

fn within<D: SignedDocument>(bytes: &[u8]) -> Result<(), DocumentError> {
    if bytes.len() as u64 > D::MAX_BYTES {
        return Err(DocumentError::TooLong { kind: D::TYPE, length: bytes.len(), limit: D::MAX_BYTES });
    }
    Ok(())
}

/// The first text whose condition does not hold.
pub(crate) fn first_broken(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    rules.iter().find(|(holds, _)| !holds).map(|(_, text)| *text)
}

/// Refuses what breaks a rule that is not of one document alone.
pub(super) fn hold(kind: &'static str, rules: &[(bool, &'static str)]) -> Result<(), DocumentError> {
    first_broken(rules).map_or(Ok(()), |rule| Err(DocumentError::Rule { kind, rule }))
}

pub(super) fn strictly_ascending<T: Ord>(mut items: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = items.next() else { return true };
    items.all(|item| {
        let up = last < item;
        last = item;
        up
    })
}
