//! What must be true of a device at the moment of a cut, and once its agent rests again.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use suture_agent::identity::Identity;
use suture_agent::install::Slots;
use suture_agent::journal::Journal;
use suture_core::digest::Digest;

use super::scene::Case;
use super::{Journey, Wanted};

/// What the devices' reports say, each counted once by its number.
fn reports(case: &Case<'_>) -> Result<Vec<Value>, String> {
    let mut by_number: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for signed in case.scene.hostile.reports() {
        let report: Value = serde_json::from_slice(&signed.payload).map_err(|e| e.to_string())?;
        let number = report["number"].as_u64().ok_or("a report without a number")?;
        let known = by_number.entry(number).or_insert_with(|| signed.payload.clone());
        if *known != signed.payload {
            return Err(format!("two reports have the number {number}"));
        }
    }
    let numbers: Vec<_> = by_number.keys().copied().collect();
    // Some have sent a few before, to the real server.
    let first = numbers.first().copied().unwrap_or(1);
    if numbers != (first..first + numbers.len() as u64).collect::<Vec<_>>() {
        return Err(format!("the server has the reports {numbers:?}"));
    }
    Ok(by_number.values().map(|payload| serde_json::from_slice(payload).unwrap_or_default()).collect())
}

fn manifest(case: &Case<'_>, release: u64) -> Digest {
    let bundle = &case.scene.bundles[usize::try_from(release).unwrap() - 1];
    bundle.step().sha256
}

/// At the cut: what the link names is whole and was signed, the old version lies whole beside the new one, and where the new
/// one is named and nobody has confirmed it the interlock is held.
pub(super) fn at_the_cut(case: &Case<'_>, journey: &Journey) -> Result<(), String> {
    let slots = Slots::new(&case.dir.join("slots"));
    let Some(side) = slots.current().map_err(|e| e.to_string())? else {
        return if journey.id == "factory" { Ok(()) } else { Err("the link is gone".to_owned()) };
    };
    let named = slots.manifest(side).map_err(|e| e.to_string())?.ok_or("the link names no version")?.1;
    let known = [1, 2, 3].map(|release| manifest(case, release));
    if !known.contains(&named) {
        return Err("the link names what nobody has signed".to_owned());
    }
    slots.verify(side, &named).map_err(|e| format!("what runs is not whole: {e}"))?;
    let old = known[0];
    let keeps_old = [side, side.other()].into_iter().any(|side| slots.verify(side, &old).is_ok());
    if !keeps_old {
        return Err("the old version is not there any more".to_owned());
    }
    let state = Journal::peek(&case.dir.join("state/journal.json")).ok().flatten();
    let over = state.is_some_and(|journal| {
        matches!(journal.state().name(), "idle" | "checking") || format!("{:?}", journal.state()).contains("Releasing")
    });
    // With a person's word for an interlock nothing lies there that could be looked at.
    if named != old && !over && journey.id != "person" && !case.dir.join("in-use.lock").exists() {
        return Err("the new version is named, and the interlock is not held".to_owned());
    }
    Ok(())
}

/// At rest: it runs what it should, says so once, holds nothing and leaves nothing behind.
pub(super) fn at_rest(case: &Case<'_>, journey: &Journey, state: &str) -> Result<(), String> {
    let Wanted { state: wanted, runs, outcome } = journey.wanted;
    if !state.starts_with(wanted) {
        return Err(format!("it rests in {state}, not in {wanted}"));
    }
    let slots = Slots::new(&case.dir.join("slots"));
    let side = slots.current().map_err(|e| e.to_string())?.ok_or("there is no link")?;
    slots.verify(side, &manifest(case, runs)).map_err(|e| format!("it does not run release {runs}: {e}"))?;
    let answers = fs::read_to_string(case.dir.join("answers")).unwrap_or_default();
    // Where nothing can be restarted, what the device booted with answers until a person has come.
    if answers.trim() != format!("1.{}.0", runs - 1) && journey.id != "held" {
        return Err(format!("{} answers", answers.trim()));
    }
    // Held, the device stays out of use until a person has come.
    if case.dir.join("in-use.lock").exists() != (journey.id == "held") {
        return Err("the interlock is not as it should be".to_owned());
    }
    for gone in [
        "state/lease.json",
        "state/fetch",
        "state/confirmation.json",
        "slots/a.new",
        "slots/b.new",
        "slots/provision.tmp",
    ] {
        if case.dir.join(gone).exists() && journey.id != "held" {
            return Err(format!("{gone} was left behind"));
        }
    }
    let names = fs::read_dir(case.dir.join("slots")).into_iter().flatten().flatten().map(|e| e.file_name());
    if names.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with("trial-")) && journey.id != "held" {
        return Err("a slot is on trial still".to_owned());
    }
    let waiting = fs::read_dir(case.dir.join("state/inbox")).map(|dir| dir.count()).unwrap_or_default();
    if waiting > 1 {
        return Err("something lies in the inbox still".to_owned());
    }
    Identity::open(&case.dir.join("state"))
        .map(drop)
        .or_else(|e| if journey.id == "factory" { Ok(()) } else { Err(e.to_string()) })?;
    if let Some(outcome) = outcome {
        let told = reports(case)?.iter().filter(|r| r["phase"] == outcome).count();
        if told != 1 {
            return Err(format!("{outcome} was told {told} times"));
        }
    }
    Ok(())
}
