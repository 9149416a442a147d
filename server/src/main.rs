//! `suture-server`: wires the command line to the library.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use suture_core::clock::Clock;
use suture_core::id::OperatorName;
use suture_core::sign::PublicKey;
use suture_server::config::{Faults, LogFormat, Settings, Written};
use suture_server::{App, authorities, init, publish};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Twice the speed of glibc's in bulk transfer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The command line or the configuration is wrong (EX_USAGE).
const EXIT_CONFIGURATION: u8 = 64;

const EXIT_CODES: &str = "Exit codes: 0 done, or stopped as asked; 1 failed: a file, the database, the port; \
64 the command line or the configuration is wrong.";

/// Publishes signed bundles, keeps the fleet's record and runs rollouts.
#[derive(Parser)]
#[command(name = "suture-server", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new server: its authority, keys, configuration and the first operator's one-time token.
    Init {
        /// Name of the manufacturer's first operator.
        #[arg(long)]
        operator: OperatorName,
        #[command(flatten)]
        flags: Flags,
    },
    /// The online keys, which say what is newest and no more.
    #[command(subcommand)]
    Keys(Keys),
    /// The certificate authority, and how another takes its place: prepare; hospitals sign a service.json that names both
    /// (`suturectl service set`); switch; retire. A running server takes notice when it is started again.
    Ca {
        #[command(subcommand)]
        step: Step,
        /// The configuration that `init` wrote.
        #[arg(long, env = "SUTURE_SERVER_CONFIG", global = true)]
        config: Option<PathBuf>,
        /// How the result is printed.
        #[arg(long, value_enum, default_value = "text", global = true)]
        output: Output,
    },
    /// Serve until SIGTERM or SIGINT.
    Run {
        /// The configuration that `init` wrote.
        #[arg(long, env = "SUTURE_SERVER_CONFIG")]
        config: PathBuf,
        #[command(flatten)]
        flags: Flags,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Show the public halves of the present and the next ones.
    List {
        /// The configuration that `init` wrote.
        #[arg(long, env = "SUTURE_SERVER_CONFIG")]
        config: PathBuf,
        #[command(flatten)]
        flags: Box<Flags>,
    },
    /// Prepare the next ones; they sign from the moment at which a root that names them is published. The server may run.
    Rotate {
        /// The configuration that `init` wrote.
        #[arg(long, env = "SUTURE_SERVER_CONFIG")]
        config: PathBuf,
        /// `catalog` or `approvals/<hospital>` [default: every published repository].
        #[arg(long)]
        repository: Option<String>,
        /// Make them anew, even if some are prepared already.
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        flags: Box<Flags>,
    },
}

