//! What must hold of a plan that is signed, looked at without the planner's own means.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use suture_core::approval::{Approval, DeviceSlots, RosterDevice, Slot};
use suture_core::clock::format_utc;
use suture_core::plan::Plan;
use suture_core::window::openings;

use crate::sabotage::Sabotage;
use crate::simulation::{Outcome, Simulation};

impl Simulation {
    /// A plan is about to be approved.
    pub(crate) fn watch_plan(&self, plan: &Plan) -> Outcome {
        let need = plan.need();
        for planned in &plan.devices {
            let i = self.devices.iter().position(|d| d.it.id == planned.id).unwrap();
            for slot in &planned.slots {
                if slot.end.duration_since(slot.start) < need {
                    return self.violated("a slot holds install and way back", Some(i), format_utc(slot.start));
                }
                self.watch_opening(i, *slot)?;
                self.watch_crowd(plan, i, *slot)?;
            }
        }
        self.watch_waves(plan)
    }

    /// Each calendar that binds the device is asked alone: its windows hold the slot, its freezes touch it nowhere.
    fn watch_opening(&self, i: usize, slot: Slot) -> Outcome {
        let RosterDevice { id, ward, .. } = &self.devices[i].it;
        let mut open = false;
        for calendar in self.hospital.layers(id, ward) {
            let text = || format!("{} to {} by {}", format_utc(slot.start), format_utc(slot.end), calendar.scope);
            let zone = calendar.time_zone().unwrap();
            let date = |at| zone.to_datetime(at).date();
            let frozen = calendar.frozen(date(slot.start), date(slot.end).tomorrow().unwrap()).unwrap();
            let mut at = slot.start;
            while at < slot.end {
                if frozen.iter().any(|f| f.first <= date(at) && date(at) <= f.last) {
                    return self.violated("no slot touches a frozen date", Some(i), text());
                }
                at += SignedDuration::from_mins(15);
            }
            if calendar.windows.is_empty() {
                continue;
            }
            open = true;
            let held = openings(&[calendar], slot.start, slot.end, 2).unwrap();
            if !matches!(held[..], [one] if one.start == slot.start && one.end == slot.end) {
                return self.violated("no slot lies outside an opening", Some(i), text());
            }
        }
        if open {
            Ok(())
        } else {
            self.violated("no slot lies outside an opening", Some(i), "no calendar opens anything")
        }
    }

    /// At no instant of a slot may more devices of the ward be down than the cap: by this plan, and by all that was signed
    /// before, for a device may not have heard that it was replaced. One that runs what an approval leads to is done with it.
    fn watch_crowd(&self, plan: &Plan, i: usize, slot: Slot) -> Outcome {
        let ward = &self.devices[i].it.ward;
        let in_ward = |d: &&DeviceSlots| self.devices.iter().any(|o| o.it.id == d.id && o.it.ward == *ward);
        let done = |a: &Approval, d: &DeviceSlots| {
            let i = self.devices.iter().position(|o| o.it.id == d.id);
            i.is_none_or(|i| self.devices[i].runs(&a.terms.steps.last().unwrap().sha256))
        };
        let before = self.approvals.listed.iter().map(|l| &l.approval);
        // That one is to be caught by what comes of it.
        let forgets = self.sabotage == Sabotage::ReplacedAreForgotten;
        let before = before.filter(|_| !forgets).flat_map(|a| a.devices.iter().filter(move |d| !done(a, d)));
        // The most are open at the first instant of one of them.
        let all = before.chain(&plan.devices).filter(in_ward);
        let at = |d: &&DeviceSlots| d.slots.iter().any(|s| s.start <= slot.start && slot.start < s.end);
        let open = all.filter(at).map(|d| &d.id).collect::<BTreeSet<_>>().len();
        if open > plan.request.cap as usize {
            let text = format!("{open} of {ward} from {}, {} may", format_utc(slot.start), plan.request.cap);
            return self.violated("no more devices of a ward have a slot than its cap", Some(i), text);
        }
        Ok(())
    }

    /// A later wave's first slots begin once those of the wave before have ended and it has been watched.
    fn watch_waves(&self, plan: &Plan) -> Outcome {
        let of = |wave: u32| plan.devices.iter().filter(move |d| d.wave == wave);
        let firsts = |wave: u32| of(wave).filter_map(|d| d.slots.first());
        for (wave, planned) in (0..).zip(&plan.waves).take(plan.waves.len() - 1) {
            // A turn is a slot for each step.
            let ends = of(wave).map(|d| d.slots[plan.steps_of(d) - 1].end).max().unwrap();
            let soaked = ends + SignedDuration::from_secs(planned.gate.soak_secs.into());
            if let Some(early) = firsts(wave + 1).find(|s| s.start < soaked) {
                let text = format!("wave {wave} is done at {}, not {}", format_utc(soaked), format_utc(early.start));
                return self.violated("a wave's slots begin after those of the wave before", None, text);
            }
        }
        Ok(())
    }
}
