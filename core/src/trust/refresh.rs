//! The client: from what was trusted before to what is trusted now, step by step as TUF 1.0.34 has it in section 5.
//!
//! Attacks stopped here: rollback (an older version of any role), freeze (old metadata without end), mix-and-match (files
//! that were never in force together), endless data, and fast-forward (versions driven up by a thief of the online keys,
//! who must not lock the repository's owner out after the keys have been replaced).
//!
//! The numbers in the comments are the specification's.

use jiff::Timestamp as Instant;

use super::earlier::Earlier;
use super::{
    Answer, Base, Change, Delegations, Metadata, Pin, Repository, Request, Role, Root, Snapshot, Stored, Targets,
    Timestamp, TrustError, Verified,
};
use crate::limits::MAX_ROOT_STEPS;

/// One refresh of one repository. It does no input or output; see the example in [`super`].
///
/// After an error it is spent: nothing more is asked for, and [`Refresh::finish`] gives nothing.
#[derive(Debug)]
pub struct Refresh {
    now: Instant,
    root: Verified<Root>,
    /// The timestamp and the snapshot that were trusted before, as floors for versions. They may have expired.
    timestamp: Option<Verified<Timestamp>>,
    snapshot: Option<Verified<Snapshot>>,
    /// The targets that were stored, to spare the fetching. Their version binds nobody: that is the snapshot's business.
    targets: Option<Vec<u8>>,
    /// When the stored targets were signed, which outlives the floors above.
    earlier: Option<Earlier>,
    stage: Stage,
    delegations: Delegations,
    /// Whether targets metadata that have expired are taken: see [`Refresh::start_base`].
    forgives: bool,
}

#[derive(Debug)]
enum Stage {
    /// Stepping through root versions; how many have been taken.
    Roots(u32),
    /// Waiting for the timestamp.
    Timestamp,
    /// Waiting for the snapshot that the timestamp pins.
    Snapshot(Verified<Timestamp>),
    /// Waiting for the targets that the snapshot pins.
    Targets(Verified<Timestamp>, Verified<Snapshot>),
    /// All four are there.
    Done(Verified<Timestamp>, Verified<Snapshot>, Verified<Targets>),
    /// An earlier step failed.
    Failed,
}

impl Refresh {
    /// Begins a refresh at the instant `now`. Delegations are refused, unless [`Refresh::delegations`] says otherwise.
    pub fn start(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        // 5.1: `now` is given once and counts for the whole refresh.
        // 5.2: the trusted root. Its expiry does not matter yet.
        let root = Verified::pinned(&stored.root)?;
        // The power may have failed between storing a root and removing what 5.3.11 removes. So stored files count only if
        // this root's keys verify them.
        Ok(Self {
            now,
            timestamp: stored.timestamp.and_then(|bytes| Verified::by(&root, &bytes).ok()),
            snapshot: stored.snapshot.and_then(|bytes| Verified::by(&root, &bytes).ok()),
            targets: stored.targets,
            earlier: None,
            root,
            stage: Stage::Roots(0),
            delegations: Delegations::Refused,
            forgives: false,
        })
    }

    /// Begins a refresh for those who sign the next version, to be ended with [`Refresh::finish_base`]. Targets metadata
    /// that have expired are taken, because signing anew is what mends that. Nothing else is forgiven: the root, and the
    /// server's snapshot and timestamp, which say that no newer targets are being held back, must be unexpired as ever.
    pub fn start_base(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Ok(Self { forgives: true, ..Self::start(stored, now)? })
    }

    /// Says what becomes of targets metadata that delegate.
    pub fn delegations(self, delegations: Delegations) -> Self {
        Self { delegations, ..self }
    }

    /// What to fetch next; nothing once the refresh has come to an end, good or bad.
    pub fn request(&self) -> Option<Request> {
        let (role, version, max_bytes) = match &self.stage {
            // 5.3.2, 5.3.3: version N+1 of the root, and no more bytes than a root may have.
            Stage::Roots(_) => (Role::Root, self.root.version().saturating_add(1), Role::Root.max_bytes()),
            // 5.4.1: the timestamp, which has no version in its name, and no more bytes than one may have.
            Stage::Timestamp => (Role::Timestamp, 0, Role::Timestamp.max_bytes()),
            // 5.5.1: the snapshot by the version that the timestamp pins, and no more bytes than it pins.
            Stage::Snapshot(t) => (Role::Snapshot, t.snapshot().version(), t.snapshot().max_bytes(Role::Snapshot)),
            // 5.6.1: the targets by the version that the snapshot pins, and no more bytes than it pins.
            Stage::Targets(_, s) => (Role::Targets, s.targets().version(), s.targets().max_bytes(Role::Targets)),
            Stage::Done(..) | Stage::Failed => return None,
        };
        Some(Request { name: role.served_name(version), max_bytes })
    }

