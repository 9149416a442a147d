//! `suture-agent`: wires the command line to the library.

mod cli;

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use jiff::Timestamp;
use sd_notify::NotifyState;
use suture_agent::config::{ConfigError, Settings};
use suture_agent::face::{self, Ask, Done, Refused, RefusedCode};
use suture_agent::hand::{self, HandError};
use suture_agent::identity::{Identity, grouped};
use suture_agent::pulse::Pulse;
use suture_agent::{Agent, Surroundings, agent, doctor, durable, history, presence, provision, record};
use suture_core::clock::Clock;
use suture_core::id::DeviceId;
use suture_core::legible;
use suture_core::report::LogHead;
use suture_proto::connect::{Outcome, ProxyRules};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use zeroize::Zeroizing;

use cli::{Cli, Command, Output, Said};

/// Twice the speed of glibc's in bulk transfer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The command line or the configuration is wrong (EX_USAGE).
const EXIT_CONFIGURATION: u8 = 64;

/// It failed.
const EXIT_FAILED: u8 = 1;

/// The command line is wrong.
const EXIT_USAGE: u8 = 2;

/// The agent does not do it: not by this account, or not now.
const EXIT_REFUSED: u8 = 3;

/// What was handed over does not verify, as with `suturectl`.
const EXIT_UNVERIFIED: u8 = 5;

/// Far more than a token needs.
const MAX_TOKEN_FILE_BYTES: u64 = 16 << 10;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the agent asks for the time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[expect(clippy::print_stderr, reason = "a program's last word")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(e) => {
            let code = exit(&e);
            match cli.output {
                Output::Text => eprintln!("{}", told(&e, code)),
                Output::Json => eprintln!("{}", failure(&e, code)),
            }
            ExitCode::from(code)
        }
    }
}

/// What a person can do where the program ends with that code.
fn next(code: u8) -> Option<&'static str> {
    match code {
        EXIT_UNVERIFIED => Some("act on none of it; keep it, and ask whoever it comes from over another channel"),
        EXIT_CONFIGURATION => Some("correct the file; `suture-agent doctor` then tests the rest"),
        _ => None,
    }
}

/// As `suturectl` tells people of a failure. What others wrote stands further in than this program's advice.
fn told(error: &anyhow::Error, code: u8) -> String {
    let next = next(code).map(|next| format!("\n  try: {next}")).unwrap_or_default();
    legible::plain(&format!("suture-agent: {}{next}", legible::indented(format!("{error:#}").trim_end(), 4)))
}

/// As `suturectl` tells programs of a failure.
fn failure(error: &anyhow::Error, code: u8) -> String {
    let causes: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
    let told = serde_json::json!({
        "error": error.to_string(), "causes": causes, "next": next(code), "notes": [], "exit": code,
    });
    legible::json(&told.to_string())
}

fn exit(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return EXIT_CONFIGURATION;
    }
    if error.downcast_ref::<HandError>().is_some_and(HandError::is_refusal) {
        return EXIT_UNVERIFIED;
    }
    if error.is::<history::Altered>() {
        return EXIT_UNVERIFIED;
    }
    match error.downcast_ref::<Refused>().map(|refused| refused.code) {
        Some(RefusedCode::NotVerified) => EXIT_UNVERIFIED,
        Some(RefusedCode::NotAllowed | RefusedCode::NotNow | RefusedCode::Busy) => EXIT_REFUSED,
        Some(RefusedCode::NotUnderstood) => EXIT_USAGE,
        Some(RefusedCode::Failed | RefusedCode::OtherAgent) | None => EXIT_FAILED,
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&cli.config)?;
    let around = Surroundings {
        clock: Arc::new(SystemClock),
        proxy: ProxyRules::from_env(|name| std::env::var(name).ok()),
        random: Arc::new(|| {
            let mut bytes = [0; 4];
            // Without randomness the jitter is none, and that is all.
            let _ = getrandom::fill(&mut bytes);
            u32::from_ne_bytes(bytes)
        }),
    };
    match &cli.command {
        Command::Enroll { token, token_file, id } => {
            let token = match (token, token_file) {
                (Some(token), _) => {
                    note(
                        "a token on the command line is shown to others on this device while the command runs; \
                         `--token-file FILE`, or `-` to paste it, does not show it",
                    );
                    Zeroizing::new(token.clone())
                }
                (None, Some(file)) => read_token(file)?,
                (None, None) => anyhow::bail!("name a token with --token-file"),
            };
            enroll(cli, &settings, around, &token, id.clone())
        }
        Command::Provision { manifest, payloads } => {
            let manifest = provision::provision(&settings, manifest, payloads)?;
            let text = format!("{} {} is in place\n", manifest.product, manifest.version);
            print(cli, &text, &serde_json::json!({ "version": manifest.version, "release": manifest.release }))
        }
        Command::Run { once } => work(settings, around, *once),
        Command::Status => local(cli, &settings, &around, (Ask::Status, None)),
        Command::Why => local(cli, &settings, &around, (Ask::Why, None)),
        Command::Log { verify: false, .. } => local(cli, &settings, &around, (Ask::Log, None)),
        Command::Log { verify: true, signed } => verify_log(cli, &settings, *signed),
        Command::Record { forget } => record(cli, &settings, *forget),
        Command::Hold(Said { reason, by }) => {
            local(cli, &settings, &around, (Ask::Hold { reason: reason.clone() }, by.clone()))
        }
        Command::Release { checked, unfit, said: Said { reason, by } } => {
            let (reason, checked) = (reason.clone(), *checked);
            let ask = if *unfit { Ask::Unfit { reason } } else { Ask::Release { reason, checked } };
            local(cli, &settings, &around, (ask, by.clone()))
        }
        Command::Confirm { by } => local(cli, &settings, &around, (Ask::Confirm, by.clone())),
        Command::Stop { file } => {
            // Signed is strict JSON, hence UTF-8; anything else is refused with what it is read as.
            let order = String::from_utf8_lossy(&hand::read(file)?).into_owned();
            local(cli, &settings, &around, (Ask::Stop { order }, None))
        }
        Command::Import { dir } => {
            let directory = File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
            let ask = Ask::Import { place: dir.display().to_string() };
            asked(cli, &settings, &around, (ask, None), Some(directory.into()))
        }
        Command::Recover { reason, by } => {
            local(cli, &settings, &around, (Ask::Recover { reason: reason.clone() }, by.clone()))
        }
        Command::Leave { device, untold } => leave(cli, settings, around, device, *untold),
        Command::Doctor => examine(cli, &settings, around),
    }
}

