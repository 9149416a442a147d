//! What was fetched, or written from that, does not lie there whole: it is fetched anew, ever less often.
//!
//! Accident: a disk that is dying, and gives back other bytes than were written to it, or none, however often they come. The
//! first time they are fetched at once, since one sector that went bad is replaced by the write. From the second time in a row
//! on it waits first, for longer each time. No try of the approval is used up: nothing of the device's software was changed.

use std::time::Duration;

use suture_core::digest::Digest;
use suture_core::phase::{Code, Reason};
use tokio::time::Instant;

use super::super::Agent;
use super::Done;
use crate::backoff::Backoff;
use crate::install::InstallError;
use crate::machine::{Event, Trouble};

/// The first wait: 5 min, doubling.
const AGAIN: Duration = Duration::from_secs(300);
/// The longest: 6 h.
const AGAIN_MOST: Duration = Duration::from_secs(6 * 3_600);

/// How often in a row a bundle did not lie there whole.
#[derive(Debug, Default)]
pub(in crate::agent) struct Damage {
    /// Which.
    of: Option<Digest>,
    times: u32,
    /// When it is fetched again.
    again: Option<Instant>,
}

impl Damage {
    /// Once more. How long it waits before it is fetched again, where it does.
    fn found(&mut self, manifest: &Digest, random: u32, now: Instant) -> Option<Duration> {
        if self.of != Some(*manifest) {
            *self = Self { of: Some(*manifest), ..Self::default() };
        }
        let before = self.times;
        self.times = self.times.saturating_add(1);
        let wait = Backoff::new(AGAIN, AGAIN_MOST).filter(|_| before > 0).map(|b| b.delay(before, random));
        self.again = wait.and_then(|wait| now.checked_add(wait));
        wait
    }

    /// How long the bundle with that manifest is still to wait, where it is.
    pub(in crate::agent) fn left(&self, manifest: &Digest, now: Instant) -> Option<Duration> {
        let again = self.again.filter(|_| self.of == Some(*manifest))?;
        Some(again.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Every byte of it was read again and is right.
    pub(super) fn is_over(&mut self) {
        *self = Self::default();
    }
}

impl Agent {
    /// Has the bundle fetched anew, now or after a wait.
    pub(super) fn damaged(&mut self, manifest: &Digest, reason: Reason) -> Event {
        let Some(wait) = self.damage.found(manifest, (self.around.random)(), Instant::now()) else {
            return Event::Damaged(reason);
        };
        let (times, mins) = (self.damage.times, wait.as_secs().div_ceil(60));
        let text = format!("{}; that is so {times} times in a row, and it is fetched again in {mins} min", reason.text);
        Event::Damaged(Reason::new(reason.code, text))
    }

    /// What lies prepared is not the new version, or was not read. Only a write mends a medium that cannot be read there.
    pub(super) fn unprepared(&mut self, manifest: &Digest, error: &InstallError) -> Done {
        match error {
            InstallError::Left(_) => Done::Later,
            e if e.is_wrong_bytes() || e.is_of_what_lies() => Done::Wait(self.damaged(manifest, unsound(e))),
            e => Done::Wait(Event::Hindered(Trouble::new(Reason::from(e)))),
        }
    }
}

/// Why what was fetched or written is to be fetched anew.
pub(super) fn unsound(error: &InstallError) -> Reason {
    Reason { code: Code::WrongBytes, ..Reason::from(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_keeps_nothing_is_written_ever_less_often() {
        let (one, two, mut now) = (Digest::of(b"one"), Digest::of(b"two"), Instant::now());
        let mut damage = Damage::default();
        assert_eq!(damage.found(&one, 0, now), None, "the first time it is fetched at once");
        assert_eq!(damage.left(&one, now), None);
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let wait = damage.found(&one, u32::MAX, now).unwrap();
            assert!(wait >= last && wait >= AGAIN && wait <= AGAIN_MOST, "{wait:?} after {last:?}");
            assert_eq!((damage.left(&one, now), damage.left(&two, now)), (Some(wait), None));
            now += wait;
            assert_eq!(damage.left(&one, now), None);
            last = wait;
        }
        assert_eq!(last, AGAIN_MOST);
        assert_eq!(damage.found(&two, 0, now), None, "another bundle lies somewhere else");
        assert!(damage.found(&two, 0, now).is_some());
        damage.is_over();
        assert_eq!(damage.found(&two, 0, now), None);
    }
}
