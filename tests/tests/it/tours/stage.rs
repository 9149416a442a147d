//! The shell that a tour is played in.

use std::process::Stdio;
use std::sync::Arc;

use suture_tests::world::{Line, binary};
use tempfile::TempDir;

use super::agreement::disagreement;
use super::manager::Manager;
use super::page::Step;
use super::place::Place;

/// A machine for one story.
pub(super) struct Stage {
    dir: TempDir,
    place: Place,
    _manager: Manager,
}

impl Stage {
    /// One on which nothing is installed but the programs.
    pub(super) async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let line = Arc::new(Line::open().await);
        let place = Place::new(dir.path(), line.port());
        for path in
            ["bin", "home", "etc/suture-agent", "etc/systemd/system", "opt", "run", "usr/lib", "var/backups", "var/lib"]
        {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        // Who plays it at a terminal is asked.
        std::fs::write(dir.path().join("passphrase"), "correct horse battery staple\n").unwrap();
        let path = std::env::var("PATH").unwrap();
        let programs = binary("suturectl").parent().unwrap().to_owned();
        let path = format!("{}:{}:{path}", dir.path().join("bin").display(), programs.display());
        let manager = Manager::start(place.clone(), line, &path);
        std::fs::write(dir.path().join("path"), path).unwrap();
        Self { dir, place, _manager: manager }
    }

    /// Plays these steps in one shell, and compares what they print.
    pub(super) async fn play(self, parts: &[Vec<Step>]) {
        let steps = parts.concat();
        assert!(!steps.is_empty());
        // As a person does who stops where a command fails.
        let mut script = "set -euo pipefail\nexec 2>&1\ncd\n".to_owned();
        for (number, step) in steps.iter().enumerate() {
            script.push_str(&format!("printf '\\n%s\\n' '{}'\n{}", mark(number), self.place.here(&step.commands)));
        }
        let file = self.dir.path().join("tour.sh");
        std::fs::write(&file, script).unwrap();
        let mut shell = tokio::process::Command::new("bash");
        shell.arg(&file).stdin(Stdio::null()).env_clear().kill_on_drop(true);
        shell.env("PATH", std::fs::read_to_string(self.dir.path().join("path")).unwrap());
        shell.env("HOME", self.dir.path().join("home")).env("LANG", "C.UTF-8");
        shell.env("SUTURE_PASSPHRASE_FILE", self.dir.path().join("passphrase"));
        shell.env("SUTURE_AGENT_CONFIG", self.place.at("/etc/suture-agent/agent.toml"));
        let done = shell.output().await.unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        let mut rest = said.as_str();
        for (number, step) in steps.iter().enumerate() {
            rest = rest.split_once(&mark(number)).map_or("", |(_, rest)| rest).trim_start_matches('\n');
            let printed = self.place.there(rest.split(&mark(number + 1)).next().unwrap());
            let is_last = !rest.contains(&mark(number + 1));
            let stopped = is_last && (!done.status.success() || number + 1 < steps.len());
            assert!(!stopped, "{}: it ended with {}:\n{}\n{printed}", step.at, done.status, step.commands);
            let Some(shown) = &step.prints else { continue };
            if let Some(line) = disagreement(shown, &printed) {
                panic!("{}: from `{line}` on it prints something else:\n{printed}", step.at);
            }
        }
    }
}

fn mark(number: usize) -> String {
    format!("@@ step {number} @@")
}
