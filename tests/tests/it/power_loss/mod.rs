//! The table of power cuts: a real agent process is ended by SIGKILL at every named place of its journeys, and where it has just
//! written a file that file is torn too; then it is started again, and must come to the same end as if nothing had been.
//!
//! `SUTURE_CUTS=all` ends every journey at every place, each time that it passes it. In every run of the tests each is ended
//! at each place that the ones before it have not passed, once in each way, and where something hangs on the journal, on what
//! installs or on what lies in its slots each time for each of the ways to install.

mod journeys;
mod judge;
mod order;
mod rauc;
mod scene;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use suture_agent::checkpoint;

use crate::rauc_stage;

use journeys::{ELSEWHERE, Journey, is_of_others};
use scene::{Case, Scene};
use ways::Way;

/// A place that a journey passes: which command, its name, for that time, and what lies there.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    command: usize,
    name: String,
    nth: usize,
    /// A file that has just been written has got its name.
    wrote: bool,
    /// A file was written where it lies, and the disk has not been asked for it yet.
    loose: bool,
    /// A directory is about to be removed.
    tree: bool,
}

/// What was done at the places of one name, and how often all went well.
type Table = BTreeMap<String, BTreeMap<&'static str, usize>>;

const COLUMNS: [&str; 7] = ["none", "empty", "half", "zeros", "stale", "partly", "journal"];

/// Where an end is worth more than once: at the journal, at the slots, and around what reaches beyond the agent's own files.
fn is_weighty(place: &Place) -> bool {
    let name = &place.name;
    let deed = ["claim", "restart", "probe", "release"].iter().any(|deed| name.ends_with(deed));
    let parts = ["journal", "slots/", "the installer's", "the data's", ".suture/", "a payload's place", "boot loader"];
    deed || parts.iter().any(|part| name.contains(part))
}

impl Place {
    /// What a disk may have made of it.
    fn damages(&self) -> Vec<&'static str> {
        let mut damages = vec!["none"];
        damages.extend(["empty", "half", "zeros", "stale"].iter().filter(|_| self.wrote));
        // A medium keeps its length.
        damages.extend(["half", "zeros", "stale"].iter().filter(|_| self.loose));
        damages.extend(["partly"].iter().filter(|_| self.tree));
        // That a disk lost the newest record although it has said that it had it.
        damages
            .extend(["journal"].iter().filter(|_| self.name.starts_with("before") || self.name.starts_with("after")));
        damages
    }
}

