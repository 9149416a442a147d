//! One delta from its payloads' chunks to its objects.

use std::collections::HashSet;
use std::path::Path;

use suture_core::chunk::Index;
use suture_core::delta::{Head, Payload};
use suture_core::digest::{Digest, Hasher};
use suture_core::limits::MAX_DELTA_PAYLOAD_BYTES;

use super::claim::Claim;
use super::make::{self, Part};
use super::nothing;
use super::scratch::{Scratch, check_room};
use crate::app::App;
use crate::blobs::BlobError;
use crate::store::StoreError;
use crate::store::deltas::{MadeHead, Pair, RegionObject};
use crate::transfer::{Laid, TransferError};

/// Objects of this kind are regions of deltas.
pub(super) const KIND: &str = "deltas";

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error("another server has taken over the making of deltas")]
    Lost,
    #[error("the deltas' record failed")]
    Store(#[from] StoreError),
    #[error("the deltas' objects failed")]
    Blob(#[from] BlobError),
    #[error("a payload cannot be read")]
    Transfer(#[from] TransferError),
    #[error("scratch files cannot be made")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Failed(String),
}

/// What making came to.
pub(super) enum Made {
    Delta(MadeHead),
    /// It spares nothing, which for these two payloads stays so.
    Useless(String),
    /// It is larger than all deltas may be, which another setting changes.
    Crowded(String),
    /// One of the payloads is not listed any more.
    Gone,
}

/// A delta in the making.
pub(super) struct Production<'a> {
    pub(super) app: &'a App,
    /// Whose work it is.
    pub(super) claim: &'a Claim,
    /// Where both payloads are laid out.
    pub(super) scratch: &'a Path,
    pub(super) pair: Pair,
}

impl Production<'_> {
    /// Makes it and stores its regions.
    pub(super) async fn run(&self) -> Result<Made, JobError> {
        let (store, pair) = (self.app.store(), &self.pair);
        let find = async |sha256: &Digest| Ok::<_, StoreError>(store.payloads(sha256).await?.into_iter().next());
        let Some(new) = find(&pair.new).await?.filter(|new| !new.withdrawn) else { return Ok(Made::Gone) };
        let old = match find(&pair.old).await? {
            Some(old) => Some(old),
            None if pair.old == nothing() => None,
            None => return Ok(Made::Gone),
        };
        let old_length = old.as_ref().map_or(0, |old| old.length);
        if old_length.max(new.length) > MAX_DELTA_PAYLOAD_BYTES {
            return Ok(Made::Useless(format!("a payload has more than {MAX_DELTA_PAYLOAD_BYTES} bytes")));
        }
        let dir = self.scratch.to_owned();
        let (old_file, new_file) = blocking(move || {
            std::fs::create_dir_all(&dir)?;
            check_room(&dir, old_length.saturating_add(new.length)).map_err(JobError::Failed)?;
            Ok((Scratch::new(&dir, "old", old_length)?, Scratch::new(&dir, "new", new.length)?))
        })
        .await?;
        let old_laid = match &old {
            Some(old) => Some(self.lay(&old.index_sha256, &pair.old, &old_file).await?),
            None => None,
        };
        let new_laid = self.lay(&new.index_sha256, &pair.new, &new_file).await?;
        let worth = worth(old_laid.as_ref().map(|laid| &laid.index), &new_laid);
        let payload = |sha256, length| Payload { sha256, length };
        let parts = make::spawn(
            (old_file, payload(pair.old, old_length)),
            (new_file, payload(pair.new, new.length)),
            ends(&new_laid.index),
        )?;
        self.keep(parts, worth, &new_laid).await
    }

    async fn lay(&self, index: &Digest, payload: &Digest, scratch: &Scratch) -> Result<Laid, JobError> {
        let laid = self.app.transfer().lay(index, scratch.file()).await?;
        if laid.sha256 == *payload {
            return Ok(laid);
        }
        Err(JobError::Failed(format!("the chunks of payload {payload} do not add up to it")))
    }

    /// Stores region after region as they come. `worth` is what the chunks are that a delta spares.
    async fn keep(
        &self,
        mut parts: tokio::sync::mpsc::Receiver<Part>,
        worth: u64,
        new: &Laid,
    ) -> Result<Made, JobError> {
        let pair = &self.pair;
        let (mut length, mut regions) = (0_u64, 0_u64);
        let share = self.app.settings().delta_store_bytes;
        let useless = |length: u64| {
            if length > share {
                let why = format!("it takes {length} bytes, or more, and all deltas together may take {share}");
                return Some(Made::Crowded(why));
            }
            let why = || format!("it spares a device {worth} bytes of chunks and takes {length} bytes itself, or more");
            (length >= worth).then(|| Made::Useless(why()))
        };
        while let Some(part) = parts.recv().await {
            match part {
                Part::Region(bytes) => {
                    let region = RegionObject { object: object(pair, regions, &bytes), length: bytes.len() as u64 };
                    length = length.saturating_add(region.length);
                    if let Some(useless) = useless(length) {
                        return Ok(useless);
                    }
                    // The row first, unlike a pack's: a crash in between leaves a name without an object, which the next
                    // try or a deletion makes good, and never an object that nothing names.
                    let mut tx = self.claim.begin().await?;
                    tx.put_delta_region(pair, regions, &region).await?;
                    tx.commit().await?;
                    // Putting what is there changes nothing, and what an earlier try left may be damaged.
                    self.app.blobs().delete(&region.object).await?;
                    self.app.blobs().put(&region.object, bytes.into()).await?;
                    regions = regions.saturating_add(1);
                }
                Part::Head(head) => {
                    let bytes = head.to_bytes().map_err(|e| JobError::Failed(e.to_string()))?;
                    if let Some(useless) = useless(length.saturating_add(bytes.len() as u64)) {
                        return Ok(useless);
                    }
                    let chunk_bytes = chunk_bytes(&head, new);
                    return Ok(Made::Delta(MadeHead { head: bytes, chunk_bytes, length, regions }));
                }
                Part::Failed(why) => return Err(JobError::Failed(why)),
            }
        }
        Err(JobError::Failed("the thread that makes it has ended by itself".to_owned()))
    }
}

