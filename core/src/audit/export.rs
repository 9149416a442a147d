//! The record as a file, which anybody can verify who has the log's key: one JSON line with the checkpoint, then one for each
//! entry. And one entry as a file, with the proof that it stands in the record.
//!
//! Every line is canonical and holds the root behind its entry, so that one changed byte anywhere is noticed and the entry in
//! which it was changed is named.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, LogKey};
use super::entry::{AuditError, Entry};
use super::proof::includes;
use super::reading::{Leaf, Reading};
use super::tree::Head;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::MAX_PROOF_HASHES;

const EXPORT: &str = "suture-audit-export";
const PROOF: &str = "suture-audit-proof";

/// Why an export or a proof was refused.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The first line.
    #[error("the first line is no checkpoint of an exported audit record")]
    First,
    /// The checkpoint.
    #[error("the checkpoint does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// A line that cannot be read, or is not as it was written.
    #[error("entry {seq} was changed: its line {what}")]
    Line {
        /// Which entry should stand there.
        seq: u64,
        /// How it differs.
        what: &'static str,
    },
    /// An entry that does not verify.
    #[error(transparent)]
    Entry(#[from] AuditError),
    /// The file of one entry.
    #[error("this is no proof of an audit entry, or it was changed")]
    Proof(#[source] JsonError),
    /// The path does not lead to the checkpoint.
    #[error("entry {0} does not stand in the record of that checkpoint")]
    Path(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "_type")]
    kind: String,
    format: u32,
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    payload_sha256: Digest,
    root: Digest,
}

/// Reads a line that must be the one way to write what it says.
fn canonical<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let read: T = json::from_slice(line).ok()?;
    (json::to_canonical(&read).ok()?.as_slice() == line).then_some(read)
}

/// The first line of an export, without its line break.
///
/// # Errors
///
/// It cannot be written.
pub fn export_head(checkpoint: &Checkpoint) -> Result<Vec<u8>, JsonError> {
    json::to_canonical(&First { kind: EXPORT.to_owned(), format: 1, checkpoint: checkpoint.note().to_owned() })
}

/// The line of an entry, without its line break.
///
/// # Errors
///
/// Its payload is no text.
pub fn export_line(leaf: &Leaf) -> Result<Vec<u8>, AuditError> {
    let Leaf { seq, payload, payload_sha256, root } = leaf;
    let payload = payload.as_ref().map(|bytes| String::from_utf8(bytes.clone()));
    let payload = payload.transpose().map_err(|_| AuditError::Payload(*seq))?;
    let line = Line { seq: *seq, payload, payload_sha256: *payload_sha256, root: *root };
    json::to_canonical(&line).map_err(|source| AuditError::Json { seq: *seq, source })
}

/// What a whole export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The head to which it leads.
    pub head: Head,
    /// How many entries are there as their digest alone.
    pub withheld: u64,
}

/// Verifies an export line by line.
#[derive(Debug)]
pub struct ExportReader {
    checkpoint: Checkpoint,
    reading: Reading,
    withheld: u64,
}

impl ExportReader {
    /// Begins with the first line, by the log's key.
    ///
    /// # Errors
    ///
    /// It is none, or the key has not signed the checkpoint.
    pub fn open(first: &[u8], key: &LogKey) -> Result<Self, ExportError> {
        let First { kind, format, checkpoint } = canonical(first).ok_or(ExportError::First)?;
        if kind != EXPORT || format != 1 {
            return Err(ExportError::First);
        }
        let checkpoint = Checkpoint::verify(&checkpoint, key)?;
        Ok(Self { checkpoint, reading: Reading::from_start(Head::empty()), withheld: 0 })
    }

    /// Takes the next entry's line, without its line break.
    ///
    /// # Errors
    ///
    /// It was changed.
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Entry>, ExportError> {
        let seq = self.reading.size().saturating_add(1);
        let not = |what| ExportError::Line { seq, what };
        let Line { seq: stands, payload, payload_sha256, root } =
            canonical(line).ok_or_else(|| not("is not as it was written"))?;
        let payload = payload.map(String::into_bytes);
        let entry = self.reading.take(&Leaf { seq: stands, payload, payload_sha256, root })?;
        self.withheld = self.withheld.saturating_add(u64::from(entry.is_none()));
        Ok(entry)
    }

    /// Ends: the entries must lead to the checkpoint.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn finish(self) -> Result<Summary, ExportError> {
        let head = self.reading.finish(&self.checkpoint.head())?;
        Ok(Summary { head, withheld: self.withheld })
    }
}

/// One entry, with the proof that it stands in the record of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenEntry {
    /// Always [`ProvenEntry::TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// Layout of this document; 1.
    pub format: u32,
    /// The checkpoint, as the log has signed it.
    pub checkpoint: String,
    /// Its place, from 1.
    pub seq: u64,
    /// The payload, unless it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// SHA-256 of the payload.
    pub payload_sha256: Digest,
    /// The hashes from the leaf to the root.
    pub path: Vec<Digest>,
}

impl ProvenEntry {
    /// The value of `_type`.
    pub const TYPE: &'static str = PROOF;

    /// The file.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ExportError> {
        json::to_canonical(self).map_err(ExportError::Proof)
    }

    /// Reads a file; [`ProvenEntry::verify`] says whether it is true.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExportError> {
        let proof: Self = json::from_slice(bytes).map_err(ExportError::Proof)?;
        let sound = proof.kind == PROOF && proof.format == 1 && proof.path.len() <= MAX_PROOF_HASHES;
        if sound { Ok(proof) } else { Err(ExportError::Path(proof.seq)) }
    }

    /// Verifies it by the log's key; gives the head, and the entry where it is not withheld.
    ///
    /// # Errors
    ///
    /// The entry was changed or does not stand in that record.
    pub fn verify(&self, key: &LogKey) -> Result<(Head, Option<Entry>), ExportError> {
        let head = Checkpoint::verify(&self.checkpoint, key)?.head();
        let payload = self.payload.as_ref().map(String::as_bytes);
        if payload.is_some_and(|payload| Digest::of(payload) != self.payload_sha256) {
            return Err(AuditError::Payload(self.seq).into());
        }
        let stands = self.seq.checked_sub(1).is_some_and(|at| includes(&head, at, &self.payload_sha256, &self.path));
        if !stands {
            return Err(ExportError::Path(self.seq));
        }
        Ok((head, payload.map(|payload| Entry::parse(self.seq, payload)).transpose()?))
    }
}
