//! People with `suturectl`, run in this process, or in one of its own for what only an environment can say.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;

use super::program::binary;
use super::{Hsm, TestClock};

/// Somebody with a home of their own.
pub struct Operator {
    home: PathBuf,
    pub(super) clock: Arc<TestClock>,
    hsm: Option<Hsm>,
}

/// A command that did not exit with 0.
#[derive(Debug)]
pub struct Failed {
    /// Its exit code.
    pub exit: u8,
    /// What it said.
    pub said: String,
}

impl Operator {
    pub(super) fn new(home: PathBuf, clock: Arc<TestClock>) -> Self {
        Self { home, clock, hsm: None }
    }

    /// The same person at the same home, who runs `suturectl` as a process that sees these tokens. Such a process has the
    /// real clock, so everybody else gets it too.
    pub fn with(&self, hsm: &Hsm) -> Self {
        self.clock.run();
        Self { home: self.home.clone(), clock: self.clock.clone(), hsm: Some(hsm.clone()) }
    }

    /// Where their keys are.
    pub fn home(&self) -> &std::path::Path {
        &self.home
    }

    /// Their time.
    pub fn clock(&self) -> Arc<TestClock> {
        self.clock.clone()
    }

    /// Runs a command and gives what it printed.
    pub async fn run(&self, args: &[&str]) -> Result<String, Failed> {
        self.run_as("text", args).await
    }

    /// Runs a command with `--output json`.
    pub async fn json(&self, args: &[&str]) -> Result<Value, Failed> {
        let text = self.run_as("json", args).await?;
        Ok(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?} printed no JSON ({e}): {text}")))
    }

    /// Runs a command with `--output json` that prints a value a line.
    pub async fn json_lines(&self, args: &[&str]) -> Result<Vec<Value>, Failed> {
        let text = self.run_as("json", args).await?;
        let value = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{args:?} printed {line} ({e})"));
        Ok(text.lines().map(value).collect())
    }

    /// The program itself, with this home: it takes the machine's time, and signals.
    pub fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(binary("suturectl"));
        command.arg("--home").arg(&self.home).stdin(Stdio::null());
        command
    }

    async fn run_as(&self, format: &str, args: &[&str]) -> Result<String, Failed> {
        let home = self.home.to_str().unwrap();
        let all: Vec<&str> =
            ["suturectl", "--home", home, "--output", format].into_iter().chain(args.iter().copied()).collect();
        if let Some(hsm) = &self.hsm {
            return process(&all[1..], hsm).await;
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // On the heap: a journey's own future would hold the state of each of its commands.
        let exit = Box::pin(suture_ctl::run(all, &mut out, &mut err, self.clock.clone())).await;
        let said = String::from_utf8(err).unwrap();
        if exit == 0 { Ok(String::from_utf8(out).unwrap()) } else { Err(Failed { exit, said }) }
    }
}

async fn process(args: &[&str], hsm: &Hsm) -> Result<String, Failed> {
    let mut command = tokio::process::Command::new(binary("suturectl"));
    command.args(args).env_clear().envs(hsm.environment()).stdin(Stdio::null());
    let done = command.output().await.unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    match done.status.code() {
        Some(0) => Ok(String::from_utf8(done.stdout).unwrap()),
        Some(code) => Err(Failed { exit: u8::try_from(code).unwrap(), said }),
        None => panic!("suturectl {args:?} was ended by a signal: {said}"),
    }
}