#[derive(Subcommand, Clone, Copy)]
enum Step {
    /// Which authorities there are.
    Show,
    /// Make another one, which is believed and not used yet.
    Prepare,
    /// Let the prepared one certify; the key of the one before is destroyed.
    Switch,
    /// Believe the former ones no longer: whoever still has a certificate of theirs has to enrol again.
    Retire,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Settings on the command line; each goes before SUTURE_SERVER_* in the environment and before the file.
#[derive(Args, Default)]
struct Flags {
    /// Directory of keys and objects.
    #[arg(long)]
    data_dir: Option<String>,
    /// IP address and port to listen on.
    #[arg(long)]
    listen: Option<String>,
    /// https://host:port that devices and operators use.
    #[arg(long)]
    address: Option<String>,
    /// Further host names for the server's certificate, separated by commas.
    #[arg(long)]
    host_names: Option<String>,
    /// The domain of all identities.
    #[arg(long)]
    trust_domain: Option<String>,
    /// sqlite:<path> or postgres://user@host/name.
    #[arg(long)]
    database: Option<String>,
    /// When a device is asked to check in again.
    #[arg(long)]
    check_in_secs: Option<String>,
    /// Connections at a time.
    #[arg(long)]
    max_connections: Option<String>,
    /// How long calls may go on after a signal to stop.
    #[arg(long)]
    drain_secs: Option<String>,
    /// What is logged.
    #[arg(long)]
    log: Option<String>,
    /// text or json.
    #[arg(long)]
    log_format: Option<String>,
}

impl Flags {
    fn into_settings(self, file: Option<&Path>) -> anyhow::Result<Settings> {
        let Self {
            data_dir,
            listen,
            address,
            host_names,
            trust_domain,
            database,
            check_in_secs,
            max_connections,
            drain_secs,
            log,
            log_format,
        } = self;
        let mut written = Written::default();
        if let Some(path) = file {
            match std::fs::read_to_string(path) {
                Ok(text) => written.file(path, &text),
                Err(error) => written.unreadable(path, &error),
            }
        }
        let text = |s: OsString| s.to_string_lossy().into_owned();
        written.environment(std::env::vars_os().map(|(name, value)| (text(name), text(value))));
        for (key, value) in [
            ("data_dir", data_dir),
            ("listen", listen),
            ("address", address),
            ("host_names", host_names),
            ("trust_domain", trust_domain),
            ("database", database),
            ("check_in_secs", check_in_secs),
            ("max_connections", max_connections),
            ("drain_secs", drain_secs),
            ("log", log),
            ("log_format", log_format),
        ] {
            if let Some(value) = value {
                written.flag(key, &value);
            }
        }
        Ok(Settings::of(written)?)
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the server asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[expect(clippy::print_stderr, reason = "a program's last word")]
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to say to a closed pipe.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_CONFIGURATION) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("suture-server: {error:#}");
            let configuration = error.is::<Faults>();
            if configuration { ExitCode::from(EXIT_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Init { operator, flags } => {
            let settings = flags.into_settings(None)?;
            print_made(&runtime.block_on(init::init(&settings, &operator, SystemClock.now()))?);
            Ok(())
        }
        Command::Keys(Keys::List { config, flags }) => {
            let settings = flags.into_settings(Some(&config))?;
            print_keys(&runtime.block_on(publish::list(&settings, SystemClock.now()))?);
            Ok(())
        }
        Command::Keys(Keys::Rotate { config, repository, again, flags }) => {
            let settings = flags.into_settings(Some(&config))?;
            let rotated = publish::rotate(&settings, repository.as_deref(), again, SystemClock.now());
            print_keys(&runtime.block_on(rotated)?);
            print_next_steps();
            Ok(())
        }
        Command::Ca { step, config, output } => {
            let config = config.context("name the configuration with --config or SUTURE_SERVER_CONFIG")?;
            let settings = Flags::default().into_settings(Some(&config))?;
            print_authorities(&runtime.block_on(authorities(&settings, step))?, output)
        }
        Command::Run { config, flags } => {
            let settings = flags.into_settings(Some(&config))?;
            start_log(&settings)?;
            runtime.block_on(serve(settings))
        }
    }
}

async fn authorities(settings: &Settings, step: Step) -> anyhow::Result<authorities::Listed> {
    let (dir, domain, now) = (settings.data_dir.as_path(), &settings.trust_domain, SystemClock.now());
    let (listed, action) = match step {
        Step::Show => return Ok(authorities::list(dir, domain)?),
        Step::Prepare => (authorities::prepare(dir, domain, now)?, "ca.prepare"),
        Step::Switch => (authorities::switch(dir, domain)?, "ca.switch"),
        Step::Retire => (authorities::retire(dir, domain)?, "ca.retire"),
    };
    authorities::record(settings, action, &listed, now).await.context("done, but not noted in the audit trail")?;
    Ok(listed)
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print_authorities(listed: &authorities::Listed, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(listed)?),
        Output::Text => print!("{}", listed.text()),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print_made(made: &init::Made) {
    println!("configuration           {}", made.config.display());
    println!("CA certificate          {}", made.ca.display());
    println!("CA fingerprint          {}", made.ca_sha256);
    println!("first operator's token  {} (once, until {})", made.token.display(), made.expires);
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print_keys(held: &[publish::Held]) {
    for publish::Held { repository, keys } in held {
        let next = |key: Option<PublicKey>| key.map_or_else(|| "none prepared".to_owned(), |k| k.to_string());
        println!("{repository}");
        println!("  timestamp       {}", keys.timestamp);
        println!("  snapshot        {}", keys.snapshot);
        println!("  next timestamp  {}", next(keys.next_timestamp));
        println!("  next snapshot   {}", next(keys.next_snapshot));
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn print_next_steps() {
    println!("next: each repository's owner names them in a new root:");
    println!("  the manufacturer  suturectl catalog rotate --online");
    println!("  a hospital        suturectl approvals rotate --online");
}

fn start_log(settings: &Settings) -> anyhow::Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&settings.log)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("asked to stop");
        signalled.cancel();
    });
    let listen = settings.listen;
    let app = App::open(settings, Arc::new(SystemClock)).await?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(listen = %listener.local_addr()?, "serving");
    app.serve(listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
