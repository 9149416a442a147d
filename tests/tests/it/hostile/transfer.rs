//! Attacks on the way from the approval to the bytes.

use std::sync::Arc;

use bytes::Bytes;
use suture_proto::v1::{FetchChunksResponse, FetchedChunk};
use suture_tests::hostile::Answers;
use tonic::Status;

use super::stage::{Row, Stage, row};

pub(super) const BYTES: &[Row] = &[
    row("same-length substitution", "a manifest, one digit changed", "fetching(wrong-bytes)", |act, _| {
        act.loot.catalog.replace_targets("bundles/pump/2/", |content| {
            let at = content.iter().position(u8::is_ascii_digit).unwrap();
            content[at] ^= 1;
        });
    }),
    row("endless data", "a manifest one byte longer than it was signed", "fetching(endless-data)", |act, _| {
        act.loot.catalog.replace_targets("bundles/pump/2/", |content| content.push(b' '));
    }),
    row("same-length substitution", "a chunk index, one byte changed", "fetching(wrong-bytes)", |act, _| {
        act.loot.catalog.replace_targets("documents/", |content| content[40] ^= 1);
    }),
    row("flipped chunk", "one bit of one chunk", "fetching(wrong-bytes)", |act, _| {
        bend(act, flipped);
    }),
    row("chunks mixed", "two chunks in one another's place", "fetching(wrong-bytes)", |act, _| {
        bend(act, |mut chunks| {
            let (a, b) = (chunks[0].1.clone(), chunks[1].1.clone());
            (chunks[0].1, chunks[1].1) = (b, a);
            chunks.into_iter().map(frame).collect()
        });
    }),
    row(
        "decompression bomb",
        "a stored form that unpacks to far more than the chunk",
        "fetching(wrong-bytes)",
        |act, _| {
            bend(act, |mut chunks| {
                chunks[0].1 = bomb().into();
                chunks.into_iter().map(frame).collect()
            });
        },
    ),
    row("endless data", "chunks that nobody asked for", "fetching(wrong-bytes)", |act, _| {
        endless(act, |chunk| FetchChunksResponse { chunks: vec![part(u32::MAX, 16)], data: chunk.1.slice(..16) });
    }),
    row("endless data", "the same chunk again and again", "fetching(endless-data)", |act, _| {
        endless(act, |chunk| frame(chunk).unwrap());
    }),
    row("endless data", "empty frames without end", "fetching(wrong-bytes)", |act, _| {
        endless(act, |_| FetchChunksResponse { chunks: Vec::new(), data: Bytes::new() });
    }),
    row("a frame that lies", "a chunk longer than its frame", "fetching(wrong-bytes)", |act, _| {
        endless(act, |chunk| FetchChunksResponse { chunks: vec![part(chunk.0, u32::MAX)], data: chunk.1 });
    }),
    row("a frame that lies", "more bytes than its chunks", "fetching(wrong-bytes)", |act, _| {
        endless(act, |chunk| FetchChunksResponse { chunks: vec![part(chunk.0, 1)], data: chunk.1 });
    }),
    row("withholding", "no chunk can be had", "fetching(transfer)", |act, _| {
        act.loot.payloads.clear();
    }),
];

type Frames = Vec<Result<FetchChunksResponse, Status>>;

fn part(ordinal: u32, stored_length: u32) -> FetchedChunk {
    FetchedChunk { ordinal, stored_length }
}

#[expect(clippy::unnecessary_wraps, reason = "as it is sent")]
fn frame((ordinal, data): (u32, Bytes)) -> Result<FetchChunksResponse, Status> {
    let length = u32::try_from(data.len()).unwrap();
    Ok(FetchChunksResponse { chunks: vec![part(ordinal, length)], data })
}

fn flipped(mut chunks: Vec<(u32, Bytes)>) -> Frames {
    let mut bytes = chunks[0].1.to_vec();
    bytes[7] ^= 1;
    chunks[0].1 = bytes.into();
    chunks.into_iter().map(frame).collect()
}

fn bend(act: &mut suture_tests::hostile::Act, frames: fn(Vec<(u32, Bytes)>) -> Frames) {
    act.chunks = Some(Arc::new(move |chunks| {
        Some(Box::pin(futures::stream::iter(frames(chunks))) as Answers<FetchChunksResponse>)
    }));
}

/// One frame over the first chunk that is asked for, without end.
fn endless(act: &mut suture_tests::hostile::Act, frame: fn((u32, Bytes)) -> FetchChunksResponse) {
    act.chunks = Some(Arc::new(move |chunks| {
        let first = chunks[0].clone();
        Some(Box::pin(futures::stream::repeat_with(move || Ok(frame(first.clone())))) as Answers<FetchChunksResponse>)
    }));
}

/// A zstd frame, 1 MiB of one byte: an RLE block for every 128 KiB.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for block in 0..8_u32 {
        let last = u32::from(block == 7);
        let header = (128 << 10) << 3 | 1 << 1 | last;
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.push(0);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_index_and_chunks() {
    Stage::open().await.play("Bytes on the way", BYTES).await;
}
