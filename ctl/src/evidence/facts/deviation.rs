//! What did not go as planned.

use serde::Serialize;
use suture_core::approval::Meaning;
use suture_core::clock::format_utc;
use suture_core::event::Severity;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::phase::Phase;
use suture_core::trust::Status;

use super::{DeviceOutcome, Exposure, Notice};
use crate::evidence::Evidence;

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The old version runs again.
    FellBack,
    /// Nothing was switched, and nothing more is tried.
    Failed,
    /// Only a person can go on, or has gone on.
    Held,
    /// A signed stop order came first.
    Stopped,
    /// The manufacturer withdrew the bundle.
    Withdrawn,
    /// Its slots ended first, by its own report or by the server's count.
    MissedSlots,
    /// It has begun and fallen silent.
    TimedOut,
    /// The rollout was resumed without it.
    Forgiven,
    /// It is offered the approval no more.
    Barred,
    /// What runs is not as it was signed.
    Drift,
    /// Two contents under one version.
    Fork,
    /// It may be a lower release than the one that ran.
    DowngradePermitted,
    /// An approval was stopped by its hospital.
    StopOrder,
    /// No statement of a signer is about the approval as it is listed, or none approves it.
    Unstated,
    /// Reports that no signed roster's key proves.
    Unproven,
    /// A device that is named has signed nothing on it.
    Silent,
    /// The plan that was approved is kept no longer.
    PlanGone,
    /// A grave security event.
    SecurityEvent,
    /// A notice, or a report of suspicion, that was not answered in time.
    Unanswered,
    /// An update after which a vulnerability is open that was not before.
    Exposes,
}

impl What {
    /// As text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FellBack => "fell back",
            Self::Failed => "failed",
            Self::Held => "held for a person",
            Self::Stopped => "stopped",
            Self::Withdrawn => "withdrawn",
            Self::MissedSlots => "missed its slots",
            Self::TimedOut => "timed out",
            Self::Forgiven => "forgiven",
            Self::Barred => "barred",
            Self::Drift => "altered on the device",
            Self::Fork => "fork of a repository",
            Self::DowngradePermitted => "downgrade permitted",
            Self::StopOrder => "stop order",
            Self::Unstated => "no signer's statement",
            Self::Unproven => "reports without a known key",
            Self::Silent => "no signed report",
            Self::PlanGone => "plan not kept",
            Self::SecurityEvent => "grave security event",
            Self::Unanswered => "not acknowledged in time",
            Self::Exposes => "newly exposed",
        }
    }
}

/// One.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Deviation {
    /// In which rollout.
    pub rollout: Option<ApprovalId>,
    /// Of which device.
    pub device: Option<DeviceId>,
    /// What.
    pub what: What,
    /// When.
    pub at: Option<String>,
    /// More of it.
    pub detail: String,
    /// What it rests on.
    pub rests_on: String,
}

pub(super) const HEADINGS: [&str; 6] = ["rollout", "device", "what", "at", "detail", "rests on"];

impl Deviation {
    pub(super) fn cells(&self) -> [String; 6] {
        [
            self.rollout.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.device.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.what.as_str().to_owned(),
            self.at.clone().unwrap_or_default(),
            self.detail.clone(),
            self.rests_on.clone(),
        ]
    }
}

/// What a signed phase is a deviation as, if it is one.
fn of_phase(phase: Phase) -> Option<What> {
    match phase {
        Phase::FellBack => Some(What::FellBack),
        Phase::Failed => Some(What::Failed),
        Phase::Held => Some(What::Held),
        Phase::Stopped => Some(What::Stopped),
        Phase::Withdrawn => Some(What::Withdrawn),
        Phase::Expired => Some(What::MissedSlots),
        Phase::Offered
        | Phase::Fetching
        | Phase::Staged
        | Phase::Waiting
        | Phase::Installing
        | Phase::Restarting
        | Phase::Confirming
        | Phase::Confirmed
        | Phase::Superseded
        | Phase::Idle => None,
    }
}

/// All of them, ascending.
pub(super) fn deviations(
    evidence: &Evidence,
    outcomes: &[DeviceOutcome],
    exposure: &Exposure,
    notices: &[Notice],
) -> Vec<Deviation> {
    let mut all = Vec::new();
    of_approvals(evidence, &mut all);
    for outcome in outcomes {
        of_device(outcome, &mut all);
    }
    of_reports(evidence, &mut all);
    of_server(evidence, &mut all);
    of_events(evidence, &mut all);
    of_notices(notices, &mut all);
    of_ways(exposure, &mut all);
    all.sort();
    all.dedup();
    all
}

fn of_approvals(evidence: &Evidence, all: &mut Vec<Deviation>) {
    for (id, approved) in &evidence.approved {
        let mut say = |what, at, detail: String, rests_on: &str| {
            let rests_on = rests_on.to_owned();
            all.push(Deviation { rollout: Some(id.clone()), device: None, what, at, detail, rests_on });
        };
        if let Some(stop) = &approved.stop {
            say(What::StopOrder, Some(format_utc(stop.signed_at)), stop.to_text(), "signed order");
        }
        let approves =
            |s: &&crate::evidence::approval::Signer| s.about_what_is_listed && s.meaning == Meaning::Approved;
        if !approved.signers.iter().any(|s| approves(&s)) {
            let detail = "its signatures count, and nobody has stated who approved it, as what and why";
            say(What::Unstated, None, detail.to_owned(), "statements");
        }
        if approved.approval.terms.permit_downgrade {
            say(What::DowngradePermitted, None, approved.words.reason.clone(), "signed approval");
        }
        if !approved.has_plan {
            let detail = format!("SHA-256 {}", approved.words.plan_sha256);
            say(What::PlanGone, None, detail, "signed approval names it, the server keeps it no longer");
        }
    }
    for bundle in evidence.released.bundles.iter().filter(|b| b.is_subject && b.status == Some(Status::Withdrawn)) {
        let m = &bundle.manifest;
        let because = bundle.because.clone().unwrap_or_default();
        let detail = format!("{} {} (release {}): {because}", m.product, m.version, m.release);
        let rests_on = "signed catalog".to_owned();
        all.push(Deviation { rollout: None, device: None, what: What::Withdrawn, at: None, detail, rests_on });
    }
}

