//! Payloads on their way in, and what the catalog lists.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use suture_core::chunk::Entry;
use suture_core::digest::Digest;
use suture_core::id::ProductId;
use suture_core::limits::{MAX_CHUNKS_PER_CALL, UPLOAD_IDLE};
use suture_core::version::Release;
use suture_proto::{Invalid, parse, parse_digest, v1};
use tonic::{Code, Status, Streaming};

use super::super::{Api, Refusal};
use super::page::Page;
use crate::rights::{Caller, UPLOAD_CHUNKS};
use crate::store::chunks::DocumentKind;
use crate::transfer::{TransferError, Upload};

/// The next message of an upload. Attack: uploads that nothing comes of, in the places of all others.
async fn next_within<T>(
    frames: &mut (impl Stream<Item = Result<T, Status>> + Unpin),
    limit: Duration,
) -> Result<Option<T>, Refusal> {
    match tokio::time::timeout(limit, frames.next()).await {
        Ok(frame) => Ok(frame.transpose()?),
        Err(_) => {
            let text = format!("nothing came for {} s; what came before is kept: upload again", limit.as_secs());
            Err(Refusal::new(Code::DeadlineExceeded, text))
        }
    }
}

impl Api {
    pub(super) async fn lacking_chunks(
        &self,
        request: v1::MissingChunksRequest,
    ) -> Result<v1::MissingChunksResponse, Refusal> {
        let v1::MissingChunksRequest { sha256 } = request;
        if sha256.len() > MAX_CHUNKS_PER_CALL {
            return Err(Refusal::invalid(format!("sha256: more than {MAX_CHUNKS_PER_CALL} in one question")));
        }
        let wanted: Vec<Digest> =
            sha256.iter().map(|bytes| parse_digest("sha256", bytes)).collect::<Result<_, Invalid>>()?;
        Ok(v1::MissingChunksResponse { missing: self.app.transfer().missing(&wanted).await? })
    }

    pub(super) async fn take_chunks(
        &self,
        caller: &Caller,
        mut frames: Streaming<v1::UploadChunksRequest>,
    ) -> Result<v1::UploadChunksResponse, Refusal> {
        let mut upload = self.app.transfer().upload(caller.principal())?;
        let (this, caller) = (self.clone(), caller.clone());
        // Where the stream is reset, this handler is let go of wherever it waits. What was verified stays, so that is done by a
        // task of its own, which holds the upload's place until it is.
        let taken = tokio::spawn(async move {
            let end = this.take_frames(&caller, &mut upload, &mut frames).await;
            let done = upload.finish(this.app.now()).await?;
            end.map(|()| done)
        });
        let done = taken.await.map_err(TransferError::Stopped)??;
        Ok(v1::UploadChunksResponse { stored: done.stored, already_there: done.already_there })
    }

    async fn take_frames(
        &self,
        caller: &Caller,
        upload: &mut Upload,
        frames: &mut Streaming<v1::UploadChunksRequest>,
    ) -> Result<(), Refusal> {
        while let Some(v1::UploadChunksRequest { chunks, data }) =
            next_within(frames, UPLOAD_IDLE.unsigned_abs()).await?
        {
            // Attack: a call that goes on for days after its certificate was revoked.
            self.app.rights().check(UPLOAD_CHUNKS, Some(&caller.peer)).await?;
            if chunks.is_empty() {
                return Err(Refusal::invalid("chunks: there are none; what says nothing holds others' place"));
            }
            let chunks = chunks
                .into_iter()
                .map(|v1::UploadedChunk { sha256, raw_length, stored_length }| {
                    let sha256 = parse_digest("chunks.sha256", &sha256)?;
                    Ok((Entry { sha256, length: raw_length }, stored_length))
                })
                .collect::<Result<Vec<_>, Invalid>>()?;
            upload.take(chunks, data, self.app.now()).await?;
        }
        Ok(())
    }

    pub(super) async fn keep_document(
        &self,
        request: v1::PutDocumentRequest,
    ) -> Result<v1::PutDocumentResponse, Refusal> {
        use v1::put_document_request::Kind;
        let v1::PutDocumentRequest { kind, content } = request;
        let kind = match Kind::try_from(kind) {
            Ok(Kind::Index) => DocumentKind::Index,
            Ok(Kind::Document) => DocumentKind::Document,
            Ok(Kind::Unspecified) | Err(_) => return Err(Refusal::invalid("kind: neither an index nor a document")),
        };
        let sha256 = self.app.transfer().put_document(kind, content, self.app.now()).await?;
        Ok(v1::PutDocumentResponse { sha256: sha256.as_bytes().to_vec().into() })
    }

    pub(super) async fn bundles(&self, request: v1::ListBundlesRequest) -> Result<v1::ListBundlesResponse, Refusal> {
        let v1::ListBundlesRequest { after_product, after_release, limit } = request;
        let after: Option<ProductId> =
            (!after_product.is_empty()).then(|| parse("after_product", &after_product)).transpose()?;
        let page = Page::of(limit);
        let after = after.as_ref().map(|product| (product, Release(after_release)));
        let mut found = self.app.store().bundles(after, page.wanted()).await?;
        let more = page.cut(&mut found, "bundles")?;
        let bundles = found.into_iter().map(|b| v1::Bundle {
            product: b.product.to_string(),
            version: b.version.to_string(),
            release: b.release.0,
            manifest_sha256: b.manifest_sha256.as_bytes().to_vec().into(),
            status: b.status,
            payload_length: b.payload_length,
            published_ms: b.published.as_millisecond(),
        });
        Ok(v1::ListBundlesResponse { bundles: bundles.collect(), more })
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn an_upload_that_says_nothing_gives_its_place_to_another() {
        let said = |frame: Result<u8, Status>| stream::iter([frame]).chain(stream::pending());
        let mut frames = Box::pin(said(Ok(7)));
        assert_eq!(next_within(&mut frames, Duration::from_secs(60)).await.unwrap(), Some(7));
        let silent = Status::from(next_within(&mut frames, Duration::ZERO).await.unwrap_err());
        assert_eq!(silent.code(), Code::DeadlineExceeded);
        let mut cut = Box::pin(said(Err(Status::cancelled("cut"))));
        let cut = Status::from(next_within(&mut cut, Duration::from_secs(60)).await.unwrap_err());
        assert_ne!(cut.code(), Code::DeadlineExceeded);
        assert_eq!(next_within(&mut stream::empty::<Result<u8, Status>>(), Duration::ZERO).await.unwrap(), None);
    }
}
