//! The journal: what the device is at, on disk before each side effect.
//!
//! Two files, of which each holds one record, and one is replaced while the other stays: the newest record and the one
//! before it; from the claim of the interlock until its release both hold the newest. A record is one line of JSON and below it the line's SHA-256. It holds the state, the reports of the last
//! transition until the outbox has them, the tries that each approval has used up, the stops that were answered, and the
//! last outcome.
//!
//! Accident: a disk that has lost or mangled what it was told to keep, or does not give it. Where the newest record is not whole the one before it
//! counts, and what was to be done by that is done again: each can be done twice with the effect of once. Where neither is
//! whole both are kept for the technician under other names and the device is held: what it was at is not known, so only a
//! person can go on. So is one without a journal of which other files say that it had one.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, whole_second};
use suture_core::digest::Digest;
use suture_core::id::ApprovalId;
use suture_core::json;
use suture_core::limits::MAX_KEPT_STOPS;
use suture_core::phase::{Code, Phase, Reason};
use suture_core::retry::{Policy, Tries};

use crate::durable::{self, DurableError};
use crate::machine::{Event, Failure, MachineError, State, Step, Subject, Told, step};

/// What is wrong where there is no journal and should be one.
const GONE: &str = "the device's journal is gone, and other files say that it had one";

/// What is wrong with one that was lost, as long as nothing can be written about it.
const LOST: &str = "the device's journal cannot be read, or is gone";

/// What the first record tells has no higher number: a device that is new counts from 1, and the first that tells is the next.
const FIRST: u64 = 2;

/// Steps of approvals whose tries are remembered; the oldest goes first.
const MAX_TRIED: usize = 1_024;

/// What is told at once where the outbox could take none of it for long, outcomes apart, of which as many more find a place.
const MAX_OWED: usize = 32;

/// Of a digest in hexadecimal digits.
const SUM_BYTES: usize = 64;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Layout of the file; 1.
    format: u32,
    /// Counts the records.
    written: u64,
    /// Counts the transitions that tell of something.
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
    places: [PathBuf; 2],
    /// Where the record lies; the next one goes to the other place.
    at: usize,
    record: Record,
    /// See [`Journal::owes`].
    owes: bool,
    /// What a start has to write before anything else: see [`Journal::settle`].
    start: Start,
}

/// What was found at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Nothing more is to be written.
    Settled,
    /// The record may belong to both places, and lie in one.
    Uneven,
    /// Neither record can be read, or both are gone.
    Lost {
        /// As [`Journal::read`] was told it.
        least_seq: u64,
    },
}

/// What lies at one of the places.
#[derive(Debug)]
enum Found {
    Nothing,
    Whole(Box<Record>),
    Damaged(DurableError),
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
    /// Opens `path` and the second file beside it, and writes what a start has to write. `least_seq`: the highest transition
    /// that any file knows of, as [`Journal::read`] has it.
    ///
    /// # Errors
    ///
    /// The disk.
    pub fn open(path: &Path, least_seq: u64) -> Result<Self, JournalError> {
        let mut journal = Self::read(path, (least_seq, least_seq))?;
        journal.settle()?;
        Ok(journal)
    }

