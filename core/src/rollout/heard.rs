//! What a signed report says of a rollout. Pure.

use crate::digest::Digest;
use crate::phase::{Code, Phase, Reason};
use crate::report::Report;

/// How far a device got by its report, and why no further, in a rollout that leads to the bundle `last`.
///
/// That the bundle of an earlier step is confirmed is no end: the device runs it, is in use again, and waits for the slot of
/// its next step. So a gate counts a device as confirmed when the last of its steps runs, and no sooner.
pub fn heard(report: &Report, last: &Digest) -> (Phase, Option<Reason>) {
    match report.manifest {
        // It stays confirmed while a person's check is waited for; its reason says that it is out of service until then. Not where
        // that person has found it unfit, and it has no way back: then it says that its approval leads no further.
        Some(manifest) if report.phase == Phase::Held && waits_for_check(report) => {
            let phase = if manifest == *last { Phase::Confirmed } else { Phase::Waiting };
            (phase, report.reason.clone())
        }
        Some(manifest) if report.phase == Phase::Confirmed && manifest != *last => {
            let text = format!("release {} is confirmed; the next step waits for its slot", report.running.release);
            (Phase::Waiting, Some(Reason::new(Code::BeforeSlot, text)))
        }
        _ => (report.phase, report.reason.clone()),
    }
}

fn waits_for_check(report: &Report) -> bool {
    report.reason.as_ref().is_some_and(|reason| reason.code == Code::ReturnToService) && !report.permanent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Running, Took};
    use crate::version::Release;

    #[test]
    fn a_device_is_confirmed_when_its_last_step_runs_and_fails_with_any_of_them() {
        let (first, last) = (Digest::of(b"3"), Digest::of(b"7"));
        let report = |phase, of: &Digest| Report {
            kind: Report::TYPE.to_owned(),
            hdo: "riverside".parse().unwrap(),
            device: "pump-1".parse().unwrap(),
            number: 1,
            at: "2026-11-24T15:00:00Z".parse().unwrap(),
            product: "pump".parse().unwrap(),
            running: Running { version: "3.0".parse().unwrap(), release: Release(3), manifest: first },
            approval: Some("pump-7".parse().unwrap()),
            manifest: Some(*of),
            phase,
            reason: None,
            stop: None,
            permanent: false,
            catalog: None,
            approvals: None,
            integrity: None,
            sources: None,
            took: Took::default(),
            record: None,
            log: None,
        };
        let (phase, reason) = heard(&report(Phase::Confirmed, &first), &last);
        assert_eq!((phase, reason.map(|r| r.code)), (Phase::Waiting, Some(Code::BeforeSlot)));
        assert_eq!(heard(&report(Phase::Confirmed, &last), &last), (Phase::Confirmed, None));
        for phase in [Phase::FellBack, Phase::Failed, Phase::Installing] {
            assert_eq!(heard(&report(phase, &first), &last), (phase, None));
        }
        // Out of service for a person's check is no failure, and after the last step it is confirmed.
        for (of, counts_as) in [(&last, Phase::Confirmed), (&first, Phase::Waiting)] {
            let mut held = report(Phase::Held, of);
            assert_eq!(heard(&held, &last).0, Phase::Held, "held for another reason");
            held.reason = Some(Reason::new(Code::ReturnToService, "check it"));
            assert_eq!(heard(&held, &last), (counts_as, held.reason.clone()));
            held.permanent = true;
            assert_eq!(heard(&held, &last), (Phase::Held, held.reason.clone()), "found unfit");
        }
    }
}
