//! What the programs print as JSON keeps its shape: every command that their command lines have is played, but for those that
//! [`NOT_PLAYED`] gives a reason for, and the fields of its answer and their types are those that `deploy/json.md` promises. A
//! field that is gone or has another type fails here; a new one does too, until it stands there. `SUTURE_SNAPSHOTS=write` writes
//! the page anew; then read it. How commands fail is in [`failures`].

mod ceremonies;
mod failures;
mod hospital;
mod machines;
mod manufacturer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suture_tests::world::{Operator, binary, text};

use crate::help::leaves;
use crate::hospital::Hospital;

/// What an audit entry says besides is its action's own; it is not told of here.
const FREE: [&str; 1] = [".detail"];

/// Their fields are names of somebody's.
const NAMED: [&str; 4] = [".delegated_signed_sha256", ".labels", ".unknown_devices", ".whys"];

/// What cannot be played here, and why. Whoever adds a command adds a play of it, not a line here.
const NOT_PLAYED: [(&str, &str); 2] = [
    ("suture-agent run", "runs until it is stopped, and logs"),
    ("suture-server run", "runs until it is stopped, and logs"),
];

const PROMISE: &str = "# What the programs print as JSON

Every command takes `--output json` and then prints one JSON value on standard output (`rollout watch`, `events export`: one a
line). What is for people, notes and progress, goes to standard error.

Within a major version fields are added, and none is removed, renamed or given another type; a field that may be `null` says so
below, and one with a `?` may be absent. Programs that read this skip what they do not know. Codes of reasons
(`deploy/reasons.md`), phases and exit codes are as stable as fields; sentences are for people and change. Instants are RFC 3339
in UTC, dates `YYYY-MM-DD`, digests and keys hexadecimal, lengths bytes.

Whatever fails prints one JSON object on standard error and nothing else there, and ends with the exit code that it names:
`{\"error\": string, \"causes\": [string], \"next\": string or null, \"notes\": [string], \"exit\": number}`. `notes` is what
would else have been said beside the result. `suture-agent` and `suture-server` say as text that their command line is
not understood; of `suturectl` that is such an object too.

A command that signs what others must sign too says so in the place of its result: `published` is `false`, `envelope` is the
file to hand on, and `signatures` says who has signed and who may. `life export` prints OpenEoX and `events export` OCSF, whatever
`--output` says.

What stands below is written by a test that plays the commands (`tests/tests/it/shapes`), and compared with what they print.
`[]` are the elements of a list, `*` any name in a table of names; an audit entry's `detail` is its action's own.
";

#[derive(Default)]
struct Seen {
    types: BTreeSet<&'static str>,
    /// In how many of the objects that it could stand in.
    times: usize,
}

/// The fields of one command's answers: each place, and what stands there.
#[derive(Default)]
struct Shape {
    fields: BTreeMap<String, Seen>,
}

impl Shape {
    fn take(&mut self, place: &str, value: &Value) {
        let seen = self.fields.entry(place.to_owned()).or_default();
        seen.times += 1;
        seen.types.insert(match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        });
        match value {
            Value::Array(elements) => elements.iter().for_each(|e| self.take(&format!("{place}[]"), e)),
            Value::Object(fields) if !FREE.iter().any(|n| place.ends_with(n)) => {
                let named = NAMED.iter().any(|n| place.ends_with(n)) || fields.keys().any(|k| !is_ours(k));
                for (key, value) in fields {
                    let key = if named { "*" } else { key };
                    self.take(&format!("{place}.{key}"), value);
                }
            }
            _ => {}
        }
    }

    fn lines(&self) -> Vec<String> {
        let line = |(place, seen): (&String, &Seen)| {
            let above = place.trim_end_matches("[]").rsplit_once('.').map_or("", |(above, _)| above);
            let could = self.fields.get(above).map_or(seen.times, |a| a.times);
            let name = place.trim_start_matches('.');
            let name = if name.is_empty() { "(the whole)" } else { name };
            let types = seen.types.iter().copied().collect::<Vec<_>>().join(" or ");
            let is_field = !place.ends_with("[]") && !place.ends_with(".*") && !place.is_empty();
            if is_field && seen.times < could { format!("{name}?  {types}") } else { format!("{name}  {types}") }
        };
        self.fields.iter().map(line).collect()
    }
}

/// Names of our fields are in one form; device ids, digests and the like are not.
fn is_ours(key: &str) -> bool {
    key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') && key.len() < 30
}

#[derive(Default)]
struct Shapes {
    /// By the words that call the command.
    known: BTreeMap<String, Shape>,
    faults: Vec<String>,
}

