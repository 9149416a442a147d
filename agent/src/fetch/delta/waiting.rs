//! Waiting for a delta that is being made.
//!
//! Attack: a server that promises one for ever. What is waited for a bundle's deltas is counted from the first promise on, by
//! the device's own clock that only passes: whatever was asked, left or begun again in between takes from it as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use suture_core::limits::MAX_DELTA_WAIT;

use crate::ticks::{System, Ticks};

/// A payload of which less is missing is not worth waiting for a delta.
pub(super) const WORTH_WAITING_BYTES: u64 = 4 << 20;
/// Between two questions for a delta that is being made, at least.
pub(super) const LEAST_WAIT: Duration = Duration::from_secs(5);
/// And at most.
pub(super) const MOST_WAIT: Duration = Duration::from_secs(300);

/// How long deltas of one bundle have been waited for.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticks: Arc<dyn Ticks>,
    /// When the first was promised.
    since: Mutex<Option<Duration>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self::by(Arc::new(System::start()))
    }
}

impl Waiting {
    /// By that clock.
    pub(crate) fn by(ticks: Arc<dyn Ticks>) -> Self {
        Self { ticks, since: Mutex::default() }
    }

    /// Another bundle is fetched.
    pub(in crate::fetch) fn begin(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long to wait before the server is asked again, where it says that a delta is being made; none where that is not
    /// worth it, or what is left of `patience` does not last.
    pub(super) fn next(&self, ask_again: Option<Duration>, patience: Duration, missing_bytes: u64) -> Option<Duration> {
        let wait = ask_again.filter(|_| missing_bytes >= WORTH_WAITING_BYTES)?.clamp(LEAST_WAIT, MOST_WAIT);
        let now = self.ticks.now();
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        let most = patience.min(Duration::try_from(MAX_DELTA_WAIT).unwrap_or_default());
        (wait <= most.saturating_sub(now.saturating_sub(since))).then_some(wait)
    }

    /// Waits.
    pub(super) async fn sleep(&self, wait: Duration) {
        self.ticks.sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use futures::FutureExt as _;
    use suture_core::chunk::{Entry, Index};
    use suture_core::digest::Digest;
    use suture_core::manifest::Payload;

    use super::super::{Task, offer};
    use super::*;
    use crate::backoff::{Backoff, Random};
    use crate::client::{ClientError, DeltaBytes, DeltaOffer, Deltas};
    use crate::fetch::{Counters, Part};
    use crate::install::bundle;
    use crate::ticks::Hand;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_delta_is_waited_for_where_that_is_worth_it() {
        let next = |ask_again, patience, bytes| Waiting::by(Arc::new(Hand::default())).next(ask_again, patience, bytes);
        let large = WORTH_WAITING_BYTES;
        assert_eq!(next(None, secs(1_000), large), None);
        assert_eq!(next(Some(secs(20)), secs(1_000), large), Some(secs(20)));
        assert_eq!(next(Some(secs(20)), secs(1_000), large - 1), None);
        assert_eq!(next(Some(secs(20)), secs(19), large), None);
        assert_eq!(next(Some(secs(20)), secs(20), large), Some(secs(20)));
        assert_eq!(next(Some(secs(100_000)), secs(1_000), large), Some(MOST_WAIT));
        assert_eq!(next(Some(Duration::from_millis(1)), secs(1_000), large), Some(LEAST_WAIT));
    }

    /// A server that promises and takes its time about it.
    struct Promising {
        hand: Hand,
        takes: Duration,
        offers: u32,
    }

    impl Deltas for Promising {
        async fn offer(&mut self, _: &Digest, _: &[Digest]) -> Result<DeltaOffer, ClientError> {
            self.offers += 1;
            if !self.takes.is_zero() {
                self.hand.sleep(self.takes).await;
            }
            Ok(DeltaOffer { delta: None, ask_again: Some(secs(20)) })
        }

        async fn delta(
            &mut self,
            _: (&Digest, &Digest),
            _: &Digest,
            _: &[Range<u64>],
        ) -> Result<DeltaBytes, ClientError> {
            panic!("there is none")
        }
    }

    /// A payload of which enough is missing, and a clock that stands still.
    struct Scene {
        _dir: tempfile::TempDir,
        hand: Hand,
        part: Part,
        task: Task,
        retry: (Backoff, Random),
    }

    impl Scene {
        fn new() -> Self {
            let (dir, hand) = (tempfile::tempdir().unwrap(), Hand::default());
            let entry = |i: u32| Entry { sha256: Digest::of(&i.to_le_bytes()), length: 200_000 };
            let index = Index::new((0..40).map(entry).collect()).unwrap();
            let counters = Arc::new(Counters::by(Waiting::by(Arc::new(hand.clone()))));
            let part = Part::open(dir.path().join("app.part"), index, counters).unwrap();
            let payload = Payload::clone(&bundle(dir.path(), 1, b"").0.payloads[0]);
            let task =
                Task { versions: Arc::default(), payload, wrong: dir.path().join("app.wrong"), patience: secs(86_400) };
            let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2)).unwrap();
            Self { _dir: dir, hand, part, task, retry: (backoff, Arc::new(|| 7)) }
        }

        fn server(&self, takes: Duration) -> Promising {
            Promising { hand: self.hand.clone(), takes, offers: 0 }
        }
    }

    #[tokio::test]
    async fn a_promise_without_end_is_left_after_the_devices_own_time() {
        let scene = Scene::new();
        let mut server = scene.server(secs(25));
        let offered = offer(&mut server, &scene.task, &[], &scene.part, &scene.retry).await.unwrap();
        assert!(offered.is_none());
        let most = Duration::try_from(MAX_DELTA_WAIT).unwrap();
        let took = scene.hand.now();
        // What the server takes to answer counts as well; the answer before the last wait may come late.
        assert!(took <= most + secs(25) && took + secs(45) > most, "{took:?}");
        assert_eq!(u64::from(server.offers), took.as_secs().div_ceil(45));
        // Another try for the same bundle waits no more, and another bundle does.
        offer(&mut server, &scene.task, &[], &scene.part, &scene.retry).await.unwrap();
        assert_eq!(scene.hand.now(), took + secs(25));
        scene.part.counters().begin(std::path::Path::new("another"), 1);
        offer(&mut server, &scene.task, &[], &scene.part, &scene.retry).await.unwrap();
        assert!(scene.hand.now() > took + most - secs(45));
    }

    #[tokio::test]
    async fn waits_that_are_broken_off_again_and_again_count_too() {
        let scene = Scene::new();
        let mut server = scene.server(Duration::ZERO);
        let mut broken_off = 0;
        while offer(&mut server, &scene.task, &[], &scene.part, &scene.retry).now_or_never().is_none() {
            // The fetch is left for a new look at what is signed, in the middle of the wait.
            scene.hand.sleep(secs(10)).await;
            broken_off += 1;
            assert!(broken_off < 1_000, "it waits for ever");
        }
        assert_eq!(broken_off, (MAX_DELTA_WAIT.as_secs() - 20) / 10 + 1);
    }
}
