//! Opening a slot's files for reading.
//!
//! Attack: somebody has laid a link in a slot, so that another file is read, or a pipe that nobody writes to, so that the
//! agent waits for ever. No name on the way is a link, nothing is waited for, and only a regular file is read.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

/// The file at this path, whose last name alone is watched: what leads to a slot is the device's own.
pub(super) fn open(path: &Path) -> io::Result<File> {
    file(openat(CWD, path, FILE, Mode::empty()))
}

/// A directory, below which files are opened.
pub(super) fn directory(path: &Path) -> io::Result<OwnedFd> {
    openat(CWD, path, DIRECTORY, Mode::empty()).map_err(said)
}

/// The file of that name below a directory.
pub(super) fn open_below(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let mut names = Path::new(name).components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(Component::Normal(name)) = names.next() {
        let within = at.as_ref().unwrap_or(directory);
        if names.peek().is_none() {
            return file(openat(within, name, FILE, Mode::empty()));
        }
        at = Some(openat(within, name, DIRECTORY, Mode::empty()).map_err(said)?);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the name leads out of its directory"))
}

const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn file(opened: Result<OwnedFd, Errno>) -> io::Result<File> {
    let opened = opened.map_err(said)?;
    let kind = FileType::from_raw_mode(fstat(&opened)?.st_mode);
    if kind == FileType::RegularFile {
        Ok(opened.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

fn said(e: Errno) -> io::Error {
    match e {
        Errno::LOOP => io::Error::new(io::ErrorKind::InvalidInput, "it is a link, and links are not followed"),
        Errno::NOTDIR => io::Error::new(io::ErrorKind::NotADirectory, "it leads through a link or a file"),
        e => e.into(),
    }
}
