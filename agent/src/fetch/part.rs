//! A payload on its way: a file as long as the payload, and which of its chunks are there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::io::Errno;
use suture_core::chunk::{Entry, Index, decode};
use suture_core::digest::Digest;
use suture_core::limits::CHUNK_MAX_BYTES;
use suture_core::manifest::Payload;

use super::FetchError;
use super::counters::{Counters, Origin};
use super::holes::Holes;
use super::room::{Room, Stretch};
use crate::checkpoint::{self, Step};
use crate::durable;
use crate::install::{Side, Version};

/// The payload's file and what of it is verified.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    file: File,
    index: Index,
    /// Which chunks are there, by their places. One thread writes and others look.
    there: Vec<AtomicBool>,
    /// All places of each distinct chunk.
    places: BTreeMap<Digest, Vec<u32>>,
    counters: Arc<Counters>,
    room: Room,
    stretch: Stretch,
}

impl Part {
    /// Opens or makes the file, and hashes what it holds.
    pub fn open(path: PathBuf, index: Index, counters: Arc<Counters>) -> Result<Self, FetchError> {
        let open = || {
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.set_len(index.total_length()).map(|()| file)
        };
        let file = match open() {
            // Accident: what the disk has kept under that name is no file any more. It begins anew, in another place.
            Err(e) if is_lost(&e) => {
                tracing::warn!(path = %path.display(), error = %e, "what was fetched cannot be opened; it begins anew");
                durable::remove_tree(&path)?;
                open()
            }
            opened => opened,
        };
        let file = file.map_err(FetchError::io("open", &path))?;
        let mut places: BTreeMap<Digest, Vec<u32>> = BTreeMap::new();
        for (place, entry) in (0_u32..).zip(index.entries()) {
            places.entry(entry.sha256).or_default().push(place);
        }
        let there = index.entries().iter().map(|_| AtomicBool::new(false)).collect();
        let (room, stretch) = (Room::default(), Stretch::default());
        let part = Self { path, file, index, there, places, counters, room, stretch };
        part.scan()?;
        Ok(part)
    }

