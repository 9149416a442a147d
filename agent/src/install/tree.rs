//! Trees on disk to archives and back; the format is [`suture_core::archive`]'s.
//!
//! Attack: an archive that writes outside of its directory through a link that it laid itself. The format lists every
//! parent as a directory before what is in it, here directories are made and never found, and files and links are made
//! exclusively; so nothing is ever written through a link.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use suture_core::archive::{ArchiveError, Kind, MODE_BITS, Reader, Writer};
use suture_core::limits::MAX_VIEW_ENTRIES;
use walkdir::WalkDir;

use super::regular;
use crate::checkpoint::{self, Step};
use crate::durable;

/// Why a tree was not packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The archive, or what it would hold, breaks the format's rules.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
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
    /// Something that no archive holds: a socket, a device, a name that is not UTF-8.
    #[error("{} is no directory, file or link with a name in UTF-8", .0.display())]
    Foreign(PathBuf),
    /// More entries than are looked at.
    #[error("{} holds more than {MAX_VIEW_ENTRIES} entries", .0.display())]
    TooMany(PathBuf),
}

pub(super) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::Io { operation, path, source }
}

/// What stands at one path of a tree.
#[derive(Debug)]
pub(super) enum Item {
    /// A directory, with its mode.
    Directory(u16),
    /// A file, with its mode and its size.
    File(u16, u64),
    /// A link, with its target.
    Link(String),
}

/// The tree below `root` in the archive's order: each item with its path on disk and its name in the archive.
pub(super) fn walk(root: &Path) -> impl Iterator<Item = Result<(PathBuf, String, Item), TreeError>> {
    let entries = WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    entries.map(move |entry| {
        let entry = entry.map_err(|e| {
            let path = e.path().unwrap_or(root).to_owned();
            TreeError::Io { operation: "walk", path, source: e.into() }
        })?;
        let path = entry.path();
        let foreign = || TreeError::Foreign(path.to_owned());
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(foreign)?.to_owned();
        let item = if entry.file_type().is_symlink() {
            let target = fs::read_link(path).map_err(io_error("read the link", path))?;
            Item::Link(target.to_str().ok_or_else(foreign)?.to_owned())
        } else {
            let meta = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
            match () {
                () if meta.is_dir() => Item::Directory(mode(&meta.permissions())),
                () if meta.is_file() => Item::File(mode(&meta.permissions()), meta.len()),
                () => return Err(foreign()),
            }
        };
        Ok((entry.into_path(), name, item))
    })
}

/// Writes the tree below `root` to `out` as an archive. `out` is written in small pieces: buffer it.
pub fn pack<W: Write>(root: &Path, out: W) -> Result<W, TreeError> {
    let mut writer = Writer::new(out)?;
    for item in walk(root) {
        let (path, name, item) = item?;
        match item {
            Item::Directory(mode) => writer.directory(&name, mode)?,
            Item::Link(target) => writer.link(&name, &target)?,
            Item::File(mode, size) => {
                let file = regular::open(&path).map_err(io_error("open", &path))?;
                writer.file(&name, mode, size, file)?;
            }
        }
    }
    Ok(writer.finish()?)
}

/// Lays the archive's tree below `root`, which must not exist yet. Not yet on disk when it returns: sync the file system.
pub fn unpack<R: Read>(source: R, root: &Path) -> Result<(), TreeError> {
    fs::DirBuilder::new().mode(0o700).create(root).map_err(io_error("make", root))?;
    let mut reader = Reader::new(source)?;
    // A directory gets its own permissions last, so that one without write permission can be filled. Those of the root are not in the
    // archive: whoever runs what is installed enters it.
    let mut directories = vec![(root.to_owned(), Permissions::from_mode(durable::OPEN_DIR))];
    while let Some(entry) = reader.next_entry()? {
        let path = root.join(&entry.path);
        let permissions = Permissions::from_mode(u32::from(entry.mode));
        match entry.kind {
            Kind::Directory => {
                fs::DirBuilder::new().mode(0o700).create(&path).map_err(io_error("make", &path))?;
                directories.push((path, permissions));
            }
            Kind::File { .. } => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let mut out = BufWriter::with_capacity(128 << 10, file.map_err(io_error("make", &path))?);
                reader.copy_content(&mut out)?;
                let file = out.into_inner().map_err(|e| io_error("write", &path)(e.into_error()))?;
                file.set_permissions(permissions).map_err(io_error("set the permissions of", &path))?;
            }
            Kind::Link { target } => symlink(target, &path).map_err(io_error("make the link", &path))?,
        }
    }
    for (path, permissions) in directories.into_iter().rev() {
        fs::set_permissions(&path, permissions).map_err(io_error("set the permissions of", &path))?;
    }
    Ok(())
}

