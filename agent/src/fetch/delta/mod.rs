//! Deltas: what makes the new payload from an old one in a slot, with fewer bytes than its chunks have.
//!
//! Attack: a server whose deltas are wrong, endless, or of another payload. A frame is no authority: what it makes is kept
//! chunk by chunk, only where the signed index agrees, and what it was to make comes as chunks. A few frames may be wrong;
//! more, or anything else that is wrong, end the use of deltas for this payload (`trouble`). So lies cost those few frames with
//! their maps, and what is on its way: 24 MiB of the network at most, and never a wrong byte. Nor does the device wait for
//! ever for what is promised (`waiting`).
//!
//! In memory are the head, one region's map, a frame that is applied, what it makes, and a part that comes in or waits: 16 MiB
//! at most ([`suture_core::limits::MAX_DELTA_MEMORY`]), and for a tree what [`crate::install::View`] keeps of its entries.

mod old;
mod plan;
mod trouble;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use suture_core::delta::{DeltaError, Head, Map, Source as _};
use suture_core::digest::Digest;
use suture_core::limits::MAX_DELTA_HEAD_BYTES;
use suture_core::manifest::Payload;
use tokio::sync::mpsc;

use super::transfer::{MAX_FAILURES, is_passing};
use super::{FetchError, Part};
use crate::backoff::{Backoff, Random};
use crate::client::{ClientError, DeltaOffer, Deltas, OfferedDelta};
use crate::install::Version;
use old::{Held, Old};
use plan::{Arrivals, Part as Piece, Plan};
use trouble::Trouble;

pub(crate) use waiting::Waiting;

/// Deltas that are begun for one payload: the first may be deleted at the server while it is fetched.
const MAX_OFFERS: u32 = 3;
/// Calls that bring less than this, …
const CRUMB_BYTES: u64 = 4 << 10;
/// … and how many of them one delta may take.
const MAX_CRUMBS: u32 = 100;

/// What is fetched by deltas, and from what.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// What is held already.
    pub(super) versions: Arc<Vec<Version>>,
    /// The payload that is wanted.
    pub(super) payload: Payload,
    /// A file that is there once a delta of this payload was wrong, and says how.
    pub(super) wrong: PathBuf,
    /// How long a delta that is being made may be waited for, in all.
    pub(super) patience: Duration,
}

