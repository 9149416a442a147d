//! `suturectl device why`: what stands between a device and its update, in the order in which it must be met.
//!
//! What both sides have signed is judged here by the device's own rules; the rest is what the device or the server says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use suture_core::clock::format_utc;
use suture_core::id::{DeviceId, HdoId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::select::{Facts, Selection, select, slot_at};
use suture_core::trust::Repository;
use suture_core::version::Release;
use suture_proto::{parse_reason, v1};

use crate::context::Context;
use crate::failure::Outcome;
use crate::hospital::{Desk, Documents, inventory};

/// One thing that is unmet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Unmet {
    /// Whose word it is: `signed`, `device` or `server`.
    by: &'static str,
    #[serde(flatten)]
    reason: Reason,
}

/// Runs it.
pub(super) async fn run(context: &mut Context<'_>, id: &DeviceId) -> Outcome {
    let mut desk = Desk::open(context).await?;
    let catalog = desk.catalog(context).await?;
    let answer = desk.client.get_device(v1::GetDeviceRequest { id: id.to_string() }).await?;
    let unmet = why(&desk.hdo, id, &answer, &desk.documents, &catalog, context.now());
    context.print.result(&unmet, |unmet| {
        if unmet.is_empty() {
            return format!("nothing stands in the way of {id}: it acts at its next check-in");
        }
        let line = |(n, u): (usize, &Unmet)| format!("{}. [{}] {}", n + 1, u.by, u.reason);
        unmet.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn why(
    hdo: &HdoId,
    id: &DeviceId,
    answer: &v1::GetDeviceResponse,
    documents: &Documents,
    catalog: &Repository,
    now: Timestamp,
) -> Vec<Unmet> {
    let device = answer.device.clone().unwrap_or_default();
    let Some(roster) = documents.device(id) else {
        return vec![not_on_roster(id, &device.state)];
    };
    let mut unmet = Vec::new();
    if roster.report_key.as_bytes().as_slice() != device.report_key.as_ref() {
        unmet.push(Unmet {
            by: "signed",
            reason: Reason::new(
                Code::BadSignature,
                "the server holds another report key than the roster; its reports count for nothing",
            ),
        });
    }
    let known = inventory::known(&device, documents);
    let facts = Facts {
        hdo: hdo.clone(),
        device: id.clone(),
        product: roster.product.clone(),
        hardware: roster.hardware.clone(),
        running: known.and_then(|k| k.running),
        // What only the device knows, it says itself, below.
        floor: Release(0),
        attempts: BTreeMap::new(),
    };
    match select(&facts, catalog, &documents.approvals, &documents.stops, now) {
        Selection::Nothing { reason, .. } => unmet.push(Unmet { by: "signed", reason }),
        Selection::Chosen(choice) => {
            if let Some(slot) = slot_at(&choice.slots, now).filter(|s| now < s.start) {
                let text =
                    format!("its slot begins at {} and ends at {}", format_utc(slot.start), format_utc(slot.end));
                unmet.push(Unmet { by: "signed", reason: Reason::new(Code::BeforeSlot, text) });
            }
            let word = answer.words.iter().find(|w| w.approval_id == choice.approval.as_str());
            if let Some(reason) = word.filter(|w| !w.go).and_then(|w| parse_reason(w.reason.as_ref())) {
                unmet.push(Unmet { by: "server", reason });
            }
        }
    }
    unmet.extend(own_word(&device, documents, id));
    unmet
}

/// What the device says itself, if it says that it waits or failed.
fn own_word(device: &v1::Device, documents: &Documents, id: &DeviceId) -> Option<Unmet> {
    let report = inventory::proven(device.proven.as_ref(), documents.device(id));
    let said = device.said.as_ref();
    let now_says = said.and_then(|s| parse_reason(s.reason.as_ref()));
    match (report, now_says) {
        // The check-in is younger than the report where the two differ: reports tell of changes of phase.
        (_, Some(reason)) => Some(Unmet {
            by: "server",
            reason: Reason { text: format!("at its last check-in: {}", reason.text), ..reason },
        }),
        (Some(report), None) if report.phase != Phase::Confirmed => {
            report.reason.map(|reason| Unmet { by: "device", reason })
        }
        _ => None,
    }
}

fn not_on_roster(id: &DeviceId, state: &str) -> Unmet {
    let text = match state {
        "" => format!("the server knows no {id}; `device import` adds it"),
        "imported" => format!("{id} has not enrolled; `device token {id}`, then `suture-agent enroll` at the device"),
        "revoked" => format!("{id} is revoked"),
        _ => format!("{id} is on no signed roster; compare its fingerprint, then `device confirm {id}`"),
    };
    Unmet { by: "signed", reason: Reason::new(Code::Pending, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_on_no_roster_is_told_its_next_step() {
        let id: DeviceId = "pump-1".parse().unwrap();
        for (state, step) in [("", "device import"), ("imported", "device token pump-1"), ("pending", "device confirm")]
        {
            let unmet = not_on_roster(&id, state);
            assert!(unmet.reason.text.contains(step), "{unmet:?}");
            assert_eq!(unmet.reason.code, Code::Pending);
        }
    }
}
