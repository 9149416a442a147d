//! The folder on a disk: read whole and within bounds, written whole or not at all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use suture_core::limits::{MAX_EVIDENCE_BYTES, MAX_EVIDENCE_FILES};

use crate::failure::{Failure, OrFail as _, Outcome};
use crate::files;

/// Files by their path in the folder, `/` between names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The files while they are verified. Whoever takes one verifies it; what nobody has taken, nothing that is signed names.
#[derive(Debug)]
pub struct Reading<'a> {
    files: &'a Files,
    taken: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Reading<'a> {
    /// Begins.
    pub fn of(files: &'a Files) -> Self {
        Self { files, taken: RefCell::default() }
    }

    /// All paths, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.files.keys()
    }

    /// Whether a file is there.
    pub fn contains_key(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// A file's bytes, which the caller verifies.
    pub fn get(&self, path: &str) -> Option<&'a Vec<u8>> {
        let (path, bytes) = self.files.get_key_value(path)?;
        self.taken.borrow_mut().insert(path);
        Some(bytes)
    }

    /// The first file that nobody has taken, of those that `counts` says need it.
    pub fn left(&self, counts: impl Fn(&str) -> bool) -> Option<&'a str> {
        let taken = self.taken.borrow();
        self.files.keys().map(String::as_str).find(|path| counts(path) && !taken.contains(path))
    }
}

/// Says of a folder that grew too large.
pub fn bounded(files: &Files) -> Outcome {
    let bytes: u64 = files.values().map(|b| b.len() as u64).sum();
    if files.len() > MAX_EVIDENCE_FILES || bytes > MAX_EVIDENCE_BYTES {
        return Err(Failure::new(format!(
            "the folder would have {} files and {} bytes, more than {MAX_EVIDENCE_FILES} or {MAX_EVIDENCE_BYTES}",
            files.len(),
            bytes
        ))
        .next("ask for less: one rollout, or one device"));
    }
    Ok(())
}

/// Reads all files of a directory. Links and whatever else is no plain file are refused: they may lead out of it.
pub fn read(directory: &Path) -> Outcome<Files> {
    let mut all = Files::new();
    let mut pending = vec![(directory.to_owned(), String::new())];
    let mut left = MAX_EVIDENCE_BYTES;
    while let Some((place, prefix)) = pending.pop() {
        let failed = || format!("cannot list {}", place.display());
        for entry in fs::read_dir(&place).or_fail(failed)? {
            let entry = entry.or_fail(failed)?;
            let path = entry.path();
            let shown = || path.display().to_string();
            let name = entry.file_name().into_string().map_err(|_| {
                Failure::untrusted(format!("{}: a name that is no text is none of the folder's", shown()))
            })?;
            let inside = format!("{prefix}{name}");
            let kind = entry.file_type().or_fail(|| format!("cannot look at {}", shown()))?;
            if kind.is_dir() {
                // Deeper than any file of ours lies; a tree without end is not followed.
                if inside.matches('/').count() >= 8 {
                    return Err(Failure::untrusted(format!("{inside}: the folder has no such directory")));
                }
                pending.push((path, format!("{inside}/")));
                continue;
            }
            if !kind.is_file() {
                return Err(Failure::untrusted(format!("{inside}: it is a link, or no plain file")));
            }
            let bytes = files::read(&path, left)?.unwrap_or_default();
            left = left.saturating_sub(bytes.len() as u64);
            all.insert(inside, bytes);
            if all.len() > MAX_EVIDENCE_FILES {
                return Err(Failure::untrusted(format!("it has more than {MAX_EVIDENCE_FILES} files")));
            }
        }
    }
    Ok(all)
}

/// Where what was fetched is kept until the folder is whole.
pub fn partial(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!(".{name}.partial"))
}

/// Refuses a place where something is, before anything is fetched.
pub fn vacant(directory: &Path) -> Outcome {
    if directory.file_name().is_none() {
        return Err(Failure::new(format!("{} names no directory to make", directory.display())).next("-o DIR"));
    }
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("{} is not empty", directory.display()))
                .next("name another directory; nothing in this one was touched")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).or_fail(|| format!("cannot look into {}", directory.display())),
    }
}

/// Writes all files beside the directory, flushed to disk, and puts them in its place in one step.
pub fn write(directory: &Path, files: &Files) -> Outcome {
    vacant(directory)?;
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let beside = directory.with_file_name(format!(".{name}.new"));
    let failed = |what: &str| format!("cannot {what} {}", beside.display());
    remove(&beside)?;
    let written = (|| {
        for (inside, bytes) in files {
            let path = beside.join(inside);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).or_fail(|| failed("make directories in"))?;
            }
            // Nothing of it counts before the whole directory has its name.
            let new = File::create_new(&path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
            new.or_fail(|| format!("cannot write {}", path.display()))?;
        }
        // An empty directory may stand there; a rename takes its place.
        fs::rename(&beside, directory).or_fail(|| format!("cannot put {} in its place", directory.display()))?;
        let above = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above).and_then(|d| d.sync_all()).or_fail(|| format!("cannot flush {}", above.display()))
    })();
    if written.is_err() {
        // What could not be written is not left half; that it cannot be removed either is the lesser trouble.
        let _ = remove(&beside);
    }
    written
}

/// Removes a directory with all that is in it, if it is there.
pub fn remove(directory: &Path) -> Outcome {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).or_fail(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all_and_never_in_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("evidence");
        let files: Files = [("README.md".into(), b"hello".to_vec()), ("facts/a.json".into(), b"{}".to_vec())].into();
        write(&place, &files).unwrap();
        assert_eq!(read(&place).unwrap(), files);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(write(&place, &files).unwrap_err().message.contains("is not empty"));
        // An empty directory may be there; one file is in the way of another.
        let second = dir.path().join("second");
        fs::create_dir(&second).unwrap();
        write(&second, &files).unwrap();
        let clash: Files = [("a".into(), b"x".to_vec()), ("a/b".into(), b"x".to_vec())].into();
        write(&dir.path().join("third"), &clash).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half is left");
    }

    #[test]
    fn what_leads_out_of_the_folder_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("README.md")).unwrap();
        assert!(read(dir.path()).unwrap_err().message.contains("README.md"));
    }
}
