//! Versions for people and releases for machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_VERSION_BYTES;

/// What people call a version, as in `1.4.0-rc2`. Never compared: order is the [`Release`]'s business.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

/// The manufacturer's counter over one product's bundles. It only grows; a lower one is a downgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Release(pub u64);

/// Why a string is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a version: 1 to {MAX_VERSION_BYTES} characters of letters, digits, '.', '_', '+', '-', the first a letter or digit"
)]
pub struct VersionError(pub String);

impl Version {
    /// The version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;
    fn from_str(s: &str) -> Result<Self, VersionError> {
        let first = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'));
        if first && rest && s.len() <= MAX_VERSION_BYTES {
            Ok(Self(s.to_owned()))
        } else {
            Err(VersionError(s.chars().take(MAX_VERSION_BYTES).collect()))
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;
    fn try_from(s: String) -> Result<Self, VersionError> {
        s.parse()
    }
}

impl From<Version> for String {
    fn from(v: Version) -> String {
        v.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Releases from one to another, both among them: `1..3`, or one alone: `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseRange {
    first: Release,
    last: Release,
}

/// Why a string is not a range of releases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of releases like 1..3, both among them, or one alone like 2")]
pub struct RangeError(pub String);

impl ReleaseRange {
    /// Whether a release is among them.
    pub fn contains(self, release: Release) -> bool {
        self.first <= release && release <= self.last
    }

    /// The first of them.
    pub const fn first(self) -> Release {
        self.first
    }

    /// The last of them.
    pub const fn last(self) -> Release {
        self.last
    }

    /// Whether a release is among both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl FromStr for ReleaseRange {
    type Err = RangeError;
    fn from_str(text: &str) -> Result<Self, RangeError> {
        // No sign, no white space, no leading zero: a range is written in one way.
        let release = |t: &str| t.parse::<u64>().ok().filter(|n| n.to_string() == t).map(Release);
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        match (release(first), release(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(RangeError(text.chars().take(MAX_VERSION_BYTES).collect())),
        }
    }
}

impl TryFrom<String> for ReleaseRange {
    type Error = RangeError;
    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<ReleaseRange> for String {
    fn from(range: ReleaseRange) -> String {
        range.to_string()
    }
}

impl fmt::Display for ReleaseRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}..{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends_and_is_written_in_one_way() {
        let range: ReleaseRange = "1..3".parse().unwrap();
        let among: Vec<u64> = (0..6).filter(|n| range.contains(Release(*n))).collect();
        assert_eq!(among, [1, 2, 3]);
        for text in ["1..3", "2", "0..0"] {
            let range: ReleaseRange = text.parse().unwrap();
            assert_eq!(range.to_string(), text.replace("0..0", "0"));
        }
        for bad in ["", "..", "1..", "..3", "3..1", "1...3", "+1", "01", "1..3..5", " 1", "a", "-1"] {
            assert!(bad.parse::<ReleaseRange>().is_err(), "{bad}");
        }
    }
}
