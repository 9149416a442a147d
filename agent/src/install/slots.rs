//! The two slots.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use suture_core::chunk::Index;
use suture_core::digest::{Digest, Hasher};
use suture_core::id::PayloadName;
use suture_core::limits::{MAX_INDEX_BYTES, MAX_MANIFEST_BYTES};
use suture_core::manifest::{Manifest, ManifestError, Payload, PayloadFormat};
use suture_core::report::Running;

use super::regular;
use super::tree::{self, TreeError};
use crate::durable::{self, DurableError};

/// Where a slot says what it holds. No payload can have that name: an id does not begin with a dot.
const ABOUT: &str = ".suture";
const LINK: &str = "current";
const BUFFER_BYTES: usize = 256 << 10;

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
}

/// The payloads of a bundle, each with a file that holds exactly its bytes, and its chunk index.
pub type Payloads = Vec<(Payload, PathBuf, Vec<u8>)>;

/// Why the slots are not, or could not be made, as they should be.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A state file of a slot.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The disk refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `current` is there and names neither slot.
    #[error("{} does not name slot a or b; a person must look at it", .0.display())]
    Link(PathBuf),
    /// The link, or the attempt, needs a slot that is not there or not whole.
    #[error("slot {side} holds no whole version")]
    Empty {
        /// Which.
        side: &'static str,
    },
    /// A slot's own manifest cannot be read.
    #[error("the manifest of slot {side} cannot be read")]
    Manifest {
        /// Which.
        side: &'static str,
        /// Why.
        source: ManifestError,
    },
    /// The bytes are not the payload's.
    #[error("the bytes of payload {payload} are not those that were signed")]
    WrongBytes {
        /// Which.
        payload: String,
    },
    /// The slot in use was to be written.
    #[error("slot {side} is in use and is not written")]
    InUse {
        /// Which.
        side: &'static str,
    },
}

impl InstallError {
    /// Whether the disk had no room.
    pub fn is_full(&self) -> bool {
        let full = |e: &io::Error| matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match self {
            Self::Durable(e) => e.is_full(),
            Self::Tree(TreeError::Io { source, .. }) | Self::Io { source, .. } => full(source),
            Self::Tree(TreeError::Archive(suture_core::archive::ArchiveError::Io { source, .. })) => full(source),
            _ => false,
        }
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::Io { operation, path, source }
}

impl Side {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
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
        Self { dir: dir.to_owned() }
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
            Ok(target) if target == Path::new("a") => Ok(Some(Side::A)),
            Ok(target) if target == Path::new("b") => Ok(Some(Side::B)),
            Ok(_) => Err(InstallError::Link(link)),
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

    /// The chunk index that a slot keeps of one of its payloads; none where it is not there or not readable.
    pub fn index(&self, side: Side, payload: &Payload) -> Option<Index> {
        let path = self.path(side).join(ABOUT).join(format!("{}.index", payload.name));
        let bytes = durable::read(&path, MAX_INDEX_BYTES).ok()??;
        (Digest::of(&bytes) == payload.index_sha256).then(|| Index::parse(&bytes).ok())?
    }

    /// The chunk indexes that the slots keep of payloads of that name, each with its digest, that of the slot in use first.
    pub fn indexes(&self, name: &PayloadName) -> Vec<(Digest, Index)> {
        let Ok(Some(current)) = self.current() else { return Vec::new() };
        let mut found: Vec<(Digest, Index)> = Vec::new();
        for side in [current, current.other()] {
            let Ok(Some((manifest, _))) = self.manifest(side) else { continue };
            for payload in manifest.payloads.iter().filter(|p| p.name == *name) {
                let is_new = found.iter().all(|(sha256, _)| *sha256 != payload.index_sha256);
                if let Some(index) = self.index(side, payload).filter(|_| is_new) {
                    found.push((payload.index_sha256, index));
                }
            }
        }
        found
    }

    /// What runs: the version in the slot in use.
    pub fn running(&self) -> Result<Option<Running>, InstallError> {
        let Some(side) = self.current()? else { return Ok(None) };
        let (manifest, digest) = self.manifest(side)?.ok_or(InstallError::Empty { side: side.as_str() })?;
        Ok(Some(Running { version: manifest.version, release: manifest.release, manifest: digest }))
    }

    /// The slot that is not in use.
    pub fn spare(&self) -> Result<Side, InstallError> {
        Ok(self.current()?.map_or(Side::A, Side::other))
    }

    /// Whether the slot in use holds the version with that manifest.
    pub fn runs(&self, manifest: &Digest) -> Result<bool, InstallError> {
        Ok(self.running()?.is_some_and(|r| r.manifest == *manifest))
    }

    /// Writes a version into the spare slot, verifying each payload on the way: whole and on disk, or not there.
    pub fn write(&self, manifest: &[u8], payloads: &Payloads) -> Result<Side, InstallError> {
        let side = self.spare()?;
        let new = self.dir.join(format!("{}.new", side.as_str()));
        tree::remove(&new)?;
        // Attack: a tree of countless small files that fills the disk. What did not fit must not stay and starve the device.
        self.write_beside(side, &new, manifest, payloads).inspect_err(|_| {
            if let Err(e) = tree::remove(&new) {
                tracing::warn!(error = %e, "what was written of a slot cannot be removed");
            }
        })
    }

