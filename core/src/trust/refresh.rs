//! The client: from what was trusted before to what is trusted now, step by step as TUF 1.0.34 has it in section 5.
//!
//! Attacks stopped here: rollback (an older version of any role), freeze (old metadata without end), mix-and-match (files
//! that were never in force together), endless data, and fast-forward (versions driven up by a thief of the online keys,
//! who must not lock the repository's owner out after the keys have been replaced).
//!
//! The numbers in the comments are the specification's.

use jiff::Timestamp as Instant;

use super::{
    Answer, Base, Change, Metadata, Repository, Request, Role, Root, Snapshot, Stored, Targets, Timestamp, TrustError,
    Verified,
};
use crate::limits::MAX_ROOT_STEPS;

/// One refresh of one repository. It does no input or output; see the example in [`super`].
///
/// After an error it is spent: nothing more is asked for, and [`Refresh::finish`] gives nothing.
#[derive(Debug)]
pub struct Refresh {
    now: Instant,
    root: Verified<Root>,
    stored: Stored,
    stage: Stage,
    /// Whether targets metadata that have expired are taken: see [`Refresh::start_base`].
    forgives: bool,
}

#[derive(Debug)]
enum Stage {
    /// Stepping through root versions; how many have been taken.
    Roots(u32),
    /// Waiting for the timestamp; the stored one is the floor.
    Timestamp(Option<Verified<Timestamp>>),
    /// Waiting for the snapshot that the timestamp pins; the stored one is the floor.
    Snapshot(Verified<Timestamp>, Option<Verified<Snapshot>>),
    /// Waiting for the targets that the snapshot pins.
    Targets(Verified<Timestamp>, Verified<Snapshot>),
    /// All four are there.
    Done(Verified<Timestamp>, Verified<Snapshot>, Verified<Targets>),
    /// An earlier step failed.
    Failed,
}

impl Stage {
    /// Whose file is asked for.
    fn role(&self) -> Option<Role> {
        match self {
            Self::Roots(_) => Some(Role::Root),
            Self::Timestamp(_) => Some(Role::Timestamp),
            Self::Snapshot(..) => Some(Role::Snapshot),
            Self::Targets(..) => Some(Role::Targets),
            Self::Done(..) | Self::Failed => None,
        }
    }
}

impl Refresh {
    /// Begins a refresh at the instant `now`, which counts for the whole of it (5.1).
    pub fn start(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        // 5.2: the trusted root. Its expiry does not matter yet.
        let root = Verified::pinned(&stored.root)?;
        Ok(Self { now, root, stored, stage: Stage::Roots(0), forgives: false })
    }

    /// Begins a refresh for those who sign the next version, to be ended with [`Refresh::finish_base`]. Targets metadata that
    /// have expired are taken, because signing anew is what mends that. Nothing else is forgiven: the root, and the server's
    /// snapshot and timestamp, which say that no newer targets are being held back, must be unexpired as ever.
    pub fn start_base(stored: Stored, now: Instant) -> Result<Self, TrustError> {
        Ok(Self { forgives: true, ..Self::start(stored, now)? })
    }

    /// What to fetch next; nothing once the refresh has come to an end, good or bad.
    pub fn request(&self) -> Option<Request> {
        let request = |role: Role, version, max_bytes| Some(Request { name: role.served_name(version), max_bytes });
        match &self.stage {
            // 5.3.2, 5.3.3: version N+1 of the root, bounded.
            Stage::Roots(_) => request(Role::Root, self.root.version().saturating_add(1), Role::Root.max_bytes()),
            // 5.4.1: the timestamp has no version in its name, bounded.
            Stage::Timestamp(_) => request(Role::Timestamp, 0, Role::Timestamp.max_bytes()),
            // 5.5.1: the version and at most the length that the timestamp pins.
            Stage::Snapshot(t, _) => {
                request(Role::Snapshot, t.snapshot().version(), t.snapshot().max_bytes(Role::Snapshot))
            }
            // 5.6.1: the version and at most the length that the snapshot pins.
            Stage::Targets(_, s) => request(Role::Targets, s.targets().version(), s.targets().max_bytes(Role::Targets)),
            Stage::Done(..) | Stage::Failed => None,
        }
    }

