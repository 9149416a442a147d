//! Values on their way into and out of columns.

use std::str::FromStr;

use jiff::Timestamp;
use suture_core::digest::Digest;

use super::StoreError;

/// An instant as a column holds it.
pub(crate) fn to_ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The instant in a column.
pub(crate) fn from_ms(table: &'static str, column: &'static str, ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| StoreError::Row { table, column, problem: format!("no time: {ms}") })
}

/// A count as a column holds it.
pub(crate) fn to_i64(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Range { what, value })
}

/// The count in a column.
pub(crate) fn to_u64(table: &'static str, column: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Row { table, column, problem: format!("negative: {value}") })
}

/// The digest in a column.
pub(crate) fn digest(table: &'static str, column: &'static str, bytes: &[u8]) -> Result<Digest, StoreError> {
    let problem = || format!("no SHA-256 digest but {} bytes", bytes.len());
    Digest::try_from(bytes).map_err(|_| StoreError::Row { table, column, problem: problem() })
}

/// The id, version or the like in a column.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(
    table: &'static str,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse().map_err(|e: T::Err| StoreError::Row { table, column, problem: e.to_string() })
}

/// What `with_list!` reads: a JSON array of hexadecimal strings.
pub(crate) fn hex_list<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> String {
    let mut text = String::from("[");
    for (i, digest) in digests.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push('"');
        text.push_str(&digest.to_string());
        text.push('"');
    }
    text.push(']');
    text
}

/// A JSON array of texts.
pub(crate) fn text_list(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}
