//! How long this device's own installs and ways back took. The gate asks for the larger of that and the manufacturer's
//! budget: the manufacturer measured on a device of its own, and this one may be older, fuller or slower.
//!
//! `took.json` in the state directory; a handful of each is kept. It is advice: what cannot be read or written is as if
//! nothing were known. An install is what lies between the switch and the proof of health, or the decision to go back; a
//! way back what lies between that and the old version's restart.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::manifest::Install;
use suture_core::report::Took;

use crate::durable::{self, DurableError};
use crate::machine::State;

/// Of each, the last so many: a disk that was full once does not count for ever.
const KEPT: usize = 8;
/// What counts at most of the time in which the agent did not run: a machine's own restart. A device that was switched off
/// over night says nothing of installs.
const RESTART: SignedDuration = SignedDuration::from_mins(5);
/// Whatever took longer was no install: the clock was set.
const MOST: SignedDuration = SignedDuration::from_hours(6);

/// What the gate is to ask for: of each the larger one of the manufacturer's word and what it took here.
pub fn corrected(install: &Install, took: Took) -> Install {
    Install {
        budget_secs: install.budget_secs.max(took.install_secs),
        revert_budget_secs: install.revert_budget_secs.max(took.revert_secs),
        ..install.clone()
    }
}

/// Why more is asked for than the manufacturer's word, where it is.
pub fn because(install: &Install, took: Took) -> Option<String> {
    let of = [
        ("an install", took.install_secs, install.budget_secs),
        ("the way back", took.revert_secs, install.revert_budget_secs),
    ];
    let longer = of.into_iter().filter(|(_, took, budget)| took > budget).map(|(what, took, budget)| {
        format!("{what} has taken {took} s on this device, where the manufacturer says {budget} s")
    });
    let longer: Vec<String> = longer.collect();
    (!longer.is_empty()).then(|| longer.join(", and "))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Work {
    Install,
    Revert,
}

/// Work under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    work: Work,
    /// Whether the device was changed: until then it is no install.
    switched: bool,
    /// What it has taken until `seen`.
    spent_secs: u32,
    #[serde(with = "utc")]
    seen: Timestamp,
    /// From then on it waits until the device is free, or a person has said so: that is no part of what it takes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    waits: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    begun: Option<Begun>,
    /// In seconds, the newest last.
    installs: Vec<u32>,
    reverts: Vec<u32>,
}

/// What is remembered.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    record: Record,
    /// Nothing has been seen since the agent was started, or stood still.
    started: bool,
}

impl Memory {
    /// The longest of each, by what lies in the state directory.
    pub fn kept(state_dir: &Path) -> Took {
        durable::read_json::<Record>(&place(state_dir)).ok().flatten().unwrap_or_default().longest()
    }

    /// Reads what is there.
    pub fn open(state_dir: &Path) -> Self {
        let path = place(state_dir);
        let record = durable::read_json(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "how long past installs took is not known any more");
            None
        });
        Self { path, record: record.unwrap_or_default(), started: true }
    }

    /// The longest of each.
    pub fn longest(&self) -> Took {
        self.record.longest()
    }

    /// What comes next may come long after what was last: as after a start of the agent, it says nothing of how long it took.
    pub fn stood_still(&mut self) {
        self.started = true;
    }

    /// The machine is in this state now.
    pub fn went(&mut self, state: &State, now: Timestamp) -> Result<(), DurableError> {
        let started = std::mem::take(&mut self.started);
        let next = match state {
            State::Switching { .. } => Some((Work::Install, false)),
            State::Restarting { .. } | State::Confirming { .. } => Some((Work::Install, true)),
            State::Reverting { .. } => Some((Work::Revert, true)),
            _ => None,
        };
        let waits =
            matches!(state, State::Restarting { trouble: Some(_), .. } | State::Reverting { trouble: Some(_), .. });
        let mut record = self.record.clone();
        // It is asked again every few seconds: the disk is not written each time.
        if let Some(begun) = record.begun.as_mut().filter(|begun| !(begun.waits && waits)) {
            let passed = now.duration_since(begun.seen).max(SignedDuration::ZERO);
            let passed = match (begun.waits, started) {
                (true, _) => SignedDuration::ZERO,
                (false, true) => passed.min(RESTART),
                (false, false) => passed,
            };
            let secs = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX);
            begun.spent_secs = begun.spent_secs.saturating_add(secs);
            begun.seen = whole_second(now);
        }
        record.begun = match (record.begun, next) {
            (Some(begun), Some((work, switched))) if begun.work == work => {
                Some(Begun { switched: begun.switched || switched, waits, ..begun })
            }
            (begun, next) => {
                if let Some(begun) = begun {
                    record.keep(begun);
                }
                next.map(|(work, switched)| Begun { work, switched, spent_secs: 0, seen: whole_second(now), waits })
            }
        };
        if record != self.record {
            durable::write_json(&self.path, &record, durable::OPEN)?;
            self.record = record;
        }
        Ok(())
    }
}

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("took.json")
}

impl Record {
    fn longest(&self) -> Took {
        let longest = |all: &[u32]| all.iter().copied().max().unwrap_or(0);
        Took { install_secs: longest(&self.installs), revert_secs: longest(&self.reverts) }
    }

