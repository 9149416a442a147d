//! What a device counts as in a rollout, and how many of a wave count as what. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::phase::{Code, Phase, Reason};

/// What a device counts as. Only signed reports and the passing of time move it, and a report that comes later always wins
/// over what time alone has made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has not begun, and still may.
    Awaited,
    /// It installs, restarts or proves its health.
    Begun,
    /// It runs the new version and has proven its health.
    Confirmed,
    /// It failed, fell back, or holds until a person comes: nothing that went wrong while a device was being changed is less.
    Failed,
    /// It fell back, and has tries and slots left: a failure until it says that it begins anew, and waited for until its last
    /// slot ends.
    Retrying,
    /// It began and has said nothing for as long as the hospital let it: a failure until it speaks again.
    TimedOut,
    /// Its last slot ended before it began. That says nothing against the patch, so it is no failure; yet it is not confirmed,
    /// and nobody waits for it any longer.
    Missed,
    /// A stop order, a withdrawal or another approval came before it began.
    Ended,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Awaited,
        Self::Begun,
        Self::Confirmed,
        Self::Failed,
        Self::Retrying,
        Self::TimedOut,
        Self::Missed,
        Self::Ended,
    ];

    /// The name in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Begun => "begun",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::TimedOut => "timed_out",
            Self::Missed => "missed",
            Self::Ended => "ended",
        }
    }

    /// The standing of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether it speaks against the patch.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Retrying | Self::TimedOut)
    }

    /// Whether something is waited for.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Awaited | Self::Begun | Self::Retrying)
    }

    /// Whether a person may let the rollout go on without it.
    pub const fn is_forgivable(self) -> bool {
        !matches!(self, Self::Awaited | Self::Begun | Self::Confirmed)
    }
}

/// A device in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Its wave.
    pub wave: u32,
    /// How far it got, by its signed reports.
    pub phase: Phase,
    /// Since when, by the server's clock: when it last said something of this approval, or when it was first confirmed.
    pub since: Timestamp,
    /// When its last slot ends.
    pub slots_end: Timestamp,
    /// Whether it is offered no other try ([`super::is_barred`]).
    pub barred: bool,
    /// Whether a person lets the rollout go on without it.
    pub forgiven: bool,
}

impl Progress {
    /// What it counts as now. `timeout` is how long a device that has begun may say nothing.
    pub fn standing(&self, timeout: SignedDuration, now: Timestamp) -> Standing {
        let is_due = self.turns(timeout).is_some_and(|at| at <= now);
        match self.phase {
            Phase::Confirmed => Standing::Confirmed,
            Phase::FellBack if !self.barred && !is_due => Standing::Retrying,
            Phase::FellBack | Phase::Failed | Phase::Held => Standing::Failed,
            Phase::Expired => Standing::Missed,
            Phase::Stopped | Phase::Withdrawn | Phase::Superseded => Standing::Ended,
            Phase::Installing | Phase::Restarting | Phase::Confirming if is_due => Standing::TimedOut,
            Phase::Installing | Phase::Restarting | Phase::Confirming => Standing::Begun,
            Phase::Offered | Phase::Fetching | Phase::Staged | Phase::Waiting | Phase::Idle if is_due => {
                Standing::Missed
            }
            Phase::Offered | Phase::Fetching | Phase::Staged | Phase::Waiting | Phase::Idle => Standing::Awaited,
        }
    }

    /// When time alone makes it count as something else, if it ever does. What lies in the past has done so.
    pub fn turns(&self, timeout: SignedDuration) -> Option<Timestamp> {
        match self.phase {
            Phase::Installing | Phase::Restarting | Phase::Confirming => {
                Some(self.since.saturating_add(timeout).unwrap_or(Timestamp::MAX))
            }
            Phase::Offered | Phase::Fetching | Phase::Staged | Phase::Waiting | Phase::Idle => Some(self.slots_end),
            Phase::FellBack if !self.barred => Some(self.slots_end),
            _ => None,
        }
    }

