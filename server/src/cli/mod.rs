//! The command line: one file a command. Each reads its arguments, asks the library and prints.

mod audit;
mod ca;
mod flags;
mod init;
mod keys;
mod operator;
mod run;

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use suture_core::clock::Clock;
use suture_core::legible;
use tokio::runtime::{Builder, Runtime};

use self::flags::Flags;
use crate::Settings;
use crate::config::Faults;
use crate::store::StoreError;

const EXIT_CODES: &str = "Exit codes: 0 done, or stopped as asked; 1 failed: a file, the database, the port; \
64 the command line or the configuration is wrong.";

/// The one clock that nobody handed in.
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the server asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Publishes signed bundles, keeps the fleet's record and runs rollouts.
#[derive(Parser)]
#[command(name = "suture-server", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    output: Output,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new server: its authority, keys, configuration and the first operator's one-time token.
    #[command(after_help = "Example: suture-server init --data-dir /var/lib/suture-server \\\n\
        \x20            --address https://updates.acme.example:7443 --listen 0.0.0.0:7443 --trust-domain acme.example --operator ada")]
    Init(init::Args),
    /// The online keys, which say what is newest and no more.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Let somebody in again where an organisation has lost its last operator.
    #[command(subcommand)]
    Operator(operator::Command),
    /// The certificate authority, and how another takes its place: prepare; hospitals sign a service.json that names both
    /// (`suturectl service set`); switch; retire. A running server takes notice when it is started again.
    #[command(subcommand)]
    Ca(ca::Command),
    /// The audit record: its key, and how long its texts are kept.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Serve until SIGTERM or SIGINT.
    #[command(after_help = "Example: suture-server run --config /var/lib/suture-server/server.toml")]
    Run(Configured),
}

/// Where the settings are, and what goes before them.
#[derive(Args)]
struct Configured {
    /// The configuration that `init` wrote.
    #[arg(long, env = "SUTURE_SERVER_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    flags: Box<Flags>,
}

impl Configured {
    fn settings(self) -> anyhow::Result<Settings> {
        self.flags.into_settings(Some(&self.config))
    }
}

impl Cli {
    /// How results are printed, and failures.
    pub const fn output(&self) -> Output {
        self.output
    }
}

/// How results are printed, and failures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Output {
    /// Prints a command's answer.
    #[expect(clippy::print_stdout, reason = "the command's answer")]
    fn print<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Text => print!("{}", text(answer)),
            Self::Json => println!("{}", serde_json::to_string_pretty(answer)?),
        }
        Ok(())
    }

    /// A failure, as standard error has it: a line of text, or one JSON object of the shape that `suturectl` has too.
    pub fn failure(self, error: &anyhow::Error, exit: u8) -> String {
        let next = next(error);
        if self == Self::Text {
            let next = next.map(|next| format!("\n  try: {next}")).unwrap_or_default();
            return format!("suture-server: {error:#}{next}");
        }
        let (message, causes) = match error.downcast_ref::<Faults>() {
            Some(Faults(faults)) => {
                ("the configuration is wrong".to_owned(), faults.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            None => (error.to_string(), error.chain().skip(1).map(ToString::to_string).collect()),
        };
        legible::json(
            &json!({ "error": message, "causes": causes, "next": next, "notes": [], "exit": exit }).to_string(),
        )
    }
}

/// What whoever runs the server can do, where the sentence does not say it.
fn next(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<Faults>() {
        return Some("correct each where it stands: a flag goes before the environment, and that before the file");
    }
    error.chain().find_map(|cause| match cause.downcast_ref::<StoreError>()? {
        StoreError::Busy(_) => Some("look whether the database runs, and whether `database` names it"),
        StoreError::DiskFull(_) => Some("make room on the database's disk"),
        _ => None,
    })
}

/// One worker less than there are cores, which the threads that read the disk and the database need. On two cores a second
/// worker only takes connections from the first: one client gets a tenth less for a sixth more CPU time, and a hundred at
/// once are served less alike. `TOKIO_WORKER_THREADS` says otherwise.
fn runtime() -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads(cores.saturating_sub(1).max(1));
    }
    builder.enable_all().build()
}

/// The whole command line, for who walks it: documents, completions, the manual.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let Cli { command, output } = cli;
    match command {
        Command::Init(args) => runtime.block_on(init::run(args, output)),
        Command::Keys(command) => runtime.block_on(keys::run(command, output)),
        Command::Operator(command) => runtime.block_on(operator::run(command, output)),
        Command::Ca(command) => runtime.block_on(ca::run(command, output)),
        Command::Audit(command) => runtime.block_on(audit::run(command, output)),
        Command::Run(configured) => {
            let settings = configured.settings()?;
            run::start_log(&settings)?;
            runtime.block_on(run::serve(settings))
        }
    }
}
