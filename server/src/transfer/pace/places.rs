//! Who may fetch, and who stands in line.
//!
//! A place is a device's, not a stream's: it may end one call and begin the next. It is kept for [`KEPT`] after the last
//! stream, so that a device in the middle of a bundle does not go back to the end of the line. Whoever waits has its turn by
//! the order in which it first asked.
//!
//! A device leaves its fetch every ten minutes for a new look at what is signed, which takes it some seconds, or a minute where
//! it reads its disk again. Where it breaks a stream off for that, its place is kept for [`KEPT_CUT`]; and for [`REMEMBERED`] its
//! number, which is that of one who comes next where it had a place. Nobody waits for it meanwhile.
//!
//! Attack: devices that come and go to hold places without fetching. A place is held no longer than that by one that is away; one
//! that stays can hold its place by a stream as well, and a hospital sees who fetches.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use suture_core::id::DeviceId;
use suture_core::limits::{MAX_FETCHING_DEVICES, MAX_IN_LINE, MAX_STREAMS_PER_DEVICE};

/// How long a place is kept for a device that has no stream: 5 seconds, in which it asks for the next part.
const KEPT: Duration = Duration::from_secs(5);
/// The same for one that broke its last stream off, or whose line was cut: 30 seconds.
const KEPT_CUT: Duration = Duration::from_secs(30);
/// How long a number in line is remembered of a device that is not heard of when it should be: 2 minutes.
const REMEMBERED: Duration = Duration::from_secs(120);
/// When whoever is near enough to the front to have a place with the next change asks again.
const SOON: Duration = Duration::from_secs(5);

/// The hospital's devices that fetch from this server, and those that wait to.
#[derive(Debug, Default)]
pub(super) struct Places {
    holders: HashMap<DeviceId, Holder>,
    line: VecDeque<Waiting>,
}

#[derive(Debug, Default)]
struct Holder {
    /// The older first; each is told by its flag that it is over.
    streams: VecDeque<Arc<AtomicBool>>,
    /// Until when its place is kept after the last one, since whatever the caller counts from.
    until: Duration,
}

#[derive(Debug)]
struct Waiting {
    device: DeviceId,
    /// Until when it is heard of again, or those behind it go first.
    due: Duration,
    /// It had a place.
    is_back: bool,
}

impl Waiting {
    /// Whether it is counted with.
    fn is_here(&self, now: Duration) -> bool {
        now < self.due
    }
}

/// The answer to a device that has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turned {
    /// Devices that have one.
    pub(super) fetching: usize,
    /// Which it is in line, from 1; none where the line is full.
    pub(super) number: Option<usize>,
    /// When it asks again.
    pub(super) after: Duration,
}

impl Places {
    /// A stream of the device begins, if it has a place among so many, or gets one. Where it has too many streams, the
    /// oldest is over: a device whose line was cut begins anew before the server has noticed.
    pub(super) fn enter(&mut self, device: &DeviceId, places: usize, now: Duration) -> Result<Arc<AtomicBool>, Turned> {
        self.forget(now);
        if !self.holders.contains_key(device) {
            self.wait_turn(device, places, now)?;
        }
        let holder = self.holders.entry(device.clone()).or_default();
        let is_over = Arc::new(AtomicBool::new(false));
        holder.streams.push_back(is_over.clone());
        while holder.streams.len() > MAX_STREAMS_PER_DEVICE {
            if let Some(oldest) = holder.streams.pop_front() {
                oldest.store(true, Ordering::Release);
            }
        }
        Ok(is_over)
    }

    /// A stream of the device has ended: `whole`, where all of it was sent.
    pub(super) fn leave(&mut self, device: &DeviceId, (stream, whole): (&Arc<AtomicBool>, bool), now: Duration) {
        if let Some(holder) = self.holders.get_mut(device) {
            holder.streams.retain(|other| !Arc::ptr_eq(other, stream));
            holder.until = now.saturating_add(if whole { KEPT } else { KEPT_CUT });
        }
    }

    /// Devices with a place, and in line.
    pub(super) fn count(&mut self, now: Duration) -> (usize, usize) {
        self.forget(now);
        (self.holders.len(), self.line.iter().filter(|waiting| waiting.is_here(now)).count())
    }

