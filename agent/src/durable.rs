//! Files that survive a power cut: written beside, fsynced, renamed over, and the directory fsynced.
//!
//! A reader sees the old bytes or the new ones, never a mixture. What is read is bounded.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use suture_core::json::{self, JsonError};
use zeroize::Zeroizing;

use crate::checkpoint::{self, Step};

/// Permissions of a file that only the agent may read.
pub const SECRET: u32 = 0o600;
/// Permissions of a file that anyone on the device may read.
pub const OPEN: u32 = 0o644;
/// Permissions of a directory that only the agent may look into.
pub const SECRET_DIR: u32 = 0o700;
/// Permissions of a directory that anyone on the device may look into.
pub const OPEN_DIR: u32 = 0o755;
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
    /// It is not whole, or of another kind.
    #[error("{} is torn, or of a format that this program does not know", path.display())]
    Torn {
        /// Which file.
        path: PathBuf,
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

    /// Of a file that was read: whether what lies there is lost. Accident: a bad sector. It is as lost as what is torn, and what is
    /// written next takes its place. Not where the same file may be read in a moment, or by another account.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_lost(source),
            Self::TooLong { .. } | Self::Torn { .. } | Self::Damaged { .. } => true,
        }
    }
}

/// Whether it is the system that had nothing left to read with, or the time that was given.
pub fn is_short(said: &io::Error) -> bool {
    matches!(said.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::TimedOut)
        || matches!(Errno::from_io_error(said), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether what was to be read is there, and its disk does not give it: not now, and not to anybody.
pub fn is_lost(said: &io::Error) -> bool {
    let elsewhere = [
        io::ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::WouldBlock,
        io::ErrorKind::Interrupted,
    ];
    !is_short(said) && !elsewhere.contains(&said.kind())
}

/// Gives a file or directory that was just made its permissions, whatever the umask has taken of them: the shipped unit's takes all
/// that are not the owner's, and what is installed is for the device's other accounts too. FAT has one mode for all its files; there it
/// stays that.
pub fn permit(made: &File, mode: u32) -> io::Result<()> {
    const ALL: u32 = 0o777;
    let has = made.metadata()?.permissions().mode();
    if has & ALL == mode {
        return Ok(());
    }
    match made.set_permissions(Permissions::from_mode(has & !ALL | mode)) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        set => set,
    }
}

/// Writes `bytes` to `path` with `mode`, whole or not at all.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let beside = beside(path);
    let made = (|| {
        checkpoint::file(Step::Write, path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        permit(&file, mode)?;
        power::write(&mut file, bytes)?;
        checkpoint::file(Step::Sync, path)?;
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
        checkpoint::file(Step::Write, path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        permit(&file, mode)?;
        power::write(&mut file, &bytes)
    })();
    made.map_err(DurableError::io("write", &beside))?;
    checkpoint::file(Step::Rename, path)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(DurableError::io("replace", path))
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
    // Synced with the name below.
    if fs::symlink_metadata(&new).is_ok() {
        remove(&new)?;
    }
    let made = checkpoint::file(Step::Make, path).and_then(|()| symlink(target, &new));
    made.map_err(DurableError::io("make the link", &new))?;
    rename(&new, path)
}

/// Gives a file another name in its directory, in the place of whatever has that name.
pub fn rename(from: &Path, to: &Path) -> Result<(), DurableError> {
    checkpoint::file(Step::Rename, to).and_then(|()| fs::rename(from, to)).map_err(DurableError::io("replace", to))?;
    sync_parent(to)
}

/// Writes `bytes` twice, one file after the other: whatever becomes of one of them, the other is whole. For what cannot be
/// had again.
pub fn write_twice(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    write(&copy_of(path), bytes, mode)?;
    write(path, bytes, mode)
}

/// Reads what [`write_twice`] wrote: the first of both that `whole` makes something of. `None` where there is neither.
///
/// # Errors
///
/// One is there, and neither is whole: what the disk said of one that it does not give, or else that it is torn.
pub fn read_either<T>(path: &Path, whole: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, DurableError> {
    let (mut lost, mut damaged) = (None, false);
    for place in [path.to_owned(), copy_of(path)] {
        match one_of(&place, &whole) {
            Ok(One::Whole(_, found)) => {
                if damaged || lost.is_some() {
                    tracing::warn!(path = %path.display(), "it is damaged; its copy counts");
                }
                return Ok(Some(found));
            }
            Ok(One::Torn) => damaged = true,
            Ok(One::Nothing) => {}
            // Accident: a sector of one of them cannot be read. That is what the other is for.
            Err(e) => lost = lost.or(Some(e)),
        }
    }
    match lost {
        Some(e) => Err(e),
        None if damaged => Err(DurableError::Torn { path: path.to_owned() }),
        None => Ok(None),
    }
}

/// Writes that one of both anew which is there and is not whole, or is not to be read, from the one that is. For whoever holds the
/// state directory; whether something was mended.
///
/// # Errors
///
/// It cannot be written.
pub fn mend_either<T>(path: &Path, mode: u32, whole: impl Fn(&[u8]) -> Option<T>) -> Result<bool, DurableError> {
    let (copy, path) = (copy_of(path), path.to_owned());
    // What cannot be read for the moment may be the newer one.
    let one = |place| match one_of(place, &whole) {
        Err(e) if e.is_damage() => Ok(One::Torn),
        one => one,
    };
    let (place, bytes) = match (one(&path), one(&copy)) {
        (Ok(One::Whole(bytes, _)), Ok(One::Torn)) => (copy, bytes),
        (Ok(One::Torn), Ok(One::Whole(bytes, _))) => (path, bytes),
        _ => return Ok(false),
    };
    write(&place, &bytes, mode)?;
    tracing::warn!(path = %place.display(), "it was damaged, and is written anew from the other of its two copies");
    Ok(true)
}

/// What is in one place.
enum One<T> {
    Nothing,
    Torn,
    Whole(Zeroizing<Vec<u8>>, T),
}

fn one_of<T>(place: &Path, whole: impl Fn(&[u8]) -> Option<T>) -> Result<One<T>, DurableError> {
    let bytes = match read(place, MAX_STATE_BYTES) {
        Err(DurableError::TooLong { .. }) => return Ok(One::Torn),
        read => read?,
    };
    let Some(bytes) = bytes.map(Zeroizing::new) else { return Ok(One::Nothing) };
    Ok(match whole(&bytes) {
        Some(found) => One::Whole(bytes, found),
        None => One::Torn,
    })
}

/// Removes what [`write_twice`] wrote; that it is gone already is no error.
pub fn remove_twice(path: &Path) -> Result<(), DurableError> {
    remove(path)?;
    remove(&copy_of(path))
}

fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".copy");
    path.with_file_name(name)
}

/// Removes a file or an empty directory's place; that it is gone already is no error.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    // Nothing is at stake, and no place passed, where it is gone.
    let removed = fs::symlink_metadata(path)
        .and_then(|_| checkpoint::file(Step::Remove, path))
        .and_then(|()| fs::remove_file(path));
    match removed {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => sync_gone(path),
        Err(source) => Err(DurableError::io("remove", path)(source)),
    }
}

