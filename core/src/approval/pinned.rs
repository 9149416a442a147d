//! A file of a repository that a signed document names, as targets metadata name theirs.

use serde::{Deserialize, Serialize};

use super::document::DocumentError;
use crate::digest::Digest;
use crate::trust::served_target_name;

/// A file, pinned: by whoever signed what says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its path in the approvals repository.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

impl Pinned {
    /// The pin of these bytes.
    pub fn of(path: String, bytes: &[u8]) -> Self {
        Self { path, length: bytes.len() as u64, sha256: Digest::of(bytes) }
    }

    /// The name under which it is served: `dir/HASH.file`, as targets are.
    pub fn file_name(&self) -> String {
        served_target_name(&self.path, &self.sha256)
    }

    /// Refuses bytes that are not exactly the file's.
    ///
    /// # Errors
    ///
    /// Length or digest differ.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), DocumentError> {
        let unpinned = |field| Err(DocumentError::Unpinned { path: self.path.clone(), field });
        if bytes.len() as u64 != self.length {
            return unpinned("length");
        }
        if Digest::of(bytes) == self.sha256 { Ok(()) } else { unpinned("sha256") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_bytes_are_taken_and_the_name_holds_their_digest() {
        let pinned = Pinned::of("rosters/01.json".to_owned(), b"roster");
        pinned.verify(b"roster").unwrap();
        let refused = |bytes: &[u8]| match pinned.verify(bytes) {
            Err(DocumentError::Unpinned { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!((refused(b"rosters"), refused(b"Roster")), ("length", "sha256"));
        assert_eq!(pinned.file_name(), format!("rosters/{}.01.json", Digest::of(b"roster")));
    }
}
