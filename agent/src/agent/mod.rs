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
mod disk;
mod error;
mod leave;
mod local;
mod look;
mod open;
mod orders;
mod own;
mod resume;
mod rhythm;
mod service;
mod talk;
mod watchful;

pub use self::depart::DepartError;
pub use self::error::{AgentError, chain};
pub use self::open::{journal, journal_path, lock, peek};

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use suture_core::audit::News;
use suture_core::clock::Clock;
use suture_core::phase::{Code, Reason};
use suture_core::plan::Installs;
use suture_core::report::{Running, Seen};
use suture_proto::connect::ProxyRules;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, Random};
use crate::client::{Client, Heard, Manners};
use crate::config::Settings;
use crate::departure;
use crate::face::Errands;
use crate::fetch::Counters;
use crate::floor::Floors;
use crate::identity::Identity;
use crate::inbox::Inbox;
use crate::install::{InstallError, Installer, Version};
use crate::integrity::Watch;
use crate::interlock::Interlock;
use crate::journal::Journal;
use crate::lease::Lease;
use crate::machine::{Event, State, Told};
use crate::news::Tidings;
use crate::outbox::Outbox;
use crate::pulse::Pulse;
use crate::record::Record;
use crate::runs::Runs;
use crate::sightings::Sightings;
use crate::stops::Stops;
use crate::tls_clock::TlsClock;
use crate::took;
use crate::traffic::Traffic;
use crate::trust_store::TrustStore;
use crate::unwritten::Unwritten;
use crate::ways::Ways;
use rhythm::Rhythm;

