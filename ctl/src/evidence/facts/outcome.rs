//! What became of each device, by its own signed reports; what the server says beside it stands in fields of its own.

use jiff::Timestamp;
use serde::Serialize;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::phase::Phase;

use super::{instant, text};
use crate::evidence::Evidence;
use crate::evidence::approval::Approved;
use crate::evidence::reports::Proven;

/// One device of one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The rollout.
    pub rollout: ApprovalId,
    /// The device.
    pub device: DeviceId,
    /// By the signed roster.
    pub ward: String,
    /// By the signed roster.
    pub hardware: String,
    /// By the server's inventory.
    pub serial: String,
    /// By the server's inventory.
    pub udi: String,
    /// Counted from 1; signed.
    pub wave: u32,
    /// When its first slot began; signed.
    #[serde(serialize_with = "instant")]
    pub slots_from: Option<Timestamp>,
    /// When its last slot ended; signed.
    #[serde(serialize_with = "instant")]
    pub slots_until: Option<Timestamp>,
    /// How far it got, by its last report on it that tells of an outcome, else by its last; none where it has signed none.
    pub proven: Option<Phase>,
    /// By which report.
    pub report: Option<u64>,
    /// When, by the device's clock.
    #[serde(serialize_with = "instant")]
    pub at: Option<Timestamp>,
    /// When the server took that report, by its word.
    #[serde(serialize_with = "instant")]
    pub received: Option<Timestamp>,
    /// When it was first confirmed on the last bundle of its way, by the device's clock.
    #[serde(serialize_with = "instant")]
    pub confirmed: Option<Timestamp>,
    /// What it runs by its last report of all.
    pub runs: Option<String>,
    /// Why it got no further, in the device's signed words.
    pub reason: Option<String>,
    /// What it counts as, by the server's word.
    pub standing: Option<String>,
    /// Whether somebody has resumed the rollout without it, by the server's word.
    pub forgiven: bool,
    /// Every phase that it has signed, in order.
    pub steps: Vec<Step>,
}

/// A phase, and the report that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub phase: Phase,
    /// The report's number.
    pub report: u64,
    /// When, by the device's clock.
    #[serde(with = "suture_core::clock::utc")]
    pub at: Timestamp,
    /// Why no further.
    pub reason: Option<String>,
}

pub(super) const HEADINGS: [&str; 18] = [
    "rollout",
    "device",
    "ward",
    "hardware",
    "serial (server)",
    "udi (server)",
    "wave",
    "slots from",
    "slots until",
    "outcome (signed)",
    "report",
    "at (device)",
    "received (server)",
    "confirmed (device)",
    "runs (signed)",
    "reason (signed)",
    "counts as (server)",
    "forgiven (server)",
];

impl Outcome {
    pub(super) fn cells(&self) -> [String; 18] {
        [
            self.rollout.to_string(),
            self.device.to_string(),
            self.ward.clone(),
            self.hardware.clone(),
            self.serial.clone(),
            self.udi.clone(),
            self.wave.to_string(),
            text(self.slots_from),
            text(self.slots_until),
            self.proven.map(|p| p.to_string()).unwrap_or_default(),
            self.report.map(|n| n.to_string()).unwrap_or_default(),
            text(self.at),
            text(self.received),
            text(self.confirmed),
            self.runs.clone().unwrap_or_default(),
            self.reason.clone().unwrap_or_default(),
            self.standing.clone().unwrap_or_default(),
            if self.forgiven { "yes" } else { "" }.to_owned(),
        ]
    }
}

/// All devices that the approvals name, or the one that the evidence is about.
pub(super) fn outcomes(evidence: &Evidence) -> Vec<Outcome> {
    let only = match &evidence.about.subject {
        crate::evidence::Subject::Device(id) => Some(id),
        _ => None,
    };
    let of = |(id, approved)| outcomes_of(evidence, id, approved);
    evidence.approved.iter().flat_map(of).filter(|o| only.is_none_or(|only| o.device == *only)).collect()
}

fn outcomes_of(evidence: &Evidence, id: &ApprovalId, approved: &Approved) -> Vec<Outcome> {
    let served = evidence.served.rollout(id);
    let row = |slots: &suture_core::approval::DeviceSlots| {
        let roster = evidence.rosters.device(&slots.id);
        let record = evidence.served.device(&slots.id);
        let reports: Vec<&Proven> = evidence.reports.on(&slots.id, id).collect();
        let last_step = slots.path(&approved.approval.terms).last().map(|step| step.sha256);
        let is_confirmed = |p: &&&Proven| {
            p.report.phase == Phase::Confirmed && p.report.manifest.is_some_and(|m| Some(m) == last_step)
        };
        let tells = |p: &&&Proven| {
            let phase = p.report.phase;
            is_confirmed(p) || phase == Phase::Held || (phase.is_outcome() && phase != Phase::Confirmed)
        };
        let telling = reports.iter().rev().find(tells).or(reports.last());
        let member = served.and_then(|r| r.devices.iter().find(|m| m.id == slots.id));
        Outcome {
            rollout: id.clone(),
            device: slots.id.clone(),
            ward: roster.map(|r| r.ward.to_string()).unwrap_or_default(),
            hardware: roster.map(|r| r.hardware.to_string()).unwrap_or_default(),
            serial: record.map(|r| r.serial.clone()).unwrap_or_default(),
            udi: record.map(|r| r.udi.clone()).unwrap_or_default(),
            wave: slots.wave.saturating_add(1),
            slots_from: slots.slots.first().map(|s| s.start),
            slots_until: slots.slots.last().map(|s| s.end),
            proven: telling.map(|p| p.report.phase),
            report: telling.map(|p| p.report.number),
            at: telling.map(|p| p.report.at),
            received: telling.map(|p| p.received),
            confirmed: reports.iter().find(is_confirmed).map(|p| p.report.at),
            runs: evidence.reports.of(&slots.id).next_back().map(|p| {
                let running = &p.report.running;
                format!("{} (release {})", running.version, running.release)
            }),
            reason: telling.and_then(|p| p.report.reason.as_ref()).map(ToString::to_string),
            standing: member.map(|m| m.standing.clone()),
            forgiven: member.is_some_and(|m| m.forgiven),
            steps: reports
                .iter()
                .map(|p| Step {
                    phase: p.report.phase,
                    report: p.report.number,
                    at: p.report.at,
                    reason: p.report.reason.as_ref().map(ToString::to_string),
                })
                .collect(),
        }
    };
    approved.approval.devices.iter().map(row).collect()
}
