//! What must be true of a device at the moment of a cut, and once its agent rests again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use suture_agent::agent::chain;
use suture_agent::identity::Identity;
use suture_agent::install::{Installer, Slots, Version, Within};
use suture_agent::journal::Journal;
use suture_core::digest::Digest;

use super::journeys::{Journey, Wanted};
use super::scene::Case;
use super::ways::Way;

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
    let bundle = &case.scene.bundles[&release];
    bundle.step().sha256
}

fn within() -> Within {
    Within::limit(Duration::from_secs(60))
}

/// What runs, whole.
fn running(case: &Case<'_>) -> Result<Option<Version>, String> {
    let installer = Installer::new(&case.settings());
    let it = installer.contract();
    let running = it.running(&within()).map_err(|e| format!("what runs is not known: {}", chain(&e)))?;
    if let Some(version) = &running {
        let verified = it.verify(version, &mut |_| Ok(()), &within());
        verified.map_err(|e| format!("what runs is not whole: {}", chain(&e)))?;
    }
    Ok(running)
}

/// Whether a version lies beside it, whole.
fn lies_prepared(case: &Case<'_>, manifest: &Digest) -> bool {
    let installer = Installer::new(&case.settings());
    let it = installer.contract();
    let prepared = it.prepared(&within()).ok().flatten().filter(|version| version.digest == *manifest);
    prepared.is_some_and(|version| it.verify(&version, &mut |_| Ok(()), &within()).is_ok())
}

/// At the cut, and once the power is back: what runs is whole and was signed, the old version lies whole beside the new one,
/// and where the new one runs and nobody has confirmed it the interlock is held.
pub(super) fn at_the_cut(case: &Case<'_>, journey: &Journey) -> Result<(), String> {
    let Some(named) = running(case)? else {
        return if journey.id == "factory" { Ok(()) } else { Err("nothing runs".to_owned()) };
    };
    let known: Vec<_> = case.scene.bundles.keys().map(|release| manifest(case, *release)).collect();
    if !known.contains(&named.digest) {
        return Err("what runs is what nobody has signed".to_owned());
    }
    let old = manifest(case, case.pump.from);
    if named.digest != old && !lies_prepared(case, &old) {
        return Err("the old version is not there any more".to_owned());
    }
    let state = Journal::peek(&case.dir.join("state/journal.json")).ok().flatten();
    let over = state.is_some_and(|journal| {
        matches!(journal.state().name(), "idle" | "checking") || format!("{:?}", journal.state()).contains("Releasing")
    });
    let claim = if case.pump.by_word { "state/confirmation.json" } else { "in-use.lock" };
    if named.digest != old && !over && !case.dir.join(claim).exists() {
        return Err("the new version runs, and the interlock is not held".to_owned());
    }
    if case.dir.join("corrupt").exists() {
        return Err(fs::read_to_string(case.dir.join("corrupt")).unwrap_or_default());
    }
    own_program(case)
}

/// The agent's own program that would be started is there, whole: the old one or the new one.
fn own_program(case: &Case<'_>) -> Result<(), String> {
    if case.pump.way != Way::Itself {
        return Ok(());
    }
    let slots = Slots::new(&case.dir.join("suture-agent"));
    let version = slots.running().map_err(|e| chain(&e))?.ok_or("the agent's own program is gone")?;
    slots.verify(version.side, &version.digest).map_err(|e| format!("the agent's own program: {}", chain(&e)))
}