/// Beside what is asked for.
#[expect(clippy::print_stderr, reason = "for people, and no result")]
fn note(text: &str) {
    eprintln!("{}", legible::plain(&format!("suture-agent: {text}")));
}

/// A token from a file, or from standard input, where it ends with its line: whoever pastes it need not say so.
fn read_token(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if file.as_os_str() != "-" {
        let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        opened
            .take(MAX_TOKEN_FILE_BYTES)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(text);
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        note("paste the token, and press Enter");
    }
    let mut lines = stdin.lock().take(MAX_TOKEN_FILE_BYTES);
    while text.trim().is_empty() && lines.read_line(&mut text).context("cannot read standard input")? > 0 {}
    Ok(text)
}

fn local(
    cli: &Cli,
    settings: &Settings,
    around: &Surroundings,
    ask: (Ask, Option<String>),
) -> anyhow::Result<ExitCode> {
    asked(cli, settings, around, ask, None)
}

/// By the agent that runs, else by what lies on disk, which is said.
fn asked(
    cli: &Cli,
    settings: &Settings,
    around: &Surroundings,
    (ask, by): (Ask, Option<String>),
    brought: Option<OwnedFd>,
) -> anyhow::Result<ExitCode> {
    let now = around.clock.now();
    let (outcome, nobody) = runtime()?.block_on(face::ask_or_do(settings, ask, by, brought, now));
    let source = if nobody.is_some() { "files" } else { "agent" };
    if let Some(why) = nobody {
        let place = settings.state_dir.display();
        note(&format!("{why}; this is by what lies in {place}, and nothing happens by itself until the agent runs"));
    }
    let Done { text, mut data } = outcome?;
    if let Some(fields) = data.as_object_mut() {
        fields.insert("source".to_owned(), source.into());
    }
    print(cli, &text, &data)
}

fn enroll(
    cli: &Cli,
    settings: &Settings,
    around: Surroundings,
    token: &str,
    id: Option<DeviceId>,
) -> anyhow::Result<ExitCode> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).context("the system has no randomness")?;
    durable::make_dirs(&settings.state_dir, durable::OPEN_DIR)?;
    let _lock = agent::lock(settings)?;
    let identity = runtime()?.block_on(Identity::enroll(settings, token, id, (around.clock, around.proxy, seed)))?;
    let fingerprint = grouped(&identity.fingerprint());
    let device = identity.device();
    let text = format!(
        "enrolled as {} of {}\nfingerprint  {fingerprint}\nThe device stays pending until the hospital has compared this \
         fingerprint and run `suturectl device confirm`.\n",
        device.device, device.hdo
    );
    let json = serde_json::json!({
        "hdo": device.hdo, "device": device.device, "fingerprint": identity.fingerprint(), "grouped": fingerprint,
    });
    print(cli, &text, &json)
}

fn verify_log(cli: &Cli, settings: &Settings, signed: Option<LogHead>) -> anyhow::Result<ExitCode> {
    let verified = history::verify(&settings.state_dir, signed)?;
    let text = match verified.head {
        Some(head) => format!("lines {} to {} are as they were written\nhead {head}\n", verified.first, head.line),
        None => "nothing was written yet\n".to_owned(),
    };
    print(cli, &text, &verified)
}

