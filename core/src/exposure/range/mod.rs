//! Ranges of versions, as in `vers:deb/>=3.0.2|<3.0.8`.
//!
//! The form and the rule are those of the version range specifier of package-url (`vers`): comparators and versions, in the
//! order of the versions, each version once; a version is in the range if one of them names it, or if it lies between two.
//! Versions are percent-encoded. `vers:deb/*` is every version.

mod order;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::order::Scheme;
use crate::limits::{MAX_RANGE_BYTES, MAX_RANGE_CONSTRAINTS};

/// Which versions. Made by parsing alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    scheme: String,
    /// By version, ascending where there is an order; none for all versions.
    constraints: Vec<Constraint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Constraint {
    comparator: Comparator,
    version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparator {
    /// Longest first, so that none is taken for a shorter one.
    const ALL: [(&'static str, Self); 6] = [
        ("!=", Self::Unequal),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Equal),
    ];

    /// As written: a version alone is that version.
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    const fn is_below(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    const fn is_above(self) -> bool {
        matches!(self, Self::Greater | Self::GreaterOrEqual)
    }
}

/// Why a text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Of another form.
    #[error("{0:?} is no range of versions like vers:deb/>=3.0.2|<3.0.8")]
    Form(String),
    /// Longer than any, or of more parts.
    #[error("a range of versions has at most {MAX_RANGE_BYTES} bytes and {MAX_RANGE_CONSTRAINTS} parts")]
    TooLong,
    /// An order that this program does not know.
    #[error(
        "the order of versions of {0:?} is not known here; name single versions, or write the range as of semver, npm, cargo, \
         golang, deb, rpm or generic"
    )]
    Scheme(String),
    /// A version that occurs twice.
    #[error("the version {0:?} occurs twice in a range")]
    Twice(String),
}

impl Range {
    /// Whether a version is in it.
    pub fn contains(&self, version: &str) -> bool {
        let compare = |constraint: &Constraint| compare(&self.scheme, version, &constraint.version);
        if self.constraints.is_empty() {
            return true;
        }
        // A version that is named is in or out by that.
        if let Some(named) = self.constraints.iter().find(|c| compare(c).is_eq()) {
            match named.comparator {
                Comparator::Equal | Comparator::LessOrEqual | Comparator::GreaterOrEqual => return true,
                Comparator::Unequal | Comparator::Less | Comparator::Greater => return false,
            }
        }
        // Else by where it lies among the others.
        let bounds: Vec<&Constraint> =
            self.constraints.iter().filter(|c| c.comparator.is_below() || c.comparator.is_above()).collect();
        let Some((first, last)) = bounds.first().zip(bounds.last()) else {
            // Only single versions: all but those that are left out, where any is.
            return self.constraints.iter().all(|c| c.comparator == Comparator::Unequal);
        };
        if first.comparator.is_below() && compare(first).is_lt() || last.comparator.is_above() && compare(last).is_gt()
        {
            return true;
        }
        bounds.windows(2).any(|pair| match pair {
            [low, high] => {
                low.comparator.is_above() && high.comparator.is_below() && compare(low).is_gt() && compare(high).is_lt()
            }
            _ => false,
        })
    }
}

/// Where the order is not known, only whether two are the same: what is parsed asks no more.
fn compare(scheme: &str, a: &str, b: &str) -> Ordering {
    Scheme::of(scheme).map_or_else(|| a.cmp(b), |scheme| scheme.compare(a, b))
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let form = || RangeError::Form(text.chars().take(100).collect());
        if text.len() > MAX_RANGE_BYTES {
            return Err(RangeError::TooLong);
        }
        let (scheme, list) = text.strip_prefix("vers:").and_then(|rest| rest.split_once('/')).ok_or_else(form)?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
        if scheme.is_empty() || !scheme.chars().all(plain) {
            return Err(form());
        }
        if list == "*" {
            return Ok(Self { scheme: scheme.to_owned(), constraints: Vec::new() });
        }
        let mut constraints = Vec::new();
        for part in list.split('|') {
            let part = part.trim();
            let (comparator, version) = Comparator::ALL
                .iter()
                .find_map(|(written, comparator)| Some((*comparator, part.strip_prefix(written)?)))
                .unwrap_or((Comparator::Equal, part));
            let version = unescaped(version.trim()).filter(|v| !v.is_empty() && !v.chars().any(char::is_control));
            constraints.push(Constraint { comparator, version: version.ok_or_else(form)? });
        }
        if constraints.len() > MAX_RANGE_CONSTRAINTS {
            return Err(RangeError::TooLong);
        }
        let ordered = constraints.iter().any(|c| c.comparator.is_below() || c.comparator.is_above());
        if ordered && Scheme::of(scheme).is_none() {
            return Err(RangeError::Scheme(scheme.to_owned()));
        }
        constraints.sort_by(|a, b| compare(scheme, &a.version, &b.version));
        let twice = constraints.windows(2).find_map(|pair| match pair {
            [a, b] if compare(scheme, &a.version, &b.version).is_eq() => Some(b.version.clone()),
            _ => None,
        });
        if let Some(version) = twice {
            return Err(RangeError::Twice(version));
        }
        let range = Self { scheme: scheme.to_owned(), constraints };
        // It is kept as it is written here, and percent signs make it longer: what is taken must be read again.
        if range.to_string().len() > MAX_RANGE_BYTES { Err(RangeError::TooLong) } else { Ok(range) }
    }
}

/// What percent signs stand for.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vers:{}/", self.scheme)?;
        if self.constraints.is_empty() {
            return f.write_str("*");
        }
        for (i, constraint) in self.constraints.iter().enumerate() {
            let between = if i > 0 { "|" } else { "" };
            write!(f, "{between}{}", constraint.comparator.as_str())?;
            for byte in constraint.version.bytes() {
                match byte {
                    b'.' | b'-' | b'_' | b'~' | b'+' | b':' => write!(f, "{}", char::from(byte))?,
                    _ if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Range {
    type Error = RangeError;
    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.to_string()
    }
}
