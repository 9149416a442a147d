//! Indicators of compromise: what a hospital has seen that others may look for.
//!
//! They are taken from a file of lines `type value`, or out of a STIX 2.1 bundle (OASIS), whose indicators' patterns are
//! kept as they are. They are data for people and their tools: nothing here acts on one.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{MAX_INDICATOR_BYTES, MAX_INDICATOR_FILE_BYTES, MAX_INDICATORS};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndicatorKind {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A domain's name.
    Domain,
    /// An address of a resource.
    Url,
    /// An address of mail.
    Email,
    /// A file's MD5.
    Md5,
    /// A file's SHA-1.
    Sha1,
    /// A file's SHA-256.
    Sha256,
    /// A file's name or path.
    File,
    /// Something else, in words.
    Other,
    /// A STIX 2.1 pattern.
    StixPattern,
}

impl IndicatorKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ipv4,
        Self::Ipv6,
        Self::Domain,
        Self::Url,
        Self::Email,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::File,
        Self::Other,
        Self::StixPattern,
    ];

    /// The name in files and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Domain => "domain",
            Self::Url => "url",
            Self::Email => "email",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::File => "file",
            Self::Other => "other",
            Self::StixPattern => "stix-pattern",
        }
    }

    /// Whether a value is one of the kind.
    fn fits(self, value: &str) -> bool {
        let hex = |digits: usize| value.len() == digits && value.bytes().all(|b| b.is_ascii_hexdigit());
        let bare = !value.contains(char::is_whitespace);
        match self {
            Self::Ipv4 => value.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => value.parse::<Ipv6Addr>().is_ok(),
            Self::Domain => {
                let label =
                    |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
                value.len() <= 253 && value.contains('.') && value.split('.').all(label)
            }
            Self::Url => {
                bare && value.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
            }
            Self::Email => bare && value.split_once('@').is_some_and(|(who, at)| !who.is_empty() && at.contains('.')),
            Self::Md5 => hex(32),
            Self::Sha1 => hex(40),
            Self::Sha256 => hex(64),
            Self::File | Self::Other => true,
            Self::StixPattern => value.starts_with('[') && value.ends_with(']'),
        }
    }
}

impl fmt::Display for IndicatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Indicator {
    /// What is looked for.
    pub kind: IndicatorKind,
    /// The value.
    pub value: String,
}

/// Why a file of indicators was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndicatorError {
    /// Longer than is read.
    #[error("the file has {0} bytes, more than {MAX_INDICATOR_FILE_BYTES}")]
    TooLong(usize),
    /// Not text.
    #[error("the file is not UTF-8 text")]
    Text,
    /// Neither JSON nor lines.
    #[error("the file begins like JSON and is not: {0}")]
    Json(String),
    /// Something of it.
    #[error("{place}: {problem}")]
    Place {
        /// `line 3`, or `objects[2]`.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// More than a report holds.
    #[error("the file holds {0} indicators, more than {MAX_INDICATORS}")]
    TooMany(usize),
    /// None.
    #[error(
        "the file holds no indicator; lines are `type value`, a STIX 2.1 bundle has objects of the type `indicator`"
    )]
    None,
}

impl Indicator {
    /// Whether it is what it says.
    pub(super) fn is_sound(&self) -> bool {
        let Self { kind, value } = self;
        let plain = value.len() <= MAX_INDICATOR_BYTES && !value.chars().any(char::is_control);
        plain && !value.trim().is_empty() && kind.fits(value)
    }

    /// Reads a file: a STIX 2.1 bundle where it begins with `{`, lines else. `#` begins a line that is a remark.
    ///
    /// # Errors
    ///
    /// It is too long, holds none, too many, or one that is not what it says, with its place.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>, IndicatorError> {
        if bytes.len() as u64 > MAX_INDICATOR_FILE_BYTES {
            return Err(IndicatorError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| IndicatorError::Text)?;
        let found = if text.trim_start().starts_with('{') { stix(text)? } else { lines(text)? };
        match found.len() {
            0 => Err(IndicatorError::None),
            n if n > MAX_INDICATORS => Err(IndicatorError::TooMany(n)),
            _ => Ok(found),
        }
    }
}

fn sound(place: String, kind: IndicatorKind, value: &str) -> Result<Indicator, IndicatorError> {
    let indicator = Indicator { kind, value: value.to_owned() };
    if indicator.is_sound() {
        return Ok(indicator);
    }
    let problem = format!("the value is no {kind} of at most {MAX_INDICATOR_BYTES} bytes");
    Err(IndicatorError::Place { place, problem })
}

fn lines(text: &str) -> Result<Vec<Indicator>, IndicatorError> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("line {number}");
        let (kind, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let known = IndicatorKind::ALL.into_iter().find(|k| k.as_str() == kind);
        let Some(kind) = known else {
            let kinds = IndicatorKind::ALL.map(IndicatorKind::as_str).join(", ");
            let problem = format!("a line is `type value`, and a type is one of {kinds}");
            return Err(IndicatorError::Place { place, problem });
        };
        found.push(sound(place, kind, value.trim())?);
        if found.len() > MAX_INDICATORS {
            break;
        }
    }
    Ok(found)
}

