//! An upload: verified chunks gathered into packs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use suture_core::chunk::{self, Entry};
use suture_core::digest::Digest;
use suture_core::limits::{CHUNK_MAX_BYTES, CHUNK_MAX_STORED_BYTES, PACK_BYTES};
use suture_core::principal::Principal;

use super::spots::Spot;
use super::{Stored, Transfer, TransferError, pack_name};
use crate::store::chunks::Place;

/// How many chunks an upload brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uploaded {
    /// Stored anew.
    pub(crate) stored: u64,
    /// Stored before.
    pub(crate) already_there: u64,
}

/// An upload under way. Its verified chunks reach the store when a pack is full and at [`Upload::finish`], which belongs
/// after a cut as well as after a good end.
pub(crate) struct Upload {
    transfer: Transfer,
    _spot: Spot,
    pack: Vec<u8>,
    chunks: Vec<(Entry, u64, u32)>,
    in_pack: HashSet<Digest>,
    /// Chunks whose packs are gone.
    lost: HashMap<Digest, Place>,
    done: Uploaded,
}

impl Transfer {
    /// Begins an upload of that identity's.
    pub(crate) fn upload(&self, of: &Principal) -> Result<Upload, TransferError> {
        let spot = self.spots.enter(of)?;
        Ok(Upload {
            transfer: self.clone(),
            _spot: spot,
            pack: Vec::new(),
            chunks: Vec::new(),
            in_pack: HashSet::new(),
            lost: HashMap::new(),
            done: Uploaded::default(),
        })
    }
}

impl Upload {
    /// Takes in a frame: chunks with their stored lengths, and their bytes one behind another.
    pub(crate) async fn take(
        &mut self,
        chunks: Vec<(Entry, u32)>,
        data: Bytes,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        let digests: Vec<Digest> = chunks.iter().map(|(entry, _)| entry.sha256).collect();
        let Stored { whole: there, lost } = self.transfer.stored(&digests).await?;
        self.lost.extend(lost);
        let checked = {
            let data = data.clone();
            tokio::task::spawn_blocking(move || verify(&chunks, &data).map(|()| chunks)).await
        };
        let chunks = checked??;
        let mut at = 0usize;
        for (entry, stored) in chunks {
            let end = at + stored as usize;
            let bytes = data.slice(at..end);
            at = end;
            if there.contains_key(&entry.sha256) || !self.in_pack.insert(entry.sha256) {
                self.done.already_there += 1;
                continue;
            }
            if self.pack.len() + bytes.len() > PACK_BYTES {
                self.flush(now).await?;
                self.in_pack.insert(entry.sha256);
            }
            self.chunks.push((entry, self.pack.len() as u64, stored));
            self.pack.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Stores what is left and says what was done.
    pub(crate) async fn finish(mut self, now: Timestamp) -> Result<Uploaded, TransferError> {
        self.flush(now).await?;
        Ok(self.done)
    }

    async fn flush(&mut self, now: Timestamp) -> Result<(), TransferError> {
        if self.pack.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.pack));
        let chunks = std::mem::take(&mut self.chunks);
        self.in_pack.clear();
        let id = Digest::of(&bytes).to_string();
        let length = bytes.len() as u64;
        // The object first, its rows after: a crash in between leaves an object that nothing names, never a name
        // without an object.
        self.transfer.blobs.put(&pack_name(&id), bytes).await?;
        let name: Arc<str> = id.as_str().into();
        let places: Vec<_> = chunks
            .into_iter()
            .map(|(entry, offset, stored_length)| {
                (entry.sha256, Place { pack: name.clone(), offset, stored_length, raw_length: entry.length })
            })
            .collect();
        let mut tx = self.transfer.store.begin().await?;
        tx.put_pack((&id, length), &places, &self.lost, now).await?;
        tx.commit().await?;
        if !self.lost.is_empty() {
            self.transfer.located.forget_all();
        }
        self.done.stored += places.len() as u64;
        Ok(())
    }
}

/// Every chunk within its bounds, and its bytes those that its digest names.
fn verify(chunks: &[(Entry, u32)], data: &[u8]) -> Result<(), TransferError> {
    let mut rest = data;
    for (entry, stored) in chunks {
        let within = (1..=CHUNK_MAX_BYTES).contains(&(entry.length as usize))
            && (1..=CHUNK_MAX_STORED_BYTES).contains(&(*stored as usize));
        let cut = rest.split_at_checked(*stored as usize).filter(|_| within);
        let Some((bytes, after)) = cut else {
            return Err(TransferError::Invalid(format!("chunk {} has lengths out of bounds", entry.sha256)));
        };
        chunk::decode(bytes, entry)
            .map_err(|e| TransferError::Invalid(format!("chunk {} is not what it is named: {e}", entry.sha256)))?;
        rest = after;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(TransferError::Invalid("bytes are left behind the last chunk".to_owned()))
    }
}
