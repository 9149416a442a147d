//! Labels: what a hospital says of its devices beside ward and product, as in `area=icu kind=bedside`.
//!
//! A device has one value for a key. They are signed with the roster, so that a plan that selects by them does not take the
//! server's word for who is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_LABEL_BYTES, MAX_LABELS};

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// What it is about.
    key: String,
    /// What it says.
    value: String,
}

/// A device's labels, each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

/// Which devices by their labels: every key that is named must be there, with one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, BTreeSet<String>>", into = "BTreeMap<String, BTreeSet<String>>")]
pub struct LabelSelector(BTreeMap<String, BTreeSet<String>>);

/// Why something is no label, or no set of labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not of a label's form.
    #[error(
        "{0:?} is no label like area=icu: key and value of 1 to {MAX_LABEL_BYTES} characters of a-z, 0-9, '.', '_', '-', each the first a letter or digit"
    )]
    Form(String),
    /// Two values.
    #[error("the label {0} is there twice; a device has one value for a key")]
    Twice(String),
    /// Too many.
    #[error("more than {MAX_LABELS} labels")]
    TooMany,
}

impl Label {
    fn new(key: &str, value: &str) -> Result<Self, LabelError> {
        let plain = |text: &str| {
            let mut bytes = text.bytes();
            let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            first
                && text.len() <= MAX_LABEL_BYTES
                && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        if plain(key) && plain(value) {
            return Ok(Self { key: key.to_owned(), value: value.to_owned() });
        }
        let shown: String = format!("{key}={value}").chars().take(2 * MAX_LABEL_BYTES).collect();
        Err(LabelError::Form(shown))
    }
}

impl FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Self::new(key, value)
    }
}

impl Labels {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each as `key=value`, ascending by key.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// Of these labels, in any order.
    ///
    /// # Errors
    ///
    /// A key is there twice, or there are too many.
    pub fn of(labels: impl IntoIterator<Item = Label>) -> Result<Self, LabelError> {
        let mut all = BTreeMap::new();
        for Label { key, value } in labels {
            if all.contains_key(&key) {
                return Err(LabelError::Twice(key));
            }
            all.insert(key, value);
            if all.len() > MAX_LABELS {
                return Err(LabelError::TooMany);
            }
        }
        Ok(Self(all))
    }
}

impl FromStr for Labels {
    type Err = LabelError;
    /// Labels with white space between them, as they stand in a spreadsheet's cell.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let labels = text.split_whitespace().map(str::parse).collect::<Result<Vec<Label>, _>>()?;
        Self::of(labels)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(" "))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = LabelError;
    fn try_from(map: BTreeMap<String, String>) -> Result<Self, LabelError> {
        let labels = map.iter().map(|(key, value)| Label::new(key, value)).collect::<Result<Vec<_>, _>>()?;
        Self::of(labels)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

impl LabelSelector {
    /// Whether it asks for nothing, so that every device has what it asks for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a device with these labels is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, values)| labels.0.get(key).is_some_and(|value| values.contains(value)))
    }

    /// How many labels it names.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}

impl FromIterator<Label> for LabelSelector {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Label { key, value } in labels {
            all.entry(key).or_default().insert(value);
        }
        Self(all)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(key, values): (&String, &BTreeSet<String>)| {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            format!("{key}={}", values.join(" or "))
        };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

impl TryFrom<BTreeMap<String, BTreeSet<String>>> for LabelSelector {
    type Error = LabelError;
    fn try_from(map: BTreeMap<String, BTreeSet<String>>) -> Result<Self, LabelError> {
        let pairs = map.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        let labels = pairs.map(|(key, value)| Label::new(key, value)).collect::<Result<Vec<_>, _>>()?;
        match map.iter().find(|(_, values)| values.is_empty()) {
            // No device has one of no values: whoever wrote this meant something else.
            Some((key, _)) => Err(LabelError::Form(key.chars().take(MAX_LABEL_BYTES).collect())),
            None => Ok(labels.into_iter().collect()),
        }
    }
}

impl From<LabelSelector> for BTreeMap<String, BTreeSet<String>> {
    fn from(selector: LabelSelector) -> Self {
        selector.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.parse().unwrap()
    }

    #[test]
    fn labels_are_read_as_they_stand_in_a_cell_and_written_in_one_order() {
        assert_eq!(labels(" kind=bedside  area=icu ").to_string(), "area=icu kind=bedside");
        assert!(labels("").is_empty());
        let long = format!("a={}", "b".repeat(MAX_LABEL_BYTES + 1));
        for bad in ["area", "area=", "=icu", "Area=icu", "area=ICU", "area=a=b", "area=é", "-a=b", long.as_str()] {
            assert!(matches!(bad.parse::<Labels>(), Err(LabelError::Form(_))), "{bad}");
        }
        assert_eq!("a=b a=c".parse::<Labels>(), Err(LabelError::Twice("a".to_owned())));
        let many: Vec<_> = (0..=MAX_LABELS).map(|n| format!("k{n}=v")).collect();
        assert_eq!(many.join(" ").parse::<Labels>(), Err(LabelError::TooMany));
        assert!(many[1..].join(" ").parse::<Labels>().is_ok());
    }

    #[test]
    fn json_is_checked_like_text() {
        let both: Labels = serde_json::from_str(r#"{"kind":"bedside","area":"icu"}"#).unwrap();
        assert_eq!(both, labels("area=icu kind=bedside"));
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"{"area":"icu","kind":"bedside"}"#);
        assert!(serde_json::from_str::<Labels>(r#"{"area":"ICU"}"#).is_err());
        assert!(serde_json::from_str::<LabelSelector>(r#"{"area":[]}"#).is_err());
        let selector: LabelSelector = serde_json::from_str(r#"{"area":["er","icu"]}"#).unwrap();
        assert_eq!(serde_json::to_string(&selector).unwrap(), r#"{"area":["er","icu"]}"#);
    }

    #[test]
    fn every_key_must_be_there_with_one_of_its_values() {
        let selector = |texts: &[&str]| texts.iter().map(|t| t.parse::<Label>().unwrap()).collect::<LabelSelector>();
        let device = labels("area=icu kind=bedside");
        for (asked, meant) in [
            (&["area=icu"][..], true),
            (&["area=icu", "kind=bedside"], true),
            (&["area=icu", "area=er"], true),
            (&["area=icu", "kind=mobile"], false),
            (&["area=er"], false),
            (&["floor=2"], false),
            (&[], true),
        ] {
            assert_eq!(selector(asked).matches(&device), meant, "{asked:?}");
        }
        let both = selector(&["area=icu", "kind=bedside", "area=er"]);
        assert_eq!((both.to_string().as_str(), both.len()), ("area=er or icu, kind=bedside", 3));
    }
}
