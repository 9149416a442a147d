//! Missing chunks from the server: asked for in runs, taken in on threads of their own, retried from where it broke off.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use tokio::sync::mpsc;

use super::{FetchError, Part, Verified};
use crate::backoff::{Backoff, Random};
use crate::client::{Chunks, ClientError, Piece};

/// The call, in messages.
const CALL: &str = "the transfer";
/// Frames between the network and the thread that hashes: enough to keep both busy. 2 MiB of memory.
const FRAMES: usize = 8;
/// Chunks between the thread that hashes and the one that writes. Each keeps its frame in memory: 2 MiB at most. Hashing
/// costs twice what receiving does, and writing as much; two threads that write one file would only wait for each other.
const CHUNKS: usize = 8;
/// Failures in a row, without a single chunk between them, after which the next check-in is waited for.
pub(super) const MAX_FAILURES: u32 = 5;

/// Fetches until nothing is missing. What came before a cut is kept, and not asked for again. To make it durable is for the
/// caller: [`Part::sync`].
pub async fn complete(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    part: &Arc<Part>,
    (backoff, random): &(Backoff, Random),
) -> Result<(), FetchError> {
    let mut failures = 0_u32;
    loop {
        let missing = part.missing();
        if missing.is_empty() {
            return Ok(());
        }
        let before = missing.len();
        let wanted = runs(missing.iter().copied().take(MAX_CHUNKS_PER_CALL));
        let result = one_call(client, index_sha256, part, &wanted).await;
        // What comes too slowly is no better than what does not come.
        let came =
            part.missing().len() < before && !matches!(result, Err(FetchError::Client(ClientError::Stalled { .. })));
        failures = if came { 0 } else { failures.saturating_add(1) };
        match result {
            Ok(()) if failures == 0 => {}
            // A stream that ends early without a chunk is a failure like any other.
            Ok(()) if failures < MAX_FAILURES => {}
            Ok(()) => {
                let text = "it ended without the chunks that were asked for".to_owned();
                return Err(ClientError::Interrupted { call: CALL, text }.into());
            }
            Err(FetchError::Client(e)) if failures < MAX_FAILURES && is_passing(&e) => {
                tracing::info!(error = %e, missing = part.missing().len(), "the transfer was cut and goes on");
            }
            Err(e) => return Err(e),
        }
        if failures > 0 {
            tokio::time::sleep(backoff.delay(failures, random())).await;
        }
    }
}

/// Whether the same call may go through a moment later.
pub(super) const fn is_passing(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Connect(_)
            | ClientError::Interrupted { .. }
            | ClientError::Timeout { .. }
            | ClientError::Stalled { .. }
    )
}

/// One request's chunks: received here, decoded and hashed on a thread beside, written on another.
async fn one_call(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    part: &Arc<Part>,
    wanted: &[Range<u32>],
) -> Result<(), FetchError> {
    let (sender, mut frames) = mpsc::channel::<Vec<Piece>>(FRAMES);
    let (verified, mut chunks) = mpsc::channel::<Verified>(CHUNKS);
    let verifier = {
        let part = part.clone();
        tokio::task::spawn_blocking(move || {
            while let Some(frame) = frames.blocking_recv() {
                for piece in frame {
                    // The writer is gone only with an error of its own, which says more.
                    if verified.blocking_send(part.verify(piece.ordinal, piece.stored)?).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    };
    let writer = {
        let part = part.clone();
        tokio::task::spawn_blocking(move || {
            while let Some(chunk) = chunks.blocking_recv() {
                part.keep(&chunk)?;
            }
            Ok(())
        })
    };
    let received = receive(client, index_sha256, wanted, sender).await;
    let verified: Result<(), FetchError> = verifier.await.map_err(|_| FetchError::Lost)?;
    let written: Result<(), FetchError> = writer.await.map_err(|_| FetchError::Lost)?;
    // What the disk or the digest says is the cause; that the network then stopped is its effect.
    written.and(verified).and(received)
}

async fn receive(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    wanted: &[Range<u32>],
    sender: mpsc::Sender<Vec<Piece>>,
) -> Result<(), FetchError> {
    let mut pieces = client.chunks(index_sha256, wanted).await?;
    let mut due = wanted.iter().cloned().flatten();
    while let Some(frame) = pieces.next().await {
        let frame = frame?;
        for piece in &frame {
            // Attack: endless data. The same chunk again and again, each as it was signed.
            let due = due.next().ok_or(ClientError::TooMany { call: CALL })?;
            if piece.ordinal < due {
                return Err(ClientError::TooMany { call: CALL }.into());
            }
            if piece.ordinal > due {
                let text = format!("chunk {} came where {due} was due", piece.ordinal);
                return Err(ClientError::Senseless { call: CALL, text }.into());
            }
        }
        if sender.send(frame).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Ascending places as runs.
fn runs(places: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end = place.saturating_add(1),
            _ => runs.push(place..place.saturating_add(1)),
        }
    }
    runs
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
