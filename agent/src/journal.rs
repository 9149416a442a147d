//! The journal: what the device is at, on disk before each side effect.
//!
//! One JSON file, replaced whole. It holds the state, the reports of the last transition until the outbox has them, the
//! tries that each approval has used up, the stops that were answered, and the last outcome. A journal that cannot be read
//! is kept for the technician under another name and the device is held: what it was at is not known, so only a person can
//! go on.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::limits::MAX_KEPT_STOPS;
use suture_core::phase::{Code, Phase, Reason};

use crate::durable::{self, DurableError};
use crate::machine::{Event, MachineError, State, Step, Subject, Told, step};

/// Steps of approvals whose used tries are remembered; the oldest goes first.
const MAX_SPENT: usize = 1_024;

/// The file's contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Layout of the file; 1.
    format: u32,
    /// Counts the transitions.
    seq: u64,
    state: State,
    /// What the transition numbered `seq` tells.
    told: Vec<Told>,
    /// Tries used up, oldest step first.
    spent: Vec<Spent>,
    /// Approvals of which the last word was that they are stopped, and by which order; oldest word first.
    #[serde(default)]
    obeyed: Vec<Obeyed>,
    last: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spent {
    approval: ApprovalId,
    /// The bundle of the step: each step of an approval has tries of its own.
    manifest: Digest,
    tries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Obeyed {
    approval: ApprovalId,
    /// The order's counter; none where the order could not be read, which stops too.
    stop: Option<u64>,
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// What was told.
    pub told: Told,
    /// When.
    #[serde(with = "utc")]
    pub at: Timestamp,
}

/// The journal, open.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    record: Record,
}

/// Why a transition was not made.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("cannot keep the journal")]
    Disk(#[from] DurableError),
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl Journal {
    /// Opens `path`. `least_seq`: the highest transition that the outbox knows of, so that a journal begun anew does not
    /// count from below it. A damaged journal is set aside and the device held.
    pub fn open(path: &Path, least_seq: u64) -> Result<Self, JournalError> {
        let fresh = |state| Record {
            format: 1,
            seq: least_seq.saturating_add(1),
            state,
            told: Vec::new(),
            spent: Vec::new(),
            obeyed: Vec::new(),
            last: None,
        };
        let path = path.to_owned();
        match durable::read_json::<Record>(&path) {
            Ok(Some(record)) if record.format == 1 => Ok(Self { path, record }),
            Ok(None) => Ok(Self { path, record: fresh(State::rest()) }),
            Err(source @ DurableError::Io { .. }) => Err(source.into()),
            Ok(Some(_)) | Err(DurableError::Damaged { .. } | DurableError::TooLong { .. }) => {
                let aside = path.with_extension("damaged.json");
                std::fs::rename(&path, &aside).map_err(DurableError::io("set aside", &path))?;
                let text = format!(
                    "the device's journal could not be read and lies in {} now; look whether the device runs as it \
                     should, then run `suture-agent recover`",
                    aside.display()
                );
                let reason = Reason::new(Code::StateDamaged, text);
                let mut record = fresh(State::Held { attempt: None, reason: reason.clone() });
                record.told.push(Told { subject: None, phase: record.state.phase(), reason: Some(reason), stop: None });
                let journal = Self { path, record };
                journal.write()?;
                Ok(journal)
            }
        }
    }

    /// Reads the journal without touching it, as `status` does. `None` where there is none.
    pub fn peek(path: &Path) -> Result<Option<Self>, DurableError> {
        Ok(durable::read_json::<Record>(path)?.map(|record| Self { path: path.to_owned(), record }))
    }

    /// Makes one transition and writes it down. Only then may its action be done.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<Step, JournalError> {
        let step = step(self.record.state.clone(), event, now)?;
        let quiet = step.told.is_empty() && step.spends.is_none();
        if quiet && step.state == self.record.state {
            return Ok(step);
        }
        let mut record = self.record.clone();
        record.state = step.state.clone();
        record.tell(step.told.clone());
        if let Some((approval, manifest)) = &step.spends {
            record.spend(approval, *manifest);
        }
        if let Some(told) = step.told.iter().rev().find(|t| t.phase.is_outcome()) {
            record.last = Some(Outcome { told: told.clone(), at: whole_second(now) });
        }
        self.replace(record)?;
        Ok(step)
    }

    /// Writes down what is told of approvals that the machine is not at: that they are stopped, where that was not the last
    /// word on them or was said of an earlier order, and that they are offered again, where it was.
    pub fn answer(&mut self, answers: impl IntoIterator<Item = Told>) -> Result<(), JournalError> {
        let is_news = |told: &Told| {
            let of = |o: &&Obeyed| told.subject.as_ref().is_some_and(|s| s.approval == o.approval);
            match (told.phase == Phase::Stopped, self.record.obeyed.iter().find(of)) {
                (true, Some(obeyed)) => told.stop > obeyed.stop,
                (stopped, obeyed) => stopped != obeyed.is_some(),
            }
        };
        let news: Vec<_> = answers.into_iter().filter(is_news).collect();
        if news.is_empty() {
            return Ok(());
        }
        let mut record = self.record.clone();
        record.tell(news);
        self.replace(record)
    }

    fn replace(&mut self, record: Record) -> Result<(), JournalError> {
        let next = Self { path: self.path.clone(), record };
        next.write()?;
        *self = next;
        Ok(())
    }

    /// What the device is at.
    pub fn state(&self) -> &State {
        &self.record.state
    }

    /// The number of the last transition and what it tells. The outbox takes each number once.
    pub fn told(&self) -> (u64, &[Told]) {
        (self.record.seq, &self.record.told)
    }

    /// How many tries of a step of an approval are used up.
    pub fn spent(&self, approval: &ApprovalId, manifest: &Digest) -> u32 {
        self.record.spent.iter().find(|s| s.is(approval, manifest)).map_or(0, |s| s.tries)
    }

    /// The steps with tries used up, by approval and bundle, and how many.
    pub fn all_spent(&self) -> impl Iterator<Item = ((ApprovalId, Digest), u32)> {
        self.record.spent.iter().map(|s| ((s.approval.clone(), s.manifest), s.tries))
    }

    /// How the last attempt ended.
    pub fn last(&self) -> Option<&Outcome> {
        self.record.last.as_ref()
    }

    fn write(&self) -> Result<(), DurableError> {
        durable::write_json(&self.path, &self.record, durable::OPEN)
    }
}

