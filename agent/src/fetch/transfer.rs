//! Missing chunks from the server: asked for in runs, taken in on threads of their own, retried from where it broke off.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use suture_core::digest::Digest;
use suture_core::limits::MAX_CHUNKS_PER_CALL;
use tokio::sync::mpsc;

use super::rest::Rest;
use super::{FetchError, Part, Verified};
use crate::backoff::{Backoff, Random};
use crate::client::{Chunks, ClientError, Piece};

/// The call, in messages.
const CALL: &str = "the transfer";
/// Deliveries between the network and the thread that hashes: enough to keep both busy. Each is a frame of HTTP/2 at most, so
/// 2 MiB of memory.
const DELIVERIES: usize = 8;
/// Chunks between the thread that hashes and the one that writes. Each keeps its frame in memory: 2 MiB at most. Hashing
/// costs twice what receiving does, and writing as much; two threads that write one file would only wait for each other.
const CHUNKS: usize = 8;
/// What a cut call must have brought, where it is less than a chunk.
///
/// Attack: a byte a call.
const CRUMB_BYTES: usize = 4 << 10;
/// Failures in a row, without a chunk or so much of one between them, after which the next check-in is waited for.
pub(super) const MAX_FAILURES: u32 = 5;

/// Fetches until nothing is missing. What came before a cut is kept, and not asked for again. To make it durable is for the
/// caller: [`Part::sync`].
pub async fn complete(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    part: &Arc<Part>,
    (backoff, random): &(Backoff, Random),
) -> Result<(), FetchError> {
    let (mut failures, mut blamed) = (0_u32, 0_u32);
    let opened = part.clone();
    let rest = tokio::task::spawn_blocking(move || Rest::open(opened.path())).await;
    let mut rest = rest.map_err(|_| FetchError::Lost)?;
    loop {
        let missing = part.missing();
        let Some(first) = missing.first() else { return Ok(()) };
        let held = rest.begin(&part.digest(*first)?);
        let wanted = runs(missing.iter().copied().take(MAX_CHUNKS_PER_CALL));
        let before = (missing.len(), rest.len());
        let result;
        (rest, result) = one_call(client, index_sha256, part, (&wanted, held), rest).await?;
        let came = part.missing().len() < before.0 || rest.len() >= before.1.saturating_add(CRUMB_BYTES);
        // What comes too slowly is no better than what does not come.
        let came = came && !matches!(result, Err(FetchError::Client(ClientError::Stalled { .. })));
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
            Err(e) if is_about_a_chunk(&e) && rest.is_to_blame() && blamed < MAX_FAILURES => {
                // Attack: a good beginning and a bad end, again and again.
                blamed = blamed.saturating_add(1);
                rest.keep();
                tracing::info!(error = %e, "what was kept of a chunk is of no use; it is asked for whole");
            }
            Err(e) => return Err(e),
        }
        if failures > 0 {
            tokio::time::sleep(backoff.delay(failures, random())).await;
        }
    }
}

/// Whether it may be the fault of what was there of a chunk before: that it has other bytes, or is not as long.
const fn is_about_a_chunk(error: &FetchError) -> bool {
    matches!(error, FetchError::WrongBytes { .. } | FetchError::Client(ClientError::Refused { .. }))
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

/// One request's chunks: received here, put together, decoded and hashed on a thread beside, written on another.
async fn one_call(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    part: &Arc<Part>,
    wanted: (&[Range<u32>], u32),
    mut rest: Rest,
) -> Result<(Rest, Result<(), FetchError>), FetchError> {
    let (sender, mut pieces) = mpsc::channel::<Vec<Piece>>(DELIVERIES);
    let (verified, mut chunks) = mpsc::channel::<Verified>(CHUNKS);
    let verifier = {
        let part = part.clone();
        tokio::task::spawn_blocking(move || {
            let result = verify(&part, &mut rest, &mut pieces, &verified);
            rest.keep();
            (rest, result)
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
    let (rest, verified): (Rest, Result<(), FetchError>) = verifier.await.map_err(|_| FetchError::Lost)?;
    let written: Result<(), FetchError> = writer.await.map_err(|_| FetchError::Lost)?;
    // What the disk or the digest says is the cause; that the network then stopped is its effect.
    Ok((rest, written.and(verified).and(received)))
}

fn verify(
    part: &Part,
    rest: &mut Rest,
    pieces: &mut mpsc::Receiver<Vec<Piece>>,
    verified: &mpsc::Sender<Verified>,
) -> Result<(), FetchError> {
    while let Some(delivery) = pieces.blocking_recv() {
        for piece in delivery {
            let ordinal = piece.ordinal;
            let Some(stored) = rest.take(&part.digest(ordinal)?, piece)? else { continue };
            // The writer is gone only with an error of its own, which says more.
            if verified.blocking_send(part.verify(ordinal, stored)?).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn receive(
    client: &mut impl Chunks,
    index_sha256: &Digest,
    (wanted, held): (&[Range<u32>], u32),
    sender: mpsc::Sender<Vec<Piece>>,
) -> Result<(), FetchError> {
    let mut pieces = client.chunks(index_sha256, wanted, held).await?;
    let mut due = wanted.iter().cloned().flatten();
    // The chunk of which more is to come.
    let mut under_way = None;
    while let Some(delivery) = pieces.next().await {
        let delivery = delivery?;
        for piece in &delivery {
            // Attack: endless data. The same chunk again and again, each as it was signed.
            let due = under_way.take().or_else(|| due.next()).ok_or(ClientError::TooMany { call: CALL })?;
            if piece.ordinal < due {
                return Err(ClientError::TooMany { call: CALL }.into());
            }
            if piece.ordinal > due {
                let text = format!("chunk {} came where {due} was due", piece.ordinal);
                return Err(ClientError::Senseless { call: CALL, text }.into());
            }
            under_way = (piece.left > 0).then_some(due);
        }
        if sender.send(delivery).await.is_err() {
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
