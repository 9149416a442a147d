//! Where the documents are listed in the approvals repository.

use crate::id::{ApprovalId, WardId};

/// An approval: `approvals/<id>.json`.
pub fn approval(id: &ApprovalId) -> String {
    format!("approvals/{id}.json")
}

/// The operators' document of an approval: `operator/<id>.json`.
pub fn operator_document(id: &ApprovalId) -> String {
    format!("operator/{id}.json")
}

/// A roster: `rosters/<n>.json`.
pub fn roster(n: u32) -> String {
    format!("rosters/{n}.json")
}

/// A ward's calendar: `calendars/<ward>.json`.
pub fn calendar(ward: &WardId) -> String {
    format!("calendars/{ward}.json")
}

/// The stop order of an approval: `stops/<id>.json`.
pub fn stop(id: &ApprovalId) -> String {
    format!("stops/{id}.json")
}

/// Where the server is found: `service.json`.
pub const SERVICE: &str = "service.json";