    /// The same after a signed report that was received now. `over`: it says that no other try follows, or has had its last.
    ///
    /// A soak is measured from the first word that it is confirmed, so that one who repeats it delays nothing. One that is held after
    /// that could neither stay nor go back: a person has found it unfit. That it is forgiven holds for what a person has
    /// looked at: not for a new try, and not for a failure of one that was only late.
    #[must_use]
    pub fn told(self, phase: Phase, over: bool, timeout: SignedDuration, now: Timestamp) -> Self {
        if self.phase == Phase::Confirmed && phase == Phase::Confirmed {
            return self;
        }
        // Once said, it holds until a lift: a device that lost its record says that it begins anew.
        let next = Self { phase, since: now, barred: self.barred || over, ..self };
        let (before, after) = (self.standing(timeout, now), next.standing(timeout, now));
        let is_news = !after.is_forgivable() || (after.is_failure() && !before.is_failure());
        Self { forgiven: self.forgiven && !is_news, ..next }
    }

    /// Why it counts as what it does, where the device itself did not say so.
    pub fn reason(&self, standing: Standing, timeout: SignedDuration) -> Option<Reason> {
        match standing {
            Standing::TimedOut => {
                let text = format!(
                    "it has said nothing since it was {}, at {}, and may for {} seconds; it counts as failed until it \
                     reports again",
                    self.phase,
                    crate::clock::format_utc(self.since),
                    timeout.as_secs()
                );
                Some(Reason::new(Code::TimedOut, text))
            }
            Standing::Missed if self.phase != Phase::Expired => {
                let text = format!("its last slot ended at {}", crate::clock::format_utc(self.slots_end));
                Some(Reason::new(Code::SlotsOver, text))
            }
            _ => None,
        }
    }
}

/// How many devices of a wave count as what. Those that a person has forgiven are counted as that and as nothing else; who
/// is in no other count is awaited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub devices: u32,
    /// [`Standing::Begun`].
    pub begun: u32,
    /// [`Standing::Confirmed`].
    pub confirmed: u32,
    /// [`Standing::Failed`], not forgiven.
    pub failed: u32,
    /// [`Standing::Retrying`], not forgiven.
    pub retrying: u32,
    /// [`Standing::TimedOut`], not forgiven.
    pub timed_out: u32,
    /// [`Standing::Missed`], not forgiven.
    pub missed: u32,
    /// [`Standing::Ended`], not forgiven.
    pub ended: u32,
    /// Failed, timed out, missed or ended, and a person lets the rollout go on without them.
    pub forgiven: u32,
    /// [`Standing::Retrying`], and a person lets the rollout go on without them: no gate waits for them, and yet the rollout
    /// is not over while they may begin anew, for then what they come to counts.
    pub again: u32,
    /// When the last of the confirmed was first confirmed.
    pub last_confirmed: Option<Timestamp>,
}