    /// The same, within that room.
    pub fn within(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// The places that are to be fetched: of each distinct chunk that is missing, its first.
    pub fn missing(&self) -> Vec<u32> {
        let mut wanted: Vec<u32> =
            self.absent().filter_map(|digest| self.places.get(digest)?.first().copied()).collect();
        wanted.sort_unstable();
        wanted
    }

    /// Raw bytes that are not there.
    pub fn missing_bytes(&self) -> u64 {
        let absent = self.index.entries().iter().zip(&self.there).filter(|(_, there)| !there.load(Ordering::Acquire));
        absent.fold(0, |sum, (entry, _)| sum.saturating_add(entry.length.into()))
    }

    /// The chunks.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The digest that the index has for the chunk at this place.
    pub(super) fn digest(&self, place: u32) -> Result<Digest, FetchError> {
        let entry = self.index.entries().get(place as usize);
        let unknown =
            || FetchError::WrongBytes { what: "a chunk".to_owned(), why: format!("the index has no place {place}") };
        entry.map(|entry| entry.sha256).ok_or_else(unknown)
    }

    /// What counts how it gets on.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// For each place, whether [`Part::missing`] names it.
    pub fn wanted(&self) -> Vec<bool> {
        let mut wanted = vec![false; self.there.len()];
        for place in self.missing() {
            if let Some(wanted) = wanted.get_mut(place as usize) {
                *wanted = true;
            }
        }
        wanted
    }

    /// Takes in whole chunks in raw form, as a frame has made them, from the place `first` on. Keeps those that the index
    /// names; says what is wrong, where others are among them.
    pub fn take_made(&self, first: usize, mut raw: &[u8]) -> Result<Option<String>, FetchError> {
        let mut wrong = None;
        let mut place = first;
        while !raw.is_empty() {
            let entry = self.index.entries().get(place).copied();
            let cut = entry.and_then(|entry| Some((entry, raw.split_at_checked(entry.length as usize)?)));
            let Some((entry, (chunk, rest))) = cut else { return Ok(Some("it makes no whole chunks".to_owned())) };
            if self.there.get(place).is_some_and(|there| !there.load(Ordering::Acquire)) {
                if Digest::of(chunk) == entry.sha256 {
                    self.write(&entry, chunk, Origin::Delta)?;
                } else {
                    wrong = Some(format!("what it makes of chunk {} has another digest", entry.sha256.short()));
                }
            }
            (raw, place) = (rest, place.saturating_add(1));
        }
        self.counters.delta_frames.fetch_add(1, Ordering::Relaxed);
        Ok(wrong)
    }

    /// Verifies a chunk in stored form: refuses one that has other bytes than the index names.
    pub fn verify(&self, place: u32, stored: Bytes) -> Result<Verified, FetchError> {
        let entry = self.index.entries().get(place as usize).copied().ok_or_else(|| FetchError::WrongBytes {
            what: "a chunk".to_owned(),
            why: format!("the index has no place {place}"),
        })?;
        self.counters.chunk_came(stored.len() as u64);
        let raw = match decode(&stored, &entry).map_err(|e| FetchError::chunk(&e))? {
            Cow::Owned(raw) => raw.into(),
            Cow::Borrowed(_) => stored,
        };
        Ok(Verified { entry, raw })
    }

    /// Writes a verified chunk to all of its places, where it is not there already.
    pub fn keep(&self, chunk: &Verified) -> Result<(), FetchError> {
        self.write(&chunk.entry, &chunk.raw, Origin::Chunk)
    }

    /// Takes in what the versions on the device hold of the missing chunks, what runs first. One that cannot be read holds
    /// nothing: then the chunks are fetched.
    pub fn seed(&self, versions: &[Version], payload: &Payload) {
        for version in versions {
            if self.missing_bytes() > 0
                && let Err(e) = self.seed_from(version, payload)
            {
                tracing::debug!(slot = version.side.as_str(), error = %e, "the slot cannot serve as a source of chunks");
            }
        }
    }

    /// Makes what is there durable.
    pub fn sync(&self) -> Result<(), FetchError> {
        let synced = checkpoint::file(Step::Sync, &self.path).and_then(|()| self.file.sync_all());
        synced.map_err(FetchError::io("sync", &self.path))
    }

    fn absent(&self) -> impl Iterator<Item = &Digest> {
        let there = |place: &u32| self.there.get(*place as usize).is_none_or(|there| there.load(Ordering::Acquire));
        self.places.iter().filter(move |(_, places)| !places.iter().all(there)).map(|(digest, _)| digest)
    }

    /// Order on the device, 7: what lies on disk after an interruption is hashed again. What was never written is not
    /// read: the file is as long as the payload from the beginning.
    ///
    /// Accident: a sector that cannot be read. Its chunk is not there: it comes again, and the disk puts it elsewhere as it is
    /// written.
    fn scan(&self) -> Result<(), FetchError> {
        if self.file.metadata().map_err(FetchError::io("look at", &self.path))?.blocks() == 0 {
            return Ok(());
        }
        let mut holes = Holes::of(&self.file);
        let mut buffer = Vec::new();
        let (mut start, mut found) = (0_u64, 0_u64);
        let last = self.there.len().saturating_sub(1);
        let mut zeros = None;
        let (mut unread, mut why) = (0_u32, None);
        for (place, (entry, there)) in self.index.entries().iter().zip(&self.there).enumerate() {
            let range = start..start.saturating_add(entry.length.into());
            start = range.end;
            buffer.resize(entry.length as usize, 0);
            let is_there = if !holes.hold(&range) {
                match disk::read(&self.file, &mut buffer, range.start) {
                    Ok(()) => Digest::of(&buffer) == entry.sha256,
                    Err(e) => {
                        (unread, why) = (unread.saturating_add(1), why.or(Some(e)));
                        false
                    }
                }
            } else if entry.length as usize == CHUNK_MAX_BYTES {
                // Some file systems keep no zeros. A run of them is cut into the longest chunks, but for the payload's end.
                *zeros.get_or_insert_with(|| Digest::of(&[0; CHUNK_MAX_BYTES])) == entry.sha256
            } else {
                place == last && Digest::of(&vec![0; buffer.len()]) == entry.sha256
            };
            there.store(is_there, Ordering::Release);
            found = found.saturating_add(if is_there { entry.length.into() } else { 0 });
        }
        if let Some(error) = why {
            let path = self.path.display();
            tracing::warn!(%path, unread, %error, "chunks on the disk cannot be read; they are fetched again");
        }
        self.counters.present_bytes.fetch_add(found, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the raw bytes of a chunk, which were verified, to all of its places, and counts them where they came from.
    fn write(&self, entry: &Entry, raw: &[u8], origin: Origin) -> Result<(), FetchError> {
        for place in self.places.get(&entry.sha256).into_iter().flatten() {
            let (Some(there), Some(offset)) = (self.there.get(*place as usize), self.index.offset(*place as usize))
            else {
                continue;
            };
            if !there.load(Ordering::Acquire) {
                self.room.take(&self.stretch, &self.path, raw.len() as u64)?;
                checkpoint::file(Step::Write, &self.path)
                    .and_then(|()| self.file.write_all_at(raw, offset))
                    .map_err(FetchError::io("write", &self.path))?;
                there.store(true, Ordering::Release);
                self.counters.present_bytes.fetch_add(raw.len() as u64, Ordering::Relaxed);
                self.counters.origin(origin).fetch_add(raw.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Streams the payload of that name out of a version, as the version's own index cuts it.
    fn seed_from(&self, version: &Version, payload: &Payload) -> Result<(), FetchError> {
        let damaged = |e: crate::install::InstallError| FetchError::Unusable(e.to_string());
        for old in version.manifest.payloads.iter().filter(|p| p.name == payload.name) {
            let Some(index) = version.index(old) else { continue };
            let wanted: BTreeSet<Digest> = self.absent().copied().collect();
            let mut seeder = Seeder { part: self, side: version.side, index, wanted, place: 0, buffer: Vec::new() };
            version.read(old, &mut seeder).map_err(damaged)?;
        }
        Ok(())
    }
}

/// Whether what is there of that name is of no use to anybody: a directory, or what the disk or its file system has lost.
fn is_lost(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ISDIR | Errno::IO | Errno::UCLEAN))
}

#[cfg(not(test))]
mod disk {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt as _;

    pub(super) fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        file.read_exact_at(buffer, at)
    }
}

/// The disk, of which some bytes cannot be read by this thread.
#[cfg(test)]
mod disk {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::FileExt as _;

    thread_local! {
        static BAD: RefCell<Range<u64>> = const { RefCell::new(0..0) };
    }

    /// From now on it is these.
    pub(super) fn fails_at(bytes: Range<u64>) {
        BAD.set(bytes);
    }

    pub(super) fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let bad = BAD.with_borrow(Range::clone);
        if at < bad.end && bad.start < at + buffer.len() as u64 {
            return Err(rustix::io::Errno::IO.into());
        }
        file.read_exact_at(buffer, at)
    }
}

/// A chunk whose raw bytes are those that the index names.
#[derive(Debug)]
pub struct Verified {
    entry: Entry,
    raw: Bytes,
}

/// Cuts an old payload as it passes by and keeps the chunks that the new one needs.
struct Seeder<'a> {
    part: &'a Part,
    side: Side,
    index: Index,
    wanted: BTreeSet<Digest>,
    place: usize,
    buffer: Vec<u8>,
}

impl Write for Seeder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(entry) = self.index.entries().get(self.place).copied() else {
            // The slot holds more than its index says: nothing more can be had from it.
            return Ok(bytes.len());
        };
        let room = (entry.length as usize).saturating_sub(self.buffer.len());
        let piece = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() == entry.length as usize {
            if self.wanted.contains(&entry.sha256) && Digest::of(&self.buffer) == entry.sha256 {
                self.part.write(&entry, &self.buffer, Origin::Slot(self.side)).map_err(io::Error::other)?;
                self.part.counters.seeded_chunks.fetch_add(1, Ordering::Relaxed);
            }
            self.buffer.clear();
            self.place = self.place.saturating_add(1);
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this thread has read, in bytes.
    fn read() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    #[test]
    fn a_chunk_that_cannot_be_read_is_not_there_and_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.part");
        let raw = |place: u8| vec![place; 1_000];
        let entry = |place: u8| Entry { sha256: Digest::of(&raw(place)), length: 1_000 };
        let index = Index::new((1..=10).map(entry).collect()).unwrap();
        std::fs::write(&path, (1..=10).flat_map(raw).collect::<Vec<u8>>()).unwrap();
        for (bad, missing) in [(3_999..4_000, vec![3]), (4_500..6_001, vec![4, 5, 6]), (0..10_000, (0..10).collect())] {
            disk::fails_at(bad);
            let part = Part::open(path.clone(), index.clone(), Arc::default()).unwrap();
            assert_eq!(part.missing(), missing);
            for place in missing {
                assert_eq!(part.take_made(place as usize, &raw(place as u8 + 1)).unwrap(), None);
            }
            part.sync().unwrap();
            // What was written lies in another place of the disk.
            disk::fails_at(0..0);
            let part = Part::open(path.clone(), index.clone(), Arc::default()).unwrap();
            assert_eq!((part.missing().len(), part.missing_bytes()), (0, 0));
        }
        // Not even a file any more.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir_all(path.join("lost")).unwrap();
        assert_eq!(Part::open(path, index, Arc::default()).unwrap().missing().len(), 10);
    }

    #[test]
    fn of_a_large_file_only_what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.part");
        let raw = |place: u32| place.to_le_bytes().repeat(CHUNK_MAX_BYTES / 4);
        let length = CHUNK_MAX_BYTES as u32;
        // 4 GiB, of which all but a few chunks are never looked at; one is of zeros.
        let entry = |place: u32| match place {
            5_000 => Entry { sha256: Digest::of(&raw(0)), length },
            3 | 9_999 | 16_383 => Entry { sha256: Digest::of(&raw(place)), length },
            _ => Entry { sha256: Digest::of(&place.to_le_bytes()), length: length - place % 7 },
        };
        let index = Index::new((0..16_384).map(entry).collect()).unwrap();
        let part = Part::open(path.clone(), index.clone(), Arc::default()).unwrap();
        for place in [3, 9_999, 16_383] {
            assert_eq!(part.take_made(place as usize, &raw(place)).unwrap(), None);
        }
        drop(part);

        let before = read();
        let counters: Arc<Counters> = Arc::default();
        let part = Part::open(path, index, counters.clone()).unwrap();
        let read = read() - before;
        assert!(read < 3 << 20, "{read} bytes were read");
        let missing = part.missing();
        assert!([3, 5_000, 9_999, 16_383].iter().all(|place| !missing.contains(place)));
        assert_eq!(missing.len(), 16_380);
        assert_eq!(counters.present_bytes.load(Ordering::Relaxed), 4 * CHUNK_MAX_BYTES as u64);
    }
}
