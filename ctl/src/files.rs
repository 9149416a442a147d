//! Files that are there whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::failure::{Failure, Outcome};

/// How often a directory's lock is tried; who writes holds it for milliseconds, or as long as its disk takes.
const TRY: Duration = Duration::from_millis(10);
/// After so many tries a person is told what is waited for: 2 s.
const TOLD: u32 = 200;
/// After so many nobody waits any longer: 60 s.
const TRIES: u32 = 6_000;
/// The same where nothing depends on it: 1 s.
const SOON: u32 = 100;

/// What could not be done to which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// `read`, `write`, `create`.
    pub action: &'static str,
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The owner only: 0600.
    Secret,
    /// Whoever the umask lets: 0644 at most.
    Public,
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { action, path: path.to_owned(), source }
}

/// Reads a whole file of at most `limit` bytes; `None` where there is none.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at("read", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at("read", path))?;
    if bytes.len() as u64 > limit {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
        return Err(at("read", path)(source));
    }
    Ok(Some(bytes))
}

/// The same of a file that a person has named, which has to be there.
pub fn need(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    read(path, limit)?.ok_or_else(|| Failure::new(format!("there is no file {}", path.display())))
}

/// Puts `bytes` in the place of the file, flushed to disk, so that after a power cut the old or the new one is there.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    write_within(path, bytes, access, TRIES)
}

fn write_within(path: &Path, bytes: &[u8], access: Access, tries: u32) -> Result<(), FileError> {
    // One writer in a directory at a time: a `rollout watch` in another window writes the same files.
    let written =
        locked(directory(path), tries).and_then(|held| placed(&held, path, bytes, access, |a, b| fs::rename(a, b)));
    written.map_err(at("write", path))
}

fn placed(
    held: &File,
    path: &Path,
    bytes: &[u8],
    access: Access,
    moved: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let beside = beside(path);
    let mut file = unfinished(&beside, access)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    moved(&beside, path).inspect_err(|_| {
        // It holds what nobody asked for any more.
        let _ = fs::remove_file(&beside);
    })?;
    held.sync_all()
}

/// A directory in which nobody else writes meanwhile: whoever reads a file of it and writes it anew by that takes nothing of another's
/// back. The system gives the lock back when the directory is closed. A file system that knows no locks is written without.
#[derive(Debug)]
pub struct Locked {
    directory: PathBuf,
    held: File,
}

impl Locked {
    /// Waits for a directory: 60 s at most, or 1 s where a command is done already.
    pub fn wait(directory: &Path, soon: bool) -> Result<Self, FileError> {
        let held = locked(directory, if soon { SOON } else { TRIES }).map_err(at("write", directory))?;
        Ok(Self { directory: directory.to_owned(), held })
    }

    /// As [`write`](fn@write).
    pub fn write(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), FileError> {
        let path = self.directory.join(name);
        placed(&self.held, &path, bytes, access, |a, b| fs::rename(a, b)).map_err(at("write", &path))
    }

    /// The same for a file that must not be there yet.
    pub fn create(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), FileError> {
        let path = self.directory.join(name);
        placed(&self.held, &path, bytes, access, put).map_err(at("create", &path))
    }
}

