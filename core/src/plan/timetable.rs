//! One ward's time: the slots that are taken in it.
//!
//! Attack: a server that lets every device of a ward begin at once. The cap is therefore spent here, in slots that are
//! signed, and not left to anybody who counts later.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};

use super::calendars::Hours;
use crate::approval::Slot;
use crate::window::Opening;

/// A ward's taken slots, for slots of one length.
#[derive(Debug)]
pub(super) struct Timetable {
    busy: Busy,
    cap: u32,
    length: SignedDuration,
    /// From the first instant to the second, no slot can begin any more in the ward's openings, and so in no part of them:
    /// taken slots are never given back.
    full: Option<(Timestamp, Timestamp)>,
}

/// Where a slot is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The earliest instant at which it may begin.
    pub(super) from: Timestamp,
    /// From when on the whole wave may begin: what begins at an opening's first instant then would do so with all others.
    pub(super) since: Timestamp,
    /// How long after that instant this device rather begins, where the opening has room for it.
    pub(super) offset: Offset,
}

/// A device's place among those that would begin at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offset {
    /// Over how much time they are spread, in seconds.
    pub(super) spread_secs: u32,
    /// Its place.
    pub(super) place: usize,
    /// How many they are.
    pub(super) of: usize,
    /// How many slots the ward has to place with its own.
    pub(super) slots: usize,
}

impl Timetable {
    /// `taken` by earlier approvals.
    pub(super) fn new(taken: Vec<Slot>, cap: u32, length: SignedDuration) -> Self {
        let mut busy = Busy::default();
        taken.into_iter().for_each(|slot| busy.add(slot));
        Self { busy, cap, length, full: None }
    }

    /// The slot for a wish, in one of a device's openings, that never brings the ward over its cap: the earliest, or in the
    /// same opening the one that is spread from it. It is not taken yet.
    pub(super) fn find(&mut self, hours: Hours<'_>, wish: Wish) -> Option<Slot> {
        let (since, from) = match self.full {
            Some((since, until)) if since <= wish.from && wish.from < until => (since, until),
            _ => (wish.from, wish.from),
        };
        let ahead = hours.open.partition_point(|opening| opening.end <= from);
        let (opening, earliest) =
            hours.open.get(ahead..)?.iter().find_map(|opening| Some((opening, self.within(opening, from)?)))?;
        if !hours.own {
            self.full = Some((since, earliest.start));
        }
        let first = opening.start.max(wish.since);
        let spread = first.checked_add(self.offset(opening, first, wish.offset)).ok();
        let later = spread.filter(|spread| earliest.start < *spread).and_then(|spread| self.within(opening, spread));
        Some(later.unwrap_or(earliest))
    }

    /// Takes a slot.
    pub(super) fn take(&mut self, slot: Slot) {
        self.busy.add(slot);
    }

    /// The earliest slot in one opening.
    fn within(&self, opening: &Opening, from: Timestamp) -> Option<Slot> {
        let mut start = opening.start.max(from);
        loop {
            let end = start.checked_add(self.length).ok().filter(|end| *end <= opening.end)?;
            match self.busy.crowded_until(Slot { start, end }, self.cap) {
                None => return Some(Slot { start, end }),
                Some(later) => start = later,
            }
        }
    }

    /// How far behind the opening's first usable instant a device rather begins: its share of the spread, of which no more
    /// is used than the opening has room for besides the ward's slots.
    fn offset(&self, opening: &Opening, first: Timestamp, offset: Offset) -> SignedDuration {
        let turns = offset.slots.div_ceil(self.cap.max(1) as usize);
        let needed = i64::try_from(turns).unwrap_or(i64::MAX).saturating_mul(self.length.as_secs());
        let room = opening.end.duration_since(first).as_secs().saturating_sub(needed);
        let spread = i64::from(offset.spread_secs).min(room).max(0);
        let share = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let place = share(offset.place.checked_rem(offset.of).unwrap_or(0));
        SignedDuration::from_secs(spread.saturating_mul(place).checked_div(share(offset.of)).unwrap_or(0))
    }
}

/// How many slots are taken at each instant: from an instant on, until the next, so many; before the first none.
#[derive(Debug, Default)]
struct Busy(BTreeMap<Timestamp, u32>);

impl Busy {
    fn at(&self, instant: Timestamp) -> u32 {
        self.0.range(..=instant).next_back().map_or(0, |(_, busy)| *busy)
    }

    fn add(&mut self, Slot { start, end }: Slot) {
        if end <= start {
            return;
        }
        for edge in [start, end] {
            let busy = self.at(edge);
            self.0.entry(edge).or_insert(busy);
        }
        self.0.range_mut(start..end).for_each(|(_, busy)| *busy = busy.saturating_add(1));
        // Slots that follow one another leave no edge between them, so that a full night is one stretch.
        for edge in [start, end] {
            let before = self.0.range(..edge).next_back().map_or(0, |(_, busy)| *busy);
            if self.0.get(&edge) == Some(&before) {
                self.0.remove(&edge);
            }
        }
    }

    /// When it is worth trying again, where one more slot would bring the ward over its cap: the end of the last stretch in
    /// it that is full, for whatever begins before that end overlaps the stretch. Always later than the slot's start.
    fn crowded_until(&self, slot: Slot, cap: u32) -> Option<Timestamp> {
        let first = self.0.range(..=slot.start).next_back().map(|(at, busy)| (*at, *busy));
        let inside =
            self.0.range((Bound::Excluded(slot.start), Bound::Excluded(slot.end))).map(|(at, busy)| (*at, *busy));
        let (full, _) = first.into_iter().chain(inside).rfind(|(_, busy)| *busy >= cap)?;
        // The last stretch of all is empty, so a full one has an end.
        self.0.range((Bound::Excluded(full), Bound::Unbounded)).next().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn slot(start: i64, length: i64) -> Slot {
        Slot { start: at(start), end: at(start + length) }
    }

    proptest! {
        /// Against counting: slots are few and short, so that each instant can be looked at.
        #[test]
        fn a_stretch_is_full_where_as_many_slots_as_the_cap_lie(
            taken in prop::collection::vec((0i64..60, 1i64..20), 0..12),
            asked in (0i64..60, 1i64..20),
            cap in 1u32..4,
        ) {
            let mut busy = Busy::default();
            taken.iter().for_each(|(start, length)| busy.add(slot(*start, *length)));
            let count = |t: i64| taken.iter().filter(|(start, length)| *start <= t && t < start + length).count() as u32;
            for t in -1..90 {
                prop_assert_eq!(busy.at(at(t)), count(t));
            }
            let fits = |start: i64| (start..start + asked.1).all(|t| count(t) < cap);
            match busy.crowded_until(slot(asked.0, asked.1), cap) {
                None => prop_assert!(fits(asked.0)),
                Some(later) => {
                    prop_assert!(later > at(asked.0) && !fits(asked.0));
                    let later = later.as_second() - at(0).as_second();
                    prop_assert!((asked.0..later).all(|start| !fits(start)), "nothing before it would have fitted");
                }
            }
        }
    }

    #[test]
    fn a_full_night_is_one_stretch() {
        let mut busy = Busy::default();
        (0..1_000).for_each(|n| busy.add(slot(n * 60, 60)));
        assert_eq!(busy.0.len(), 2);
    }
}
