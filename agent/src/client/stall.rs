//! Stalls: an answer that comes, but so slowly that asking again is better.

use std::pin::pin;
use std::time::Duration;

use suture_core::limits::{STALL_BYTES, STALL_WINDOW};
use tokio::time::Instant;

/// Attack: slow retrieval. What came, and for how long it was waited for, in the window that is open. Only waiting counts:
/// how long the disk keeps the receiver busy is no fault of the line's.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long a window is.
    window: Duration,
    came: u64,
    waited: Duration,
}

/// Less came in a window of waiting than [`STALL_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stalled;

impl Default for Watch {
    fn default() -> Self {
        Self::of(STALL_WINDOW.unsigned_abs())
    }
}

impl Watch {
    const fn of(window: Duration) -> Self {
        Self { window, came: 0, waited: Duration::ZERO }
    }

    /// So many bytes came, whether or not they are the end of a message.
    pub(super) fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes as u64);
    }

    /// Waits for what comes next, for as many windows as bring enough.
    pub(super) async fn over<T>(&mut self, coming: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut coming = pin!(coming);
        loop {
            let begun = Instant::now();
            let come = tokio::time::timeout(self.left()?, coming.as_mut()).await;
            self.waited(begun.elapsed());
            if let Ok(come) = come {
                return Ok(come);
            }
        }
    }

    /// How long the window under way lasts; one that has ended is judged, and the next begins with nothing: a fast beginning
    /// buys no patience.
    fn left(&mut self) -> Result<Duration, Stalled> {
        if self.waited >= self.window {
            let came = self.came;
            *self = Self::of(self.window);
            if came < STALL_BYTES {
                return Err(Stalled);
            }
        }
        Ok(self.window.saturating_sub(self.waited))
    }

    fn waited(&mut self, passed: Duration) {
        self.waited = self.waited.saturating_add(passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a window is found stalled within an hour in which so many bytes come after each wait.
    fn stalls(watch: &mut Watch, bytes: usize, wait: Duration) -> bool {
        let waits = Duration::from_hours(1).as_millis() / wait.as_millis();
        (0..waits).any(|_| {
            let left = watch.left();
            // No wait outlasts its window.
            watch.waited(wait.min(left.unwrap_or_default()));
            watch.came(bytes);
            left.is_err()
        })
    }

    #[test]
    fn a_byte_a_second_is_a_stall_and_a_thin_share_of_a_line_is_none() {
        let second = Duration::from_secs(1);
        assert!(stalls(&mut Watch::default(), 1, second));
        assert!(stalls(&mut Watch::default(), 1_000, second));
        // 2 Mbit/s among 200: a message of 256 KiB takes three and a half minutes.
        assert!(!stalls(&mut Watch::default(), 1_250, second));
        assert!(!stalls(&mut Watch::default(), 1_448, Duration::from_millis(1_158)));
        assert!(!stalls(&mut Watch::default(), 1 << 20, second));
    }

    #[test]
    fn a_fast_beginning_buys_no_patience() {
        let mut watch = Watch::default();
        watch.came(1 << 30);
        assert!(!stalls(&mut Watch { came: 1 << 30, ..Watch::default() }, 1_250, Duration::from_secs(1)));
        assert!(stalls(&mut watch, 1, Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn what_never_comes_ends_and_what_is_there_is_taken() {
        let mut watch = Watch::of(Duration::from_millis(1));
        assert_eq!(watch.over(std::future::ready(7)).await, Ok(7));
        // Enough for one window more, and not for two.
        watch.came(1 << 20);
        assert_eq!(watch.over(std::future::pending::<()>()).await, Err(Stalled));
        assert_eq!(watch.over(std::future::ready(7)).await, Ok(7), "it is as new");
    }
}
