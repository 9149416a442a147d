//! A repository as a client may rely on it: all four roles verified, in force together, unexpired.

use std::collections::BTreeMap;

use jiff::Timestamp as Instant;

use super::targets::Listed;
use super::{Pin, Refresh, Root, Snapshot, Stored, Target, Targets, Timestamp, TrustError, Verified};
use crate::report::Seen;

/// A verified, unexpired view of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
    /// What searches have found in delegated roles, by path.
    found: BTreeMap<String, Found>,
}

/// A target that a delegated role lists.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) listed: Listed,
    /// The first instant at which a file that led to it has expired.
    pub(super) expires: Instant,
}

impl Repository {
    /// Opens what an earlier refresh stored, without a network. All four files must be there, fit together, and be
    /// unexpired at `now`. The bytes must come from the caller's own store: their versions are compared with nothing.
    /// Delegations are refused; [`Refresh::offline`] can do otherwise.
    pub fn open(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Refresh::start(stored, now)?.offline()?.finish()
    }

    /// The target under a path: one that the targets metadata list, or that a [`super::Search`] has found.
    pub fn target(&self, path: &str) -> Option<&Target> {
        self.listed(path).map(|l| &l.target)
    }

    /// All targets that the targets metadata list themselves, ascending by path.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.targets.targets()
    }

    /// The name under which a target's bytes are served: `dir/HASH.file`.
    pub fn file_name(&self, path: &str) -> Option<String> {
        self.listed(path).map(|l| l.file_name(path))
    }

    /// Refuses bytes that are not exactly the target's.
    pub fn verify_target(&self, path: &str, bytes: &[u8]) -> Result<(), TrustError> {
        // TUF 5.7.2: no metadata, no target.
        self.listed(path).ok_or_else(|| TrustError::NoTarget(path.to_owned()))?.verify(path, bytes)
    }

    fn listed(&self, path: &str) -> Option<&Listed> {
        self.targets.listed(path).or_else(|| self.found.get(path).map(|f| &f.listed))
    }

    /// What a search found.
    pub(super) fn learn(&mut self, path: &str, found: Found) {
        self.found.insert(path.to_owned(), found);
    }

    /// What the snapshot says of a file.
    pub(super) fn pin(&self, file: &str) -> Option<&Pin> {
        self.snapshot.files().get(file)
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

    /// The first instant at which one of the four files has expired, or one that led to a target that was found.
    pub fn expires(&self) -> Instant {
        let online = self.timestamp.expires().min(self.snapshot.expires());
        let all = self.root.expires().min(self.targets.expires()).min(online);
        self.found.values().fold(all, |all, found| all.min(found.expires))
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
        Self(Repository { root, timestamp, snapshot, targets, found: BTreeMap::new() })
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
