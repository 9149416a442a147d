//! Whether the agent's loop still goes round, for the service manager's watchdog.
//!
//! The loop says by when it will be heard of again. Should it not be, the watchdog is told nothing more, and the service
//! manager starts the agent anew: it takes up by its journal what it was at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What reading and hashing may take at a time: 100 GiB at 15 MB/s.
pub const WORK: Duration = Duration::from_secs(2 * 3_600);

/// The loop's word.
#[derive(Debug)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds after that.
    by: AtomicU64,
}

impl Pulse {
    /// One that has just beaten.
    pub fn new() -> Self {
        let pulse = Self { begun: Instant::now(), by: AtomicU64::new(0) };
        pulse.beat(Duration::ZERO);
        pulse
    }

    /// The loop is heard of again after `rest` and [`WORK`] at the latest.
    pub fn beat(&self, rest: Duration) {
        self.beat_at(self.begun.elapsed(), rest);
    }

    /// Whether the time that it named has not passed.
    pub fn is_alive(&self) -> bool {
        self.is_alive_at(self.begun.elapsed())
    }

    fn beat_at(&self, now: Duration, rest: Duration) {
        let by = now.saturating_add(rest).saturating_add(WORK);
        self.by.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is_alive_at(&self, now: Duration) -> bool {
        now.as_millis() <= u128::from(self.by.load(Ordering::Relaxed))
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_alive_until_the_time_that_it_named() {
        let pulse = Pulse::new();
        assert!(pulse.is_alive());
        let secs = Duration::from_secs;
        pulse.beat_at(secs(100), secs(60));
        assert!(pulse.is_alive_at(secs(160) + WORK));
        assert!(!pulse.is_alive_at(secs(161) + WORK));
        pulse.beat_at(secs(200), Duration::MAX);
        assert!(pulse.is_alive_at(secs(1 << 40)));
    }
}
