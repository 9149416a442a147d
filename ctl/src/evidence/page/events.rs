//! What the report says of security events.

use std::cmp::Reverse;

use suture_core::clock::format_utc;
use suture_core::limits::MAX_EVIDENCE_EVENTS_SHOWN;

use super::html::Page;
use crate::evidence::Evidence;
use crate::evidence::served::Event;

/// The gravest, then the newest.
pub(super) fn events(page: &mut Page, evidence: &Evidence) {
    let mut events: Vec<&Event> = evidence.served.events.iter().collect();
    if events.is_empty() {
        return;
    }
    events.sort_by_key(|e| (Reverse(e.kind.severity()), Reverse(e.last), Reverse(e.number)));
    page.section("Security events");
    if let Some(more) = events.len().checked_sub(MAX_EVIDENCE_EVENTS_SHOWN).filter(|more| *more > 0) {
        page.paragraph(&format!("The gravest; {more} more are in served/events.json."));
    }
    let rows = events.into_iter().take(MAX_EVIDENCE_EVENTS_SHOWN).map(|e| {
        [
            format_utc(e.last),
            e.kind.severity().to_string(),
            e.kind.to_string(),
            e.count.to_string(),
            e.observer.to_string(),
            e.subject.clone(),
            e.detail.clone(),
        ]
    });
    page.table(
        "By the server's word alone, and that there are no others too; what a device has seen it has signed, and the server says that \
         it has verified that",
        ["last", "severity", "event", "times", "seen by", "whom or what", "detail"],
        rows,
    );
}
