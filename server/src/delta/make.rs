//! Making one delta, on a thread of its own at low priority: whoever waits for an answer of the server comes first.

use suture_core::delta::make::{Encoded, Plan, drafts};
use suture_core::delta::{DeltaError, Head, Map, Payload, Source as _};
use tokio::sync::mpsc;

use super::scratch::Scratch;

/// As low as it goes.
const NICE: i32 = 19;

/// What the thread hands over, in order.
#[derive(Debug)]
pub(super) enum Part {
    /// A region's map and frames, one behind another.
    Region(Vec<u8>),
    /// The head: all regions were handed over.
    Head(Head),
    /// It cannot be made.
    Failed(String),
}

/// Begins. Dropping the receiver ends the work at its next step.
pub(super) fn spawn(
    old: (Scratch, Payload),
    new: (Scratch, Payload),
    ends: Vec<u64>,
) -> std::io::Result<mpsc::Receiver<Part>> {
    // One region waits while the next one is made.
    let (parts, receiver) = mpsc::channel(1);
    std::thread::Builder::new().name("delta".to_owned()).spawn(move || {
        // On Linux this is the thread's own.
        if let Err(error) = rustix::process::nice(NICE) {
            tracing::debug!(%error, "deltas are made at the server's own priority");
        }
        match make(&old, &new, &ends, &parts) {
            Ok(Some(head)) => drop(parts.blocking_send(Part::Head(head))),
            Ok(None) => {}
            Err(why) => drop(parts.blocking_send(Part::Failed(why))),
        }
    })?;
    Ok(receiver)
}

/// Makes all regions; none where nobody waits for them any more.
fn make(
    (old, old_payload): &(Scratch, Payload),
    (new, new_payload): &(Scratch, Payload),
    ends: &[u64],
    parts: &mpsc::Sender<Part>,
) -> Result<Option<Head>, String> {
    let plan = Plan::new(old, new).map_err(sentence)?;
    let (mut runs, binaries) = (plan.kept, plan.binaries);
    for unit in &plan.units {
        if parts.is_closed() {
            return Ok(None);
        }
        runs.extend(unit.compare(old, new).map_err(sentence)?);
    }
    let mut regions = Vec::new();
    let mut start = 0;
    for draft in drafts(runs, binaries, ends) {
        if parts.is_closed() {
            return Ok(None);
        }
        let encoded = draft.encode(old, new).map_err(sentence)?;
        start = prove(&encoded, start, old, new)?;
        let bytes = [encoded.map, encoded.frames.concat()].concat();
        regions.push(encoded.region);
        if parts.blocking_send(Part::Region(bytes)).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(Head { old: *old_payload, new: *new_payload, regions }))
}

/// Makes the region, which begins at `start`, as a device will; says where it ends.
fn prove(encoded: &Encoded, start: u64, old: &Scratch, new: &Scratch) -> Result<u64, String> {
    let wrong = |why: String| {
        let place = format!("bytes {start} and on of the new payload");
        format!("the delta, applied as a check, did not give {place}: {why}; this is a fault of the server's program")
    };
    let length = encoded.region.length();
    let short = u32::try_from(length).map_err(|_| wrong(format!("a region of {length} bytes is too long")))?;
    let map = Map::decode(&encoded.map, short, old.length()).map_err(|error| wrong(sentence(error)))?;
    let (mut at, mut end) = (0_u32, start);
    for (frame, bytes) in encoded.region.frames.iter().zip(&encoded.frames) {
        let range = at..at.saturating_add(frame.length);
        at = range.end;
        let made = map.apply(bytes, range, old).map_err(|error| wrong(sentence(error)))?;
        let mut truth = vec![0; made.len()];
        new.read_at(end, &mut truth).map_err(|source| sentence(DeltaError::Read { which: "new", source }))?;
        if made != truth {
            return Err(wrong(format!("it differs within the {} bytes from {end}", frame.length)));
        }
        if bytes.len() != frame.bytes as usize {
            return Err(wrong(format!("a frame has {} bytes where its head says {}", bytes.len(), frame.bytes)));
        }
        end = end.saturating_add(u64::from(frame.length));
    }
    Ok(end)
}

fn sentence(error: DeltaError) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
