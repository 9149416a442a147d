//! Deltas: prepared in the background, kept as objects, served in parts.
//!
//! A delta is no authority: a device keeps what it makes only where the signed chunk index agrees. So nothing here is
//! signed, and a delta that is lost, or was never made, costs bytes and nothing else.
//!
//! Attack: devices that keep the server busy with deltas that nobody needs. What a device may ask for leads from one payload
//! of its own product to one of the same name in a later release; few are promised at a time, to a device and to all, few of
//! a product are kept or were tried in vain, and none once the store's share for deltas is full; one is made at a time, at
//! low priority, and what a publication wants for many comes first.

mod claim;
mod job;
mod make;
mod production;
mod scratch;
mod wanted;

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::ProductId;
use suture_core::limits::{
    DELTA_ASKED_COUNTS, MAX_DELTA_HELD, MAX_DELTA_PAYLOAD_BYTES, MAX_DELTA_RANGES, MAX_DELTAS_ASKED,
    MAX_DELTAS_PER_DEVICE, MAX_DELTAS_WANTED,
};
use tokio::sync::Notify;

use crate::blobs::{BlobError, Blobs};
use crate::config::Settings;
use crate::store::deltas::{Delta, DeltaState, Pair, RegionObject};
use crate::store::payloads::Held;
use crate::store::{Store, StoreError};

pub(crate) use job::keep;
pub(crate) use wanted::pairs;

/// A piece on the wire: what is lost of a delta where a line is cut, which chunks cannot spare.
const PIECE_BYTES: u64 = 32 << 10;
/// Pieces that are read ahead of the network.
const AHEAD: usize = 8;
/// How long a device is told to wait for each delta that is to be made before its own, and for its own, in seconds.
const WAIT_SECS: u64 = 20;
/// And at most.
const MAX_WAIT_SECS: u64 = 300;

/// The payload of no bytes, from which every payload can be made.
pub(crate) fn nothing() -> Digest {
    Digest::of(b"")
}

/// Why a delta was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeltaError {
    /// The caller asked for what cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It is not there, or was made anew.
    #[error("this delta is not there any more; ask for its head again, or fetch chunks")]
    Gone,
    /// The database failed.
    #[error("the deltas' record failed")]
    Store(#[from] StoreError),
    /// The objects' store failed.
    #[error("the deltas' objects failed")]
    Blob(#[from] BlobError),
}

/// The device that asks, by what the server knows of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Its name among all devices.
    pub(crate) name: &'a str,
    /// What it is.
    pub(crate) product: &'a ProductId,
}

/// What there is for a device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The head, and for each frame what its chunks have in stored form.
    pub(crate) delta: Option<(Vec<u8>, Vec<u32>)>,
    /// Where a better one is to be expected: after how many seconds.
    pub(crate) ask_again_secs: Option<u64>,
}

/// The deltas.
#[derive(Clone)]
pub(crate) struct Deltas {
    store: Store,
    blobs: Blobs,
    /// From how many earlier releases they are prepared; 0: there are none.
    sources: usize,
    /// What they may take of the store.
    store_bytes: u64,
    /// There may be something to make or to delete.
    wake: Arc<Notify>,
}

impl Deltas {
    /// Deltas over a database and a store of objects.
    pub(crate) fn new(store: Store, blobs: Blobs, settings: &Settings) -> Self {
        let (sources, store_bytes) = (settings.delta_sources, settings.delta_store_bytes);
        Self { store, blobs, sources, store_bytes, wake: Arc::default() }
    }

    /// Has the background job look for what to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The smallest delta to `new` that fits a device that holds these payloads. Where none leads from what it holds, one is
    /// wanted, if there is room.
    pub(crate) async fn offer(
        &self,
        new: &Digest,
        held: &[Digest],
        asker: Asker<'_>,
        now: Timestamp,
    ) -> Result<Offer, DeltaError> {
        if held.len() > MAX_DELTA_HELD {
            return Err(DeltaError::Invalid(format!("more than {MAX_DELTA_HELD} payloads are held")));
        }
        if self.sources == 0 {
            return Ok(Offer::default());
        }
        let known = self.store.deltas_to(new).await?;
        let fits = |d: &&Delta| d.state == DeltaState::Made && (d.pair.old == nothing() || held.contains(&d.pair.old));
        let made = known.iter().filter(fits).min_by_key(|delta| delta.length);
        let ask_again_secs = match made {
            Some(delta) if delta.pair.old != nothing() => None,
            _ => self.promise(new, held, &known, asker, now).await?,
        };
        let delta = match made {
            Some(delta) => self.store.delta_head(&delta.pair).await?,
            None => None,
        };
        Ok(Offer { delta, ask_again_secs })
    }

