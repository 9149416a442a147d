//! What somebody remembers of a log that is not trusted, and what is believed of it from then on.
//!
//! | attack | stopped by |
//! | --- | --- |
//! | entries dropped, reordered or edited since they were seen | the next checkpoint does not extend the one that is remembered |
//! | a record that was set back | a checkpoint of fewer entries extends nothing |
//! | one record for some and another for others | each goes on with its own; where two compare what they remember, it shows |
//! | a record under another key | a key is taken in place of another by the older one's signature alone ([`KeyChange`]) |
//!
//! What is refused changes nothing of what is remembered.

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, KeyChange, LogKey};
use super::proof::extends;
use super::tree::Head;
use crate::digest::Digest;
use crate::limits::{MAX_KEY_CHANGES, MAX_PROOF_HASHES};

/// The newest of a log, as its server shows it to somebody who has said what he remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The newest checkpoint, a note.
    pub checkpoint: String,
    /// The proof that it extends the one that is remembered.
    pub consistency: Vec<Digest>,
    /// The changes of the log's key since the one that is remembered, oldest first.
    pub succession: Vec<String>,
}

/// What is remembered: JSON, kept where it is not lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// The key by which the log is known.
    pub key: LogKey,
    /// The checkpoint that was seen last, as it was signed; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
}

/// What the news came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing new.
    Stands,
    /// The log has grown, or is seen for the first time, or has another key.
    Grown,
}

/// Why the news were refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not signed by the key that is known, and no signed change leads from it to another.
    #[error("the audit record's checkpoint is not signed by the key that this log is known by")]
    Key(#[source] CheckpointError),
    /// A change of the key that the key before has not signed.
    #[error("the audit record's key is said to have changed, and the old key has not signed that")]
    Change(#[source] CheckpointError),
    /// More hashes or changes than there can be.
    #[error("the audit record's proof is longer than a proof can be")]
    TooLong,
    /// The log, as it is signed, is not the one that was seen, grown.
    #[error(
        "the audit record was rewritten, or is another one: what is signed now ({offered}) does not extend what was signed before ({seen})"
    )]
    Rewritten {
        /// What is remembered.
        seen: Head,
        /// What is signed now.
        offered: Head,
        /// The checkpoint that is signed now: with the one that is remembered it is the evidence.
        checkpoint: String,
    },
}

impl Witness {
    /// Knows a log by its key, and nothing of it yet.
    pub fn new(key: LogKey) -> Self {
        Self { key, checkpoint: None, head: None }
    }

    /// How many entries the log had.
    pub fn size(&self) -> u64 {
        self.head.map_or(0, |head| head.size)
    }

    /// Takes in what the log's server shows.
    ///
    /// # Errors
    ///
    /// It does not go on from what is remembered. Nothing of that is changed then.
    pub fn take(&mut self, news: &News) -> Result<Taken, Refused> {
        let News { checkpoint, consistency, succession } = news;
        if succession.len() > MAX_KEY_CHANGES || consistency.len() > MAX_PROOF_HASHES {
            return Err(Refused::TooLong);
        }
        let mut key = self.key.clone();
        for change in succession {
            key = KeyChange::verify(change, &key).map_err(Refused::Change)?.next().clone();
        }
        let offered = Checkpoint::verify(checkpoint, &key).map_err(Refused::Key)?;
        let (seen, head) = (self.head.unwrap_or_else(Head::empty), offered.head());
        if !extends(&seen, &head, consistency) {
            return Err(Refused::Rewritten { seen, offered: head, checkpoint: offered.note().to_owned() });
        }
        let taken = if self.head == Some(head) && self.key == key { Taken::Stands } else { Taken::Grown };
        if taken == Taken::Grown {
            *self = Self { key, checkpoint: Some(offered.note().to_owned()), head: Some(head) };
        }
        Ok(taken)
    }
}
