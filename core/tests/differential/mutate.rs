//! From a sound repository to a case: one file is edited, mostly signed again, and the files above it mostly made to pin it,
//! so that most mutants pass the signatures and the pins and reach the rule that they break.

use jiff::SignedDuration;
use serde_json::{Value, json};
use suture_core::digest::Digest;
use suture_core::json::canonical;
use suture_core::sign::Signer;
use suture_core::trust::key_id;

use super::base::{Base, Files, key};
use super::case::{Case, Step};
use super::random::Random;
use super::{envelope, signed, text};

/// A file that is being changed.
pub(super) struct Draft {
    /// Its role, as in `targets` or a delegated role's name.
    pub(super) role: String,
    /// The signed part, which an edit may make into anything.
    pub(super) signed: Value,
    pub(super) signatures: Vec<Value>,
}

/// Case `number` of a base.
pub(super) fn mutant(base: &Base, number: u64) -> Case {
    let mut random = Random::new(number);
    let last = base.generations.len() - 1;
    let mut steps = Vec::new();
    let generation = if random.percent(80) { last } else { random.below(base.generations.len()) };
    if random.percent(50) {
        let before = if random.percent(70) { generation } else { random.below(base.generations.len()) };
        steps.push(Step::honest(before, base.now));
    }
    let mut case = Case { steps: Vec::new(), paths: base.paths.clone(), download: false, edits: Vec::new() };
    let mut step = Step::honest(generation, later(&mut random, base));
    edit_file(&mut random, base, &mut step, &mut case.edits);
    if random.percent(10) {
        hide_or_replay(&mut random, base, &mut step, &mut case.edits);
    }
    steps.push(step);
    case.steps = steps;
    case
}

/// Mostly soon; sometimes at the edges of the expiry of the online and the offline files.
fn later(random: &mut Random, base: &Base) -> jiff::Timestamp {
    let day = 86_400;
    let secs = match random.below(20) {
        0 => random.pick(&[7 * day - 1, 7 * day, 7 * day + 1]),
        1 => random.pick(&[90 * day, 365 * day - 1, 365 * day, 3_650 * day]),
        2 => -day,
        _ => 3_600,
    };
    base.now + SignedDuration::from_secs(secs)
}

fn edit_file(random: &mut Random, base: &Base, step: &mut Step, edits: &mut Vec<&'static str>) {
    let files = base.generations[step.generation].clone();
    let name = choose(random, &files);
    let mut file: Value = serde_json::from_slice(&files[&name]).unwrap();
    let mut draft = Draft { role: role_of(&name), signed: file["signed"].take(), signatures: Vec::new() };
    let served = if draft.role == "root" && random.percent(60) { next_root(&mut draft, edits) } else { name.clone() };
    for _ in 0..random.pick(&[1, 1, 1, 2, 3]) {
        edits.push(signed::edit(random, &mut draft));
    }
    draft.signatures = match random.below(20) {
        0 => {
            edits.push("not signed again");
            file["signatures"].as_array().unwrap().clone()
        }
        1 => {
            edits.push("signed by others");
            let others: Vec<u8> = (0..2).map(|_| random.pick(&[1, 3, 5, 6, 11, 200])).collect();
            signatures(&draft.signed, &others)
        }
        _ => signatures(&draft.signed, &usual_signers(base, &files, &draft)),
    };
    if random.percent(25) {
        edits.push(envelope::edit(random, &mut draft));
    }
    let bytes = text::write(random, &draft, edits);
    let served = if random.percent(90) { renamed(&draft, &served) } else { served };
    step.put.insert(served, bytes.clone());
    if random.percent(85) {
        pin_above(random, base, step, &draft, &bytes);
    } else {
        edits.push("not pinned again");
    }
}

/// Any metadata file; the ones in force more often.
fn choose(random: &mut Random, files: &Files) -> String {
    if random.percent(20) {
        return "timestamp.json".to_owned();
    }
    let names: Vec<&String> = files.keys().collect();
    random.pick(&names).clone()
}

fn role_of(name: &str) -> String {
    name.strip_suffix(".json").and_then(|n| n.rsplit('.').next()).unwrap().to_owned()
}

