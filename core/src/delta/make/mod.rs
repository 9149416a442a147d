//! Making a delta, at the publisher: plan, compare, draft, encode.
//!
//! A [`Plan`] says which files are the same and which have to be compared with which; a [`Unit`] of it is compared by
//! itself; what all of them found becomes one [`Draft`] a region, and each draft is encoded by itself. So the caller decides
//! how many are done at once; [`make`] does one after another. A unit takes about ten times its old bytes of memory, at most
//! 800 MiB.
//!
//! The same payloads give the same delta, whatever the order of the work.

mod binaries;
mod draft;
mod entry;
mod forecast;
mod matching;
pub(crate) mod repeats;
pub(crate) mod suffix;
mod unit;

pub(crate) use suffix::common;

pub use draft::{Draft, Encoded, drafts};
pub use unit::{Plan, Run, Unit};

use super::head::{Head, Payload};
use super::{DeltaError, Source};

/// Makes a delta and gives its parts to `put` in order, but for the head, which is known only then.
///
/// `ends` are the places in the new payload where a frame may end, in order and with the payload's own end: where its chunks end, so
/// that each frame can be verified by them.
pub fn make<O: Source, N: Source>(
    (old, old_payload): (&O, Payload),
    (new, new_payload): (&N, Payload),
    ends: &[u64],
    mut put: impl FnMut(Encoded),
) -> Result<Head, DeltaError> {
    let plan = Plan::new(old, new)?;
    let binaries = plan.binaries;
    let mut runs = plan.kept;
    for unit in &plan.units {
        runs.extend(unit.compare(old, new)?);
    }
    let mut head = Head { old: old_payload, new: new_payload, regions: Vec::new() };
    for draft in drafts(runs, binaries, ends) {
        let encoded = draft.encode(old, new)?;
        head.regions.push(encoded.region.clone());
        put(encoded);
    }
    Ok(head)
}