impl Tally {
    /// Counts a wave's devices.
    pub fn of<'a>(devices: impl IntoIterator<Item = &'a Progress>, timeout: SignedDuration, now: Timestamp) -> Self {
        let mut tally = Self::default();
        for device in devices {
            let standing = device.standing(timeout, now);
            tally.devices = tally.devices.saturating_add(1);
            if let Some(count) = tally.count(standing, device.forgiven) {
                *count = count.saturating_add(1);
            }
            if standing == Standing::Confirmed {
                tally.last_confirmed = tally.last_confirmed.max(Some(device.since));
            }
        }
        tally
    }

    /// Where a device of that standing is counted; none for one that is awaited.
    pub fn count(&mut self, standing: Standing, forgiven: bool) -> Option<&mut u32> {
        match standing {
            Standing::Retrying if forgiven => Some(&mut self.again),
            _ if forgiven && standing.is_forgivable() => Some(&mut self.forgiven),
            Standing::Awaited => None,
            Standing::Begun => Some(&mut self.begun),
            Standing::Confirmed => Some(&mut self.confirmed),
            Standing::Failed => Some(&mut self.failed),
            Standing::Retrying => Some(&mut self.retrying),
            Standing::TimedOut => Some(&mut self.timed_out),
            Standing::Missed => Some(&mut self.missed),
            Standing::Ended => Some(&mut self.ended),
        }
    }

    /// Counts `n` devices as something else: from and to a standing, and whether it is forgiven. When the last of the
    /// confirmed was confirmed is the caller's to know.
    pub fn shift(&mut self, from: (Standing, bool), to: (Standing, bool), n: u32) {
        if let Some(count) = self.count(from.0, from.1) {
            *count = count.saturating_sub(n);
        }
        if let Some(count) = self.count(to.0, to.1) {
            *count = count.saturating_add(n);
        }
    }

    /// Failures that nobody has forgiven.
    pub const fn failures(&self) -> u32 {
        self.failed.saturating_add(self.retrying).saturating_add(self.timed_out)
    }

    /// Those for whom something is waited for.
    pub const fn open(&self) -> u32 {
        self.devices
            .saturating_sub(self.confirmed)
            .saturating_sub(self.failed)
            .saturating_sub(self.timed_out)
            .saturating_sub(self.missed)
            .saturating_sub(self.ended)
            .saturating_sub(self.let_go())
    }

    /// Those that a person lets the rollout go on without.
    pub const fn let_go(&self) -> u32 {
        self.forgiven.saturating_add(self.again)
    }

    /// Those that have not begun and still may.
    pub const fn awaited(&self) -> u32 {
        self.open().saturating_sub(self.begun).saturating_sub(self.retrying)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: SignedDuration = SignedDuration::from_secs(100);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn device(phase: Phase) -> Progress {
        Progress { wave: 0, phase, since: at(0), slots_end: at(50), barred: false, forgiven: false }
    }

    #[test]
    fn every_phase_counts_as_one_thing_before_and_after_its_time() {
        use Standing::{Awaited, Begun, Confirmed, Ended, Failed, Missed, Retrying, TimedOut};
        for phase in Phase::ALL {
            let [soon, late] = [49, 100].map(|s| device(phase).standing(TIMEOUT, at(s)));
            let expected = match phase {
                Phase::Offered | Phase::Fetching | Phase::Staged | Phase::Waiting | Phase::Idle => (Awaited, Missed),
                Phase::Installing | Phase::Restarting | Phase::Confirming => (Begun, TimedOut),
                Phase::Confirmed => (Confirmed, Confirmed),
                Phase::FellBack => (Retrying, Failed),
                Phase::Failed | Phase::Held => (Failed, Failed),
                Phase::Stopped | Phase::Withdrawn | Phase::Superseded => (Ended, Ended),
                Phase::Expired => (Missed, Missed),
            };
            assert_eq!((soon, late), expected, "{phase}");
            let barred = Progress { barred: true, ..device(phase) }.standing(TIMEOUT, at(49));
            assert_eq!(barred, if phase == Phase::FellBack { Failed } else { soon }, "{phase}");
        }
    }

    #[test]
    fn who_has_tries_left_is_a_failure_that_is_waited_for_until_it_begins_anew_or_its_slots_end() {
        let fell = device(Phase::Confirming).told(Phase::FellBack, false, TIMEOUT, at(10));
        assert_eq!(fell.standing(TIMEOUT, at(10)), Standing::Retrying);
        let tally = Tally::of(&[fell], TIMEOUT, at(10));
        assert_eq!((tally.failures(), tally.open(), tally.awaited()), (1, 1, 0));
        let again = fell.told(Phase::Installing, false, TIMEOUT, at(20));
        assert_eq!(Tally::of(&[again], TIMEOUT, at(20)).failures(), 0);
        let last = again.told(Phase::FellBack, true, TIMEOUT, at(30));
        assert_eq!(last.standing(TIMEOUT, at(30)), Standing::Failed);
        assert!(last.told(Phase::Waiting, false, TIMEOUT, at(31)).barred, "until a lift");
        let late = Tally::of(&[fell], TIMEOUT, at(50));
        assert_eq!((late.failures(), late.open()), (1, 0));
        assert!(Standing::Retrying.is_forgivable());
    }

    #[test]
    fn it_turns_when_it_says_it_turns_and_at_no_other_time() {
        for phase in Phase::ALL {
            let device = device(phase);
            let changes: Vec<_> = (0..200)
                .filter(|s| device.standing(TIMEOUT, at(*s)) != device.standing(TIMEOUT, at(s - 1)))
                .map(at)
                .collect();
            assert_eq!(changes, device.turns(TIMEOUT).into_iter().collect::<Vec<_>>(), "{phase}");
        }
    }

    #[test]
    fn whoever_speaks_again_counts_as_what_it_says() {
        for silent in [Phase::Offered, Phase::Restarting] {
            for said in Phase::ALL {
                let told = device(silent).told(said, false, TIMEOUT, at(1_000));
                assert_eq!((told.phase, told.since), (said, at(1_000)));
                assert_ne!(told.standing(TIMEOUT, at(1_000)), Standing::TimedOut, "{silent} {said}");
            }
        }
    }

    #[test]
    fn the_first_confirmation_counts_and_stays() {
        let first = device(Phase::Confirming).told(Phase::Confirmed, false, TIMEOUT, at(10));
        assert_eq!(first.told(Phase::Confirmed, false, TIMEOUT, at(20)), first);
        // Found: one that was found unfit and could not go back stayed confirmed, and the next wave opened over it.
        assert_eq!(first.told(Phase::Held, true, TIMEOUT, at(20)).standing(TIMEOUT, at(20)), Standing::Failed);
        let again = first.told(Phase::FellBack, true, TIMEOUT, at(20)).told(Phase::Confirmed, false, TIMEOUT, at(30));
        assert_eq!(again.since, at(30));
    }

    #[test]
    fn what_a_person_forgave_is_what_they_looked_at() {
        let after =
            |before, said| Progress { forgiven: true, ..device(before) }.told(said, false, TIMEOUT, at(60)).forgiven;
        assert!(after(Phase::FellBack, Phase::Failed), "a failure that another word follows");
        assert!(after(Phase::Offered, Phase::Fetching), "a device that is late and has no slot left");
        assert!(after(Phase::Offered, Phase::Expired));
        for tried_again in [Phase::Installing, Phase::Restarting, Phase::Confirming, Phase::Confirmed] {
            assert!(!after(Phase::FellBack, tried_again), "{tried_again}");
        }
        assert!(!after(Phase::Offered, Phase::FellBack), "it was forgiven that it was late, not that it failed");
        let ended = Progress { forgiven: true, ..device(Phase::Stopped) };
        assert!(!ended.told(Phase::Failed, false, TIMEOUT, at(60)).forgiven);
    }

    #[test]
    fn a_tally_counts_everybody_once() {
        let devices: Vec<_> = Phase::ALL
            .iter()
            .flat_map(|&phase| [false, true].map(|forgiven| Progress { forgiven, ..device(phase) }))
            .collect();
        for now in [0, 50, 100].map(at) {
            let tally = Tally::of(&devices, TIMEOUT, now);
            assert_eq!(tally.devices as usize, devices.len());
            let is_open = |d: &&Progress| {
                let standing = d.standing(TIMEOUT, now);
                standing.is_open() && !(d.forgiven && standing.is_forgivable())
            };
            let open = devices.iter().filter(is_open).count();
            assert_eq!(tally.open() as usize, open);
            assert_eq!(tally.awaited() + tally.begun + tally.retrying, tally.open());
            let failed = devices.iter().filter(|d| !d.forgiven && d.standing(TIMEOUT, now).is_failure()).count();
            assert_eq!(tally.failures() as usize, failed);
            assert_eq!(tally.last_confirmed, Some(at(0)));
        }
    }

    #[test]
    fn a_reason_is_given_where_the_device_has_given_none() {
        let device = device(Phase::Restarting);
        let reason = device.reason(Standing::TimedOut, TIMEOUT).unwrap();
        assert_eq!(reason.code, Code::TimedOut);
        assert!(reason.text.contains("since it was restarting"), "{}", reason.text);
        assert_eq!(device.reason(Standing::Begun, TIMEOUT), None);
    }
}