fn of_device(outcome: &DeviceOutcome, all: &mut Vec<Deviation>) {
    let of = |what, at: Option<String>, detail: String, rests_on: String| Deviation {
        rollout: Some(outcome.rollout.clone()),
        device: Some(outcome.device.clone()),
        what,
        at,
        detail,
        rests_on,
    };
    for step in &outcome.steps {
        if let Some(what) = of_phase(step.phase) {
            let rests_on = format!("report {}, signed", step.report);
            all.push(of(what, Some(format_utc(step.at)), step.reason.clone().unwrap_or_default(), rests_on));
        }
    }
    let served = || "the server's word".to_owned();
    match outcome.standing.as_deref() {
        Some("missed") => all.push(of(What::MissedSlots, super::opt(outcome.slots_until), String::new(), served())),
        Some("timed_out") => all.push(of(What::TimedOut, None, String::new(), served())),
        _ => {}
    }
    if outcome.forgiven {
        all.push(of(What::Forgiven, None, "the rollout was resumed without it".to_owned(), served()));
    }
    if outcome.steps.is_empty() {
        all.push(of(What::Silent, None, String::new(), "reports".to_owned()));
    }
}

fn of_reports(evidence: &Evidence, all: &mut Vec<Deviation>) {
    let mut say = |device: &DeviceId, what, at, detail: String, rests_on: String| {
        all.push(Deviation { rollout: None, device: Some(device.clone()), what, at, detail, rests_on });
    };
    for (device, reports) in &evidence.reports.proven {
        for proven in reports {
            let Some(integrity) = &proven.report.integrity else { continue };
            if let Some(drift) = &integrity.drift {
                let rests_on = format!("report {}, signed", proven.report.number);
                say(device, What::Drift, Some(format_utc(integrity.at)), drift.clone(), rests_on);
            }
        }
    }
    for (device, count) in &evidence.reports.unproven {
        let detail = format!("{count} came under a key that no signed roster here has");
        say(device, What::Unproven, None, detail, "reports".to_owned());
    }
}

fn of_server(evidence: &Evidence, all: &mut Vec<Deviation>) {
    let served = || "the server's word".to_owned();
    for rollout in &evidence.served.rollouts {
        for member in rollout.devices.iter().filter(|m| m.barred) {
            all.push(Deviation {
                rollout: Some(rollout.id.clone()),
                device: Some(member.id.clone()),
                what: What::Barred,
                at: None,
                detail: member.reason.clone().unwrap_or_default(),
                rests_on: served(),
            });
        }
    }
    for fork in &evidence.served.forks {
        let healed = fork.healed.map_or_else(|| "not healed".to_owned(), |at| format!("healed {}", format_utc(at)));
        all.push(Deviation {
            rollout: None,
            device: fork.device.clone(),
            what: What::Fork,
            at: Some(format_utc(fork.first)),
            detail: format!("{}, version {}; {healed}", fork.repository, fork.version),
            rests_on: served(),
        });
    }
}

fn of_events(evidence: &Evidence, all: &mut Vec<Deviation>) {
    let grave = |e: &&crate::evidence::served::Event| e.kind.severity() >= Severity::High;
    for event in evidence.served.events.iter().filter(grave) {
        let times = if event.count > 1 { format!(", {} times", event.count) } else { String::new() };
        all.push(Deviation {
            rollout: None,
            device: evidence.about.hdo.as_ref().and_then(|hdo| device_of(hdo, &event.subject)),
            what: What::SecurityEvent,
            at: Some(format_utc(event.first)),
            detail: format!("{}: {}{times}", event.kind, event.detail),
            rests_on: format!("the server's word, as seen by the {}", event.observer),
        });
    }
}

/// The device that a subject names.
fn device_of(hdo: &HdoId, subject: &str) -> Option<DeviceId> {
    subject.strip_prefix(&format!("hdo/{hdo}/device/"))?.parse().ok()
}

fn of_notices(notices: &[Notice], all: &mut Vec<Deviation>) {
    for notice in notices.iter().filter(|notice| notice.overdue) {
        all.push(Deviation {
            rollout: None,
            device: None,
            what: What::Unanswered,
            at: super::opt(notice.answer_by),
            detail: format!("{} {} with {}: {}", notice.kind, notice.number, notice.hdo, notice.subject),
            rests_on: "no signed answer, and the server's word".to_owned(),
        });
    }
}

fn of_ways(exposure: &Exposure, all: &mut Vec<Deviation>) {
    for way in exposure.ways.iter().filter(|way| !way.new.is_empty()) {
        all.push(Deviation {
            rollout: None,
            device: None,
            what: What::Exposes,
            at: None,
            detail: format!(
                "{} from release {} to {}, {} devices: {}",
                way.product,
                way.from,
                way.to,
                way.devices,
                super::exposure::few(&way.new)
            ),
            rests_on: "documents that the signed catalog pins".to_owned(),
        });
    }
}
