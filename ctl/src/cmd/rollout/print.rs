//! A plan as an approver reads it, from the bytes that the approval is made of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use suture_core::approval::{DeviceSlots, Slot};
use suture_core::clock::format_utc;
use suture_core::digest::Digest;
use suture_core::id::DeviceId;
use suture_core::legible::indented;
use suture_core::manifest::PatchClass;
use suture_core::plan::{Blocked, Plan, PlannedWave};
use suture_core::trust::Status;

use super::says::{LATE, attempts, gate, leases, reused, selected, starts, step};
use super::waves::gated;
use crate::print::{Table, bytes, count, counted, grouped};

/// Where the planned devices stand, and the wards' zones, resolved once for printing.
struct Zones<'a> {
    wards: Vec<(&'a str, &'a str, Option<TimeZone>)>,
    /// By device, the place of its ward.
    places: BTreeMap<&'a DeviceId, usize>,
}

impl<'a> Zones<'a> {
    fn of(plan: &'a Plan) -> Self {
        let zone = |name: &str| jiff::tz::TimeZoneDatabase::bundled().get(name).ok();
        let places = plan.wards.iter().enumerate().flat_map(|(n, w)| w.devices.iter().map(move |id| (id, n)));
        Self {
            wards: plan.wards.iter().map(|w| (w.ward.as_str(), w.zone.as_str(), zone(&w.zone))).collect(),
            places: places.collect(),
        }
    }

    fn ward(&self, device: &DeviceSlots) -> &str {
        self.find(device).map_or("", |(ward, ..)| ward)
    }

    fn local(&self, device: &DeviceSlots, slot: &Slot) -> String {
        match self.find(device) {
            Some((_, name, Some(zone))) => {
                let (start, end) = (zone.to_datetime(slot.start), zone.to_datetime(slot.end));
                let until = if start.date() == end.date() { "%H:%M:%S" } else { "%a %Y-%m-%d %H:%M:%S" };
                format!("{} - {} {name}", start.strftime("%a %Y-%m-%d %H:%M:%S"), end.strftime(until))
            }
            _ => String::new(),
        }
    }

    fn find(&self, device: &DeviceSlots) -> Option<&(&'a str, &'a str, Option<TimeZone>)> {
        self.wards.get(*self.places.get(&device.id)?)
    }
}

/// The whole plan, its digest last.
pub(super) fn plan(plan: &Plan, digest: Digest) -> String {
    let mut text = head(plan);
    let zones = Zones::of(plan);
    let id = &plan.request.approval;
    let steps: Vec<_> = plan.steps().map(|b| b.step.release).collect();
    for (number, wave) in (0u32..).zip(&plan.waves) {
        let last = number as usize + 1 == plan.waves.len();
        let _ = writeln!(text, "\nwave {} of {}: {}", number + 1, plan.waves.len(), span(wave));
        let mut table = Table::new([
            "  device",
            "ward",
            if plan.way.is_empty() { "" } else { "to release" },
            "slot (UTC)",
            "slot (local)",
        ]);
        for device in plan.devices.iter().filter(|d| d.wave == number) {
            for (i, slot) in device.slots.iter().enumerate() {
                let own = plan.steps_of(device);
                let name = match i {
                    0 => format!("  {}", device.id),
                    later if later < own => "    then".to_owned(),
                    _ => "    or".to_owned(),
                };
                let ward = if i == 0 { zones.ward(device).to_owned() } else { String::new() };
                // Which release a slot is for stands beside the first ones; in the others it is whichever is next.
                let to = if plan.way.is_empty() || i >= own { String::new() } else { step(&steps, device, i) };
                table.row([name, ward, to, utc(slot), zones.local(device, slot)]);
            }
        }
        text.push_str(&table.to_text());
        let _ = writeln!(text, "  {}", gate(&wave.gate, last));
        if wave.gate.needs_signature {
            let n = number + 1;
            let _ = writeln!(
                text,
                "  human gate before it, holds by signature: `suturectl rollout open {id} --wave {n} --reason TEXT`, before {}",
                format_utc(wave.begins)
            );
        }
    }
    if !plan.blocked.is_empty() {
        let _ = writeln!(text, "\nleft out: {}", count(plan.blocked.len(), "device"));
        let mut table = Table::new(["  device", "reason", ""]);
        for blocked in &plan.blocked {
            let reason = &blocked.reason;
            table.row([format!("  {}", blocked.id), reason.code.to_string(), reason.text.clone()]);
        }
        text.push_str(&table.to_text());
    }
    if !plan.no_way_back.is_empty() {
        let many = count(plan.no_way_back.len(), "device");
        let _ = writeln!(text, "\nno way back by an approval: {many}; falling back by themselves is not affected");
        let mut table = Table::new(["  device", "reason", ""]);
        for Blocked { id, reason } in &plan.no_way_back {
            table.row([format!("  {id}"), reason.code.to_string(), reason.text.clone()]);
        }
        text.push_str(&table.to_text());
    }
    let unsaid = plan.unsaid().count();
    if unsaid > 0 {
        let _ = writeln!(
            text,
            "\n{} never said what installs there: with another installer than the bundle's it refuses the bundle by itself",
            counted(unsaid, "device", "has", "have")
        );
    }
    text.push_str(&trust(plan));
    let _ = write!(text, "\ndigest  {digest}\n        {}", grouped(&digest.to_string()));
    text
}