    /// Takes the answer to [`Refresh::request`] and says what to store before the next one is asked.
    pub fn supply(&mut self, answer: Answer) -> Result<Vec<Change>, TrustError> {
        let mut changes = Vec::new();
        let asked = self.request();
        let stage = std::mem::replace(&mut self.stage, Stage::Failed);
        if let (Some(role), Some(asked), Answer::Found(bytes)) = (stage.role(), &asked, &answer) {
            bounded(role, asked.max_bytes, bytes)?;
        }
        self.stage = match (stage, answer) {
            (Stage::Done(..) | Stage::Failed, _) => return Err(TrustError::OutOfTurn),
            (Stage::Roots(taken), Answer::Found(bytes)) => self.root_found(taken, &bytes, &mut changes)?,
            (Stage::Roots(_), Answer::NotFound) => self.roots_end()?,
            (Stage::Timestamp(floor), Answer::Found(bytes)) => self.timestamp_found(floor, &bytes, &mut changes)?,
            (Stage::Snapshot(timestamp, floor), Answer::Found(bytes)) => {
                self.snapshot_found(timestamp, floor, &bytes, &mut changes)?
            }
            (Stage::Targets(timestamp, snapshot), Answer::Found(bytes)) => {
                let targets = self.check_targets(&snapshot, &bytes)?;
                // 5.6.6: persist.
                changes.push(put(&targets));
                Stage::Done(timestamp, snapshot, targets)
            }
            (_, Answer::NotFound) => return Err(TrustError::Missing(asked.map(|r| r.name).unwrap_or_default())),
        };
        Ok(changes)
    }

    /// The verified, unexpired view, once nothing more is asked for.
    pub fn finish(self) -> Result<Repository, TrustError> {
        let now = self.now;
        self.finish_base()?.current(now)
    }

    /// The verified view to sign the next version on, once nothing more is asked for.
    pub fn finish_base(self) -> Result<Base, TrustError> {
        match self.stage {
            Stage::Done(timestamp, snapshot, targets) => Ok(Base::new(self.root, timestamp, snapshot, targets)),
            _ => Err(TrustError::OutOfTurn),
        }
    }

    /// Goes to the end without a network: what is stored must be complete and unexpired by itself.
    pub(super) fn offline(mut self) -> Result<Self, TrustError> {
        let missing = |role: Role| TrustError::Missing(role.file_name().to_owned());
        let Stage::Timestamp(Some(timestamp)) = self.roots_end()? else {
            return Err(missing(Role::Timestamp));
        };
        self.stage = self.timestamp_end(timestamp)?;
        match &self.stage {
            Stage::Snapshot(..) => Err(missing(Role::Snapshot)),
            Stage::Targets(..) => Err(missing(Role::Targets)),
            _ => Ok(self),
        }
    }

    /// 5.3.3 to 5.3.9: one root after another, each stored before the next is asked for.
    fn root_found(&mut self, taken: u32, bytes: &[u8], changes: &mut Vec<Change>) -> Result<Stage, TrustError> {
        // 5.3.3: bounded in number. The specification would go on with the last; here the refresh fails, because a chain
        // that was not followed to its end may hide that a key has been revoked.
        if taken >= MAX_ROOT_STEPS {
            return Err(TrustError::RootSteps(MAX_ROOT_STEPS));
        }
        // 5.3.4, 5.3.5: signatures by both and the version are `next`'s business. 5.3.6: an intermediate root may be expired.
        let next = self.root.next(bytes)?;
        // 5.3.8: persist.
        changes.push(put(&next));
        // 5.3.11: after a change of the online keys the stored files go, so that versions driven up by a thief of the old
        // keys bind nobody. Done at each step, so that keys which change and change back count as changed.
        let changed = [Role::Timestamp, Role::Snapshot].iter().any(|r| self.root.authority(*r) != next.authority(*r));
        if changed {
            self.stored.timestamp = None;
            self.stored.snapshot = None;
            changes.push(Change::Remove { name: Role::Timestamp.file_name() });
            changes.push(Change::Remove { name: Role::Snapshot.file_name() });
        }
        // 5.3.7: from here on it is the trusted one. 5.3.9: ask for the one after it.
        self.root = next;
        Ok(Stage::Roots(taken + 1))
    }

    /// 5.3.10: the newest root must not have expired.
    fn roots_end(&mut self) -> Result<Stage, TrustError> {
        self.root.fresh(self.now)?;
        // The power may have failed between storing a root and removing what 5.3.11 removes; so stored files count only if
        // the present root's keys verify them. They may be expired: as floors for versions they serve all the same.
        let floor = self.stored.timestamp.take().and_then(|bytes| Verified::by(&self.root, &bytes).ok());
        Ok(Stage::Timestamp(floor))
    }