impl Shapes {
    /// Takes an answer of the command that these words call.
    fn take(&mut self, program: &clap::Command, words: &[&str], answer: &Value) {
        let (mut command, mut name) = (program, program.get_name().to_owned());
        for word in words {
            let Some(below) = command.find_subcommand(word) else { break };
            (command, name) = (below, format!("{name} {word}"));
        }
        self.known.entry(name).or_default().take("", answer);
    }

    /// Somebody runs a command.
    async fn play(&mut self, who: &Operator, words: &[&str]) -> Value {
        match who.json(words).await {
            Ok(answer) => {
                self.take(&suture_ctl::command(), words, &answer);
                answer
            }
            Err(failed) => self.fault(words, &failed.said),
        }
    }

    /// Somebody runs a command that prints a value a line.
    async fn play_lines(&mut self, who: &Operator, words: &[&str]) {
        match who.json_lines(words).await {
            Ok(lines) if lines.is_empty() => drop(self.fault(words, "it printed nothing")),
            Ok(lines) => lines.iter().for_each(|line| self.take(&suture_ctl::command(), words, line)),
            Err(failed) => drop(self.fault(words, &failed.said)),
        }
    }

    /// A program is run as a process.
    fn run(&mut self, program: &clap::Command, flags: &[&str], words: &[&str]) -> Value {
        let mut process = Command::new(binary(program.get_name()));
        let done = process.args(words).args(flags).args(["--output", "json"]).output().unwrap();
        match serde_json::from_slice(&done.stdout) {
            Ok(answer) if done.status.success() => {
                self.take(program, words, &answer);
                answer
            }
            _ => self.fault(words, &String::from_utf8_lossy(&done.stderr)),
        }
    }

    /// What did not go as it should: it is told of with all else.
    fn fault(&mut self, words: &[&str], said: &str) -> Value {
        self.faults.push(format!("{words:?}: {said}"));
        Value::Null
    }

    /// All that is wrong, and commands that are neither played nor excused, and excuses that are none.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        let agent = <crate::agent_cli::Cli as clap::CommandFactory>::command();
        let mut there = BTreeSet::new();
        for program in [suture_ctl::command(), suture_server::cli::command(), agent] {
            let mut found = Vec::new();
            leaves(&program, &[], &mut found);
            there.extend(found.into_iter().map(|(path, _)| path.join(" ")));
        }
        for name in &there {
            match (self.known.contains_key(name), NOT_PLAYED.iter().any(|(excused, _)| excused == name)) {
                (false, false) => faults.push(format!("{name} is not played")),
                (true, true) => faults.push(format!("{name} is played, and excused")),
                _ => {}
            }
        }
        faults.extend(NOT_PLAYED.iter().filter(|(n, _)| !there.contains(*n)).map(|(n, _)| format!("there is no {n}")));
        faults
    }

    fn page(&self) -> String {
        let mut page = PROMISE.to_owned();
        for (name, shape) in &self.known {
            let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", shape.lines().join("\n"));
        }
        page
    }
}

fn string(value: &Value) -> String {
    // What is missing is told of by the command that needs it.
    value.as_str().unwrap_or_default().to_owned()
}

/// What the program says of itself.
async fn itself(h: &Hospital, s: &mut Shapes) {
    s.play(&h.kim, &["reasons"]).await;
    s.play(&h.kim, &["man", "-o", text(&h.world.path("man"))]).await;
    s.play(&h.kim, &["completions", "bash"]).await;
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/json.md")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_as_json_has_the_shape_that_is_promised() {
    let mut h = Hospital::open().await;
    let mut shapes = Shapes::default();
    manufacturer::play(&h, &mut shapes).await;
    machines::servers(&h, &mut shapes);
    machines::devices(&h, &mut shapes).await;
    hospital::play(&mut h, &mut shapes).await;
    ceremonies::play(&h, &mut shapes).await;
    itself(&h, &mut shapes).await;
    let faults = shapes.faults();
    let page = shapes.page();
    if std::env::var("SUTURE_SNAPSHOTS").is_ok_and(|how| how == "write") {
        std::fs::write(place(), &page).unwrap();
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let there = std::fs::read_to_string(place()).unwrap_or_default();
    let (is, was): (BTreeSet<&str>, BTreeSet<&str>) = (page.lines().collect(), there.lines().collect());
    let (gone, new): (Vec<_>, Vec<_>) = (was.difference(&is).collect(), is.difference(&was).collect());
    assert!(page == there, "deploy/json.md promises what is not printed: {gone:#?}\nand does not tell of: {new:#?}");
}
