//! Answers that come in pieces.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use suture_core::digest::Digest;
use suture_core::limits::FRAME_BYTES;
use suture_proto::v1;
use tonic::Status;

use super::Refusal;
use crate::transfer::{Range, Reader, Transfer};

/// A stream of answers, boxed as the generated traits want it.
pub(super) type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// Whole content in pieces of [`FRAME_BYTES`], without copies.
pub(super) fn pieces(content: Bytes) -> Answers<v1::GetTargetResponse> {
    let pieces = (0..content.len().div_ceil(FRAME_BYTES)).map(move |i| {
        let at = i * FRAME_BYTES;
        let end = content.len().min(at + FRAME_BYTES);
        Ok(v1::GetTargetResponse { content: content.slice(at..end) })
    });
    Box::pin(futures::stream::iter(pieces))
}

/// A stored document in pieces, each read when the one before it has gone.
pub(super) fn document(reader: Reader) -> Answers<v1::GetTargetResponse> {
    Box::pin(futures::stream::try_unfold(reader, async |mut reader| {
        let piece = reader.next().await.map_err(Refusal::from)?;
        Ok(piece.map(|content| (v1::GetTargetResponse { content }, reader)))
    }))
}

/// Chunks, as asked for.
pub(super) async fn chunks(
    transfer: &Transfer,
    request: v1::FetchChunksRequest,
) -> Result<Answers<v1::FetchChunksResponse>, Refusal> {
    let v1::FetchChunksRequest { index_sha256, ranges } = request;
    let index = suture_proto::parse_digest("index_sha256", &index_sha256)?;
    let ranges: Vec<Range> = ranges.into_iter().map(|v1::ChunkRange { first, count }| Range { first, count }).collect();
    let frames = transfer.fetch(&index, &ranges).await?;
    Ok(Box::pin(frames.map(|frame| {
        let frame = frame.map_err(Refusal::from)?;
        let chunks = frame
            .chunks
            .into_iter()
            .map(|(ordinal, stored_length)| v1::FetchedChunk { ordinal, stored_length })
            .collect();
        Ok(v1::FetchChunksResponse { chunks, data: frame.data })
    })))
}

/// A target file by its consistent-snapshot name: a signed document or, where the name is `documents/<sha256>`, an index or
/// document that a manifest pins.
pub(super) fn document_digest(name: &str) -> Option<Digest> {
    name.strip_prefix("documents/")?.parse().ok()
}
