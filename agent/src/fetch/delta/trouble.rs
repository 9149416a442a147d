//! What was wrong with the deltas of one payload: a few frames may be, as where a block of the old slot is damaged, and come
//! as chunks; more, or what no honest server sends, end the use of deltas for this payload. It lasts over restarts.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use suture_core::digest::Digest;
use suture_core::limits::{MAX_TEXT_BYTES, MAX_WRONG_DELTA_FRAMES};

use super::super::{Counters, FetchError};
use crate::durable;

/// As it lies on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// What the device held, ascending: from another version other deltas lead, which are judged anew.
    held: Vec<Digest>,
    /// Frames that were wrong.
    frames: u32,
    /// Whether no more are fetched.
    over: bool,
    /// What was wrong last.
    why: String,
}

/// The record of one payload.
#[derive(Debug)]
pub(super) struct Trouble {
    path: PathBuf,
    record: Record,
    counters: Arc<Counters>,
}

impl Trouble {
    /// What is known, as long as the device holds what it held then. What cannot be read is not known.
    pub(super) fn open(path: PathBuf, mut held: Vec<Digest>, counters: Arc<Counters>) -> Self {
        held.sort_unstable();
        let known = durable::read_json::<Record>(&path).ok().flatten().filter(|record| record.held == held);
        let record = known.unwrap_or(Record { held, frames: 0, over: false, why: String::new() });
        let trouble = Self { path, record, counters };
        trouble.tell();
        trouble
    }

    /// Whether deltas are of no use any more.
    pub(super) fn is_over(&self) -> bool {
        self.record.over
    }

    /// A frame was wrong.
    pub(super) fn frame(&mut self, why: &str) -> Result<(), FetchError> {
        self.record.frames = self.record.frames.saturating_add(1);
        self.record.over = self.record.frames >= MAX_WRONG_DELTA_FRAMES;
        self.write(why)
    }

    /// A delta is refused as a whole.
    pub(super) fn end(&mut self, why: &str) -> Result<(), FetchError> {
        self.record.over = true;
        self.write(why)
    }

    fn write(&mut self, why: &str) -> Result<(), FetchError> {
        self.record.why = why.chars().take(MAX_TEXT_BYTES / 4).collect();
        durable::write_json(&self.path, &self.record, durable::OPEN)?;
        tracing::warn!(why = self.sentence(), "a delta is wrong");
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        if self.record.frames > 0 || self.record.over {
            self.counters.delta_refused(self.sentence());
        }
    }

    /// For people.
    fn sentence(&self) -> String {
        let Record { frames, over, why, .. } = &self.record;
        let were = if *frames == 1 { "frame was" } else { "frames were" };
        match (over, frames) {
            (false, _) => format!("{frames} of its deltas' {were} wrong and comes as chunks; the last: {why}"),
            (true, &(MAX_WRONG_DELTA_FRAMES..)) => {
                format!("a delta was refused, and the rest comes as chunks: {frames} {were} wrong, the last: {why}")
            }
            (true, _) => format!("a delta was refused, and the rest comes as chunks: {why}"),
        }
    }
}
