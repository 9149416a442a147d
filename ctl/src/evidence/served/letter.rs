//! How far each letter came, by the server's word.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use suture_core::clock::{utc, utc_or_none};
use suture_core::digest::Digest;
use suture_core::id::HdoId;
use suture_core::notice::Side;
use suture_proto::{parse_digest, v1};

use super::{at, at_or_none};
use crate::failure::Outcome;

/// A letter's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letter {
    /// The hospital that writes, or is written to.
    pub hdo: HdoId,
    /// Who writes.
    pub from: Side,
    /// Its number in the series.
    pub number: u64,
    /// When it was there for the other side.
    #[serde(with = "utc")]
    pub published: Timestamp,
    /// That a program of the other side has fetched and verified it, or a contact has taken it.
    pub delivered: Option<Step>,
    /// That a person of the other side has opened it.
    pub read: Option<Step>,
    /// That it was answered.
    pub acknowledged: Option<Answer>,
    /// By when an answer was asked for; none where none was.
    #[serde(with = "utc_or_none")]
    pub answer_by: Option<Timestamp>,
    /// How often it was repeated since.
    pub repeats: u32,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// An operator's name, or `webhook NAME`.
    pub by: String,
    /// When.
    #[serde(with = "utc")]
    pub at: Timestamp,
}

/// How it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Who.
    pub by: String,
    /// When.
    #[serde(with = "utc")]
    pub at: Timestamp,
    /// What was said.
    pub text: String,
    /// The answering letter; none where the answer is on a certificate alone.
    pub letter_sha256: Option<Digest>,
}

fn step(step: Option<v1::LetterStep>) -> Outcome<Option<Step>> {
    match step {
        Some(v1::LetterStep { by, at_ms }) if at_ms != 0 => Ok(Some(Step { by, at: at(at_ms)? })),
        _ => Ok(None),
    }
}

impl Letter {
    /// What the server says.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of((hdo, from): (&HdoId, Side), stored: &v1::StoredLetter) -> Outcome<Self> {
        let sha256 = &stored.answer_sha256;
        let letter_sha256 = (!sha256.is_empty()).then(|| parse_digest("answer_sha256", sha256)).transpose()?;
        let answer = |Step { by, at }| Answer { by, at, text: stored.answer.clone(), letter_sha256 };
        Ok(Self {
            hdo: hdo.clone(),
            from,
            number: stored.number,
            published: at(stored.stored_ms)?,
            delivered: step(stored.delivered.clone())?,
            read: step(stored.read.clone())?,
            acknowledged: step(stored.answered.clone())?.map(answer),
            answer_by: at_or_none(stored.answer_by_ms)?,
            repeats: stored.repeats,
        })
    }

    /// Whether an answer is missing that should be there by now.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.acknowledged.is_none() && self.answer_by.is_some_and(|by| by < now)
    }
}