/// The whole journey, without a cut, and the places that it passes.
fn trace(case: &Case<'_>, journey: &Journey) -> Vec<Place> {
    let listed: BTreeSet<_> = checkpoint::names().collect();
    let mut places = Vec::new();
    for (command, words) in journey.commands.iter().enumerate() {
        let file = case.dir.join("trace");
        let status = case.watched(&["--trace", file.to_str().unwrap()], words);
        assert!(status.success(), "{}: {words:?} came to {status}: {}", journey.id, case.log());
        // What was written since it got its name last; another name alone tears nothing.
        let mut written = BTreeSet::new();
        for line in fs::read_to_string(file).unwrap().lines() {
            let cells: Vec<_> = line.split('\t').collect();
            let [name, nth, kind, path] = cells[..] else { panic!("{line}") };
            let (step, what) = name.split_once(' ').unwrap();
            if step == "write" {
                written.insert(path.to_owned());
            }
            places.push(Place {
                command,
                name: name.to_owned(),
                nth: nth.parse().unwrap(),
                wrote: step == "settle" && kind == "file" && written.remove(path),
                loose: step == "sync" && kind == "file" && !listed.contains(&format!("rename {what}")),
                tree: step == "remove" && kind == "directory",
            });
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
            // RAUC, which says what runs, goes down with the device.
            match case.pump.way {
                Way::Rauc => case.fail(),
                _ => judge::at_the_cut(&case, journey)?,
            }
            case.boot();
            judge::at_the_cut(&case, journey).map_err(|e| format!("once the power is back: {e}"))?;
            case.late.set(words[0] == "run");
        }
        // What a person did is done again where it was cut off; the agent starts by itself.
        if words[0] == "run" {
            let before = case.restarts();
            state = case.resume().await?;
            // Rule 3: what a person saw before the cut says nothing of now.
            if case.pump.by_word && command == place.command && case.restarts() != before {
                return Err("it was restarted, and nobody had said that it is not in use".to_owned());
            }
        } else if words[0] == "leave" {
            // The service manager starts the agent in any case. Where it had not begun, the person says it again.
            let _ = case.resume().await;
            if !judge::left_or_not_begun(&case)? && !case.watched(&[], words).success() {
                return Err(format!("{words:?} does not go: {}", case.log()));
            }
        } else if !done && !case.watched(&[], words).success() && !case.log().contains("is enrolled as") {
            return Err(format!("{words:?} does not go: {}", case.log()));
        }
    }
    if journey.id == "factory" {
        case.boot();
    }
    // A person's word serves once: whoever stands there is asked again.
    if state.contains("(person-needed)") {
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

/// Which cuts every run of the tests makes.
#[derive(Default)]
struct Choice {
    done: BTreeSet<(String, &'static str)>,
    done_by: BTreeSet<(Way, String, &'static str)>,
    done_on: BTreeSet<(&'static str, String, usize)>,
    /// The places of the first journey, and how many of this one's are the same.
    first: Vec<String>,
    same: usize,
}

impl Choice {
    fn begin(&mut self, places: &[Place]) {
        let names: Vec<_> = places.iter().map(|p| p.name.clone()).collect();
        self.same = names.iter().zip(&self.first).take_while(|(a, b)| a == b).count();
        if self.first.is_empty() {
            self.first = names;
        }
    }

    /// From where the journey goes its own way, and again at what is weighty.
    fn of_slots(&mut self, at: usize, place: &Place, damage: &'static str, length: usize) -> bool {
        if at < self.same {
            return false;
        }
        let is_first = self.done.insert((place.name.clone(), damage));
        is_first || is_weighty(place) && ["none", "journal"].contains(&damage) && length > 100
    }

    /// What no device with two directories passes, and what is weighty once for each way to install; with a boot loader and
    /// with a program after each record of the journal's, too.
    fn of_others(&mut self, (way, id): (Way, &'static str), place: &Place, damage: &'static str) -> bool {
        let is_deed = place.name.starts_with("before") || place.name.starts_with("after");
        let is_weighty = match way {
            Way::Slots | Way::Itself => false,
            // A case takes seconds: once after each of the installer's steps, and at RAUC's own mark.
            Way::Rauc => {
                let after = place.name.starts_with("after the installer's") || place.name == "settle .suture/rauc.json";
                after && (damage == "none" || damage == "journal" && place.name.ends_with("switch"))
            }
            Way::Data => is_deed && is_weighty(place),
            Way::UBoot | Way::Entries | Way::Program => is_weighty(place),
        };
        if place.name.contains("journal") {
            let after =
                place.name.starts_with("settle") && damage == "none" && matches!(way, Way::UBoot | Way::Program);
            return after && self.done_on.insert((id, place.name.clone(), place.nth));
        }
        is_of_others(&place.name) && way != Way::Rauc && self.done.insert((place.name.clone(), damage))
            || is_weighty && self.done_by.insert((way, place.name.clone(), damage))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_every_place_and_torn_in_every_way_a_device_comes_to_the_same_end() {
    let scene = Scene::open(journeys::SLOTS).await;
    let played = play(&scene, &journeys::of_slots(&scene)).await;
    println!("{}", played.figures);
    played.judge(|name| is_of_others(name) || name.contains("rauc.json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_that_installs_otherwise_converts_its_data_changes_its_agent_or_leaves() {
    let scene = Scene::open(journeys::OTHERS).await;
    let played = play(&scene, &journeys::of_others()).await;
    println!("{}", played.figures);
    played.judge(|name| !is_of_others(name));
}

/// RAUC mounts bundles, which only root may: an ordinary user has no journey here, and the test ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_with_rauc() {
    if !rauc_stage::may_mount() {
        return;
    }
    let scene = Scene::open(journeys::RAUC).await;
    let played = play(&scene, &journeys::of_rauc()).await;
    println!("{}", played.figures);
    played.judge(|name| !name.contains("rauc.json"));
}

/// Cuts each journey.
async fn play(scene: &Scene, journeys: &[Journey]) -> Played {
    let everything = std::env::var("SUTURE_CUTS").is_ok_and(|cuts| cuts == "all");
    let only = std::env::var("SUTURE_CUTS").ok().filter(|cuts| cuts != "all");
    let begun = Instant::now();
    let (mut table, mut failures, mut missed, mut passed) = (Table::new(), Vec::new(), 0, BTreeSet::new());
    let (mut choice, mut totals) = (Choice::default(), BTreeMap::new());
    for journey in journeys.iter().filter(|j| only.as_ref().is_none_or(|only| j.id == only)) {
        let case = scene.case(journey.id);
        let places = trace(&case, journey);
        let state = match journey.commands.last().is_some_and(|words| words[0] == "run") {
            true => case.resume().await.unwrap_or_else(|e| e),
            false => String::new(),
        };
        case.boot();
        if let Err(e) = judge::at_rest(&case, journey, &state) {
            failures.push(format!("{} without a cut: {e}: {}", journey.id, case.log()));
            continue;
        }
        passed.extend(places.iter().map(|p| p.name.clone()));
        choice.begin(&places);
        for (at, place) in places.iter().enumerate() {
            for damage in place.damages() {
                let is_chosen = match case.pump.way {
                    Way::Slots if journey.id != "leaves" => choice.of_slots(at, place, damage, places.len()),
                    way => choice.of_others((way, journey.id), place, damage),
                };
                if !everything && !is_chosen {
                    continue;
                }
                match cut(scene, journey, place, damage).await {
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
    let cases: usize = totals.values().sum::<usize>() + failures.len();
    let figures = format!(
        "{}\n{cases} cases in {:.0?}, of which {missed} passed their place no second time; {} failed\n{}",
        shown(&table, &totals),
        begun.elapsed(),
        failures.len(),
        failures.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
    Played { passed, failures, cases, missed, figures }
}

/// What came of the journeys.
struct Played {
    passed: BTreeSet<String>,
    failures: Vec<String>,
    cases: usize,
    missed: usize,
    /// The table.
    figures: String,
}

impl Played {
    /// All have converged, at places that are in the list; and those of the list were passed that these journeys pass.
    fn judge(self, never: impl Fn(&str) -> bool) {
        let Self { passed, failures, cases, missed, .. } = self;
        // The list in one place is all that there is.
        let listed: BTreeSet<_> = checkpoint::names().collect();
        let unlisted: Vec<_> = passed.difference(&listed).collect();
        assert!(unlisted.is_empty(), "in no list: {unlisted:#?}");
        assert!(failures.is_empty(), "{} of {cases} did not converge, the first: {}", failures.len(), failures[0]);
        assert!(missed * 20 < cases, "{missed} of {cases}");
        let is_elsewhere = |name: &str| ELSEWHERE.iter().any(|(part, _)| name.contains(part));
        let unseen: Vec<_> = listed.difference(&passed).filter(|name| !is_elsewhere(name) && !never(name)).collect();
        assert!(unseen.is_empty(), "never passed: {unseen:#?}");
    }
}

/// The table: how many cases of each kind have converged, by place and by journey.
fn shown(table: &Table, totals: &BTreeMap<(&'static str, &'static str), usize>) -> String {
    let line = |name: &str, cell: &dyn Fn(&'static str) -> Option<usize>| {
        let cells = COLUMNS.map(|c| cell(c).map_or_else(|| format!("{:>9}", "-"), |n| format!("{n:>9}")));
        format!("{name:<44}{}\n", cells.concat())
    };
    let head = COLUMNS.map(|c| format!("{:>9}", if c == "none" { "cut" } else { c })).concat();
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