/// Makes durable that there is no such name. Accident: whoever removed it was killed before the directory was on the disk; it
/// is gone for all that run now, and after a power cut it is there again.
pub fn sync_gone(path: &Path) -> Result<(), DurableError> {
    match sync_parent(path) {
        Err(DurableError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes a directory and all below it, or a file; that it is gone already is no error.
pub fn remove_tree(path: &Path) -> Result<(), DurableError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => checkpoint::file(Step::Remove, path).and_then(|()| fs::remove_dir_all(path)),
        Ok(_) => checkpoint::file(Step::Remove, path).and_then(|()| fs::remove_file(path)),
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
    make_dirs(path, SECRET_DIR)
}

/// The same with that mode, for those that are missing.
pub fn make_dirs(path: &Path, mode: u32) -> Result<(), DurableError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dirs(parent, mode)?;
    }
    let made = checkpoint::file(Step::Make, path)
        .and_then(|()| fs::DirBuilder::new().mode(mode).create(path))
        .and_then(|()| permit(&File::open(path)?, mode));
    match made {
        // Somebody else was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(DurableError::io("make", path))?,
    }
    sync_parent(path)
}

/// Makes the directory entry of `path` durable.
pub fn sync_parent(path: &Path) -> Result<(), DurableError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(parent, path)
}

/// Makes a directory's entries durable.
pub fn sync_dir(path: &Path) -> Result<(), DurableError> {
    sync(path, path)
}

/// Syncs a directory, for the sake of this name in it.
fn sync(dir: &Path, name: &Path) -> Result<(), DurableError> {
    checkpoint::file(Step::Settle, name)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(DurableError::io("sync", dir))
}

/// Bytes free for the agent on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64, DurableError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| DurableError::io("ask for the free space of", path)(e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(test))]
mod power {
    use std::fs::File;
    use std::io::{self, Write as _};

    pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// The power, as a test cuts it: after so many [`checkpoint`]s every further one fails, as if the process had ended there. A
/// write that is cut leaves half of its bytes.
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

