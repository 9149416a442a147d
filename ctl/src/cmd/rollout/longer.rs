//! Devices whose own installs took longer than a plan's slots hold: the manufacturer's budget does not hold for them, and
//! they would wait in slot after slot (`slot-too-short`).

use std::collections::BTreeMap;

use serde::Serialize;
use suture_core::id::DeviceId;
use suture_core::plan::Plan;
use suture_core::report::Took;

use super::print::secs;

/// Devices that a note names; the others are in the JSON.
const NAMED: usize = 5;

/// A device that needs more of a slot than it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Longer {
    device: DeviceId,
    /// By its own signed reports, where they say more than the budgets.
    needs_secs: u64,
    /// The shortest slot that the plan gives it.
    slot_secs: u64,
}

/// Those that the plan gives too short a slot, by what they have signed themselves.
pub(super) fn longer(plan: &Plan, took: &BTreeMap<DeviceId, Took>) -> Vec<Longer> {
    let needs = |took: &Took| {
        let of = |budget: u32, took: u32| u64::from(budget.max(took));
        let step =
            plan.steps().map(|b| of(b.budget_secs, took.install_secs) + of(b.revert_budget_secs, took.revert_secs));
        step.max().unwrap_or(0)
    };
    let too_short = plan.devices.iter().filter_map(|device| {
        let needs_secs = needs(took.get(&device.id)?);
        let slot_secs = device.slots.iter().map(|slot| slot.end.duration_since(slot.start).as_secs()).min()?;
        let slot_secs = u64::try_from(slot_secs).unwrap_or(0);
        (needs_secs > slot_secs).then(|| Longer { device: device.id.clone(), needs_secs, slot_secs })
    });
    too_short.collect()
}

/// The same in a sentence, with what to do about it.
pub(super) fn note(longer: &[Longer], slack_secs: u32) -> Option<String> {
    let short = longer.iter().map(|l| l.needs_secs.saturating_sub(l.slot_secs)).max()?;
    let named = longer
        .iter()
        .take(NAMED)
        .map(|l| format!("{} needs {} and is given {}", l.device, secs(l.needs_secs), secs(l.slot_secs)));
    let others = match longer.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    Some(format!(
        "warning: the slots are too short for {} by how long their own installs took: {}{others}. They would wait in each of \
         them and install nothing; --slack {} gives room to all",
        if longer.len() == 1 { "1 device".to_owned() } else { format!("{} devices", longer.len()) },
        named.collect::<Vec<_>>().join("; "),
        secs(u64::from(slack_secs).saturating_add(short))
    ))
}

#[cfg(test)]
mod tests {
    use suture_core::window::parse_duration;

    use super::super::fixture::{facts, id, planned};
    use super::*;

    #[test]
    fn only_what_took_longer_than_the_slot_is_warned_of_and_the_slack_that_is_named_suffices() {
        let plan = planned(&facts());
        let slot = plan.devices[0].slots[0];
        let has = slot.end.duration_since(slot.start).as_secs();
        let budgets = 900;
        assert!(has >= budgets && plan.devices.len() == 2);
        let took =
            |install_secs: i64, revert_secs| Took { install_secs: install_secs.try_into().unwrap(), revert_secs };
        let of = |p1: Took, p2: Took| longer(&plan, &BTreeMap::from([(id("p1"), p1), (id("p2"), p2)]));
        // Within the budget, and over it where the slack makes up for it.
        assert_eq!(of(took(0, 0), took(600, 300)), []);
        assert_eq!(of(took(has - 300, 10), took(5, 0)), []);
        let found = of(took(has - 300 + 1, 0), took(5, 301 + u32::try_from(has - 900).unwrap()));
        assert_eq!(
            found.iter().map(|l| (l.device.as_str(), l.needs_secs - l.slot_secs)).collect::<Vec<_>>(),
            [("p1", 1), ("p2", 1)]
        );
        assert_eq!(longer(&plan, &BTreeMap::new()), [], "nothing is known of them");

        assert_eq!(note(&[], 60), None);
        let text = note(&found, plan.request.slack_secs).unwrap();
        assert!(
            text.contains("too short for 2 devices") && text.contains("p1 needs") && !text.contains("more"),
            "{text}"
        );
        let slack = text.split("--slack ").nth(1).unwrap().split(' ').next().unwrap();
        assert_eq!(i64::from(parse_duration(slack).unwrap()), i64::from(plan.request.slack_secs) + 1, "{text}");
        let many: Vec<Longer> = (0..7).map(|n| Longer { device: id(&format!("d-{n}")), ..found[0].clone() }).collect();
        assert!(note(&many, 60).unwrap().contains("d-4 needs") && note(&many, 60).unwrap().contains("; and 2 more"));
    }
}
