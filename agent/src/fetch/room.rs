//! Room on the disk: asked for before the first chunk is fetched, and again and again while chunks are written, because
//! others write as well. What is kept free for them is never touched.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::FetchError;
use crate::config::Fetching;
use crate::durable::{self, DurableError};

/// How much is written between two looks at what is free: 8 MiB.
const STRETCH_BYTES: u64 = 8 << 20;

/// How much is free on the disk of a path.
type Free = Arc<dyn Fn(&Path) -> Result<u64, DurableError> + Send + Sync>;

/// What a fetch may take of the disk.
#[derive(Clone)]
pub struct Room {
    reserve_bytes: u64,
    free: Free,
}

/// What may be written before it is looked again.
#[derive(Debug, Default)]
pub(super) struct Stretch(AtomicU64);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("reserve_bytes", &self.reserve_bytes).finish_non_exhaustive()
    }
}

/// The system's disks, with what is kept free unless the configuration says otherwise.
impl Default for Room {
    fn default() -> Self {
        Self::new(Fetching::default().reserve_bytes, Arc::new(durable::free_bytes))
    }
}

impl Room {
    /// All but `reserve_bytes` of what `free` says.
    pub fn new(reserve_bytes: u64, free: Free) -> Self {
        Self { reserve_bytes, free }
    }

    /// As [`Room::new`], of the system's disks.
    pub fn reserving(reserve_bytes: u64) -> Self {
        Self::new(reserve_bytes, Arc::new(durable::free_bytes))
    }

    /// Order on the device, 6: free space before the first chunk is fetched. Room is needed for what is missing here
    /// and for all of it, unpacked, in the slot, where its place is not there already.
    pub(super) fn check(&self, (dir, missing): (&Path, u64), unpacked: Option<(&Path, u64)>) -> Result<(), FetchError> {
        let Some((slots, unpacked)) = unpacked else { return self.has(dir, missing).map(drop) };
        let device = |path: &Path| std::fs::metadata(path).map(|m| m.dev()).map_err(FetchError::io("look at", path));
        if device(dir)? == device(slots)? {
            self.has(dir, missing.saturating_add(unpacked)).map(drop)
        } else {
            self.has(dir, missing)?;
            self.has(slots, unpacked).map(drop)
        }
    }

    /// Whether so many bytes may be written to the disk of `path`, of which `stretch` says what was seen to be free.
    pub(super) fn take(&self, stretch: &Stretch, path: &Path, bytes: u64) -> Result<(), FetchError> {
        let left = |left: u64| left.checked_sub(bytes);
        if stretch.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok() {
            return Ok(());
        }
        let free = self.has(path, bytes)?;
        stretch.0.store(free.min(STRETCH_BYTES.max(bytes)).saturating_sub(bytes), Ordering::Release);
        Ok(())
    }

    /// What is free beside the reserve, where that is so many bytes or more.
    fn has(&self, path: &Path, bytes: u64) -> Result<u64, FetchError> {
        let (needed, free) = (bytes.saturating_add(self.reserve_bytes), (self.free)(path)?);
        if needed > free {
            return Err(FetchError::NoRoom { path: path.to_owned(), needed, free });
        }
        Ok(free.saturating_sub(self.reserve_bytes))
    }
}
