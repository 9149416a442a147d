//! One answer instead of many: what a client says it holds, and the files that a server sends it together.
//!
//! Nothing is decided here. A [`super::Refresh`] asks for file after file as ever, and [`News`] answers what it can from the
//! files that have come already; whatever it cannot answer is asked of the server singly. So a server that leaves a file
//! out, or sends others, gains nothing that it could not have by the single calls.

use std::collections::BTreeMap;

use super::{Answer, Role, Root, Stored, TrustError, Verified};
use crate::digest::Digest;

/// What a client's store holds, for a server that is to send what differs. It tells the server nothing that it could not
/// see from the files that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Version of the root; 0 where there is none yet.
    pub root: u64,
    /// SHA-256 of `timestamp.json`.
    pub timestamp: Option<Digest>,
    /// SHA-256 of `snapshot.json`.
    pub snapshot: Option<Digest>,
    /// SHA-256 of `targets.json`.
    pub targets: Option<Digest>,
}

impl Held {
    /// What is in a store whose root is trusted. Refused where the root cannot be read; other files are digested only.
    pub fn of(stored: &Stored) -> Result<Self, TrustError> {
        let digest = |file: &Option<Vec<u8>>| file.as_deref().map(Digest::of);
        Ok(Self {
            root: Verified::<Root>::pinned(&stored.root)?.version(),
            timestamp: digest(&stored.timestamp),
            snapshot: digest(&stored.snapshot),
            targets: digest(&stored.targets),
        })
    }
}

/// Files that came in one answer, by the names under which they are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    files: BTreeMap<String, Vec<u8>>,
    newest_root: Option<u64>,
    timestamp_stands: bool,
}

impl News {
    /// What the server sent. `newest_root` is its explicit word that no later root exists, `timestamp_stands` its word that
    /// the timestamp in force is the one that the client holds.
    pub fn new(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        newest_root: Option<u64>,
        timestamp_stands: bool,
    ) -> Self {
        Self { files: files.into_iter().collect(), newest_root, timestamp_stands }
    }

    /// With the timestamp that the client holds in the place of the one that stands. For the rules it is as if the server
    /// had sent it once more: its version, signature and expiry are looked at again.
    pub fn beside(mut self, stored: Option<&Stored>) -> Self {
        if let Some(timestamp) = stored.and_then(|s| s.timestamp.clone()).filter(|_| self.timestamp_stands) {
            self.files.entry(Role::Timestamp.file_name().to_owned()).or_insert(timestamp);
        }
        self
    }

    /// The answer to a request of that name; `None` where the server must be asked. That there is no such file is answered
    /// for the root after the newest alone, and on the server's explicit word: a file that is merely not here is no such
    /// word, or an answer that was cut short would hide that a key has been revoked.
    pub fn answer(&self, name: &str) -> Option<Answer> {
        if let Some(bytes) = self.files.get(name) {
            return Some(Answer::Found(bytes.clone()));
        }
        let after_newest = Role::Root.served_name(self.newest_root?.checked_add(1)?);
        (name == after_newest).then_some(Answer::NotFound)
    }
}
