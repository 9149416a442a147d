//! A directory that carries signed files to a device without a network: `suturectl stick write` makes it.
//!
//! `catalog/` and `approvals/` hold metadata and documents under the names that a server serves them by, `stops/` the stop
//! orders, and `stick.json` says for which hospital it was written, which is no authority. Attacks stopped here: a directory
//! that leads elsewhere by links, pipes that never end, files without end. What is read is judged as if a server had
//! sent it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use suture_core::limits::{MAX_KEPT_STOPS, MAX_STOP_BYTES};

use crate::client::{ClientError, Files, Which};

/// Files that one stick brings to one device; far more than two repositories have for it.
const MAX_FILES: usize = 4_096;

/// An open stick.
#[derive(Debug)]
pub struct Stick {
    dir: OwnedFd,
    path: PathBuf,
    /// What was read, by path in the stick, where that is wanted.
    read: Option<BTreeMap<String, Vec<u8>>>,
    /// What the disk did not give first, and what the system said.
    unread: Option<(String, String)>,
}

impl Stick {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// It is none, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty());
        let dir = dir.map_err(|e| match junk(e) {
            Some(why) => stick(format!("{}: {why}", path.display())),
            None => ClientError::Unread { place: path.display().to_string(), text: e.to_string() },
        })?;
        Ok(Self { dir, path: path.to_owned(), read: None, unread: None })
    }

    /// A directory that is open already, by whoever may read it; `path` is what it is called.
    pub fn of(dir: OwnedFd, path: &Path) -> Self {
        Self { dir, path: path.to_owned(), read: None, unread: None }
    }

    /// The same, keeping what is read for [`Stick::into_read`].
    pub fn recording(self) -> Self {
        Self { read: Some(BTreeMap::new()), ..self }
    }

    /// What it is called.
    pub fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// What was read and existed, by path in the stick.
    pub fn into_read(self) -> BTreeMap<String, Vec<u8>> {
        self.read.unwrap_or_default()
    }

    /// The first thing that the disk did not give, if it failed: whatever was made of it is not the stick's fault.
    pub fn unread(&self) -> Option<ClientError> {
        let (place, text) = self.unread.clone()?;
        Some(ClientError::Unread { place, text })
    }

    /// A file of at most `limit` bytes; `None` where there is none. `name` is relative and of plain segments; no segment
    /// may be a link, and the last must be a regular file.
    ///
    /// # Errors
    ///
    /// It is longer, no regular file, behind a link, or cannot be read.
    pub fn file(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ClientError> {
        if !name.split('/').all(|segment| !matches!(segment, "" | "." | "..")) || name.contains('\0') {
            return Err(stick(format!("{}/{name}: this is no plain name", self.path.display())));
        }
        let Some(file) = self.open_at(name).map_err(|e| self.failed(name, e))? else { return Ok(None) };
        let stat = fstat(&file).map_err(|e| self.failed(name, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(stick(format!("{}/{name}: it is no regular file", self.path.display())));
        }
        let mut bytes = Vec::new();
        let reader = File::from(file).take(limit.saturating_add(1)).read_to_end(&mut bytes);
        // Without a number of the system's it is none of the kinds that are junk.
        reader.map_err(|e| self.failed(name, Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        if bytes.len() as u64 > limit {
            return Err(ClientError::TooLong { call: "the stick", limit });
        }
        if let Some(read) = &mut self.read {
            if read.len() >= MAX_FILES {
                return Err(stick(format!("it holds more than {MAX_FILES} files for this device")));
            }
            read.insert(name.to_owned(), bytes.clone());
        }
        Ok(Some(bytes))
    }

    /// Opens what has that name; `None` where there is nothing.
    fn open_at(&self, name: &str) -> Result<Option<OwnedFd>, Errno> {
        let opened = match name.rsplit_once('/') {
            Some((directories, file)) => {
                let mut at = None;
                for segment in directories.split('/') {
                    match open_directory(at.as_ref().unwrap_or(&self.dir), segment) {
                        Ok(next) => at = Some(next),
                        Err(Errno::NOENT) => return Ok(None),
                        Err(e) => return Err(e),
                    }
                }
                open_file(at.as_ref().unwrap_or(&self.dir), file)
            }
            None => open_file(&self.dir, name),
        };
        match opened {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    /// What a failure of the system is: the stick's fault, or the disk's, which is noted.
    fn failed(&mut self, name: &str, e: Errno) -> ClientError {
        let place = format!("{}/{name}", self.path.display());
        if let Some(why) = junk(e) {
            return stick(format!("{place}: {why}"));
        }
        let (place, text) = self.unread.get_or_insert((place, e.to_string())).clone();
        ClientError::Unread { place, text }
    }

    /// The stop orders in it, not yet verified, at most [`MAX_KEPT_STOPS`] in the order of their names.
    ///
    /// # Errors
    ///
    /// They cannot be listed or read.
    pub fn stops(&mut self) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
        let directory = match open_directory(&self.dir, "stops") {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(self.failed("stops", e)),
        };
        let mut names = Vec::new();
        for entry in Dir::new(directory).map_err(|e| self.failed("stops", e))? {
            let entry = entry.map_err(|e| self.failed("stops", e))?;
            let name = entry.file_name().to_str().ok().filter(|n| n.ends_with(".json") && !n.starts_with('.'));
            names.extend(name.map(|n| format!("stops/{n}")));
            if names.len() > MAX_FILES {
                return Err(stick(format!("it holds more than {MAX_FILES} stop orders")));
            }
        }
        names.sort_unstable();
        names.truncate(MAX_KEPT_STOPS);
        let mut stops = Vec::new();
        for name in names {
            if let Some(bytes) = self.file(&name, MAX_STOP_BYTES)? {
                stops.push((name, bytes));
            }
        }
        Ok(stops)
    }
}

impl Files for Stick {
    async fn metadata(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.file(&format!("{}/{name}", directory(of)), max_bytes)
    }

    async fn target(&mut self, of: Which, name: &str, max_bytes: u64) -> Result<Vec<u8>, ClientError> {
        let name = format!("{}/{name}", directory(of));
        let missing = || stick(format!("it has no {name}; was it written whole?"));
        self.file(&name, max_bytes)?.ok_or_else(missing)
    }
}

/// The directory of a repository in a stick.
fn directory(of: Which) -> &'static str {
    match of {
        Which::Catalog => "catalog",
        Which::Approvals => "approvals",
    }
}

fn open_directory(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Without waiting for the other end, were it a pipe.
fn open_file(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// What is wrong with a stick of which the system says that; none where it is the disk that failed.
fn junk(e: Errno) -> Option<&'static str> {
    match e {
        Errno::LOOP => Some("it is a link, and links are not followed"),
        Errno::NOTDIR => Some("it leads through a link or a file"),
        Errno::NAMETOOLONG => Some("its name is too long"),
        Errno::NXIO => Some("it is no regular file"),
        _ => None,
    }
}

fn stick(text: String) -> ClientError {
    ClientError::Stick { text }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn nothing_but_regular_files_below_the_stick_is_read() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name);
        fs::write(outside.path().join("secret"), b"secret").unwrap();
        fs::create_dir_all(path("catalog/bundles")).unwrap();
        fs::write(path("catalog/1.root.json"), b"root").unwrap();
        fs::write(path("catalog/bundles/m.json"), b"manifest").unwrap();
        symlink(outside.path().join("secret"), path("catalog/timestamp.json")).unwrap();
        symlink(outside.path(), path("approvals")).unwrap();
        symlink("1.root.json", path("catalog/2.root.json")).unwrap();
        fs::create_dir(path("catalog/snapshot.json")).unwrap();
        rustix::fs::mknodat(CWD, path("catalog/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();

        let mut stick = Stick::open(dir.path()).unwrap().recording();
        let root = stick.metadata(Which::Catalog, "1.root.json", 4).await;
        assert_eq!(root.unwrap().unwrap(), b"root");
        assert_eq!(stick.metadata(Which::Catalog, "3.root.json", 4).await.unwrap(), None);
        assert_eq!(stick.target(Which::Catalog, "bundles/m.json", 8).await.unwrap(), b"manifest");
        for name in
            ["timestamp.json", "2.root.json", "snapshot.json", "pipe", "../catalog/1.root.json", "", "/etc/passwd"]
        {
            assert!(stick.metadata(Which::Catalog, name, 1 << 10).await.is_err(), "{name}");
        }
        assert!(stick.metadata(Which::Approvals, "secret", 1 << 10).await.is_err());
        assert!(stick.unread().is_none(), "none of that is the disk's fault");
        let long = stick.metadata(Which::Catalog, "1.root.json", 3).await.unwrap_err();
        assert_eq!(long.code(), suture_core::phase::Code::EndlessData);
        assert!(stick.target(Which::Catalog, "bundles/none.json", 8).await.is_err());
        assert_eq!(
            stick.into_read().into_keys().collect::<Vec<_>>(),
            ["catalog/1.root.json", "catalog/bundles/m.json"]
        );
    }

    #[test]
    fn what_the_disk_does_not_give_is_no_fault_of_the_stick() {
        let junk = |e: &ClientError| matches!(e, ClientError::Stick { .. });
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Stick::open(&dir.path().join("none")), Err(ClientError::Unread { .. })), "not mounted yet");
        fs::write(dir.path().join("file"), b"{}").unwrap();
        assert!(junk(&Stick::open(&dir.path().join("file")).unwrap_err()), "no directory");
        let mut stick = Stick::open(dir.path()).unwrap();
        for name in ["file/in-a-file", "a\0b", "../file", &"n".repeat(300)] {
            assert!(junk(&stick.file(name, 10).unwrap_err()), "{name}");
        }
        let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(junk(&stick.file("socket", 10).unwrap_err()), "{socket:?}");
        assert!(stick.unread().is_none());

        // Linux's own file of which the first page can never be read: EIO, as of a sector that is bad.
        let mut stick = Stick::open(Path::new("/proc/self")).unwrap();
        let failed = stick.file("mem", 10).unwrap_err();
        assert!(matches!(&failed, ClientError::Unread { place, .. } if place == "/proc/self/mem"), "{failed}");
        assert!(junk(&stick.file("cwd", 10).unwrap_err()), "a link");
        assert_eq!(stick.unread().unwrap().to_string(), failed.to_string(), "it is not forgotten over what follows");
    }

    #[test]
    fn stop_orders_are_bounded_in_number_and_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut stick = Stick::open(dir.path()).unwrap();
        assert!(stick.stops().unwrap().is_empty());
        fs::create_dir(dir.path().join("stops")).unwrap();
        for n in 0..MAX_KEPT_STOPS + 5 {
            fs::write(dir.path().join(format!("stops/{n:04}.json")), b"{}").unwrap();
        }
        fs::write(dir.path().join("stops/.hidden.json"), b"{}").unwrap();
        assert_eq!(stick.stops().unwrap().len(), MAX_KEPT_STOPS);
        let long = vec![b' '; usize::try_from(MAX_STOP_BYTES).unwrap() + 1];
        fs::write(dir.path().join("stops/0000.json"), long).unwrap();
        assert!(stick.stops().is_err());
    }
}