    /// Takes the answer to [`Refresh::request`] and says what to store before the next one is asked.
    pub fn supply(&mut self, answer: Answer) -> Result<Vec<Change>, TrustError> {
        let request = self.request().ok_or(TrustError::OutOfTurn)?;
        let mut changes = Vec::new();
        self.stage = match (std::mem::replace(&mut self.stage, Stage::Failed), answer) {
            (Stage::Roots(taken), Answer::Found(bytes)) => self.root_found(taken, &bytes, &mut changes)?,
            (Stage::Roots(_), Answer::NotFound) => self.roots_end()?,
            (Stage::Timestamp, Answer::Found(bytes)) => self.timestamp_found(&bytes, &mut changes)?,
            (Stage::Snapshot(timestamp), Answer::Found(bytes)) => {
                self.snapshot_found(timestamp, &bytes, &mut changes)?
            }
            (Stage::Targets(timestamp, snapshot), Answer::Found(bytes)) => {
                let targets = self.check_targets(&snapshot, &bytes)?;
                self.earlier.map_or(Ok(()), |earlier| earlier.precedes(&targets))?;
                // 5.6.6: persist.
                changes.push(put(&targets));
                Stage::Done(timestamp, snapshot, targets)
            }
            // Whatever is asked for beside roots must be there. At the end nothing is asked for.
            (_, Answer::NotFound) | (Stage::Done(..) | Stage::Failed, _) => {
                return Err(TrustError::Missing(request.name));
            }
        };
        Ok(changes)
    }

    /// Goes to the end without a network: what is stored must be complete and unexpired by itself.
    pub fn offline(mut self) -> Result<Self, TrustError> {
        let missing = |role: Role| TrustError::Missing(role.file_name().to_owned());
        self.roots_end()?;
        let timestamp = self.timestamp.take().ok_or_else(|| missing(Role::Timestamp))?;
        self.stage = self.timestamp_end(timestamp)?;
        match &self.stage {
            Stage::Snapshot(..) => Err(missing(Role::Snapshot)),
            Stage::Targets(..) => Err(missing(Role::Targets)),
            _ => Ok(self),
        }
    }

    /// The verified, unexpired view, once nothing more is asked for.
    pub fn finish(self) -> Result<Repository, TrustError> {
        let now = self.now;
        self.finish_base()?.current(now)
    }

    /// The verified view to sign the next version on, once nothing more is asked for.
    pub fn finish_base(self) -> Result<Base, TrustError> {
        match self.stage {
            Stage::Done(timestamp, snapshot, targets) => Ok(Base { root: self.root, timestamp, snapshot, targets }),
            _ => Err(TrustError::OutOfTurn),
        }
    }

    /// 5.3.3 to 5.3.9 and 5.3.11: one root after another, each stored before the next is asked for.
    fn root_found(&mut self, taken: u32, bytes: &[u8], changes: &mut Vec<Change>) -> Result<Stage, TrustError> {
        // 5.3.3: bounded in number. The specification would go on with the last; here the refresh fails, because a chain
        // that was not followed to its end may hide that a key has been revoked. The next refresh goes on from there.
        if taken >= MAX_ROOT_STEPS {
            return Err(TrustError::RootSteps(MAX_ROOT_STEPS));
        }
        // 5.3.4, 5.3.5: signed by both thresholds, and of version N+1: see `next`. 5.3.6: it may have expired.
        let next = self.root.next(bytes)?;
        // 5.3.8: persist.
        changes.push(put(&next));
        // 5.3.11: after a change of the online keys the stored files go, so that versions driven up by a thief of the old
        // keys bind nobody. Done at each step, so that keys which change and change back count as changed.
        if [Role::Timestamp, Role::Snapshot].iter().any(|r| self.root.authority(*r) != next.authority(*r)) {
            self.timestamp = None;
            self.snapshot = None;
            changes.push(Change::Remove { name: Role::Timestamp.file_name() });
            changes.push(Change::Remove { name: Role::Snapshot.file_name() });
        }
        // 5.3.7: from here on it is the trusted one.
        self.root = next;
        // 5.3.9: ask for the one after it.
        Ok(Stage::Roots(taken + 1))
    }

    /// No newer root (5.3.3): on to the timestamp.
    fn roots_end(&mut self) -> Result<Stage, TrustError> {
        // 5.3.10: the newest root, and only that one, must not have expired.
        self.root.fresh(self.now)?;
        // 5.3.12: consistent snapshots always; a root that says otherwise was refused as it was read.
        Ok(Stage::Timestamp)
    }

