//! Whether the wave after this one may begin. Pure.

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Wave;
use suture_core::phase::{Code, Phase, Reason};

/// What signed reports say of one device in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Its wave.
    pub(crate) wave: u32,
    /// How far it got.
    pub(crate) phase: Phase,
    /// Since when, by the server's clock.
    pub(crate) since: Timestamp,
}

/// A wave's gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Enough devices have proven themselves for long enough.
    Open,
    /// Not yet.
    Shut(Reason),
    /// Not without a person: too many failed, or too few are left that could still succeed.
    Failed(Reason),
}

/// Judges wave `number`, of which `devices` are all devices. `forgiven` failures were accepted by a person who resumed the
/// rollout.
pub(crate) fn judge(number: u32, wave: &Wave, devices: &[Progress], forgiven: u32, now: Timestamp) -> Gate {
    let total = devices.len();
    let failed = devices.iter().filter(|d| d.phase.is_failure()).count();
    let ended = devices.iter().filter(|d| d.phase.is_outcome()).count();
    let confirmed = devices.iter().filter(|d| d.phase == Phase::Confirmed).count();
    let ceiling = u64::from(wave.max_failures) + u64::from(forgiven);
    if failed as u64 > ceiling {
        let text =
            format!("{failed} of {total} devices of wave {} failed, {ceiling} may; see `rollout show`", number + 1);
        return Gate::Failed(Reason::new(Code::FailureCeiling, text));
    }
    // Failures that a person has forgiven count neither for nor against the share.
    let counted = total.saturating_sub(failed.min(forgiven as usize));
    let enough = |n: usize| n as u64 * 100 >= u64::from(wave.min_confirmed_percent) * counted as u64;
    if !enough(confirmed) {
        let can_still = confirmed + (total - ended);
        let text = format!("{confirmed} of {total} devices of wave {} are confirmed", number + 1);
        let reason = Reason::new(Code::WaveClosed, text);
        return if enough(can_still) { Gate::Shut(reason) } else { Gate::Failed(reason) };
    }
    let last = devices.iter().filter(|d| d.phase == Phase::Confirmed).map(|d| d.since).max();
    let soaked = last
        .map(|at| at.saturating_add(SignedDuration::from_secs(i64::from(wave.soak_secs))).unwrap_or(Timestamp::MAX));
    match soaked {
        Some(until) if now < until => {
            let text = format!("wave {} is watched until {}", number + 1, suture_core::clock::format_utc(until));
            Gate::Shut(Reason::new(Code::WaveClosed, text))
        }
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn devices(phases: &[Phase]) -> Vec<Progress> {
        phases.iter().map(|&phase| Progress { wave: 0, phase, since: at(0) }).collect()
    }

    #[test]
    fn nothing_but_confirmed_opens_a_gate() {
        for phase in Phase::ALL {
            let gate = judge(0, &wave(100, 1, 0), &devices(&[phase]), 0, at(0));
            assert_eq!(gate == Gate::Open, phase == Phase::Confirmed, "{phase}");
        }
    }

    #[test]
    fn one_failure_too_many_fails_it_and_a_person_may_forgive_it() {
        use Phase::{Confirmed, FellBack};
        let ds = devices(&[FellBack, Confirmed]);
        assert!(matches!(judge(0, &wave(50, 0, 0), &ds, 0, at(0)), Gate::Failed(r) if r.code == Code::FailureCeiling));
        assert_eq!(judge(0, &wave(50, 1, 0), &ds, 0, at(0)), Gate::Open);
        assert_eq!(judge(0, &wave(100, 0, 0), &ds, 1, at(0)), Gate::Open);
    }

    #[test]
    fn a_share_that_can_no_longer_be_reached_fails_it() {
        use Phase::{Confirmed, Fetching, Stopped};
        assert!(matches!(judge(0, &wave(100, 5, 0), &devices(&[Confirmed, Fetching]), 0, at(0)), Gate::Shut(_)));
        assert!(matches!(judge(0, &wave(100, 5, 0), &devices(&[Confirmed, Stopped]), 0, at(0)), Gate::Failed(_)));
    }

    #[test]
    fn the_soak_is_measured_from_the_last_confirmation() {
        let ds = devices(&[Phase::Confirmed]);
        assert!(matches!(judge(0, &wave(100, 0, 60), &ds, 0, at(59)), Gate::Shut(_)));
        assert_eq!(judge(0, &wave(100, 0, 60), &ds, 0, at(60)), Gate::Open);
    }
}
