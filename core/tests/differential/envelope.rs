//! Edits of the list of signatures, after signing.

use serde_json::{Value, json};

use super::mutate::{Draft, signatures};
use super::random::Random;

/// Edits the signatures by chance and says how.
pub(super) fn edit(random: &mut Random, draft: &mut Draft) -> &'static str {
    let count = draft.signatures.len();
    if count == 0 {
        return "nothing";
    }
    let place = random.below(count);
    let list = &mut draft.signatures;
    match random.below(13) {
        0 => {
            list.remove(place);
            "a signature less"
        }
        1 => {
            list.reverse();
            "signatures in another order"
        }
        2 => {
            list.push(list[place].clone());
            "a signature twice"
        }
        3 => {
            // The second of two equal key ids is no signature; the first, or the last, may be the one that counts.
            let spoilt = json!({ "keyid": list[place]["keyid"], "sig": "00".repeat(64) });
            list.insert(random.below(count + 1), spoilt);
            "two signatures by one key id, one of them spoilt"
        }
        4 => {
            let sig = flipped(list[place]["sig"].as_str().unwrap());
            list[place]["sig"] = sig.into();
            "a signature spoilt"
        }
        5 => {
            list[place]["sig"] = list[place]["sig"].as_str().unwrap().to_uppercase().into();
            "a signature in upper case"
        }
        6 => {
            list[place]["keyid"] = list[place]["keyid"].as_str().unwrap().to_uppercase().into();
            "a signature's key id in upper case"
        }
        7 => {
            list.extend(signatures(&draft.signed, &[200]));
            "a stranger's signature more"
        }
        8 => {
            list.push(json!({ "keyid": "x", "sig": "" }));
            "an empty signature of an unknown form more"
        }
        9 => {
            list[place] = random.pick(&[
                json!(null),
                json!({}),
                json!({ "keyid": "x" }),
                json!([]),
                json!({ "keyid": 1, "sig": 2 }),
            ]);
            "a signature that is none"
        }
        10 => {
            list[place]["x-note"] = json!("by kim");
            "a signature with a field more"
        }
        11 => {
            list[place]["sig"] = json!("");
            "a signature left empty"
        }
        _ => {
            list[place]["sig"] = format!("{} ", list[place]["sig"].as_str().unwrap()).into();
            "a signature with a blank"
        }
    }
}

fn flipped(hex: &str) -> String {
    let first = if hex.starts_with('0') { '1' } else { '0' };
    hex.chars().enumerate().map(|(i, c)| if i == 0 { first } else { c }).collect()
}

/// The whole file.
pub(super) fn file(draft: &Draft) -> Value {
    json!({ "signatures": draft.signatures, "signed": draft.signed })
}
