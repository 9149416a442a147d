//! Whether the wave after this one may begin. Pure.

use jiff::{SignedDuration, Timestamp};

use super::standing::Tally;
use crate::approval::Wave;
use crate::clock::format_utc;
use crate::phase::{Code, Reason};

/// A wave's gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Enough devices have proven themselves for long enough.
    Open,
    /// Not yet.
    Shut(Reason),
    /// Not without a person: too few are left that could still succeed.
    Failed(Reason),
}

/// Whether more devices of wave `number` have failed than may, by count or by share, whichever is passed first. A ceiling
/// holds for as long as the rollout does: a device may still fail after the next wave has opened. Failures that a person has
/// forgiven are not counted; the share is of all devices of the wave.
pub fn ceiling(number: u32, wave: &Wave, tally: &Tally) -> Option<Reason> {
    let (failed, total) = (tally.failures(), tally.devices);
    let share = u64::from(wave.max_failed_percent) * u64::from(total);
    let by_count = failed > wave.max_failures;
    if !by_count && u64::from(failed) * 100 <= share {
        return None;
    }
    let may = if by_count { wave.max_failures.to_string() } else { format!("{} percent", wave.max_failed_percent) };
    let let_go = tally.let_go();
    let silent = match tally.timed_out {
        0 => String::new(),
        n => format!(", {n} of them by saying nothing any more"),
    };
    let forgiven = match let_go {
        0 => String::new(),
        n => format!(" besides {n} that were let go"),
    };
    let text = format!(
        "{failed} of {total} devices of wave {} failed{silent}, {may} may{forgiven}; see `rollout show`",
        number.saturating_add(1)
    );
    Some(Reason::new(Code::FailureCeiling, text))
}