/// Removes a tree, also one with directories that do not let themselves be emptied.
pub(super) fn remove(root: &Path) -> Result<(), TreeError> {
    match fs::symlink_metadata(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io_error("look at", root)(e)),
        Ok(meta) if !meta.is_dir() => return fs::remove_file(root).map_err(io_error("remove", root)),
        Ok(_) => checkpoint::file(Step::Remove, root).map_err(io_error("remove", root))?,
    }
    // What a directory holds that could not be listed is seen the next time.
    while open_up(root) {}
    fs::remove_dir_all(root).map_err(io_error("remove", root))
}

/// Lets the directories that are found be listed and emptied; whether one of them did not before.
fn open_up(root: &Path) -> bool {
    let mut opened = false;
    let directories = WalkDir::new(root).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_dir());
    for entry in directories {
        if let Ok(meta) = fs::symlink_metadata(entry.path())
            && meta.permissions().mode() & 0o700 != 0o700
        {
            // A failure shows when the tree is removed, with the path.
            opened |= fs::set_permissions(entry.path(), Permissions::from_mode(0o700)).is_ok();
        }
    }
    opened
}

fn mode(permissions: &Permissions) -> u16 {
    u16::try_from(permissions.mode() & u32::from(MODE_BITS)).unwrap_or(MODE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::suite::obeys_modes;

    /// A small tree with everything that an archive can hold.
    fn plant(root: &Path) {
        fs::create_dir_all(root.join("bin/deep")).unwrap();
        fs::write(root.join("bin/run"), b"#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("bin/deep/data"), vec![7; 300_000]).unwrap();
        fs::create_dir(root.join("ro")).unwrap();
        fs::write(root.join("ro/f"), b"x").unwrap();
        fs::set_permissions(root.join("ro"), Permissions::from_mode(0o555)).unwrap();
        symlink("bin/run", root.join("link")).unwrap();
        symlink("/nowhere", root.join("dangling")).unwrap();
    }

    #[test]
    fn a_tree_comes_back_as_it_was_and_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        plant(&from);
        let bytes = pack(&from, Vec::new()).unwrap();
        unpack(bytes.as_slice(), &to).unwrap();
        assert_eq!(pack(&to, Vec::new()).unwrap(), bytes);
        assert_eq!(fs::metadata(to.join("bin/run")).unwrap().permissions().mode() & 0o777, 0o755);
        remove(&to).unwrap();
        remove(&to).unwrap();
        remove(&from).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_goes_at_once_however_deep_what_refuses_lies() {
        if !obeys_modes("install::tree::tests::a_tree_goes_at_once_however_deep_what_refuses_lies") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("t");
        let deep = root.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), b"x").unwrap();
        for (at, mode) in deep.ancestors().zip([0o555, 0o000, 0o444, 0o100]) {
            fs::set_permissions(at, Permissions::from_mode(mode)).unwrap();
        }
        remove(&root).unwrap();
        assert!(!root.exists());
    }

    #[test]
    fn a_cut_archive_never_unpacks() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("f"), b"content").unwrap();
        let bytes = pack(&from, Vec::new()).unwrap();
        for cut in 0..bytes.len() {
            let to = dir.path().join(format!("to{cut}"));
            assert!(unpack(&bytes[..cut], &to).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_socket_is_named_not_packed() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(matches!(pack(dir.path(), Vec::new()), Err(TreeError::Foreign(_))));
    }
}