    fn keep(&mut self, Begun { work, switched, spent_secs, .. }: Begun) {
        if !switched || i64::from(spent_secs) > MOST.as_secs() {
            return;
        }
        let all = match work {
            Work::Install => &mut self.installs,
            Work::Revert => &mut self.reverts,
        };
        all.push(spent_secs);
        let over = all.len().saturating_sub(KEPT);
        all.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use suture_core::digest::Digest;
    use suture_core::phase::{Code, Phase, Reason};
    use suture_core::retry::Policy;
    use suture_core::version::Release;

    use super::*;
    use crate::machine::{Attempt, Bundle, Trouble, Window};

    fn at(secs: i64) -> Timestamp {
        "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
    }

    fn attempt() -> Attempt {
        Attempt {
            approval: "a-1".parse().unwrap(),
            bundle: Bundle { path: String::new(), manifest: Digest::of(b"2"), release: Release(2) },
            number: 1,
            floor: Release(0),
            policy: Policy { max_attempts: 1, wait_secs: 0 },
            order: 0,
            jitter: 0,
        }
    }

    fn switching() -> State {
        State::Switching { attempt: attempt(), window: Window { start: at(0), latest: at(600) } }
    }

    fn restarting() -> State {
        State::Restarting { attempt: attempt(), resumes: 0, trouble: None }
    }

    fn confirming() -> State {
        State::Confirming { attempt: attempt(), resumes: 0 }
    }

    fn rest() -> State {
        State::Idle { about: None, phase: Phase::Idle, reason: Reason::new(Code::UpToDate, "") }
    }

    fn reverting() -> State {
        State::Reverting {
            attempt: attempt(),
            reason: Reason::new(Code::HealthFailed, ""),
            failures: 0,
            starts: 0,
            restarted: false,
            trouble: None,
        }
    }

    /// Goes through states at these times.
    fn goes(took: &mut Memory, way: &[(State, i64)]) {
        way.iter().for_each(|(state, secs)| took.went(state, at(*secs)).unwrap());
    }

    #[test]
    fn an_install_lasts_from_switch_to_proof_and_the_way_back_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut took = Memory::open(dir.path());
        assert_eq!(took.longest(), Took::default());
        goes(&mut took, &[(rest(), 0), (switching(), 100), (restarting(), 101), (confirming(), 150), (rest(), 190)]);
        assert_eq!(took.longest(), Took { install_secs: 90, revert_secs: 0 });
        goes(&mut took, &[(switching(), 200), (restarting(), 200), (reverting(), 230), (rest(), 250)]);
        assert_eq!(took.longest(), Took { install_secs: 90, revert_secs: 20 });
        assert_eq!(Memory::open(dir.path()).longest(), took.longest());
    }

    #[test]
    fn a_wait_for_a_person_before_a_restart_is_no_part_of_what_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let mut took = Memory::open(dir.path());
        let asked = || Some(Trouble::new(Reason::new(Code::PersonNeeded, "")));
        let waiting = State::Restarting { attempt: attempt(), resumes: 1, trouble: asked() };
        let way =
            [(switching(), 0), (restarting(), 10), (waiting.clone(), 15), (waiting, 9_000), (restarting(), 9_015)];
        goes(&mut took, &way);
        goes(&mut took, &[(confirming(), 9_035), (rest(), 9_045)]);
        assert_eq!(took.longest().install_secs, 15 + 30);
        let State::Reverting { attempt, reason, failures, .. } = reverting() else { unreachable!() };
        let waiting = State::Reverting { attempt, reason, failures, starts: 0, restarted: false, trouble: asked() };
        goes(&mut took, &[(reverting(), 0), (waiting, 5), (reverting(), 9_000), (rest(), 9_020)]);
        assert_eq!(took.longest().revert_secs, 25);
    }

    #[test]
    fn what_changed_nothing_was_no_install() {
        let dir = tempfile::tempdir().unwrap();
        let mut took = Memory::open(dir.path());
        goes(&mut took, &[(switching(), 0), (rest(), 50)]);
        assert_eq!(took.longest(), Took::default());
    }

    #[test]
    fn a_night_without_power_and_a_clock_that_was_set_lock_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut took = Memory::open(dir.path());
        goes(&mut took, &[(switching(), 0), (restarting(), 10)]);
        let mut took = Memory::open(dir.path());
        goes(&mut took, &[(restarting(), 30_000), (confirming(), 30_020), (rest(), 30_030)]);
        assert_eq!(took.longest().install_secs, 10 + 300 + 20 + 10);
        goes(&mut took, &[(switching(), 0), (restarting(), 5), (rest(), 1_000_000_000)]);
        goes(&mut took, &[(switching(), 1_000_000_000), (restarting(), 0), (rest(), 7)]);
        assert_eq!(took.longest().install_secs, 340);
    }

    #[test]
    fn the_last_few_count_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut took = Memory::open(dir.path());
        goes(&mut took, &[(restarting(), 0), (rest(), 5_000)]);
        for n in 1..=KEPT as i64 {
            assert_eq!(took.longest().install_secs, 5_000);
            goes(&mut took, &[(restarting(), n * 10_000), (rest(), n * 10_000 + 3)]);
        }
        assert_eq!(took.longest().install_secs, 3);
        std::fs::write(dir.path().join("took.json"), b"{\"installs\":").unwrap();
        let mut took = Memory::open(dir.path());
        assert_eq!(took.longest(), Took::default());
        goes(&mut took, &[(restarting(), 0), (rest(), 4)]);
        assert_eq!(Memory::open(dir.path()).longest().install_secs, 4);
    }
}
