//! What the programs print as JSON keeps its shape: every command that can be played in one hospital is, and the fields of
//! its answer and their types are those that `deploy/json.md` promises. A field that is gone or has another type fails here;
//! a new one does too, until it stands there. `SUTURE_SNAPSHOTS=write` writes the page anew; then read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use suture_tests::world::{HDO, Operator, binary, text};

use crate::hospital::Hospital;

/// What an audit entry says besides is its action's own; it is not told of here.
const FREE: [&str; 1] = [".detail"];

const PROMISE: &str = "# What the programs print as JSON

Every command takes `--output json` and then prints one JSON value on standard output (`rollout watch`, `events export`: one a
line). What is for people, notes and progress, goes to standard error.

Within a major version fields are added, and none is removed, renamed or given another type; a field that may be `null` says so
below, and one with a `?` may be absent. Programs that read this skip what they do not know. Codes of reasons
(`deploy/reasons.md`), phases and exit codes are as stable as fields; sentences are for people and change. Instants are RFC 3339
in UTC, dates `YYYY-MM-DD`, digests and keys hexadecimal, lengths bytes.

A command that fails prints one JSON object on standard error, of this shape, and ends with the exit code that it names:
`{\"error\": string, \"causes\": [string], \"next\": string or null, \"exit\": number}`. `suture-server` says
there what failed as a line of text. Every program says as text that its command line is not understood.