    /// When a delta from one of these can be expected; wants it where it is not known yet.
    async fn promise(
        &self,
        new: &Digest,
        held: &[Digest],
        known: &[Delta],
        asker: Asker<'_>,
        now: Timestamp,
    ) -> Result<Option<u64>, DeltaError> {
        let waiting = self.store.deltas_wanted().await?;
        let wait = |before: u64| Some(before.saturating_add(1).saturating_mul(WAIT_SECS).min(MAX_WAIT_SECS));
        let before = waiting.saturating_sub(1);
        for old in held.iter().filter(|old| *old != new) {
            let pair = Pair { old: *old, new: *new };
            match known.iter().find(|delta| delta.pair == pair).map(|delta| delta.state) {
                Some(DeltaState::Wanted) => return Ok(wait(before)),
                Some(DeltaState::Useless | DeltaState::Made) => {}
                None | Some(DeltaState::Failed | DeltaState::Crowded | DeltaState::Dropped) => {
                    if waiting < MAX_DELTAS_WANTED && self.want(&pair, asker, now).await? {
                        return Ok(wait(waiting));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Wants a delta that a device asks for, if both payloads are here and belong together.
    async fn want(&self, pair: &Pair, asker: Asker<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let (old, new) = (self.store.payloads(&pair.old).await?, self.store.payloads(&pair.new).await?);
        let fits = |held: &&Held| held.product == *asker.product && held.length <= MAX_DELTA_PAYLOAD_BYTES;
        let leads = |new: &Held| {
            old.iter().filter(fits).any(|old| old.name == new.name && old.release < new.release) && !new.withdrawn
        };
        // One for a device must not push out one that was prepared for many.
        let since = now.checked_sub(DELTA_ASKED_COUNTS).unwrap_or(Timestamp::MIN);
        if !new.iter().filter(fits).any(leads)
            || self.store.deltas_asked(asker.product, since).await? >= MAX_DELTAS_ASKED
            || self.store.deltas_length().await? >= self.store_bytes
        {
            return Ok(false);
        }
        let mut tx = self.store.begin().await?;
        if tx.deltas_waiting_for(asker.name).await? >= MAX_DELTAS_PER_DEVICE {
            return Ok(false);
        }
        let news = tx.want_delta(pair, Some(asker.name), now).await?;
        tx.commit().await?;
        self.wake();
        Ok(news)
    }

    /// What is wanted of the bytes behind a delta's head. `ranges` are first and count.
    pub(crate) async fn read(
        &self,
        pair: &Pair,
        head_sha256: &Digest,
        ranges: &[(u64, u64)],
        now: Timestamp,
    ) -> Result<impl Stream<Item = Result<Bytes, DeltaError>> + Send + 'static, DeltaError> {
        if !self.store.is_made(pair, head_sha256).await? {
            return Err(DeltaError::Gone);
        }
        let regions = self.store.delta_regions(pair).await?;
        let pieces = pieces(regions, ranges)?;
        let (deltas, pair, head_sha256) = (self.clone(), *pair, *head_sha256);
        let read = move |piece: Piece| {
            let deltas = deltas.clone();
            async move {
                match deltas.blobs.get_range(&piece.object, piece.offset, piece.length).await {
                    Ok(bytes) => Ok(bytes),
                    Err(error @ (BlobError::NotFound(_) | BlobError::Range { .. })) => {
                        deltas.lose(&pair, &head_sha256, &error, now).await?;
                        Err(DeltaError::Gone)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        };
        Ok(futures::stream::iter(pieces).map(read).buffered(AHEAD))
    }

    /// Offers a delta no more whose objects are not what its record says. Whoever asks next has it made anew.
    async fn lose(
        &self,
        pair: &Pair,
        head_sha256: &Digest,
        error: &BlobError,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        let was_there = tx.lose_delta(pair, head_sha256, now).await?;
        tx.commit().await?;
        // Otherwise it was dropped while it was sent.
        if was_there {
            tracing::error!(old = pair.old.short(), new = pair.new.short(), %error, "a delta is damaged and is dropped");
            self.wake();
        }
        Ok(())
    }
}

/// Consecutive bytes of one object.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    object: String,
    offset: u64,
    length: u64,
}

/// Ranges of the regions' bytes, one region behind another, as reads of [`PIECE_BYTES`] at most. They are thought of one by
/// one: a delta may have a million of them.
fn pieces(
    regions: Vec<RegionObject>,
    ranges: &[(u64, u64)],
) -> Result<impl Iterator<Item = Piece> + Send + 'static, DeltaError> {
    let total = regions.iter().fold(0_u64, |sum, region| sum.saturating_add(region.length));
    let invalid = || {
        let text = format!(
            "ranges must be 1 to {MAX_DELTA_RANGES}, ascending, disjoint, not empty and within the delta's {total} bytes"
        );
        DeltaError::Invalid(text)
    };
    if ranges.is_empty() || ranges.len() > MAX_DELTA_RANGES {
        return Err(invalid());
    }
    let (mut wanted, mut done) = (Vec::with_capacity(ranges.len()), 0);
    for (first, count) in ranges {
        let end = first.checked_add(*count).filter(|end| *end <= total && *count > 0 && *first >= done);
        let end = end.ok_or_else(invalid)?;
        wanted.push((*first, end));
        done = end;
    }
    let (mut region, mut start) = (0_usize, 0_u64);
    let (mut wanted, mut left) = (wanted.into_iter(), 0..0_u64);
    Ok(std::iter::from_fn(move || {
        while left.is_empty() {
            left = wanted.next().map(|(first, end)| first..end)?;
        }
        while left.start >= start.saturating_add(regions.get(region)?.length) {
            start = start.saturating_add(regions.get(region)?.length);
            region = region.saturating_add(1);
        }
        let RegionObject { object, length } = regions.get(region)?;
        let offset = left.start.saturating_sub(start);
        let length = (left.end - left.start).min(length.saturating_sub(offset)).min(PIECE_BYTES);
        left.start = left.start.saturating_add(length);
        Some(Piece { object: object.clone(), offset, length })
    }))
}

#[cfg(test)]
mod tests;
