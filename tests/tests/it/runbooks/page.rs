//! A page and its sections, as whoever follows it reads them: command after command.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::Value;
use suture_tests::world::program::binary;
use suture_tests::world::{Failed, Operator, World};

/// Where a server's data directory is, on the pages.
const DATA_DIR: &str = "/var/lib/suture-server";

/// How root runs what must belong to the server's user.
const AS_SERVER: &str = "runuser -u suture-server -- ";

/// Where the pages are.
pub(super) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/runbooks")
}

/// A runbook.
pub(crate) struct Page {
    name: String,
    text: String,
}

/// What stands under one heading of a page: its commands, in order, those that were played taken away.
pub(crate) struct Section {
    name: String,
    commands: VecDeque<String>,
}

impl Page {
    /// Reads a page.
    pub(crate) fn open(name: &str) -> Self {
        let text = std::fs::read_to_string(directory().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { name: name.to_owned(), text }
    }

    /// The section under `## heading`.
    pub(crate) fn section(&self, heading: &str) -> Section {
        let start = format!("## {heading}\n");
        let (_, rest) = self.text.split_once(&start).unwrap_or_else(|| panic!("{} has no {start}", self.name));
        let own = rest.split("\n## ").next().unwrap();
        Section { name: format!("{}: {heading}", self.name), commands: fenced(own).into() }
    }

    /// All of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The commands in fenced blocks.
    pub(super) fn fenced(&self) -> Vec<String> {
        fenced(&self.text)
    }

    /// The commands of our programs within sentences.
    pub(super) fn inline(&self) -> Vec<String> {
        let prose: String = self.text.split("```").step_by(2).collect();
        let quoted = prose.split('`').skip(1).step_by(2).map(|q| q.split_whitespace().collect::<Vec<_>>().join(" "));
        quoted.filter(|q| q.split_once(' ').is_some_and(|(program, _)| is_ours(program))).collect()
    }
}

/// Whether a program is one of this project's.
pub(crate) fn is_ours(program: &str) -> bool {
    matches!(program, "suturectl" | "suture-server" | "suture-agent")
}

/// The lines of fenced blocks, those that end in a backslash joined with the next, comments left out.
fn fenced(text: &str) -> Vec<String> {
    let blocks = text.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        let command = |l: &str| l.split(" #").next().unwrap().trim().trim_start_matches(AS_SERVER).to_owned();
        joined.lines().map(command).collect::<Vec<_>>()
    });
    lines.filter(|l| !l.is_empty() && !l.starts_with('#')).collect()
}

/// A command's words, as a shell would part them: double quotes hold words together.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in command.split('"').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

/// The words with placeholders filled in; each must stand in the command.
fn fill(mut words: Vec<String>, values: &[(&str, &str)]) -> Vec<String> {
    for (placeholder, value) in values {
        let mut found = false;
        for word in &mut words {
            if word.contains(placeholder) {
                *word = word.replace(placeholder, value);
                found = true;
            }
        }
        assert!(found, "{placeholder} is not in {words:?}");
    }
    words
}

impl Section {
    /// Takes the next command, which must be that program's and, if there is one, subcommand's: what a test plays stands on
    /// the page.
    fn next(&mut self, begins: &str, values: &[(&str, &str)]) -> Vec<String> {
        let command = self.commands.pop_front().unwrap_or_else(|| panic!("{} says nothing of {begins}", self.name));
        assert!(command.starts_with(begins), "{}: after what was played comes {command}, not {begins}", self.name);
        fill(words(&command), values)
    }

    /// Somebody runs the next command, which begins with these words; gives the JSON that it prints.
    pub(crate) async fn run(&mut self, who: &Operator, begins: &str, values: &[(&str, &str)]) -> Value {
        self.run_with(who, begins, values, &[]).await
    }

    /// The same, with answers that a person would type.
    pub(crate) async fn run_with(
        &mut self,
        who: &Operator,
        begins: &str,
        values: &[(&str, &str)],
        answers: &[&str],
    ) -> Value {
        let run = self.try_run(who, begins, values, answers).await;
        run.unwrap_or_else(|e| panic!("{}: {begins}: {}", self.name, e.said))
    }

    async fn try_run(
        &mut self,
        who: &Operator,
        begins: &str,
        values: &[(&str, &str)],
        answers: &[&str],
    ) -> Result<Value, Failed> {
        let mut words = self.next(&format!("suturectl {begins}"), values);
        // Who reads the page reads the change too, and types yes; new keys get a passphrase.
        match (words[1].as_str(), words.get(2).map_or("", String::as_str)) {
            ("catalog" | "approvals", "sign") | ("device", "confirm") => words.push("--yes".to_owned()),
            ("key", "new") => words.push("--no-passphrase".to_owned()),
            ("hdo", "join") => words.push("--no-passphrase".to_owned()),
            _ => {}
        }
        words.extend(answers.iter().map(|&a| a.to_owned()));
        who.json(&words[1..].iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// The next command runs on the server's machine, as a process; gives what it prints.
    pub(crate) fn on_server(&mut self, world: &World, begins: &str, values: &[(&str, &str)]) -> String {
        let words = self.next(&format!("suture-server {begins}"), values);
        let data_dir = world.data_dir().to_str().unwrap();
        let args = words[1..].iter().map(|w| w.replace(DATA_DIR, data_dir));
        let done = std::process::Command::new(binary("suture-server")).args(args).output().unwrap();
        assert!(done.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// On the server's machine: stopped, the step taken, started, as three commands on the page.
    pub(crate) async fn restarted(&mut self, world: &mut World, begins: &str) -> String {
        self.by_hand("systemctl stop suture-server");
        world.stop_server().await;
        let said = self.on_server(world, begins, &[]);
        self.by_hand("systemctl start suture-server");
        world.start_server().await;
        said
    }

    /// The next command is played by the test in its own way: at a device, or not a program of ours.
    pub(crate) fn by_hand(&mut self, begins: &str) {
        self.next(begins, &[]);
    }

    /// Everything on the page was played.
    pub(crate) fn done(self) {
        assert!(self.commands.is_empty(), "{}: not played: {:?}", self.name, self.commands);
    }
}