fn head(plan: &Plan) -> String {
    let (bundle, request) = (&plan.bundle, &plan.request);
    let step = &bundle.step;
    let mut text = format!("plan for approval {} of {}\n", request.approval, plan.hdo);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11} {}", indented(&value, 14));
    };
    line(
        "bundle",
        format!("{} {}, release {}, {}", step.product, bundle.version, step.release, bytes(bundle.payload_bytes)),
    );
    line("manifest", step.sha256.to_string());
    for between in &plan.way {
        let step = &between.step;
        let place = plan.way.iter().position(|b| b.step.release == step.release).and_then(|n| u32::try_from(n).ok());
        let takes = |d: &&DeviceSlots| d.steps.is_empty() || place.is_some_and(|n| d.steps.contains(&n));
        let devices = plan.devices.iter().filter(takes).count();
        let what = format!("{}, release {}, {}", between.name(), step.release, bytes(between.payload_bytes));
        line("by way of", format!("{what}, for {}; manifest {}", count(devices, "device"), step.sha256));
    }
    line("selected", selected(&request.selector));
    let class = match bundle.class {
        PatchClass::Routine => "routine",
        PatchClass::OutOfCycle => "out of cycle: answers an uncontrolled risk",
    };
    line("class", class.to_owned());
    if plan.steps().any(|step| step.return_to_service) {
        line("after", "each device stays out of service until a person has checked it: `device release`".to_owned());
    }
    if bundle.status != Status::Current {
        line("status", format!("{} by the manufacturer", bundle.status.as_str()));
    }
    let [need, room] = [plan.need(), plan.room()].map(|span| u64::try_from(span.as_secs()).unwrap_or(0));
    line(
        "slots",
        format!(
            "{} each: {} to install and come back, {} to come out of use",
            secs(need + room),
            secs(need),
            secs(room),
        ),
    );
    line("starts", starts(request));
    line("ward cap", format!("at most {} of a ward at once", count(request.cap as usize, "device")));
    line("attempts", attempts(request, !plan.way.is_empty()));
    line(
        "silence",
        format!(
            "{} after it began a device that says nothing counts as failed",
            secs(request.attempt_timeout_secs.into())
        ),
    );
    line("leases", leases(request).to_owned());
    line("late", LATE.to_owned());
    if let Some(deadline) = request.deadline {
        line("deadline", format!("{}: no slot ends after it", format_utc(deadline)));
    }
    if request.permit_downgrade {
        line("downgrade", "permitted: devices may go to this release from a higher one".to_owned());
    }
    if !plan.supersedes.is_empty() {
        let ids: Vec<_> = plan.supersedes.iter().map(ToString::to_string).collect();
        line("replaces", ids.join(", "));
    }
    if !request.ticket.is_empty() {
        line("ticket", request.ticket.clone());
    }
    line("computed", format_utc(plan.created));
    if !plan.devices.is_empty() {
        line(
            "finished",
            format!(
                "{} if all goes well, {} at the latest",
                format_utc(plan.expected_finish),
                format_utc(plan.expires)
            ),
        );
    }
    text
}

