//! Whose bytes go next: fair among the devices of one hospital, within its rate and each device's.
//!
//! Start-time fair queueing. Each piece is given a place by how much its device has been given already, so that a device
//! with two streams, or with larger pieces, gets no more than another; whoever comes late begins where the others are. The
//! piece in front waits for the hospital's bucket, the others for it.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;
use std::time::Duration;

use suture_core::pace::{Bucket, Limits, Rate};
use suture_core::principal::Principal;

/// Place of a piece in the queue: what its device had been given, and who came first.
pub(super) type Place = (u64, u64);

/// The pieces of one hospital that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bucket: Option<Bucket>,
    device_rate: Option<Rate>,
    /// Of everybody who has a stream.
    shares: HashMap<Principal, Share>,
    waiting: BTreeMap<Place, Waker>,
    /// The place of the piece that was sent last, by what its device had been given.
    served: u64,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Share {
    bucket: Option<Bucket>,
    /// What it was given, counted from where the others were when it came.
    given: u64,
    streams: usize,
}

/// What a piece may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Go.
    Now,
    /// Ask again after that long.
    After(Duration),
    /// It is woken.
    Called,
}

impl Queue {
    /// What holds from now on. Whoever waits looks again.
    pub(super) fn limit(&mut self, limits: &Limits, now: Duration) {
        let bucket = |rate: Rate| Bucket::new(rate, now);
        if self.bucket.as_ref().map(Bucket::rate) != limits.rate {
            self.bucket = limits.rate.map(bucket);
        }
        if self.device_rate != limits.device_rate {
            self.device_rate = limits.device_rate;
            for (who, share) in &mut self.shares {
                share.bucket = limits.device_rate.filter(|_| is_device(who)).map(bucket);
            }
        }
        for waker in self.waiting.values() {
            waker.wake_by_ref();
        }
    }

    /// A stream begins.
    pub(super) fn enter(&mut self, who: &Principal, now: Duration) {
        let rate = self.device_rate.filter(|_| is_device(who));
        let share = self
            .shares
            .entry(who.clone())
            .or_insert_with(|| Share { bucket: rate.map(|rate| Bucket::new(rate, now)), ..Share::default() });
        share.streams = share.streams.saturating_add(1);
    }

    /// A stream ends, and the piece that it waited with is not sent.
    pub(super) fn leave(&mut self, who: &Principal, place: Option<Place>) {
        if let Some(place) = place {
            self.waiting.remove(&place);
            self.call();
        }
        if let Some(share) = self.shares.get_mut(who) {
            share.streams = share.streams.saturating_sub(1);
            if share.streams == 0 {
                self.shares.remove(who);
            }
        }
    }

    /// Whether so many bytes may be sent now. `place` is the stream's own, empty with a new piece.
    pub(super) fn turn(
        &mut self,
        who: &Principal,
        place: &mut Option<Place>,
        bytes: usize,
        now: Duration,
        waker: &Waker,
    ) -> Turn {
        let key = match *place {
            Some(key) => key,
            None => {
                let Some(share) = self.shares.get_mut(who) else { return Turn::Now };
                if let Some(Err(wait)) = share.bucket.as_mut().map(|bucket| bucket.take(now, bytes)) {
                    return Turn::After(wait);
                }
                if self.bucket.is_none() {
                    return Turn::Now;
                }
                let start = share.given.max(self.served);
                share.given = start.saturating_add(bytes as u64);
                self.arrivals = self.arrivals.wrapping_add(1);
                *place.insert((start, self.arrivals))
            }
        };
        self.waiting.insert(key, waker.clone());
        let Some(bucket) = &mut self.bucket else {
            // The limit was taken away meanwhile.
            self.waiting.remove(&key);
            *place = None;
            return Turn::Now;
        };
        if self.waiting.first_key_value().is_some_and(|(first, _)| *first != key) {
            return Turn::Called;
        }
        if let Err(wait) = bucket.take(now, bytes) {
            return Turn::After(wait);
        }
        self.waiting.remove(&key);
        self.served = key.0;
        *place = None;
        self.call();
        Turn::Now
    }

    /// Whoever is in front now looks whether it may go.
    fn call(&self) {
        if let Some((_, waker)) = self.waiting.first_key_value() {
            waker.wake_by_ref();
        }
    }
}

