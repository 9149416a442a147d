//! The journeys of the table, and where the places are passed that none of them passes.

use std::path::Path;

use super::scene::{Pump, Scene};
use super::ways::Way;

/// How it ends.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The machine's state, and its reason's code.
    pub(super) state: &'static str,
    /// The release.
    pub(super) runs: u64,
    /// What is told once.
    pub(super) outcome: Option<&'static str>,
}

/// A device's way, by the commands that are run on it one after another.
pub(super) struct Journey {
    pub(super) id: &'static str,
    pub(super) commands: Vec<Vec<String>>,
    pub(super) wanted: Wanted,
}

/// Devices with two directories, and everything around an install.
pub(super) const SLOTS: &[Pump] = &[
    Pump { lease: true, ..Pump::new("confirmed", Way::Slots, 1, Some(2)) },
    Pump::new("fell-back", Way::Slots, 1, Some(3)),
    Pump { early: 60, ..Pump::new("stopped", Way::Slots, 1, Some(2)) },
    Pump { by_word: true, ..Pump::new("person", Way::Slots, 1, Some(2)) },
    Pump { by_word: true, ..Pump::new("person-back", Way::Slots, 1, Some(3)) },
    Pump::new("held", Way::Slots, 1, Some(2)),
    Pump::new("imported", Way::Slots, 1, None),
    Pump::new("factory", Way::Slots, 1, None),
    Pump::new("new", Way::Slots, 1, None),
];

/// Devices that install otherwise, and what else an agent changes.
pub(super) const OTHERS: &[Pump] = &[
    Pump::new("u-boot", Way::UBoot, 4, Some(5)),
    Pump::new("u-boot-back", Way::UBoot, 4, Some(6)),
    Pump::new("systemd-boot", Way::Entries, 4, Some(5)),
    Pump::new("systemd-boot-back", Way::Entries, 4, Some(6)),
    Pump::new("command", Way::Program, 7, Some(8)),
    Pump::new("command-back", Way::Program, 7, Some(9)),
    Pump::new("data", Way::Data, 1, Some(10)),
    Pump::new("data-back", Way::Data, 1, Some(11)),
    Pump::new("itself", Way::Itself, 1, Some(12)),
    Pump::new("gave-way", Way::Itself, 1, None),
    Pump { early: 180, ..Pump::new("leaves", Way::Slots, 1, Some(2)) },
];

/// Devices with RAUC, of which a case takes seconds.
pub(super) const RAUC: &[Pump] =
    &[Pump::new("rauc", Way::Rauc, 13, Some(14)), Pump::new("rauc-back", Way::Rauc, 13, Some(15))];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn journey(id: &'static str, commands: Vec<Vec<String>>, wanted: (&'static str, u64, Option<&'static str>)) -> Journey {
    let (state, runs, outcome) = wanted;
    Journey { id, commands, wanted: Wanted { state, runs, outcome } }
}

pub(super) fn of_slots(scene: &Scene) -> Vec<Journey> {
    let run = || words(&["run"]);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let first = &scene.bundles[&1];
    let confirmed = ("idle(up-to-date)", 2, Some("confirmed"));
    vec![
        journey("confirmed", vec![run()], confirmed),
        journey("fell-back", vec![run()], ("idle(restart-failed)", 1, Some("fell_back"))),
        journey(
            "stopped",
            vec![words(&["stop", &path(&scene.order)]), run()],
            ("idle(stop-order)", 1, Some("stopped")),
        ),
        journey("person", vec![run(), words(&["confirm"]), run()], confirmed),
        journey("person-back", vec![run(), words(&["confirm"]), run()], ("idle(restart-failed)", 1, Some("fell_back"))),
        journey("held", vec![run()], ("held(restart-failed)", 1, None)),
        journey("imported", vec![words(&["import", &path(&scene.stick)]), run()], ("idle", 1, None)),
        journey(
            "factory",
            vec![words(&["provision", &path(&first.dir.join("manifest.json")), &path(&first.tree)])],
            ("", 1, None),
        ),
        journey("new", vec![words(&["enroll", &scene.token]), run()], ("idle", 1, None)),
    ]
}