What stands below is written by a test that plays the commands (`tests/tests/it/shapes.rs`), and compared with what they print.
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
                let named = fields.keys().any(|k| !is_ours(k));
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
struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    /// Takes an answer of the command that these words call.
    fn take(&mut self, program: &clap::Command, words: &[&str], answer: &Value) {
        let (mut command, mut name) = (program, program.get_name().to_owned());
        for word in words {
            let Some(below) = command.find_subcommand(word) else { break };
            (command, name) = (below, format!("{name} {word}"));
        }
        self.0.entry(name).or_default().take("", answer);
    }

    /// Somebody runs a command.
    async fn play(&mut self, who: &Operator, words: &[&str]) -> Value {
        let answer = who.json(words).await.unwrap_or_else(|e| panic!("{words:?}: {}", e.said));
        self.take(&suture_ctl::command(), words, &answer);
        answer
    }

    /// A program is run as a process.
    fn run(&mut self, program: &clap::Command, flags: &[&str], words: &[&str]) {
        let mut process = Command::new(binary(program.get_name()));
        let done = process.args(words).args(flags).args(["--output", "json"]).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        self.take(program, words, &serde_json::from_slice(&done.stdout).unwrap());
    }

    fn page(&self) -> String {
        let mut page = PROMISE.to_owned();
        for (name, shape) in &self.0 {
            let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", shape.lines().join("\n"));
        }
        page
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

async fn manufacturer(h: &Hospital, s: &mut Shapes) {
    let ada = &h.ada;
    let spec = h.world.path("advisory.toml");
    let notice = "kind = \"advisory\"\nproduct = \"pump\"\nreleases = [\"1\"]\nseverity = \"high\"\ncves = [\"CVE-2026-12345\"]\n\
                  subject = \"the alarm\"\ntext = \"It can be silenced.\"\nactions = \"Install release 2.\"\n\
                  compensating = \"A network of its own.\"\n";
    std::fs::write(&spec, notice).unwrap();
    for words in [
        &["whoami"][..],
        &["doctor"],
        &["key", "list"],
        &["key", "check", "targets"],
        &["key", "export-public", "targets"],
        &["catalog", "status"],
        &["hdo", "list"],
        &["hdo", "invite", "hilltop", "--name", "Hilltop Clinic"],
        &["operator", "invite", "eve"],
        &["bundle", "list"],
        &["bundle", "inspect", text(&h.first.dir)],
        &["bundle", "diff", "pump@1", "pump@2"],
        &["bundle", "adoption", "pump@2"],
        &["life", "set", "pump", "--general-availability", "2020-01-01", "--eos", "2036-01-01", "--reason", "as sold"],
        &["life", "show", "pump"],
        &["life", "history", "pump"],
        &[
            "responsibilities",
            "propose",
            "pump",
            "--hdo",
            HDO,
            "--cell",
            "apply-patches@support=shared-manufacturer",
            "--reason",
            "x",
        ],
        &["responsibilities", "show", "pump", "--hdo", HDO],
        &["responsibilities", "history", "pump", "--hdo", HDO],
        &["vex", "list"],
        &["exposure", "--component", "pkg:deb/debian/openssl"],
        &["rollout", "propose", "pump@2", "--all", "--note", "a louder alarm"],
        &["rollout", "proposals"],
        &["notice", "publish", text(&spec)],
        &["notice", "clocks", "pump@2", "--learned", "2026-11-20"],
    ] {
        s.play(ada, words).await;
    }
    let notices = s.play(ada, &["notice", "list"]).await;
    s.play(ada, &["notice", "status", &string(&notices[0]["id"])]).await;
    s.play(ada, &["evidence", "product", "pump", "-o", text(&h.world.path("product"))]).await;
}

async fn hospital(h: &mut Hospital, s: &mut Shapes) {
    let (kim, world) = (&h.kim, &h.world);
    let devices = world.path("devices.csv");
    std::fs::write(&devices, "id,product,hardware,ward\npump-3,pump,rev-a,icu\n").unwrap();
    for words in [
        &["whoami"][..],
        &["approvals", "status"],
        &["device", "import", "--csv", text(&devices)],
        &["device", "list"],
        &["device", "token", "pump-3"],
        &["device", "show", "pump-1"],
        &["device", "why", "pump-1"],
        &["device", "lost-after", "48h"],
        &["roster", "show"],
        &["calendar", "set", "icu", "--zone", "Etc/UTC", "--weekly", "mon,tue,wed,thu,fri,sat,sun 00:00 24h"],
        &["calendar", "show", "icu"],
        &["calendar", "preview", "icu"],
        &["service", "show"],
        &["transfer", "set", "--rate", "200Mbit"],
        &["transfer", "show"],
        &["transfer", "clear"],
        &["life", "show", "pump"],
        &["life", "list"],
        &["responsibilities", "sign", "pump", "1"],
        &[
            "risk",
            "assess",
            "--product",
            "pump",
            "--hazard",
            "a wrong dose",
            "--likelihood",
            "remote",
            "--severity",
            "critical",
            "--exploitability",
            "medium",
            "--treatment",
            "acceptance",
            "--reason",
            "no other pump",
            "--reviewer",
            "Dr. Lee",
            "--compensating",
            "a network of its own",
        ],
        &["risk", "list"],
        &["risk", "show", "1"],
        &["risk", "overdue"],
        &["notice", "list"],
        &["notice", "show", "1"],
        &["notice", "acknowledge", "1", "--text", "installed by Friday"],
        &["notice", "contact", "add", "siem", "--webhook", "https://siem.riverside.example/suture"],
        &["notice", "contact", "list"],
        &["notice", "contact", "remove", "siem"],
        &["report", "suspicion", "--product", "pump", "--device", "pump-1", "--text", "it called a stranger"],
        &["report", "list"],
        &["report", "show", "2"],
        &["bundle", "documents", "pump@2", "-o", text(&world.path("papers"))],
        &["rollout", "decisions"],
    ] {
        s.play(kim, words).await;
    }

    // A rollout, from its plan to its end, and what is asked between.
    let plan =
        ["rollout", "plan", "--bundle", "pump@2", "--ward", "icu", "--wave", "1", "--wave", "rest", "--slots", "1"];
    let file = world.path("plan.json");
    let plan = [&plan[..], &["--slack", "60s", "-o", text(&file)]].concat();
    let planned = s.play(kim, &plan).await;
    let sha256 = string(&planned["sha256"]);
    let approve = ["rollout", "approve", sha256.as_str(), "--reason", "tested"];
    let rollout = string(&s.play(kim, &approve).await["rollout"]);
    s.play(kim, &["rollout", "pause", &rollout, "--reason", "the ward is full"]).await;
    s.play(kim, &["rollout", "resume", &rollout, "--reason", "it has room"]).await;
    let start = string(&planned["plan"]["devices"][0]["slots"][0]["start"]);
    world.clock.set(start.parse().unwrap());
    for pump in &mut h.pumps {
        pump.cycle().await;
    }
    let (kim, world) = (&h.kim, &h.world);
    s.play(kim, &["device", "show", "pump-1"]).await;
    s.play(kim, &["device", "why", "pump-2"]).await;
    s.play(kim, &["rollout", "show", &rollout]).await;
    s.play(kim, &["rollout", "why", &rollout]).await;
    s.play(kim, &["rollout", "list", "--all"]).await;
    s.play(kim, &["stick", "write", text(&world.path("stick"))]).await;
    s.play(kim, &["rollout", "stop", &rollout]).await;
    s.play(kim, &["rollout", "stop-status", &rollout]).await;
    s.play(kim, &["rollout", "lift", &rollout]).await;
    s.play(kim, &["rollout", "abort", &rollout, "--reason", "over"]).await;
    s.play(kim, &["evidence", "rollout", &rollout, "-o", text(&world.path("rollout"))]).await;
    s.play(kim, &["evidence", "device", "pump-1", "-o", text(&world.path("device"))]).await;
    s.play(kim, &["evidence", "verify", text(&world.path("rollout"))]).await;
    s.play(kim, &["device", "revoke", "pump-2", "--reason", "stolen"]).await;
}

async fn record(h: &Hospital, s: &mut Shapes) {
    let (ada, file, proof) = (&h.ada, h.world.path("record.jsonl"), h.world.path("entry.json"));
    for words in [
        &["events", "list"][..],
        &["audit", "list", "--limit", "200"],
        &["audit", "verify"],
        &["audit", "key"],
        &["audit", "export", "-o", text(&file)],
        &["audit", "verify", "--file", text(&file)],
        &["audit", "prove", "1", "-o", text(&proof)],
        &["audit", "verify", "--proof", text(&proof)],
        &["catalog", "renew"],
        &["catalog", "set-status", "pump", "1", "withdrawn"],
    ] {
        s.play(ada, words).await;
    }
    let server = suture_server::cli::command();
    let config = h.world.data_dir().join("server.toml");
    for words in
        [&["ca", "show"][..], &["keys", "list"], &["audit", "key"], &["audit", "prune", "--before", "2020-01-01"]]
    {
        s.run(&server, &["--config", text(&config)], words);
    }
    let agent = <crate::agent_cli::Cli as clap::CommandFactory>::command();
    let config = h.pumps[0].config();
    for words in [&["status"][..], &["why"], &["log"], &["log", "--verify"], &["record"]] {
        s.run(&agent, &["--config", text(&config)], words);
    }
}

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/json.md")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_as_json_has_the_shape_that_is_promised() {
    let mut h = Hospital::open().await;
    let mut shapes = Shapes::default();
    manufacturer(&h, &mut shapes).await;
    hospital(&mut h, &mut shapes).await;
    record(&h, &mut shapes).await;
    let page = shapes.page();
    if std::env::var("SUTURE_SNAPSHOTS").is_ok_and(|how| how == "write") {
        std::fs::write(place(), &page).unwrap();
    }
    let there = std::fs::read_to_string(place()).unwrap_or_default();
    let (is, was): (BTreeSet<&str>, BTreeSet<&str>) = (page.lines().collect(), there.lines().collect());
    let (gone, new): (Vec<_>, Vec<_>) = (was.difference(&is).collect(), is.difference(&was).collect());
    assert!(page == there, "deploy/json.md promises what is not printed: {gone:#?}\nand does not tell of: {new:#?}");
}