/// What one delta came to.
enum Ending {
    /// All that was worth it has come, or enough of it was wrong.
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
    let held = old::held(&task.versions, &task.payload);
    let digests = held.iter().map(|held| held.sha256).collect();
    let mut trouble = Trouble::open(task.wrong.clone(), digests, part.counters().clone());
    if trouble.is_over() {
        return Ok(());
    }
    for _ in 0..MAX_OFFERS {
        let offered = match offer(client, &task, &held, part, retry).await {
            Ok(Some(offered)) => offered,
            Ok(None) => break,
            Err(FetchError::Client(e)) if e.is_abuse() => {
                trouble.end(&e.to_string())?;
                break;
            }
            // The server has no such call, or does not let this device make it.
            Err(FetchError::Client(ClientError::Refused { .. } | ClientError::NotFound { .. })) => break,
            Err(e) => return Err(e),
        };
        let ending;
        (ending, trouble) = one(client, &task, &held, part, offered, retry, trouble).await?;
        match ending {
            Ending::Done => break,
            Ending::Gone => {}
            Ending::Wrong(why) => {
                trouble.end(&why)?;
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
                let wait = counters.deltas_awaited.next(ask_again, task.patience, part.missing_bytes());
                let Some(wait) = wait else { return Ok(delta) };
                tracing::info!(wait_secs = wait.as_secs(), "a delta is being made and is waited for");
                counters.waiting.store(true, Ordering::Relaxed);
                counters.deltas_awaited.sleep(wait).await;
                counters.waiting.store(false, Ordering::Relaxed);
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

/// One delta, as far as it is worth it.
async fn one(
    client: &mut impl Deltas,
    task: &Task,
    held: &[Held],
    part: &Arc<Part>,
    offered: OfferedDelta,
    retry: &(Backoff, Random),
    trouble: Trouble,
) -> Result<(Ending, Trouble), FetchError> {
    part.counters().delta_came(offered.head.len() as u64);
    let (head, sha256) = match read(task, &offered) {
        Ok(head) => (head, Digest::of(&offered.head)),
        Err(why) => return Ok((Ending::Wrong(why), trouble)),
    };
    let plan = match plan::plan(&head, &offered.chunk_bytes, part.index(), &part.wanted()) {
        Ok(plan) => plan,
        Err(why) => return Ok((Ending::Wrong(why.to_owned()), trouble)),
    };
    drop(offered);
    let Plan { parcels, bytes, spared } = plan;
    if parcels.is_empty() {
        return Ok((Ending::Done, trouble));
    }
    tracing::info!(payload = %task.payload.name, from = head.old.sha256.short(), bytes, spared, "fetching by a delta");
    let (task, held) = (task.clone(), held.to_vec());
    let (old_sha256, old_length, new_sha256) = (head.old.sha256, head.old.length, head.new.sha256);
    drop(head);
    let opened = blocking(move || old::open(&task.versions, &held, &old_sha256)).await?;
    let old = match opened {
        Ok(old) if old.length() == old_length => old,
        Ok(old) => {
            let why = format!("the old payload has {} bytes here, not {old_length}", old.length());
            return Ok((Ending::Wrong(why), trouble));
        }
        Err(why) => return Ok((Ending::Wrong(why), trouble)),
    };
    // One parcel comes or waits while another is applied: what comes faster than it is applied stays in the network.
    let (sender, receiver) = mpsc::channel(1);
    let counters = part.counters().clone();
    let writer = Writer { part: part.clone(), old, map: Map::default(), trouble };
    let writer = tokio::task::spawn_blocking(move || writer.run(receiver));
    let mut arrivals = Arrivals::new(parcels);
    let pair = (&old_sha256, &new_sha256);
    let received = receive_all(client, (pair, &sha256), &mut arrivals, sender, &counters, retry).await;
    let written = writer.await.map_err(|_| FetchError::Lost)?;
    // What the disk or a digest says is the cause; that the network then stopped is its effect.
    let (why, trouble) = written?;
    let ending = match (why, received) {
        (Some(why), _) => Ending::Wrong(why),
        _ if trouble.is_over() => Ending::Done,
        (None, Ok(())) => Ending::Done,
        (None, Err(e)) if e.is_abuse() => Ending::Wrong(e.to_string()),
        (None, Err(ClientError::Refused { .. } | ClientError::NotFound { .. })) => Ending::Gone,
        (None, Err(e @ ClientError::Connect(_))) => return Err(e.into()),
        (None, Err(e)) if is_passing(&e) => Ending::Stuck(e),
        (None, Err(e)) => return Err(e.into()),
    };
    Ok((ending, trouble))
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
        loop {
            // No part of a parcel is taken in before the one before it is being applied.
            let Ok(room) = sender.reserve().await else { return Ok(false) };
            let (parcel, later) = arrivals.take(rest);
            rest = later;
            let Some(parcel) = parcel else { break };
            room.send(parcel);
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
    trouble: Trouble,
}

impl Writer {
    /// Ends once all has come or too much of it was wrong, or with the reason why the delta is wrong as a whole.
    fn run(mut self, mut parcels: mpsc::Receiver<(Piece, Vec<u8>)>) -> Result<(Option<String>, Trouble), FetchError> {
        while let Some((piece, bytes)) = parcels.blocking_recv() {
            let wrong = match piece {
                Piece::Map { length } => {
                    // Before the new one takes its memory.
                    self.map = Map::default();
                    match Map::decode(&bytes, length, self.old.length()) {
                        Ok(map) => self.map = map,
                        Err(e) => return Ok((Some(sentence(&e)), self.trouble)),
                    }
                    None
                }
                Piece::Frame { run, first } => match self.map.apply(&bytes, run, &self.old) {
                    Ok(made) => self.part.take_made(first, &made)?,
                    Err(e) => Some(sentence(&e)),
                },
            };
            if let Some(why) = wrong {
                self.trouble.frame(&why)?;
                if self.trouble.is_over() {
                    break;
                }
            }
        }
        Ok((None, self.trouble))
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
