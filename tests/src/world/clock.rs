//! A clock that the test moves.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use suture_core::clock::Clock;

/// Starts at the real time, because TLS libraries judge certificates by that, and stands still unless it is moved.
#[derive(Debug)]
pub struct TestClock {
    start: Timestamp,
    moved_ms: AtomicI64,
    runs: AtomicBool,
}

impl TestClock {
    /// A clock that stands at the present second.
    pub fn start() -> Self {
        let start = suture_core::clock::whole_second(real());
        Self { start, moved_ms: AtomicI64::new(0), runs: AtomicBool::new(false) }
    }

    /// Shows the real time from now on, as the programs' own processes have it.
    pub fn run(&self) {
        self.runs.store(true, Ordering::SeqCst);
    }

    /// Moves on.
    pub fn advance(&self, by: SignedDuration) {
        self.moved_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Moves to an instant, and stands still there.
    pub fn set(&self, at: Timestamp) {
        self.runs.store(false, Ordering::SeqCst);
        self.moved_ms.store(at.as_millisecond() - self.start.as_millisecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        if self.runs.load(Ordering::SeqCst) {
            return real();
        }
        self.start + SignedDuration::from_millis(self.moved_ms.load(Ordering::SeqCst))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a test reads the real time")]
fn real() -> Timestamp {
    Timestamp::now()
}
