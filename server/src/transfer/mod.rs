//! Chunks in and out: uploads become packs, fetches become reads of packs.
//!
//! Attack: an upload that fills the store with bytes under names that are not theirs, or that grows without end when it
//! is decompressed. Every chunk is decompressed within its bound and hashed before it is stored; what was verified before
//! a cut is kept.

mod blocks;
mod fetch;
mod lay;
mod loads;
pub(crate) mod pace;
mod reads;
mod spots;
mod told;
mod upload;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use suture_core::chunk::Index;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::{
    FRAME_BYTES, LOADING_INDEX_BYTES, LOCATED_BYTES, MAX_DOCUMENT_BYTES, MAX_INDEX_BYTES, TOLD_BYTES,
};
use suture_core::principal::Principal;

use crate::blobs::{BlobError, Blobs};
use crate::store::chunks::{DocumentKind, Place};
use crate::store::{Store, StoreError};

use blocks::Blocks;
use loads::Loads;
use spots::{Spots, UPLOADS, UPLOADS_PER_IDENTITY};

pub(crate) use fetch::{Frame, Range};
pub(crate) use lay::Laid;
pub(crate) use upload::Upload;

/// Packs that are looked for at a time.
const LOOKS: usize = 16;
/// What a place among the indexes that are being read stands for.
const LOADING_STEP: usize = 1 << 10;

