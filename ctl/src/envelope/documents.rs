//! What a hospital's next version changes in its documents, in words.

use std::collections::BTreeMap;

use suture_core::approval::{Approval, RosterDevice};
use suture_core::clock::format_utc;
use suture_core::id::{ApprovalId, DeviceId};
use suture_core::window::{Calendar, Scope};

use super::Change;
use crate::hospital::Documents;
use crate::print::count;

/// Rosters device by device, calendars, approvals, stop orders, and where the server is.
pub fn documents(before: &Documents, after: &Documents) -> Vec<Change> {
    let mut changes = Vec::new();
    rosters(before, after, &mut changes);
    calendars(before, after, &mut changes);
    approvals(before, after, &mut changes);
    stops(before, after, &mut changes);
    if before.service != after.service
        && let Some(service) = &after.service
    {
        let text = format!(
            "devices connect to {} from now on, and believe {} certificate authorities",
            service.addresses.join(", "),
            service.authorities.len()
        );
        changes.push(Change::new("service", text));
    }
    changes
}

fn rosters(before: &Documents, after: &Documents, changes: &mut Vec<Change>) {
    let of = |documents: &'_ Documents| -> BTreeMap<DeviceId, RosterDevice> {
        documents.rosters.iter().flat_map(|(_, r)| &r.devices).map(|d| (d.id.clone(), d.clone())).collect()
    };
    let (old, new) = (of(before), of(after));
    let describe =
        |d: &RosterDevice| format!("{} {} in ward {}, report key {}", d.product, d.hardware, d.ward, d.report_key);
    for (id, device) in &new {
        match old.get(id) {
            None => changes.push(Change::new("roster", format!("{id} is put on the roster: {}", describe(device)))),
            Some(was) if was != device => changes.push(Change::new(
                "roster",
                format!("{id} is on the roster otherwise: {}; it was {}", describe(device), describe(was)),
            )),
            Some(_) => {}
        }
    }
    for id in old.keys().filter(|id| !new.contains_key(*id)) {
        changes.push(Change::new("roster", format!("{id} is taken off the roster")));
    }
}

fn calendars(before: &Documents, after: &Documents, changes: &mut Vec<Change>) {
    let of = |documents: &'_ Documents| -> BTreeMap<Scope, Calendar> {
        documents.calendars.iter().map(|(_, c)| (c.scope.clone(), c.clone())).collect()
    };
    let (old, new) = (of(before), of(after));
    for (scope, calendar) in &new {
        if old.get(scope) == Some(calendar) {
            continue;
        }
        let windows: Vec<String> = calendar.windows.iter().map(ToString::to_string).collect();
        let mut freezes: Vec<String> = calendar.freezes.iter().map(ToString::to_string).collect();
        freezes.extend(calendar.recurring.iter().map(ToString::to_string));
        let mut text = format!("{scope} is open {} ({})", windows.join(", "), calendar.zone);
        if windows.is_empty() {
            text = format!("{scope} is open when its other calendars are ({})", calendar.zone);
        }
        if !freezes.is_empty() {
            text.push_str(&format!(", frozen {}", freezes.join(", ")));
        }
        changes.push(Change::new("calendar", text));
    }
    for scope in old.keys().filter(|scope| !new.contains_key(*scope)) {
        changes.push(Change::new("calendar", format!("{scope} has no calendar any more")));
    }
}

fn approvals(before: &Documents, after: &Documents, changes: &mut Vec<Change>) {
    for approval in &after.approvals {
        match before.approval(&approval.terms.id) {
            None => changes
                .push(Change::new("approval", format!("{} is approved: {}", approval.terms.id, describe(approval)))),
            Some(was) if was != approval => changes.push(Change::new(
                "approval",
                format!("{} is CHANGED: {}; it was {}", approval.terms.id, describe(approval), describe(was)),
            )),
            Some(_) => {}
        }
    }
    for approval in before.approvals.iter().filter(|a| after.approval(&a.terms.id).is_none()) {
        let text = format!("{} is removed; it ends {}", approval.terms.id, format_utc(approval.terms.expires));
        changes.push(Change::new("approval", text));
    }
}

fn describe(approval: &Approval) -> String {
    let steps: Vec<String> = approval.terms.steps.iter().map(|s| format!("{}@{}", s.product, s.release)).collect();
    let first = approval.devices.iter().flat_map(|d| &d.slots).map(|s| s.start).min();
    let begins = first.map(format_utc).unwrap_or_default();
    let mut text = format!(
        "{} on {} in {}, first slot {begins}, until {}",
        steps.join(", "),
        count(approval.devices.len(), "device"),
        count(approval.terms.waves.len(), "wave"),
        format_utc(approval.terms.expires)
    );
    let gated = (1..).zip(&approval.terms.waves).filter(|(_, w)| w.needs_signature).map(|(n, _)| n);
    let gated: Vec<String> = gated.map(|n: u32| n.to_string()).collect();
    if !gated.is_empty() {
        text.push_str(&format!(", waiting for a signature of its own before wave {}", gated.join(", ")));
    }
    if approval.terms.permit_downgrade {
        text.push_str(", with a permit to go DOWN");
    }
    if !approval.terms.supersedes.is_empty() {
        let ids: Vec<&str> = approval.terms.supersedes.iter().map(ApprovalId::as_str).collect();
        text.push_str(&format!(", in the place of {}", ids.join(", ")));
    }
    text
}

fn stops(before: &Documents, after: &Documents, changes: &mut Vec<Change>) {
    for stop in after.stops.iter().filter(|stop| !before.stops.iter().any(|s| s.bytes() == stop.bytes())) {
        let what = if stop.stopped { "is stopped" } else { "may go on: its stop is lifted" };
        changes.push(Change::new("stop", format!("{} {what}", stop.approval)));
    }
    for stop in &before.stops {
        if !after.stops.iter().any(|s| s.approval == stop.approval) {
            changes.push(Change::new("stop", format!("the stop order on {} is removed", stop.approval)));
        }
    }
}