/// STIX 2.1, 4.7 (indicator) and 8 (bundle), as far as a report needs it.
fn stix(text: &str) -> Result<Vec<Indicator>, IndicatorError> {
    let bundle: Value = serde_json::from_str(text).map_err(|e| IndicatorError::Json(e.to_string()))?;
    let at =
        |place: &str, problem: &str| IndicatorError::Place { place: place.to_owned(), problem: problem.to_owned() };
    let is = |value: &Value, name: &str, wanted: &str| value.get(name).and_then(Value::as_str) == Some(wanted);
    if !is(&bundle, "type", "bundle") {
        return Err(at("type", "is not `bundle`: this is no STIX bundle"));
    }
    let objects = bundle.get("objects").and_then(Value::as_array).ok_or_else(|| at("objects", "is no list"))?;
    let mut found = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        let place = format!("objects[{n}]");
        if object.get("type").and_then(Value::as_str).is_none() {
            return Err(at(&place, "has no `type`"));
        }
        if !is(object, "type", "indicator") {
            continue;
        }
        if !is(object, "spec_version", "2.1") {
            return Err(at(&place, "its `spec_version` is not 2.1"));
        }
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
        if id.strip_prefix("indicator--").is_none_or(|uuid| uuid.len() != 36) {
            return Err(at(&place, "its `id` is not `indicator--` and a UUID"));
        }
        if !is(object, "pattern_type", "stix") {
            return Err(at(&place, "its `pattern_type` is not `stix`"));
        }
        let pattern = object.get("pattern").and_then(Value::as_str).unwrap_or_default();
        found.push(sound(place, IndicatorKind::StixPattern, pattern)?);
        if found.len() > MAX_INDICATORS {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_their_type_and_the_first_bad_one_is_named() {
        let text = "# seen on the ward's gateway\nipv4 203.0.113.7\ndomain bad.example\n\nsha256 \
                    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nfile C:\\temp\\a b.exe\nurl https://bad.example/x\n";
        let read = Indicator::read(text.as_bytes()).unwrap();
        let kinds: Vec<&str> = read.iter().map(|i| i.kind.as_str()).collect();
        assert_eq!(kinds, ["ipv4", "domain", "sha256", "file", "url"]);
        assert_eq!(read[3].value, "C:\\temp\\a b.exe");
        for (bad, place) in [
            ("ipv4 203.0.113.7\nipv4 300.1.1.1\n", "line 2"),
            ("md5 e3b0\n", "line 1"),
            ("ip 10.0.0.1\n", "line 1"),
            ("domain\n", "line 1"),
            ("email nobody\n", "line 1"),
        ] {
            let error = Indicator::read(bad.as_bytes()).unwrap_err();
            assert!(matches!(&error, IndicatorError::Place { place: p, .. } if p == place), "{bad}: {error}");
        }
        assert_eq!(Indicator::read(b"# nothing\n"), Err(IndicatorError::None));
        let many = "ipv4 10.0.0.1\n".repeat(MAX_INDICATORS + 1);
        assert_eq!(Indicator::read(many.as_bytes()), Err(IndicatorError::TooMany(MAX_INDICATORS + 1)));
        let long = vec![b'#'; MAX_INDICATOR_FILE_BYTES as usize + 1];
        assert!(matches!(Indicator::read(&long), Err(IndicatorError::TooLong(_))));
    }

    #[test]
    fn a_stix_bundles_patterns_are_taken_and_other_objects_left() {
        let bundle = |indicator: &str| {
            format!(
                r#"{{"type":"bundle","id":"bundle--44af6c39-c09b-49c5-9de2-394224b04982","objects":[
                {{"type":"identity","spec_version":"2.1","id":"identity--x","confidence":0.5}},{indicator}]}}"#
            )
        };
        let good = r#"{"type":"indicator","spec_version":"2.1","id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f",
            "pattern_type":"stix","pattern":"[ipv4-addr:value = '203.0.113.7']","valid_from":"2026-11-01T00:00:00Z"}"#;
        let read = Indicator::read(bundle(good).as_bytes()).unwrap();
        assert_eq!((read.len(), read[0].value.as_str()), (1, "[ipv4-addr:value = '203.0.113.7']"));
        for (from, to, problem) in [
            ("\"2.1\"", "\"2.0\"", "spec_version"),
            ("indicator--8e", "indicator--e", "UUID"),
            ("\"stix\"", "\"snort\"", "pattern_type"),
            ("[ipv4", "ipv4", "stix-pattern"),
        ] {
            let error = Indicator::read(bundle(&good.replace(from, to)).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("objects[1]: ") && error.contains(problem), "{error}");
        }
        assert_eq!(Indicator::read(br#"{"type":"bundle","objects":[]}"#), Err(IndicatorError::None));
        assert!(matches!(Indicator::read(b"{"), Err(IndicatorError::Json(_))));
        assert!(Indicator::read(br#"{"type":"indicator"}"#).unwrap_err().to_string().contains("no STIX bundle"));
    }
}
