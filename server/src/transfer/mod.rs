//! Chunks in and out: uploads become packs, fetches become reads of packs.
//!
//! Attack: an upload that fills the store with bytes under names that are not theirs, or that grows without end when it
//! is decompressed. Every chunk is decompressed within its bound and hashed before it is stored; what was verified before
//! a cut is kept.

mod blocks;
mod fetch;
mod lay;
pub(crate) mod pace;
mod reads;
mod told;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use suture_core::chunk::Index;
use suture_core::clock::Clock;
use suture_core::digest::Digest;
use suture_core::limits::{FRAME_BYTES, MAX_DOCUMENT_BYTES, MAX_INDEX_BYTES};

use crate::blobs::{BlobError, Blobs};
use crate::store::chunks::{DocumentKind, Place};
use crate::store::{Store, StoreError};

use blocks::Blocks;

pub(crate) use fetch::{Frame, Range};
pub(crate) use lay::Laid;
pub(crate) use upload::Upload;

/// Located indexes that are kept: those of the bundles that are being rolled out just now.
const LOCATED: usize = 16;
/// Uploads at a time; each holds a pack in memory.
const UPLOADS: usize = 4;

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
    /// The database failed.
    #[error("the chunk store's record failed")]
    Store(#[from] StoreError),
    /// The objects' store failed.
    #[error("the chunk store failed")]
    Blob(#[from] BlobError),
    /// A payload could not be written.
    #[error("a payload cannot be put together on disk")]
    Lay(#[source] std::io::Error),
}

/// Indexes by digest with the places of their chunks, the latest used first.
type Located = VecDeque<(Digest, Arc<Vec<Place>>)>;
/// Indexes told by others, the latest used first: those of the index and of the one that it is told by.
type Told = VecDeque<((Digest, Digest), Bytes)>;

/// The chunk store.
#[derive(Clone)]
pub(crate) struct Transfer {
    store: Store,
    blobs: Blobs,
    blocks: Blocks,
    located: Arc<Mutex<Located>>,
    told: Arc<Mutex<Told>>,
    loading: Arc<tokio::sync::Mutex<()>>,
    uploads: Arc<tokio::sync::Semaphore>,
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
        let uploads = Arc::new(tokio::sync::Semaphore::new(UPLOADS));
        let blocks = Blocks::new(blobs.clone(), clock);
        Self { store, blobs, blocks, located: Arc::default(), told: Arc::default(), loading: Arc::default(), uploads }
    }

    /// Places in `wanted` of the chunks that are not stored.
    pub(crate) async fn missing(&self, wanted: &[Digest]) -> Result<Vec<u32>, TransferError> {
        let there = self.store.places(wanted).await?;
        let lacking = (0u32..).zip(wanted).filter(|(_, sha256)| !there.contains_key(*sha256));
        Ok(lacking.map(|(i, _)| i).collect())
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
        if let Some(found) = self.recall(index_sha256) {
            return Ok(found);
        }
        // One at a time: an index takes many times its bytes while it is read, and all devices of a rollout ask for the same.
        let _loading = self.loading.lock().await;
        if let Some(found) = self.recall(index_sha256) {
            return Ok(found);
        }
        match self.store.document(index_sha256).await? {
            Some((DocumentKind::Index, _)) => {}
            _ => return Err(TransferError::NotFound { what: "index", sha256: *index_sha256 }),
        }
        let bytes = self.document(index_sha256).await?;
        let index = Index::parse(&bytes).map_err(|e| TransferError::Invalid(e.to_string()))?;
        let places = Arc::new(self.locate(&index).await?);
        let mut located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        located.push_front((*index_sha256, places.clone()));
        located.truncate(LOCATED);
        Ok(places)
    }

    fn recall(&self, index_sha256: &Digest) -> Option<Arc<Vec<Place>>> {
        let mut located = self.located.lock().unwrap_or_else(PoisonError::into_inner);
        let at = located.iter().position(|(sha256, _)| sha256 == index_sha256)?;
        let found = located.remove(at)?;
        located.push_front(found.clone());
        Some(found.1)
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

fn document_name(sha256: &Digest) -> String {
    format!("documents/{sha256}")
}

fn pack_name(id: &str) -> String {
    format!("packs/{id}")
}
