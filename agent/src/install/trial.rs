//! A slot on trial: how often the device's software may be started in it before the old slot comes back, whether or not
//! there is an agent.
//!
//! ```text
//! <slots_dir>/trial-b-1-of-3 -> ./a   slot b is on trial and was started once; the fourth start is one of slot a
//! ```
//!
//! The agent lays the link before the switch and takes it away once the new version has proven its health. `suture-boot`
//! runs before each start: it counts by renaming the link, and when the starts are used up it renames it to `current`. So
//! the count is a name and the way back is a link that lies there already: neither can be torn by a power cut, and neither
//! needs a free byte on a disk that the new version may have filled. `current` leads to `./a` then and not to `a`, by which
//! the agent sees afterwards who put the old version back. Agent and `suture-boot` hold a lock while they look and rename, so
//! neither acts on what the other has changed meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use suture_core::digest::Digest;

use super::error::io_error;
use super::slots::LINK;
use super::{InstallError, Side, Slots};
use crate::{durable, lock};

const PREFIX: &str = "trial-";
/// The file whose lock is held, in the directory of the slots.
const LOCK: &str = ".suture-lock";

/// A slot that is not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Which.
    pub side: Side,
    /// How often it was started.
    pub starts: u32,
    /// How often it may be.
    pub limit: u32,
}

/// What was done before a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing: the slot in use is not on trial.
    Plain,
    /// It was counted.
    Counted(Trial),
    /// The starts were used up and the old slot was put back.
    PutBack(Trial),
}

impl Trial {
    fn name(self) -> String {
        format!("{PREFIX}{}-{}-of-{}", self.side.as_str(), self.starts, self.limit)
    }

    fn from_name(name: &str) -> Option<Self> {
        let (side, count) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let side = [Side::A, Side::B].into_iter().find(|s| s.as_str() == side)?;
        let (starts, limit) = count.split_once("-of-")?;
        let trial = Self { side, starts: starts.parse().ok()?, limit: limit.parse().ok()? };
        // One name for each trial: `+1` and `01` are no counts.
        (trial.starts <= trial.limit && trial.name() == name).then_some(trial)
    }

    const fn left(self) -> u32 {
        self.limit.saturating_sub(self.starts)
    }
}

impl Slots {
    /// The slot on trial. Of several links, which only a hand can have laid, that with the fewest starts left.
    pub fn trial(&self) -> Result<Option<Trial>, InstallError> {
        let trials = self.trial_links()?.filter_map(|name| Trial::from_name(&name));
        Ok(trials.filter(|trial| self.leads_back(*trial)).min_by_key(|trial| trial.left()))
    }

