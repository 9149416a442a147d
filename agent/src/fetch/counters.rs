//! What a fetch counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::progress::Progress;

use super::delta::Waiting;
use crate::install::Side;

/// What fetches have counted since the agent started; shared with whoever shows progress.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of the bundle's payloads.
    pub total_bytes: AtomicU64,
    /// Of these, on disk and verified.
    pub present_bytes: AtomicU64,
    /// Of these, from slot a.
    pub slot_a_bytes: AtomicU64,
    /// Of these, from slot b.
    pub slot_b_bytes: AtomicU64,
    /// Of these, made by deltas.
    pub delta_made_bytes: AtomicU64,
    /// Of these, unpacked from chunks that the server sent.
    pub chunk_made_bytes: AtomicU64,
    /// Bytes of deltas that came for this bundle.
    pub delta_came_bytes: AtomicU64,
    /// Bytes of chunks that came for this bundle, in stored form.
    pub chunk_came_bytes: AtomicU64,
    /// Whether a delta that is being made is waited for.
    pub waiting: AtomicBool,
    /// Threads that read what is on disk, before the network is asked for the rest.
    reading: AtomicU32,
    /// How long such deltas have been waited for, for this bundle.
    pub(super) deltas_awaited: Waiting,
    /// Since the agent started: chunks that came from the server.
    pub fetched_chunks: AtomicU64,
    /// Since the agent started: bytes of chunks that came from the server, in stored form.
    pub fetched_bytes: AtomicU64,
    /// Since the agent started: bytes of deltas that came from the server.
    pub delta_bytes: AtomicU64,
    /// Since the agent started: frames of deltas that were applied.
    pub delta_frames: AtomicU64,
    /// Since the agent started: chunks that a slot held already.
    pub seeded_chunks: AtomicU64,
    pace: Mutex<Pace>,
    seeded: Mutex<Seeded>,
    /// What was wrong with this bundle's deltas.
    refused: Mutex<Option<String>>,
}

/// Somebody reads the disk as long as it lives.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Counters>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::AcqRel);
    }
}

/// For which payloads' files the slots were looked through, by which versions, and what was missing after that, in bytes.
type Seeded = BTreeMap<PathBuf, (Vec<Digest>, u64)>;

/// How fast a fetch goes on.
#[derive(Debug, Default)]
struct Pace {
    /// Of which fetch.
    dir: PathBuf,
    /// How often it was measured.
    measured: u32,
    /// What had come, and what was there, when it was measured last.
    came_bytes: u64,
    present_bytes: u64,
    bytes_per_sec: u64,
    present_per_sec: u64,
}

fn per_sec(bytes: u64, passed: Duration) -> u64 {
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    bytes.saturating_mul(1_000).checked_div(millis).unwrap_or(0)
}

/// Three parts of what was, one of what is.
const fn smooth(before: u64, now: u64) -> u64 {
    (before / 4 * 3).saturating_add(now / 4)
}

/// Where a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a slot, as it is.
    Slot(Side),
    /// Made by a delta.
    Delta,
    /// From the server.
    Chunk,
}

impl Counters {
    /// With a clock of a test's.
    #[cfg(test)]
    pub(super) fn by(deltas_awaited: Waiting) -> Self {
        Self { deltas_awaited, ..Self::default() }
    }

    /// A fetch of so many bytes into `dir` begins, or goes on; what lies on disk is counted anew.
    pub(super) fn begin(&self, dir: &Path, total_bytes: u64) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.present_bytes.store(0, Ordering::Relaxed);
        self.waiting.store(false, Ordering::Relaxed);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.dir == dir {
            return;
        }
        *pace = Pace { dir: dir.to_owned(), ..Pace::default() };
        let anew = [
            &self.slot_a_bytes,
            &self.slot_b_bytes,
            &self.delta_made_bytes,
            &self.chunk_made_bytes,
            &self.delta_came_bytes,
            &self.chunk_came_bytes,
        ];
        for counter in anew {
            counter.store(0, Ordering::Relaxed);
        }
        self.deltas_awaited.begin();
        self.seeded.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is on disk is being read, until what comes back is dropped.
    pub(crate) fn reads(self: &Arc<Self>) -> Reading {
        self.reading.fetch_add(1, Ordering::AcqRel);
        Reading(self.clone())
    }

