//! Descent: every version of the targets metadata names the one before it by digest, so whoever knows one version can prove
//! all that came before, whoever serves them and whichever keys signed them.
//!
//! Attack stopped here: a fork. Whoever has stolen the targets keys signs a second version 12 and shows it to some, the
//! first to others. Both verify; but two digests under one version cannot both descend from, or lead to, what the other
//! party knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::verify::{Envelope, Metadata};
use super::{Answer, Request, Role, Targets, TrustError};
use crate::digest::Digest;
use crate::limits::MAX_DESCENT;

/// One version of a repository's targets metadata, told from any other under the same number by its digest. As text
/// `VERSION:SHA256`, the way people hand it to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// Counted from 1.
    pub version: u64,
    /// SHA-256 of the file, signatures included.
    pub sha256: Digest,
}

/// Why a text is no [`Edition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not VERSION:SHA256, a number and 64 hexadecimal digits, as `status` prints it")]
pub struct EditionError;

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.version, self.sha256)
    }
}

impl FromStr for Edition {
    type Err = EditionError;
    fn from_str(text: &str) -> Result<Self, EditionError> {
        let (version, sha256) = text.trim().split_once(':').ok_or(EditionError)?;
        let plain = version.bytes().all(|b| b.is_ascii_digit());
        let version = version.parse().ok().filter(|v| *v > 0 && plain).ok_or(EditionError)?;
        Ok(Self { version, sha256: sha256.to_ascii_lowercase().parse().map_err(|_| EditionError)? })
    }
}

/// A walk back from a trusted edition, version by version. It does no input or output: what [`Descent::request`] names is
/// fetched, from anybody, and given to [`Descent::supply`].
#[derive(Debug)]
pub struct Descent {
    /// Newest first, one version apart; never empty before the end.
    found: Vec<Edition>,
    last: Edition,
    until: u64,
}

impl Descent {
    /// From `edition` back to version `until`. Refused where that is farther than [`MAX_DESCENT`].
    pub fn from(edition: Edition, until: u64) -> Result<Self, TrustError> {
        if edition.version.saturating_sub(until) > MAX_DESCENT {
            return Err(TrustError::Descent { from: edition.version, until, limit: MAX_DESCENT });
        }
        Ok(Self { found: vec![edition], last: edition, until })
    }

    /// What to fetch next: the oldest version that is known by digest alone. Nothing once the walk has arrived.
    pub fn request(&self) -> Option<Request> {
        (self.last.version > self.until).then(|| Request {
            name: Role::Targets.served_name(self.last.version),
            max_bytes: Role::Targets.max_bytes(),
        })
    }

    /// Takes the answer to [`Descent::request`]. The bytes need no signature: they are the very ones that a trusted version
    /// names, directly or through those between.
    pub fn supply(&mut self, answer: Answer) -> Result<(), TrustError> {
        let request = self.request().ok_or(TrustError::OutOfTurn)?;
        let Answer::Found(bytes) = answer else { return Err(TrustError::Missing(request.name)) };
        if Digest::of(&bytes) != self.last.sha256 {
            return Err(TrustError::Unpinned { role: Role::Targets, field: "sha256" });
        }
        let targets = Targets::read(&Envelope::open(Role::Targets, &bytes)?.signed)?;
        if targets.version() != self.last.version {
            let (wanted, offered) = (self.last.version, targets.version());
            return Err(TrustError::WrongVersion { role: Role::Targets, wanted, offered });
        }
        let rule = TrustError::Rule { role: Role::Targets, rule: "it does not name the version before it" };
        self.last = Edition { version: self.last.version.saturating_sub(1), sha256: targets.previous().ok_or(rule)? };
        self.found.push(self.last);
        Ok(())
    }

    /// All editions from the first to `until`, newest first, once nothing more is asked for.
    pub fn finish(self) -> Result<Vec<Edition>, TrustError> {
        if self.request().is_some() { Err(TrustError::OutOfTurn) } else { Ok(self.found) }
    }
}
