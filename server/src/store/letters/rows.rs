//! A letter's row.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::HdoId;

use super::TABLE;
use crate::store::{StoreError, digest, from_ms, parsed, to_u64};

/// A letter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) hdo: HdoId,
    pub(crate) number: u64,
    pub(crate) sha256: Digest,
    pub(crate) content: Vec<u8>,
    pub(crate) stored: Timestamp,
    pub(crate) answer_by: Option<Timestamp>,
    pub(crate) delivered: Option<Step>,
    pub(crate) read: Option<Step>,
    pub(crate) answered: Option<(Step, Answer)>,
    pub(crate) repeats: u32,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) by: String,
    pub(crate) text: String,
    /// The letter that it is; none where it is on a certificate alone.
    pub(crate) sha256: Option<Digest>,
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) hdo: String,
    pub(super) number: i64,
    sha256: Vec<u8>,
    content: Vec<u8>,
    stored_ms: i64,
    answer_by_ms: Option<i64>,
    delivered_ms: Option<i64>,
    delivered_by: Option<String>,
    read_ms: Option<i64>,
    read_by: Option<String>,
    answered_ms: Option<i64>,
    answered_by: Option<String>,
    answer: Option<String>,
    answer_sha256: Option<Vec<u8>>,
    repeats: i64,
}

fn step(column: &'static str, at: Option<i64>, by: Option<String>) -> Result<Option<Step>, StoreError> {
    match (at, by) {
        (Some(at), Some(by)) => Ok(Some(Step { by, at: from_ms(TABLE, column, at)? })),
        _ => Ok(None),
    }
}

impl Row {
    pub(super) fn read(self) -> Result<Kept, StoreError> {
        let answered = step("answered_ms", self.answered_ms, self.answered_by)?;
        let sha256 = self.answer_sha256.map(|bytes| digest(TABLE, "answer_sha256", &bytes)).transpose()?;
        let text = self.answer.unwrap_or_default();
        Ok(Kept {
            hdo: parsed(TABLE, "hdo", &self.hdo)?,
            number: to_u64(TABLE, "number", self.number)?,
            sha256: digest(TABLE, "sha256", &self.sha256)?,
            content: self.content,
            stored: from_ms(TABLE, "stored_ms", self.stored_ms)?,
            answer_by: self.answer_by_ms.map(|ms| from_ms(TABLE, "answer_by_ms", ms)).transpose()?,
            delivered: step("delivered_ms", self.delivered_ms, self.delivered_by)?,
            read: step("read_ms", self.read_ms, self.read_by)?,
            answered: answered.map(|step| {
                let by = step.by.clone();
                (step, Answer { by, text, sha256 })
            }),
            repeats: u32::try_from(self.repeats).unwrap_or(u32::MAX),
        })
    }
}
