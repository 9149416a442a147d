//! One ward's time: the slots that are taken in it.
//!
//! Attack: a server that lets every device of a ward begin at once. The cap is therefore spent here, in slots that are
//! signed, and not left to anybody who counts later.
//!
//! What is counted are devices and not slots: one that may still use a slot of an approval that the plan replaces is down
//! once, by whichever of the two it has heard of. So its old slots crowd out others and never itself.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};

use super::calendars::Hours;
use crate::approval::Slot;
use crate::id::DeviceId;
use crate::window::Opening;

/// A ward's taken slots, for slots of one length.
#[derive(Debug)]
pub(super) struct Timetable<'a> {
    busy: Busy,
    /// When each device may be down by earlier approvals, ascending and apart.
    earlier: BTreeMap<&'a DeviceId, Vec<Slot>>,
    cap: u32,
    length: SignedDuration,
    /// From the first instant to the second, no slot can begin any more in the ward's openings, and so in no part of them, save
    /// where a device's own earlier slots are: taken slots are never given back.
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

impl<'a> Timetable<'a> {
    /// `taken` by devices of the ward, by earlier approvals.
    pub(super) fn new(taken: BTreeMap<&'a DeviceId, Vec<Slot>>, cap: u32, length: SignedDuration) -> Self {
        let mut busy = Busy::default();
        let mut earlier = taken;
        for slots in earlier.values_mut() {
            *slots = united(std::mem::take(slots));
            slots.iter().for_each(|slot| busy.add(*slot));
        }
        Self { busy, earlier, cap, length, full: None }
    }

    /// The slot for a device's wish, in one of its openings, that never brings the ward over its cap: the earliest, or in the
    /// same opening the one that is spread from it. It is not taken yet.
    pub(super) fn find(&mut self, device: &DeviceId, hours: Hours<'_>, wish: Wish) -> Option<Slot> {
        let (since, from) = match self.full {
            Some((since, until)) if since <= wish.from && wish.from < until => (since, until),
            _ => (wish.from, wish.from),
        };
        let open =
            |from| hours.open.get(hours.open.partition_point(|opening| opening.end <= from)..).unwrap_or_default();
        let mut earliest =
            open(from).iter().find_map(|opening| Some((opening, self.within(opening, from, &[], None)?)));
        if let Some((_, slot)) = earliest.filter(|_| !hours.own) {
            self.full = Some((since, slot.start));
        }
        // What is full for others may have room for a device that is among those who fill it: around its own slots, and nowhere
        // else.
        let own = self.earlier.get(device).map(Vec::as_slice).unwrap_or_default();
        for mine in own.iter().filter(|mine| wish.from < mine.end) {
            let from = mine.start.checked_sub(self.length).unwrap_or(wish.from).max(wish.from);
            let before = earliest.map_or(mine.end, |(_, slot)| slot.start.min(mine.end));
            let around = open(from).iter().take_while(|opening| opening.start < before);
            let found =
                around.clone().find_map(|opening| Some((opening, self.within(opening, from, own, Some(before))?)));
            earliest = found.or(earliest);
        }
        let (opening, earliest) = earliest?;
        let first = opening.start.max(wish.since);
        let spread = first.checked_add(self.offset(opening, first, wish.offset)).ok();
        let later =
            spread.filter(|spread| earliest.start < *spread).and_then(|spread| self.within(opening, spread, own, None));
        Some(later.unwrap_or(earliest))
    }

    /// Takes a slot for a device.
    pub(super) fn take(&mut self, device: &DeviceId, slot: Slot) {
        let own = self.earlier.get(device).map(Vec::as_slice).unwrap_or_default();
        let mut start = slot.start;
        for mine in own.iter().filter(|mine| slot.start < mine.end && mine.start < slot.end) {
            self.busy.add(Slot { start, end: mine.start });
            start = mine.end;
        }
        self.busy.add(Slot { start, end: slot.end });
    }

