//! Edits of thresholds, key ids and keys, in a root or in delegations.

use serde_json::{Value, json};
use suture_core::digest::Digest;
use suture_core::json::canonical;
use suture_core::sign::Signer;
use suture_core::trust::{key_id, key_object};

use super::base::key;
use super::random::Random;
use super::signed::{number, put};

pub(super) fn threshold(random: &mut Random, entry: &mut Value) -> &'static str {
    let last = entry.get("threshold").and_then(Value::as_u64).unwrap_or(1);
    put(entry, &["threshold"], number(random, last));
    "threshold"
}

/// Which keys speak for a role: `pointer` leads to its entry.
pub(super) fn keyids(random: &mut Random, signed: &mut Value, pointer: &str) -> &'static str {
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
pub(super) fn keys(random: &mut Random, signed: &mut Value, pointer: &str) -> &'static str {
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
