//! The shell that a tour is played in.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use suture_tests::world::{Line, binary};
use tempfile::TempDir;

use super::agreement::disagreement;
use super::manager::Manager;
use super::page::Step;
use super::place::Place;

/// A machine for one story. What runs on it ends before its directory goes.
pub(super) struct Stage {
    _manager: Manager,
    place: Place,
    path: String,
    dir: TempDir,
}

impl Stage {
    /// One on which nothing is installed but the programs.
    pub(super) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let line = Arc::new(Line::open().await);
        let place = Place::new(dir.path(), line.port());
        for path in ["bin", "home", "etc/suture-agent", "etc/systemd/system", "opt", "run", "usr/lib", "var/backups"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("var/lib")).unwrap();
        // Who plays it at a terminal is asked.
        std::fs::write(dir.path().join("passphrase"), "correct horse battery staple\n").unwrap();
        let programs = binary("suturectl").parent().unwrap().to_owned();
        let bin = dir.path().join("bin");
        let path = format!("{}:{}:{}", bin.display(), programs.display(), std::env::var("PATH").unwrap());
        let manager = Manager::start(place.clone(), line, &path);
        Self { _manager: manager, place, path, dir }
    }

    /// Plays these steps in one shell, and compares what they print.
    pub(super) async fn play(self, parts: &[Vec<Step>]) {
        let steps = parts.concat();
        assert!(!steps.is_empty());
        // As a person does who stops where a command fails.
        let mut script = "set -euo pipefail\ncd\n".to_owned();
        for (number, step) in steps.iter().enumerate() {
            script.push_str(&format!("printf '\\n%s\\n' '{}'\n{}", mark(number), self.place.here(&step.commands)));
        }
        let (status, said) = self.run(&script).await;
        let mut rest = said.as_str();
        for (number, step) in steps.iter().enumerate() {
            rest = rest.split_once(&mark(number)).map_or("", |(_, rest)| rest).trim_start_matches('\n');
            let printed = self.place.there(rest.split(&mark(number + 1)).next().unwrap());
            let is_last = !rest.contains(&mark(number + 1));
            let stopped = is_last && (!status.success() || number + 1 < steps.len());
            assert!(!stopped, "{}: it ended with {status}:\n{}\n{printed}", step.at, step.commands);
            let Some(shown) = &step.prints else { continue };
            if let Some(line) = disagreement(shown, &printed) {
                panic!("{}: from `{line}` on it prints something else:\n{printed}", step.at);
            }
        }
    }

    /// Runs a script, and gives what it and its programs said, on whichever of both outputs. What it has left running ends with it.
    async fn run(&self, script: &str) -> (ExitStatus, String) {
        let (file, said) = (self.dir.path().join("tour.sh"), self.dir.path().join("said"));
        std::fs::write(&file, script).unwrap();
        let output = std::fs::File::create(&said).unwrap();
        let mut shell = tokio::process::Command::new("bash");
        shell.arg(&file).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        shell.env_clear().env("PATH", &self.path).env("HOME", self.dir.path().join("home")).env("LANG", "C.UTF-8");
        shell.env("SUTURE_PASSPHRASE_FILE", self.dir.path().join("passphrase"));
        shell.env("SUTURE_AGENT_CONFIG", self.place.at("/etc/suture-agent/agent.toml"));
        let mut shell = shell.kill_on_drop(true).spawn().unwrap();
        let group = shell.id().unwrap().to_string();
        let status = shell.wait().await.unwrap();
        let mut kill = std::process::Command::new("sh");
        // Nothing may be left, which is well.
        let _ = kill.args(["-c", "kill -KILL -- \"-$0\"", &group]).stderr(Stdio::null()).status();
        (status, std::fs::read_to_string(said).unwrap())
    }
}

fn mark(number: usize) -> String {
    format!("@@ step {number} @@")
}
