//! How far a letter has come, by the server's word.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_proto::{parse_digest, v1};

use crate::failure::Outcome;

/// An instant for people; none where there is none.
pub fn instant(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().filter(|_| ms != 0).map(format_utc)
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepShown {
    /// An operator's name, or `webhook NAME` or `syslog NAME`.
    pub by: String,
    /// When.
    pub at: String,
}

impl StepShown {
    fn read(step: Option<v1::LetterStep>) -> Option<Self> {
        let v1::LetterStep { by, at_ms } = step?;
        Some(Self { by, at: instant(at_ms)? })
    }

    /// In one cell.
    pub fn to_text(step: &Option<Self>) -> String {
        step.as_ref().map_or_else(String::new, |s| format!("{} {}", s.by, s.at))
    }
}

/// How a letter was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Who.
    pub by: String,
    /// When.
    pub at: String,
    /// What was said.
    pub text: String,
    /// The answering letter; none where the answer is on a certificate, and so on the server's word, alone.
    pub letter_sha256: Option<Digest>,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct States {
    /// When it was published.
    pub published: Option<String>,
    /// To whom it was delivered.
    pub delivered: Option<StepShown>,
    /// Who has opened it.
    pub read: Option<StepShown>,
    /// How it was answered.
    pub acknowledged: Option<Answered>,
    /// By when it should be; none where no answer is asked for.
    pub answer_by: Option<String>,
    /// How often it was repeated since.
    pub repeats: u32,
    #[serde(skip)]
    answer_by_ms: i64,
}

impl States {
    /// Out of the server's answer.
    pub fn read(stored: v1::StoredLetter) -> Outcome<Self> {
        let v1::StoredLetter {
            number: _,
            content: _,
            stored_ms,
            delivered,
            read,
            answered,
            answer,
            answer_sha256,
            answer_by_ms,
            repeats,
        } = stored;
        let letter_sha256 =
            (!answer_sha256.is_empty()).then(|| parse_digest("answer_sha256", &answer_sha256)).transpose()?;
        let acknowledged =
            StepShown::read(answered).map(|StepShown { by, at }| Answered { by, at, text: answer, letter_sha256 });
        Ok(Self {
            published: instant(stored_ms),
            delivered: StepShown::read(delivered),
            read: StepShown::read(read),
            acknowledged,
            answer_by: instant(answer_by_ms),
            repeats,
            answer_by_ms,
        })
    }

    /// Whether an answer is asked for and has not come.
    pub fn is_open(&self) -> bool {
        self.answer_by.is_some() && self.acknowledged.is_none()
    }

    /// Whether it should have come by now.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.is_open() && self.answer_by_ms < now.as_millisecond()
    }

    /// In one cell.
    pub fn to_text(&self, now: Timestamp) -> String {
        match (&self.acknowledged, &self.answer_by) {
            (Some(Answered { by, at, letter_sha256, .. }), _) => {
                let how = if letter_sha256.is_some() { "signed" } else { "by certificate" };
                format!("acknowledged by {by} {at}, {how}")
            }
            (None, Some(by)) if self.is_overdue(now) => format!("OVERDUE since {by}, repeated {} times", self.repeats),
            (None, Some(by)) => format!("due by {by}"),
            (None, None) => String::new(),
        }
    }
}