impl Spent {
    fn is(&self, approval: &ApprovalId, manifest: &Digest) -> bool {
        self.approval == *approval && self.manifest == *manifest
    }
}

impl Record {
    fn tell(&mut self, told: Vec<Told>) {
        self.seq = self.seq.saturating_add(1);
        for Told { subject, phase, stop, .. } in &told {
            let Some(Subject { approval, .. }) = subject else { continue };
            self.obeyed.retain(|o| o.approval != *approval);
            if *phase == Phase::Stopped {
                self.obeyed.push(Obeyed { approval: approval.clone(), stop: *stop });
            }
        }
        // No more orders than that are kept, and what is not stopped needs no memory.
        let surplus = self.obeyed.len().saturating_sub(MAX_KEPT_STOPS);
        self.obeyed.drain(..surplus);
        self.told = told;
    }

    fn spend(&mut self, approval: &ApprovalId, manifest: Digest) {
        let tries = match self.spent.iter().position(|s| s.is(approval, &manifest)) {
            Some(i) => self.spent.remove(i).tries,
            None => 0,
        };
        self.spent.push(Spent { approval: approval.clone(), manifest, tries: tries.saturating_add(1) });
        let surplus = self.spent.len().saturating_sub(MAX_SPENT);
        self.spent.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Attempt, Bundle};
    use suture_core::version::Release;

    fn attempt() -> Attempt {
        let bundle =
            Bundle { path: "bundles/pump/2/manifest.json".into(), manifest: Digest::of(b"m"), release: Release(2) };
        Attempt { approval: "a1".parse().unwrap(), bundle, number: 1, floor: Release(0) }
    }

    fn now() -> Timestamp {
        "2026-11-24T15:00:00Z".parse().unwrap()
    }

