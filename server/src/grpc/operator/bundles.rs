//! Payloads on their way in, and what the catalog lists.

use futures::StreamExt as _;
use suture_core::chunk::Entry;
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use suture_proto::{Invalid, parse_digest, v1};
use tonic::Streaming;

use super::super::{Api, Refusal};
use crate::store::chunks::DocumentKind;
use crate::transfer::Upload;

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
        mut frames: Streaming<v1::UploadChunksRequest>,
    ) -> Result<v1::UploadChunksResponse, Refusal> {
        let mut upload = self.app.transfer().upload()?;
        let end = self.take_frames(&mut upload, &mut frames).await;
        // Also after a cut: what was verified stays.
        let done = upload.finish(self.app.now()).await?;
        end?;
        Ok(v1::UploadChunksResponse { stored: done.stored, already_there: done.already_there })
    }

    async fn take_frames(
        &self,
        upload: &mut Upload,
        frames: &mut Streaming<v1::UploadChunksRequest>,
    ) -> Result<(), Refusal> {
        while let Some(frame) = frames.next().await {
            let v1::UploadChunksRequest { chunks, data } = frame?;
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

    pub(super) async fn bundles(&self) -> Result<v1::ListBundlesResponse, Refusal> {
        let bundles = self.app.store().bundles().await?.into_iter().map(|b| v1::Bundle {
            product: b.product.to_string(),
            version: b.version.to_string(),
            release: b.release.0,
            manifest_sha256: b.manifest_sha256.as_bytes().to_vec().into(),
            status: b.status,
            payload_length: b.payload_length,
            published_ms: b.published.as_millisecond(),
        });
        Ok(v1::ListBundlesResponse { bundles: bundles.collect() })
    }
}
