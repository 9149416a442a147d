//! The table of power cuts: a real agent process is ended by SIGKILL at every named place of its journeys, and where it has just
//! written a file that file is torn too; then it is started again, and must come to the same end as if nothing had been.
//!
//! `SUTURE_CUTS=all` ends every journey at every place, each time that it passes it. In every run of the tests each is ended
//! at each place that the ones before it have not passed, once in each way, and where something hangs on the journal each time.

mod judge;
mod order;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use suture_agent::checkpoint;

use scene::{Case, Scene};

/// How it ends.
#[derive(Clone, Copy)]
struct Wanted {
    /// The machine's state, and its reason's code.
    state: &'static str,
    /// The release.
    runs: u64,
    /// What is told once.
    outcome: Option<&'static str>,
}

/// A device's way, by the commands that are run on it one after another.
struct Journey {
    id: &'static str,
    commands: Vec<Vec<String>>,
    wanted: Wanted,
}

/// A place that a journey passes: which command, its name, for that time; and whether it has just written a file.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    command: usize,
    name: String,
    nth: usize,
    wrote: bool,
}

/// What was done at the places of one name, and how often all went well.
type Table = BTreeMap<String, BTreeMap<&'static str, usize>>;

const TEARS: [&str; 4] = ["empty", "half", "zeros", "stale"];

/// Where an end is worth more than once: at the journal, at the slots, and around what reaches beyond the agent's own files.
fn is_weighty(place: &Place) -> bool {
    let deed = ["claim", "restart", "probe", "release"].iter().any(|deed| place.name.ends_with(deed));
    deed || place.name.contains("journal") || place.name.contains("slots/")
}

/// Places that no journey here passes, and where else they are tried.
const ELSEWHERE: &[(&str, &str)] = &[
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
        "remove slots/*.new",
        "what a cut has left is removed by whoever comes next: in this test, where nobody watches any more",
    ),
    ("slots/a", "the other slot is written in turn: ways"),
    ("deferrals.json", "a device in use: deferral"),
    ("took.json", "what installs took: took"),
    ("hold.json", "a person who holds the device: hold"),
    ("leaving", "a device that leaves its hospital: departure"),
    ("make state", "made by enrolment, before the agent's own files"),
    ("settle state", "made by enrolment, before the agent's own files"),
    ("*.rest", "a line that is cut: cuts"),
    ("*.wrong", "a server that sends wrong deltas: hostile"),
];