pub(super) fn of_others() -> Vec<Journey> {
    let run = || words(&["run"]);
    let once = |id, wanted| journey(id, vec![run()], wanted);
    let confirmed = |runs| ("idle(up-to-date)", runs, Some("confirmed"));
    let back = |code, runs| (code, runs, Some("fell_back"));
    vec![
        once("u-boot", confirmed(5)),
        once("u-boot-back", back("idle(start-failed)", 4)),
        once("systemd-boot", confirmed(5)),
        once("systemd-boot-back", back("idle(start-failed)", 4)),
        once("command", confirmed(8)),
        once("command-back", back("idle(restart-failed)", 7)),
        once("data", confirmed(10)),
        once("data-back", back("idle(restart-failed)", 1)),
        // The program that runs now ends, for the next one to be started.
        journey("itself", vec![run(), run()], confirmed(12)),
        once("gave-way", ("idle", 1, None)),
        journey("leaves", vec![words(&["leave"])], ("", 1, None)),
    ]
}

pub(super) fn of_rauc() -> Vec<Journey> {
    vec![
        journey("rauc", vec![words(&["run"])], ("idle(up-to-date)", 14, Some("confirmed"))),
        journey("rauc-back", vec![words(&["run"])], ("idle(start-failed)", 13, Some("fell_back"))),
    ]
}

/// Whether only [`of_others`] pass it.
pub(super) fn is_of_others(name: &str) -> bool {
    OF_OTHERS.iter().any(|part| name == *part || !part.starts_with("remove") && name.contains(part))
}

/// Places that only [`of_others`] pass: parts of their names, or the whole of it where something is removed.
const OF_OTHERS: &[&str] = &[
    "a payload's place",
    "boot loader",
    "entries/",
    "slots/restart.json",
    ".suture/*/",
    "remove .suture/manifest.json",
    ".suture/*",
    "slots/*/.suture",
    "make slots/b",
    "slots/bundle.tmp",
    "suture-agent/",
    "gave-way.json",
    "data",
    "farewell",
    "leaving",
    "remove identity",
    "remove outbox",
    "remove stops",
    "remove inbox",
    "remove journal.json",
    "remove journal.second.json",
    "remove sources.json",
    "remove trust",
    "log.jsonl",
    "live.json",
];

/// Places that no journey here passes, and where else they are tried.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("root.before", "the root before is written where roots follow each other: trust_store"),
    ("remove catalog/*.json", "online keys that are replaced: trust_store"),
    ("remove approvals/*.json", "online keys that are replaced: trust_store"),
    ("remove documents/*", "approvals that end: trust_store"),
    ("delegated/*", "a product line that signs for itself: trust_store, delegated"),
    ("remove stops/*.json", "approvals that end: stops"),
    ("identity/ways.json", "another address: ways"),
    ("identity/earlier.pem", "a certificate that is renewed: recovery"),
    ("call for the renewal", "a certificate that is renewed: recovery"),
    ("call for the metadata", "file by file, from a server that sends them so: hostile"),
    ("call for the refresh", "where no check-in has brought it: refresh"),
    ("call for the delta", "deltas"),
    (
        "slots/*.new",
        "what a cut has left is removed by whoever comes next: in this test, where nobody watches any more",
    ),
    ("suture-agent/*.new", "what a cut has left is removed by whoever comes next"),
    ("slots/a", "the other slot is written in turn: ways"),
    ("suture-agent/a", "the other slot is written in turn"),
    ("deferrals.json", "a device in use: deferral"),
    ("took.json", "what installs took: took"),
    ("remove integrity.json", "a device that has looked at what it runs, and leaves: departure"),
    ("remove record.json", "a device that has seen its server's record, and leaves: departure"),
    ("events.json", "what an attack or a restart brings: sightings"),
    ("run.json", "the program that begins and ends: watchful"),
    ("hold.json", "a person who holds the device: hold"),
    ("slots/.suture", "made by the factory, with the first version: ways"),
    ("make state", "made by enrolment, before the agent's own files"),
    ("settle state", "made by enrolment, before the agent's own files"),
    ("*.rest", "a line that is cut: cuts"),
    ("*.wrong", "a server that sends wrong deltas: hostile"),
    ("the installer's settle", "where nothing is under way at a start"),
];
