//! A clock that the test moves.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::Clock;

/// Starts at the real time, because TLS libraries judge certificates by that, and stands still unless it is moved.
#[derive(Debug)]
pub struct TestClock {
    start: Timestamp,
    moved_ms: AtomicI64,
}

impl TestClock {
    /// A clock that stands at the present second.
    #[expect(clippy::disallowed_methods, reason = "the one place where a test reads the real time")]
    pub fn start() -> Self {
        Self { start: suture_core::clock::whole_second(Timestamp::now()), moved_ms: AtomicI64::new(0) }
    }

    /// Moves on.
    pub fn advance(&self, by: SignedDuration) {
        self.moved_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Moves to an instant.
    pub fn set(&self, at: Timestamp) {
        self.moved_ms.store(at.as_millisecond() - self.start.as_millisecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.start + SignedDuration::from_millis(self.moved_ms.load(Ordering::SeqCst))
    }
}
