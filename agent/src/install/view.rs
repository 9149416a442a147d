//! The bytes of a payload that a slot holds, from anywhere in it, as if the payload still lay there in one piece.
//!
//! Delta frames copy from the version that is there already. An image is a file; a tree is read as the archive that it was
//! unpacked from, of which only the entries' heads are kept in memory, never the contents.
//!
//! What is read here is no authority: a file that somebody has changed yields other bytes, and what is made of them does not
//! have the digest that was signed.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use suture_core::archive::Writer;
use suture_core::limits::MAX_VIEW_ENTRIES;
use suture_core::manifest::PayloadFormat;

use super::regular;
use super::tree::{self, Item, TreeError};

/// A payload in a slot, to be read from anywhere.
#[derive(Debug)]
pub struct View {
    /// The payload from its beginning, without gaps; each ends where the next begins.
    segments: Vec<Segment>,
    length: u64,
    /// What the archive says of its entries, one piece behind another; empty for an image.
    heads: Vec<u8>,
    /// Where its files stand; none where it has no names.
    root: Option<OwnedFd>,
    /// The file that was read last, by its place in `segments`: copies come in runs.
    open: RefCell<Option<(usize, File)>>,
}

#[derive(Debug)]
struct Segment {
    /// Where in the payload it begins.
    at: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// `heads`, from there on.
    Heads(usize),
    /// A whole file, by its name below `root`.
    File(String),
    /// The beginning of a file or block device that the configuration names.
    Medium(File),
}

impl View {
    /// The payload at `path`, of which only the entries are read.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds what no archive holds, or more than [`MAX_VIEW_ENTRIES`] entries.
    pub fn open(format: PayloadFormat, path: &Path) -> Result<Self, TreeError> {
        match format {
            PayloadFormat::Image => Self::of_image(path),
            PayloadFormat::Tree => Self::of_tree(path),
        }
    }

