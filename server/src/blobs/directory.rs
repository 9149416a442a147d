//! Objects as files: `<root>/<kind>/<first two characters>/<id>`.
//!
//! Attack: a stolen certificate of a manufacturer's operator, with which chunks are uploaded that nothing ever lists, until the
//! disk is full and the database on it, by which every hospital is served, can write no more. So objects leave the last
//! [`RESERVE_BYTES`] of a disk free.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::{BlobError, Name};

/// Where puts write before they rename.
const UNFINISHED: &str = ".unfinished";
/// What has been there for longer was left by a put that was interrupted. A younger one may be another server's, at work.
const LEFT: SignedDuration = SignedDuration::from_hours(1);

/// What objects leave free of their disk: 1 GiB, …
const RESERVE_BYTES: u64 = 1 << 30;
/// … or of a small one a twentieth.
const RESERVE_PART: u64 = 20;

#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    /// Bytes, and the part of a small disk.
    reserve: (u64, u64),
    /// Folders of objects that are durably there, as this process has seen to. Two characters choose one, so there are few.
    settled: Mutex<BTreeSet<PathBuf>>,
    /// What was synced, in order.
    #[cfg(test)]
    synced: Mutex<Vec<PathBuf>>,
    /// How often a part was read.
    #[cfg(test)]
    reads: std::sync::atomic::AtomicUsize,
}

impl Directory {
    pub(super) fn open(root: PathBuf, now: Timestamp) -> Result<Self, BlobError> {
        let failed = |source| BlobError::Io { doing: "open the store of", name: root.display().to_string(), source };
        let unfinished = root.join(UNFINISHED);
        fs::create_dir_all(&unfinished).map_err(failed)?;
        for entry in fs::read_dir(&unfinished).map_err(failed)? {
            clear_left(&entry.map_err(failed)?, now).map_err(failed)?;
        }
        sync_folder(&root).map_err(failed)?;
        if let Some(above) = root.parent().filter(|above| !above.as_os_str().is_empty()) {
            sync_folder(above).map_err(failed)?;
        }
        Ok(Self {
            root,
            reserve: (RESERVE_BYTES, RESERVE_PART),
            settled: Mutex::default(),
            #[cfg(test)]
            synced: Mutex::default(),
            #[cfg(test)]
            reads: Default::default(),
        })
    }

    /// Whether the disk has room for so much more, beside what is left free.
    fn has_room(&self, bytes: usize) -> io::Result<bool> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let (most, part) = self.reserve;
        let reserve = most.min(disk.f_blocks.saturating_mul(disk.f_frsize).checked_div(part).unwrap_or(0));
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize) >= reserve.saturating_add(bytes as u64))
    }

    pub(super) fn put(&self, name: &Name, content: &[u8]) -> Result<(), BlobError> {
        let path = self.path(name);
        if self.length(name)? == Some(content.len() as u64) {
            // Whoever put it may not have got to this yet.
            let synced = self.make_folder(&path).and_then(|folder| self.sync(&folder));
            return synced.map_err(|source| failed("put", name, source));
        }
        if !self.has_room(content.len()).map_err(|source| failed("put", name, source))? {
            return Err(failed("put", name, ErrorKind::StorageFull.into()));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| failed("put", name, io::Error::other(e)))?;
        let unfinished = self.root.join(UNFINISHED).join(hex::encode(random));
        let written = write(&unfinished, content).and_then(|()| self.make_folder(&path)).and_then(|folder| {
            fs::rename(&unfinished, &path)?;
            self.sync(&folder)
        });
        written.map_err(|source| {
            // What cannot be removed now is removed at a later start.
            let _ = fs::remove_file(&unfinished);
            failed("put", name, source)
        })
    }

    pub(super) fn get_range(&self, name: &Name, offset: u64, length: u64) -> Result<Bytes, BlobError> {
        let file = File::open(self.path(name)).map_err(|source| failed("open", name, source))?;
        let there = file.metadata().map_err(|source| failed("read", name, source))?.len();
        let end = offset.saturating_add(length);
        let range = || BlobError::Range { name: name.to_string(), length: there, end };
        if end > there {
            return Err(range());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| range())?];
        file.read_exact_at(&mut bytes, offset).map_err(|source| failed("read", name, source))?;
        Ok(bytes.into())
    }

    #[cfg(test)]
    pub(super) fn reads(&self) -> usize {
        self.reads.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn get_up_to(&self, name: &Name, offset: u64, length: usize) -> Result<Bytes, BlobError> {
        #[cfg(test)]
        self.reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let file = File::open(self.path(name)).map_err(|source| failed("open", name, source))?;
        let mut bytes = Vec::with_capacity(length);
        // Into memory that is not zeroed first.
        while bytes.len() < length {
            let at = offset.saturating_add(bytes.len() as u64);
            match rustix::io::pread(&file, spare_capacity(&mut bytes), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("read", name, errno.into())),
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }

    pub(super) fn length(&self, name: &Name) -> Result<Option<u64>, BlobError> {
        match fs::metadata(self.path(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("look for", name, source)),
        }
    }

    pub(super) fn delete(&self, name: &Name) -> Result<(), BlobError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed("delete", name, source)),
        }
        path.parent().map_or(Ok(()), sync_folder).map_err(|source| failed("delete", name, source))
    }

    pub(super) fn list(&self, kind: &str, after: Option<&Name>, limit: usize) -> Result<Vec<String>, BlobError> {
        let failed = |source| BlobError::Io { doing: "list the objects of", name: kind.to_owned(), source };
        let mut found = Vec::new();
        for fan in names(&self.root.join(kind)).map_err(failed)? {
            if found.len() >= limit || after.is_some_and(|after| fan.as_str() < after.fan()) {
                continue;
            }
            let ids = names(&self.root.join(kind).join(&fan)).map_err(failed)?;
            let behind = ids.into_iter().filter(|id| after.is_none_or(|after| *id > after.id));
            // What is no name of an object was put here by hand, and is none of ours.
            let names = behind.map(|id| format!("{kind}/{id}")).filter(|name| Name::parse(name).is_ok());
            found.extend(names);
        }
        found.truncate(limit);
        Ok(found)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(&name.kind).join(name.fan()).join(&name.id)
    }

    /// Makes the folder of `path` durably and says which it is.
    ///
    /// Accident: a power cut after another put, or another server, has made the folder, and before it has synced the folder's own
    /// parent. So that a folder is there is no reason to take it for durable.
    fn make_folder(&self, path: &Path) -> io::Result<PathBuf> {
        let folder = path.parent().unwrap_or(&self.root);
        let is_settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains(folder);
        if !is_settled || !folder.is_dir() {
            fs::create_dir_all(folder)?;
            if let Some(kind) = folder.parent() {
                self.sync(kind)?;
            }
            self.sync(&self.root)?;
            self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        }
        Ok(folder.to_owned())
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.synced.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
        sync_folder(folder)
    }
}

