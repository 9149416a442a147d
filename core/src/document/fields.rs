//! Reading a document of others field by field, so that each fault has its place.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::DocumentFault;
use crate::limits::MAX_TEXT_BYTES;

/// The fields of an object. What is not asked for is not looked at: tools may say more than Suture reads.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

/// A value that is an object.
pub(super) fn object(value: &Value) -> Result<Fields<'_>, DocumentFault> {
    value.as_object().map(Fields).ok_or_else(|| mismatch("an object", value))
}

/// A value that is text: neither empty nor longer than [`MAX_TEXT_BYTES`], and on one line.
pub(super) fn text(value: &Value) -> Result<String, DocumentFault> {
    let text = value.as_str().ok_or_else(|| mismatch("text", value))?;
    if text.trim().is_empty() {
        return Err(DocumentFault::new("is empty"));
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(DocumentFault::new(format!("has {} bytes, more than {MAX_TEXT_BYTES}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(DocumentFault::expected("text without control characters", text));
    }
    Ok(text.to_owned())
}

/// As [`text`]; none where it is empty, as tools write what they do not know.
pub(super) fn text_or_none(value: &Value) -> Result<Option<String>, DocumentFault> {
    if value.as_str().is_some_and(|text| text.trim().is_empty()) { Ok(None) } else { text(value).map(Some) }
}

/// What people say at any length, on any number of lines.
pub(super) fn prose(value: &Value) -> Result<&str, DocumentFault> {
    value.as_str().ok_or_else(|| mismatch("text", value))
}

/// One of some words.
pub(super) fn word<'a>(value: &'a Value, words: &[&str]) -> Result<&'a str, DocumentFault> {
    let text = value.as_str().ok_or_else(|| mismatch("text", value))?;
    if words.contains(&text) {
        Ok(text)
    } else {
        Err(DocumentFault::expected(&format!("one of {}", words.join(", ")), text))
    }
}

/// A natural number.
pub(super) fn number(value: &Value) -> Result<u64, DocumentFault> {
    value.as_u64().ok_or_else(|| mismatch("a number that is not below 0", value))
}

/// A value that another type parses, named for people.
pub(super) fn parsed<T: std::str::FromStr<Err: fmt::Display>>(value: &Value, what: &str) -> Result<T, DocumentFault> {
    let text = text(value)?;
    text.parse().map_err(|e| {
        let fault = DocumentFault::expected(what, &text);
        DocumentFault::new(format!("{}: {e}", fault.problem))
    })
}

/// An instant as RFC 3339 writes it (section 5.6), with any offset; nothing that only some readers understand.
pub(super) fn instant(value: &Value) -> Result<Timestamp, DocumentFault> {
    let text = value.as_str().ok_or_else(|| mismatch("a time", value))?;
    let fault = || DocumentFault::expected("a time as in 2026-11-24T15:00:00Z", text);
    if !has_rfc3339_shape(text.as_bytes()) {
        return Err(fault());
    }
    text.parse().map_err(|_| fault())
}

fn has_rfc3339_shape(text: &[u8]) -> bool {
    let like = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(c, s)| if *s == b'0' { c.is_ascii_digit() } else { c == s })
    };
    let Some((head, rest)) = text.split_at_checked(19) else { return false };
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        _ => rest,
    };
    like(head, b"0000-00-00T00:00:00") && (rest == b"Z" || like(rest, b"+00:00") || like(rest, b"-00:00"))
}

fn mismatch(what: &str, value: &Value) -> DocumentFault {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    DocumentFault::new(format!("expected {what}, found {found}"))
}

impl<'a> Fields<'a> {
    /// The value of a field, as it is.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    /// What is read of a field that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Result<T, DocumentFault>,
    ) -> Result<T, DocumentFault> {
        let value = self.0.get(name).ok_or_else(|| DocumentFault::new("is missing").under(name))?;
        read(value).map_err(|fault| fault.under(name))
    }

    /// What is read of a field that may be there.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Result<T, DocumentFault>,
    ) -> Result<Option<T>, DocumentFault> {
        self.0.get(name).map(read).transpose().map_err(|fault| fault.under(name))
    }

    /// What is read of the items of a list; none where the field is not there.
    pub(super) fn list<T>(
        &self,
        name: &str,
        mut read: impl FnMut(&'a Value) -> Result<T, DocumentFault>,
    ) -> Result<Vec<T>, DocumentFault> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| mismatch("a list", value).under(name))?;
        let items = list.iter().enumerate();
        items.map(|(i, item)| read(item).map_err(|fault| fault.under(&format!("[{i}]")).under(name))).collect()
    }

    /// As [`Self::list`], where there must be an item.
    pub(super) fn some<T>(
        &self,
        name: &str,
        read: impl FnMut(&'a Value) -> Result<T, DocumentFault>,
    ) -> Result<Vec<T>, DocumentFault> {
        let items = self.list(name, read)?;
        if items.is_empty() { Err(DocumentFault::new("lists nothing, or is missing").under(name)) } else { Ok(items) }
    }

    /// A field of text, of which nothing is known where it is empty.
    pub(super) fn told(&self, name: &str) -> Result<Option<String>, DocumentFault> {
        Ok(self.optional(name, text_or_none)?.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_is_written_as_rfc_3339_writes_it() {
        for good in ["2026-11-24T15:00:00Z", "2020-04-13T20:20:39+00:00", "2023-08-16T19:55:22.076684217-06:00"] {
            assert!(instant(&json!(good)).is_ok(), "{good}");
        }
        for bad in [
            "2026-11-24",
            "2026-11-24 15:00:00Z",
            "2026-11-24T15:00:00",
            "2026-11-24T15:00Z",
            "2026-13-24T15:00:00Z",
            "2026-11-24T15:00:00.Z",
            "2026-11-24T15:00:00+0000",
            "2026-11-24T15:00:00Z[UTC]",
            "",
        ] {
            assert!(instant(&json!(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_says_where_and_what() {
        let value = json!({ "a": [{ "b": "x" }, { "b": 7 }], "c": null });
        let fields = object(&value).unwrap();
        let wrong = |fault: Result<Vec<String>, DocumentFault>| fault.unwrap_err().to_string();
        let b = fields.list("a", |item| object(item)?.required("b", text));
        assert_eq!(wrong(b), "a[1].b: expected text, found a number");
        let missing = fields.list("a", |item| object(item)?.required("z", text));
        assert_eq!(wrong(missing), "a[0].z: is missing");
        assert_eq!(wrong(fields.list("c", text)), "c: expected a list, found null");
        assert_eq!(wrong(fields.some("d", text)), "d: lists nothing, or is missing");
    }
}