    /// The same with nothing written, for whoever must go on where nothing can be: [`Journal::settle`] comes before all else.
    /// `least_seq`: the highest transition that the outbox knows of, so that no other counts from below it. `known`: the
    /// highest that any file knows of. Of a journal that is damaged throughout, or gone although something was told by it, or
    /// of which more is known than a first record tells, the device is held.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(path: &Path, (least_seq, known): (u64, u64)) -> Result<Self, JournalError> {
        let places = places(path);
        let found = [find(&places[0])?, find(&places[1])?];
        let of = |at, record, start| Self { places: places.clone(), at, record, owes: false, start };
        let lost = || {
            let state = State::Held { attempt: None, reason: Reason::new(Code::StateDamaged, LOST) };
            of(1, Record::fresh(state, least_seq.max(known)), Start::Lost { least_seq })
        };
        Ok(match found {
            // The second file is never there without the first.
            [Found::Damaged(_) | Found::Nothing, Found::Damaged(_)] => return Ok(lost()),
            // Accident: a disk that has lost both, in the middle of an install perhaps. Nothing is told that is not in a record.
            [Found::Nothing, Found::Nothing] if known > 0 => return Ok(lost()),
            // Or one of them, and has mangled the other. The second file is made with the second record: as long as nothing
            // is known but what the first tells, what is damaged may be that one, and nothing was begun by it.
            [Found::Damaged(_), Found::Nothing] if known > FIRST => return Ok(lost()),
            [first, second] => match newest(first, second) {
                Some((at, record)) => of(at, record.from(least_seq), Start::Uneven),
                None => of(1, Record::fresh(State::rest(), least_seq), Start::Settled),
            },
        })
    }

    /// Writes what a start has to write: that the device is held, where its journal is lost, with the evidence set aside; and
    /// a record that belongs to both places to both. Whatever else is written comes after it.
    ///
    /// # Errors
    ///
    /// The disk: it is to be tried again.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        match self.start {
            Start::Settled => {}
            Start::Uneven => self.even_out()?,
            Start::Lost { least_seq } => self.take_or_hold(least_seq)?,
        }
        self.start = Start::Settled;
        Ok(())
    }

    /// Neither record could be read. The disk may give one now that it did not give before: that one counts, and nothing has been
    /// done without it. So does the one by which the device is held, where the disk failed in the middle of that.
    fn take_or_hold(&mut self, least_seq: u64) -> Result<(), JournalError> {
        let [first, second] = &self.places;
        let found = [find(first)?, find(second)?];
        let lies = found.each_ref().map(|found| !matches!(found, Found::Nothing));
        let [first, second] = found;
        match newest(first, second) {
            Some((at, record)) => {
                (self.at, self.record) = (at, record.from(least_seq));
                Ok(self.even_out()?)
            }
            None => self.hold(lies),
        }
    }

    /// Neither record can be read; `lies`: whether there is one all the same.
    fn hold(&mut self, lies: [bool; 2]) -> Result<(), JournalError> {
        let mut aside = Vec::new();
        for (place, _) in self.places.iter().zip(lies).filter(|(_, lies)| *lies) {
            let name = place.with_extension("damaged.json");
            // What was set aside before is evidence too, and makes room for newer evidence alone.
            durable::remove(&name)?;
            // Linked, so that there is no moment without a file: that would be a device that was never at anything.
            std::fs::hard_link(place, &name).map_err(DurableError::io("set aside", place))?;
            aside.push(name.display().to_string());
        }
        let what = match aside.as_slice() {
            [] => GONE.to_owned(),
            aside => format!("the device's journal could not be read and lies in {} now", aside.join(" and ")),
        };
        let text = format!("{what}; look whether the device runs as it should, then run `suture-agent recover`");
        let reason = Reason::new(Code::StateDamaged, text);
        let state = State::Held { attempt: None, reason: reason.clone() };
        let phase = state.phase();
        let mut record = self.record.clone();
        record.told = vec![Told { subject: None, phase, reason: Some(reason), stop: None, permanent: false }];
        record.state = state;
        Ok(self.write(record)?)
    }

    /// Reads the journal without touching it, as `status` does. `None` where there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn peek(path: &Path) -> Result<Option<Self>, DurableError> {
        let places = places(path);
        Ok(match (find(&places[0])?, find(&places[1])?) {
            (Found::Damaged(e), Found::Damaged(_)) | (Found::Nothing, Found::Damaged(e)) => return Err(e),
            (first, second) => {
                newest(first, second).map(|(at, record)| Self { places, at, record, owes: false, start: Start::Uneven })
            }
        })
    }

    /// Whether there is no second file, as of a device that is new, and of one that has lost it.
    ///
    /// # Errors
    ///
    /// That cannot be known.
    pub fn is_alone(path: &Path) -> Result<bool, DurableError> {
        let [_, second] = places(path);
        match second.symlink_metadata().map_err(DurableError::io("look for", &second)) {
            Ok(_) => Ok(false),
            Err(DurableError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(true),
            // There is one that the disk does not give.
            Err(e) if e.is_damage() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes one transition and writes it down. Only then may its action be done.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<Step, JournalError> {
        self.settle()?;
        let mut step = step(self.record.state.clone(), event, now)?;
        let counts = step.spends.is_some() || step.succeeds.is_some() || step.fails.is_some();
        let quiet = step.told.is_empty() && !counts;
        if quiet && step.state == self.record.state {
            return Ok(step);
        }
        let mut record = self.record.clone();
        record.state = step.state.clone();
        if let Some(attempt) = &step.spends {
            record.retry(attempt.tried(), Tries::spend);
        }
        if let Some(attempt) = &step.succeeds {
            record.retry(attempt.tried(), Tries::succeed);
        }
        if let Some(Failure { attempt, reason, for_good }) = &step.fails {
            let fail =
                |tries: Tries| tries.fail(attempt.policy, (reason, *for_good), now, attempt.order, attempt.jitter);
            let is_over = record.retry(attempt.tried(), fail).is_over(attempt.policy);
            let subject = Some(attempt.subject());
            for told in step.told.iter_mut().filter(|t| t.subject == subject && t.reason.as_ref() == Some(reason)) {
                told.permanent = is_over;
            }
        }
        record.tell(step.told.clone(), self.owes);
        if let Some(told) = step.told.iter().rev().find(|t| t.phase.is_outcome()) {
            record.last = Some(Outcome { told: told.clone(), at: whole_second(now) });
        }
        self.write(record)?;
        Ok(step)
    }

    /// Writes down what is told of approvals that the machine is not at: that they are stopped, where that was not the last
    /// word on them or was said of an earlier order, and that they are offered again, where it was.
    pub fn answer(&mut self, answers: impl IntoIterator<Item = Told>) -> Result<(), JournalError> {
        self.settle()?;
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
        record.tell(news, self.owes);
        Ok(self.write(record)?)
    }

    /// Writes down what is to be told although the machine did not move.
    pub fn mention(&mut self, told: Told) -> Result<(), JournalError> {
        self.settle()?;
        let mut record = self.record.clone();
        record.tell(vec![told], self.owes);
        Ok(self.write(record)?)
    }

    /// Writes down once more what is written already: whether the disk takes it.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn write_again(&mut self) -> Result<(), JournalError> {
        self.settle()?;
        Ok(self.write(self.record.clone())?)
    }

    /// Writes the next record over the one before the last; from the claim on over the last one too. What is done from then
    /// on is not undone by doing what came before it once more: a claim would never be released, or a device restarted that
    /// is in use again. So no single file decides there.
    fn write(&mut self, mut record: Record) -> Result<(), DurableError> {
        record.written = self.record.written.saturating_add(1);
        let at = 1_usize.saturating_sub(self.at);
        let next = self.places.get(at).into_iter();
        let last = self.places.get(self.at).filter(|_| record.state.is_committed());
        for place in next.chain(last) {
            durable::write(place, &record.to_bytes(place)?, durable::OPEN)?;
        }
        (self.record, self.at) = (record, at);
        Ok(())
    }

    /// Brings the record to both places where it belongs to both: the power failed between the one and the other, and nothing
    /// has been done by it yet.
    fn even_out(&self) -> Result<(), DurableError> {
        let Some(other) = self.places.get(1_usize.saturating_sub(self.at)).filter(|_| self.state().is_committed())
        else {
            return Ok(());
        };
        let is_even = matches!(find(other)?, Found::Whole(found) if found.written == self.record.written);
        if is_even { Ok(()) } else { durable::write(other, &self.record.to_bytes(other)?, durable::OPEN) }
    }

    /// Whether the outbox may lack something of what was told. What is told next comes behind that then, with the same number,
    /// and not in its place.
    pub fn owes(&mut self, owes: bool) {
        self.owes = owes;
    }

    /// What [`Journal::owes`] was told last.
    pub const fn is_owing(&self) -> bool {
        self.owes
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
        self.settle()?;
        if self.state().is_committed() {
            return Ok(());
        }
        let mut record = self.record.clone();
        for (approval, counter) in lifts {
            for tried in record.tried.iter_mut().filter(|t| t.approval == approval) {
                tried.tries = std::mem::take(&mut tried.tries).lifted(counter);
            }
        }
        if record == self.record { Ok(()) } else { Ok(self.write(record)?) }
    }

    /// Remembers steps of approvals as done: what they lead to runs, by whichever approval it came, and by whichever program of the
    /// agent. Not while an attempt is past the point of no return, for then it has proven nothing yet.
    pub fn fulfilled(
        &mut self,
        steps: impl IntoIterator<Item = (ApprovalId, Digest, Policy)>,
    ) -> Result<(), JournalError> {
        self.settle()?;
        if self.state().is_committed() {
            return Ok(());
        }
        let mut record = self.record.clone();
        for step in steps {
            if !record.tried.iter().any(|t| t.is(&step.0, &step.1) && t.tries.is_done()) {
                record.retry(step, Tries::succeed);
            }
        }
        if record == self.record { Ok(()) } else { Ok(self.write(record)?) }
    }

    /// Lets no try wait longer from now on than was signed.
    pub fn bound_waits(&mut self, now: Timestamp) -> Result<(), JournalError> {
        self.settle()?;
        let mut record = self.record.clone();
        for tried in &mut record.tried {
            tried.tries = std::mem::take(&mut tried.tries).within(tried.policy, now);
        }
        if record == self.record { Ok(()) } else { Ok(self.write(record)?) }
    }

    /// How the last attempt ended.
    pub fn last(&self) -> Option<&Outcome> {
        self.record.last.as_ref()
    }
}

/// Both places of the journal at `path`.
fn places(path: &Path) -> [PathBuf; 2] {
    [path.to_owned(), path.with_extension("second.json")]
}

fn find(place: &Path) -> Result<Found, DurableError> {
    let read = durable::read(place, durable::MAX_STATE_BYTES);
    match read.and_then(|bytes| bytes.map(|bytes| Record::of(&bytes, place)).transpose()) {
        Ok(None) => Ok(Found::Nothing),
        Ok(Some(record)) => Ok(Found::Whole(Box::new(record))),
        Err(e) if e.is_damage() => Ok(Found::Damaged(e)),
        Err(e) => Err(e),
    }
}

/// The newest whole record, and where it lies.
fn newest(first: Found, second: Found) -> Option<(usize, Record)> {
    let mut best: Option<(usize, Record)> = None;
    for (at, found) in [first, second].into_iter().enumerate() {
        match found {
            Found::Whole(record) if best.as_ref().is_none_or(|(_, best)| best.written < record.written) => {
                best = Some((at, *record));
            }
            Found::Damaged(e) => {
                tracing::warn!(error = %e, "a record of the journal is not whole, or not to be read; the one before it counts");
            }
            Found::Whole(_) | Found::Nothing => {}
        }
    }
    best
}

impl Tried {
    fn is(&self, approval: &ApprovalId, manifest: &Digest) -> bool {
        self.approval == *approval && self.manifest == *manifest
    }
}

impl Record {
    fn fresh(state: State, least_seq: u64) -> Self {
        let seq = least_seq.saturating_add(1);
        Self { format: 1, written: 0, seq, state, told: Vec::new(), tried: Vec::new(), obeyed: Vec::new(), last: None }
    }

    /// The same, of a device that has told as much as that.
    fn from(mut self, least_seq: u64) -> Self {
        if self.seq < least_seq {
            // What it tells was told, as was what came after it and is lost.
            self.seq = least_seq;
            self.told.clear();
        }
        self
    }

    /// The record, where the bytes are whole.
    fn of(bytes: &[u8], place: &Path) -> Result<Self, DurableError> {
        let torn = || DurableError::Torn { path: place.to_owned() };
        let (line, sum) = bytes
            .strip_suffix(b"\n")
            .and_then(|bytes| bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?))
            .and_then(|(line, sum)| Some((line.strip_suffix(b"\n")?, sum)))
            .ok_or_else(torn)?;
        if Digest::of(line).to_string().as_bytes() != sum {
            return Err(torn());
        }
        let record: Self =
            json::from_slice(line).map_err(|source| DurableError::Damaged { path: place.to_owned(), source })?;
        if record.format == 1 { Ok(record) } else { Err(torn()) }
    }

    fn to_bytes(&self, place: &Path) -> Result<Vec<u8>, DurableError> {
        let mut bytes =
            json::to_canonical(self).map_err(|source| DurableError::Damaged { path: place.to_owned(), source })?;
        let sum = Digest::of(&bytes);
        bytes.extend_from_slice(format!("\n{sum}\n").as_bytes());
        Ok(bytes)
    }

    fn tell(&mut self, told: Vec<Told>, owes: bool) {
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
        if owes && !self.told.is_empty() {
            // Nothing before it is dropped: its place is what the outbox knows it by.
            for told in told {
                if self.told.len() < if told.phase.is_outcome() { 2 * MAX_OWED } else { MAX_OWED } {
                    self.told.push(told);
                }
            }
        } else {
            self.seq = self.seq.saturating_add(1);
            self.told = told;
        }
    }

    /// Changes what was tried of an approval's step, and says what it is now.
    fn retry(&mut self, step: (ApprovalId, Digest, Policy), change: impl FnOnce(Tries) -> Tries) -> Tries {
        let (approval, manifest, policy) = step;
        let before = match self.tried.iter().position(|t| t.is(&approval, &manifest)) {
            Some(i) => self.tried.remove(i).tries,
            None => Tries::default(),
        };
        let tries = change(before);
        self.tried.push(Tried { approval, manifest, policy, tries: tries.clone() });
        let surplus = self.tried.len().saturating_sub(MAX_TRIED);
        self.tried.drain(..surplus);
        tries
    }
}

#[cfg(test)]
mod tests;