const fn is_device(who: &Principal) -> bool {
    matches!(who, Principal::Device(..))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(n: usize) -> Principal {
        Principal::Device("riverside".parse().unwrap(), format!("pump-{n}").parse().unwrap())
    }

    /// Streams that always have a piece to send, and what each has sent.
    struct Streams {
        queue: Queue,
        all: Vec<(Principal, usize)>,
        sent: Vec<u64>,
        places: Vec<Option<Place>>,
        /// When each asks again; none until it is called.
        next: Vec<Option<Duration>>,
    }

    impl Streams {
        fn new(limits: &Limits, all: Vec<(Principal, usize)>) -> Self {
            let mut queue = Queue::default();
            queue.limit(limits, Duration::ZERO);
            all.iter().for_each(|(who, _)| queue.enter(who, Duration::ZERO));
            let count = all.len();
            Self {
                queue,
                all,
                sent: vec![0; count],
                places: vec![None; count],
                next: vec![Some(Duration::ZERO); count],
            }
        }

        fn run(&mut self, until: Duration) {
            while let Some((now, n)) = self.next.iter().enumerate().filter_map(|(n, at)| Some(((*at)?, n))).min() {
                if now > until {
                    return;
                }
                let (who, bytes) = &self.all[n];
                match self.queue.turn(who, &mut self.places[n], *bytes, now, Waker::noop()) {
                    Turn::Now => {
                        self.sent[n] += *bytes as u64;
                        for next in &mut self.next {
                            *next = Some(next.unwrap_or(now));
                        }
                        self.next[n] = Some(now + Duration::from_micros(1));
                    }
                    Turn::After(wait) => self.next[n] = Some(now + wait),
                    Turn::Called => self.next[n] = None,
                }
            }
            panic!("everybody waits to be called");
        }

        fn of(&self, who: &Principal) -> u64 {
            self.all.iter().zip(&self.sent).filter(|((other, _), _)| other == who).map(|(_, sent)| sent).sum()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However many streams a device has, and however large its pieces are.
        #[test]
        fn devices_share_alike_and_the_rate_is_held(
            mbit in 1_u64..20,
            sizes in prop::collection::vec((0_usize..6, 4_000_usize..16_384), 2..12),
        ) {
            let rate = Rate::try_from(mbit * 1_000_000).unwrap();
            let limits = Limits { rate: Some(rate), ..Limits::default() };
            let mut streams = Streams::new(&limits, sizes.iter().map(|&(n, bytes)| (device(n), bytes)).collect());
            streams.run(Duration::from_secs(4));
            let total: u64 = streams.sent.iter().sum();
            prop_assert!(total <= rate.bytes() * 4 + rate.bytes() / 10 + 16_384, "{total}");
            prop_assert!(total >= rate.bytes() * 7 / 2, "{total}");
            let shares: Vec<u64> = sizes.iter().map(|&(n, _)| streams.of(&device(n))).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            prop_assert!(most - least <= 3 * 16_384, "{shares:?}");
        }
    }

    #[test]
    fn a_device_has_its_own_rate_and_what_it_leaves_is_the_others() {
        let limits = Limits { rate: "10Mbit".parse().ok(), device_rate: "2Mbit".parse().ok(), streams: None };
        let mut streams = Streams::new(&limits, vec![(device(0), 10_000), (device(0), 10_000), (device(1), 10_000)]);
        let operator = Principal::Operator("riverside".parse().unwrap(), "kim".parse().unwrap());
        streams.queue.enter(&operator, Duration::ZERO);
        streams.all.push((operator.clone(), 10_000));
        streams.sent.push(0);
        streams.places.push(None);
        streams.next.push(Some(Duration::ZERO));
        streams.run(Duration::from_secs(10));
        for n in 0..2 {
            let sent = streams.of(&device(n));
            assert!((2_400_000..=2_560_000).contains(&sent), "{sent}");
        }
        assert!((7_300_000..=7_700_000).contains(&streams.of(&operator)), "{}", streams.of(&operator));
    }

    #[test]
    fn who_comes_late_does_not_catch_up_and_who_leaves_holds_up_nobody() {
        let limits = Limits { rate: "8Mbit".parse().ok(), ..Limits::default() };
        let mut streams = Streams::new(&limits, vec![(device(0), 10_000), (device(1), 10_000)]);
        // The second asks for nothing at first.
        streams.next[1] = Some(Duration::from_secs(10));
        streams.run(Duration::from_secs(9));
        let before = streams.sent[0];
        streams.run(Duration::from_secs(12));
        let (first, second) = (streams.sent[0] - before, streams.sent[1]);
        assert!((900_000..=1_100_000).contains(&second) && first > second, "{first} and {second}");
        // The one in front goes away while it waits.
        let front = streams.places.iter().position(Option::is_some).unwrap();
        let (who, place) = (streams.all[front].0.clone(), streams.places[front].take());
        streams.queue.leave(&who, place);
        streams.next[1 - front] = Some(Duration::from_secs(12));
        streams.all.remove(front);
        streams.sent = vec![0];
        streams.places.remove(front);
        streams.next.remove(front);
        streams.run(Duration::from_secs(14));
        assert!(streams.sent[0] >= 1_900_000, "{:?}", streams.sent);
    }

    #[test]
    fn a_limit_that_is_taken_away_lets_everybody_go() {
        let limits = Limits { rate: "1Mbit".parse().ok(), ..Limits::default() };
        let mut streams = Streams::new(&limits, vec![(device(0), 16_000), (device(1), 16_000)]);
        streams.run(Duration::from_secs(1));
        streams.queue.limit(&Limits::default(), Duration::from_secs(1));
        for n in 0..2 {
            let (who, bytes) = streams.all[n].clone();
            let now = Duration::from_secs(1);
            let turn = streams.queue.turn(&who, &mut streams.places[n], bytes, now, Waker::noop());
            assert_eq!((turn, streams.places[n]), (Turn::Now, None));
        }
        assert!(streams.queue.waiting.is_empty());
    }
}
