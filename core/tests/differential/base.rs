//! The repositories that mutants are made of, written and signed by Python's `tuf`.

use std::collections::BTreeMap;
use std::slice;

use jiff::Timestamp;
use serde_json::{Value, json};
use suture_core::sign::LocalKey;
use zeroize::Zeroizing;

use super::oracle::Python;

/// A server's files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A repository over some generations, and who signs for whom in the last.
pub(super) struct Base {
    /// The root that clients begin with.
    pub(super) root: Vec<u8>,
    /// What the server has after each generation.
    pub(super) generations: Vec<Files>,
    /// By role: the numbers of the keys that sign in the last generation, delegated roles by their names.
    pub(super) signers: BTreeMap<String, Vec<u8>>,
    /// Paths to look up.
    pub(super) paths: Vec<String>,
    pub(super) now: Timestamp,
}

/// The key that 32 bytes of that number make, on both sides.
pub(super) fn key(number: u8) -> LocalKey {
    LocalKey::from_seed(&Zeroizing::new([number; 32]))
}

pub(super) fn now() -> Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

fn roles(root: &[u8], targets: &[u8], snapshot: &[u8], timestamp: &[u8], thresholds: [u32; 4]) -> Value {
    let role = |keys: &[u8], threshold| json!({ "keys": keys, "threshold": threshold });
    json!({
        "root": role(root, thresholds[0]), "targets": role(targets, thresholds[1]),
        "snapshot": role(snapshot, thresholds[2]), "timestamp": role(timestamp, thresholds[3]),
    })
}

fn generation(roots: &[Value], steps: u64, targets: &[&str], delegations: &Value) -> Value {
    json!({ "roots": roots, "steps": steps, "targets": targets, "delegations": delegations })
}

/// One key a role; thresholds of several; roots that rotate all keys; delegations that overlap; pins of versions alone.
fn shapes() -> Vec<Value> {
    let simple = roles(&[1], &[3], &[5], &[6], [1; 4]);
    let many = roles(&[1, 2, 8], &[3, 4, 9], &[5], &[6], [2, 2, 1, 1]);
    let offline_rotated = roles(&[2, 8, 10], &[4, 9], &[5], &[6], [2, 2, 1, 1]);
    let online_rotated = roles(&[2, 8, 10], &[4, 9], &[11], &[12], [2, 1, 1, 1]);
    let shared = roles(&[1, 2], &[1, 3], &[5], &[5], [2, 1, 1, 1]);
    let none = json!([]);
    let delegations = json!([
        { "name": "pumps", "keys": [13, 14], "threshold": 2, "terminating": false, "paths": ["pumps/*"], "version": 1,
          "targets": ["pumps/a", "pumps/b", "monitors/not-mine"] },
        { "name": "all", "keys": [13], "threshold": 1, "terminating": true, "paths": ["*/*"], "version": 3,
          "targets": ["pumps/c", "monitors/a", "pumps/a"] },
        { "name": "never", "keys": [14], "threshold": 1, "terminating": false, "paths": ["monitors/*"], "version": 1,
          "targets": ["monitors/b"] },
    ]);
    let shape = |generations: &[Value], pins: bool, compact: bool| json!({ "now": now().as_second(), "pins": pins, "compact": compact, "generations": generations });
    let first = |roots: &[Value]| generation(roots, 1, &["a", "dir/b"], &none);
    let later = |roots: &[Value]| generation(roots, 1, &["a", "dir/c"], &none);
    vec![
        shape(&[first(slice::from_ref(&simple)), later(&[])], true, true),
        shape(&[first(slice::from_ref(&many)), later(&[]), later(&[])], true, false),
        shape(&[first(slice::from_ref(&many)), later(slice::from_ref(&offline_rotated))], true, true),
        shape(
            &[first(slice::from_ref(&many)), later(&[offline_rotated.clone(), online_rotated.clone()]), later(&[])],
            true,
            true,
        ),
        shape(&[first(slice::from_ref(&simple)), generation(&[], 5, &["a"], &none)], false, true),
        shape(&[first(&[shared]), later(slice::from_ref(&many))], true, true),
        shape(
            &[generation(&[simple], 1, &["a"], &delegations), generation(&[], 1, &["a", "b"], &delegations)],
            true,
            true,
        ),
        shape(&[first(&[many]), generation(&[online_rotated], 2, &["a"], &delegations)], false, false),
    ]
}

/// All of them, written anew: the same bytes each time.
pub(super) fn bases(python: &mut Python) -> Vec<Base> {
    shapes().iter().map(|shape| base(python, shape)).collect()
}

/// One whose owners sign with ECDSA, RSA and Ed25519; the keys are made anew each time.
pub(super) fn mixed(python: &mut Python) -> Base {
    let before = roles(&[100, 120, 1], &[101], &[121], &[102], [3, 1, 1, 1]);
    let after = roles(&[100, 120, 2], &[101, 122], &[103], &[123], [3, 2, 1, 1]);
    let none = json!([]);
    let generations = [generation(&[before], 1, &["a"], &none), generation(&[after], 1, &["a", "b"], &none)];
    base(python, &json!({ "now": now().as_second(), "pins": true, "compact": true, "generations": generations }))
}

fn base(python: &mut Python, shape: &Value) -> Base {
    let generations = python.write(shape);
    let described = shape["generations"].as_array().unwrap();
    let mut signers = BTreeMap::new();
    let numbers =
        |keys: &Value| keys.as_array().unwrap().iter().map(|n| u8::try_from(n.as_u64().unwrap()).unwrap()).collect();
    for generation in described {
        for roles in generation["roots"].as_array().unwrap() {
            for (role, named) in roles.as_object().unwrap() {
                signers.insert(role.clone(), numbers(&named["keys"]));
            }
        }
        for role in generation["delegations"].as_array().unwrap() {
            signers.insert(role["name"].as_str().unwrap().to_owned(), numbers(&role["keys"]));
        }
    }
    let paths =
        ["a", "b", "dir/b", "dir/c", "pumps/a", "pumps/b", "pumps/c", "monitors/a", "monitors/b", "monitors/not-mine"];
    Base {
        root: generations[0]["1.root.json"].clone(),
        generations,
        signers,
        paths: paths.map(str::to_owned).into(),
        now: now(),
    }
}
