//! The hashes that metadata give of other files.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::{Role, TrustError};
use crate::digest::Digest;

/// Hashes of one file. Every one that is given and known is checked; at least one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hashes {
    sha256: Option<Digest>,
    sha512: Option<Vec<u8>>,
}

/// As the file has them: names of algorithms and hexadecimal digits.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct RawHashes(BTreeMap<String, String>);

impl RawHashes {
    /// Refuses hashes of which none can be checked.
    pub(super) fn check(self, role: Role) -> Result<Hashes, TrustError> {
        let rule = |rule| TrustError::Rule { role, rule };
        let mut hashes = Hashes { sha256: None, sha512: None };
        for (algorithm, digits) in self.0 {
            match algorithm.as_str() {
                "sha256" => {
                    let digest =
                        digits.parse().map_err(|_| rule("a sha256 is not 64 lower-case hexadecimal digits"))?;
                    hashes.sha256 = Some(digest);
                }
                "sha512" => {
                    let bytes = hex::decode(&digits).ok().filter(|b| b.len() == 64 && hex::encode(b) == digits);
                    hashes.sha512 = Some(bytes.ok_or(rule("a sha512 is not 128 lower-case hexadecimal digits"))?);
                }
                _ => {}
            }
        }
        if hashes.sha256.is_none() && hashes.sha512.is_none() {
            return Err(rule("a file is listed with no hash that this program knows (sha256, sha512)"));
        }
        Ok(hashes)
    }
}

impl Hashes {
    /// The SHA-256, if it is given.
    pub(super) fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// The first algorithm by which the bytes differ.
    pub(super) fn differs(&self, bytes: &[u8]) -> Option<&'static str> {
        if self.sha256.is_some_and(|want| want != Digest::of(bytes)) {
            return Some("sha256");
        }
        let want = self.sha512.as_ref()?;
        (Sha512::digest(bytes).as_slice() != want.as_slice()).then_some("sha512")
    }
}