/// What a signature under a plan agrees to beside devices and slots, line by line: for whoever signs and has not planned it.
pub(crate) fn agreed(plan: &Plan) -> Vec<String> {
    let cap = format!("at most {} of a ward at once", count(plan.request.cap as usize, "device"));
    let waves = (1..).zip(&plan.waves).map(|(n, wave)| {
        let of = plan.waves.len();
        format!("wave {n} of {of}, {}: {}", span(wave), gate(&wave.gate, n == of))
    });
    let lost = (!plan.no_way_back.is_empty()).then(|| {
        let named: Vec<&str> = plan.no_way_back.iter().take(8).map(|b| b.id.as_str()).collect();
        let more = plan.no_way_back.len().saturating_sub(8);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("no way back by an approval for {}{more}", named.join(", "))
    });
    let trusts = trust(plan);
    let trusts = trusts.lines().filter(|line| !line.is_empty()).map(str::to_owned);
    [cap].into_iter().chain(waves).chain(reused(plan)).chain(lost).chain(trusts).collect()
}

fn trust(plan: &Plan) -> String {
    let mut text =
        "\nholds by signature, whatever the server does: bundles, devices, steps, slots, ward cap; a later wave's slots \
begin when an earlier wave's have ended, its first when the first have, its second when the second have\n"
            .to_owned();
    let human = gated(plan.waves.iter().map(|w| &w.gate));
    if !human.is_empty() {
        let _ = writeln!(
            text,
            "and the human {}: no device of it begins before the hospital has signed it open",
            numbered(&human)
        );
    }
    let gates: Vec<u32> = (1..).zip(&plan.waves).filter(|(_, w)| w.gate.needs_server).map(|(n, _)| n).collect();
    if !gates.is_empty() {
        let leases = if plan.request.leases { ", leases" } else { "" };
        let list: Vec<String> = gates.iter().map(ToString::to_string).collect();
        let of = if list.len() == 1 { "the gate of wave" } else { "the gates of waves" };
        let _ = writeln!(text, "trusts the server: {of} {}, pause and resume{leases}", list.join(", "));
    } else {
        text.push_str(
            "trusts the server: nothing; a pause, or a wave that is shut, holds the devices that hear of it, the others go on by \
             their slots; a stop order comes by any way\n",
        );
    }
    if let Some(reused) = reused(plan) {
        let _ = writeln!(text, "trusts the server: {reused}");
    }
    let proven = plan.inventory.iter().filter(|k| k.proven).count();
    let _ = writeln!(
        text,
        "what devices run: of {} known, {} by their own signed report, the rest as the server says",
        plan.inventory.len(),
        proven
    );
    text
}

/// `gate before wave 2`, `gates before waves 2, 3`.
fn numbered(waves: &[u32]) -> String {
    let list: Vec<String> = waves.iter().map(ToString::to_string).collect();
    let (gate, wave) = if waves.len() == 1 { ("gate", "wave") } else { ("gates", "waves") };
    format!("{gate} before {wave} {}", list.join(", "))
}

fn span(wave: &PlannedWave) -> String {
    format!("{}, {} to {}", count(wave.devices as usize, "device"), format_utc(wave.begins), format_utc(wave.ends))
}

fn utc(slot: &Slot) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let until = if day(slot.start) == day(slot.end) { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" };
    format!("{} - {}", slot.start.strftime("%Y-%m-%d %H:%M:%S"), slot.end.strftime(until))
}

