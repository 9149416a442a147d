//! Checkpoints: the tree's head as the server signs it, in the form of C2SP's `tlog-checkpoint`, and the key that signs it.
//!
//! ```text
//! <origin: the server's trust domain>
//! <size>
//! <root's hash in base64>
//! ```
//!
//! No time stands in it, so that one head has one checkpoint, whoever of several servers signs it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::note::{self, ED25519, NoteError};
use super::tree::Head;
use crate::digest::Digest;
use crate::id::{IdError, TrustDomain};
use crate::limits::MAX_AUDIT_ENTRIES;
use crate::sign::{PublicKey, SignError, Signer};

/// The first line of a key change.
const CHANGE: &str = "suture-log-key/v1";

/// Why a checkpoint, a key or a key change was refused.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It does not say what it must.
    #[error("this is no checkpoint of {0}: its text has another form")]
    Form(TrustDomain),
    /// The log's key is no verifier key.
    #[error("this is no log key: it has the form NAME+HASH+KEY, as `suturectl audit key` prints it")]
    Key,
    /// Its name is no trust domain.
    #[error("the log key's name is no trust domain")]
    Name(#[from] IdError),
}

/// The public key of a log, with the log's name. Text form: C2SP's verifier key, `<name>+<hash>+<base64 of 0x01 and the key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogKey {
    /// Whose log it is.
    pub origin: TrustDomain,
    /// The key.
    pub key: PublicKey,
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = note::key_id(self.origin.as_str(), &self.key);
        let key = BASE64.encode([&[ED25519], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{}+{key}", self.origin, hex::encode(id))
    }
}

impl FromStr for LogKey {
    type Err = CheckpointError;
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CheckpointError::Key);
        };
        let key = BASE64.decode(key).map_err(|_| CheckpointError::Key)?;
        let Some((&ED25519, key)) = key.split_first() else { return Err(CheckpointError::Key) };
        let key = PublicKey::from_bytes(key).map_err(|_| CheckpointError::Key)?;
        let read = Self { origin: name.parse()?, key };
        // One key has one spelling, and a hash that was copied wrongly is a key that was.
        if read.to_string() == text { Ok(read) } else { Err(CheckpointError::Key) }
    }
}

impl TryFrom<String> for LogKey {
    type Error = CheckpointError;
    fn try_from(text: String) -> Result<Self, CheckpointError> {
        text.parse()
    }
}

impl From<LogKey> for String {
    fn from(key: LogKey) -> Self {
        key.to_string()
    }
}

/// A head that a log's key has signed, with the note that says so: that is evidence to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    head: Head,
    note: String,
}

impl Checkpoint {
    /// Signs a head.
    ///
    /// # Errors
    ///
    /// The key does not sign.
    pub fn sign(head: Head, origin: &TrustDomain, key: &dyn Signer) -> Result<Self, SignError> {
        let text = format!("{origin}\n{}\n{}\n", head.size, BASE64.encode(head.root.as_bytes()));
        Ok(Self { head, note: note::sign(&text, origin.as_str(), key)? })
    }

    /// Verifies a note as a checkpoint of that log.
    ///
    /// # Errors
    ///
    /// The key has not signed it, or it says something else.
    pub fn verify(note: &str, key: &LogKey) -> Result<Self, CheckpointError> {
        let text = note::open(note, key.origin.as_str(), &key.key)?;
        let form = || CheckpointError::Form(key.origin.clone());
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(form());
        };
        let number: u64 = size.parse().map_err(|_| form())?;
        let root: [u8; 32] = BASE64.decode(root).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(form)?;
        let head = Head { size: number, root: Digest::from_bytes(root) };
        // `007` and `+7` would be other texts for one head.
        let sound = origin == key.origin.as_str() && number.to_string() == size && number <= MAX_AUDIT_ENTRIES;
        let begun = number > 0 || head == Head::empty();
        if sound && begun { Ok(Self { head, note: note.to_owned() }) } else { Err(form()) }
    }

    /// The head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The note.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// A log's word that another key signs for it from now on: a note that the key before has signed. Without it nobody who has
/// the old key takes the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    next: LogKey,
    note: String,
}

impl KeyChange {
    /// Names the next key.
    ///
    /// # Errors
    ///
    /// The old key does not sign.
    pub fn sign(next: LogKey, old: &dyn Signer) -> Result<Self, SignError> {
        let note = note::sign(&format!("{CHANGE}\n{next}\n"), next.origin.as_str(), old)?;
        Ok(Self { next, note })
    }

    /// Verifies that `old` names the next key.
    ///
    /// # Errors
    ///
    /// It has not, or of another log.
    pub fn verify(note: &str, old: &LogKey) -> Result<Self, CheckpointError> {
        let text = note::open(note, old.origin.as_str(), &old.key)?;
        let key = text.strip_prefix(CHANGE).and_then(|rest| rest.strip_prefix('\n')?.strip_suffix('\n'));
        let next: LogKey = key.ok_or(CheckpointError::Key)?.parse()?;
        if next.origin == old.origin { Ok(Self { next, note: note.to_owned() }) } else { Err(CheckpointError::Key) }
    }

    /// The next key.
    pub fn next(&self) -> &LogKey {
        &self.next
    }

    /// The note.
    pub fn note(&self) -> &str {
        &self.note
    }
}