    /// How many bytes the payload has.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Fills `out` with the payload's bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] where that leads beyond the payload's end, or a file has become shorter; or what the
    /// disk says.
    pub fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            // The last that begins here or before: an empty file has no bytes, and the segment behind it begins where it
            // does.
            let after = self.segments.partition_point(|s| s.at <= offset);
            let end = self.segments.get(after).map_or(self.length, |next| next.at);
            let place = after.checked_sub(1).filter(|_| offset < end).ok_or(io::ErrorKind::UnexpectedEof)?;
            let piece = usize::try_from(end - offset).unwrap_or(usize::MAX).min(out.len());
            let (now, later) = out.split_at_mut_checked(piece).ok_or(io::ErrorKind::UnexpectedEof)?;
            self.read_within(place, offset, now)?;
            out = later;
            offset += piece as u64;
        }
        Ok(())
    }

    fn read_within(&self, place: usize, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Segment { at, source } = self.segments.get(place).ok_or(io::ErrorKind::UnexpectedEof)?;
        let within = offset.saturating_sub(*at);
        match source {
            Source::Heads(from) => {
                let from = usize::try_from(within).unwrap_or(usize::MAX).saturating_add(*from);
                let bytes = self.heads.get(from..).and_then(|heads| heads.get(..out.len()));
                out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Source::File(name) => {
                let mut open = self.open.borrow_mut();
                let file = match open.take() {
                    Some((open, file)) if open == place => file,
                    _ => regular::open_below(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?, name)?,
                };
                file.read_exact_at(out, within)?;
                *open = Some((place, file));
                Ok(())
            }
            Source::Medium(file) => file.read_exact_at(out, within),
        }
    }

    /// The first `length` bytes of a file or block device.
    pub(super) fn of_medium(path: &Path, length: u64) -> Result<Self, TreeError> {
        let file = File::open(path).map_err(tree::io_error("open", path))?;
        let whole = Segment { at: 0, source: Source::Medium(file) };
        Ok(Self { segments: vec![whole], length, heads: Vec::new(), root: None, open: RefCell::default() })
    }

    fn of_image(path: &Path) -> Result<Self, TreeError> {
        let look = || tree::io_error("look at", path);
        let foreign = || TreeError::Foreign(path.to_owned());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(foreign)?;
        let root = regular::directory(path.parent().ok_or_else(foreign)?).map_err(look())?;
        let file = regular::open_below(&root, name).map_err(look())?;
        let length = file.metadata().map_err(look())?.len();
        let whole = Segment { at: 0, source: Source::File(name.to_owned()) };
        Ok(Self {
            segments: vec![whole],
            length,
            heads: Vec::new(),
            root: Some(root),
            open: RefCell::new(Some((0, file))),
        })
    }

    fn of_tree(path: &Path) -> Result<Self, TreeError> {
        let root = regular::directory(path).map_err(tree::io_error("open", path))?;
        let mut writer = Writer::new(Vec::new())?;
        let mut segments = vec![Segment { at: 0, source: Source::Heads(0) }];
        // Bytes of contents that stand before the entry at hand.
        let mut contents = 0_u64;
        for (count, item) in tree::walk(path).enumerate() {
            if count == MAX_VIEW_ENTRIES {
                return Err(TreeError::TooMany(path.to_owned()));
            }
            let (_, name, item) = item?;
            match item {
                Item::Directory(mode) => writer.directory(&name, mode)?,
                Item::Link(target) => writer.link(&name, &target)?,
                Item::File(mode, size) => {
                    writer.file_head(&name, mode, size)?;
                    let heads = writer.written().len();
                    let at = contents.saturating_add(heads as u64);
                    contents = contents.saturating_add(size);
                    segments.push(Segment { at, source: Source::File(name) });
                    segments.push(Segment { at: at.saturating_add(size), source: Source::Heads(heads) });
                }
            }
        }
        let heads = writer.finish()?;
        let length = contents.saturating_add(heads.len() as u64);
        Ok(Self { segments, length, heads, root: Some(root), open: RefCell::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use proptest::prelude::*;

    use super::*;

    fn plant(root: &Path, sizes: &[usize]) {
        fs::create_dir_all(root.join("bin/deep")).unwrap();
        for (i, size) in sizes.iter().enumerate() {
            let dir = if i % 2 == 0 { "bin" } else { "bin/deep" };
            let bytes: Vec<u8> = (0..*size).map(|at| (at * (i + 3) % 251) as u8).collect();
            fs::write(root.join(dir).join(format!("{i}")), bytes).unwrap();
        }
        fs::write(root.join("bin/run"), b"#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("bin/run", root.join("link")).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_piece_of_a_tree_is_the_archives(
            sizes in prop::collection::vec(prop_oneof![Just(0_usize), 1..5_000_usize], 0..6),
            pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..4_000_usize), 1..40),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("tree");
            plant(&root, &sizes);
            let whole = tree::pack(&root, Vec::new()).unwrap();
            let view = View::open(PayloadFormat::Tree, &root).unwrap();
            prop_assert_eq!(view.length(), whole.len() as u64);
            for (from, length) in pieces {
                let from = from.index(whole.len());
                let end = whole.len().min(from + length);
                let mut out = vec![0; end - from];
                view.read_at(from as u64, &mut out).unwrap();
                prop_assert_eq!(out, &whole[from..end]);
            }
            let mut all = vec![0; whole.len()];
            view.read_at(0, &mut all).unwrap();
            prop_assert_eq!(all, whole);
        }
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (root, image) = (dir.path().join("tree"), dir.path().join("image"));
        plant(&root, &[10]);
        fs::write(&image, b"image").unwrap();
        for view in [View::open(PayloadFormat::Tree, &root).unwrap(), View::open(PayloadFormat::Image, &image).unwrap()]
        {
            let end = view.length();
            let mut out = [0; 2];
            view.read_at(end - 2, &mut out).unwrap();
            for offset in [end - 1, end, end + 1, u64::MAX] {
                assert_eq!(view.read_at(offset, &mut out).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            }
            view.read_at(end, &mut []).unwrap();
        }
    }

    #[test]
    fn a_file_that_was_cut_short_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        plant(&root, &[1_000]);
        let view = View::open(PayloadFormat::Tree, &root).unwrap();
        fs::write(root.join("bin/0"), b"short").unwrap();
        let mut all = vec![0; usize::try_from(view.length()).unwrap()];
        assert_eq!(view.read_at(0, &mut all).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// What an attacker lays in the place of what was there is neither followed nor waited for.
    #[test]
    fn links_and_pipes_in_a_slot_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (root, image, secret) = (dir.path().join("tree"), dir.path().join("image"), dir.path().join("secret"));
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("0"), vec![1; 1_000]).unwrap();
        let pipe = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let refusal = |lay: &dyn Fn()| {
            fs::remove_dir_all(&root).unwrap_or_default();
            plant(&root, &[1_000]);
            let view = View::open(PayloadFormat::Tree, &root).unwrap();
            lay();
            let mut all = vec![0; usize::try_from(view.length()).unwrap()];
            view.read_at(0, &mut all).unwrap_err().to_string()
        };
        let file = root.join("bin/0");
        let replace = |with: &dyn Fn(&Path)| {
            fs::remove_file(&file).unwrap();
            with(&file);
        };
        assert_eq!(refusal(&|| replace(&pipe)), "it is no file");
        let link = |path: &Path| symlink(secret.join("0"), path).unwrap();
        assert_eq!(refusal(&|| replace(&link)), "it is a link, and links are not followed");
        let through = refusal(&|| {
            fs::rename(root.join("bin"), root.join("away")).unwrap();
            symlink(&secret, root.join("bin")).unwrap();
        });
        assert_eq!(through, "it leads through a link or a file");

        pipe(&image);
        assert!(View::open(PayloadFormat::Image, &image).is_err());
        let (to_file, to_tree) = (dir.path().join("to_file"), dir.path().join("to_tree"));
        symlink(secret.join("0"), &to_file).unwrap();
        symlink(&root, &to_tree).unwrap();
        assert!(View::open(PayloadFormat::Image, &to_file).is_err());
        assert!(View::open(PayloadFormat::Tree, &to_tree).is_err());
    }
}
