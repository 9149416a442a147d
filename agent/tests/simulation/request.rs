//! What people ask a plan for.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Wave;
use suture_core::id::ApprovalId;
use suture_core::plan::{Request, Selector, WaveSize, WaveSpec};

use crate::chance::Chance;
use crate::hospital::Hospital;

/// A request of the hospital's, for an approval of that id.
pub(crate) fn request(chance: &mut Chance, hospital: &Hospital, id: ApprovalId, now: Timestamp) -> Request {
    Request {
        approval: id,
        selector: selector(chance, hospital),
        waves: waves(chance),
        cap: chance.pick(&[1, 1, 1, 2, 3]),
        slack_secs: chance.pick(&[60, 600, 1_800, 1_800, 7_200]),
        slots_per_device: chance.pick(&[1, 1, 2, 4]),
        not_before: now + SignedDuration::from_secs(chance.pick(&[0, 3_600, 86_400])),
        spread_secs: chance.pick(&[Some(0), Some(0), None, Some(600), Some(7_200)]),
        deadline: chance.percent(20).then(|| now + SignedDuration::from_secs(chance.between(3, 21) as i64 * 86_400)),
        horizon_secs: chance.between(5, 28) * 86_400,
        max_attempts: chance.pick(&[1, 1, 2, 3]),
        retry_wait_secs: chance.pick(&[0, 0, 600, 7_200]),
        attempt_timeout_secs: chance.pick(&[3_600, 14_400, 86_400]),
        leases: chance.percent(40),
        permit_downgrade: chance.percent(20),
        supersedes: BTreeSet::new(),
        reuse_slots: false,
        ticket: "CHG-1".to_owned(),
    }
}

fn selector(chance: &mut Chance, hospital: &Hospital) -> Selector {
    let mut selector = Selector::default();
    match chance.below(4) {
        0 => selector.wards.extend([chance.pick(&hospital.wards)]),
        1 => selector.devices.extend(hospital.devices.iter().filter(|_| chance.percent(60)).map(|d| d.id.clone())),
        _ => {}
    }
    selector
}

fn waves(chance: &mut Chance) -> Vec<WaveSpec> {
    let mut waves: Vec<_> = (0..chance.between(0, 2))
        .map(|_| {
            let size = match chance.percent(60) {
                true => WaveSize::Count(chance.between(1, 3)),
                false => WaveSize::Percent(chance.pick(&[10, 25, 50])),
            };
            WaveSpec { size, gate: gate(chance) }
        })
        .collect();
    waves.push(WaveSpec { size: WaveSize::Rest, gate: gate(chance) });
    waves
}

fn gate(chance: &mut Chance) -> Wave {
    Wave {
        needs_server: chance.percent(85),
        needs_signature: chance.percent(15),
        min_confirmed_percent: chance.pick(&[100, 100, 80, 50, 0]),
        max_failures: chance.pick(&[0, 0, 1, 3]),
        max_failed_percent: chance.pick(&[100, 100, 50, 10]),
        soak_secs: chance.pick(&[0, 0, 3_600, 86_400]),
    }
}