    /// The earliest slot in one opening, for a device that may be down in its `own` slots anyhow; none where it would begin at
    /// `before` or later.
    fn within(&self, opening: &Opening, from: Timestamp, own: &[Slot], before: Option<Timestamp>) -> Option<Slot> {
        let mut start = opening.start.max(from);
        loop {
            let end = start.checked_add(self.length).ok().filter(|end| *end <= opening.end)?;
            if before.is_some_and(|before| before <= start) {
                return None;
            }
            match self.busy.crowded_until(Slot { start, end }, self.cap, own) {
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

/// The same time as slots that are ascending and apart.
fn united(mut slots: Vec<Slot>) -> Vec<Slot> {
    slots.sort_unstable_by_key(|slot| (slot.start, slot.end));
    let mut apart: Vec<Slot> = Vec::with_capacity(slots.len());
    for slot in slots {
        match apart.last_mut().filter(|last| slot.start <= last.end) {
            Some(last) => last.end = last.end.max(slot.end),
            None => apart.push(slot),
        }
    }
    apart
}

/// How many devices may be down at each instant: from an instant on, until the next, so many; before the first none.
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
    /// it that is full, for whatever begins before that end overlaps the stretch. Always later than the slot's start. Where
    /// its device may be down anyhow, in its `own` slots, which are ascending and apart, it is no more than it is.
    fn crowded_until(&self, slot: Slot, cap: u32, own: &[Slot]) -> Option<Timestamp> {
        let first = self.0.range(..=slot.start).next_back();
        let inside = self.0.range((Bound::Excluded(slot.start), Bound::Excluded(slot.end)));
        first.into_iter().chain(inside).rev().filter(|(_, busy)| **busy >= cap).find_map(|(start, busy)| {
            // The last stretch of all is empty, so a full one has an end.
            let (end, _) = self.0.range((Bound::Excluded(*start), Bound::Unbounded)).next()?;
            let full = Slot { start: *start, end: *end };
            if *busy == cap { last_beside(full, slot, own) } else { Some(full.end) }
        })
    }
}

/// Where the last part of `full` ends that lies in `slot` and outside of `own`.
fn last_beside(full: Slot, slot: Slot, own: &[Slot]) -> Option<Timestamp> {
    let mut end = full.end;
    for mine in own.iter().rev() {
        let start = mine.end.max(full.start);
        if start < end && start < slot.end && slot.start < end {
            return Some(end);
        }
        end = end.min(mine.start);
    }
    (full.start < end && full.start < slot.end && slot.start < end).then_some(end)
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
            own in prop::collection::vec((0i64..60, 1i64..20), 0..4),
            cap in 1u32..4,
        ) {
            let mut busy = Busy::default();
            let own = united(own.iter().map(|(start, length)| slot(*start, *length)).collect());
            taken.iter().for_each(|(start, length)| busy.add(slot(*start, *length)));
            own.iter().for_each(|slot| busy.add(*slot));
            let down = |t: i64| u32::from(own.iter().any(|s| s.start <= at(t) && at(t) < s.end));
            let others =
                |t: i64| taken.iter().filter(|(start, length)| *start <= t && t < start + length).count() as u32;
            for t in -1..90 {
                prop_assert_eq!(busy.at(at(t)), others(t) + down(t));
            }
            let fits = |start: i64| (start..start + asked.1).all(|t| others(t) < cap);
            match busy.crowded_until(slot(asked.0, asked.1), cap, &own) {
                None => prop_assert!(fits(asked.0)),
                Some(later) => {
                    prop_assert!(later > at(asked.0) && !fits(asked.0));
                    let later = later.as_second() - at(0).as_second();
                    prop_assert!((asked.0..later).all(|start| !fits(start)), "nothing before it would have fitted");
                }
            }
        }
    }

    proptest! {
        /// The earliest second at which a device can begin is found, whoever else is in its ward, by looking at every one.
        #[test]
        fn the_earliest_slot_is_found_around_a_devices_own_earlier_ones(
            taken in prop::collection::vec((0usize..4, 0i64..60, 1i64..15), 0..12),
            openings in prop::collection::vec((1i64..15, 5i64..30), 1..4),
            (from, length, cap) in (0i64..40, 3i64..10, 1u32..3),
        ) {
            let ids: Vec<DeviceId> = (0..4).map(|n| format!("d{n}").parse().unwrap()).collect();
            let mut by_device: BTreeMap<&DeviceId, Vec<Slot>> = BTreeMap::new();
            taken.iter().for_each(|(n, start, length)| by_device.entry(&ids[*n]).or_default().push(slot(*start, *length)));
            let mut end = 0;
            let open: Vec<_> = openings.iter().map(|(gap, length)| {
                let start = end + gap;
                end = start + length;
                Opening { start: at(start), end: at(end) }
            }).collect();
            let mut timetable = Timetable::new(by_device, cap, SignedDuration::from_secs(length));
            let offset = Offset { spread_secs: 0, place: 0, of: 1, slots: 1 };
            let wish = Wish { from: at(from), since: at(from), offset };
            let mut all = taken.clone();
            for (n, id) in ids.iter().enumerate() {
                let others = |t: i64| {
                    let down = |d: usize| d != n && all.iter().any(|(o, s, l)| *o == d && *s <= t && t < s + l);
                    (0..4).filter(|d| down(*d)).count() < cap as usize
                };
                let fits = |start: i64| {
                    open.iter().any(|o| o.start <= at(start) && at(start + length) <= o.end)
                        && (start..start + length).all(others)
                };
                let expected = (from..end).find(|start| fits(*start));
                let found = timetable.find(id, Hours { open: &open, own: false }, wish);
                prop_assert_eq!(found.map(|s| s.start), expected.map(at));
                if let (Some(found), Some(start)) = (found, expected) {
                    timetable.take(id, found);
                    all.push((n, start, length));
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
