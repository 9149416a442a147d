//! What a technician at the device sees: what runs, what the agent does, what it waits for and until when.
//!
//! Read from the state directory, beside a running agent or without one.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{format_utc, utc};
use suture_core::phase::{Code, Reason};
use suture_core::progress::Progress;
use suture_core::report::Integrity;

use crate::agent::{self, chain, journal_path};
use crate::config::Settings;
use crate::deferral::{self, Deferral};
use crate::departure;
use crate::durable::{self, DurableError};
use crate::hold::Hold;
use crate::identity::{Identity, grouped};
use crate::install::Installer;
use crate::integrity;
use crate::interlock::{self, Question};
use crate::journal::{Journal, JournalError, Outcome, Tried};
use crate::lease::{Held, Lease};
use crate::machine::State;
use crate::record;
use crate::runs::Found;
use crate::stops::{Shown, Stops};
use crate::why::{self, Why, Whys};

/// What the running agent leaves for `status` with each cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// When.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// Whether the hospital has confirmed the device, where the server said so.
    pub confirmed: Option<bool>,
    /// Why the server could not be asked.
    pub server_trouble: Option<String>,
    /// Of the bundle: bytes that are there.
    pub fetched_bytes: u64,
    /// Of the bundle: all bytes.
    pub total_bytes: u64,
    /// Where the transfer stands in line: how many are before it.
    #[serde(default)]
    pub in_line: Option<Reason>,
    /// Where they come from, and how fast.
    #[serde(default)]
    pub progress: Progress,
    /// What was wrong with deltas of this bundle, if anything was: a server that sends wrong ones costs bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_refused: Option<String>,
    /// Chunks that came from the server since the agent started.
    #[serde(default)]
    pub chunks_from_server: u64,
    /// What they had in stored form, and deltas beside them, in bytes.
    #[serde(default)]
    pub bytes_from_server: u64,
    /// Chunks that were found in a slot instead.
    #[serde(default)]
    pub chunks_from_slots: u64,
    /// Reports that the server has not got yet.
    pub waiting_reports: u64,
}

/// All of it, also as JSON.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Hospital and id; none before enrolment.
    pub device: Option<String>,
    /// What a person compares at confirmation, in groups of four.
    pub fingerprint: Option<String>,
    /// Version that runs.
    pub version: Option<String>,
    /// Its release.
    pub release: Option<u64>,
    /// Its manifest's digest.
    pub manifest: Option<String>,
    /// Whether that lies on the disk as it was signed, where it was looked at.
    pub integrity: Option<Integrity>,
    /// How far the attempt got, or `idle` or `held`.
    pub phase: &'static str,
    /// The machine's state.
    pub state: &'static str,
    /// The attempt's approval.
    pub approval: Option<String>,
    /// The attempt's release.
    pub target_release: Option<u64>,
    /// What it waits for.
    pub reason: Option<Reason>,
    /// Until when, where that is known: UTC.
    pub until: Option<String>,
    /// What was tried of what it attempts, or attempted last.
    pub tried: Option<Tried>,
    /// The server's lease, where one is needed and held, or not given back yet.
    pub lease: Option<Held>,
    /// How the last attempt ended.
    pub last: Option<Outcome>,
    /// The stop orders and lifts that are kept here.
    pub stops: Vec<Shown>,
    /// How often the interlock has put the attempt off, by which answers.
    pub deferred: Option<Deferral>,
    /// Whether it leaves its hospital, and that is being told.
    pub leaves: bool,
    /// That a person at the device keeps it from beginning anything, where one does.
    pub hold: Option<Reason>,
    /// What a person at the device is asked for: `suture-agent confirm` answers it.
    pub question: Option<Question>,
    /// What it holds against the server's audit record, where that does not go on from what it remembers.
    pub record: Option<Reason>,
    /// What the agent left with its last cycle.
    pub live: Option<Live>,
    /// Why the agent that runs cannot write, where it cannot: then `live` and all else in files is as old as its last word.
    pub unwritten: Option<Reason>,
    /// Why the machine is not further, with what follows of it.
    #[serde(skip)]
    machine: Option<Why>,
    /// What could not be read.
    pub faults: Vec<String>,
}