/// Between two tries of a transfer, doubling.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// See [`RETRY_FIRST`].
const RETRY_MOST: Duration = Duration::from_secs(20);
/// Between two rounds in which the server is asked by every earlier certificate: a revoked device has many.
const REVERT_INTERVAL: Duration = Duration::from_secs(3_600);
/// What is known of what runs before it was asked.
const UNASKED: &str = "it was not asked yet what runs";
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
    damage: act::Damage,
    catalog: TrustStore,
    approvals: TrustStore,
    journal: Journal,
    outbox: Outbox,
    /// The server has answered, and takes what waits in the outbox later.
    put_off: bool,
    sightings: Sightings,
    /// Neither copy can be read: nothing is begun.
    floors: Result<Floors, Reason>,
    tls_clock: Arc<TlsClock>,
    installer: Installer,
    /// What ran when it was last asked after: at the beginning of each cycle, and after each step that may change it.
    running: Result<Option<Running>, Reason>,
    /// The same, for whoever asks at the device.
    runs: Arc<Runs>,
    /// What installs, and the data that lie there; none where it is not known what runs.
    installs: Option<Installs>,
    interlock: Interlock,
    counters: Arc<Counters>,
    retry: Backoff,
    rhythm: Rhythm,
    stop: CancellationToken,
    pulse: Arc<Pulse>,
    watch: Watch,
    /// Whether this start is in the journal's count.
    counted: bool,
    resumed: bool,
    /// Whether the interlock is to be asked once more before anything goes down: what was held may be held no more.
    asks_once_more: bool,
    /// How often in a row the installer could not say whether it has switched.
    unsaid: u32,
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
    /// The last transition that stands in the log, and with how much of what it tells.
    logged: (u64, usize),
    lease: Lease,
    took: took::Memory,
    own: own::Own,
    record: Record,
    /// What the last check-in brought of the audit record, until it is looked at.
    shown: Option<(News, String)>,
    seen: (Option<Seen>, Option<Seen>),
    /// Why nothing can be written, where nothing can.
    unwritten: Arc<Unwritten>,
    /// Whether something could not be written in this cycle.
    fails: bool,
    /// Whether the device takes its leave.
    leaves: bool,
    /// Held as long as the agent lives: there is one agent to a state directory.
    _lock: File,
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

    /// Cycles until it is stopped. What fails in one cycle is tried again in the next.
    pub async fn run(&mut self) {
        while !self.stop.is_cancelled() {
            // What failed is in the log, and said at the check-in.
            let (Pass { next, .. }, _) = self.pass().await;
            self.pulse.beat(next);
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.stop.cancelled() => {}
                () = self.inbox.news() => {}
                () = self.errands.come() => {}
            }
        }
    }

    /// One pass: finishes what was begun, checks in, refreshes, chooses, and goes as far as it can without waiting. One that
    /// fails has checked in all the same.
    pub async fn cycle(&mut self) -> Result<Pass, AgentError> {
        match self.pass().await {
            (pass, None) => Ok(pass),
            (_, Some(e)) => Err(e),
        }
    }

    /// A pass, and what failed in it.
    async fn pass(&mut self) -> (Pass, Option<AgentError>) {
        self.pulse.beat(Duration::ZERO);
        self.fails = false;
        if self.is_wiped() {
            let wiped = self.finish_wiping();
            return self.passed(wiped.err(), false);
        }
        if departure::is_resolved(&self.settings.state_dir) {
            let left = Box::pin(self.take_leave()).await;
            return self.passed(left.err(), false);
        }
        self.inbox.rouse();
        let begun = self.begin();
        // Rule 5: the way back waits for no answer. A version that takes the device down while its installer is silent would never
        // be put back. Nor does a person's word, which a device waits for because its installer is silent, as a rule.
        let asks_first =
            !matches!(self.journal.state(), State::Reverting { .. } | State::Held { .. } | State::Checking { .. });
        if asks_first {
            self.note_running().await;
        } else if !matches!(self.journal.state(), State::Reverting { .. }) {
            // They may have put another version in place: what they say is told once it is known.
            self.running = Err(Reason::new(Code::RunningUnknown, UNASKED));
        }
        let mut taken_up = match begun {
            Ok(()) => Box::pin(self.take_up()).await,
            Err(e) => Err(e),
        };
        if !asks_first {
            while taken_up.is_ok() && self.is_spoken_to().await {
                taken_up = Box::pin(self.take_up()).await;
            }
            taken_up = match taken_up {
                Ok(()) => self.tell(),
                Err(e) => {
                    self.note_running().await;
                    Err(e)
                }
            };
        }
        // Rule 9: a device whose disk fails is not a silent one.
        if let Err(e) = &taken_up {
            self.found(e);
        }
        self.renew().await;
        Box::pin(self.check_in()).await;
        // What lies on the disk is handed over also where nothing more can be written.
        let gone_on = match taken_up {
            Ok(()) => Box::pin(self.go_on()).await,
            Err(e) => self.submit().await.and(Err(e)),
        };
        if gone_on.is_err()
            && let Err(e) = self.give_lease_back().await
        {
            self.found(&e);
        }
        self.passed(gone_on.err(), true)
    }

    /// What asks nobody, and therefore ends, before all else.
    fn begin(&mut self) -> Result<(), AgentError> {
        self.keep_lease();
        self.prove_disk()?;
        // What the last transition told, if the disk had no room for it then.
        self.tell()?;
        self.count_start()
    }

    /// What was begun goes on, whether or not anybody can be reached: past the switch it finishes or reverts.
    async fn take_up(&mut self) -> Result<(), AgentError> {
        // A lease runs out where it is not said again, whatever keeps this pass from its end.
        self.keep_lease();
        if !self.resumed {
            self.resume().await?;
        }
        Box::pin(self.run_errands()).await?;
        self.keep_lease();
        if self.journal.state().is_committed() {
            Box::pin(self.advance(None)).await?;
        }
        Ok(())
    }

    /// What follows of what was said and heard.
    async fn go_on(&mut self) -> Result<(), AgentError> {
        self.submit().await?;
        self.heed_clearance().await?;
        // Until it is confirmed nothing else is answered to the device; unheard, it goes by what it has.
        if !self.is_pending() && !self.journal.state().is_committed() {
            let look = Box::pin(self.look()).await?;
            self.watch_for_attacks(&look);
            let (event, situation) = look.into_event();
            self.apply(event)?;
            self.answer()?;
            Box::pin(self.advance(situation)).await?;
            self.submit().await?;
        }
        self.give_lease_back().await?;
        // First: whether it has told of its own program is known by what the journal told last.
        Box::pin(self.attend_to_itself()).await?;
        self.attend_to_integrity()?;
        self.attend_to_record()
    }

    /// A pass is over.
    fn passed(&mut self, failed: Option<AgentError>, is_live: bool) -> (Pass, Option<AgentError>) {
        if let Some(e) = &failed {
            self.found(e);
        }
        if is_live && let Err(e) = self.write_live() {
            self.found(&e.into());
        }
        if self.fails {
            self.refuse_errands();
        } else {
            self.can_write();
        }
        self.rhythm.passed(is_live && self.was_useless());
        let confirmed = is_live && !self.is_pending() && self.heard.is_some();
        (Pass { next: self.next(), confirmed }, failed)
    }

    /// Whether the server says that the hospital has not confirmed the device.
    fn is_pending(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| !heard.confirmed)
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

    /// Holds the server to what this device remembers of its audit record, and tells what has changed; not while the device is
    /// being changed, when there is no time for it.
    fn attend_to_record(&mut self) -> Result<(), AgentError> {
        if self.journal.state().is_committed() {
            return Ok(());
        }
        let Some((news, key)) = self.shown.take() else { return Ok(()) };
        let now = self.now();
        let Some(reason) = self.record.take(&news, &key, now)? else { return Ok(()) };
        let phase = self.journal.state().phase();
        self.journal.mention(Told { subject: None, phase, reason, stop: None, permanent: false })?;
        self.tell()
    }

    /// Asks what runs.
    async fn note_running(&mut self) {
        let running = self.installer.running().await;
        self.note(running);
    }

    /// The same, left where a person at the device speaks meanwhile, who is heard first: whether one does.
    async fn is_spoken_to(&mut self) -> bool {
        let running = tokio::select! {
            biased;
            () = self.errands.come() => return true,
            running = self.installer.running() => running,
        };
        self.note(running);
        false
    }

    fn note(&mut self, running: Result<Option<Version>, InstallError>) {
        let version = running.as_ref().ok().and_then(Option::as_ref);
        self.installs = version.map(|version| version.installs(&self.settings, &self.installer));
        self.running = running.map(|version| version.map(|v| v.running())).map_err(|e| Reason::from(&e));
        self.runs.note(&self.running);
    }

    /// What runs, as far as it is known.
    fn running(&self) -> Option<Running> {
        self.running.as_ref().ok().cloned().flatten()
    }
}
