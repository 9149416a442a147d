//! A payload put together again from its chunks.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use suture_core::chunk::{Index, decode};
use suture_core::digest::{Digest, Hasher};
use suture_core::limits::BLOCK_BYTES;

use super::reads::{Extent, Frames, Planned};
use super::{Transfer, TransferError, damaged, pack_name};
use crate::blobs::Blobs;

/// Frames that are read at a time, so that a store which takes its time for each does not take it for all: 2 MiB.
const AHEAD: usize = 8;

/// A payload that lies in a file.
#[derive(Debug)]
pub(crate) struct Laid {
    /// The digest of all its bytes.
    pub(crate) sha256: Digest,
    /// Its chunks.
    pub(crate) index: Index,
    /// What each has in stored form, in bytes.
    pub(crate) stored: Vec<u32>,
}

impl Transfer {
    /// Writes the payload with that index into a file from its beginning on.
    pub(crate) async fn lay(&self, index_sha256: &Digest, file: Arc<File>) -> Result<Laid, TransferError> {
        let places = self.places_of(index_sha256).await?;
        let index = Arc::new(self.index(index_sha256).await?);
        let mut hasher = Hasher::default();
        let ordinals = 0..u32::try_from(places.len()).unwrap_or(u32::MAX);
        let read = |frame: Planned| read(&self.blobs, frame);
        let mut frames = stream::iter(Frames::new(places.clone(), ordinals)).map(read).buffered(AHEAD);
        while let Some((chunks, data)) = frames.try_next().await? {
            let (index, file) = (index.clone(), file.clone());
            let write = move || write(&index, &chunks, data.into(), &file, hasher);
            hasher = tokio::task::spawn_blocking(write).await??;
        }
        let stored = places.iter().map(|place| place.stored_length).collect();
        Ok(Laid { sha256: hasher.finish(), index: Arc::unwrap_or_clone(index), stored })
    }
}

/// A frame's chunks and bytes, past the blocks that are kept: they are for devices, and this passes once.
async fn read(blobs: &Blobs, frame: Planned) -> Result<(Vec<(u32, u32)>, Vec<u8>), TransferError> {
    let mut reads = Vec::with_capacity(frame.extents.len());
    for Extent { block, within } in &frame.extents {
        let offset = block.number * BLOCK_BYTES as u64 + within.start as u64;
        let name = pack_name(&block.pack);
        reads.push(async move { blobs.get_range(&name, offset, within.len() as u64).await });
    }
    Ok((frame.chunks, try_join_all(reads).await?.concat()))
}

fn write(
    index: &Index,
    chunks: &[(u32, u32)],
    mut data: Bytes,
    file: &File,
    mut hasher: Hasher,
) -> Result<Hasher, TransferError> {
    for (ordinal, stored) in chunks {
        let place = *ordinal as usize;
        let known = index.entries().get(place).zip(index.offset(place)).filter(|_| *stored as usize <= data.len());
        let Some((entry, offset)) = known else {
            return Err(TransferError::Lay(std::io::Error::other(format!("the index has no place {ordinal}"))));
        };
        let raw = data.split_to(*stored as usize);
        let raw = decode(&raw, entry).map_err(|error| damaged("chunk", &entry.sha256, error))?;
        file.write_all_at(&raw, offset).map_err(TransferError::Lay)?;
        hasher.update(&raw);
    }
    Ok(hasher)
}