/// Judges whether enough of wave `number` is confirmed, and for long enough.
pub fn judge(number: u32, wave: &Wave, tally: &Tally, now: Timestamp) -> Gate {
    let number = number.saturating_add(1);
    // What a person has forgiven counts neither for nor against the share.
    let counted = tally.devices.saturating_sub(tally.let_go());
    let enough = |n: u32| u64::from(n) * 100 >= u64::from(wave.min_confirmed_percent) * u64::from(counted);
    if !enough(tally.confirmed) {
        let confirmed = format!("{} of {counted} devices of wave {number} are confirmed", tally.confirmed);
        // Accident: one that has died is silent for ever, and nobody would be asked. One that speaks again counts all the same.
        if enough(tally.confirmed.saturating_add(tally.open())) {
            return Gate::Shut(Reason::new(Code::WaveClosed, confirmed));
        }
        let lost = [
            (tally.failed, "failed"),
            (tally.timed_out, "fell silent"),
            (tally.missed, "missed their slots"),
            (tally.ended, "were stopped"),
        ];
        let lost: Vec<_> = lost.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let text = format!(
            "{confirmed}, and too few are left: {}; `suturectl rollout resume` goes on without these",
            lost.join(", ")
        );
        return Gate::Failed(Reason::new(Code::WaveClosed, text));
    }
    let soak = SignedDuration::from_secs(i64::from(wave.soak_secs));
    match tally.last_confirmed.map(|at| at.saturating_add(soak).unwrap_or(Timestamp::MAX)) {
        Some(until) if now < until => {
            let text = format!("wave {number} is watched until {}", format_utc(until));
            Gate::Shut(Reason::new(Code::WaveClosed, text))
        }
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::super::standing::{Progress, Standing};
    use super::*;
    use crate::phase::Phase;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    fn wave(min_confirmed_percent: u32, max_failures: u32, soak_secs: u32) -> Wave {
        Wave {
            needs_server: true,
            needs_signature: false,
            min_confirmed_percent,
            max_failures,
            max_failed_percent: 100,
            soak_secs,
        }
    }

    fn tally(phases: &[Phase]) -> Tally {
        let device =
            |&phase| Progress { wave: 0, phase, since: at(0), slots_end: at(1_000), barred: true, forgiven: false };
        let devices: Vec<_> = phases.iter().map(device).collect();
        Tally::of(&devices, SignedDuration::from_secs(1_000), at(0))
    }

    #[test]
    fn nothing_but_confirmed_opens_a_gate() {
        for phase in Phase::ALL {
            let gate = judge(0, &wave(100, 1, 0), &tally(&[phase]), at(0));
            assert_eq!(gate == Gate::Open, phase == Phase::Confirmed, "{phase}");
        }
    }

    #[test]
    fn the_ceiling_is_a_count_and_a_share_whichever_is_passed_first() {
        let failed = |failed, timed_out| Tally { devices: 20, failed, timed_out, ..Tally::default() };
        let wave = |max_failures, max_failed_percent| Wave { max_failed_percent, ..wave(50, max_failures, 0) };
        let passed = |wave: &Wave, tally| ceiling(0, wave, &tally).map(|r| r.text);
        assert_eq!(passed(&wave(2, 100), failed(1, 1)), None);
        assert!(
            passed(&wave(2, 100), failed(2, 1)).unwrap().contains("3 of 20 devices of wave 1 failed, 1 of them by")
        );
        assert_eq!(passed(&wave(9, 10), failed(2, 0)), None);
        assert!(passed(&wave(9, 10), failed(3, 0)).unwrap().contains("10 percent may"));
        assert!(passed(&wave(9, 0), failed(0, 1)).is_some());
    }

    #[test]
    fn those_who_missed_their_slots_are_no_failures_and_lower_the_share() {
        let mut tally = Tally { devices: 10, confirmed: 8, missed: 2, ..Tally::default() };
        assert_eq!(ceiling(0, &wave(80, 0, 0), &tally), None);
        assert_eq!(judge(0, &wave(80, 0, 0), &tally, at(0)), Gate::Open);
        let Gate::Failed(reason) = judge(0, &wave(90, 0, 0), &tally, at(0)) else { panic!("not failed") };
        assert!(reason.text.contains("2 missed their slots"), "{}", reason.text);
        // A person goes on without them.
        (tally.missed, tally.forgiven) = (0, 2);
        assert_eq!(judge(0, &wave(100, 0, 0), &tally, at(0)), Gate::Open);
    }

    #[test]
    fn a_share_that_can_no_longer_be_reached_fails_it() {
        use Phase::{Confirmed, Fetching, Stopped};
        assert!(matches!(judge(0, &wave(100, 5, 0), &tally(&[Confirmed, Fetching]), at(0)), Gate::Shut(_)));
        assert!(matches!(judge(0, &wave(100, 5, 0), &tally(&[Confirmed, Stopped]), at(0)), Gate::Failed(_)));
        let silent = Tally { devices: 2, confirmed: 1, timed_out: 1, ..Tally::default() };
        // Found: within the ceiling nothing paused, and `resume`, which is what helps, had nothing to do.
        let Gate::Failed(reason) = judge(0, &wave(100, 5, 0), &silent, at(0)) else { panic!("nobody is asked") };
        assert!(reason.text.contains("too few are left: 1 fell silent"), "{}", reason.text);
    }

    #[test]
    fn what_is_forgiven_counts_neither_for_nor_against() {
        for standing in Standing::ALL.into_iter().filter(|s| s.is_forgivable()) {
            let mut tally = Tally { devices: 2, confirmed: 1, ..Tally::default() };
            *tally.count(standing, true).unwrap() += 1;
            assert_eq!(ceiling(0, &wave(100, 0, 0), &tally), None, "{standing:?}");
            assert_eq!(judge(0, &wave(100, 0, 0), &tally, at(0)), Gate::Open, "{standing:?}");
        }
    }

    #[test]
    fn the_soak_is_measured_from_the_last_confirmation() {
        let confirmed = tally(&[Phase::Confirmed]);
        assert!(matches!(judge(0, &wave(100, 0, 60), &confirmed, at(59)), Gate::Shut(_)));
        assert_eq!(judge(0, &wave(100, 0, 60), &confirmed, at(60)), Gate::Open);
    }
}
