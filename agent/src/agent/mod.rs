//! The agent: what the device's parts are, and the one loop that moves the machine.
//!
//! A cycle says how the device is and hears the server, refreshes both repositories, chooses by what they say, and then does
//! what the machine asks for, one action after another, until something must be waited for. Every transition is in the
//! journal before its action is done; so the process may be killed at any line, and the next one repeats the action.
//!
//! The loop has a thread of its own; connections, the service manager's watchdog and signals are tasks on other threads.
//! Its own small files it writes there and waits until they are on the disk, since nothing may be done before they are.
//! What may take longer (hashing and unpacking, a lock file on somebody else's disk, a battery's driver) goes to a blocking
//! thread, and so does everything that has to go on beside a transfer; what only shows how far it is waits for no disk.

mod act;
mod answer;
mod depart;
mod leave;
mod local;
mod look;
mod orders;
mod own;
mod rhythm;
mod service;
mod talk;

pub use self::depart::DepartError;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::clock::Clock;
use suture_core::phase::Reason;
use suture_core::plan::Installs;
use suture_core::report::{ReportError, Running, Seen};
use suture_proto::connect::ProxyRules;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Random};
use crate::client::{Client, ClientError, Heard, Manners, Which};
use crate::config::Settings;
use crate::departure;
use crate::durable::{self, DurableError};
use crate::face::Errands;
use crate::fetch::Counters;
use crate::floor::Floors;
use crate::identity::{Identity, IdentityError};
use crate::inbox::Inbox;
use crate::install::{InstallError, Installer};
use crate::integrity::Watch;
use crate::interlock::Interlock;
use crate::journal::{Journal, JournalError};
use crate::lease::Lease;
use crate::machine::{Event, State, Told};
use crate::news::Tidings;
use crate::outbox::Outbox;
use crate::pulse::Pulse;
use crate::stops::{KeepError, Stops};
use crate::tls_clock::TlsClock;
use crate::took;
use crate::traffic::Traffic;
use crate::trust_store::TrustStore;
use crate::ways::Ways;
use rhythm::Rhythm;

/// Between two tries of a transfer, doubling.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// See [`RETRY_FIRST`].
const RETRY_MOST: Duration = Duration::from_secs(20);
/// Between two rounds in which the server is asked by every earlier certificate: a revoked device has many.
const REVERT_INTERVAL: Duration = Duration::from_secs(3_600);
/// Transitions in one cycle; far more than any attempt has.
const MAX_STEPS: usize = 64;

/// What the agent is given from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which proxy the server is reached through.
    pub proxy: ProxyRules,
    /// Randomness for back-offs.
    pub random: Random,
}

/// The agent, at work.
pub struct Agent {
    settings: Settings,
    around: Surroundings,
    identity: Identity,
    ways: Ways,
    client: Client,
    manners: Manners,
    /// When a fetch that was held off, or left for a new look, goes on.
    ask_again: Option<Instant>,
    catalog: TrustStore,
    approvals: TrustStore,
    journal: Journal,
    outbox: Outbox,
    /// Neither copy can be read: nothing is begun.
    floors: Result<Floors, Reason>,
    tls_clock: Arc<TlsClock>,
    installer: Installer,
    /// What ran when it was last asked after: at the beginning of each cycle, and after each step that may change it.
    running: Result<Option<Running>, Reason>,
    /// What installs, and the data that lie there; none where it is not known what runs.
    installs: Option<Installs>,
    interlock: Interlock,
    counters: Arc<Counters>,
    retry: Backoff,
    rhythm: Rhythm,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    watch: Watch,
    resumed: bool,
    /// When the server was last asked by earlier certificates.
    reverted: Option<Instant>,
    heard: Option<Heard>,
    unheard: Option<String>,
    /// Whether the server knows this device no more, by its last answer.
    is_stranger: bool,
    /// What the last check-in brought of both repositories, until it is looked at.
    tidings: Option<Tidings>,
    /// The stop orders that it brought, which are verified again once there may be a newer root.
    heard_stops: Vec<Vec<u8>>,
    stops: Stops,
    /// What the last look says of every open approval, for the hospital that stopped or lifted one.
    answers: Vec<Told>,
    inbox: Inbox,
    errands: Errands,
    /// The last transition that stands in the log.
    logged: u64,
    lease: Lease,
    took: took::Memory,
    own: own::Own,
    seen: (Option<Seen>, Option<Seen>),
    /// Held as long as the agent lives: there is one agent to a state directory.
    _lock: File,
}

