//! Equal events become one with a count.
//!
//! Attack: a flood of refused calls that fills memory, or hides one event among a million. What is equal costs nothing more;
//! of what differs, only so many wait at a time, and beyond that only the kind and the count are kept.

use std::collections::BTreeMap;

use super::{Event, What};
use crate::limits::{EVENT_WINDOW, MAX_EVENTS_WAITING};

/// Whom events are about that were too many to keep apart.
pub const OTHERS: &str = "others";

/// Events that wait for being written.
#[derive(Debug, Default)]
pub struct Fold {
    events: BTreeMap<What, Event>,
}

impl Fold {
    /// Adds an event. Of equal ones beyond the window the later joins the earlier too: who takes them in time keeps them
    /// apart.
    pub fn add(&mut self, event: Event) {
        let known = self.events.contains_key(&event.what);
        let event = if known || self.events.len() < MAX_EVENTS_WAITING { event } else { self.coarse(event) };
        match self.events.get_mut(&event.what) {
            Some(earlier) => {
                earlier.count = earlier.count.saturating_add(event.count);
                earlier.first = earlier.first.min(event.first);
                earlier.last = earlier.last.max(event.last);
            }
            None => drop(self.events.insert(event.what.clone(), event)),
        }
    }

    /// What is kept of an event for which there is no room: the hospital too, as long as there are not very many.
    fn coarse(&self, event: Event) -> Event {
        let Event { what: What { kind, observer, hdo, .. }, first, last, count } = event;
        let hdo = hdo.filter(|_| self.events.len() < 2 * MAX_EVENTS_WAITING);
        Event { what: What::new(kind, observer, hdo.as_ref(), OTHERS, ""), first, last, count }
    }

    /// Takes all that wait.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events).into_values().collect()
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Event {
    /// Whether an equal event at a later time still belongs to this one.
    pub fn takes(&self, later: &Self) -> bool {
        self.what == later.what && later.last.duration_since(self.first) < EVENT_WINDOW
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Kind, Observer};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn event(kind: Kind, hdo: Option<&str>, subject: &str, secs: i64) -> Event {
        let hdo = hdo.map(|hdo| hdo.parse().unwrap());
        Event::once(What::new(kind, Observer::Server, hdo.as_ref(), subject, ""), at(secs))
    }

    proptest! {
        #[test]
        fn folding_loses_no_count_and_no_instant(
            all in prop::collection::vec((0..Kind::ALL.len(), 0..3_u8, 0..4_000_u16, 0..10_000_i64), 1..4_000)
        ) {
            let mut fold = Fold::default();
            let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
            let (mut first, mut last) = (i64::MAX, i64::MIN);
            for (kind, hdo, subject, secs) in all {
                let hdo = (hdo > 0).then(|| format!("hospital-{hdo}"));
                fold.add(event(Kind::ALL[kind], hdo.as_deref(), &format!("caller {subject}"), secs));
                *counts.entry(Kind::ALL[kind]).or_default() += 1;
                (first, last) = (first.min(secs), last.max(secs));
            }
            prop_assert!(fold.len() <= 2 * MAX_EVENTS_WAITING + Kind::ALL.len());
            let events = fold.take();
            prop_assert_eq!(events.iter().map(|e| e.first).min(), Some(at(first)));
            prop_assert_eq!(events.iter().map(|e| e.last).max(), Some(at(last)));
            let mut folded: BTreeMap<Kind, u64> = BTreeMap::new();
            for event in events {
                *folded.entry(event.what.kind).or_default() += event.count;
            }
            prop_assert_eq!(folded, counts);
        }
    }

    #[test]
    fn a_flood_of_many_hospitals_and_callers_stays_within_its_bound() {
        let mut fold = Fold::default();
        for i in 0..100_000 {
            fold.add(event(Kind::CallForbidden, Some(&format!("hospital-{}", i % 5_000)), &format!("caller {i}"), i));
        }
        assert!(fold.len() <= 2 * MAX_EVENTS_WAITING + Kind::ALL.len(), "{}", fold.len());
        assert_eq!(fold.take().iter().map(|e| e.count).sum::<u64>(), 100_000);
        assert!(fold.is_empty());
    }

    #[test]
    fn equal_events_belong_together_for_a_time_only() {
        let first = event(Kind::ClockWrong, None, "pump-1", 0);
        let window = EVENT_WINDOW.as_secs();
        assert!(first.takes(&event(Kind::ClockWrong, None, "pump-1", window - 1)));
        assert!(!first.takes(&event(Kind::ClockWrong, None, "pump-1", window)));
        assert!(!first.takes(&event(Kind::ClockWrong, None, "pump-2", 1)));
        assert!(EVENT_WINDOW > SignedDuration::ZERO);
    }
}