    fn timestamp_found(
        &mut self,
        floor: Option<Verified<Timestamp>>,
        bytes: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Stage, TrustError> {
        // 5.4.2: signed by the root's timestamp keys.
        let offered: Verified<Timestamp> = Verified::by(&self.root, bytes)?;
        let timestamp = match floor {
            Some(trusted) => {
                // 5.4.3.1: no older than the trusted one. The same version is no news: the trusted file stays.
                not_older(Role::Timestamp, trusted.version(), offered.version())?;
                if trusted.version() == offered.version() {
                    trusted
                } else {
                    // 5.4.3.2: nor may the snapshot that it pins be older.
                    not_older(Role::Snapshot, trusted.snapshot().version(), offered.snapshot().version())?;
                    offered.fresh(self.now)?;
                    changes.push(put(&offered));
                    offered
                }
            }
            None => {
                offered.fresh(self.now)?;
                changes.push(put(&offered));
                offered
            }
        };
        self.timestamp_end(timestamp)
    }

    /// 5.4.4, then on to the first file that the store lacks.
    fn timestamp_end(&mut self, timestamp: Verified<Timestamp>) -> Result<Stage, TrustError> {
        // 5.4.4: not expired, and that goes for a kept file each time anew. (5.4.5, persist, is above.)
        timestamp.fresh(self.now)?;
        let floor: Option<Verified<Snapshot>> =
            self.stored.snapshot.take().and_then(|bytes| Verified::by(&self.root, &bytes).ok());
        match floor {
            // The stored snapshot is the very one that is pinned: it need not be fetched again.
            Some(s) if pinned(timestamp.snapshot(), &s) => {
                s.fresh(self.now)?;
                self.snapshot_end(timestamp, s)
            }
            floor => Ok(Stage::Snapshot(timestamp, floor)),
        }
    }

    fn snapshot_found(
        &mut self,
        timestamp: Verified<Timestamp>,
        floor: Option<Verified<Snapshot>>,
        bytes: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Stage, TrustError> {
        let pin = timestamp.snapshot();
        // 5.5.2: the length and every hash that the timestamp gives.
        pin.check(Role::Snapshot, bytes)?;
        // 5.5.3: signed by the root's snapshot keys.
        let snapshot: Verified<Snapshot> = Verified::by(&self.root, bytes)?;
        // 5.5.4: the very version that the timestamp pins.
        same_version(Role::Snapshot, pin.version(), snapshot.version())?;
        // 5.5.5: whatever the trusted snapshot listed is listed still, no older.
        if let Some(trusted) = floor {
            for (name, before) in trusted.files() {
                let after = snapshot.files().get(name).ok_or_else(|| TrustError::Dropped(name.clone()))?;
                not_older(Role::Targets, before.version(), after.version())?;
            }
        }
        // 5.5.6: not expired.
        snapshot.fresh(self.now)?;
        // 5.5.7: persist.
        changes.push(put(&snapshot));
        self.snapshot_end(timestamp, snapshot)
    }

    /// On to the targets, unless the stored ones are the very ones that are pinned.
    fn snapshot_end(
        &mut self,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
    ) -> Result<Stage, TrustError> {
        if let Some(bytes) = self.stored.targets.take()
            && Verified::by(&self.root, &bytes).is_ok_and(|t: Verified<Targets>| pinned(snapshot.targets(), &t))
        {
            let targets = self.check_targets(&snapshot, &bytes)?;
            return Ok(Stage::Done(timestamp, snapshot, targets));
        }
        Ok(Stage::Targets(timestamp, snapshot))
    }

    fn check_targets(&self, snapshot: &Snapshot, bytes: &[u8]) -> Result<Verified<Targets>, TrustError> {
        let pin = snapshot.targets();
        // 5.6.2: the length and every hash that the snapshot gives.
        pin.check(Role::Targets, bytes)?;
        // 5.6.3: signed by the root's targets keys.
        let targets: Verified<Targets> = Verified::by(&self.root, bytes)?;
        // 5.6.4: the very version that the snapshot pins.
        same_version(Role::Targets, pin.version(), targets.version())?;
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

fn pinned<T: Metadata>(pin: &super::Pin, file: &Verified<T>) -> bool {
    pin.version() == file.version() && pin.check(T::ROLE, file.bytes()).is_ok()
}

/// A caller that read on beyond what was asked for has been fed without end.
fn bounded(role: Role, limit: u64, bytes: &[u8]) -> Result<(), TrustError> {
    let length = bytes.len() as u64;
    if length > limit { Err(TrustError::TooLong { role, length, limit }) } else { Ok(()) }
}

fn not_older(role: Role, trusted: u64, offered: u64) -> Result<(), TrustError> {
    if offered < trusted { Err(TrustError::Rollback { role, trusted, offered }) } else { Ok(()) }
}

fn same_version(role: Role, wanted: u64, offered: u64) -> Result<(), TrustError> {
    if offered == wanted { Ok(()) } else { Err(TrustError::WrongVersion { role, wanted, offered }) }
}
