//! The agent with somebody who watches: at one named place it is ended by SIGKILL, as by a power cut, and before that the disk
//! may be made to have lost what was written last. For the table of power cuts; the shipped program has nothing of this.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use suture_agent::agent::AgentError;
use suture_agent::checkpoint::{self, Checkpoint, Step};
use suture_agent::config::Settings;
use suture_agent::identity::{Identity, IdentityError};
use suture_agent::install::Slots;
use suture_agent::journal::Journal;
use suture_agent::machine::{Event, State};
use suture_agent::stick::Stick;
use suture_agent::{Agent, Surroundings, agent, hand, interlock, provision};
use suture_core::clock::Clock;
use suture_proto::connect::ProxyRules;
use zeroize::Zeroizing;

/// The agent, to be ended at a named place.
#[derive(Parser)]
struct Args {
    /// The configuration.
    #[arg(long)]
    config: PathBuf,
    /// The time, which stands still: milliseconds since 1970.
    #[arg(long)]
    now_ms: i64,
    /// The place at which it ends.
    #[arg(long, requires = "nth")]
    at: Option<String>,
    /// When it is passed for that time, from 1.
    #[arg(long)]
    nth: Option<usize>,
    /// What the disk has done by then.
    #[arg(long, value_enum, default_value_t = Damage::None)]
    damage: Damage,
    /// Where the places that are passed are written down, each with its file.
    #[arg(long)]
    trace: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Of the file that has just got its name; the last, of the journal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Damage {
    /// It is as it was written.
    None,
    /// It is empty.
    Empty,
    /// It ends in its middle.
    Half,
    /// It is as long as it was, and all zeros.
    Zeros,
    /// It is what it was before.
    Stale,
    /// The newest record of the journal is empty, whatever came after it.
    Journal,
    /// Of the directory that is about to be removed every second file is gone.
    Partly,
}

#[derive(Subcommand)]
enum Command {
    /// Cycles of the agent, until it rests.
    Run,
    Provision {
        manifest: PathBuf,
        tree: PathBuf,
    },
    Enroll {
        token: String,
    },
    Stop {
        file: PathBuf,
    },
    Import {
        dir: PathBuf,
    },
    Confirm,
    Recover,
    /// The device leaves its hospital; that it has left already is no failure.
    Leave,
}

struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// What the watcher knows.
#[derive(Default)]
struct Seen {
    passed: BTreeMap<String, usize>,
    /// What a file held before it got what it holds now.
    before: BTreeMap<PathBuf, Option<Vec<u8>>>,
    journal: Option<PathBuf>,
    trace: Option<File>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = Settings::load(&args.config)?;
    watch(&args)?;
    let clock = Arc::new(Still(Timestamp::from_millisecond(args.now_ms)?));
    let around = Surroundings { clock: clock.clone(), proxy: ProxyRules::from_env(|_| None), random: Arc::new(|| 0) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &args.command {
        Command::Run => runtime.block_on(run(settings, around))?,
        Command::Provision { manifest, tree } => {
            drop(provision::provision(&settings, manifest, &[("app".parse()?, tree.clone())])?);
        }
        Command::Enroll { token } => {
            let seed = Zeroizing::new([7; 32]);
            fs::create_dir_all(&settings.state_dir)?;
            let _lock = agent::lock(&settings)?;
            drop(runtime.block_on(Identity::enroll(&settings, token, None, (clock, around.proxy, seed)))?);
        }
        Command::Stop { file } => drop(hand::stop(&settings, &hand::read(file)?)?),
        Command::Import { dir } => drop(runtime.block_on(hand::import(&settings, Stick::open(dir)?, clock.now()))?),
        Command::Confirm => {
            let question = interlock::question(&settings.state_dir)?.context("nobody asks")?;
            interlock::confirm(&settings.state_dir, &question, clock.now())?;
        }
        Command::Recover => {
            let mut journal = Journal::open(&agent::journal_path(&settings), 0)?;
            journal.apply(Event::Recovered, clock.now())?;
        }
        Command::Leave => runtime.block_on(async {
            match Agent::open(settings, around) {
                Ok(agent) => agent.depart(false).await.map(drop).map_err(anyhow::Error::from),
                Err(AgentError::Identity(IdentityError::NotEnrolled)) => Ok(()),
                Err(e) => Err(e.into()),
            }
        })?,
    }
    runtime.shutdown_background();
    Ok(())
}

/// As many cycles as it takes until nothing more happens.
async fn run(settings: Settings, around: Surroundings) -> anyhow::Result<()> {
    // What `suture-boot` does before the service manager starts the agent's own program.
    if let Some(own) = &settings.itself {
        Slots::new(&own.dir).before_start()?;
    }
    let mut agent = Agent::open(settings, around)?;
    let stopped = agent.stopper();
    let mut quiet = 0;
    for _ in 0..40 {
        let before = agent.state().clone();
        agent.cycle().await?;
        if stopped.is_cancelled() {
            return Ok(());
        }
        let rests = matches!(agent.state(), State::Idle { .. } | State::Held { .. } | State::Waiting { .. });
        quiet = if rests && *agent.state() == before { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(());
        }
    }
    bail!("it does not come to rest: {:?}", agent.state())
}

fn watch(args: &Args) -> anyhow::Result<()> {
    let (at, nth, damage) = (args.at.clone(), args.nth.unwrap_or(0), args.damage);
    let trace = args.trace.as_ref().map(File::create).transpose()?;
    let seen = Mutex::new(Seen { trace, ..Seen::default() });
    let watched = checkpoint::watch(Box::new(move |place: &Checkpoint<'_>| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let name = place.to_string();
        let path = match place {
            Checkpoint::File(step, path) | Checkpoint::Place(step, _, path) => {
                if matches!(step, Step::Write | Step::Rename) {
                    seen.before.insert(path.to_path_buf(), fs::read(path).ok());
                }
                Some(*path)
            }
            Checkpoint::Before(_) | Checkpoint::After(_) => None,
        };
        let count = seen.passed.entry(name.clone()).or_default();
        *count += 1;
        let count = *count;
        if let Some(trace) = &mut seen.trace {
            let meta = path.and_then(|path| fs::symlink_metadata(path).ok());
            let kind = match meta {
                Some(meta) if meta.is_file() => "file",
                Some(meta) if meta.is_dir() => "directory",
                _ => "nothing",
            };
            let path = path.unwrap_or(Path::new("")).display();
            writeln!(trace, "{name}\t{count}\t{kind}\t{path}")?;
        }
        // A journal's record counts as written once it has its name.
        if name.starts_with("settle journal") {
            seen.journal = path.map(Path::to_path_buf);
        }
        if at.as_ref() == Some(&name) && count == nth {
            match (damage, path) {
                (Damage::None, _) | (_, None) if damage != Damage::Journal => {}
                (Damage::Journal, _) => {
                    if let Some(journal) = &seen.journal {
                        fs::write(journal, b"")?;
                    }
                }
                (Damage::Partly, Some(path)) => lose_half(path)?,
                (_, Some(path)) if name.starts_with("sync") => tear(damage, path, seen.before.get(path))?,
                (_, Some(path)) => lose(damage, path, seen.before.get(path))?,
                (_, None) => {}
            }
            end();
        }
        Ok(())
    }));
    if watched.is_err() {
        bail!("somebody watches already");
    }
    Ok(())
}

fn lose(damage: Damage, path: &Path, before: Option<&Option<Vec<u8>>>) -> std::io::Result<()> {
    let whole = fs::read(path)?;
    let torn = match damage {
        Damage::Empty => Vec::new(),
        Damage::Half => whole.get(..whole.len() / 2).unwrap_or_default().to_vec(),
        Damage::Zeros => vec![0; whole.len()],
        _ => match before {
            Some(Some(before)) => before.clone(),
            _ => return fs::remove_file(path),
        },
    };
    fs::write(path, torn)
}

/// Of what was written where it lay: the disk has the first half of it, or nothing of it.
fn tear(damage: Damage, path: &Path, before: Option<&Option<Vec<u8>>>) -> std::io::Result<()> {
    let mut torn = fs::read(path)?;
    let length = torn.len();
    let mut before = before.cloned().flatten().unwrap_or_default();
    before.resize(length, 0);
    match damage {
        Damage::Half => torn.splice(length / 2.., before.into_iter().skip(length / 2)).for_each(drop),
        Damage::Zeros => torn.fill(0),
        _ => torn = before,
    }
    fs::write(path, torn)
}

/// Of a directory that is being removed a part is gone.
fn lose_half(path: &Path) -> std::io::Result<()> {
    let (mut files, mut directories) = (Vec::new(), vec![path.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut directories } else { &mut files };
            list.push(entry.path());
        }
    }
    files.sort();
    files.iter().step_by(2).try_for_each(fs::remove_file)
}

fn end() -> ! {
    // As the power: no line is run after this one.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}
