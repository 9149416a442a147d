//! The operators' program, for the manufacturer and the hospitals: builds, signs, publishes, plans, approves, watches.
//!
//! Private keys never leave the machine that made them, and nothing is signed that this program has not verified or
//! computed itself. It is a library so that tests drive whole commands in-process: [`run`] is all that `main` calls.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | failed here: a file, a key, a wrong input |
//! | 2 | the command line is not understood |
//! | 3 | the server refused |
//! | 4 | the server cannot be reached |
//! | 5 | something does not verify: metadata, a digest, a fingerprint, the audit record |

pub mod agree;
pub mod alarm;
pub mod bundle;
pub mod client;
pub mod cmd;
pub mod context;
pub mod envelope;
pub mod evidence;
pub mod exposure;
pub mod failure;
pub mod files;
pub mod history;
pub mod home;
pub mod hospital;
pub mod identity;
pub mod keys;
pub mod letters;
pub mod life;
pub mod lists;
pub mod print;
pub mod repository;
pub mod sheet;
pub mod token;
pub mod trust_store;
pub mod why;
pub mod witness;
pub mod words;

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use suture_core::clock::Clock;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::print::{Format, Printer, Terminal};

/// Publishes, plans, approves, watches and rolls back.
#[derive(Debug, Parser)]
#[command(name = "suturectl", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: context::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Work(Box<cmd::Command>),
    #[command(flatten)]
    Itself(cmd::itself::Command),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed here, 2 usage, 3 refused by the server, 4 server out of reach, \
5 something does not verify.";

/// Runs one command line, the program's name first, and gives the exit code. Results go to `out`, errors and notes to
/// `err`.
pub async fn run<I, T>(args: I, out: &mut (dyn Write + Send), err: &mut (dyn Write + Send), clock: Arc<dyn Clock>) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    run_on(args, out, err, None, clock).await
}

/// As [`run`], where `out` is a terminal that can be drawn on.
pub async fn run_on<I, T>(
    args: I,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
    terminal: Option<Terminal>,
    clock: Arc<dyn Clock>,
) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && asks_for_json(&args) => {
            return exit(Err(Failure::usage(&e)), Format::Json, &[], err);
        }
        Err(e) => {
            // Help and version are results, the rest are errors.
            let to: &mut (dyn Write + Send) = if e.use_stderr() { err } else { out };
            // Nothing is left to say to a closed pipe.
            let _ = write!(to, "{}", e.render());
            return u8::try_from(e.exit_code()).unwrap_or(2);
        }
    };
    let format = cli.global.output;
    let command = match cli.command {
        Command::Work(command) => *command,
        Command::Itself(command) => {
            let done = cmd::itself::run(command, self::command(), &mut Printer::new(out, err, format));
            return exit(done, format, &[], err);
        }
    };
    let mut notes = Vec::new();
    let done = match Context::open(cli.global, out, err, terminal, clock) {
        Ok(mut context) => {
            // Who reads letters already need not be told of them.
            let reads = matches!(&command, cmd::Command::Notice(_) | cmd::Command::Report(_));
            let done = cmd::run(&mut context, command).await;
            for note in context.asides.take() {
                context.print.note(&note);
            }
            if let Some(doubt) = Box::pin(witness::remember(&context)).await {
                context.print.note(&doubt);
            }
            if !reads {
                context.tell_unread();
            }
            match done.is_ok() {
                true => context.print.tell_kept(),
                false => notes = context.print.take_kept(),
            }
            done
        }
        Err(failure) => Err(failure),
    };
    exit(done, format, &notes, err)
}

/// Whether a command line that is not understood asks for JSON all the same.
fn asks_for_json(args: &[OsString]) -> bool {
    let words = || args.iter().take_while(|word| *word != "--");
    words().any(|word| word == "--output=json")
        || words().zip(words().skip(1)).any(|(a, b)| a == "--output" && b == "json")
}

/// The exit code, the failure being told with the notes that were kept for it.
fn exit(done: Outcome, format: Format, notes: &[String], err: &mut (dyn Write + Send)) -> u8 {
    match done {
        Ok(()) => 0,
        Err(failure) => {
            let text = match format {
                Format::Text => failure.to_text(),
                Format::Json => failure.to_json(notes),
            };
            let _ = writeln!(err, "{text}");
            failure.exit as u8
        }
    }
}

/// Whether a command line, the program's name first, would be understood; nothing is run. For documents that quote commands.
pub fn understand<I, T>(args: I) -> Result<(), clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    Cli::try_parse_from(args).map(|_| ())
}

/// The whole command line, for who walks it: documents, completions, the manual.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;

// Ed25519 alone: what suture-core can verify besides is for its own tests.
const _: () = assert!(!suture_core::INTEROP, "suture-core's feature `interop` is for tests; build without it");
