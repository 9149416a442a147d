//! What a plan says of itself beside its lists, in words: for people and for programs.

use serde::Serialize;
use suture_core::approval::{DeviceSlots, Wave};
use suture_core::clock::format_utc;
use suture_core::plan::{Plan, Request, Selector};
use suture_core::version::Release;

use super::print::secs;
use super::waves::gated;

/// What becomes of a device that misses all of its slots.
pub(super) const LATE: &str = "a device that misses its slots waits for a new approval; its gate counts it as missed, neither confirmed nor failed, and pauses the rollout where too few are left to be confirmed";

pub(super) fn starts(request: &Request) -> String {
    let room = "as far as the opening has room for it";
    match request.spread_secs {
        None => format!("not all at once: a second apart for each device of a wave, over 10m at most, {room}"),
        Some(0) => "as early as openings, waves and cap let them, many at one instant perhaps".to_owned(),
        Some(spread) => format!("not all at once: spread over {}, {room}", secs(spread.into())),
    }
}

pub(super) fn attempts(request: &Request, steps: bool) -> String {
    let each = if steps { "a device at each step" } else { "a device" };
    match (request.max_attempts, request.retry_wait_secs) {
        (1, _) => format!("1 {each}"),
        (n, 0) => format!("{n} {each}, the next without a wait, where what failed may pass"),
        (n, wait) => {
            let wait = secs(wait.into());
            format!(
                "{n} {each}, the next {wait} after the first that failed, then twice as long, where what failed may pass"
            )
        }
    }
}

pub(super) const fn leases(request: &Request) -> &'static str {
    if request.leases {
        "needed besides the slot: none while a ward has as many devices down as its cap, or the server is out of reach"
    } else {
        "none: slots alone keep the ward's cap; one that is down beyond its slot keeps nobody waiting"
    }
}

/// The release that a device's slot leads to.
pub(super) fn step(steps: &[Release], device: &DeviceSlots, turn: usize) -> String {
    let place = if device.steps.is_empty() { Some(turn) } else { device.steps.get(turn).map(|n| *n as usize) };
    place.and_then(|n| steps.get(n)).map(ToString::to_string).unwrap_or_default()
}

/// What a plan says beside what it lists, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Says {
    /// Waves whose gate trusts the server, counted from 1.
    trusts_server: Vec<u32>,
    /// Waves that wait for the hospital's signature, counted from 1.
    waits_for_signature: Vec<u32>,
    selected: String,
    starts: String,
    attempts: String,
    silent_after_secs: u32,
    leases: &'static str,
    late: &'static str,
    /// What becomes of slots that replaced approvals have left; none where they have none, or all of it is counted.
    replaced: Option<String>,
    /// What must hold before the next wave, and both ceilings, by wave.
    gates: Vec<String>,
}

impl Says {
    pub(super) fn of(plan: &Plan) -> Self {
        let request = &plan.request;
        let numbered = (1u32..).zip(&plan.waves);
        Self {
            trusts_server: numbered.filter(|(_, w)| w.gate.needs_server).map(|(n, _)| n).collect(),
            waits_for_signature: gated(plan.waves.iter().map(|w| &w.gate)),
            selected: selected(&request.selector),
            starts: starts(request),
            attempts: attempts(request, !plan.way.is_empty()),
            silent_after_secs: request.attempt_timeout_secs,
            leases: leases(request),
            late: LATE,
            replaced: reused(plan),
            gates: (1..).zip(&plan.waves).map(|(n, w)| gate(&w.gate, n == plan.waves.len())).collect(),
        }
    }
}

/// That slots are given out again, and what that means.
pub(super) fn reused(plan: &Plan) -> Option<String> {
    let until = format_utc(plan.reuses_until?);
    Some(format!(
        "slots of what it replaces are given out again at once: until {until} a device that has not heard of it, because it is \
         out of reach or the server keeps it from it, may be down beside the cap"
    ))
}

/// Which devices were asked for.
pub(super) fn selected(selector: &Selector) -> String {
    let list = |ids: Vec<String>| ids.join(", ");
    let wards = list(selector.wards.iter().map(ToString::to_string).collect());
    let named = list(selector.devices.iter().take(8).map(ToString::to_string).collect());
    let more = selector.devices.len().saturating_sub(8);
    let mut parts = Vec::new();
    match (wards.is_empty(), selector.labels.is_empty(), named.is_empty()) {
        (true, true, true) => parts.push("all devices of the product".to_owned()),
        (true, true, false) => {}
        (false, true, _) => parts.push(format!("those of {wards}")),
        (true, false, _) => parts.push(format!("those with {}", selector.labels)),
        (false, false, _) => parts.push(format!("those of {wards} with {}", selector.labels)),
    }
    match (named.is_empty(), more) {
        (true, _) => {}
        (false, 0) => parts.push(named),
        (false, more) => parts.push(format!("{named} and {more} more")),
    }
    let text = parts.join("; and ");
    match selector.running {
        Some(range) => format!("{text}; of these, what runs release {range}"),
        None => text,
    }
}

/// What must hold before the next wave, and whom that trusts.
pub(super) fn gate(gate: &Wave, last: bool) -> String {
    let failures = match (gate.max_failures, gate.max_failed_percent) {
        (0, _) | (_, 0) => "the first failure pauses the rollout".to_owned(),
        (n, 100) => format!("more than {n} failures pause the rollout"),
        (n, percent) => {
            format!("more than {n} failures, or failures of more than {percent} % of the wave, pause the rollout")
        }
    };
    let next = match (last, gate.soak_secs) {
        (true, _) => String::new(),
        (false, 0) => format!("next wave when {} % are confirmed; ", gate.min_confirmed_percent),
        (false, soak) => {
            format!("next wave {} after {} % are confirmed; ", secs(soak.into()), gate.min_confirmed_percent)
        }
    };
    if gate.needs_server {
        format!("gate, trusts the server: {next}{failures}")
    } else {
        format!("gate, where the server is heard: {next}{failures}; where it is not: none but the slots' order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approver_reads_which_devices_were_asked_for() {
        use super::super::fixture::id;
        let labels: suture_core::label::LabelSelector =
            ["area=icu".parse().unwrap(), "kind=bedside".parse().unwrap()].into_iter().collect();
        let asked = Selector { devices: [id("p1"), id("p2")].into(), ..Selector::default() };
        assert_eq!(selected(&asked), "p1, p2");
        let asked = Selector {
            wards: [id("icu"), id("er")].into(),
            labels,
            devices: (0..10).map(|n| id(&format!("p{n}"))).collect(),
            running: Some("1..3".parse().unwrap()),
        };
        assert_eq!(
            selected(&asked),
            "those of er, icu with area=icu, kind=bedside; and p0, p1, p2, p3, p4, p5, p6, p7 and 2 more; \
             of these, what runs release 1..3"
        );
    }
}