    /// Makes `current` name the version with that manifest, on trial. Without one that runs now there is none.
    pub fn switch_on_trial(&self, manifest: &Digest) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        if self.runs(manifest)? {
            return Ok(());
        }
        if let Some(old) = self.current()? {
            self.take_trials_away()?;
            let trial = Trial { side: old.other(), starts: 0, limit: self.starts };
            durable::link(Path::new(old.way_back()), &self.dir().join(trial.name()))?;
        }
        self.switch_to(manifest)
    }

    /// Ends the trial of the version with that manifest, which has proven its health. `false` where it runs no more: it used
    /// up its starts, and the old one was put back meanwhile.
    pub fn confirm(&self, manifest: &Digest) -> Result<bool, InstallError> {
        let _lock = self.lock()?;
        if !self.runs(manifest)? {
            return Ok(false);
        }
        self.take_trials_away()?;
        Ok(true)
    }

    /// Makes `current` name the other version than the one with that manifest, where it names that, and ends its trial.
    pub fn put_back(&self, manifest: &Digest) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        match self.trial()? {
            // A slot that does not say what it holds is left too.
            Some(trial) if self.current()? == Some(trial.side) && self.runs(manifest).unwrap_or(true) => {
                self.follow(trial)?;
            }
            _ => self.switch_from(manifest)?,
        }
        self.conclude()
    }

    /// Nothing is on trial any more: a person has decided what runs, or nothing was switched.
    pub fn end_trial(&self) -> Result<(), InstallError> {
        let _lock = self.lock()?;
        self.conclude()
    }

    /// Whether the version with that manifest used up its starts and the old one was put back, of which the agent has not
    /// heard yet.
    pub fn gave_way(&self, manifest: &Digest) -> Result<bool, InstallError> {
        let Some(side) = self.current()?.filter(|_| self.was_put_back()) else { return Ok(false) };
        Ok(self.manifest(side.other())?.is_some_and(|(_, digest)| digest == *manifest))
    }

    fn was_put_back(&self) -> bool {
        let target = fs::read_link(self.dir().join(LINK));
        target.is_ok_and(|t| [Side::A, Side::B].iter().any(|side| t == Path::new(side.way_back())))
    }

    fn conclude(&self) -> Result<(), InstallError> {
        self.take_trials_away()?;
        if let Some(side) = self.current()?.filter(|_| self.was_put_back()) {
            durable::link(Path::new(side.as_str()), &self.dir().join(LINK))?;
        }
        Ok(())
    }

    /// What `suture-boot` does before each start of the device's software.
    pub fn before_start(&self) -> Result<Start, InstallError> {
        // The usual start: nothing is on trial, and nothing is waited for.
        if self.trial_links()?.next().is_none() {
            return Ok(Start::Plain);
        }
        let _lock = self.lock()?;
        let Some(trial) = self.trial()? else { return Ok(Start::Plain) };
        // Not yet switched, or the agent has put the old slot back.
        if self.current()? != Some(trial.side) {
            return Ok(Start::Plain);
        }
        if trial.starts == trial.limit {
            self.follow(trial)?;
            return Ok(Start::PutBack(trial));
        }
        let counted = Trial { starts: trial.starts.saturating_add(1), ..trial };
        durable::rename(&self.dir().join(trial.name()), &self.dir().join(counted.name()))?;
        Ok(Start::Counted(counted))
    }

    /// The way back: the trial's link becomes `current`.
    fn follow(&self, trial: Trial) -> Result<(), InstallError> {
        let old = trial.side.other();
        // Both slots bad is worse than one that is tried once more.
        if self.manifest(old)?.is_none() {
            return Err(InstallError::Empty { side: old.as_str() });
        }
        Ok(durable::rename(&self.dir().join(trial.name()), &self.dir().join(LINK))?)
    }

    /// Whether it is a link that leads to the other slot. Attack or damage: a file in its place must not become `current`.
    fn leads_back(&self, trial: Trial) -> bool {
        let target = fs::read_link(self.dir().join(trial.name()));
        target.is_ok_and(|target| target == Path::new(trial.side.other().way_back()))
    }

    pub(super) fn take_trials_away(&self) -> Result<(), InstallError> {
        for name in self.trial_links()? {
            durable::remove(&self.dir().join(name))?;
        }
        Ok(())
    }

    fn trial_links(&self) -> Result<impl Iterator<Item = String>, InstallError> {
        let entries = match fs::read_dir(self.dir()) {
            Ok(entries) => Some(entries),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(io_error("read", self.dir())(e)),
        };
        let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with(PREFIX)))
    }

    /// For whoever looks at the link and changes it; until it is dropped.
    ///
    /// Attack: an account of the device that locks the directory and keeps it. Who may open a file for reading may lock it, and
    /// everybody may read the slots: no start would be counted any more, and no version put back. So a file counts that only its owner
    /// can open; the directory alone where that can neither be opened nor made, as on a disk that is full. Else the directory is locked
    /// besides, where nobody keeps it: a `suture-boot` of before knows that one.
    pub(super) fn lock(&self) -> Result<Locks, InstallError> {
        let (dir, path) = (self.dir(), self.dir().join(LOCK));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let own = match options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path) {
            Ok(own) => Some(own),
            Err(e)
                if matches!(
                    Errno::from_io_error(&e),
                    Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::LOOP)
                ) =>
            {
                None
            }
            Err(e) => return Err(io_error("open", &path)(e)),
        };
        if let Some(own) = &own
            && !lock::take(own).map_err(io_error("lock", &path))?
        {
            return Err(InstallError::Locked(PathBuf::from(dir)));
        }
        let shared = File::open(dir).map_err(io_error("open", dir))?;
        match lock::take(&shared).map_err(io_error("lock", dir))? || own.is_some() {
            true => Ok(Locks { _own: own, _shared: shared }),
            false => Err(InstallError::Locked(PathBuf::from(dir))),
        }
    }
}

/// What is held while the link is looked at and changed.
pub(super) struct Locks {
    _own: Option<File>,
    _shared: File,
}

#[cfg(test)]
mod tests;