    /// Whether what is on disk is being read.
    pub fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Acquire) > 0
    }

    /// What the slots with these versions hold of a payload was taken into that file, of which so many bytes are still missing.
    pub(super) fn seeded(&self, part: &Path, versions: &[Digest], missing: u64) {
        let mut seeded = self.seeded.lock().unwrap_or_else(PoisonError::into_inner);
        seeded.insert(part.to_owned(), (versions.to_vec(), missing));
    }

    /// Whether that was done, and nothing that was there then is missing now: a slot is gigabytes to be read.
    pub(super) fn is_seeded(&self, part: &Path, versions: &[Digest], missing: u64) -> bool {
        let seeded = self.seeded.lock().unwrap_or_else(PoisonError::into_inner);
        seeded.get(part).is_some_and(|(of, then)| of == versions && missing <= *then)
    }

    /// A delta, or a frame of one, was refused, now or before the agent was started.
    pub(super) fn delta_refused(&self, why: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// What was wrong with this bundle's deltas, if anything was: a sentence.
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of a delta have come.
    pub(super) fn delta_came(&self, bytes: u64) {
        self.delta_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.delta_came_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A chunk has come.
    pub(super) fn chunk_came(&self, bytes: u64) {
        self.fetched_chunks.fetch_add(1, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.chunk_came_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What has come over the network for this bundle, in bytes.
    pub fn came_bytes(&self) -> u64 {
        let came = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        came(&self.chunk_came_bytes).saturating_add(came(&self.delta_came_bytes))
    }

    /// So much time has passed since the pace was measured last: measures it anew.
    pub fn measure(&self, passed: Duration) {
        let now = self.progress();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let came = per_sec(now.came_bytes().saturating_sub(pace.came_bytes), passed);
        let there = per_sec(now.present_bytes.saturating_sub(pace.present_bytes), passed);
        // The first span may hold what slots gave: it says nothing of the network.
        if pace.measured > 1 {
            pace.bytes_per_sec = smooth(pace.bytes_per_sec, came);
            pace.present_per_sec = smooth(pace.present_per_sec, there);
        } else if pace.measured == 1 {
            (pace.bytes_per_sec, pace.present_per_sec) = (came, there);
        }
        pace.measured = pace.measured.saturating_add(1);
        (pace.came_bytes, pace.present_bytes) = (now.came_bytes(), now.present_bytes);
    }

    /// The fetch has ended, or is left for a while: it has no pace.
    pub fn rest(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = Pace { dir: std::mem::take(&mut pace.dir), ..Pace::default() };
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// How far it got.
    pub fn progress(&self) -> Progress {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (total_bytes, present_bytes) = (count(&self.total_bytes), count(&self.present_bytes));
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = total_bytes.saturating_sub(present_bytes);
        Progress {
            total_bytes,
            present_bytes,
            slot_a_bytes: count(&self.slot_a_bytes),
            slot_b_bytes: count(&self.slot_b_bytes),
            delta_made_bytes: count(&self.delta_made_bytes),
            chunk_made_bytes: count(&self.chunk_made_bytes),
            delta_bytes: count(&self.delta_came_bytes),
            chunk_bytes: count(&self.chunk_came_bytes),
            bytes_per_sec: pace.bytes_per_sec,
            left_secs: missing.checked_div(pace.present_per_sec).unwrap_or(0),
            waits_for_delta: self.waiting.load(Ordering::Relaxed),
            // The client knows that.
            in_line: false,
        }
    }

    /// Bytes of that origin.
    pub(super) const fn origin(&self, origin: Origin) -> &AtomicU64 {
        match origin {
            Origin::Slot(Side::A) => &self.slot_a_bytes,
            Origin::Slot(Side::B) => &self.slot_b_bytes,
            Origin::Delta => &self.delta_made_bytes,
            Origin::Chunk => &self.chunk_made_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_looked_through_once_as_long_as_nothing_is_lost() {
        let counters = Counters::default();
        let (part, old, new) = (Path::new("app.part"), [Digest::of(b"1")], [Digest::of(b"2")]);
        counters.begin(Path::new("one"), 100);
        assert!(!counters.is_seeded(part, &old, 100));
        counters.seeded(part, &old, 60);
        counters.begin(Path::new("one"), 100);
        assert!(counters.is_seeded(part, &old, 60) && counters.is_seeded(part, &old, 10));
        assert!(!counters.is_seeded(part, &old, 61), "the disk has lost something");
        assert!(!counters.is_seeded(part, &new, 60) && !counters.is_seeded(Path::new("other.part"), &old, 60));
        counters.begin(Path::new("two"), 100);
        assert!(!counters.is_seeded(part, &old, 60));
    }

    #[test]
    fn the_disk_is_read_until_the_last_who_reads_has_ended() {
        let counters = Arc::new(Counters::default());
        assert!(!counters.is_reading());
        let (one, two) = (counters.reads(), counters.reads());
        drop(one);
        assert!(counters.is_reading());
        drop(two);
        assert!(!counters.is_reading());
    }

    #[test]
    fn the_pace_is_of_the_network_and_origins_last_as_long_as_the_bundle() {
        let counters = Counters::default();
        let (one, two) = (Path::new("one"), Path::new("two"));
        counters.begin(one, 10_000);
        let there = |origin, bytes| {
            counters.present_bytes.fetch_add(bytes, Ordering::Relaxed);
            counters.origin(origin).fetch_add(bytes, Ordering::Relaxed);
        };
        there(Origin::Slot(Side::B), 5_000);
        counters.measure(Duration::from_secs(5));
        assert_eq!(counters.progress().bytes_per_sec, 0, "what slots gave is no pace");
        counters.chunk_came(500);
        there(Origin::Chunk, 1_000);
        counters.measure(Duration::from_secs(5));
        let progress = counters.progress();
        assert_eq!((progress.bytes_per_sec, progress.left_secs), (100, 20));
        counters.delta_came(500);
        there(Origin::Delta, 1_000);
        counters.measure(Duration::from_secs(5));
        assert_eq!((counters.progress().bytes_per_sec, counters.progress().left_secs), (100, 15));

        // Left, and gone on with: what is on disk is counted by the scan, where it came from stays known.
        counters.rest();
        counters.begin(one, 10_000);
        counters.present_bytes.store(7_000, Ordering::Relaxed);
        let progress = counters.progress();
        assert_eq!((progress.kept_bytes(), progress.slot_b_bytes, progress.bytes_per_sec), (0, 5_000, 0));
        counters.begin(two, 20);
        let progress = counters.progress();
        assert_eq!((progress.total_bytes, progress.came_bytes(), progress.slot_b_bytes), (20, 0, 0));
        assert_eq!(counters.delta_bytes.load(Ordering::Relaxed), 500, "since the agent started");
    }
}
