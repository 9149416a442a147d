//! The hashes that metadata give of other files.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use crate::digest::Digest;

/// Hashes of one file. Every one that is given and known is checked; at least one is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub(super) struct Hashes {
    sha256: Option<Digest>,
    sha512: Option<Vec<u8>>,
}

impl TryFrom<BTreeMap<String, String>> for Hashes {
    type Error = &'static str;

    /// From names of algorithms and hexadecimal digits. Refuses hashes of which none can be checked.
    fn try_from(given: BTreeMap<String, String>) -> Result<Self, &'static str> {
        let sha256 = given.get("sha256").map(|digits| digits.parse()).transpose();
        let sha256 = sha256.map_err(|_| "a sha256 is not 64 lower-case hexadecimal digits")?;
        let sha512 = given.get("sha512").map(|digits| read_sha512(digits)).transpose()?;
        if sha256.is_none() && sha512.is_none() {
            return Err("a file is listed with no hash that this program knows (sha256, sha512)");
        }
        Ok(Self { sha256, sha512 })
    }
}

fn read_sha512(digits: &str) -> Result<Vec<u8>, &'static str> {
    let bytes = hex::decode(digits).ok().filter(|b| b.len() == 64 && hex::encode(b) == digits);
    bytes.ok_or("a sha512 is not 128 lower-case hexadecimal digits")
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
