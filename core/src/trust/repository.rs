//! A repository as a client may rely on it: all four roles verified, in force together, unexpired.

use jiff::Timestamp as Instant;

use super::{Refresh, Root, Snapshot, Stored, Target, Targets, Timestamp, TrustError, Verified};
use crate::report::Seen;

/// A verified, unexpired view of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
}

impl Repository {
    pub(super) fn new(
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: Verified<Targets>,
    ) -> Self {
        Self { root, timestamp, snapshot, targets }
    }

    /// Opens what an earlier refresh stored, without a network. All four files must be there, fit together, and be
    /// unexpired at `now`. The bytes must come from the caller's own store: their versions are compared with nothing.
    pub fn open(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Refresh::start(stored, now)?.offline()
    }

    /// The target under a path.
    pub fn target(&self, path: &str) -> Option<&Target> {
        self.targets.target(path)
    }

    /// All targets, ascending by path.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.targets.targets()
    }

    /// The name under which a target's bytes are served: `dir/HASH.file`.
    pub fn file_name(&self, path: &str) -> Option<String> {
        self.targets.file_name(path)
    }

    /// Refuses bytes that are not exactly the target's.
    pub fn verify_target(&self, path: &str, bytes: &[u8]) -> Result<(), TrustError> {
        self.targets.verify_target(path, bytes)
    }

    /// Versions and digest for reports. Two digests under one version, from two devices, mean that somebody has forked the
    /// repository.
    pub fn seen(&self) -> Seen {
        Seen { root: self.root.version(), targets: self.targets.version(), targets_sha256: self.targets.digest() }
    }

    /// When the targets metadata were signed, by the word of their offline keys; the epoch where they do not say. A clock
    /// that is earlier is wrong.
    pub fn signed_at(&self) -> Instant {
        self.targets.signed_at().unwrap_or(Instant::UNIX_EPOCH)
    }

    /// The first instant at which one of the four files has expired.
    pub fn expires(&self) -> Instant {
        let online = self.timestamp.expires().min(self.snapshot.expires());
        self.root.expires().min(self.targets.expires()).min(online)
    }

    /// The root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The targets metadata.
    pub fn targets_metadata(&self) -> &Verified<Targets> {
        &self.targets
    }

    /// Version of the snapshot.
    pub fn snapshot_version(&self) -> u64 {
        self.snapshot.version()
    }

    /// Version of the timestamp.
    pub fn timestamp_version(&self) -> u64 {
        self.timestamp.version()
    }
}
