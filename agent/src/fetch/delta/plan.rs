//! Which parts of a delta are fetched: those that cost less than the chunks that they make. Pure.

use std::ops::Range;

use suture_core::chunk::Index;
use suture_core::delta::Head;
use suture_core::limits::MAX_DELTA_RANGES;

/// A part of a delta, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The map of a region of so many bytes.
    Map {
        /// What the region makes.
        length: u32,
    },
    /// A frame of the region whose map came before it.
    Frame {
        /// What of its region it makes.
        run: Range<u32>,
        /// The place of the first chunk that it makes.
        first: usize,
    },
}

/// A part and where it stands behind the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    /// From where to where, in bytes.
    pub(super) at: Range<u64>,
    /// What it is.
    pub(super) part: Part,
}

/// What is fetched.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In the order of the delta.
    pub(super) parcels: Vec<Parcel>,
    /// What they cost, in bytes.
    pub(super) bytes: u64,
    /// What the chunks that they make would cost, as the server says.
    pub(super) spared: u64,
}

/// Chooses. `wanted` says of each chunk whether it is to be fetched; `chunk_bytes` is what the server says that the chunks
/// of each frame have in stored form. However the server lies, a frame is never chosen that has more bytes than the wanted
/// chunks that it makes.
///
/// # Errors
///
/// The head does not fit the index, by which alone what it makes can be verified.
pub(super) fn plan(head: &Head, chunk_bytes: &[u32], index: &Index, wanted: &[bool]) -> Result<Plan, &'static str> {
    let frames = head.regions.iter().fold(0_usize, |sum, region| sum.saturating_add(region.frames.len()));
    if frames != chunk_bytes.len() {
        return Err("it does not say of each frame what it saves");
    }
    let mut plan = Plan::default();
    let mut chunk_bytes = chunk_bytes.iter();
    let (mut place, mut at) = (0_usize, 0_u64);
    for region in &head.regions {
        let length = u32::try_from(region.length()).map_err(|_| "a region is too long")?;
        let map = at..at.saturating_add(region.map_bytes.into());
        at = map.end;
        let mut chosen = Plan { bytes: region.map_bytes.into(), ..Plan::default() };
        let mut start = 0_u32;
        for frame in &region.frames {
            let first = place;
            let (mut made, mut missing) = (0_u64, 0_u64);
            while made < u64::from(frame.length) {
                let entry = index.entries().get(place).ok_or("it makes more than the payload")?;
                made = made.saturating_add(entry.length.into());
                missing =
                    missing.saturating_add(if wanted.get(place) == Some(&true) { entry.length.into() } else { 0 });
                place = place.saturating_add(1);
            }
            if made != u64::from(frame.length) {
                return Err("a frame does not end where a chunk ends");
            }
            let (from, run) = (at, start..start.saturating_add(frame.length));
            (at, start) = (at.saturating_add(frame.bytes.into()), run.end);
            // What is there of it already would not be fetched: its share is taken off.
            let stored = chunk_bytes.next().copied().map_or(0, u64::from).min(made);
            let spared = stored.saturating_mul(missing).checked_div(made).unwrap_or(0);
            if u64::from(frame.bytes) < spared {
                chosen.parcels.push(Parcel { at: from..at, part: Part::Frame { run, first } });
                chosen.bytes = chosen.bytes.saturating_add(frame.bytes.into());
                chosen.spared = chosen.spared.saturating_add(spared);
            }
        }
        if chosen.bytes < chosen.spared {
            plan.parcels.push(Parcel { at: map, part: Part::Map { length } });
            plan.parcels.append(&mut chosen.parcels);
            plan.bytes = plan.bytes.saturating_add(chosen.bytes);
            plan.spared = plan.spared.saturating_add(chosen.spared);
        }
    }
    if place != index.entries().len() {
        return Err("it makes less than the payload");
    }
    Ok(plan)
}

/// Parcels on their way: which have come whole, and how much of the next has.
#[derive(Debug)]
pub(super) struct Arrivals {
    parcels: std::vec::IntoIter<Parcel>,
    next: Option<Parcel>,
    bytes: Vec<u8>,
}

impl Arrivals {
    pub(super) fn new(parcels: Vec<Parcel>) -> Self {
        let mut parcels = parcels.into_iter();
        let next = parcels.next();
        Self { parcels, next, bytes: Vec::new() }
    }

    /// What is to be asked for still, joined where it lies together; empty where all has come. A parcel that was cut goes on
    /// from the byte where it was cut.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        let Some(next) = &self.next else { return Vec::new() };
        let rest = next.at.start.saturating_add(self.bytes.len() as u64)..next.at.end;
        let mut ranges = vec![rest];
        for parcel in self.parcels.as_slice() {
            let is_full = ranges.len() == MAX_DELTA_RANGES;
            match ranges.last_mut() {
                Some(last) if last.end == parcel.at.start => last.end = parcel.at.end,
                _ if is_full => break,
                _ => ranges.push(parcel.at.clone()),
            }
        }
        ranges.retain(|range| !range.is_empty());
        ranges
    }

    /// Whether all has come.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// Takes in bytes in the order of [`Arrivals::ranges`] until a parcel is whole; gives it, with what is left of the
    /// bytes.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> (Option<(Part, Vec<u8>)>, &'a [u8]) {
        let Some(next) = &self.next else { return (None, bytes) };
        let length = usize::try_from(next.at.end.saturating_sub(next.at.start)).unwrap_or(usize::MAX);
        let room = length.saturating_sub(self.bytes.len());
        let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        if self.bytes.is_empty() {
            self.bytes.reserve_exact(length);
        }
        self.bytes.extend_from_slice(now);
        if self.bytes.len() < length {
            return (None, later);
        }
        let whole = std::mem::take(&mut self.bytes);
        let part = std::mem::replace(&mut self.next, self.parcels.next()).map(|parcel| parcel.part);
        (part.map(|part| (part, whole)), later)
    }
}
