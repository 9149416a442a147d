//! How long to wait before trying again: doubling, capped, with jitter, so that a ward's devices do not come back all at
//! once after an outage.

use std::time::Duration;

/// A validated policy.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Delays from `first` doubling to `most`; `None` where they are zero or the wrong way round.
    pub const fn new(first: Duration, most: Duration) -> Option<Self> {
        if first.is_zero() || first.as_nanos() > most.as_nanos() { None } else { Some(Self { first, most }) }
    }

    /// The delay after `failures` in a row, at least one: half of it fixed, half by `random` out of 0 to `u32::MAX`.
    pub fn delay(&self, failures: u32, random: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
        let full = self.first.saturating_mul(doubled).min(self.most);
        let half = full / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// Where jitter comes from; `main` hands in the system's randomness.
pub type Random = std::sync::Arc<dyn Fn() -> u32 + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_never_below_half() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let backoff = Backoff::new(first, most).unwrap();
        let mut last = Duration::ZERO;
        for failures in 1..100 {
            let (least, full) = (backoff.delay(failures, 0), backoff.delay(failures, u32::MAX));
            assert!(least >= first / 2 && full <= most && least * 2 >= full.saturating_sub(Duration::from_nanos(2)));
            assert!(full >= last);
            last = full;
        }
        assert_eq!(last, most);
        assert!(Backoff::new(Duration::ZERO, most).is_none() && Backoff::new(most, first).is_none());
    }
}
