//! What a refresh and its caller say to one another: questions, answers, and what to store.

/// Trusted bytes as they were received, from the caller's store.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// `root.json`: pinned at provisioning, then whatever [`Change`]s made of it.
    pub root: Vec<u8>,
    /// `timestamp.json`.
    pub timestamp: Option<Vec<u8>>,
    /// `snapshot.json`.
    pub snapshot: Option<Vec<u8>>,
    /// `targets.json`.
    pub targets: Option<Vec<u8>>,
}

impl Stored {
    /// What is in the store after a change.
    pub fn apply(&mut self, change: &Change) {
        let (name, bytes) = match change {
            Change::Put { name, bytes } => (*name, Some(bytes.clone())),
            Change::Remove { name } => (*name, None),
        };
        match name {
            "root.json" => self.root = bytes.unwrap_or_default(),
            "timestamp.json" => self.timestamp = bytes,
            "snapshot.json" => self.snapshot = bytes,
            _ => self.targets = bytes,
        }
    }
}

/// What to fetch next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The file's name at the server, as in `3.root.json`.
    pub name: String,
    /// The most bytes that are worth reading: give up at the first byte beyond.
    pub max_bytes: u64,
}

/// What became of a [`Request`]. There is no third answer: on any other outcome (a timeout, a refusal, a broken line) the
/// caller drops the refresh and stores nothing more. An outage that passed for "no newer root" would be an attack.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The file's bytes.
    Found(Vec<u8>),
    /// The server says that there is no such file.
    NotFound,
}

/// What the caller writes to its store before it goes on: atomically, flushed to disk, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put the bytes in the place of what was there.
    Put {
        /// `root.json`, `timestamp.json`, `snapshot.json` or `targets.json`.
        name: &'static str,
        /// As they were received.
        bytes: Vec<u8>,
    },
    /// Remove what is there, if anything is.
    Remove {
        /// As in [`Change::Put`].
        name: &'static str,
    },
}