/// `1h30m`, `45s`.
pub(super) fn secs(total: u64) -> String {
    let mut rest = total;
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{facts, planned};
    use super::*;

    #[test]
    fn an_approver_reads_everything_that_the_signature_will_say() {
        let facts = facts();
        let plan = planned(&facts);
        let digest = plan.digest().unwrap();
        let text = super::plan(&plan, digest);
        for part in [
            "plan for approval pump-5 of riverside",
            "pump 5.0.0, release 5",
            &facts.bundle.step.sha256.to_string(),
            "out of cycle",
            "20m each: 15m to install and come back, 5m to come out of use",
            "at most 1 device of a ward at once",
            "CHG-1",
            "selected    all devices of the product",
            "wave 1 of 2: 1 device",
            "wave 2 of 2: 1 device",
            "next wave 30m after 90 % are confirmed; the first failure pauses the rollout",
            // 02:00 in Vienna is 01:00 in UTC; the second wave's turn is when the first's has ended and soaked.
            "2026-11-24 01:00:00 - 01:20:00Z",
            "Tue 2026-11-24 02:00:00 - 02:20:00 Europe/Vienna",
            "2026-11-24 01:50:00 - 02:10:00Z",
            "left out: 1 device",
            "wrong-hardware",
            "trusts the server: the gates of waves 1, 2",
            "as early as openings",
            "attempts    1 a device\n",
            "1h after it began",
            "slots alone keep",
            "waits for a new approval; its gate counts it as missed",
            "of 0 known, 0 by their own signed report",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.ends_with(&grouped(&digest.to_string())), "the digest comes last\n{text}");
        assert!(!text.contains("downgrade") && !text.contains("replaces"), "what is not asked for is not said\n{text}");
        let later: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("or ")).collect();
        assert_eq!(later.len(), 2, "second chances stand under the first\n{text}");
    }

    #[test]
    fn what_weakens_an_approval_is_said() {
        let facts = facts();
        let mut plan = planned(&facts);
        plan.request.permit_downgrade = true;
        plan.supersedes = [super::super::fixture::id("pump-4")].into();
        plan.bundle.status = Status::Superseded;
        plan.waves.iter_mut().for_each(|w| w.gate.needs_server = false);
        (plan.reuses_until, plan.waves[0].gate.max_failures) = (Some(plan.created), 50);
        plan.no_way_back = plan.blocked.clone();
        let agreed = agreed(&plan).join("\n");
        for part in [
            "at most 1 device of a ward at once",
            "wave 1 of 2, 1 device, ",
            "more than 50 failures pause the rollout",
            "may be down beside the cap",
            "no way back by an approval for p3",
            "trusts the server: nothing",
            "its first when the first have",
        ] {
            assert!(agreed.contains(part), "{part}\n{agreed}");
        }
        let text = super::plan(&plan, plan.digest().unwrap());
        assert!(!text.contains("human"), "{text}");
        for part in [
            "downgrade   permitted",
            "replaces    pump-4",
            "superseded by the manufacturer",
            "holds the devices that hear of it, the others go on by their slots",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn an_approver_reads_which_waves_will_wait_for_a_signature() {
        let mut plan = planned(&facts());
        plan.waves[1].gate.needs_signature = true;
        let text = super::plan(&plan, plan.digest().unwrap());
        for part in [
            "human gate before it, holds by signature: `suturectl rollout open pump-5 --wave 2 --reason TEXT`, before 2026-11-24T",
            "the human gate before wave 2: no device of it begins",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("human gate before it").count(), 1, "{text}");
    }

    #[test]
    fn an_approver_reads_ways_ceilings_leases_and_who_loses_the_way_back() {
        use super::super::fixture::{between, id, on};
        let mut facts = facts();
        facts.releases = vec![between(3)];
        facts.bundle.min_release = between(3).step.release;
        facts.bundle.floors = vec![];
        let mut asked = planned(&facts).request;
        asked.leases = true;
        asked.max_attempts = 3;
        asked.retry_wait_secs = 900;
        asked.spread_secs = Some(120);
        asked.deadline = Some("2026-11-30T00:00:00Z".parse().unwrap());
        asked.waves.iter_mut().for_each(|w| (w.gate.max_failures, w.gate.max_failed_percent) = (2, 10));
        let inventory = [on("p1", 1), on("p2", 4)];
        let plan =
            suture_core::plan::plan(&facts, &asked, &inventory, "2026-11-23T12:00:00Z".parse().unwrap()).unwrap();
        let text = super::plan(&plan, plan.digest().unwrap());
        for part in [
            "by way of   pump 3.0.0, release 3, 1.0 MiB, for 1 device; manifest ",
            "spread over 2m",
            "3 a device at each step, the next 15m after the first that failed, then twice as long",
            "needed besides the slot",
            "2026-11-30T00:00:00Z: no slot ends after it",
            "more than 2 failures, or failures of more than 10 % of the wave, pause the rollout",
            "no way back by an approval: 2 devices",
            "it runs release 1, which the manufacturer does not list",
            "pause and resume, leases",
            "to release",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("    then"), "the second step stands under the first\n{text}");
        let says = serde_json::to_value(super::super::says::Says::of(&plan)).unwrap();
        assert_eq!(says["trusts_server"], serde_json::json!([1, 2]));
        assert!(says["late"].as_str().unwrap().contains("new approval"), "{says}");
        assert_eq!(plan.devices[0].id, id("p1"));
    }

    #[test]
    fn spans_of_time_are_short_and_exact() {
        for (total, text) in [(0, "0s"), (45, "45s"), (5_400, "1h30m"), (90_061, "1d1h1m1s")] {
            assert_eq!(secs(total), text);
        }
    }
}
