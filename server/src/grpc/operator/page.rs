//! How many rows of a list one answer has.
//!
//! Attack: a list that grows for years, or is made to grow, asked for as a whole by many. So a list comes in pages. A program
//! of before that was so asks for no number of rows, and would take a page for the whole: it gets all, or a refusal.
//!
//! Attack: rows as long as they may be, a page of which is no message any more.

use prost::Message;
use suture_core::limits::{MAX_MESSAGE_BYTES, MAX_ROWS_PER_CALL, MAX_UNPAGED_ROWS};
use tonic::Code;

use super::super::Refusal;

/// What of a list one answer has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    most: u32,
    /// Whether the caller takes it for the whole.
    is_whole: bool,
}

impl Page {
    /// What is asked for by so many rows; 0: all.
    pub(super) fn of(limit: u32) -> Self {
        match limit {
            0 => Self { most: MAX_UNPAGED_ROWS, is_whole: true },
            limit => Self { most: limit.min(MAX_ROWS_PER_CALL), is_whole: false },
        }
    }

    /// The same of a list that always came in pages; 0: as many as one has.
    pub(super) fn paged(limit: u32) -> Self {
        Self::of(if limit == 0 { MAX_ROWS_PER_CALL } else { limit })
    }

    /// How many rows to look for: one more, by which it is known whether there are more.
    pub(super) const fn wanted(self) -> u32 {
        self.most + 1
    }

    /// Leaves what the answer has; whether there is more.
    pub(super) fn cut<T>(self, found: &mut Vec<T>, what: &str) -> Result<bool, Refusal> {
        self.leave(found, self.most as usize, what)
    }

    /// Leaves as many rows, from the first on, as fit into one message; whether some are left out.
    pub(super) fn fit(self, rows: &mut Vec<impl Message>, what: &str) -> Result<bool, Refusal> {
        // 16 bytes for what stands before a row, and as much for what stands beside all.
        let mut room = MAX_MESSAGE_BYTES - 16;
        let fitting = rows.iter().take_while(|row| {
            let bytes = row.encoded_len().saturating_add(16);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let fitting = fitting.count();
        self.leave(rows, fitting, what)
    }

    fn leave<T>(self, rows: &mut Vec<T>, most: usize, what: &str) -> Result<bool, Refusal> {
        let more = rows.len() > most;
        if more && self.is_whole {
            let text = format!(
                "there are more {what} than the {most} of one answer, and this program asks for all at once: use a suturectl as \
                 new as the server"
            );
            return Err(Refusal::new(Code::FailedPrecondition, text));
        }
        rows.truncate(most);
        Ok(more)
    }
}
