//! A fetch: wanted ranges of an index as a stream of frames.

use bytes::Bytes;
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Transfer, TransferError, pack_name, reads};
use crate::blobs::BlobError;

/// Frames that are read ahead of the network.
const AHEAD: usize = 8;

/// A run of chunks in an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// The first, counted from 0.
    pub(crate) first: u32,
    /// How many.
    pub(crate) count: u32,
}

/// Whole chunks in stored form, one behind another.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Ordinal and stored length of each.
    pub(crate) chunks: Vec<(u32, u32)>,
    /// Their bytes.
    pub(crate) data: Bytes,
}

impl Transfer {
    /// Streams the wanted chunks in order. Dropping the stream ends the reading.
    pub(crate) async fn fetch(
        &self,
        index_sha256: &Digest,
        ranges: &[Range],
    ) -> Result<ReceiverStream<Result<Frame, BlobError>>, TransferError> {
        let places = self.places_of(index_sha256).await?;
        check(ranges, places.len())?;
        let wanted = ranges.iter().flat_map(|r| r.first..r.first.saturating_add(r.count));
        let reads = reads::plan(wanted.filter_map(|i| Some((i, places.get(i as usize)?.clone()))));
        let (tx, rx) = mpsc::channel(AHEAD);
        let blobs = self.blobs.clone();
        tokio::spawn(async move {
            for read in reads {
                let data = match blobs.get_range(&pack_name(&read.pack), read.offset, read.length).await {
                    Ok(data) => data,
                    Err(error) => {
                        tracing::error!(pack = read.pack, %error, "a pack cannot be read");
                        // The receiver may be gone already; then nobody is left to tell.
                        let _ = tx.send(Err(error)).await;
                        return;
                    }
                };
                let mut at = 0;
                for chunks in reads::frames(&read.chunks) {
                    let length: usize = chunks.iter().map(|(_, stored)| *stored as usize).sum();
                    let frame = Frame { chunks: chunks.to_vec(), data: data.slice(at..at + length) };
                    at += length;
                    if tx.send(Ok(frame)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(ReceiverStream::new(rx))
    }
}

fn check(ranges: &[Range], chunks: usize) -> Result<(), TransferError> {
    let mut end = 0u64;
    for r in ranges {
        let (first, after) = (u64::from(r.first), u64::from(r.first) + u64::from(r.count));
        if r.count == 0 || first < end || after > chunks as u64 {
            let text = format!("ranges must be ascending, disjoint, not empty and within the index's {chunks} chunks");
            return Err(TransferError::Invalid(text));
        }
        end = after;
    }
    // Attack: a list of a million chunks, each of which is a read to be planned, on many streams at once.
    let wanted: u64 = ranges.iter().map(|r| u64::from(r.count)).sum();
    if wanted > MAX_CHUNKS_PER_CALL as u64 {
        return Err(TransferError::Invalid(format!("{wanted} chunks are more than {MAX_CHUNKS_PER_CALL} in one call")));
    }
    if ranges.is_empty() {
        return Err(TransferError::Invalid("no range is asked for".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_run_out_or_wrap_are_refused() {
        let r = |first, count| Range { first, count };
        assert!(check(&[r(0, 2), r(2, 3)], 5).is_ok());
        for bad in [
            vec![],
            vec![r(0, 0)],
            vec![r(0, 6)],
            vec![r(0, 2), r(1, 1)],
            vec![r(2, 1), r(0, 1)],
            vec![r(u32::MAX, u32::MAX)],
        ] {
            assert!(check(&bad, 5).is_err(), "{bad:?}");
        }
        let most = u32::try_from(MAX_CHUNKS_PER_CALL).unwrap();
        assert!(check(&[r(0, 1), r(2, most - 1)], usize::MAX).is_ok());
        assert!(check(&[r(0, 1), r(2, most)], usize::MAX).is_err());
    }
}