    /// Those who have gone.
    fn forget(&mut self, now: Duration) {
        let mut away = Vec::new();
        self.holders.retain(|device, holder| {
            let stays = !holder.streams.is_empty() || now < holder.until;
            if !stays {
                away.push(Waiting { device: device.clone(), due: holder.until, is_back: true });
            }
            stays
        });
        // Before all who have had no place yet, by when they left.
        away.sort_by_key(|waiting| waiting.due);
        for waiting in away {
            let at = self.line.iter().position(|other| !other.is_back).unwrap_or(self.line.len());
            if self.line.len() < MAX_FETCHING_DEVICES {
                self.line.insert(at, waiting);
            }
        }
        self.line.retain(|waiting| now < waiting.due.saturating_add(REMEMBERED));
    }

    /// Takes the device out of the line where a place is free and it is its turn; else keeps its number.
    fn wait_turn(&mut self, device: &DeviceId, places: usize, now: Duration) -> Result<(), Turned> {
        let fetching = self.holders.len();
        let free = places.saturating_sub(fetching);
        let before = self.line.iter().position(|waiting| waiting.device == *device);
        let end = before.unwrap_or(self.line.len());
        let ahead = self.line.iter().take(end).filter(|waiting| waiting.is_here(now)).count();
        if ahead < free {
            self.line.retain(|waiting| waiting.device != *device);
            return Ok(());
        }
        // Attack: a hospital with more devices than there are, each of which asks once.
        if before.is_none() && self.line.len() >= MAX_FETCHING_DEVICES {
            return Err(Turned { fetching, number: None, after: MAX_IN_LINE.unsigned_abs() });
        }
        let rounds = u32::try_from(ahead / places.max(1)).unwrap_or(u32::MAX).saturating_add(1);
        let after = SOON.saturating_mul(rounds).min(MAX_IN_LINE.unsigned_abs());
        let due = now.saturating_add(after.saturating_mul(2)).saturating_add(SOON);
        match self.line.get_mut(end) {
            Some(waiting) => waiting.due = due,
            None => self.line.push_back(Waiting { device: device.clone(), due, is_back: false }),
        }
        Err(Turned { fetching, number: Some(ahead.saturating_add(1)), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> DeviceId {
        format!("pump-{n}").parse().unwrap()
    }

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn they_come_in_by_the_order_in_which_they_asked() {
        let mut places = Places::default();
        let one = places.enter(&id(1), 1, at(0)).unwrap();
        let turned = |number, secs| Turned { fetching: 1, number: Some(number), after: at(secs) };
        assert_eq!(places.enter(&id(2), 1, at(1)).unwrap_err(), turned(1, 5));
        assert_eq!(places.enter(&id(3), 1, at(1)).unwrap_err(), turned(2, 10));
        assert_eq!(places.count(at(1)), (1, 2));
        // The one that fetches goes on with the next part; nobody has come in meanwhile.
        places.leave(&id(1), (&one, true), at(2));
        assert_eq!(places.enter(&id(2), 1, at(6)).unwrap_err(), turned(1, 5));
        let one = places.enter(&id(1), 1, at(6)).unwrap();
        places.leave(&id(1), (&one, true), at(7));
        // It is over; the third asks first, and is not before the second.
        assert_eq!(places.enter(&id(3), 1, at(13)).unwrap_err(), Turned { fetching: 0, ..turned(2, 10) });
        assert!(places.enter(&id(2), 1, at(14)).is_ok());
        assert_eq!(places.count(at(14)), (1, 1));
    }

    #[test]
    fn who_is_not_heard_of_is_not_waited_for() {
        let mut places = Places::default();
        let one = places.enter(&id(1), 1, at(0)).unwrap();
        places.enter(&id(2), 1, at(0)).unwrap_err();
        places.enter(&id(3), 1, at(10)).unwrap_err();
        places.leave(&id(1), (&one, true), at(10));
        assert!(places.enter(&id(3), 1, at(16)).is_ok(), "the second has gone");
        assert_eq!(places.count(at(16)), (1, 0));
    }

    #[test]
    fn who_was_away_for_a_look_has_its_number_still() {
        let mut places = Places::default();
        let one = places.enter(&id(1), 1, at(0)).unwrap();
        // It was told to ask again after 5 s, does so, and then looks at what is signed.
        places.enter(&id(2), 1, at(0)).unwrap_err();
        places.enter(&id(2), 1, at(5)).unwrap_err();
        assert_eq!(places.enter(&id(3), 1, at(30)).unwrap_err().number, Some(1), "nobody waits for it meanwhile");
        let back = places.enter(&id(2), 1, at(20) + REMEMBERED - at(1)).unwrap_err();
        assert_eq!((back.number, back.after), (Some(1), at(5)));
        places.enter(&id(3), 1, at(139)).unwrap_err();
        places.leave(&id(1), (&one, true), at(140));
        assert_eq!(places.enter(&id(3), 1, at(146)).unwrap_err().number, Some(2));
        assert!(places.enter(&id(2), 1, at(146)).is_ok());
        // One that has gone for good has lost it.
        places.enter(&id(3), 1, at(147)).unwrap_err();
        let later = at(147) + at(15) + REMEMBERED;
        assert_eq!(places.enter(&id(4), 1, later).unwrap_err().number, Some(1));
        assert_eq!(places.enter(&id(3), 1, later).unwrap_err().number, Some(2));
    }

    #[test]
    fn who_breaks_off_for_a_look_has_its_place_for_a_while_and_then_comes_next() {
        let mut places = Places::default();
        let one = places.enter(&id(1), 1, at(0)).unwrap();
        for n in [2, 3] {
            places.enter(&id(n), 1, at(599)).unwrap_err();
        }
        places.leave(&id(1), (&one, false), at(600));
        assert_eq!(places.enter(&id(2), 1, at(610)).unwrap_err().fetching, 1);
        let one = places.enter(&id(1), 1, at(629)).unwrap();
        // It reads a large disk: the next has its place meanwhile, and then it is its turn again.
        places.leave(&id(1), (&one, false), at(1_200));
        places.enter(&id(2), 1, at(1_229)).unwrap_err();
        places.enter(&id(3), 1, at(1_229)).unwrap_err();
        let two = places.enter(&id(2), 1, at(1_230)).unwrap();
        assert_eq!(places.enter(&id(1), 1, at(1_230) + REMEMBERED - at(1)).unwrap_err().number, Some(1));
        places.enter(&id(3), 1, at(1_350)).unwrap_err();
        places.leave(&id(2), (&two, true), at(1_350));
        assert_eq!(places.enter(&id(3), 1, at(1_356)).unwrap_err().number, Some(2));
        assert!(places.enter(&id(1), 1, at(1_356)).is_ok());
        // One that has gone for good holds nothing, and is forgotten.
        let mut places = Places::default();
        let one = places.enter(&id(1), 1, at(0)).unwrap();
        places.leave(&id(1), (&one, false), at(0));
        assert_eq!(places.count(at(29)), (1, 0));
        assert_eq!(places.count(at(30)), (0, 0));
        assert!(places.enter(&id(2), 1, at(31)).is_ok());
        places.forget(at(30) + REMEMBERED);
        assert!(places.line.is_empty());
    }

    #[test]
    fn more_places_let_in_as_many_and_fewer_send_nobody_away() {
        let mut places = Places::default();
        for n in 0..10 {
            assert_eq!(places.enter(&id(n), 4, at(0)).is_ok(), n < 4, "{n}");
        }
        for n in 4..10 {
            assert_eq!(places.enter(&id(n), 7, at(1)).is_ok(), n < 7, "{n}");
        }
        assert!(places.enter(&id(0), 2, at(2)).is_ok(), "it has its place");
        assert_eq!(places.enter(&id(9), 2, at(2)).unwrap_err().number, Some(3));
    }

    #[test]
    fn a_device_that_begins_again_and_again_ends_what_it_began_first() {
        let mut places = Places::default();
        let streams: Vec<_> = (0..5).map(|_| places.enter(&id(1), 1, at(0)).unwrap()).collect();
        let over: Vec<bool> = streams.iter().map(|s| s.load(Ordering::Acquire)).collect();
        assert_eq!(over, [true, true, true, false, false]);
        for stream in &streams {
            places.leave(&id(1), (stream, true), at(1));
        }
        assert_eq!(places.count(at(7)), (0, 0));
    }

    #[test]
    fn a_line_has_an_end() {
        let mut places = Places::default();
        places.enter(&id(0), 1, at(0)).unwrap();
        for n in 1..=MAX_FETCHING_DEVICES {
            places.line.push_back(Waiting { device: id(n), due: at(9), is_back: false });
        }
        let turned = places.enter(&id(MAX_FETCHING_DEVICES + 1), 1, at(0)).unwrap_err();
        assert_eq!((turned.number, places.line.len()), (None, MAX_FETCHING_DEVICES));
        let last = places.enter(&id(MAX_FETCHING_DEVICES), 1, at(0)).unwrap_err();
        assert_eq!((last.number, last.after), (Some(MAX_FETCHING_DEVICES), at(60)));
    }
}
