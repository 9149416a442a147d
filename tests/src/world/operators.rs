//! People with `suturectl`, run in this process.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::TestClock;

/// Somebody with a home of their own.
pub struct Operator {
    home: PathBuf,
    pub(super) clock: Arc<TestClock>,
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
        Self { home, clock }
    }

    /// Where their keys are.
    pub fn home(&self) -> &std::path::Path {
        &self.home
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

    async fn run_as(&self, format: &str, args: &[&str]) -> Result<String, Failed> {
        let home = self.home.to_str().unwrap();
        let all: Vec<&str> =
            ["suturectl", "--home", home, "--output", format].into_iter().chain(args.iter().copied()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = suture_ctl::run(all, &mut out, &mut err, self.clock.clone()).await;
        let said = String::from_utf8(err).unwrap();
        if exit == 0 { Ok(String::from_utf8(out).unwrap()) } else { Err(Failed { exit, said }) }
    }
}