/// Removes what an interrupted put left, if it is old enough for that.
fn clear_left(entry: &fs::DirEntry, now: Timestamp) -> io::Result<()> {
    // Another server may end its put, or clear away the same, at any moment.
    let gone = |e: io::Error| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) };
    let changed = match entry.metadata().and_then(|metadata| metadata.modified()) {
        Ok(changed) => Timestamp::try_from(changed).map_err(io::Error::other)?,
        Err(e) => return gone(e),
    };
    if now.duration_since(changed) <= LEFT {
        return Ok(());
    }
    fs::remove_file(entry.path()).or_else(gone)
}

/// The names in a folder, in order; none where there is no folder.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is not one of ours.
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn failed(doing: &'static str, name: &Name, source: io::Error) -> BlobError {
    let name = name.to_string();
    match source.kind() {
        ErrorKind::NotFound if doing == "open" => BlobError::NotFound(name),
        // ENOSPC, EDQUOT, and EFBIG: a limit on files is a full disk to whoever runs into it.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            BlobError::DiskFull { name, source }
        }
        _ => BlobError::Io { doing, name, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_leave_room_on_their_disk_for_what_every_hospital_is_served_by() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (Name::parse("packs/abc").unwrap(), Name::parse("packs/abd").unwrap());
        let mut directory = Directory::open(root.path().to_owned(), Timestamp::UNIX_EPOCH).unwrap();
        directory.reserve = (0, 1);
        directory.put(&one, b"there").unwrap();
        // As if all that is free of the disk were left to others.
        directory.reserve = (u64::MAX, 1);
        let refused = directory.put(&two, b"more").unwrap_err();
        assert!(matches!(refused, BlobError::DiskFull { .. }), "{refused}");
        assert_eq!(directory.length(&two).unwrap(), None);
        assert_eq!(fs::read_dir(root.path().join(UNFINISHED)).unwrap().count(), 0);
        // What is there already takes no room, and is read.
        directory.put(&one, b"there").unwrap();
        assert_eq!(directory.get_range(&one, 0, 5).unwrap(), b"there"[..]);
        directory.reserve = (u64::MAX, u64::MAX);
        directory.put(&two, b"more").unwrap();
    }

    /// Accident: the power fails between a put's return and what another put, that made the folder, had yet to sync.
    #[test]
    fn the_folder_of_an_object_is_durable_whoever_made_it_and_is_looked_to_once() {
        let root = tempfile::tempdir().unwrap();
        let (packs, folder) = (root.path().join("packs"), root.path().join("packs/ab"));
        let directory = Directory::open(root.path().to_owned(), Timestamp::UNIX_EPOCH).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let synced = || std::mem::take(&mut *directory.synced.lock().unwrap());
        directory.put(&Name::parse("packs/abc").unwrap(), b"there").unwrap();
        assert_eq!(synced(), [packs.clone(), root.path().to_owned(), folder.clone()]);
        directory.put(&Name::parse("packs/abd").unwrap(), b"there").unwrap();
        directory.put(&Name::parse("packs/abd").unwrap(), b"there").unwrap();
        assert_eq!(synced(), [folder.clone(), folder.clone()]);
        // Another server that finds the object there.
        let directory = Directory::open(root.path().to_owned(), Timestamp::UNIX_EPOCH).unwrap();
        directory.put(&Name::parse("packs/abc").unwrap(), b"there").unwrap();
        assert_eq!(*directory.synced.lock().unwrap(), [packs, root.path().to_owned(), folder]);
    }

    #[test]
    fn what_is_there_in_part_is_put_anew() {
        let root = tempfile::tempdir().unwrap();
        let name = Name::parse("packs/abc").unwrap();
        let directory = Directory::open(root.path().to_owned(), Timestamp::UNIX_EPOCH).unwrap();
        directory.put(&name, b"the").unwrap();
        directory.put(&name, b"there").unwrap();
        assert_eq!(directory.get_range(&name, 0, 5).unwrap(), b"there"[..]);
    }
}
