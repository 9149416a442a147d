//! Edits of what is signed, before it is signed again.

use serde_json::{Map, Value, json};
use suture_core::digest::Digest;
use suture_core::json::canonical;
use suture_core::sign::Signer;
use suture_core::trust::{key_id, key_object};

use super::base::key;
use super::mutate::Draft;
use super::random::Random;

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
            "snapshot" | "timestamp" => meta(random, signed),
            _ => targets(random, signed),
        },
    }
}

/// Puts a value at a place, where what is above it is an object; an edit before this one may have made it anything.
fn put(value: &mut Value, place: &[&str], new: Value) {
    let Some((name, above)) = place.split_last() else { return };
    let found = above.iter().try_fold(value, |value, name| value.get_mut(*name));
    if let Some(Value::Object(object)) = found {
        object.insert((*name).to_owned(), new);
    }
}

/// Numbers where a count is expected, and other things.
fn number(random: &mut Random, last: u64) -> Value {
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
            Some(entry) => threshold(random, entry),
            None => "nothing",
        },
        3 => keyids(random, signed, &role_pointer(role)),
        _ => keys(random, signed, &role_pointer(role)),
    }
}

fn role_pointer(role: &str) -> String {
    format!("/roles/{role}")
}

fn threshold(random: &mut Random, entry: &mut Value) -> &'static str {
    let last = entry.get("threshold").and_then(Value::as_u64).unwrap_or(1);
    put(entry, &["threshold"], number(random, last));
    "threshold"
}

/// Which keys speak for a role: `pointer` leads to its entry.
fn keyids(random: &mut Random, signed: &mut Value, pointer: &str) -> &'static str {
    let strangers = key_id(&key(random.pick(&[1, 3, 5, 6, 200])).public()).unwrap().to_string();
    let Some(ids) = signed.pointer_mut(pointer).and_then(|entry| entry.get_mut("keyids")).and_then(Value::as_array_mut)
    else {
        return "nothing";
    };
    match random.below(6) {
        0 => {
            ids.extend(ids.clone());
            "key ids twice"
        }
        1 => {
            ids.pop();
            "a key id less"
        }
        2 => {
            ids.push(strangers.into());
            "a key id more"
        }
        3 => {
            ids.reverse();
            "key ids in another order"
        }
        4 => {
            ids.push("not-hexadecimal".into());
            "a key id of another form"
        }
        _ => {
            if let Some(Value::String(id)) = ids.first_mut() {
                *id = id.to_uppercase();
            }
            "a key id in upper case"
        }
    }
}

/// The keys themselves: aliases, other forms, other objects under an id. `pointer` leads to a role that has some of them.
fn keys(random: &mut Random, signed: &mut Value, pointer: &str) -> &'static str {
    let ids = signed.pointer(pointer).and_then(|entry| entry.get("keyids")).and_then(Value::as_array).cloned();
    let Some(Value::String(id)) = ids.and_then(|ids| ids.first().cloned()) else { return "nothing" };
    let Some(object) = signed["keys"].get(&id).cloned() else { return "nothing" };
    let (what, changed, renames) = match random.below(10) {
        // The same public key under two ids: with a threshold of two, one signer must not do.
        0 | 1 => {
            let alias = with(&object, "x-alias", json!(true));
            let alias_id = Digest::of(&canonical(&alias).unwrap()).to_string();
            put(signed, &["keys", &alias_id], alias);
            list_id(signed, pointer, &alias_id);
            if random.percent(60)
                && let Some(entry) = signed.pointer_mut(pointer)
            {
                put(entry, &["threshold"], json!(2));
            }
            return "one key under two ids";
        }
        2 => {
            let alias_id = random.pick(&["00".repeat(32), "alias".to_owned(), id.to_uppercase()]);
            put(signed, &["keys", &alias_id], object);
            list_id(signed, pointer, &alias_id);
            return "one key under an id that is not its own";
        }
        3 => ("another key under the id", key_object(&key(200).public()), false),
        4 => ("key with another scheme", with(&object, "scheme", json!("rsassa-pss-sha256")), true),
        5 => ("key of another type", with(&object, "keytype", json!("rsa")), true),
        6 => ("key with a field more", with(&object, "x-owner", json!("@kim")), random.percent(50)),
        7 => {
            let upper = object["keyval"]["public"].as_str().unwrap_or_default().to_uppercase();
            ("public key in upper case", with(&object, "keyval", json!({ "public": upper })), true)
        }
        8 => {
            let weak =
                random.pick(&["01".to_owned() + &"00".repeat(31), "00".repeat(32), "ff".repeat(32), "00".repeat(31)]);
            ("public key that is none", with(&object, "keyval", json!({ "public": weak })), true)
        }
        _ => ("key without its value", with(&object, "keyval", json!({})), true),
    };
    if !renames {
        put(signed, &["keys", &id], changed);
        return what;
    }
    // Under the id that the changed object has.
    let new_id = Digest::of(&canonical(&changed).unwrap()).to_string();
    put(signed, &["keys", &new_id], changed);
    if random.percent(50)
        && let Some(Value::Object(keys)) = signed.get_mut("keys")
    {
        keys.remove(&id);
    }
    if random.percent(50)
        && let Some(Value::Array(ids)) = signed.pointer_mut(&format!("{pointer}/keyids"))
    {
        ids.retain(|i| i.as_str() != Some(&id));
    }
    list_id(signed, pointer, &new_id);
    what
}