/// A root that follows the last, to be edited.
fn next_root(draft: &mut Draft, edits: &mut Vec<&'static str>) -> String {
    edits.push("root: one more");
    let version = draft.signed["version"].as_u64().unwrap() + 1;
    draft.signed["version"] = version.into();
    format!("{version}.root.json")
}

/// Where a client would look for the file once its version has changed.
fn renamed(draft: &Draft, name: &str) -> String {
    match draft.signed.get("version").and_then(Value::as_u64) {
        Some(version) if name != "timestamp.json" => format!("{version}.{}.json", draft.role),
        _ => name.to_owned(),
    }
}

/// The role's keys; for a root also those of every root that is served, so that old thresholds are met whichever it follows.
fn usual_signers(base: &Base, files: &Files, draft: &Draft) -> Vec<u8> {
    if draft.role != "root" {
        return base.signers[&draft.role].clone();
    }
    let ids: Vec<String> = files
        .iter()
        .filter(|(name, _)| name.ends_with("root.json"))
        .map(|(_, bytes)| serde_json::from_slice::<Value>(bytes).unwrap())
        .chain([json!({ "signed": draft.signed })])
        .flat_map(|file| file["signed"]["roles"]["root"]["keyids"].as_array().cloned().unwrap_or_default())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    (1..=20).filter(|n| ids.contains(&key_id(&key(*n).public()).unwrap().to_string())).collect()
}

/// A signature by each key; none where the signed part has no canonical form.
pub(super) fn signatures(signed: &Value, numbers: &[u8]) -> Vec<Value> {
    let Ok(message) = canonical(signed) else { return Vec::new() };
    let signature = |n: &u8| {
        let key = key(*n);
        let sig = hex::encode(key.sign(&message).unwrap().0);
        json!({ "keyid": key_id(&key.public()).unwrap(), "sig": sig })
    };
    numbers.iter().map(signature).collect()
}

/// Makes snapshot and timestamp say what was changed below them.
fn pin_above(random: &mut Random, base: &Base, step: &mut Step, draft: &Draft, bytes: &[u8]) {
    if matches!(draft.role.as_str(), "root" | "timestamp") {
        return;
    }
    let mut below = (draft.role.clone(), draft.signed["version"].as_u64(), bytes.to_vec());
    while below.0 != "timestamp" {
        let above = if below.0 == "snapshot" { "timestamp" } else { "snapshot" };
        let files = step.files(base);
        let Some((name, file)) = newest(&files, above) else { return };
        let Ok(mut file) = serde_json::from_slice::<Value>(&file) else { return };
        let pin = &mut file["signed"]["meta"][format!("{}.json", below.0)];
        if let Some(version) = below.1 {
            pin["version"] = version.into();
        }
        if pin.get("length").is_some() {
            pin["length"] = below.2.len().into();
            pin["hashes"] = json!({ "sha256": Digest::of(&below.2) });
        }
        let mut name = name;
        if random.percent(30) {
            let version = file["signed"]["version"].as_u64().unwrap() + 1;
            file["signed"]["version"] = version.into();
            if above == "snapshot" {
                name = format!("{version}.snapshot.json");
            }
        }
        let signatures = signatures(&file["signed"], &base.signers[above]);
        let signed = file["signed"].take();
        let bytes = serde_json::to_vec(&json!({ "signatures": signatures, "signed": signed })).unwrap();
        step.put.insert(name, bytes.clone());
        below = (above.to_owned(), signed["version"].as_u64(), bytes);
    }
}

fn newest(files: &Files, role: &str) -> Option<(String, Vec<u8>)> {
    let version = |name: &str| name.split('.').next().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let found = files.iter().filter(|(name, _)| role_of(name) == role).max_by_key(|(name, _)| version(name));
    found.map(|(name, bytes)| (name.clone(), bytes.clone()))
}

fn hide_or_replay(random: &mut Random, base: &Base, step: &mut Step, edits: &mut Vec<&'static str>) {
    let names: Vec<String> = step.files(base).into_keys().collect();
    let name = random.pick(&names);
    if random.percent(50) {
        edits.push("a file is hidden");
        step.remove.push(name);
        return;
    }
    edits.push("an older file is served");
    let generation = random.below(base.generations.len());
    if let Some(old) = base.generations[generation].get(&name) {
        step.put.insert(name, old.clone());
    }
}
