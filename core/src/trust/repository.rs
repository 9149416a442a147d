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
    /// Opens what an earlier refresh stored, without a network. All four files must be there, fit together, and be
    /// unexpired at `now`. The bytes must come from the caller's own store: their versions are compared with nothing.
    pub fn open(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Refresh::start(stored, now)?.offline()?.finish()
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

/// What the next version of a repository is signed on: all that a [`Repository`] is, save that its targets metadata may
/// have expired. It is no authority to install by; [`Base::current`] makes one of it that is.
#[derive(Debug, Clone)]
pub struct Base(Repository);

impl Base {
    pub(super) fn new(
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: Verified<Targets>,
    ) -> Self {
        Self(Repository { root, timestamp, snapshot, targets })
    }

    /// As [`Repository::open`], save that the targets metadata may have expired.
    pub fn open(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Refresh::start_base(stored, now)?.offline()?.finish_base()
    }

    /// When the targets metadata expired, if they have.
    pub fn lapsed(&self, now: Instant) -> Option<Instant> {
        Some(self.0.targets.expires()).filter(|end| *end <= now)
    }

    /// The view to rely on, refused where the targets metadata have expired.
    pub fn current(self, now: Instant) -> Result<Repository, TrustError> {
        self.0.targets.fresh(now)?;
        Ok(self.0)
    }

    /// The root.
    pub fn root(&self) -> &Verified<Root> {
        self.0.root()
    }

    /// The targets metadata.
    pub fn targets_metadata(&self) -> &Verified<Targets> {
        self.0.targets_metadata()
    }

    /// Version of the snapshot.
    pub fn snapshot_version(&self) -> u64 {
        self.0.snapshot_version()
    }

    /// Version of the timestamp.
    pub fn timestamp_version(&self) -> u64 {
        self.0.timestamp_version()
    }
}

impl From<Repository> for Base {
    fn from(repository: Repository) -> Self {
        Self(repository)
    }
}