    fn write_beside(&self, side: Side, new: &Path, manifest: &[u8], payloads: &Payloads) -> Result<Side, InstallError> {
        fs::create_dir_all(new).map_err(io_error("make", new))?;
        for (payload, source, _) in payloads {
            write_payload(payload, source, &new.join(payload.name.as_str()))?;
        }
        let about = new.join(ABOUT);
        fs::create_dir(&about).map_err(io_error("make", &about))?;
        for (payload, _, index) in payloads {
            durable::write(&about.join(format!("{}.index", payload.name)), index, durable::OPEN)?;
        }
        durable::write(&about.join("manifest.json"), manifest, durable::OPEN)?;
        // One call for all files and directories, rather than one for each of thousands.
        let synced = File::open(new).and_then(|dir| rustix::fs::syncfs(&dir).map_err(io::Error::from));
        synced.map_err(io_error("sync the file system of", new))?;
        let path = self.path(side);
        tree::remove(&path)?;
        fs::rename(new, &path).map_err(io_error("put in place", &path))?;
        durable::sync_dir(&self.dir)?;
        Ok(side)
    }

    /// Hashes again all that a slot holds and compares it with its manifest, which must have that digest.
    pub fn verify(&self, side: Side, manifest: &Digest) -> Result<Manifest, InstallError> {
        self.verify_while(side, manifest, &mut |_| Ok(()))
    }

    /// The same, and before each piece is hashed its length is shown to `pass`, which may take its time, or end it.
    pub fn verify_while(
        &self,
        side: Side,
        manifest: &Digest,
        pass: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Manifest, InstallError> {
        let empty = || InstallError::Empty { side: side.as_str() };
        let (held, digest) = self.manifest(side)?.ok_or_else(empty)?;
        if digest != *manifest {
            return Err(empty());
        }
        for payload in &held.payloads {
            let mut passed = Passed { sum: Sum::default(), pass: &mut *pass };
            self.read_payload(side, payload, &mut passed)?;
            passed.sum.check(payload)?;
        }
        Ok(held)
    }

    /// Streams a payload's bytes out of a slot: the file, or the tree packed again.
    pub fn read_payload<W: Write>(&self, side: Side, payload: &Payload, out: W) -> Result<(), InstallError> {
        let path = self.path(side).join(payload.name.as_str());
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        match payload.format {
            PayloadFormat::Tree => {
                tree::pack(&path, &mut out)?;
            }
            PayloadFormat::Image => {
                let mut file = regular::open(&path).map_err(io_error("open", &path))?;
                io::copy(&mut file, &mut out).map_err(io_error("read", &path))?;
            }
        }
        out.flush().map_err(io_error("read", &path))
    }

    /// Makes `current` name a slot.
    pub fn switch(&self, side: Side) -> Result<(), InstallError> {
        if self.current()? == Some(side) {
            return Ok(());
        }
        if self.manifest(side)?.is_none() {
            return Err(InstallError::Empty { side: side.as_str() });
        }
        let new = self.dir.join("current.new");
        let link = self.dir.join(LINK);
        durable::remove(&new)?;
        symlink(side.as_str(), &new).map_err(io_error("make the link", &new))?;
        fs::rename(&new, &link).map_err(io_error("replace the link", &link))?;
        Ok(durable::sync_dir(&self.dir)?)
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
        if self.runs(manifest)? { self.switch(self.spare()?) } else { Ok(()) }
    }
}

fn write_payload(payload: &Payload, from: &Path, to: &Path) -> Result<(), InstallError> {
    let file = File::open(from).map_err(io_error("open", from))?;
    let mut summed = Summed { inner: file, sum: Sum::default() };
    let source = BufReader::with_capacity(BUFFER_BYTES, &mut summed);
    match payload.format {
        // The format's reader reads to the very end, so that all bytes have passed by.
        PayloadFormat::Tree => tree::unpack(source, to)?,
        PayloadFormat::Image => {
            let mut source = source;
            let mut file = File::create_new(to).map_err(io_error("make", to))?;
            io::copy(&mut source, &mut file).map_err(io_error("write", to))?;
        }
    }
    summed.sum.check(payload)
}

/// Length and digest of what passes by.
#[derive(Default)]
struct Sum {
    hasher: Hasher,
    length: u64,
}

impl Sum {
    fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    fn check(self, payload: &Payload) -> Result<(), InstallError> {
        if self.length == payload.length && self.hasher.finish() == payload.sha256 {
            Ok(())
        } else {
            Err(InstallError::WrongBytes { payload: payload.name.to_string() })
        }
    }
}

/// The same, where somebody may end it.
struct Passed<'a> {
    sum: Sum,
    pass: &'a mut dyn FnMut(u64) -> io::Result<()>,
}

impl Write for Passed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.pass)(bytes.len() as u64)?;
        self.sum.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Summed<R> {
    inner: R,
    sum: Sum,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.sum.take(out.get(..n).unwrap_or_default());
        Ok(n)
    }
}

#[cfg(test)]
pub(super) mod tests;
