//! A device program to try Suture on: an infusion pump as small as one can be that still has what matters to an update.
//!
//! It serves its version and a self-test on loopback, has an interlock between infusions and updates, and reads what it is
//! from the tree that it was installed with:
//!
//! ```text
//! app/bin/demo-pump    this program
//! app/VERSION          its version; `broken` fails the self-test
//! app/FAULT            if it is there, the self-test fails with its text
//! ```
//!
//! The version is read once, at start: a pump that was not restarted goes on saying the old one, as a real one would.

mod http;
mod interlock;
mod tree;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::http::Answer;
use crate::interlock::{Claim, Interlock};
use crate::tree::Tree;

/// A small pump with a version, a self-test and an interlock.
#[derive(Parser)]
#[command(name = "demo-pump")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the pump: GET /version, /health; POST /infuse, /stop.
    Serve {
        /// Where the port is written once the pump answers.
        #[arg(long)]
        port_file: PathBuf,
        /// The interlock's file.
        #[arg(long)]
        lock: PathBuf,
    },
    /// Asks the running pump for its self-test; exit 0 if it passes.
    Health {
        /// Where the pump wrote its port.
        #[arg(long)]
        port_file: PathBuf,
    },
    /// Asks the running pump and prints its answer; exit 0 if it is a 2xx.
    Ask {
        /// Where the pump wrote its port.
        #[arg(long)]
        port_file: PathBuf,
        /// Send POST rather than GET.
        #[arg(long)]
        post: bool,
        /// `/version`, `/health`, `/infuse` or `/stop`.
        path: String,
    },
    /// Claims the pump for an update, or gives it back to clinical use; exit 0: done, 1: an infusion runs.
    Interlock {
        /// The interlock's file.
        #[arg(long)]
        lock: PathBuf,
        /// `claim` or `release`.
        action: Action,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Claim,
    Release,
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Neither 0 nor 1, which the interlock gives a meaning.
            let _ = writeln!(std::io::stderr(), "demo-pump: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { port_file, lock } => serve(&port_file, &Interlock::at(lock)),
        Command::Health { port_file } => ask(&port_file, "GET", "/health"),
        Command::Ask { port_file, post, path } => ask(&port_file, if post { "POST" } else { "GET" }, &path),
        Command::Interlock { lock, action } => {
            let lock = Interlock::at(lock);
            Ok(match action {
                Action::Claim if lock.claim()? == Claim::InUse => ExitCode::from(1),
                Action::Claim => ExitCode::SUCCESS,
                Action::Release => {
                    lock.release()?;
                    ExitCode::SUCCESS
                }
            })
        }
    }
}

fn serve(port_file: &Path, interlock: &Interlock) -> anyhow::Result<ExitCode> {
    let tree = Tree::of_this_program()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("binding a port on loopback")?;
    let port = listener.local_addr().context("reading the bound port")?.port();
    http::write_port(port_file, port)?;
    http::serve(&listener, &|method, path| answer(&tree, interlock, method, path));
    Ok(ExitCode::SUCCESS)
}

fn answer(tree: &Tree, interlock: &Interlock, method: &str, path: &str) -> Answer {
    let outcome = match (method, path) {
        ("GET", "/version") => Ok(Answer::new(200, tree.version())),
        ("GET", "/health") => Ok(match tree.self_test() {
            Ok(()) => Answer::new(200, "healthy"),
            Err(fault) => Answer::new(503, fault),
        }),
        ("POST", "/infuse") => interlock.begin_infusion().map(|begun| {
            if begun {
                Answer::new(200, "infusing")
            } else {
                Answer::new(423, "locked: an update has claimed the pump")
            }
        }),
        ("POST", "/stop") => interlock.end_infusion().map(|()| Answer::new(200, "stopped")),
        _ => Ok(Answer::new(404, "no such thing")),
    };
    outcome.unwrap_or_else(|error| Answer::new(500, format!("{error:#}")))
}

fn ask(port_file: &Path, method: &str, path: &str) -> anyhow::Result<ExitCode> {
    let answer = http::ask(http::read_port(port_file)?, method, path)?;
    writeln!(std::io::stdout(), "{}", answer.body.trim_end()).context("writing the answer")?;
    Ok(if (200..300).contains(&answer.status) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pump(dir: &Path, version: &str) -> (Tree, Interlock) {
        std::fs::write(dir.join("VERSION"), version).unwrap();
        (Tree::open(dir).unwrap(), Interlock::at(dir.join("lock")))
    }

    #[test]
    fn it_says_the_version_that_it_was_started_with() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, lock) = pump(dir.path(), "1.1.0\n");
        std::fs::write(dir.path().join("VERSION"), "1.2.0\n").unwrap();
        assert_eq!(answer(&tree, &lock, "GET", "/version"), Answer::new(200, "1.1.0"));
        assert_eq!(answer(&tree, &lock, "GET", "/elsewhere").status, 404);
    }

    #[test]
    fn a_faulty_tree_fails_the_self_test() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, lock) = pump(dir.path(), "1.1.0");
        assert_eq!(answer(&tree, &lock, "GET", "/health").status, 200);
        std::fs::write(dir.path().join("FAULT"), "flow sensor out of range").unwrap();
        let faulty = answer(&tree, &lock, "GET", "/health");
        assert_eq!((faulty.status, faulty.body.contains("flow sensor")), (503, true));

        let (broken, lock) = pump(tempfile::tempdir().unwrap().path(), "broken");
        assert_eq!(answer(&broken, &lock, "GET", "/health").status, 503);
    }

    #[test]
    fn an_infusion_and_an_update_exclude_one_another() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, lock) = pump(dir.path(), "1.1.0");
        assert_eq!(answer(&tree, &lock, "POST", "/infuse").status, 200);
        assert_eq!(lock.claim().unwrap(), Claim::InUse);
        assert_eq!(answer(&tree, &lock, "POST", "/stop").status, 200);
        assert_eq!(lock.claim().unwrap(), Claim::Held);
        assert_eq!(lock.claim().unwrap(), Claim::Held, "claiming twice is claiming once");
        assert_eq!(answer(&tree, &lock, "POST", "/infuse").status, 423);
        assert_eq!(answer(&tree, &lock, "POST", "/stop").status, 200);
        assert_eq!(answer(&tree, &lock, "POST", "/infuse").status, 423, "stopping an infusion is no release");
        lock.release().unwrap();
        lock.release().unwrap();
        assert_eq!(answer(&tree, &lock, "POST", "/infuse").status, 200);
        lock.release().unwrap();
        assert_eq!(lock.claim().unwrap(), Claim::InUse, "a release ends no infusion");
    }
}
