//! A repository as a client may rely on it: all four roles verified, in force together, unexpired.

use std::collections::BTreeMap;
use std::ops::Deref;

use jiff::Timestamp as Instant;

use super::delegation::listed_name;
use super::targets::Listed;
use super::{Metadata as _, Pin, Root, Snapshot, Target, Targets, Timestamp, TrustError, Verified};
use crate::report::Seen;

/// A verified, unexpired view of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(super) base: Base,
    /// What searches have found in delegated roles, by path.
    pub(super) found: BTreeMap<String, Found>,
}

/// A target that a delegated role lists.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) listed: Listed,
    /// The first instant at which a file that led to it has expired.
    pub(super) expires: Instant,
}

impl Repository {
    /// The target under a path: one that the targets metadata list, or that a [`super::Search`] has found.
    pub fn target(&self, path: &str) -> Option<&Target> {
        self.listed(path).map(|l| &l.target)
    }

    /// All targets that the targets metadata list themselves, ascending by path.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.base.targets.targets()
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
        self.base.targets.listed(path).or_else(|| self.found.get(path).map(|f| &f.listed))
    }

    /// What a search found.
    pub(super) fn learn(&mut self, path: &str, found: Found) {
        self.found.insert(path.to_owned(), found);
    }

    /// Versions and digest for reports. Two digests under one version, from two devices, mean that somebody has forked the
    /// repository.
    pub fn seen(&self) -> Seen {
        let Base { root, targets, .. } = &self.base;
        Seen { root: root.version(), targets: targets.version(), targets_sha256: targets.digest() }
    }

    /// When the targets metadata were signed, by the word of their offline keys; the epoch where they do not say. A clock
    /// that is earlier is wrong.
    ///
    /// Attack: a thief of the targets keys who signs in a year far ahead, so that each device's floor of time rises to it for good. So it
    /// is no later than the end that the root's own keys have signed, which comes within a year.
    pub fn signed_at(&self) -> Instant {
        self.base.targets.signed_at().unwrap_or(Instant::UNIX_EPOCH).min(self.base.root.expires())
    }

    /// The first instant at which one of the four files has expired, or one that led to a target that was found.
    pub fn expires(&self) -> Instant {
        let Base { root, timestamp, snapshot, targets } = &self.base;
        let offline = root.expires().min(targets.expires());
        let all = offline.min(timestamp.expires()).min(snapshot.expires());
        self.found.values().fold(all, |all, found| all.min(found.expires))
    }
}

impl Deref for Repository {
    type Target = Base;
    fn deref(&self) -> &Base {
        &self.base
    }
}

/// What the next version of a repository is signed on: all that a [`Repository`] is, save that its targets metadata may
/// have expired. It is no authority to install by; [`Base::current`] makes one of it that is.
#[derive(Debug, Clone)]
pub struct Base {
    pub(super) root: Verified<Root>,
    pub(super) timestamp: Verified<Timestamp>,
    pub(super) snapshot: Verified<Snapshot>,
    pub(super) targets: Verified<Targets>,
}

impl Base {
    /// When the targets metadata expired, if they have.
    pub fn lapsed(&self, now: Instant) -> Option<Instant> {
        Some(self.targets.expires()).filter(|end| *end <= now)
    }

    /// The view to rely on, refused where the targets metadata have expired.
    pub fn current(self, now: Instant) -> Result<Repository, TrustError> {
        self.targets.fresh(now)?;
        Ok(Repository { base: self, found: BTreeMap::new() })
    }

    /// The root.
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The targets metadata.
    pub fn targets_metadata(&self) -> &Verified<Targets> {
        &self.targets
    }

    /// What the snapshot says of a delegated role's file.
    pub(super) fn pin(&self, role: &str) -> Result<&Pin, TrustError> {
        let file = listed_name(role);
        self.snapshot.files().get(&file).ok_or(TrustError::Missing(file))
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

impl From<Repository> for Base {
    fn from(repository: Repository) -> Self {
        repository.base
    }
}
