//! Deltas: what makes the new payload from an old one in a slot, with fewer bytes than its chunks have.
//!
//! Attack: a server whose deltas are wrong, endless, or of another payload. A frame is no authority: what it makes is kept
//! chunk by chunk, only where the signed index agrees. The first that is wrong ends the use of deltas for this bundle, and
//! the rest comes as chunks. So a lie costs the head, a map, and the frames on their way: 8 MiB of the network at most, and
//! never a wrong byte.
//!
//! In memory are one region's map, a frame that comes in, one that waits, one that is applied, and what it makes: 16 MiB at
//! most, and for a tree what [`crate::install::View`] keeps of its entries.

mod old;
mod plan;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use suture_core::delta::{DeltaError, Head, Map, Source as _};
use suture_core::digest::Digest;
use suture_core::limits::{MAX_DELTA_HEAD_BYTES, MAX_TEXT_BYTES};
use suture_core::manifest::Payload;
use tokio::sync::mpsc;

use super::transfer::{MAX_FAILURES, is_passing};
use super::{FetchError, Part};
use crate::backoff::{Backoff, Random};
use crate::client::{ClientError, DeltaOffer, Deltas, OfferedDelta};
use crate::durable;
use crate::install::Slots;
use old::{Held, Old};
use plan::{Arrivals, Part as Piece, Plan};

/// Deltas that are begun for one payload: the first may be deleted at the server while it is fetched.
const MAX_OFFERS: u32 = 3;
/// Calls that bring less than this, …
const CRUMB_BYTES: u64 = 4 << 10;
/// … and how many of them one delta may take.
const MAX_CRUMBS: u32 = 100;
/// A payload of which less is missing is not worth waiting for a delta.
const WORTH_WAITING_BYTES: u64 = 4 << 20;
/// Between two questions for a delta that is being made, at least.
const LEAST_WAIT: Duration = Duration::from_secs(5);
/// And at most.
const MOST_WAIT: Duration = Duration::from_secs(300);

/// What is fetched by deltas, and from what.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// What is held already.
    pub(super) slots: Slots,
    /// The payload that is wanted.
    pub(super) payload: Payload,
    /// A file that is there once a delta of this payload has failed, with the reason.
    pub(super) refused: PathBuf,
    /// How long a delta that is being made may be waited for, in all.
    pub(super) patience: Duration,
}

/// What one delta came to.
enum Ending {
    /// All that was worth it has come.
    Done,
    /// The server no longer has it.
    Gone,
    /// It is wrong, or the old payload is not what the slot says.
    Wrong(String),
    /// The server is there and sends no more of it.
    Stuck(ClientError),
}

/// Fetches by deltas what costs less so; the rest is left to chunks. What came before a cut is kept, and not asked for
/// again.
pub(super) async fn complete(
    client: &mut impl Deltas,
    task: Task,
    part: &Arc<Part>,
    retry: &(Backoff, Random),
) -> Result<(), FetchError> {
    if part.missing().is_empty() {
        return Ok(());
    }
    if let Some(why) = durable::read(&task.refused, MAX_TEXT_BYTES as u64).ok().flatten() {
        part.counters().delta_refused(String::from_utf8_lossy(&why).into_owned());
        return Ok(());
    }
    let slots = task.clone();
    let held = blocking(move || old::held(&slots.slots, &slots.payload)).await?;
    for _ in 0..MAX_OFFERS {
        let offered = match offer(client, &task, &held, part, retry).await {
            Ok(Some(offered)) => offered,
            Ok(None) => break,
            Err(FetchError::Client(e)) if e.is_abuse() => {
                refuse(&task, part, &e.to_string())?;
                break;
            }
            // The server has no such call, or does not let this device make it.
            Err(FetchError::Client(ClientError::Refused { .. } | ClientError::NotFound { .. })) => break,
            Err(e) => return Err(e),
        };
        match one(client, &task, &held, part, offered, retry).await? {
            Ending::Done => break,
            Ending::Gone => {}
            Ending::Wrong(why) => {
                refuse(&task, part, &why)?;
                break;
            }
            Ending::Stuck(e) => {
                tracing::info!(error = %e, "the delta does not come; the rest is fetched as chunks");
                break;
            }
        }
    }
    Ok(())
}

/// A failing delta falls back to chunks, for good as long as this bundle is fetched, across restarts.
fn refuse(task: &Task, part: &Part, why: &str) -> Result<(), FetchError> {
    tracing::warn!(payload = %task.payload.name, why, "a delta was refused; the rest is fetched as chunks");
    let text: String = why.chars().take(MAX_TEXT_BYTES / 4).collect();
    durable::write(&task.refused, text.as_bytes(), durable::OPEN)?;
    part.counters().delta_refused(text);
    Ok(())
}

