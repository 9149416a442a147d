//! A token bucket: what may flow by now.

use std::time::Duration;

use super::Rate;

/// What a bucket holds at most, in time: 100 ms of its rate. So a timer that is late by some milliseconds costs nothing, and
/// what comes at once is small beside what flows.
const DEPTH: Duration = Duration::from_millis(100);

/// Tokens, one a byte. Whoever finds it not in debt may take as much as it likes and leaves the debt to the next: over any
/// span of time no more flows than the rate gives in it, `DEPTH` of it besides, and one taking.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// Thousandths of a byte; negative is a debt.
    tokens: i128,
    /// When they were counted, since whatever the caller counts from.
    at: Duration,
}

impl Bucket {
    /// A bucket with nothing in it.
    pub const fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, tokens: 0, at: now }
    }

    /// Its rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes so many bytes, or says how long until it can be asked with success. With a rate of nothing that is never.
    pub fn take(&mut self, now: Duration, bytes: usize) -> Result<(), Duration> {
        self.fill(now);
        if self.rate.is_nothing() {
            return Err(Duration::MAX);
        }
        if self.tokens < 0 {
            return Err(self.lacking());
        }
        self.tokens -= i128::try_from(bytes).unwrap_or(i128::MAX / 1_000) * 1_000;
        Ok(())
    }

    fn fill(&mut self, now: Duration) {
        let passed = i128::try_from(now.saturating_sub(self.at).as_nanos()).unwrap_or(i128::MAX >> 64);
        let (rate, depth) = (i128::from(self.rate.bits()), i128::try_from(DEPTH.as_nanos()).unwrap_or_default());
        // Bits a second times nanoseconds, in thousandths of a byte.
        let worth = |nanos: i128| nanos * rate / 8_000_000;
        // What rounds to nothing is not lost: it is counted with the next.
        let gained = worth(passed);
        if gained > 0 {
            self.tokens = (self.tokens + gained).min(worth(depth).max(0));
            self.at = now;
        }
    }

    /// How long until the debt is paid.
    fn lacking(&self) -> Duration {
        let nanos = -self.tokens * 8_000_000 / i128::from(self.rate.bits()).max(1) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever asks whenever it is told to gets its rate, and never more.
        #[test]
        fn the_rate_is_held_and_reached(
            bits in 256_000_u64..2_000_000_000,
            takings in prop::collection::vec((1_usize..600_000, 0_u64..3_000_000), 1..200),
        ) {
            let rate = Rate::try_from(bits).unwrap();
            let mut bucket = Bucket::new(rate, Duration::ZERO);
            let (mut now, mut taken, mut last) = (Duration::ZERO, 0_u128, 0_u128);
            for (bytes, late_ns) in takings {
                now += Duration::from_nanos(late_ns);
                if let Err(wait) = bucket.take(now, bytes) {
                    now += wait;
                    prop_assert_eq!(bucket.take(now, bytes), Ok(()));
                }
                // Before the last taking no more than what the time gave had been taken.
                let given = (now + DEPTH).as_nanos() * u128::from(bits) / 8_000_000_000;
                prop_assert!(taken <= given, "{} of {}", taken, given);
                taken += bytes as u128;
                last = bytes as u128;
            }
            // Nobody was kept waiting longer than the rate asks.
            let least = now.saturating_sub(Duration::from_millis(600)).as_nanos() * u128::from(bits) / 8_000_000_000;
            prop_assert!(taken + last >= least || least < 1_000_000, "{} of {}", taken, least);
        }
    }

    #[test]
    fn a_rate_of_nothing_gives_nothing_however_long_one_waits() {
        let mut bucket = Bucket::new(Rate::NOTHING, Duration::ZERO);
        assert_eq!(bucket.take(Duration::from_secs(1_000_000), 1), Err(Duration::MAX));
    }
}