/// A region's name: one for each content, and never that of another delta's, so that each can be deleted by itself.
fn object(pair: &Pair, ordinal: u64, bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(pair.old.as_bytes());
    hasher.update(pair.new.as_bytes());
    hasher.update(&ordinal.to_le_bytes());
    hasher.update(bytes);
    format!("{KIND}/{}", hasher.finish())
}

/// Where chunks end.
fn ends(index: &Index) -> Vec<u64> {
    let mut end = 0_u64;
    let add = |entry: &suture_core::chunk::Entry| {
        end = end.saturating_add(u64::from(entry.length));
        end
    };
    index.entries().iter().map(add).collect()
}

/// What a device that holds the old payload would fetch as chunks, each once, in stored form.
fn worth(old: Option<&Index>, new: &Laid) -> u64 {
    let mut there: HashSet<Digest> =
        old.into_iter().flat_map(|index| index.entries()).map(|entry| entry.sha256).collect();
    let chunks = new.index.entries().iter().zip(&new.stored);
    chunks
        .filter(|(entry, _)| there.insert(entry.sha256))
        .fold(0, |sum, (_, stored)| sum.saturating_add((*stored).into()))
}

/// For each frame what its chunks have in stored form; a chunk that comes again counts where it comes first.
fn chunk_bytes(head: &Head, new: &Laid) -> Vec<u32> {
    let mut seen = HashSet::new();
    let mut chunks = new.index.entries().iter().zip(&new.stored);
    let frames = head.regions.iter().flat_map(|region| &region.frames);
    let bytes = frames.map(|frame| {
        let (mut raw, mut stored) = (0_u32, 0_u32);
        while raw < frame.length {
            let Some((entry, bytes)) = chunks.next() else { break };
            raw = raw.saturating_add(entry.length);
            stored = stored.saturating_add(if seen.insert(entry.sha256) { *bytes } else { 0 });
        }
        stored
    });
    bytes.collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JobError> + Send + 'static,
) -> Result<T, JobError> {
    tokio::task::spawn_blocking(work).await.map_err(|stopped| JobError::Io(std::io::Error::other(stopped)))?
}