    pub(crate) fn step() -> io::Result<()> {
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

/// Puts a file in the place of `path` that opens, and is given by no disk; it is replaced and removed as any other.
#[cfg(test)]
pub(crate) fn lose(path: &Path) {
    remove(path).unwrap();
    // Linux, proc(5): what is not mapped is an error of input and output, and nothing is at 0.
    symlink("/proc/self/mem", path).unwrap();
    assert!(
        matches!(read(path, 1), Err(DurableError::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::IO))
    );
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

    /// The shipped unit's takes all that is not its owner's; another's may take less than is to be taken.
    #[test]
    fn modes_are_those_that_are_asked_for_whatever_the_umask_is() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let mode = |place: &Path| fs::metadata(place).unwrap().permissions().mode() & 0o777;
        for umask in [0o077, 0o022, 0] {
            rustix::process::umask(rustix::fs::Mode::from_bits_truncate(umask));
            for wanted in [OPEN, SECRET] {
                // One that a cut has left beside it, too.
                fs::write(path("f.tmp"), b"half").unwrap();
                write(&path("f"), b"one", wanted).unwrap();
                assert_eq!(mode(&path("f")), wanted, "{umask:o}");
                show_json(&path("f"), &1, wanted).unwrap();
                assert_eq!(mode(&path("f")), wanted, "{umask:o}");
            }
            for wanted in [OPEN_DIR, SECRET_DIR] {
                make_dirs(&path("a/b"), wanted).unwrap();
                assert_eq!([mode(&path("a")), mode(&path("a/b"))], [wanted; 2], "{umask:o}");
                remove_tree(&path("a")).unwrap();
            }
        }
    }

    #[test]
    fn of_two_copies_the_whole_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let whole = |bytes: &[u8]| bytes.ends_with(b".").then(|| bytes.to_vec());
        assert!(read_either(&path, whole).unwrap().is_none());
        write_twice(&path, b"one.", SECRET).unwrap();
        for torn in [&path, &copy_of(&path)] {
            for bytes in [&b""[..], b"on", b"\0\0\0\0"] {
                fs::write(torn, bytes).unwrap();
                assert_eq!(read_either(&path, whole).unwrap().unwrap(), b"one.");
            }
            fs::remove_file(torn).unwrap();
            assert_eq!(read_either(&path, whole).unwrap().unwrap(), b"one.");
            fs::write(torn, b"one.").unwrap();
        }
        fs::write(&path, b"").unwrap();
        fs::remove_file(copy_of(&path)).unwrap();
        assert!(matches!(read_either(&path, whole), Err(DurableError::Torn { .. })));
    }

    #[test]
    fn of_two_copies_one_may_be_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let copy = copy_of(&path);
        let whole = |bytes: &[u8]| bytes.ends_with(b".").then(|| bytes.to_vec());
        for (bad, other) in [(&path, &copy), (&copy, &path)] {
            write_twice(&path, b"one.", SECRET).unwrap();
            // A directory opens, and gives an error where it is read.
            fs::remove_file(bad).unwrap();
            fs::create_dir(bad).unwrap();
            assert_eq!(read_either(&path, whole).unwrap().unwrap(), b"one.");
            for neither in [&b"on"[..], b""] {
                fs::write(other, neither).unwrap();
                assert!(matches!(read_either(&path, whole), Err(DurableError::Io { .. })), "the disk's word");
                assert!(!mend_either(&path, SECRET, whole).unwrap(), "there is nothing to mend it from");
            }
            fs::remove_file(other).unwrap();
            assert!(matches!(read_either(&path, whole), Err(DurableError::Io { .. })));
            fs::remove_dir(bad).unwrap();
        }
        for bad in [&path, &copy] {
            write_twice(&path, b"two.", SECRET).unwrap();
            assert!(!mend_either(&path, SECRET, whole).unwrap(), "both are whole");
            fs::write(bad, b"tw").unwrap();
            assert!(mend_either(&path, SECRET, whole).unwrap());
            assert_eq!(fs::read(bad).unwrap(), b"two.");
            fs::remove_file(bad).unwrap();
            assert!(!mend_either(&path, SECRET, whole).unwrap(), "one that is not there was never written");
        }
    }

    #[test]
    fn what_cannot_be_read_for_the_moment_is_not_lost() {
        let said = |error: io::Error| DurableError::io("read", Path::new("f"))(error).is_damage();
        for lost in [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::ISDIR, Errno::LOOP] {
            assert!(said(lost.into()), "{lost}");
        }
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::TIMEDOUT, Errno::AGAIN, Errno::INTR] {
            assert!(!said(passing.into()), "{passing}");
        }
        assert!(!said(Errno::ACCESS.into()) && !said(Errno::PERM.into()), "another account reads it");
        assert!(DurableError::Torn { path: PathBuf::new() }.is_damage());
    }

    #[test]
    fn removing_twice_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("t");
        make_dir(&tree.join("deep")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove(&tree).unwrap();
        remove(&tree.join("deep")).unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }

    #[test]
    fn a_file_that_was_removed_before_a_kill_is_gone_for_good_once_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"one", SECRET).unwrap();
        // Removed, and killed before the directory was on the disk.
        power::cut_after(1);
        assert!(remove(&path).is_err() && power::restore() && !path.exists());
        // The disk refuses: then it is not said.
        power::cut_after(0);
        assert!(remove(&path).is_err());
        power::restore();
        remove(&path).unwrap();
    }

    #[test]
    fn every_directory_that_is_made_is_on_the_disk_before_what_is_below_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        // Each is made and synced.
        for (steps, made) in [(0, 0), (1, 1), (2, 1), (3, 2)] {
            power::cut_after(steps);
            assert!(make_dirs(&path, OPEN_DIR).is_err() && power::restore(), "{steps}");
            let there = [dir.path().join("a"), path.clone()];
            assert_eq!(there.iter().filter(|d| d.is_dir()).count(), made, "{steps}");
            remove_tree(&there[0]).unwrap();
        }
        make_dirs(&path, OPEN_DIR).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
