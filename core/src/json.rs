//! One strict reading of JSON and one canonical writing of it.
//!
//! Attack: two parsers that understand one file differently (a name twice, a number that loses digits), so that what was
//! signed is not what is acted upon. Hence names that occur twice, floats and deep nesting are refused, and the canonical
//! bytes and the typed view come from the same [`Value`].
//!
//! The canonical form is OLPC's: names sorted by bytes, no white space, only `"` and `\` escaped, no Unicode
//! normalisation. It is what TUF signs, and no JSON where a string holds a line break. What is stored and read again is
//! therefore written with control characters escaped as JSON demands ([`to_bytes`], [`to_canonical`]), and else the same.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::{Map, Number, Value};

use crate::limits::{MAX_FOREIGN_VALUES, MAX_JSON_DEPTH};

/// Of metadata each value has so many bytes at least, on average: a listed file's digest alone has 64.
const VALUE_BYTES: usize = 12;
/// So many values are let be in metadata of whatever length.
const FEW_VALUES: usize = 4_000;
/// Each object has so many: what is shortest lists a file by its length and one digest.
const OBJECT_BYTES: usize = 40;
/// So many objects are let be in metadata of whatever length.
const FEW_OBJECTS: usize = 1_000;

/// Why JSON was refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not JSON, or not strict enough.
    #[error("not strict JSON")]
    Parse(#[source] serde_json::Error),
    /// The JSON is not of the shape that was asked for.
    #[error("JSON of another shape than expected")]
    Shape(#[source] serde_json::Error),
    /// A value holds a float, which has no canonical form.
    #[error("a float has no canonical form")]
    Float,
}

/// Parses strictly: no name twice, no float, no nesting over [`MAX_JSON_DEPTH`], nothing behind the value.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    read(bytes, Strict { depth: 0, left: None })
}

/// The same of metadata of which nothing is verified yet, which a captured server makes as it likes: no more values, and objects
/// among them, than metadata of that length ever hold. In 8 MiB of `{"":0},` there are a million objects, each of which takes
/// ninety times its bytes of memory.
pub fn parse_unverified(bytes: &[u8]) -> Result<Value, JsonError> {
    let left = |each: usize, few: usize| Cell::new((bytes.len() / each).saturating_add(few));
    let (values, objects) = (left(VALUE_BYTES, FEW_VALUES), left(OBJECT_BYTES, FEW_OBJECTS));
    read(bytes, Strict { depth: 0, left: Some(&Left { values, objects, floats: false }) })
}

/// Parses what others wrote for everybody to read: as strictly as [`parse`], but floats are let be, for nobody signs this
/// value. At most [`MAX_FOREIGN_VALUES`], because a byte of text can cost fifty of memory.
pub fn parse_foreign(bytes: &[u8]) -> Result<Value, JsonError> {
    let left = || Cell::new(MAX_FOREIGN_VALUES);
    read(bytes, Strict { depth: 0, left: Some(&Left { values: left(), objects: left(), floats: true }) })
}

fn read(bytes: &[u8], strict: Strict<'_>) -> Result<Value, JsonError> {
    let mut d = serde_json::Deserializer::from_slice(bytes);
    let value = strict.deserialize(&mut d).map_err(JsonError::Parse)?;
    d.end().map_err(JsonError::Parse)?;
    Ok(value)
}

/// [`parse`], then the typed view of the same value.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    serde_json::from_value(parse(bytes)?).map_err(JsonError::Shape)
}

/// The canonical bytes of a value, for hashing and signing.
pub fn canonical(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    write(value, Control::Raw, &mut out)?;
    Ok(out)
}

/// The one way to write a value as JSON: as [`canonical`], with control characters escaped, so that it reads back.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    write(value, Control::Escaped, &mut out)?;
    Ok(out)
}

/// [`to_bytes`] of anything that serialises to JSON: a document whose very bytes are hashed, signed and read.
pub fn to_canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, JsonError> {
    to_bytes(&serde_json::to_value(value).map_err(JsonError::Shape)?)
}

/// What becomes of the characters below U+0020.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    Raw,
    Escaped,
}

