//! One ward's time: the slots that are taken in it.
//!
//! Attack: a server that lets every device of a ward begin at once. The cap is therefore spent here, in slots that are
//! signed, and not left to anybody who counts later.

use jiff::{SignedDuration, Timestamp};

use super::calendars::Hours;
use crate::approval::Slot;

/// A ward's taken slots, for slots of one length.
#[derive(Debug)]
pub(super) struct Timetable {
    taken: Vec<Slot>,
    cap: usize,
    length: SignedDuration,
    /// From the first instant to the second, no slot can begin any more in the ward's openings, and so in no part of them:
    /// taken slots are never given back.
    full: Option<(Timestamp, Timestamp)>,
}

impl Timetable {
    /// `taken` by earlier approvals.
    pub(super) fn new(taken: Vec<Slot>, cap: u32, length: SignedDuration) -> Self {
        Self { taken, cap: cap as usize, length, full: None }
    }

    /// Takes the earliest slot that begins at `earliest` or later, lies in one of a device's openings, and never brings
    /// the ward over its cap.
    pub(super) fn place(&mut self, hours: Hours<'_>, earliest: Timestamp) -> Option<Slot> {
        let from = match self.full {
            Some((since, until)) if since <= earliest && earliest < until => until,
            _ => earliest,
        };
        let ahead = hours.open.partition_point(|opening| opening.end <= from);
        let slot = hours.open.get(ahead..)?.iter().find_map(|opening| {
            let mut start = opening.start.max(from);
            loop {
                let end = start.checked_add(self.length).ok().filter(|end| *end <= opening.end)?;
                match self.crowded_until(Slot { start, end }) {
                    None => return Some(Slot { start, end }),
                    Some(later) => start = later,
                }
            }
        })?;
        if !hours.own {
            self.full = Some((from.min(earliest), slot.start));
        }
        self.taken.push(slot);
        Some(slot)
    }

    /// When it is worth trying again, where `slot` would bring the ward over its cap: the earliest end of a taken slot
    /// that overlaps it, always later than `slot.start`.
    fn crowded_until(&self, slot: Slot) -> Option<Timestamp> {
        let overlapping = || self.taken.iter().filter(|t| t.start < slot.end && slot.start < t.end);
        // What happens inside the slot, in order; `false`, an end, sorts before a beginning at the same instant, for
        // slots are half-open.
        let mut steps: Vec<(Timestamp, bool)> =
            overlapping().flat_map(|t| [(t.start.max(slot.start), true), (t.end.min(slot.end), false)]).collect();
        steps.sort_unstable();
        let (mut busy, mut most) = (0usize, 0usize);
        for (_, begins) in steps {
            busy = if begins { busy.saturating_add(1) } else { busy.saturating_sub(1) };
            most = most.max(busy);
        }
        if most < self.cap { None } else { overlapping().map(|t| t.end).min() }
    }
}