/// A directory, locked. Attack, or accident: another program that holds the lock and does not go on.
fn locked(directory: &Path, tries: u32) -> io::Result<File> {
    let held = File::open(directory)?;
    for tried in 0..tries {
        match held.try_lock() {
            Ok(()) => return Ok(held),
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(held),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) => {}
        }
        // For a person alone: a program that reads standard error finds one object there, and nothing else.
        if tried == TOLD && io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "waiting for another program that writes in {}", directory.display());
        }
        #[expect(clippy::disallowed_methods, reason = "a lock that is never waited for without end tells nobody")]
        std::thread::sleep(TRY);
    }
    let secs = TRY.saturating_mul(tries).as_secs();
    let text = format!("another program has held the lock on {} for {secs} s", directory.display());
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Where a file is until it is whole.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// A file of that name, begun anew where one was left half.
fn unfinished(beside: &Path, access: Access) -> io::Result<File> {
    let mode = match access {
        Access::Secret => 0o600,
        Access::Public => 0o644,
    };
    match fs::remove_file(beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // `create_new`: never through a link that somebody put there.
    OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that must not exist yet and may be long: written beside its place, and there whole or not at all, whatever ends the
/// program meanwhile. What was left half is written over the next time.
#[derive(Debug)]
pub struct New {
    path: PathBuf,
    file: BufWriter<File>,
}

impl New {
    /// Begins one.
    pub fn begin(path: &Path) -> Result<Self, FileError> {
        let failed = at("create", path);
        if fs::symlink_metadata(path).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let file = unfinished(&beside(path), Access::Public).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Goes on.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(at("write", &self.path))
    }

    /// Flushes it to disk and puts it in its place, never over what somebody has put there meanwhile.
    pub fn finish(mut self) -> Result<(), FileError> {
        let done = (|| {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            put(&beside(&self.path), &self.path)?;
            File::open(directory(&self.path))?.sync_all()
        })();
        done.map_err(at("create", &self.path))
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // Of one that was finished nothing is left there.
        let _ = fs::remove_file(beside(&self.path));
    }
}

fn put(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot; such are found on sticks.
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        done => Ok(done?),
    }
}

/// Writes a file that must not exist yet: there whole or not at all, flushed to disk.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut new = New::begin(path)?;
    new.write(bytes)?;
    new.finish()
}

/// The same, for a file that may be there already with these very bytes, as where a command is run again.
pub fn create_or_keep(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    match read(path, bytes.len() as u64) {
        Ok(Some(there)) if there == bytes => Ok(()),
        _ => create(path, bytes),
    }
}

/// Creates a directory and those above it that are missing, for the owner only.
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at("create", path))
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn two_that_write_the_same_file_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.json");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| write(path, &[writer; 64], Access::Public).unwrap()));
            }
        });
        let last = read(&path, 64).unwrap().unwrap();
        assert!(last.len() == 64 && last.iter().all(|byte| *byte == last[0]), "{last:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Found: a program that was stopped while it wrote held up every other without a bound and without a word.
    #[test]
    fn another_that_does_not_end_is_waited_for_only_so_long_and_what_it_holds_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.json");
        let held = File::open(dir.path()).unwrap();
        held.lock().unwrap();
        let failed = write_within(&path, b"x", Access::Public, 2).unwrap_err();
        let failure = Failure::from(failed).to_text();
        for part in ["cannot write", "audit.json", &format!("the lock on {}", dir.path().display()), "fuser"] {
            assert!(failure.contains(part), "{part}: {failure}");
        }
        assert!(!path.exists());
        drop(held);
        write_within(&path, b"x", Access::Public, 2).unwrap();
    }

    #[test]
    fn a_secret_is_the_owners_alone_and_replacing_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        for text in ["one", "two"] {
            write(&path, text.as_bytes(), Access::Secret).unwrap();
            assert_eq!(read(&path, 10).unwrap().unwrap(), text.as_bytes());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(read(&path, 2).is_err());
        assert!(read(&dir.path().join("none"), 2).unwrap().is_none());
    }

    /// Found: an export that was broken off stood there as if it were whole, and was in the way of the next.
    #[test]
    fn a_new_file_that_was_broken_off_is_not_there_and_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.jsonl");
        let mut cut = New::begin(&path).unwrap();
        cut.write(&[b'x'; 1 << 20]).unwrap();
        // As a signal ends a program: nothing is tidied.
        std::mem::forget(cut);
        assert!(!path.exists());
        let mut failed = New::begin(&path).unwrap();
        failed.write(b"half").unwrap();
        drop(failed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "what has failed leaves nothing");
        create(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // What is there is nobody's to write over, whenever it came.
        assert_eq!(create(&path, b"other").unwrap_err().source.kind(), io::ErrorKind::AlreadyExists);
        let (late, mut new) = (dir.path().join("late"), New::begin(&dir.path().join("late")).unwrap());
        new.write(b"ours").unwrap();
        fs::write(&late, "theirs").unwrap();
        assert_eq!(new.finish().unwrap_err().source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&late).unwrap(), b"theirs");
        create_or_keep(&late, b"theirs").unwrap();
        assert!(create_or_keep(&late, b"ours").is_err() && create_or_keep(&late, b"theirs, and more").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half is left");
    }

    #[test]
    fn a_link_beside_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(".a.new")).unwrap();
        write(&dir.path().join("a"), b"x", Access::Public).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
