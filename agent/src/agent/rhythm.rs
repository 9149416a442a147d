//! When the next cycle is due.

use std::time::Duration;

use suture_core::phase::Code;
use tokio::time::Instant;

use super::Agent;
use crate::backoff::Backoff;
use crate::machine::State;

/// In an open slot the interlock is asked again after that at most.
const SLOT_POLL: Duration = Duration::from_secs(15);
/// How many times the configured time lies between two cycles at most, while the server is of no use: 20 minutes of 5.
const LONGEST_POLLS: u32 = 4;

/// How often in a row the server was of no use, and what follows from it.
#[derive(Debug)]
pub(super) struct Rhythm {
    backoff: Backoff,
    useless: u32,
}

impl Rhythm {
    /// That of a device which asks that often.
    pub(super) const fn new(poll: Duration) -> Option<Self> {
        match Backoff::new(poll, poll.saturating_mul(LONGEST_POLLS)) {
            Some(backoff) => Some(Self { backoff, useless: 0 }),
            None => None,
        }
    }

    /// A cycle has passed.
    pub(super) const fn passed(&mut self, useless: bool) {
        self.useless = if useless { self.useless.saturating_add(1) } else { 0 };
    }

    /// Until the next one at least, where the server was of no use: longer from time to time, and with jitter, so that a
    /// hospital's devices do not come back all at once.
    fn wait(&self, random: u32) -> Option<Duration> {
        (self.useless > 0).then(|| self.backoff.delay(self.useless, random))
    }
}

impl Agent {
    /// Whether the server was not there in this cycle, or gave what cannot be used: either way it is not asked at once
    /// again.
    pub(super) fn was_useless(&self) -> bool {
        self.heard.is_none() || self.journal.state().trouble().is_some_and(|(reason, _)| is_of_the_server(reason.code))
    }

    /// When the next cycle is due: as the server asks, within bounds, or as configured; earlier where something begins.
    pub(super) fn next(&self) -> Duration {
        let poll = self.settings.poll;
        // Accident: a slot that has begun, or a person's word, is no reason to wear out a failing disk. Past the switch the
        // device is out of use meanwhile.
        if self.fails {
            let is_out_of_use = self.journal.state().is_committed() && self.journal.state().duty().is_some();
            let wait = self.rhythm.wait((self.around.random)()).unwrap_or(poll);
            return if is_out_of_use { poll.min(SLOT_POLL) } else { wait };
        }
        if self.inbox.is_woken() {
            return Duration::ZERO;
        }
        let mut next = match &self.heard {
            Some(heard) => {
                let least = (poll / 10).max(Duration::from_secs(1)).min(poll);
                heard.next.clamp(least, poll.saturating_mul(10))
            }
            None => poll,
        };
        // Staged, and in its slot, it has no time to lose.
        if !matches!(self.journal.state(), State::Waiting { .. })
            && let Some(wait) = self.rhythm.wait((self.around.random)())
        {
            next = if self.heard.is_some() { next.max(wait) } else { wait };
        }
        if let State::Waiting { trouble: Some(trouble), .. } = self.journal.state() {
            let asked = [Code::InUse, Code::InterlockUnknown, Code::PersonNeeded, Code::Deferred, Code::Power];
            if asked.contains(&trouble.reason.code) {
                next = next.min(SLOT_POLL);
            }
            if let Some(until) = trouble.until {
                let left = until.duration_since(self.now());
                next = next.min(Duration::try_from(left).unwrap_or(Duration::ZERO));
            }
        } else if self.journal.state().duty().is_some() && !matches!(self.journal.state(), State::Fetching { .. }) {
            next = next.min(SLOT_POLL);
        }
        if let (State::Fetching { .. }, Some(at)) = (self.journal.state(), self.ask_again) {
            next = next.min(at.saturating_duration_since(Instant::now()));
        }
        if let State::Fetching { attempt, .. } = self.journal.state()
            && let Some(left) = self.damage.left(&attempt.bundle.manifest, Instant::now())
        {
            next = next.min(left);
        }
        next.max(Duration::from_millis(100))
    }
}

/// Whether it says that what came from the server, or did not come, is of no use.
const fn is_of_the_server(code: Code) -> bool {
    matches!(
        code,
        Code::ServerUnreachable
            | Code::Transfer
            | Code::MetadataExpired
            | Code::Rollback
            | Code::MixAndMatch
            | Code::BadSignature
            | Code::BadMetadata
            | Code::EndlessData
            | Code::WrongBytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_no_use_is_asked_ever_less_often_and_a_useful_one_as_configured() {
        let poll = Duration::from_secs(300);
        let mut rhythm = Rhythm::new(poll).unwrap();
        assert_eq!(rhythm.wait(u32::MAX), None);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            rhythm.passed(true);
            let (least, most) = (rhythm.wait(0).unwrap(), rhythm.wait(u32::MAX).unwrap());
            assert!(least >= poll / 2 && least < most && most >= last && most <= poll * LONGEST_POLLS);
            last = most;
        }
        assert_eq!(last, poll * LONGEST_POLLS);
        rhythm.passed(false);
        assert_eq!(rhythm.wait(u32::MAX), None);
    }
}