fn record(cli: &Cli, settings: &Settings, forget: bool) -> anyhow::Result<ExitCode> {
    let kept = match forget {
        false => record::kept(&settings.state_dir),
        true => {
            let _lock = agent::lock(settings)?;
            record::forget(&settings.state_dir)?
        }
    };
    let Some(kept) = kept else {
        return print(cli, "this device remembers nothing of an audit record yet\n", &serde_json::Value::Null);
    };
    let head = kept.witness.head.map_or_else(|| "nothing seen yet".to_owned(), |head| head.to_string());
    let mut text = format!("key   {}\nseen  {head}\n", kept.witness.key);
    if let Some(doubt) = &kept.doubt {
        text += &format!("doubt {}\n", doubt.reason().text);
    }
    if forget {
        text += "this is forgotten, but for the key; the next check-in begins anew\n";
    }
    print(cli, &text, &kept)
}

fn leave(cli: &Cli, settings: Settings, around: Surroundings, id: &DeviceId, untold: bool) -> anyhow::Result<ExitCode> {
    let (device, told) = runtime()?.block_on(async {
        let there = presence::ask(settings.presence.as_ref(), std::io::stdin()).await;
        there.map_err(|text| Refused::new(RefusedCode::NotAllowed, text))?;
        let agent = Agent::open(settings, around)?;
        let device = agent.identity().device().clone();
        anyhow::ensure!(device.device == *id, "this is device {}, not {id}", device.device);
        let told = agent.depart(untold).await?;
        Ok((device, told))
    })?;
    let told_text = match told {
        true => format!("{} knows and has revoked it", device.hdo),
        false => format!("{0} does not know: tell it to run `suturectl device revoke {id}`", device.hdo),
    };
    let text = format!("{id} has left {}: its keys and its record are wiped; {told_text}\n", device.hdo);
    print(cli, &text, &serde_json::json!({ "device": id, "hdo": device.hdo, "told": told }))
}

fn work(settings: Settings, around: Surroundings, once: bool) -> anyhow::Result<ExitCode> {
    // Levels by module, like `info,suture_agent=debug`. What takes regular expressions too makes the program 300 KiB larger.
    let wanted = std::env::var("SUTURE_AGENT_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let stderr = std::io::stderr;
    // Attack: a server's text that goes on in a line that looks like the agent's own.
    let writer = move || legible::Logged(stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    let runtime = runtime()?;
    let (at, clock) = (settings.clone(), around.clock.clone());
    let code = runtime.block_on(async {
        let mut agent = Agent::open(settings, around)?;
        agent.has_begun();
        let stop = agent.stopper();
        match face::listen(&at.face.socket) {
            Ok(listening) if !once => {
                tokio::spawn(face::serve(listening, at, agent.hands(), clock));
            }
            Ok(_) => {}
            Err(error) => {
                let error = agent::chain(&error);
                tracing::warn!(error, "nobody at the device can ask this agent; its commands read the files instead");
            }
        }
        notify(&[NotifyState::Ready]);
        if let Some(period) = sd_notify::watchdog_enabled() {
            tokio::spawn(feed(agent.pulse(), period / 2));
        }
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!("stopping; what is being done is taken up again at the next start");
            notify(&[NotifyState::Stopping]);
            stop.cancel();
        });
        if once {
            agent.cycle().await?;
        } else {
            agent.run().await;
        }
        agent.has_ended();
        Ok::<_, anyhow::Error>(ExitCode::SUCCESS)
    })?;
    // A thread that still writes to the disk ends with the process; the next start takes it up again.
    runtime.shutdown_background();
    Ok(code)
}

/// Tells the service manager, where there is one that wants to be told.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Feeds the service manager's watchdog as long as the loop goes round.
async fn feed(pulse: Arc<Pulse>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        if pulse.is_alive() {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("the loop does not go round any more; the service manager starts this program anew");
        }
    }
}

fn examine(cli: &Cli, settings: &Settings, around: Surroundings) -> anyhow::Result<ExitCode> {
    let findings = runtime()?.block_on(doctor::examine(settings, around.clock, around.proxy));
    let word = |outcome| match outcome {
        Outcome::Good => "good",
        Outcome::Doubtful => "doubtful",
        Outcome::Bad => "bad",
    };
    let text: String = findings.iter().map(|f| format!("{:<9} {:<11} {}\n", word(f.outcome), f.test, f.text)).collect();
    let json: Vec<_> = findings
        .iter()
        .map(|f| serde_json::json!({ "test": f.test, "outcome": word(f.outcome), "text": f.text }))
        .collect();
    print(cli, &text, &json)?;
    let bad = findings.iter().any(|f| f.outcome == Outcome::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start")
}

/// Attack: a server's text that steers the terminal of whoever stands at the device ([`legible`]).
fn print(cli: &Cli, text: &str, json: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let printed = match cli.output {
        Output::Text => out.write_all(legible::plain(text).as_bytes()),
        Output::Json => writeln!(out, "{}", legible::json(&serde_json::to_string_pretty(json)?)),
    };
    match printed {
        // Whoever reads has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
    }
}
