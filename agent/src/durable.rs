//! Files that survive a power cut: written beside, fsynced, renamed over, and the directory fsynced.
//!
//! A reader sees the old bytes or the new ones, never a mixture. What is read is bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use suture_core::json::{self, JsonError};

/// Permissions of a file that only the agent may read.
pub const SECRET: u32 = 0o600;
/// Permissions of a file that anyone on the device may read.
pub const OPEN: u32 = 0o644;
/// A state file of our own; far more than any of them needs.
pub const MAX_STATE_BYTES: u64 = 1 << 20;

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The disk refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Longer than such a file can be.
    #[error("{} is longer than {limit} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its bound.
        limit: u64,
    },
    /// Its contents make no sense.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: JsonError,
    },
}

impl DurableError {
    /// For `map_err`: an operation on a path.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// Whether the disk had no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Writes `bytes` to `path` with `mode`, whole or not at all.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let beside = beside(path);
    let made = (|| {
        power::step()?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        power::write(&mut file, bytes)?;
        power::step()?;
        file.sync_all()
    })();
    made.map_err(DurableError::io("write", &beside))?;
    rename(&beside, path)
}

/// Writes a value as canonical JSON, whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), DurableError> {
    let bytes = json::to_canonical(value).map_err(|source| DurableError::Damaged { path: path.to_owned(), source })?;
    write(path, &bytes, mode)
}

/// Writes a value as canonical JSON for whoever looks at it while the agent runs: whole or not at all for them, but after a
/// power cut it may be the old one, empty or gone. It waits for no disk.
pub fn show_json<T: Serialize>(path: &Path, value: &T, mode: u32) -> Result<(), DurableError> {
    let bytes = json::to_canonical(value).map_err(|source| DurableError::Damaged { path: path.to_owned(), source })?;
    let beside = beside(path);
    let made = (|| {
        power::step()?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        power::write(&mut file, &bytes)
    })();
    made.map_err(DurableError::io("write", &beside))?;
    power::step().and_then(|()| fs::rename(&beside, path)).map_err(DurableError::io("replace", path))
}

/// Reads a file of at most `limit` bytes; `None` where there is none. A pipe in its place is empty, and not waited for.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DurableError> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DurableError::io("open", path)(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(DurableError::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(DurableError::TooLong { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}

/// Reads strict JSON; `None` where there is no file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DurableError> {
    read(path, MAX_STATE_BYTES)?
        .map(|bytes| json::from_slice(&bytes))
        .transpose()
        .map_err(|source| DurableError::Damaged { path: path.to_owned(), source })
}

/// Makes `path` a link to `target`, or that link in the place of another; `path` names the one or the other at every instant.
pub fn link(target: &Path, path: &Path) -> Result<(), DurableError> {
    let new = path.with_extension("new");
    remove(&new)?;
    power::step().and_then(|()| symlink(target, &new)).map_err(DurableError::io("make the link", &new))?;
    rename(&new, path)
}

/// Gives a file another name in its directory, in the place of whatever has that name.
pub fn rename(from: &Path, to: &Path) -> Result<(), DurableError> {
    power::step().and_then(|()| fs::rename(from, to)).map_err(DurableError::io("replace", to))?;
    sync_parent(to)
}

/// Removes a file or an empty directory's place; that it is gone already is no error.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    match power::step().and_then(|()| fs::remove_file(path)) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DurableError::io("remove", path)(source)),
    }
}

/// Removes a directory and all below it, or a file; that it is gone already is no error.
pub fn remove_tree(path: &Path) -> Result<(), DurableError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DurableError::io("remove", path)(source)),
    }
}

/// Makes a directory and those above it that are missing, readable by the agent alone, each durable before what is below it.
pub fn make_dir(path: &Path) -> Result<(), DurableError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match power::step().and_then(|()| fs::DirBuilder::new().mode(0o700).create(path)) {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(DurableError::io("make", path))?,
    }
    sync_parent(path)
}

/// Makes the directory entry of `path` durable.
pub fn sync_parent(path: &Path) -> Result<(), DurableError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(parent)
}

/// Makes a directory's entries durable.
pub fn sync_dir(path: &Path) -> Result<(), DurableError> {
    power::step().and_then(|()| File::open(path)?.sync_all()).map_err(DurableError::io("sync", path))
}

/// Bytes free for the agent on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64, DurableError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| DurableError::io("ask for the free space of", path)(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Where the power may fail; tests cut it, elsewhere nothing happens here.
#[cfg(not(test))]
mod power {
    use std::fs::File;
    use std::io::{self, Write as _};

    pub(super) fn step() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// The power, as a test cuts it: after so many steps that touch the disk every further one fails, as if the process had
/// ended there. A write that is cut leaves half of its bytes.
#[cfg(test)]
pub(crate) mod power {
    use std::cell::Cell;
    use std::fs::File;
    use std::io::{self, Write as _};

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Cuts it after that many steps of this thread.
    pub(crate) fn cut_after(steps: u32) {
        LEFT.set(Some(steps));
    }

    /// Brings it back; whether it had failed.
    pub(crate) fn restore() -> bool {
        LEFT.take() == Some(0)
    }

    pub(super) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power has failed")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }

    pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let cut = step();
        file.write_all(if cut.is_err() { &bytes[..bytes.len() / 2] } else { bytes })?;
        cut
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_its_mode_kept_tight() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"one", SECRET).unwrap();
        write(&path, b"two", SECRET).unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(read(&path, 2), Err(DurableError::TooLong { limit: 2, .. })));
        assert!(read(&dir.path().join("none"), 3).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn removing_twice_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("t");
        make_dir(&tree.join("deep")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove(&tree).unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }
}
