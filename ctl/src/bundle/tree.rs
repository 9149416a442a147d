//! A directory as a payload: walked in order, permissions normalised, everything unusual refused by name.
//!
//! What differs from one checkout of the same tree to the next (owners, times, umask) does not reach the archive. What a
//! slot must not hold (devices, sockets, set-user-id programs) is an error, not an omission: the manufacturer should know.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use suture_core::archive::Writer;
use walkdir::{DirEntry, WalkDir};

use crate::failure::{Failure, OrFail as _, Outcome};

const DIRECTORY_MODE: u16 = 0o755;
const PROGRAM_MODE: u16 = 0o755;
const FILE_MODE: u16 = 0o644;
/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;

/// Writes the tree below `root` to `out`.
pub fn archive<W: Write>(root: &Path, out: W) -> Outcome<W> {
    let bad =
        |e: &suture_core::archive::ArchiveError| Failure::new(format!("cannot archive {}", root.display())).because(e);
    if !fs::metadata(root).or_fail(|| format!("cannot read {}", root.display()))?.is_dir() {
        return Err(
            Failure::new(format!("{} is no directory", root.display())).next("a single file has format \"image\"")
        );
    }
    let mut writer = Writer::new(BufWriter::with_capacity(256 << 10, out)).map_err(|e| bad(&e))?;
    for entry in WalkDir::new(root).min_depth(1).follow_links(false).follow_root_links(true).sort_by_file_name() {
        let entry = entry.or_fail(|| format!("cannot read the tree {}", root.display()))?;
        add(&mut writer, root, &entry)?;
    }
    let buffered = writer.finish().map_err(|e| bad(&e))?;
    buffered.into_inner().map_err(|e| Failure::new("cannot write the archived tree").because(e.error()))
}

fn add<W: Write>(writer: &mut Writer<W>, root: &Path, entry: &DirEntry) -> Outcome {
    let place = entry.path();
    let shown = || place.display().to_string();
    let refused = |why: &str| Failure::new(format!("{} cannot be in a bundle: {why}", place.display()));
    let path = place.strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(|| refused("its name is not UTF-8"))?;
    let kind = entry.file_type();
    let added = if kind.is_dir() {
        writer.directory(path, DIRECTORY_MODE)
    } else if kind.is_symlink() {
        let target = fs::read_link(place).or_fail(|| format!("cannot read the link {}", shown()))?;
        let target = target.to_str().ok_or_else(|| refused("its target is not UTF-8"))?;
        writer.link(path, target)
    } else if kind.is_file() {
        let file = File::open(place).or_fail(|| format!("cannot read {}", shown()))?;
        let metadata = file.metadata().or_fail(|| format!("cannot read {}", shown()))?;
        if metadata.mode() & SET_ID_BITS != 0 {
            return Err(refused("it is set-user-id or set-group-id; clear that, devices would not honour it"));
        }
        let mode = if metadata.mode() & 0o100 != 0 { PROGRAM_MODE } else { FILE_MODE };
        writer.file(path, mode, metadata.len(), file)
    } else {
        return Err(refused("it is neither a directory, a file nor a symbolic link"));
    };
    added.map_err(|e| Failure::new(format!("cannot archive {}", shown())).because(&e))
}

/// How many bytes of files are below `root`, for progress alone.
pub fn estimate(root: &Path) -> u64 {
    let files = WalkDir::new(root).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file());
    files.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}