fn write(value: &Value, control: Control, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) if n.is_f64() => return Err(JsonError::Float),
        Value::Number(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::String(s) => write_string(s, control, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, control, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (i, (name, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(name, control, out);
                out.push(b':');
                write(value, control, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(s: &str, control: Control, out: &mut Vec<u8>) {
    out.push(b'"');
    for b in s.bytes() {
        if b < 0x20 && control == Control::Escaped {
            out.extend_from_slice(format!("\\u{b:04x}").as_bytes());
            continue;
        }
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: u32,
    /// What it may hold yet, where that is bounded.
    left: Option<&'a Left>,
}

/// What a text may hold yet.
struct Left {
    /// Values, objects among them.
    values: Cell<usize>,
    /// Objects.
    objects: Cell<usize>,
    /// Whether numbers may be floats.
    floats: bool,
}

/// One less; an error where none is left.
fn less<E: serde::de::Error>(left: &Cell<usize>, of: &str) -> Result<(), E> {
    let less = left.get().checked_sub(1).ok_or_else(|| E::custom(format_args!("more {of} than it may hold")))?;
    left.set(less);
    Ok(())
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_JSON_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        if let Some(left) = self.left {
            less(&left.values, "values")?;
        }
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without floats")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value, E> {
        if let (true, Some(n)) = (self.left.is_some_and(|left| left.floats), Number::from_f64(n)) {
            return Ok(n.into());
        }
        Err(E::custom(format_args!("{n} is a float or out of range")))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(s.into())
    }

    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(s.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        if let Some(left) = self.left {
            less(&left.objects, "objects")?;
        }
        let mut out = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            if out.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} occurs twice")));
            }
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let bad = [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "1.0",
            "1e3",
            "-0.0",
            "18446744073709551616",
            "{} {}",
            "\u{feff}{}",
            "{\"a\":1,}",
            "NaN",
            deep.as_str(),
        ];
        for text in bad {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(format!("{}{}", "[".repeat(64), "]".repeat(64)).as_bytes()).is_ok());
    }

    #[test]
    fn what_others_wrote_may_hold_floats_and_not_without_end() {
        assert_eq!(parse_foreign(b"[9.8, 10]").unwrap(), serde_json::json!([9.8, 10]));
        for bad in [r#"{"a":1.5,"a":2}"#, "1e999", "[1.5] 2"] {
            assert!(parse_foreign(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = |n: usize| format!("[{}1]", "1,".repeat(n - 2));
        assert!(parse_foreign(many(MAX_FOREIGN_VALUES).as_bytes()).is_ok());
        assert!(parse_foreign(many(MAX_FOREIGN_VALUES + 1).as_bytes()).is_err());
    }

    /// Attack: metadata of a few megabytes that take hundreds of a device's memory, before anybody's signature is looked at.
    #[test]
    fn unverified_metadata_hold_no_more_values_than_metadata_do() {
        let list = |item: &str, times: usize| format!("[{}{item}]", format!("{item},").repeat(times - 1));
        let target = format!(r#"{{"hashes":{{"sha256":"{}"}},"length":1}}"#, "a".repeat(64));
        for (item, times, good) in [
            (r#"{"":0}"#, 1_000, true),
            (r#"{"":0}"#, 5_000, false),
            ("{}", 1_000_000, false),
            ("[]", 1_000_000, false),
            ("0", 1_000_000, false),
            ("\"\"", 1_000_000, false),
            (target.as_str(), 50_000, true),
        ] {
            let text = list(item, times);
            assert_eq!(parse_unverified(text.as_bytes()).is_ok(), good, "{times} of {item}");
            assert!(parse(text.as_bytes()).is_ok());
        }
        assert!(parse_unverified(b"[1.5]").is_err());
    }

    #[test]
    fn canonical_form_sorts_by_bytes_and_escapes_two_characters_only() {
        let value =
            parse("{\"b\": [1, true, null], \"\u{e9}\": \"x\\n\\\"\\\\\u{301}\", \"a\": -7}".as_bytes()).unwrap();
        let want = "{\"a\":-7,\"b\":[1,true,null],\"\u{e9}\":\"x\n\\\"\\\\\u{301}\"}";
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), want);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[\u{0}-~\u{e9}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z\\\\\"]{0,4}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn written_bytes_read_back_as_the_same_value(value in values()) {
            let bytes = to_bytes(&value).unwrap();
            if !bytes.windows(2).any(|w| w == b"\\u") {
                prop_assert_eq!(&bytes, &canonical(&value).unwrap());
            }
            prop_assert_eq!(parse(&bytes).unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