    fn written() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        let mut journal = Journal::open(&path, 0).unwrap();
        journal.apply(Event::Chosen(attempt()), now()).unwrap();
        (dir, path)
    }

    #[test]
    fn what_was_applied_is_there_after_a_restart() {
        let (_dir, path) = written();
        let journal = Journal::open(&path, 0).unwrap();
        assert_eq!(journal.state(), &State::Fetching { attempt: attempt(), trouble: None });
        assert_eq!(journal.told().1.len(), 2);
    }

    #[test]
    fn every_torn_form_holds_the_device_and_keeps_the_evidence() {
        let (_dir, path) = written();
        let whole = std::fs::read(&path).unwrap();
        let torn = (0..whole.len()).step_by(5).map(|cut| whole[..cut].to_vec());
        let zeroed = (0..whole.len()).step_by(31).map(|from| {
            let mut bytes = whole.clone();
            bytes[from..].fill(0);
            bytes
        });
        for bytes in torn.chain(zeroed) {
            std::fs::write(&path, &bytes).unwrap();
            let journal = Journal::open(&path, 41).unwrap();
            let State::Held { attempt: None, reason } = journal.state() else { panic!("{:?}", journal.state()) };
            assert_eq!(reason.code, Code::StateDamaged);
            assert!(journal.told().0 > 41, "transitions are counted on from what the outbox knows");
            assert_eq!(std::fs::read(path.with_extension("damaged.json")).unwrap(), bytes);
            // It stays held, by a readable journal, until a person has spoken.
            assert_eq!(Journal::open(&path, 41).unwrap().state(), journal.state());
        }
    }

    #[test]
    fn a_leftover_of_an_interrupted_write_is_of_no_account() {
        let (dir, path) = written();
        std::fs::write(dir.path().join("journal.json.tmp"), b"{\"form").unwrap();
        let mut journal = Journal::open(&path, 0).unwrap();
        journal.apply(Event::Fetched, now()).unwrap();
        assert_eq!(Journal::open(&path, 0).unwrap().state().name(), "staging");
    }

    #[test]
    fn an_impossible_event_changes_nothing_on_disk() {
        let (_dir, path) = written();
        let before = std::fs::read(&path).unwrap();
        let mut journal = Journal::open(&path, 0).unwrap();
        assert!(matches!(journal.apply(Event::Switched, now()), Err(JournalError::Machine(_))));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn tries_are_counted_and_the_memory_is_bounded() {
        let (_dir, path) = written();
        let mut journal = Journal::open(&path, 0).unwrap();
        let reason = Reason::new(Code::WrongBytes, "x");
        journal.apply(Event::Unusable(reason), now()).unwrap();
        let Attempt { approval, bundle, .. } = attempt();
        assert_eq!(journal.spent(&approval, &bundle.manifest), 1);
        assert_eq!(journal.spent(&approval, &Digest::of(b"the next step")), 0, "a step has its own tries");
        assert_eq!(journal.last().unwrap().told.phase, Phase::Failed);
        for i in 0..2 * MAX_SPENT {
            journal.record.spend(&format!("b{i}").parse().unwrap(), bundle.manifest);
        }
        assert_eq!(journal.record.spent.len(), MAX_SPENT);
    }

    #[test]
    fn a_stop_is_answered_once_until_something_else_is_told_of_its_approval() {
        let (_dir, path) = written();
        let by = |id: &str, phase, stop| {
            let subject = Subject { approval: id.parse().unwrap(), manifest: None };
            Told { subject: Some(subject), phase, reason: None, stop }
        };
        let told = |id: &str, phase| by(id, phase, (phase == Phase::Stopped).then_some(7));
        let both = || [told("a1", Phase::Stopped), told("b2", Phase::Stopped)];
        let mut journal = Journal::open(&path, 0).unwrap();
        let state = journal.state().clone();
        journal.answer(both()).unwrap();
        assert_eq!(journal.told().1, both());
        let mut journal = Journal::open(&path, 0).unwrap();
        let first = journal.told().0;
        journal.answer(both()).unwrap();
        journal.answer([told("c3", Phase::Offered)]).unwrap();
        assert_eq!(journal.told().0, first, "nothing of that is news");
        // An order that was signed later is answered anew, and so is one that could not be read before.
        journal.answer([by("a1", Phase::Stopped, Some(9)), by("b2", Phase::Stopped, Some(6))]).unwrap();
        assert_eq!(journal.told(), (first + 1, &[by("a1", Phase::Stopped, Some(9))][..]));
        journal.answer([by("c3", Phase::Stopped, None)]).unwrap();
        journal.answer([by("c3", Phase::Stopped, Some(1)), by("a1", Phase::Stopped, None)]).unwrap();
        assert_eq!(journal.told(), (first + 3, &[by("c3", Phase::Stopped, Some(1))][..]));
        let first = journal.told().0;
        // A lift, and what the machine itself tells, take it back.
        journal.answer([told("b2", Phase::Offered), told("a1", Phase::Stopped)]).unwrap();
        assert_eq!(journal.told(), (first + 1, &[told("b2", Phase::Offered)][..]));
        assert_eq!(journal.state(), &state);
        journal.apply(Event::Nothing(withdrawn()), now()).unwrap();
        journal.answer(both()).unwrap();
        assert_eq!(journal.told().1, both());
        // As many are remembered as orders are kept.
        journal.answer((0..2 * MAX_KEPT_STOPS).map(|n| told(&format!("d{n}"), Phase::Stopped))).unwrap();
        assert_eq!(journal.record.obeyed.len(), MAX_KEPT_STOPS);
    }

    fn withdrawn() -> crate::machine::Nothing {
        let reason = Reason::new(Code::Withdrawn, "x");
        crate::machine::Nothing { about: Some(attempt().subject()), phase: Phase::Withdrawn, reason, stop: None }
    }
}
