//! Edits of what is signed, before it is signed again.

use serde_json::{Map, Value, json};

use super::mutate::Draft;
use super::random::Random;
use super::{keys, listed};

/// Edits the signed part by chance and says how.
pub(super) fn edit(random: &mut Random, draft: &mut Draft) -> &'static str {
    let signed = &mut draft.signed;
    if !signed.is_object() {
        return "nothing";
    }
    match random.below(12) {
        0 | 1 => version(random, signed),
        2 => expires(random, signed),
        3 => header(random, signed),
        4 => unknown(random, signed),
        5 => removed(random, signed),
        6 => retyped(random, signed),
        _ => match draft.role.as_str() {
            "root" => root(random, signed),
            "snapshot" | "timestamp" => listed::meta(random, signed),
            _ => listed::targets(random, signed),
        },
    }
}

/// Puts a value at a place, where what is above it is an object; an edit before this one may have made it anything.
pub(super) fn put(value: &mut Value, place: &[&str], new: Value) {
    let Some((name, above)) = place.split_last() else { return };
    let found = above.iter().try_fold(value, |value, name| value.get_mut(*name));
    if let Some(Value::Object(object)) = found {
        object.insert((*name).to_owned(), new);
    }
}

/// Numbers where a count is expected, and other things.
pub(super) fn number(random: &mut Random, last: u64) -> Value {
    match random.below(16) {
        0 => json!(0),
        1 => json!(-1),
        2 => json!(last.wrapping_sub(1)),
        3 => json!(1),
        4 => json!(u64::MAX),
        5 => json!(1_u64 << 53),
        6 => json!(i64::MAX),
        7 => json!(last.to_string()),
        8 => json!(1.0),
        9 => json!(1.5),
        10 => json!(true),
        11 => Value::Null,
        12 => json!([last]),
        13 => json!(last),
        _ => json!(last.saturating_add(1)),
    }
}

fn version(random: &mut Random, signed: &mut Value) -> &'static str {
    let last = signed.get("version").and_then(Value::as_u64).unwrap_or(1);
    signed["version"] = number(random, last);
    "version"
}

fn expires(random: &mut Random, signed: &mut Value) -> &'static str {
    let forms = [
        "2026-11-24T16:00:00Z",
        "2026-11-24T15:00:00Z",
        "2026-11-24T16:00:01Z",
        "2020-01-01T00:00:00Z",
        "2030-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "2030-01-01T00:00:00.5Z",
        "2030-01-01T00:00:00.000000Z",
        "2030-01-01T00:00:00+00:00",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00:00z",
        "2030-01-01t00:00:00Z",
        "2030-01-01 00:00:00Z",
        "2030-01-01",
        "2030-02-30T00:00:00Z",
        "2030-01-01T24:00:00Z",
        "2030-01-01T23:59:60Z",
        "2030-1-1T0:0:0Z",
        "+002030-01-01T00:00:00Z",
        "20300101T000000Z",
        " 2030-01-01T00:00:00Z",
        "2030-01-01T00:00:00Z ",
        "2030-01-01T00:00:00ZZ",
        "2030-01-01T00:00:00Z\n",
        "2030-01-01T00:00:00Z\u{0}",
        "٢٠٣٠-01-01T00:00:00Z",
        "2030-01-01T00:00:00[UTC]",
        "",
    ];
    signed["expires"] = random.pick(&forms).into();
    if random.percent(5) {
        signed["expires"] = json!(1_893_456_000);
    }
    "expires"
}

fn header(random: &mut Random, signed: &mut Value) -> &'static str {
    if random.percent(50) {
        let forms =
            ["1.0.0", "1.0", "1", "1.99.0", "2.0.0", "0.9.0", "01.0.0", "1.0.0-rc1", " 1.0.0", "1.a.b", "", "x"];
        signed["spec_version"] = random.pick(&forms).into();
        return "spec_version";
    }
    let forms = ["root", "targets", "snapshot", "timestamp", "Root", "targets ", "mirrors", ""];
    signed["_type"] = random.pick(&forms).into();
    "_type"
}

/// Names and values that nobody knows, with all that a string can hold.
fn unknown(random: &mut Random, signed: &mut Value) -> &'static str {
    let strings = [
        "plain",
        "\u{e9}",
        "e\u{301}",
        "\u{212b}",
        "line\nbreak",
        "tab\t",
        "\u{1}\u{1f}\u{7f}",
        "quote\"back\\slash",
        "\u{2028}",
        "\u{1f489}",
        "\u{feff}",
        "/",
        "</script>",
        "\u{0}",
    ];
    let name = random.pick(&[
        "x-note",
        "\u{e9}",
        "e\u{301}",
        "Z",
        "_",
        "signed",
        "version ",
        "line\nbreak",
        "\u{ffff}",
        "\u{1f489}",
    ]);
    signed[name] = match random.below(7) {
        0 => json!({ "b": 1, "a": [null, true, {}], "\u{e9}": -5 }),
        1 => json!(i64::MIN),
        2 => json!(u64::MAX),
        3 => (0..random.pick(&[20, 62, 63, 64, 70])).fold(json!(0), |inner, _| json!([inner])),
        _ => random.pick(&strings).into(),
    };
    "unknown field"
}

fn removed(random: &mut Random, signed: &mut Value) -> &'static str {
    let place = random.below(3);
    let Some(object) = object_at(random, signed, place) else { return "nothing" };
    let names: Vec<String> = object.keys().cloned().collect();
    if !names.is_empty() {
        object.remove(&random.pick(&names));
    }
    "field removed"
}

fn retyped(random: &mut Random, signed: &mut Value) -> &'static str {
    let place = random.below(4);
    let Some(object) = object_at(random, signed, place) else { return "nothing" };
    let names: Vec<String> = object.keys().cloned().collect();
    if !names.is_empty() {
        let values = [json!(null), json!(1), json!("1"), json!([]), json!({}), json!(true), json!(false), json!("")];
        object.insert(random.pick(&names), random.pick(&values));
    }
    "field of another type"
}

/// An object so many levels down, by chance.
fn object_at<'a>(random: &mut Random, value: &'a mut Value, depth: usize) -> Option<&'a mut Map<String, Value>> {
    let mut object = value.as_object_mut()?;
    for _ in 0..depth {
        let names: Vec<String> = object.iter().filter(|(_, v)| v.is_object()).map(|(n, _)| n.clone()).collect();
        if names.is_empty() {
            break;
        }
        object = object.get_mut(&random.pick(&names))?.as_object_mut()?;
    }
    Some(object)
}

fn root(random: &mut Random, signed: &mut Value) -> &'static str {
    let role = random.pick(&["root", "targets", "snapshot", "timestamp"]);
    match random.below(5) {
        0 => {
            signed["consistent_snapshot"] = random.pick(&[json!(false), json!(null), json!("true"), json!(1)]);
            "consistent_snapshot"
        }
        1 => {
            put(signed, &["roles", "mirrors"], json!({ "keyids": [], "threshold": 1 }));
            "a role more"
        }
        2 => match signed.pointer_mut(&role_pointer(role)) {
            Some(entry) => keys::threshold(random, entry),
            None => "nothing",
        },
        3 => keys::keyids(random, signed, &role_pointer(role)),
        _ => keys::keys(random, signed, &role_pointer(role)),
    }
}

fn role_pointer(role: &str) -> String {
    format!("/roles/{role}")
}