/// At rest: it runs what it should, says so once, holds nothing and leaves nothing behind.
pub(super) fn at_rest(case: &Case<'_>, journey: &Journey, state: &str) -> Result<(), String> {
    let Wanted { state: wanted, runs, outcome } = journey.wanted;
    if journey.id == "leaves" {
        return gone(case);
    }
    if !state.starts_with(wanted) {
        return Err(format!("it rests in {state}, not in {wanted}"));
    }
    let version = running(case)?.ok_or("nothing runs")?;
    if version.digest != manifest(case, runs) {
        return Err(format!("it runs release {}, not {runs}", version.manifest.release.0));
    }
    let answers = fs::read_to_string(case.dir.join("answers")).unwrap_or_default();
    // Where nothing can be restarted, what the device booted with answers until a person has come.
    if answers.trim() != format!("1.{}.0", runs - 1) && journey.id != "held" {
        return Err(format!("{} answers", answers.trim()));
    }
    // Held, the device stays out of use until a person has come.
    if case.dir.join("in-use.lock").exists() != (journey.id == "held") {
        return Err("the interlock is not as it should be".to_owned());
    }
    for left in left_behind(case) {
        if journey.id != "held" {
            return Err(format!("{left} was left behind"));
        }
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
    own_program(case)?;
    match case.pump.way {
        Way::Data => data(case, runs == case.pump.from),
        Way::Itself => program(case, journey),
        Way::UBoot | Way::Entries => loader(case),
        Way::Slots | Way::Program => Ok(()),
        Way::Rauc => rauc(case),
    }
}

/// What nobody needs any more, and is there.
fn left_behind(case: &Case<'_>) -> Vec<String> {
    let mut left: Vec<String> = [
        "state/lease.json",
        "state/fetch",
        "state/confirmation.json",
        "state/data-copy.json",
        "state/data-copy.json.copy",
        "slots/a.new",
        "slots/b.new",
        "slots/provision.tmp",
        "slots/bundle.tmp",
        "suture-agent/program.tmp",
        "copy",
    ]
    .into_iter()
    .filter(|path| case.dir.join(path).exists())
    .map(str::to_owned)
    .collect();
    for dir in ["slots", "suture-agent"] {
        let names = fs::read_dir(case.dir.join(dir)).into_iter().flatten().flatten().map(|e| e.file_name());
        let trials = names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("trial-"));
        left.extend(trials.map(|trial| format!("{dir}/{trial}")));
    }
    left
}

/// The device's own data are what the version that runs can read, and the old version has never seen others.
fn data(case: &Case<'_>, is_old: bool) -> Result<(), String> {
    let data = fs::read_to_string(case.dir.join("data")).unwrap_or_default();
    let wanted = if is_old { "therapy\n" } else { "therapy\nconverted\n" };
    if data != wanted {
        return Err(format!("the data are {data:?}"));
    }
    match fs::read_to_string(case.dir.join("corrupt")) {
        Ok(text) => Err(text),
        Err(_) => Ok(()),
    }
}

/// The agent's own program is the new one, or the old one, and the hospital knows that it came back.
fn program(case: &Case<'_>, journey: &Journey) -> Result<(), String> {
    let runs = fs::read_to_string(case.dir.join("suture-agent/current/agent")).map_err(|e| e.to_string())?;
    let (wanted, word) = if journey.id == "gave-way" { (1, "first") } else { (0, "next") };
    if !runs.contains(word) {
        return Err(format!("the agent's program is {runs:?}"));
    }
    let told = reports(case)?.iter().filter(|r| r["reason"]["code"] == "install-failed").count();
    if told != wanted {
        return Err(format!("that the agent's program gave way was told {told} times"));
    }
    Ok(())
}

/// The boot loader starts what runs, however often.
fn loader(case: &Case<'_>) -> Result<(), String> {
    let installer = Installer::new(&case.settings());
    let says = installer.contract().examine(&within())?;
    let slot = says.split("slot ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    if says.ends_with(&format!("starts slot {slot} always")) { Ok(()) } else { Err(says) }
}

/// What runs is what RAUC's boot loader starts next.
fn rauc(case: &Case<'_>) -> Result<(), String> {
    let installer = Installer::new(&case.settings());
    let says = installer.contract().examine(&within())?;
    let starts = says.split(": ").nth(1).and_then(|rest| rest.split_once(" runs, and ")).unwrap_or_default();
    if starts.1 == format!("{} starts next", starts.0) { Ok(()) } else { Err(says) }
}

/// Once its agent was started again: it has left, and all of it is gone, or it has said nothing of it.
pub(super) fn left_or_not_begun(case: &Case<'_>) -> Result<bool, String> {
    let told = departed(case)?;
    if case.dir.join("state/identity").exists() {
        return if told == 0 { Ok(false) } else { Err("its hospital was told, and it stays".to_owned()) };
    }
    gone(case)?;
    Ok(true)
}

fn departed(case: &Case<'_>) -> Result<usize, String> {
    Ok(reports(case)?.iter().filter(|r| r["reason"]["code"] == "departed").count())
}

fn gone(case: &Case<'_>) -> Result<(), String> {
    let names = fs::read_dir(case.dir.join("state")).into_iter().flatten().flatten().map(|e| e.file_name());
    let left: Vec<_> = names.filter(|name| *name != "floor.json" && *name != "lock").collect();
    if !left.is_empty() {
        return Err(format!("{left:?} was left behind"));
    }
    match departed(case)? {
        1 => Ok(()),
        told => Err(format!("its hospital was told {told} times")),
    }
}