/// Why chunks did not move.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The caller asked for what cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There is no such index or document.
    #[error("no {what} {sha256} is stored here")]
    NotFound { what: &'static str, sha256: Digest },
    /// An index names chunks that were not uploaded.
    #[error("{missing} of the index's chunks are missing; upload them first")]
    ChunksMissing { missing: usize },
    /// Too many uploads at once.
    #[error("{UPLOADS} uploads are under way; try again when one has ended")]
    Busy,
    /// One identity has too many at once.
    #[error(
        "{of} has {UPLOADS_PER_IDENTITY} uploads under way; try again when one has ended, and if they are not yours have the \
         certificate revoked"
    )]
    Own { of: Principal },
    /// The database failed.
    #[error("the chunk store's record failed")]
    Store(#[from] StoreError),
    /// The objects' store failed.
    #[error("the chunk store failed")]
    Blob(#[from] BlobError),
    /// What is stored here is not what it was.
    #[error("the stored {what} {sha256} is damaged; put the objects back from a backup")]
    Damaged { what: &'static str, sha256: Digest, source: Box<dyn std::error::Error + Send + Sync> },
    /// The server's own work was broken off.
    #[error("the work on chunks was broken off")]
    Stopped(#[from] tokio::task::JoinError),
    /// A payload could not be written.
    #[error("a payload cannot be put together on disk")]
    Lay(#[source] std::io::Error),
}

/// The chunk store.
#[derive(Clone)]
pub(crate) struct Transfer {
    store: Store,
    blobs: Blobs,
    blocks: Blocks,
    /// Indexes by digest with the places of their chunks.
    located: Arc<Loads<Digest, Arc<Vec<Place>>>>,
    /// Indexes told by others: by the digests of the index and of the one that it is told by.
    told: Arc<Loads<(Digest, Digest), Bytes>>,
    /// Room for indexes while they are read, in steps of [`LOADING_STEP`].
    loading: Arc<tokio::sync::Semaphore>,
    spots: Spots,
}

/// Chunks that are on record.
struct Stored {
    /// They are here.
    whole: HashMap<Digest, Place>,
    /// They were.
    lost: HashMap<Digest, Place>,
}

/// A stored document on its way out.
pub(crate) struct Reader {
    blobs: Blobs,
    name: String,
    at: u64,
    length: u64,
}

impl Reader {
    /// The next piece, of [`FRAME_BYTES`] or what is left; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let length = (self.length - self.at).min(FRAME_BYTES as u64);
        if length == 0 {
            return Ok(None);
        }
        let piece = self.blobs.get_range(&self.name, self.at, length).await?;
        self.at += length;
        Ok(Some(piece))
    }
}

impl Transfer {
    /// A chunk store over a database and a store of objects.
    pub(crate) fn new(store: Store, blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        let blocks = Blocks::new(blobs.clone(), clock);
        let (located, told) = (Arc::new(Loads::new(LOCATED_BYTES)), Arc::new(Loads::new(TOLD_BYTES)));
        let loading = Arc::new(tokio::sync::Semaphore::new(LOADING_INDEX_BYTES / LOADING_STEP));
        Self { store, blobs, blocks, located, told, loading, spots: Spots::default() }
    }

    /// How many uploads are under way.
    #[cfg(test)]
    pub(crate) fn uploads_under_way(&self) -> usize {
        self.spots.under_way()
    }

    /// Places in `wanted` of the chunks that are not stored.
    pub(crate) async fn missing(&self, wanted: &[Digest]) -> Result<Vec<u32>, TransferError> {
        let there = self.stored(wanted).await?.whole;
        let lacking = (0u32..).zip(wanted).filter(|(_, sha256)| !there.contains_key(*sha256));
        Ok(lacking.map(|(i, _)| i).collect())
    }

    /// Where these chunks lie, and which of them lay in packs that are gone.
    ///
    /// Accident: a disk that has lost a file, or a backup of the objects that is older than that of the database. What is gone can
    /// be sent again. Its rows stay until then: it may be the disk that is not mounted.
    async fn stored(&self, wanted: &[Digest]) -> Result<Stored, TransferError> {
        let mut whole = self.store.places(wanted).await?;
        let packs: HashSet<&str> = whole.values().map(|place| &*place.pack).collect();
        let packs: Vec<String> = packs.into_iter().map(str::to_owned).collect();
        let lengths = self.store.pack_lengths(&packs).await?;
        let looks = lengths.into_iter().map(|(pack, length)| async move {
            let is_whole = self.blobs.length(&pack_name(&pack)).await? == Some(length);
            Ok::<_, BlobError>((!is_whole).then_some(pack))
        });
        let gone: Vec<Option<String>> = stream::iter(looks).buffer_unordered(LOOKS).try_collect().await?;
        let gone: HashSet<String> = gone.into_iter().flatten().collect();
        let mut lost = HashMap::new();
        if !gone.is_empty() {
            for pack in &gone {
                tracing::error!(
                    pack,
                    "a pack is gone, or not whole; its chunks are asked for anew where a bundle that has them is published"
                );
            }
            lost = whole.extract_if(|_, place| gone.contains(&*place.pack)).collect();
        }
        Ok(Stored { whole, lost })
    }

    /// Stores an index, all of whose chunks must be there, or a document.
    pub(crate) async fn put_document(
        &self,
        kind: DocumentKind,
        content: Bytes,
        now: jiff::Timestamp,
    ) -> Result<Digest, TransferError> {
        let limit = match kind {
            DocumentKind::Index => MAX_INDEX_BYTES,
            DocumentKind::Document => MAX_DOCUMENT_BYTES,
        };
        if content.len() as u64 > limit {
            return Err(TransferError::Invalid(format!("{} bytes are more than the {limit} allowed", content.len())));
        }
        let sha256 = Digest::of(&content);
        if kind == DocumentKind::Index {
            let index = Index::parse(&content).map_err(|e| TransferError::Invalid(e.to_string()))?;
            self.locate(&index).await?;
        }
        let length = content.len() as u64;
        self.blobs.put(&document_name(&sha256), content).await?;
        let mut tx = self.store.begin().await?;
        tx.put_document(&sha256, kind, length, now).await?;
        tx.commit().await?;
        Ok(sha256)
    }

    /// A stored index's or document's bytes.
    pub(crate) async fn document(&self, sha256: &Digest) -> Result<Bytes, TransferError> {
        let (_, length) =
            self.store.document(sha256).await?.ok_or(TransferError::NotFound { what: "document", sha256: *sha256 })?;
        Ok(self.blobs.get_range(&document_name(sha256), 0, length).await?)
    }

    /// A stored index or document, to be read piece by piece: its whole may be 64 MiB, and many may ask for it at once.
    pub(crate) async fn reader(&self, sha256: &Digest) -> Result<Reader, TransferError> {
        let (_, length) =
            self.store.document(sha256).await?.ok_or(TransferError::NotFound { what: "document", sha256: *sha256 })?;
        Ok(Reader { blobs: self.blobs.clone(), name: document_name(sha256), at: 0, length })
    }

    /// Where an index's chunks lie, in its order.
    async fn places_of(&self, index_sha256: &Digest) -> Result<Arc<Vec<Place>>, TransferError> {
        let load = async {
            let _room = self.room(&[*index_sha256]).await?;
            let located = self.locate(&self.index(index_sha256).await?).await;
            let places = located.map_err(|error| match error {
                // They were there when it was stored.
                TransferError::ChunksMissing { .. } => damaged("index", index_sha256, error),
                error => error,
            })?;
            let bytes = places.len().saturating_mul(size_of::<Place>());
            Ok((Arc::new(places), bytes))
        };
        self.located.get(*index_sha256, load).await
    }

    /// Waits until these indexes may be read: one takes many times its bytes while it is.
    async fn room(&self, indexes: &[Digest]) -> Result<tokio::sync::SemaphorePermit<'_>, TransferError> {
        let mut bytes = 0_u64;
        for sha256 in indexes {
            match self.store.document(sha256).await? {
                Some((DocumentKind::Index, length)) => bytes = bytes.saturating_add(length),
                _ => return Err(TransferError::NotFound { what: "index", sha256: *sha256 }),
            }
        }
        let steps = bytes.div_ceil(LOADING_STEP as u64).min((LOADING_INDEX_BYTES / LOADING_STEP) as u64);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.loading.acquire_many(steps).await.map_err(|_| TransferError::Busy)
    }

    /// A stored index.
    async fn index(&self, sha256: &Digest) -> Result<Index, TransferError> {
        let (bytes, sha256) = (self.document(sha256).await?, *sha256);
        let read = move || {
            if Digest::of(&bytes) != sha256 {
                return Err(damaged("index", &sha256, "its bytes have another digest"));
            }
            Index::parse(&bytes).map_err(|error| damaged("index", &sha256, error))
        };
        tokio::task::spawn_blocking(read).await?
    }

    async fn locate(&self, index: &Index) -> Result<Vec<Place>, TransferError> {
        let digests: Vec<Digest> = index.entries().iter().map(|e| e.sha256).collect();
        let there = self.store.places(&digests).await?;
        let places: Vec<Place> = digests.iter().filter_map(|sha256| there.get(sha256).cloned()).collect();
        match digests.len() - places.len() {
            0 => Ok(places),
            missing => Err(TransferError::ChunksMissing { missing }),
        }
    }
}

/// What is stored is not what it was.
fn damaged(
    what: &'static str,
    sha256: &Digest,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TransferError {
    TransferError::Damaged { what, sha256: *sha256, source: source.into() }
}

fn document_name(sha256: &Digest) -> String {
    format!("documents/{sha256}")
}

fn pack_name(id: &str) -> String {
    format!("packs/{id}")
}