/// What was tried of the attempt's step, or at last where there is none.
fn tried(journal: &Journal) -> Option<Tried> {
    let of = |t: &&Tried| {
        let state = journal.state().attempt();
        state.is_none_or(|a| a.approval == t.approval && a.bundle.manifest == t.manifest) && t.tries.spent > 0
    };
    journal.tried().rev().find(of).cloned()
}

impl Live {
    /// Writes it, without waiting for the disk: it is written while a transfer goes on, and says nothing once the agent is gone.
    pub fn write(&self, state_dir: &Path) -> Result<(), DurableError> {
        durable::show_json(&state_dir.join("live.json"), self, durable::OPEN)
    }

    fn read(state_dir: &Path) -> Result<Option<Self>, DurableError> {
        durable::read_json(&state_dir.join("live.json"))
    }
}

impl Status {
    /// Reads what is there. What cannot be read is a fault in it, not a failure. `runs`: what the agent's loop found to run; where no
    /// agent runs the installer is asked.
    pub fn read(settings: &Settings, runs: Option<Found>) -> Self {
        let mut faults = Vec::new();
        let running = match runs {
            Some(found) => found.unwrap_or_else(|reason| {
                faults.push(reason.text);
                None
            }),
            None => Installer::new(settings).running_now().map_err(|e| faults.push(chain(&e))).ok().flatten(),
        };
        let mut note = |e: &dyn std::error::Error| faults.push(chain(e));
        let identity = Identity::open(&settings.state_dir).map_err(|e| note(&e)).ok();
        let journal = match Journal::peek(&journal_path(settings)) {
            Ok(Some(journal)) => Ok(journal),
            // A device that is new, or one that has lost it.
            none => {
                none.err().iter().for_each(|e| note(e));
                agent::peek(settings).inspect_err(|e| note(e))
            }
        };
        let stops = Stops::shown(&settings.state_dir).map_err(|e| note(&e)).unwrap_or_default();
        let lease = Lease::shown(&settings.state_dir).map_err(|e| note(&e)).ok().flatten();
        let live = Live::read(&settings.state_dir).map_err(|e| note(&e)).ok().flatten();
        // Of one that may be at anything nobody is to hear that it rests.
        let unknown = |e: &JournalError| {
            let text = format!("what the device is at cannot be read: {}", chain(e));
            State::Held { attempt: None, reason: Reason::new(Code::StateDamaged, text) }
        };
        let state = &journal.as_ref().map_or_else(unknown, |journal| journal.state().clone());
        let journal = journal.ok();
        let trouble = match &live {
            Some(live) => state.trouble_at(live.at),
            None => state.trouble(),
        };
        let at = live.as_ref().map(|live| live.at);
        let question = interlock::question(&settings.state_dir).map_err(|e| note(&e)).ok().flatten();
        // One that was left over from another slot is asked no more.
        let asked = matches!(trouble, Some((reason, _)) if matches!(reason.code, Code::PersonNeeded | Code::Deferred));
        Self {
            deferred: state
                .attempt()
                .and_then(|a| deferral::kept_count(&settings.state_dir, &a.approval).map_err(|e| note(&e)).ok()?),
            leaves: departure::is_resolved(&settings.state_dir),
            hold: Hold::standing(&settings.state_dir),
            record: record::kept(&settings.state_dir).and_then(|kept| kept.doubt).map(|doubt| doubt.reason()),
            question: question.filter(|_| asked),
            machine: why::machine(state, at),
            device: identity.as_ref().map(|i| format!("{}/{}", i.device().hdo, i.device().device)),
            fingerprint: identity.as_ref().map(|i| grouped(&i.fingerprint())),
            version: running.as_ref().map(|r| r.version.to_string()),
            release: running.as_ref().map(|r| r.release.0),
            manifest: running.as_ref().map(|r| r.manifest.to_string()),
            integrity: running.as_ref().and_then(|r| integrity::kept(&settings.state_dir, &r.manifest)),
            phase: state.phase().as_str(),
            state: state.name(),
            approval: state.attempt().map(|a| a.approval.to_string()),
            target_release: state.attempt().map(|a| a.bundle.release.0),
            reason: trouble.map(|(reason, _)| reason.clone()),
            until: trouble.and_then(|(_, until)| until).map(format_utc),
            tried: journal.as_ref().and_then(tried),
            lease,
            last: journal.as_ref().and_then(|j| j.last().cloned()),
            stops,
            live,
            unwritten: None,
            faults,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<12} {value}");
        };
        line("device", self.device.as_deref().unwrap_or("not enrolled"));
        match (&self.version, self.release) {
            (Some(version), Some(release)) => line("runs", &format!("{version} (release {release})")),
            _ => line("runs", "nothing that this agent knows of"),
        }
        if let Some(Integrity { at, drift }) = &self.integrity {
            let found = drift.as_deref().unwrap_or("as it was signed");
            line("integrity", &format!("{found} (looked at {})", format_utc(*at)));
        }
        line("phase", self.phase);
        if let (Some(approval), Some(release)) = (&self.approval, self.target_release) {
            line("attempt", &format!("release {release}, by approval {approval}"));
        }
        for why in self.why().waits {
            line("why", &why.line());
        }
        if let Some(live) = self.live.as_ref().filter(|l| l.total_bytes > 0 && self.approval.is_some()) {
            line("fetched", &live.progress.to_string());
        }
        if let Some(tried) = &self.tried {
            line("tries", &format!("{}, by approval {}", tried.tries.to_text(tried.policy), tried.approval));
        }
        if let Some(deferred) = &self.deferred {
            line("put off", &deferred.reason().text);
        }
        if let Some(Held { approval, since }) = &self.lease {
            line("lease", &format!("held by approval {approval} since {}", format_utc(*since)));
        }
        if let Some(last) = &self.last {
            let reason = last.told.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
            line("last", &format!("{} at {}{reason}", last.told.phase, format_utc(last.at)));
        }
        for stop in &self.stops {
            line("stop order", &stop.text());
        }
        if let Some(live) = &self.live {
            line("reports", &format!("{} wait for the server", live.waiting_reports));
            let stale = self.unwritten.as_ref().map_or("", |_| "; nothing could be written since");
            line("as of", &format!("{}{stale}", format_utc(live.at)));
        }
        if let Some(fingerprint) = &self.fingerprint {
            line("fingerprint", fingerprint);
        }
        for fault in &self.faults {
            line("fault", fault);
        }
        out
    }

    /// Why the device is not further.
    pub fn why(&self) -> Whys {
        let attempts = self.approval.is_some();
        let mut waits: Vec<Why> = Vec::new();
        waits.extend(self.unwritten.as_ref().map(|reason| Why::of(reason, None, &State::rest())));
        waits.extend(self.leaves.then(why::leaves));
        // The machine may have told it before, or not have come to it yet.
        let told = self.machine.as_ref().is_some_and(|why| why.code == Code::HeldHere.as_str());
        waits.extend(self.hold.as_ref().filter(|_| !told).map(|reason| Why::of(reason, None, &State::rest())));
        // Accident: an hour lost over "nothing is approved for this device", which asks nobody.
        let unknown = self.device.is_none().then_some(self.faults.first()).flatten();
        waits.extend(unknown.map(|fault| why::unknown(fault)));
        let idle = Code::NothingApproved.as_str();
        waits.extend(self.machine.clone().filter(|why| unknown.is_none() || why.code != idle));
        if let Some(live) = &self.live {
            let in_line = live.in_line.as_ref().filter(|_| attempts);
            waits.extend(in_line.map(|reason| Why::of(reason, None, &State::rest())));
            if attempts && live.progress.present_bytes < live.progress.total_bytes {
                let by_itself = "It goes on until all of it has come, also after a cut or a restart.";
                let you_can = "Nothing needs to be done; the device may be used.";
                waits.push(Why::under_way("fetching", live.progress.to_string(), by_itself, you_can));
            }
            waits.extend(live.delta_refused.as_ref().filter(|_| attempts).map(|text| why::wrong_delta(text)));
            waits.extend(self.record.as_ref().map(|reason| Why::of(reason, None, &State::rest())));
            if live.confirmed == Some(false) {
                let text = "the hospital has not confirmed this device yet; it compares the fingerprint and runs \
                            `suturectl device confirm`";
                waits.push(Why::of(&Reason::new(Code::Pending, text), None, &State::rest()));
            }
            let unheard =
                |text: &String| Why::of(&Reason::new(Code::ServerUnreachable, text.as_str()), None, &State::rest());
            waits.extend(live.server_trouble.as_ref().map(unheard));
        }
        Whys { waits, question: self.question.clone() }
    }
}