    fn timestamp_found(&mut self, bytes: &[u8], changes: &mut Vec<Change>) -> Result<Stage, TrustError> {
        // 5.4.2: signed by the root's timestamp keys.
        let offered: Verified<Timestamp> = Verified::by(&self.root, bytes)?;
        if let Some(trusted) = self.timestamp.take() {
            // 5.4.3.1: not older than the trusted one. The same version is no news and no error: the trusted file stays.
            not_older(Role::Timestamp, trusted.version(), offered.version())?;
            if trusted.version() == offered.version() {
                return self.timestamp_end(trusted);
            }
            // 5.4.3.2: nor may the snapshot that it pins be older.
            not_older(Role::Snapshot, trusted.snapshot().version(), offered.snapshot().version())?;
        }
        // 5.4.5: persist, if 5.4.4 does not refuse it.
        changes.push(put(&offered));
        self.timestamp_end(offered)
    }

    /// On to the snapshot, unless the stored one is the very one that is pinned.
    fn timestamp_end(&mut self, timestamp: Verified<Timestamp>) -> Result<Stage, TrustError> {
        // 5.4.4: not expired, and that goes for a kept file each time anew.
        timestamp.fresh(self.now)?;
        match self.snapshot.take() {
            Some(kept) if is_pinned(timestamp.snapshot(), &kept) => self.snapshot_end(timestamp, kept),
            floor => {
                self.snapshot = floor;
                Ok(Stage::Snapshot(timestamp))
            }
        }
    }

    fn snapshot_found(
        &mut self,
        timestamp: Verified<Timestamp>,
        bytes: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Stage, TrustError> {
        // 5.5.2 to 5.5.4: as the timestamp pins it, and signed by the root's snapshot keys.
        let snapshot: Verified<Snapshot> =
            Verified::under(timestamp.snapshot(), self.root.authority(Role::Snapshot), bytes)?;
        // 5.5.5: whatever the trusted snapshot listed is listed still, and no older: delegated roles' files too.
        for (name, before) in self.snapshot.iter().flat_map(|trusted| trusted.files()) {
            let after = snapshot.files().get(name).ok_or_else(|| TrustError::Dropped(name.clone()))?;
            not_older(Role::Targets, before.version(), after.version())?;
        }
        // 5.5.7: persist, if 5.5.6 does not refuse it.
        changes.push(put(&snapshot));
        self.snapshot_end(timestamp, snapshot)
    }

    /// On to the targets, unless the stored ones are the very ones that are pinned.
    fn snapshot_end(
        &mut self,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
    ) -> Result<Stage, TrustError> {
        // 5.5.6: not expired, and that goes for a kept file each time anew.
        snapshot.fresh(self.now)?;
        let kept = self.targets.take();
        let owner = self.root.authority(Role::Targets);
        self.earlier = kept.as_ref().and_then(|kept| Earlier::of(owner, kept, self.root.expires()));
        match kept.map(|kept| self.check_targets(&snapshot, &kept)) {
            Some(Ok(targets)) => Ok(Stage::Done(timestamp, snapshot, targets)),
            Some(Err(expired @ TrustError::Expired { .. })) => Err(expired),
            // What is stored is older, damaged or not there.
            Some(Err(_)) | None => Ok(Stage::Targets(timestamp, snapshot)),
        }
    }

    fn check_targets(&self, snapshot: &Snapshot, bytes: &[u8]) -> Result<Verified<Targets>, TrustError> {
        // 5.6.2 to 5.6.4: as the snapshot pins it, and signed by the root's targets keys.
        let targets: Verified<Targets> =
            Verified::under(snapshot.targets(), self.root.authority(Role::Targets), bytes)?;
        targets.may_delegate(self.delegations)?;
        // 5.6.5: not expired; for a base, `Base::current` asks it of whoever would rely on it.
        if !self.forgives {
            targets.fresh(self.now)?;
        }
        Ok(targets)
    }
}

fn put<T: Metadata>(file: &Verified<T>) -> Change {
    Change::Put { name: T::ROLE.file_name(), bytes: file.bytes().to_vec() }
}

fn is_pinned<T: Metadata>(pin: &Pin, file: &Verified<T>) -> bool {
    pin.version() == file.version() && pin.check(T::ROLE, file.bytes()).is_ok()
}

fn not_older(role: Role, trusted: u64, offered: u64) -> Result<(), TrustError> {
    if offered < trusted { Err(TrustError::Rollback { role, trusted, offered }) } else { Ok(()) }
}