fn list_id(signed: &mut Value, pointer: &str, id: &str) {
    if let Some(Value::Array(ids)) = signed.pointer_mut(&format!("{pointer}/keyids")) {
        ids.push(id.into());
    }
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    put(&mut object, &[name], value);
    object
}

/// What snapshot and timestamp say of other files.
fn meta(random: &mut Random, signed: &mut Value) -> &'static str {
    let names: Vec<String> = signed["meta"].as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default();
    if names.is_empty() {
        return "nothing";
    }
    let name = random.pick(&names);
    match random.below(8) {
        0 => {
            signed["meta"].as_object_mut().unwrap().remove(&name);
            "meta: a file less"
        }
        1 => {
            let more = random.pick(&["more.json", "root.json", "timestamp.json", "../x.json", "targets", ""]);
            put(signed, &["meta", more], json!({ "version": 1 }));
            "meta: a file more"
        }
        2 | 3 => {
            let last = signed["meta"][&name]["version"].as_u64().unwrap_or(1);
            put(signed, &["meta", &name, "version"], number(random, last));
            "meta: version"
        }
        4 => {
            let last = signed["meta"][&name]["length"].as_u64().unwrap_or(1);
            put(signed, &["meta", &name, "length"], number(random, last));
            "meta: length"
        }
        _ => hashes(random, signed, "meta", &name),
    }
}

fn hashes(random: &mut Random, signed: &mut Value, list: &str, name: &str) -> &'static str {
    let digits = signed[list][name]["hashes"]["sha256"].as_str().unwrap_or_default().to_owned();
    let sha512 = "cf".repeat(64);
    let hashes = match random.below(9) {
        0 => json!({}),
        1 => json!({ "sha256": digits.to_uppercase() }),
        2 => json!({ "sha256": "00".repeat(32) }),
        3 => json!({ "sha256": digits, "sha512": sha512 }),
        4 => json!({ "md5": "00" }),
        5 => json!({ "sha256": digits, "blake99": "00" }),
        6 => json!({ "sha256": digits.get(..62) }),
        7 => json!({ "sha512": sha512 }),
        _ => json!({ "sha256": 5 }),
    };
    put(signed, &[list, name, "hashes"], hashes);
    "hashes"
}

fn targets(random: &mut Random, signed: &mut Value) -> &'static str {
    if signed.get("delegations").is_some_and(Value::is_object) && random.percent(60) {
        return delegations(random, signed);
    }
    let paths: Vec<String> = signed["targets"].as_object().map(|t| t.keys().cloned().collect()).unwrap_or_default();
    if paths.is_empty() {
        return "nothing";
    }
    let path = random.pick(&paths);
    match random.below(5) {
        0 => {
            let other = random.pick(&[
                "/a", "../a", "a/../b", "dir//b", "", ".", "a\\b", "a\u{0}", "\u{e9}", "e\u{301}", "b", "pumps/a",
            ]);
            let target = signed["targets"][&path].clone();
            put(signed, &["targets", other], target);
            "target under another path"
        }
        1 => {
            let length = signed["targets"][&path]["length"].as_u64().unwrap_or(1);
            put(signed, &["targets", &path, "length"], number(random, length));
            "target: length"
        }
        2 => {
            let customs = [json!(null), json!("x"), json!({ "a": [1] }), json!(1.5)];
            put(signed, &["targets", &path, "custom"], random.pick(&customs));
            "target: custom"
        }
        3 => {
            let value =
                random.pick(&[json!(null), json!({}), json!({ "keys": {}, "roles": [] }), json!([]), json!("x")]);
            signed["delegations"] = value;
            "delegations of another shape"
        }
        _ => hashes(random, signed, "targets", &path),
    }
}

fn delegations(random: &mut Random, signed: &mut Value) -> &'static str {
    let count = signed["delegations"]["roles"].as_array().map_or(0, Vec::len);
    let place = random.below(count);
    let pointer = format!("/roles/{place}");
    let delegations = &mut signed["delegations"];
    let Some(role) = delegations.pointer_mut(&pointer).filter(|role| role.is_object()) else { return "nothing" };
    match random.below(9) {
        0 => {
            role["name"] =
                random.pick(&["root", "targets", "snapshot", "timestamp", "all", "../x", "", "a/b", "pumps"]).into();
            "delegated role's name"
        }
        1 => {
            let values = [json!(true), json!(false), json!(null), json!(1), json!("true")];
            role["terminating"] = random.pick(&values);
            "terminating"
        }
        2 => {
            let forms = [
                json!(["*"]),
                json!(["*/*"]),
                json!(["pumps/?"]),
                json!(["**"]),
                json!([]),
                json!(["pumps/a", "a"]),
                json!(null),
                json!(["[a-z]/*"]),
                json!(["pumps/[ab]"]),
                json!(["PUMPS/*"]),
                json!(["pumps/*/"]),
                json!(["/pumps/*"]),
                json!("*"),
            ];
            role["paths"] = random.pick(&forms);
            "delegated paths"
        }
        3 => {
            let hex = Digest::of(b"pumps/a").to_string();
            role.as_object_mut().unwrap().remove("paths");
            role["path_hash_prefixes"] =
                random.pick(&[json!([hex.get(..2)]), json!([""]), json!([]), json!(["0", "1", "2"])]);
            "path_hash_prefixes"
        }
        4 | 5 => threshold(random, role),
        6 => {
            if let Some(roles) = delegations["roles"].as_array_mut() {
                roles.reverse();
            }
            "delegated roles in another order"
        }
        7 => keyids(random, delegations, &pointer),
        _ => keys(random, delegations, &pointer),
    }
}