/// Why the agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server's address or its own certificate.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stop orders.
    #[error(transparent)]
    Stops(#[from] KeepError),
    /// The slots.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A report.
    #[error("a report cannot be signed")]
    Report(#[from] ReportError),
    /// Neither enrolment nor the hospital says where the server is.
    #[error("no way to the server is known; enrol the device again with a new token")]
    NoWay,
    /// A constant of this program is wrong.
    #[error("the back-off is not valid")]
    Backoff,
    /// Another agent works on the same state.
    #[error("another suture-agent works on {0}")]
    Busy(String),
}

/// What a cycle came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// When the next one is due.
    pub next: Duration,
    /// Whether the hospital has confirmed the device.
    pub confirmed: bool,
}

impl Agent {
    /// Opens everything that is on disk; makes no call yet.
    pub fn open(settings: Settings, around: Surroundings) -> Result<Self, AgentError> {
        durable::make_dir(&settings.state_dir)?;
        let lock = lock(&settings)?;
        departure::finish(&settings.state_dir)?;
        let identity = Identity::open(&settings.state_dir)?;
        let ways = identity.ways()?;
        let floors = look::floors(&settings);
        let proven = floors.as_ref().map_or(Timestamp::UNIX_EPOCH, Floors::time);
        let tls_clock = TlsClock::new(around.clock.clone(), proven.max(identity.issued()));
        let manners = Manners::new(settings.fetch.max_rate, around.random.clone());
        let client = service::client(&identity, &ways, (tls_clock.clone(), around.proxy.clone()), &manners)?;
        let outbox = Outbox::open(&settings.state_dir.join("outbox"))?;
        let journal = Journal::open(&journal_path(&settings), outbox.transition())?;
        let store = |which, root| TrustStore::open(&settings.state_dir, which, root);
        let device = identity.device();
        let catalog = store(Which::Catalog, device.catalog_root_sha256)?;
        let approvals = store(Which::Approvals, device.approvals_root_sha256)?;
        // What it verified before it was started is what it has seen: a fork comes to light by that.
        let seen = |store: &TrustStore| store.offline(tls_clock.now()).ok().map(|repository| repository.seen());
        let seen = (seen(&catalog), seen(&approvals));
        let stop = CancellationToken::new();
        Ok(Self {
            catalog,
            approvals,
            floors,
            tls_clock,
            installer: Installer::new(&settings).ending(stop.clone()),
            running: Ok(None),
            installs: None,
            interlock: Interlock::new(settings.interlock.as_ref(), &settings.state_dir),
            counters: Arc::default(),
            retry: Backoff::new(RETRY_FIRST, RETRY_MOST).ok_or(AgentError::Backoff)?,
            rhythm: Rhythm::new(settings.poll).ok_or(AgentError::Backoff)?,
            stop,
            pulse: Arc::default(),
            watch: Watch::new(settings.audit),
            resumed: false,
            reverted: None,
            heard: None,
            unheard: None,
            is_stranger: false,
            tidings: None,
            heard_stops: Vec::new(),
            stops: Stops::open(&settings.state_dir)?,
            answers: Vec::new(),
            inbox: Inbox::open(&settings.state_dir)?,
            errands: Errands::new(),
            logged: local::logged(&settings.state_dir),
            lease: Lease::open(&settings.state_dir)?,
            took: took::Memory::open(&settings.state_dir),
            own: own::Own::new(&settings),
            seen,
            _lock: lock,
            settings,
            around,
            identity,
            ways,
            client,
            manners,
            ask_again: None,
            journal,
            outbox,
        })
    }

    /// Cancelled, it makes a running fetch, probe or wait end early, as the end of the process would.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether it still goes round.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// What the device is at.
    pub fn state(&self) -> &State {
        self.journal.state()
    }

    /// Who the device is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What was said to the server and heard from it.
    pub fn traffic(&self) -> &Arc<Traffic> {
        self.client.traffic()
    }

