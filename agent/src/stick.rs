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
        let dir = dir.map_err(|e| stick(format!("cannot open {}: {e}", path.display())))?;
        Ok(Self { dir, path: path.to_owned(), read: None })
    }

    /// The same, keeping what is read for [`Stick::into_read`].
    pub fn recording(self) -> Self {
        Self { read: Some(BTreeMap::new()), ..self }
    }

    /// What was read and existed, by path in the stick.
    pub fn into_read(self) -> BTreeMap<String, Vec<u8>> {
        self.read.unwrap_or_default()
    }

    /// A file of at most `limit` bytes; `None` where there is none. `name` is relative and of plain segments; no segment
    /// may be a link, and the last must be a regular file.
    ///
    /// # Errors
    ///
    /// It is longer, no regular file, behind a link, or cannot be read.
    pub fn file(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ClientError> {
        let fail = |why: String| stick(format!("{}/{name}: {why}", self.path.display()));
        if !name.split('/').all(|segment| !matches!(segment, "" | "." | "..")) || name.contains('\0') {
            return Err(fail("this is no plain name".to_owned()));
        }
        let opened = match name.rsplit_once('/') {
            Some((directories, file)) => {
                let mut at = None;
                for segment in directories.split('/') {
                    match open_directory(at.as_ref().unwrap_or(&self.dir), segment) {
                        Ok(next) => at = Some(next),
                        Err(Errno::NOENT) => return Ok(None),
                        Err(e) => return Err(fail(said(e))),
                    }
                }
                open_file(at.as_ref().unwrap_or(&self.dir), file)
            }
            None => open_file(&self.dir, name),
        };
        let file = match opened {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(fail(said(e))),
        };
        let stat = fstat(&file).map_err(|e| fail(said(e)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(fail("it is no regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let reader = File::from(file).take(limit.saturating_add(1)).read_to_end(&mut bytes);
        reader.map_err(|e| fail(e.to_string()))?;
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

    /// The stop orders in it, not yet verified, at most [`MAX_KEPT_STOPS`] in the order of their names.
    ///
    /// # Errors
    ///
    /// They cannot be listed or read.
    pub fn stops(&mut self) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
        let fail = |e: Errno| stick(format!("cannot list the stop orders: {}", said(e)));
        let directory = match open_directory(&self.dir, "stops") {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut names = Vec::new();
        for entry in Dir::new(directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
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

fn said(e: Errno) -> String {
    match e {
        Errno::LOOP => "it is a link, and links are not followed".to_owned(),
        Errno::NOTDIR => "it leads through a link or a file".to_owned(),
        e => e.to_string(),
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
        let long = stick.metadata(Which::Catalog, "1.root.json", 3).await.unwrap_err();
        assert_eq!(long.code(), suture_core::phase::Code::EndlessData);
        assert!(stick.target(Which::Catalog, "bundles/none.json", 8).await.is_err());
        assert_eq!(
            stick.into_read().into_keys().collect::<Vec<_>>(),
            ["catalog/1.root.json", "catalog/bundles/m.json"]
        );
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