fn journeys(scene: &Scene) -> Vec<Journey> {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let run = || words(&["run"]);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let first = &scene.bundles[0];
    let journey =
        |id, commands, (state, runs, outcome)| Journey { id, commands, wanted: Wanted { state, runs, outcome } };
    vec![
        journey("confirmed", vec![run()], ("idle(up-to-date)", 2, Some("confirmed"))),
        journey("fell-back", vec![run()], ("idle(restart-failed)", 1, Some("fell_back"))),
        journey(
            "stopped",
            vec![words(&["stop", &path(&scene.order)]), run()],
            ("idle(stop-order)", 1, Some("stopped")),
        ),
        journey("person", vec![run(), words(&["confirm"]), run()], ("idle(up-to-date)", 2, Some("confirmed"))),
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

/// The whole journey, without a cut, and the places that it passes.
fn trace(case: &Case<'_>, journey: &Journey) -> Vec<Place> {
    let mut places = Vec::new();
    for (command, words) in journey.commands.iter().enumerate() {
        let file = case.dir.join("trace");
        let status = case.watched(&["--trace", file.to_str().unwrap()], words);
        assert!(status.success(), "{}: {words:?} came to {status}: {}", journey.id, case.log());
        for line in fs::read_to_string(file).unwrap().lines() {
            let cells: Vec<_> = line.split('\t').collect();
            let [name, nth, is_file] = cells[..] else { panic!("{line}") };
            let wrote = name.starts_with("settle") && is_file == "true";
            places.push(Place { command, name: name.to_owned(), nth: nth.parse().unwrap(), wrote });
        }
    }
    places
}

/// One cut. `Ok(false)`: this time the place was not passed.
async fn cut(scene: &Scene, journey: &Journey, place: &Place, damage: &str) -> Result<bool, String> {
    let case = scene.case(journey.id);
    let mut state = String::new();
    let mut was_cut = true;
    for (command, words) in journey.commands.iter().enumerate() {
        let mut done = false;
        if command < place.command {
            let status = case.watched(&[], words);
            if !status.success() {
                return Err(format!("{words:?} came to {status} before the cut"));
            }
            continue;
        }
        if command == place.command {
            let nth = place.nth.to_string();
            let status = case.watched(&["--at", &place.name, "--nth", &nth, "--damage", damage], words);
            was_cut = status.signal() == Some(9);
            if !was_cut && !status.success() {
                return Err(format!("it came to {status}: {}", case.log()));
            }
            done = !was_cut;
            judge::at_the_cut(&case, journey)?;
            case.boot();
        }
        // What a person did is done again where it was cut off; the agent starts by itself.
        if words[0] == "run" {
            state = case.resume().await?;
        } else if !done && !case.watched(&[], words).success() && !case.log().contains("is enrolled as") {
            return Err(format!("{words:?} does not go: {}", case.log()));
        }
    }
    if journey.id == "factory" {
        case.boot();
    }
    // A person's word serves once: whoever stands there is asked again.
    if state.starts_with("waiting(person-needed)") {
        case.watched(&[], &["confirm".to_owned()]);
        state = case.resume().await?;
    }
    // Of a lock file without a whole line nobody knows whose it is: the device's software, or a person, has to say.
    if place.name == "settle *.lock" && ["empty", "half", "zeros"].contains(&damage) {
        if !state.starts_with("waiting(interlock-unknown)") {
            return Err(format!("it rests in {state}"));
        }
        fs::remove_file(case.dir.join("in-use.lock")).unwrap();
        state = case.resume().await?;
    }
    judge::at_rest(&case, journey, &state)?;
    Ok(was_cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_every_place_and_torn_in_every_way_a_device_comes_to_the_same_end() {
    let scene = Scene::open().await;
    let everything = std::env::var("SUTURE_CUTS").is_ok_and(|cuts| cuts == "all");
    let begun = Instant::now();
    let (mut table, mut failures, mut missed, mut passed) = (Table::new(), Vec::new(), 0, BTreeSet::new());
    let (mut known, mut done): (Vec<String>, BTreeSet<(String, &str)>) = Default::default();
    let mut totals = BTreeMap::new();
    for journey in journeys(&scene) {
        let case = scene.case(journey.id);
        let places = trace(&case, &journey);
        let state = match journey.commands.last().is_some_and(|words| words[0] == "run") {
            true => case.resume().await.unwrap_or_else(|e| e),
            false => String::new(),
        };
        case.boot();
        if let Err(e) = judge::at_rest(&case, &journey, &state) {
            failures.push(format!("{} without a cut: {e}", journey.id));
            continue;
        }
        passed.extend(places.iter().map(|p| p.name.clone()));
        let names: Vec<_> = places.iter().map(|p| p.name.clone()).collect();
        let same = names.iter().zip(&known).take_while(|(a, b)| a == b).count();
        if known.is_empty() {
            known = names;
        }
        let from = if everything { 0 } else { same };
        for place in places.iter().skip(from) {
            let mut damages = vec!["none"];
            damages.extend(TEARS.iter().filter(|_| place.wrote));
            // That a disk lost the newest record although it has said that it had it.
            damages.extend(
                ["journal"]
                    .iter()
                    .filter(|_| !place.wrote && place.name.starts_with("before") || place.name.starts_with("after")),
            );
            for damage in damages {
                let is_first = done.insert((place.name.clone(), damage));
                let again = is_weighty(place) && ["none", "journal"].contains(&damage) && places.len() > 100;
                if !everything && !is_first && !again {
                    continue;
                }
                match cut(&scene, &journey, place, damage).await {
                    Ok(was_cut) => {
                        missed += usize::from(!was_cut);
                        *table.entry(place.name.clone()).or_default().entry(damage).or_default() += 1;
                        *totals.entry((journey.id, damage)).or_insert(0) += 1;
                    }
                    Err(e) => failures.push(format!("{} at {} ({}), {damage}: {e}", journey.id, place.name, place.nth)),
                }
            }
        }
    }
    println!("{}", shown(&table, &totals));
    let cases: usize = totals.values().sum::<usize>() + failures.len();
    println!(
        "{cases} cases in {:.0?}, of which {missed} passed their place no second time; {} failed",
        begun.elapsed(),
        failures.len()
    );
    for failure in failures.iter().take(40) {
        println!("{failure}");
    }
    // The list in one place is all that there is.
    let listed: BTreeSet<_> = checkpoint::names().collect();
    let unlisted: Vec<_> = passed.difference(&listed).collect();
    assert!(unlisted.is_empty(), "in no list: {unlisted:#?}");
    let elsewhere = |name: &&String| ELSEWHERE.iter().any(|(part, _)| name.contains(part));
    let never: Vec<_> = listed.difference(&passed).filter(|name| !elsewhere(name)).collect();
    assert!(never.is_empty(), "never passed: {never:#?}");
    assert!(failures.is_empty(), "{} of {cases} did not converge, the first: {}", failures.len(), failures[0]);
    assert!(missed * 20 < cases, "{missed} of {cases}");
}

/// The table: how many cases of each kind have converged, by place and by journey.
fn shown(table: &Table, totals: &BTreeMap<(&'static str, &'static str), usize>) -> String {
    let columns = ["none", "empty", "half", "zeros", "stale", "journal"];
    let line = |name: &str, cell: &dyn Fn(&'static str) -> Option<usize>| {
        let cells = columns.map(|c| cell(c).map_or_else(|| format!("{:>9}", "-"), |n| format!("{n:>9}")));
        format!("{name:<44}{}\n", cells.concat())
    };
    let head = ["cut", "empty", "half", "zeros", "stale", "journal"].map(|c| format!("{c:>9}")).concat();
    let mut text = format!("{:<44}{head}\n", "converged, cut at");
    for (name, row) in table {
        text.push_str(&line(name, &|c| row.get(c).copied()));
    }
    let ids: BTreeSet<_> = totals.keys().map(|(id, _)| *id).collect();
    text.push_str(&format!("{:<44}{head}\n", "by journey"));
    for id in ids {
        text.push_str(&line(id, &|c| totals.get(&(id, c)).copied()));
    }
    text
}
