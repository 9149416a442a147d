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
use suture_core::retry::{Policy, Tries};

use crate::durable::{self, DurableError};
use crate::machine::{Attempt, Event, Failure, MachineError, State, Step, Subject, Told, step};

/// Steps of approvals whose tries are remembered; the oldest goes first.
const MAX_TRIED: usize = 1_024;

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
    /// What was tried, of which step of which approval; what was changed last comes last.
    tried: Vec<Tried>,
    /// Approvals of which the last word was that they are stopped, and by which order; oldest word first.
    #[serde(default)]
    obeyed: Vec<Obeyed>,
    last: Option<Outcome>,
}

/// What was tried of one step of one approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// The approval.
    pub approval: ApprovalId,
    /// The step's manifest.
    pub manifest: Digest,
    /// What the hospital has signed of its tries.
    pub policy: Policy,
    /// How often, with what result, and when again.
    pub tries: Tries,
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
            tried: Vec::new(),
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
                record.told.push(Told {
                    subject: None,
                    phase: record.state.phase(),
                    reason: Some(reason),
                    stop: None,
                    permanent: false,
                });
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
        let mut step = step(self.record.state.clone(), event, now)?;
        let quiet = step.told.is_empty() && step.spends.is_none() && step.fails.is_none();
        if quiet && step.state == self.record.state {
            return Ok(step);
        }
        let mut record = self.record.clone();
        record.state = step.state.clone();
        if let Some(attempt) = &step.spends {
            record.retry(attempt, Tries::spend);
        }
        if let Some(Failure { attempt, reason, for_good }) = &step.fails {
            let fail =
                |tries: Tries| tries.fail(attempt.policy, (reason, *for_good), now, attempt.order, attempt.jitter);
            let is_over = record.retry(attempt, fail).is_over(attempt.policy);
            let subject = Some(attempt.subject());
            for told in step.told.iter_mut().filter(|t| t.subject == subject && t.reason.as_ref() == Some(reason)) {
                told.permanent = is_over;
            }
        }
        record.tell(step.told.clone());
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

    /// Writes down what is to be told although the machine did not move.
    pub fn mention(&mut self, told: Told) -> Result<(), JournalError> {
        let mut record = self.record.clone();
        record.tell(vec![told]);
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
        self.tried().find(|t| t.is(approval, manifest)).map_or(0, |t| t.tries.spent)
    }

    /// What was tried; what was changed last comes last.
    pub fn tried(&self) -> impl DoubleEndedIterator<Item = &Tried> {
        self.record.tried.iter()
    }

    /// Gives the tries of stopped approvals back whose stop was lifted after they had failed. Each is the counter of the
    /// newest order for an approval, where that is a lift. Not while an attempt is past the point of no return.
    pub fn lifted(&mut self, lifts: impl IntoIterator<Item = (ApprovalId, u64)>) -> Result<(), JournalError> {
        if self.state().is_committed() {
            return Ok(());
        }
        let mut record = self.record.clone();
        for (approval, counter) in lifts {
            for tried in record.tried.iter_mut().filter(|t| t.approval == approval) {
                tried.tries = std::mem::take(&mut tried.tries).lifted(counter);
            }
        }
        if record == self.record { Ok(()) } else { self.replace(record) }
    }

    /// Lets no try wait longer from now on than was signed.
    pub fn bound_waits(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let mut record = self.record.clone();
        for tried in &mut record.tried {
            tried.tries = std::mem::take(&mut tried.tries).within(tried.policy, now);
        }
        if record == self.record { Ok(()) } else { self.replace(record) }
    }

    /// How the last attempt ended.
    pub fn last(&self) -> Option<&Outcome> {
        self.record.last.as_ref()
    }

    fn write(&self) -> Result<(), DurableError> {
        durable::write_json(&self.path, &self.record, durable::OPEN)
    }
}

impl Tried {
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

    /// Changes what was tried of an attempt's step, and says what it is now.
    fn retry(&mut self, attempt: &Attempt, change: impl FnOnce(Tries) -> Tries) -> Tries {
        let (approval, manifest) = (attempt.approval.clone(), attempt.bundle.manifest);
        let before = match self.tried.iter().position(|t| t.is(&approval, &manifest)) {
            Some(i) => self.tried.remove(i).tries,
            None => Tries::default(),
        };
        let tries = change(before);
        self.tried.push(Tried { approval, manifest, policy: attempt.policy, tries: tries.clone() });
        let surplus = self.tried.len().saturating_sub(MAX_TRIED);
        self.tried.drain(..surplus);
        tries
    }
}

#[cfg(test)]
mod tests;
