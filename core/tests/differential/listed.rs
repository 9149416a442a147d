//! Edits of what snapshot, timestamp and targets list, and of delegations.

use serde_json::{Value, json};
use suture_core::digest::Digest;

use super::keys;
use super::random::Random;
use super::signed::{number, put};

/// What snapshot and timestamp say of other files.
pub(super) fn meta(random: &mut Random, signed: &mut Value) -> &'static str {
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

pub(super) fn targets(random: &mut Random, signed: &mut Value) -> &'static str {
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
        4 | 5 => keys::threshold(random, role),
        6 => {
            if let Some(roles) = delegations["roles"].as_array_mut() {
                roles.reverse();
            }
            "delegated roles in another order"
        }
        7 => keys::keyids(random, delegations, &pointer),
        _ => keys::keys(random, delegations, &pointer),
    }
}
