//! Answers that come in pieces.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use suture_core::digest::Digest;
use suture_core::limits::FRAME_BYTES;
use suture_proto::v1;
use tonic::{Response, Status};

use super::Refusal;
use crate::calls::Holds;
use crate::delta::Deltas;
use crate::store::deltas::Pair;
use crate::transfer::Reader;

/// A stream of answers, boxed as the generated traits want it.
pub(super) type Answers<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// Whole content in pieces of [`FRAME_BYTES`], without copies. All of it is held until the last has gone.
pub(super) fn pieces(content: Bytes) -> Response<Answers<v1::GetTargetResponse>> {
    let holds = Holds(content.len() as u64);
    let pieces = (0..content.len().div_ceil(FRAME_BYTES)).map(move |i| {
        let at = i * FRAME_BYTES;
        let end = content.len().min(at + FRAME_BYTES);
        Ok(v1::GetTargetResponse { content: content.slice(at..end) })
    });
    let mut response: Response<Answers<_>> = Response::new(Box::pin(futures::stream::iter(pieces)));
    response.extensions_mut().insert(holds);
    response
}

/// A stored document in pieces, each read when the one before it has gone.
pub(super) fn document(reader: Reader) -> Response<Answers<v1::GetTargetResponse>> {
    Response::new(Box::pin(futures::stream::try_unfold(reader, async |mut reader| {
        let piece = reader.next().await.map_err(Refusal::from)?;
        Ok(piece.map(|content| (v1::GetTargetResponse { content }, reader)))
    })))
}

/// Chunks, as [`super::Bulk`] sends them before a call gets here.
pub(super) fn chunks() -> Result<Response<Answers<v1::FetchChunksResponse>>, Status> {
    Err(Status::unimplemented("chunks are served by the layer in front of this service, which is missing"))
}

/// Parts of a delta, as asked for.
pub(super) async fn delta(
    deltas: &Deltas,
    request: v1::FetchDeltaRequest,
    now: jiff::Timestamp,
) -> Result<Answers<v1::FetchDeltaResponse>, Refusal> {
    let v1::FetchDeltaRequest { old_sha256, new_sha256, head_sha256, ranges } = request;
    let pair = Pair {
        old: suture_proto::parse_digest("old_sha256", &old_sha256)?,
        new: suture_proto::parse_digest("new_sha256", &new_sha256)?,
    };
    let head = suture_proto::parse_digest("head_sha256", &head_sha256)?;
    let ranges: Vec<_> = ranges.into_iter().map(|v1::ByteRange { first, count }| (first, count)).collect();
    let pieces = deltas.read(&pair, &head, &ranges, now).await?;
    Ok(Box::pin(pieces.map(|piece| Ok(v1::FetchDeltaResponse { data: piece.map_err(Refusal::from)? }))))
}

/// A target file by its consistent-snapshot name: a signed document or, where the name is `documents/<sha256>`, an index or
/// document that a manifest pins.
pub(super) fn document_digest(name: &str) -> Option<Digest> {
    name.strip_prefix("documents/")?.parse().ok()
}
