//! Package URLs (ECMA-427, `pkg:type/namespace/name@version?qualifiers#subpath`), parsed and in their one canonical form.
//!
//! Two spellings of one package must come out as one text, since what is exposed is found by comparing texts: the type and
//! most names in lower case, qualifiers in order, each character encoded or not encoded as the standard has it.

mod encoding;
mod kind;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use self::encoding::{decode, encode};
use crate::limits::MAX_PURL_BYTES;

/// A package URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purl {
    kind: String,
    namespace: Vec<String>,
    name: String,
    version: Option<String>,
    qualifiers: BTreeMap<String, String>,
    subpath: Vec<String>,
}

/// Why a text is no package URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurlError {
    /// Longer than any package URL may be.
    #[error("it has more than {MAX_PURL_BYTES} bytes")]
    TooLong,
    /// It does not begin with `pkg:`.
    #[error("a package URL begins with pkg:")]
    Scheme,
    /// The type is missing, or has other characters than letters, digits, `.` and `-`, or begins with a digit.
    #[error("its type is missing, or is no type")]
    Kind,
    /// It ends before a name.
    #[error("its name is missing")]
    Name,
    /// What is behind a `%` is no byte, or the bytes are no UTF-8.
    #[error("it is not encoded as a package URL is")]
    Encoding,
    /// A segment holds a `/` or is one of `.` and `..`, once it is decoded.
    #[error("a segment of its namespace or subpath holds a slash, or is . or ..")]
    Segment,
    /// A qualifier's key has other characters than letters, digits, `.`, `-` and `_`, begins with a digit, or comes twice.
    #[error("a qualifier's key is no key, or comes twice")]
    Qualifier,
    /// A control character.
    #[error("it holds a control character")]
    Control,
}

impl Purl {
    /// The type, in lower case: `cargo`, `deb`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What stands before the name: a vendor, a group, a distribution.
    pub fn namespace(&self) -> Option<String> {
        (!self.namespace.is_empty()).then(|| self.namespace.join("/"))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The qualifiers by their keys: `arch`, `distro`, …
    pub fn qualifiers(&self) -> &BTreeMap<String, String> {
        &self.qualifiers
    }

    /// A path in the package.
    pub fn subpath(&self) -> Option<String> {
        (!self.subpath.is_empty()).then(|| self.subpath.join("/"))
    }

    /// The same without its version.
    pub(super) fn unversioned(mut self) -> Self {
        self.version = None;
        self
    }

    /// The package in any version, architecture and place: canonical, without version, qualifiers and subpath.
    pub fn package(&self) -> String {
        let mut out = format!("pkg:{}/", self.kind);
        for segment in &self.namespace {
            encode(segment, &mut out);
            out.push('/');
        }
        encode(&self.name, &mut out);
        out
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = self.package();
        if let Some(version) = &self.version {
            out.push('@');
            encode(version, &mut out);
        }
        for (i, (key, value)) in self.qualifiers.iter().enumerate() {
            out.push(if i == 0 { '?' } else { '&' });
            out.push_str(key);
            out.push('=');
            encode(value, &mut out);
        }
        for (i, segment) in self.subpath.iter().enumerate() {
            out.push(if i == 0 { '#' } else { '/' });
            encode(segment, &mut out);
        }
        f.write_str(&out)
    }
}

impl FromStr for Purl {
    type Err = PurlError;

    /// In the order that the standard gives (ECMA-427, "How to parse a PURL string"): subpath, qualifiers, scheme, type,
    /// version, name, namespace.
    fn from_str(text: &str) -> Result<Self, PurlError> {
        if text.len() > MAX_PURL_BYTES {
            return Err(PurlError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PurlError::Control);
        }
        let (rest, subpath) = text.rsplit_once('#').map_or((text, ""), |(rest, subpath)| (rest, subpath));
        let (rest, qualifiers) = rest.rsplit_once('?').map_or((rest, ""), |(rest, qualifiers)| (rest, qualifiers));
        let (scheme, rest) = rest.split_once(':').ok_or(PurlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return Err(PurlError::Scheme);
        }
        let (kind, rest) = rest.trim_matches('/').split_once('/').ok_or(PurlError::Kind)?;
        let is_kind = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if kind.is_empty() || kind.starts_with(|c: char| c.is_ascii_digit()) || !kind.chars().all(is_kind) {
            return Err(PurlError::Kind);
        }
        let kind = kind.to_ascii_lowercase();
        // A scope of npm begins with the same character as a version, and right behind a slash.
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() && !path.ends_with('/') => (path, Some(version)),
            Some(("" | "/", _)) if !rest.contains('/') => return Err(PurlError::Name),
            _ => (rest, None),
        };
        let path = path.trim_matches('/');
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = kind::name(&kind, decode(name)?);
        if name.is_empty() {
            return Err(PurlError::Name);
        }
        let version = version.map(decode).transpose()?.filter(|version| !version.is_empty());
        let purl = Self {
            namespace: segments(namespace, Dots::Kept)?.into_iter().map(|s| kind::namespace(&kind, s)).collect(),
            version: version.map(|version| kind::version(&kind, version)),
            qualifiers: qualifiers_of(qualifiers)?,
            subpath: segments(subpath, Dots::Dropped)?,
            name,
            kind,
        };
        let decoded = [&purl.name].into_iter().chain(&purl.version).chain(purl.qualifiers.values());
        let control =
            decoded.chain(&purl.namespace).chain(&purl.subpath).any(|text| text.chars().any(char::is_control));
        if control {
            return Err(PurlError::Control);
        }
        // What is encoded takes up to three times its bytes, and the canonical form is read again.
        if purl.to_string().len() > MAX_PURL_BYTES { Err(PurlError::TooLong) } else { Ok(purl) }
    }
}

/// What becomes of the segments `.` and `..`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    /// They are names like others.
    Kept,
    /// They lead nowhere: the standard drops them.
    Dropped,
}

fn segments(path: &str, dots: Dots) -> Result<Vec<String>, PurlError> {
    let mut out = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = decode(segment)?;
        let is_dot = matches!(segment.as_str(), "." | "..");
        if segment.is_empty() || segment.contains('/') {
            return Err(PurlError::Segment);
        }
        if !(is_dot && dots == Dots::Dropped) {
            out.push(segment);
        }
    }
    Ok(out)
}

fn qualifiers_of(text: &str) -> Result<BTreeMap<String, String>, PurlError> {
    let mut out = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(PurlError::Qualifier)?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) || !key.chars().all(is_key) {
            return Err(PurlError::Qualifier);
        }
        let value = decode(value)?;
        // "A key without a value is the same as no key."
        if !value.is_empty() && out.insert(key.to_ascii_lowercase(), value).is_some() {
            return Err(PurlError::Qualifier);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
