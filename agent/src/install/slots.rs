//! The two slots.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::limits::MAX_MANIFEST_BYTES;
use suture_core::manifest::{InstallKind, Manifest, Payload, PayloadFormat};

use super::error::io_error;
use super::sum::{Sum, Summed};
use super::tree;
use super::version::{BUFFER_BYTES, Bytes};
use super::{Contract, InstallError, Payloads, Proof, Version, Within};
use crate::checkpoint::{self, Step};
use crate::durable;

/// Where a slot says what it holds. No payload can have that name: an id does not begin with a dot.
pub(super) const ABOUT: &str = ".suture";
pub(super) const LINK: &str = "current";

/// How often a version that is not confirmed may be started before the old one comes back, unless the configuration says
/// otherwise. The fourth start is one of the old version, before systemd's own limit of five.
pub const TRIAL_STARTS: u32 = 3;

/// One of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `a`.
    A,
    /// `b`.
    B,
}

/// The slots of a device.
#[derive(Debug, Clone)]
pub struct Slots {
    dir: PathBuf,
    /// How often a version that is not confirmed may be started.
    pub(super) starts: u32,
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Which one a link leads to. [`Side::way_back`] is another way to write it.
    pub(super) fn of_link(target: &Path) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|s| target == Path::new(s.as_str()) || target == Path::new(s.way_back()))
    }

    /// Where a trial's link leads. It stays to be seen in `current` who put the slot back.
    pub(super) const fn way_back(self) -> &'static str {
        match self {
            Self::A => "./a",
            Self::B => "./b",
        }
    }

    /// The one of that name, in either case: boot loaders write it large.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::A, Self::B].into_iter().find(|side| side.as_str().eq_ignore_ascii_case(name))
    }

    /// Its name on disk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl Slots {
    /// The slots in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), starts: TRIAL_STARTS }
    }

    /// The same, where a version that is not confirmed may be started that often.
    pub fn with_starts(self, starts: u32) -> Self {
        Self { starts, ..self }
    }

    /// The directory that holds them.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A slot's directory.
    pub fn path(&self, side: Side) -> PathBuf {
        self.dir.join(side.as_str())
    }

    /// Which slot is in use; `None` on a device that was never provisioned.
    pub fn current(&self) -> Result<Option<Side>, InstallError> {
        let link = self.dir.join(LINK);
        match fs::read_link(&link) {
            Ok(target) => Side::of_link(&target).map(Some).ok_or(InstallError::Link(link)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Err(InstallError::Link(link)),
            Err(e) => Err(io_error("read the link", &link)(e)),
        }
    }

    /// What a slot says that it holds, with the manifest's digest; `None` where it holds no version.
    pub fn manifest(&self, side: Side) -> Result<Option<(Manifest, Digest)>, InstallError> {
        let path = self.path(side).join(ABOUT).join("manifest.json");
        let Some(bytes) = durable::read(&path, MAX_MANIFEST_BYTES)? else { return Ok(None) };
        let manifest =
            Manifest::parse(&bytes).map_err(|source| InstallError::Manifest { side: side.as_str(), source })?;
        Ok(Some((manifest, Digest::of(&bytes))))
    }

    /// The version in a slot, as it says itself; none where it holds no whole one.
    pub fn version(&self, side: Side) -> Result<Option<Version>, InstallError> {
        let path = self.path(side);
        Ok(self.manifest(side)?.map(|(manifest, digest)| Version {
            side,
            manifest,
            digest,
            indexes: path.join(ABOUT),
            bytes: Bytes::Directory(path),
        }))
    }

    /// What runs: the version in the slot in use.
    pub fn running(&self) -> Result<Option<Version>, InstallError> {
        let Some(side) = self.current()? else { return Ok(None) };
        Ok(Some(self.version(side)?.ok_or(InstallError::Empty { side: side.as_str() })?))
    }

    /// The slot that is not in use.
    pub fn spare(&self) -> Result<Side, InstallError> {
        Ok(self.current()?.map_or(Side::A, Side::other))
    }

    /// Whether the slot in use holds the version with that manifest.
    pub fn runs(&self, manifest: &Digest) -> Result<bool, InstallError> {
        Ok(self.running()?.is_some_and(|version| version.digest == *manifest))
    }

    /// Writes a version into the spare slot, verifying each payload on the way: whole and on disk, or not there.
    pub fn write(&self, manifest: &[u8], payloads: &Payloads) -> Result<Side, InstallError> {
        self.write_within(manifest, payloads, &Within::limit(Duration::MAX))
    }

    fn write_within(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<Side, InstallError> {
        self.write_into(self.spare()?, manifest, payloads, within)
    }

    /// The same, into this slot, which is not in use.
    pub(super) fn write_into(
        &self,
        side: Side,
        manifest: &[u8],
        payloads: &Payloads,
        within: &Within,
    ) -> Result<Side, InstallError> {
        let new = self.dir.join(format!("{}.new", side.as_str()));
        tree::remove(&new)?;
        // Attack: a tree of countless small files that fills the disk. What did not fit must not stay and starve the device.
        self.write_beside(side, &new, (manifest, payloads), within).inspect_err(|_| {
            if let Err(e) = tree::remove(&new) {
                tracing::warn!(error = %e, "what was written of a slot cannot be removed");
            }
        })
    }

    fn write_beside(
        &self,
        side: Side,
        new: &Path,
        (manifest, payloads): (&[u8], &Payloads),
        within: &Within,
    ) -> Result<Side, InstallError> {
        checkpoint::file(Step::Make, new).and_then(|()| make(new)).map_err(io_error("make", new))?;
        for (payload, source, _) in payloads {
            write_payload(payload, source, &new.join(payload.name.as_str()), within)?;
        }
        let about = new.join(ABOUT);
        make(&about).map_err(io_error("make", &about))?;
        for (payload, _, index) in payloads {
            durable::write(&about.join(format!("{}.index", payload.name)), index, durable::OPEN)?;
        }
        durable::write(&about.join("manifest.json"), manifest, durable::OPEN)?;
        // One call for all files and directories, rather than one for each of thousands. Linux before 5.8 does not say by it that
        // something could not be written (syncfs(2)): `doctor` does, and deploy/tours/integrator.md.
        let synced = checkpoint::file(Step::Sync, new)
            .and_then(|()| File::open(new))
            .and_then(|dir| rustix::fs::syncfs(&dir).map_err(io::Error::from));
        synced.map_err(io_error("sync the file system of", new))?;
        let path = self.path(side);
        // A trial's way back leads to what is written over now.
        {
            let _lock = self.lock()?;
            self.take_trials_away()?;
        }
        tree::remove(&path)?;
        durable::rename(new, &path)?;
        Ok(side)
    }

    /// Hashes again all that a slot holds and compares it with its manifest, which must have that digest.
    pub fn verify(&self, side: Side, manifest: &Digest) -> Result<(), InstallError> {
        let version = self.version(side)?.filter(|version| version.digest == *manifest);
        version.ok_or(InstallError::Empty { side: side.as_str() })?.verify(&mut |_| Ok(()))
    }

    /// Makes `current` name a slot.
    pub fn switch(&self, side: Side) -> Result<(), InstallError> {
        if self.current()? == Some(side) {
            return Ok(());
        }
        if self.manifest(side)?.is_none() {
            return Err(InstallError::Empty { side: side.as_str() });
        }
        Ok(durable::link(Path::new(side.as_str()), &self.dir.join(LINK))?)
    }

    /// Makes `current` name the version with that manifest, which lies in either slot.
    pub fn switch_to(&self, manifest: &Digest) -> Result<(), InstallError> {
        if self.runs(manifest)? {
            return Ok(());
        }
        let side = self.spare()?;
        match self.manifest(side)? {
            Some((_, digest)) if digest == *manifest => self.switch(side),
            _ => Err(InstallError::Empty { side: side.as_str() }),
        }
    }

    /// Makes `current` name the other version than the one with that manifest, where it names that.
    pub fn switch_from(&self, manifest: &Digest) -> Result<(), InstallError> {
        match self.runs(manifest) {
            Ok(true) => self.switch(self.spare()?),
            Ok(false) => Ok(()),
            Err(_) if self.is_left_for(manifest) => self.switch(self.spare()?),
            Err(e) => Err(e),
        }
    }

    /// Whether the slot that is not in use holds another whole version than that one.
    pub(super) fn is_left_for(&self, manifest: &Digest) -> bool {
        let other = self.spare().and_then(|side| self.manifest(side));
        matches!(other, Ok(Some((_, digest))) if digest != *manifest)
    }
}

impl Contract for Slots {
    fn kind(&self) -> InstallKind {
        InstallKind::Slots
    }

    fn room(&self) -> Option<&Path> {
        Some(&self.dir)
    }

    fn running(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        Self::running(self)
    }

    fn prepared(&self, _: &Within) -> Result<Option<Version>, InstallError> {
        self.version(self.spare()?)
    }

    fn is_switched(&self, to: &Digest, _: &Within) -> Result<bool, InstallError> {
        match self.runs(to) {
            Ok(runs) => Ok(runs || self.gave_way(to)?),
            // Accident: a slot in use that does not say what it holds. It is not the old version, which the other one holds.
            Err(e) => {
                if self.is_left_for(to) {
                    Ok(true)
                } else {
                    Err(e)
                }
            }
        }
    }

    fn prepare(&self, manifest: &[u8], payloads: &Payloads, within: &Within) -> Result<(), InstallError> {
        self.write_within(manifest, payloads, within).map(drop)
    }

    fn switch(&self, to: &Digest, _: &Within) -> Result<(), InstallError> {
        self.switch_on_trial(to)
    }

    /// `suture-boot` counts right before each start of a version on trial. Of one that came back nothing is known: the agent may
    /// have put the link back, and ended before the restart.
    fn started(&self, _: &Within) -> Result<Option<Digest>, InstallError> {
        let Some(trial) = self.trial()?.filter(|trial| trial.starts > 0) else { return Ok(None) };
        match self.current()? {
            Some(side) if side == trial.side => Ok(self.manifest(side)?.map(|(_, digest)| digest)),
            _ => Ok(None),
        }
    }

    fn probe(&self, new: &Digest, _: &Within) -> Result<Proof, InstallError> {
        if self.runs(new)? {
            return Ok(Proof::Asked);
        }
        Err(match self.gave_way(new)? {
            true => InstallError::GaveWay(self.starts),
            false => {
                InstallError::Unproven(format!("{} no longer names the new version", self.dir.join(LINK).display()))
            }
        })
    }

    fn commit(&self, new: &Digest, within: &Within) -> Result<(), InstallError> {
        if self.confirm(new)? { Ok(()) } else { self.probe(new, within).map(drop) }
    }

    fn revert(&self, new: &Digest, _: &Within) -> Result<(), InstallError> {
        self.put_back(new)
    }

    fn settle(&self, _: &Within) -> Result<(), InstallError> {
        self.end_trial()
    }

    fn examine(&self, _: &Within) -> Result<String, String> {
        let side = self.current().map_err(|e| e.to_string())?;
        let side = side.map_or("none yet", Side::as_str);
        Ok(format!("slots in {}, in use is {side}", self.dir.display()))
    }
}

/// Makes a directory for whoever runs what is installed to enter.
fn make(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    durable::permit(&File::open(dir)?, durable::OPEN_DIR)
}

fn write_payload(payload: &Payload, from: &Path, to: &Path, within: &Within) -> Result<(), InstallError> {
    checkpoint::file(Step::Write, to).map_err(io_error("write", to))?;
    let file = File::open(from).map_err(io_error("open", from))?;
    let mut summed = Summed { inner: file, sum: Sum::default(), within };
    let source = BufReader::with_capacity(BUFFER_BYTES, &mut summed);
    match payload.format {
        // The format's reader reads to the very end, so that all bytes have passed by.
        PayloadFormat::Tree => tree::unpack(source, to)?,
        PayloadFormat::Image => {
            let mut source = source;
            let mut file = File::create_new(to).map_err(io_error("make", to))?;
            durable::permit(&file, durable::OPEN).map_err(io_error("set the permissions of", to))?;
            io::copy(&mut source, &mut file).map_err(io_error("write", to))?;
        }
    }
    summed.sum.check(payload)
}

#[cfg(test)]
pub(super) mod tests;
