//! Stalls: an answer that comes, but so slowly that asking again is better.

use std::time::Duration;

use super::{CALL_TIMEOUT, LEAST_RATE};

/// What came, and for how long it was waited for, since the last judgement.
#[derive(Debug, Default)]
pub(super) struct Watch {
    came: u64,
    waited: Duration,
}

impl Watch {
    /// Counts `bytes` that came after a wait. True where what came in half a minute of waiting or more was slower than
    /// [`LEAST_RATE`]. How fast it came before that is of no account, nor for how long the disk kept the receiver busy.
    pub(super) fn is_stalled(&mut self, bytes: usize, waited: Duration) -> bool {
        self.came = self.came.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < CALL_TIMEOUT {
            return false;
        }
        let Self { came, waited } = std::mem::take(self);
        came < LEAST_RATE.saturating_mul(waited.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is judged after each of these waits, in seconds.
    fn judged(watch: &mut Watch, bytes: usize, waits: &[u64]) -> Vec<bool> {
        waits.iter().map(|secs| watch.is_stalled(bytes, Duration::from_secs(*secs))).collect()
    }

    #[test]
    fn what_drips_is_cut_off_and_a_modem_is_not() {
        let least = LEAST_RATE as usize;
        assert_eq!(judged(&mut Watch::default(), 10 * least, &[10, 10, 10, 10]), [false; 4]);
        assert_eq!(judged(&mut Watch::default(), 10 * least - 1, &[10, 10, 10]), [false, false, true]);
        assert_eq!(judged(&mut Watch::default(), 1_000, &[29, 1]), [false, true]);
    }

    #[test]
    fn a_fast_beginning_buys_no_patience() {
        let mut watch = Watch::default();
        assert_eq!(judged(&mut watch, 1 << 30, &[30]), [false]);
        assert_eq!(judged(&mut watch, 1_000, &[15, 15]), [false, true]);
    }
}
