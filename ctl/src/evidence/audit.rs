//! Entries of the server's audit record that concern what the evidence is about, each with the proof that it stands in the
//! record of one signed checkpoint (RFC 6962, section 2.1.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use suture_core::audit::{Checkpoint, Entry, Head, LogKey, includes};
use suture_core::digest::Digest;
use suture_core::limits::MAX_PROOF_HASHES;

use super::folder::Reading;
use crate::failure::{Failure, Outcome};

/// The key that signs the record's checkpoints.
pub const KEY: &str = "audit/key";
/// The checkpoint.
pub const CHECKPOINT: &str = "audit/checkpoint";
/// The entries, one a line, ascending.
pub const ENTRIES: &str = "audit/entries.jsonl";

/// One entry, with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its place in the record, from 1.
    pub seq: u64,
    /// The recorded text.
    pub payload: String,
    /// The hashes from its leaf to the root.
    pub path: Vec<Digest>,
}

/// The record as far as it is here.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whose key the checkpoint is signed by.
    pub key: LogKey,
    /// How long the record was.
    pub head: Head,
    /// The entries, ascending.
    pub entries: Vec<Entry>,
}

/// The file of these lines.
///
/// # Errors
///
/// They cannot be written.
pub fn to_bytes(lines: &[Line]) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        let line =
            suture_core::json::to_canonical(line).map_err(|e| Failure::new("cannot write an entry").because(&e))?;
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

impl Record {
    /// Verifies checkpoint and entries; nothing where the folder has none.
    ///
    /// # Errors
    ///
    /// One does not verify; it is named.
    pub fn read(files: &Reading<'_>) -> Outcome<Option<Self>> {
        let (Some(key), Some(note), Some(lines)) = (files.get(KEY), files.get(CHECKPOINT), files.get(ENTRIES)) else {
            return Ok(None);
        };
        let text = |path: &str, bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| Failure::untrusted(format!("{path}: it is no text")))
        };
        let key = text(KEY, key)?;
        let key: LogKey = key
            .strip_suffix('\n')
            .unwrap_or_default()
            .parse()
            .map_err(|e| Failure::untrusted(format!("{KEY}: it is no key")).because(&e))?;
        let checkpoint = Checkpoint::verify(&text(CHECKPOINT, note)?, &key)
            .map_err(|e| Failure::untrusted(format!("{CHECKPOINT}: it does not verify")).because(&e))?;
        let head = checkpoint.head();
        let mut entries: Vec<Entry> = Vec::new();
        for (number, line) in (1_u64..).zip(text(ENTRIES, lines)?.split_inclusive('\n')) {
            let refused = |why: &str| Failure::untrusted(format!("{ENTRIES}, line {number}: {why}"));
            let line = line.strip_suffix('\n').ok_or_else(|| refused("it is cut short"))?;
            let line: Line =
                suture_core::json::from_slice(line.as_bytes()).map_err(|e| refused("it cannot be read").because(&e))?;
            if entries.last().is_some_and(|last| last.seq >= line.seq) {
                return Err(refused("it is out of order"));
            }
            let digest = Digest::of(line.payload.as_bytes());
            let at = line.seq.checked_sub(1).filter(|_| line.path.len() <= MAX_PROOF_HASHES);
            if !at.is_some_and(|at| includes(&head, at, &digest, &line.path)) {
                return Err(refused(&format!("entry {} does not stand in the record of the checkpoint", line.seq)));
            }
            let entry = Entry::parse(line.seq, line.payload.as_bytes())
                .map_err(|e| refused("its entry cannot be read").because(&e))?;
            entries.push(entry);
        }
        Ok(Some(Self { key, head, entries }))
    }
}

/// What entries are looked for by: ids of rollouts and devices, and bundles.
#[derive(Debug, Clone, Default)]
pub struct Names(std::collections::BTreeSet<String>);

impl Names {
    /// Adds one.
    pub fn add(&mut self, name: impl std::fmt::Display) {
        self.0.insert(name.to_string());
    }

    /// Whether an entry is about one of them, or names one in its particulars.
    pub fn concern(&self, entry: &Entry) -> bool {
        self.0.contains(&entry.subject) || entry.detail.values().any(|value| self.in_value(value))
    }

    fn in_value(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.0.contains(text),
            Value::Array(values) => values.iter().any(|value| self.in_value(value)),
            Value::Object(fields) => fields.values().any(|value| self.in_value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}