/// Asks for a delta, and waits for one that is being made as long as there is patience.
async fn offer(
    client: &mut impl Deltas,
    task: &Task,
    held: &[Held],
    part: &Part,
    (backoff, random): &(Backoff, Random),
) -> Result<Option<OfferedDelta>, FetchError> {
    let held: Vec<Digest> = held.iter().map(|held| held.sha256).collect();
    let counters = part.counters();
    let mut failures = 0_u32;
    loop {
        match client.offer(&task.payload.sha256, &held).await {
            Ok(DeltaOffer { delta, ask_again }) => {
                failures = 0;
                let waited = Duration::from_secs(counters.waited_secs.load(Ordering::Relaxed));
                let left = task.patience.saturating_sub(waited);
                let Some(wait) = wait(ask_again, left, part.missing_bytes()) else { return Ok(delta) };
                tracing::info!(wait_secs = wait.as_secs(), "a delta is being made and is waited for");
                counters.waiting.store(true, Ordering::Relaxed);
                tokio::time::sleep(wait).await;
                counters.waiting.store(false, Ordering::Relaxed);
                counters.waited_secs.fetch_add(wait.as_secs(), Ordering::Relaxed);
            }
            Err(e) if is_passing(&e) && failures < MAX_FAILURES => {
                failures = failures.saturating_add(1);
                tokio::time::sleep(backoff.delay(failures, random())).await;
            }
            Err(e @ ClientError::Connect(_)) => return Err(e.into()),
            // The server is there and cannot say: chunks it may have all the same.
            Err(e) if is_passing(&e) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    }
}

/// How long to wait before the server is asked again, where it says that a delta is being made; none where that is not worth
/// it, or `left` does not last.
fn wait(ask_again: Option<Duration>, left: Duration, missing_bytes: u64) -> Option<Duration> {
    let wait = ask_again.filter(|_| missing_bytes >= WORTH_WAITING_BYTES)?.clamp(LEAST_WAIT, MOST_WAIT);
    (wait <= left).then_some(wait)
}

/// One delta, as far as it is worth it.
async fn one(
    client: &mut impl Deltas,
    task: &Task,
    held: &[Held],
    part: &Arc<Part>,
    offered: OfferedDelta,
    retry: &(Backoff, Random),
) -> Result<Ending, FetchError> {
    part.counters().delta_came(offered.head.len() as u64);
    let (head, sha256) = match read(task, &offered) {
        Ok(head) => (head, Digest::of(&offered.head)),
        Err(why) => return Ok(Ending::Wrong(why)),
    };
    let plan = match plan::plan(&head, &offered.chunk_bytes, part.index(), &part.wanted()) {
        Ok(plan) => plan,
        Err(why) => return Ok(Ending::Wrong(why.to_owned())),
    };
    let Plan { parcels, bytes, spared } = plan;
    if parcels.is_empty() {
        return Ok(Ending::Done);
    }
    tracing::info!(payload = %task.payload.name, from = head.old.sha256.short(), bytes, spared, "fetching by a delta");
    let (task, held) = (task.clone(), held.to_vec());
    let (old_sha256, old_length) = (head.old.sha256, head.old.length);
    let opened = blocking(move || old::open(&task.slots, &task.payload, &held, &old_sha256)).await?;
    let old = match opened {
        Ok(old) if old.length() == old_length => old,
        Ok(old) => {
            let why = format!("the old payload has {} bytes here, not {old_length}", old.length());
            return Ok(Ending::Wrong(why));
        }
        Err(why) => return Ok(Ending::Wrong(why)),
    };
    // One parcel waits while another is applied: what comes faster than it is applied stays in the network.
    let (sender, receiver) = mpsc::channel(1);
    let counters = part.counters().clone();
    let writer = Writer { part: part.clone(), old, map: Map::default() };
    let writer = tokio::task::spawn_blocking(move || writer.run(receiver));
    let mut arrivals = Arrivals::new(parcels);
    let pair = (&head.old.sha256, &head.new.sha256);
    let received = receive_all(client, (pair, &sha256), &mut arrivals, sender, &counters, retry).await;
    let written = writer.await.map_err(|_| FetchError::Lost)?;
    // What the disk or a digest says is the cause; that the network then stopped is its effect.
    match (written?, received) {
        (Some(why), _) => Ok(Ending::Wrong(why)),
        (None, Ok(())) => Ok(Ending::Done),
        (None, Err(e)) if e.is_abuse() => Ok(Ending::Wrong(e.to_string())),
        (None, Err(ClientError::Refused { .. } | ClientError::NotFound { .. })) => Ok(Ending::Gone),
        (None, Err(e @ ClientError::Connect(_))) => Err(e.into()),
        (None, Err(e)) if is_passing(&e) => Ok(Ending::Stuck(e)),
        (None, Err(e)) => Err(e.into()),
    }
}

/// Reads a head, which is to be of the wanted payload.
fn read(task: &Task, offered: &OfferedDelta) -> Result<Head, String> {
    if offered.head.len() > MAX_DELTA_HEAD_BYTES {
        return Err(format!("its head has {} bytes, more than {MAX_DELTA_HEAD_BYTES}", offered.head.len()));
    }
    let (head, length) = Head::parse(&offered.head).map_err(|e| e.to_string())?;
    if length != offered.head.len() {
        return Err("something follows its head".to_owned());
    }
    if (head.new.sha256, head.new.length) != (task.payload.sha256, task.payload.length) {
        return Err("it makes another payload".to_owned());
    }
    Ok(head)
}

/// Receives all parcels, however often the line is cut.
async fn receive_all(
    client: &mut impl Deltas,
    of: ((&Digest, &Digest), &Digest),
    arrivals: &mut Arrivals,
    sender: mpsc::Sender<(Piece, Vec<u8>)>,
    counters: &super::Counters,
    (backoff, random): &(Backoff, Random),
) -> Result<(), ClientError> {
    let (mut failures, mut crumbs) = (0_u32, 0_u32);
    while !arrivals.is_over() {
        let before = counters.delta_bytes.load(Ordering::Relaxed);
        let result = receive(client, of, arrivals, &sender, counters).await;
        let bytes = counters.delta_bytes.load(Ordering::Relaxed).saturating_sub(before);
        // What comes too slowly is no better than what does not come.
        let came = bytes > 0 && !matches!(result, Err(ClientError::Stalled { .. }));
        failures = if came { 0 } else { failures.saturating_add(1) };
        // Attack: a byte a call.
        crumbs = crumbs.saturating_add(u32::from(bytes < CRUMB_BYTES));
        if crumbs > MAX_CRUMBS {
            let text = format!("it was cut {MAX_CRUMBS} times after less than {CRUMB_BYTES} bytes");
            return Err(ClientError::Interrupted { call: "the delta", text });
        }
        match result {
            Ok(true) if came => {}
            // The writer is gone, and says why.
            Ok(false) => return Ok(()),
            // A stream that ends early without a byte is a failure like any other.
            Ok(true) if failures < MAX_FAILURES => {}
            Ok(true) => {
                let text = "it ended without the bytes that were asked for".to_owned();
                return Err(ClientError::Interrupted { call: "the delta", text });
            }
            Err(e) if failures < MAX_FAILURES && is_passing(&e) => {
                tracing::info!(error = %e, "the transfer was cut and goes on");
            }
            Err(e) => return Err(e),
        }
        if failures > 0 {
            tokio::time::sleep(backoff.delay(failures, random())).await;
        }
    }
    Ok(())
}

/// One request's bytes. False where nobody takes them any more.
async fn receive(
    client: &mut impl Deltas,
    (pair, head): ((&Digest, &Digest), &Digest),
    arrivals: &mut Arrivals,
    sender: &mpsc::Sender<(Piece, Vec<u8>)>,
    counters: &super::Counters,
) -> Result<bool, ClientError> {
    let ranges = arrivals.ranges();
    let mut left = ranges.iter().fold(0_u64, |sum, r| sum.saturating_add(r.end.saturating_sub(r.start)));
    let mut stream = client.delta(pair, head, &ranges).await?;
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        // Attack: endless data.
        left = left.checked_sub(bytes.len() as u64).ok_or(ClientError::TooMany { call: "the delta" })?;
        counters.delta_came(bytes.len() as u64);
        let mut rest = bytes.as_ref();
        while let (Some(parcel), later) = arrivals.take(rest) {
            rest = later;
            if sender.send(parcel).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Applies parcels as they come.
struct Writer {
    part: Arc<Part>,
    old: Old,
    /// Of the region at hand.
    map: Map,
}

impl Writer {
    /// Ends with the reason why the delta is wrong, where it is.
    fn run(mut self, mut parcels: mpsc::Receiver<(Piece, Vec<u8>)>) -> Result<Option<String>, FetchError> {
        while let Some((piece, bytes)) = parcels.blocking_recv() {
            match self.take(piece, bytes) {
                Ok(None) => {}
                end => return end,
            }
        }
        Ok(None)
    }

    fn take(&mut self, piece: Piece, bytes: Vec<u8>) -> Result<Option<String>, FetchError> {
        match piece {
            Piece::Map { length } => {
                // Before the new one takes its memory.
                self.map = Map::default();
                match Map::decode(&bytes, length, self.old.length()) {
                    Ok(map) => self.map = map,
                    Err(e) => return Ok(Some(sentence(&e))),
                }
                Ok(None)
            }
            Piece::Frame { run, first } => match self.map.apply(&bytes, run, &self.old) {
                Ok(made) => self.part.take_made(first, &made),
                Err(e) => Ok(Some(sentence(&e))),
            },
        }
    }
}

fn sentence(error: &DeltaError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| FetchError::Lost)
}

#[cfg(test)]
mod tests;