    /// What was fetched, for tests and for status.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Cycles until it is stopped. A failure of one cycle is logged; the next one tries again.
    pub async fn run(&mut self) {
        while !self.stop.is_cancelled() {
            let next = match self.cycle().await {
                Ok(pass) => pass.next,
                Err(e) => {
                    tracing::error!(error = %chain(&e), "the cycle failed and is tried again");
                    self.settings.poll
                }
            };
            self.pulse.beat(next);
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.stop.cancelled() => {}
                () = self.inbox.news() => {}
                () = self.errands.come() => {}
            }
        }
    }

    /// One pass: finishes what was begun, checks in, refreshes, chooses, and goes as far as it can without waiting.
    pub async fn cycle(&mut self) -> Result<Pass, AgentError> {
        self.pulse.beat(Duration::ZERO);
        if departure::is_resolved(&self.settings.state_dir) {
            return self.take_leave().await;
        }
        self.inbox.rouse();
        self.note_running().await;
        // What the last transition told, if the disk had no room for it then.
        self.tell()?;
        if !self.resumed {
            let switched = self.is_switched().await;
            self.settle().await;
            self.apply(Event::Resumed { switched })?;
            self.resumed = true;
        }
        self.run_errands().await?;
        self.keep_lease();
        // Past the switch the device finishes or reverts, whether or not anybody can be reached.
        if self.journal.state().is_committed() {
            self.advance(None).await?;
        }
        self.renew().await;
        self.check_in().await;
        self.submit().await?;
        self.heed_clearance().await?;
        // Until it is confirmed nothing else is answered to the device; unheard, it goes by what it has.
        let pending = self.heard.as_ref().is_some_and(|h| !h.confirmed);
        if !pending && !self.journal.state().is_committed() {
            let (event, situation) = self.look().await?.into_event();
            self.apply(event)?;
            self.answer()?;
            self.advance(situation).await?;
            self.submit().await?;
        }
        self.give_lease_back().await?;
        self.attend_to_integrity()?;
        self.attend_to_itself().await?;
        self.write_live();
        self.rhythm.passed(self.was_useless());
        Ok(Pass { next: self.next(), confirmed: !pending && self.heard.is_some() })
    }

    fn now(&self) -> Timestamp {
        self.around.clock.now()
    }

    fn apply(&mut self, event: Event) -> Result<(), AgentError> {
        self.give_up_what_is_stopped(&event)?;
        let now = self.now();
        let before = self.journal.state().name();
        let name = event.name();
        self.journal.apply(event, now)?;
        if let Err(e) = self.took.went(self.journal.state(), now) {
            tracing::warn!(error = %chain(&e), "how long this takes cannot be written down");
        }
        if self.journal.state().is_committed() {
            self.watch.rest();
        }
        let after = self.journal.state();
        if before != after.name() {
            let reason = after.trouble().map(|(reason, _)| reason.to_string()).unwrap_or_default();
            tracing::info!(from = before, on = name, to = after.name(), reason, "the machine went on");
        }
        self.keep_lease();
        self.tell()
    }

    /// Looks at what runs where it is time to, and tells what has changed; not while the device is being changed.
    fn attend_to_integrity(&mut self) -> Result<(), AgentError> {
        if self.journal.state().is_committed() {
            return Ok(());
        }
        let now = self.now();
        let Some(reason) = self.watch.attend(self.installer.contract(), &self.settings.state_dir, now)? else {
            return Ok(());
        };
        let phase = self.journal.state().phase();
        self.journal.mention(Told { subject: None, phase, reason, stop: None, permanent: false })?;
        self.tell()
    }

    /// Whether the switch to the attempt's version was made.
    async fn is_switched(&self) -> bool {
        let manifest = self.journal.state().attempt().map(|a| a.bundle.manifest);
        match manifest {
            Some(manifest) => self.installer.is_switched(&manifest).await.unwrap_or(false),
            None => false,
        }
    }

    /// At the start, with nothing under way: what runs is to start again. Else the attempt says what is.
    async fn settle(&self) {
        if !self.journal.state().is_committed()
            && let Err(e) = self.installer.settle().await
        {
            tracing::error!(error = %chain(&e), "whether what runs starts again is not sure");
        }
    }

    /// Asks what runs.
    async fn note_running(&mut self) {
        let running = self.installer.running().await;
        let version = running.as_ref().ok().and_then(Option::as_ref);
        self.installs = version.map(|version| version.installs(&self.settings, &self.installer));
        self.running = running.map(|version| version.map(|v| v.running())).map_err(|e| Reason::from(&e));
    }

    /// What runs, as far as it is known.
    fn running(&self) -> Option<Running> {
        self.running.as_ref().ok().cloned().flatten()
    }
}

/// The journal's place.
pub fn journal_path(settings: &Settings) -> std::path::PathBuf {
    settings.state_dir.join("journal.json")
}

/// Takes the state directory for this process. Also for those commands that must not run beside the agent.
pub fn lock(settings: &Settings) -> Result<File, AgentError> {
    let path = settings.state_dir.join("lock");
    let file = File::create(&path).map_err(DurableError::io("make", &path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| AgentError::Busy(settings.state_dir.display().to_string()))?;
    Ok(file)
}

/// An error with all that lies below it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat their source.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
