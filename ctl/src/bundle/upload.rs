//! Chunks to the server: only those that it lacks, so that running it again goes on where it was cut.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures::stream;
use serde::Serialize;
use suture_core::chunk::Entry;
use suture_core::limits::{FRAME_BYTES, MAX_CHUNKS_PER_CALL};
use suture_proto::v1;

use super::build::bar;
use super::{Bundle, Packs};
use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// Chunks in one upload call: a cut costs at most the call's last frames, and the server answers now and then.
const CHUNKS_PER_UPLOAD: usize = 4_096;

/// What an upload came to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Uploaded {
    /// Chunks of the bundle.
    pub chunks: u64,
    /// Those that the server lacked.
    pub sent: u64,
    /// Their bytes in stored form.
    pub sent_bytes: u64,
}

/// Uploads what the server lacks: chunks, then indexes and documents.
pub async fn upload(client: &mut Client, bundle: &Bundle) -> Outcome<Uploaded> {
    let packs = Arc::new(bundle.packs()?);
    let chunks = bundle.chunks();
    let missing = missing(client, &chunks).await?;
    let sent_bytes = missing.iter().map(|e| packs.stored_length(&e.sha256)).sum();
    let progress = bar("uploading", sent_bytes);
    for part in missing.chunks(CHUNKS_PER_UPLOAD) {
        let source = Arc::new(Mutex::new(None));
        let frames = Frames {
            packs: packs.clone(),
            chunks: part.iter().copied().collect(),
            held: None,
            failure: source.clone(),
            progress: progress.clone(),
        };
        let answer = client.upload_chunks(stream::iter(frames)).await;
        let failed = source.lock().map_or(None, |mut failure| failure.take());
        if let Some(failure) = failed {
            return Err(failure);
        }
        let v1::UploadChunksResponse { stored, already_there } = answer?;
        if stored.saturating_add(already_there) != part.len() as u64 {
            return Err(Failure::new(format!("the server stored {stored} of {} chunks", part.len()))
                .next("publish again: it goes on from there"));
        }
    }
    progress.finish_and_clear();
    for index in &bundle.indexes {
        put(client, v1::put_document_request::Kind::Index, index.to_bytes()).await?;
    }
    for document in bundle.documents()? {
        put(client, v1::put_document_request::Kind::Document, document).await?;
    }
    Ok(Uploaded { chunks: chunks.len() as u64, sent: missing.len() as u64, sent_bytes })
}

async fn put(client: &mut Client, kind: v1::put_document_request::Kind, content: Vec<u8>) -> Outcome {
    client.put_document(v1::PutDocumentRequest { kind: kind.into(), content: content.into() }).await.map(drop)
}

async fn missing(client: &mut Client, chunks: &[Entry]) -> Outcome<Vec<Entry>> {
    let mut lacking = Vec::new();
    for part in chunks.chunks(MAX_CHUNKS_PER_CALL) {
        let sha256 = part.iter().map(|e| Bytes::copy_from_slice(e.sha256.as_bytes())).collect();
        let v1::MissingChunksResponse { missing } = client.missing_chunks(v1::MissingChunksRequest { sha256 }).await?;
        for place in missing {
            let entry = usize::try_from(place).ok().and_then(|p| part.get(p)).ok_or_else(|| {
                Failure::new(format!("the server lacks chunk {place} of {}, which it was not asked for", part.len()))
            })?;
            lacking.push(*entry);
        }
    }
    Ok(lacking)
}

/// Chunks as messages of about [`FRAME_BYTES`].
struct Frames {
    packs: Arc<Packs>,
    chunks: VecDeque<Entry>,
    /// Read, but too long for the frame before.
    held: Option<(Entry, Vec<u8>)>,
    failure: Arc<Mutex<Option<Failure>>>,
    progress: indicatif::ProgressBar,
}

impl Frames {
    fn take(&mut self) -> Outcome<Option<(Entry, Vec<u8>)>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        match self.chunks.pop_front() {
            None => Ok(None),
            Some(entry) => Ok(Some((entry, self.packs.required(&entry.sha256)?))),
        }
    }

    fn frame(&mut self) -> Outcome<Option<v1::UploadChunksRequest>> {
        let mut data = BytesMut::with_capacity(FRAME_BYTES);
        let mut chunks = Vec::new();
        while let Some((entry, stored)) = self.take()? {
            if !chunks.is_empty() && data.len() + stored.len() > FRAME_BYTES {
                self.held = Some((entry, stored));
                break;
            }
            data.extend_from_slice(&stored);
            chunks.push(v1::UploadedChunk {
                sha256: Bytes::copy_from_slice(entry.sha256.as_bytes()),
                raw_length: entry.length,
                // A stored form is never longer than its raw one, which the index bounds.
                stored_length: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            });
        }
        self.progress.inc(data.len() as u64);
        Ok((!chunks.is_empty()).then(|| v1::UploadChunksRequest { chunks, data: data.freeze() }))
    }
}

impl Iterator for Frames {
    type Item = v1::UploadChunksRequest;

    fn next(&mut self) -> Option<Self::Item> {
        match self.frame() {
            Ok(frame) => frame,
            Err(failure) => {
                if let Ok(mut slot) = self.failure.lock() {
                    *slot = Some(failure);
                }
                None
            }
        }
    }
}
