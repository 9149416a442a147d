//! Security events that concern the evidence's devices.

use std::collections::BTreeSet;

use suture_core::event::Kind;
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::{MAX_KEPT_EVENTS, MAX_ROWS_PER_CALL};
use suture_core::principal::Principal;
use suture_proto::v1;

use super::gather::Gathering;
use crate::evidence::served::Event;
use crate::failure::{Failure, Outcome};

/// Takes them, and whether events were dropped.
pub(super) async fn gather(gathering: &mut Gathering<'_, '_>, hdo: &HdoId) -> Outcome {
    let named = |device: &DeviceId| Principal::Device(hdo.clone(), device.clone()).to_string();
    let subjects: BTreeSet<String> = gathering.devices.iter().map(named).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let mut after = 0;
    let mut seen: u64 = 0;
    loop {
        let request = v1::ListEventsRequest { after, limit: MAX_ROWS_PER_CALL, ..v1::ListEventsRequest::default() };
        let v1::ListEventsResponse { events, more, dropped: _ } = gathering.client.list_events(request).await?;
        seen = seen.saturating_add(events.len() as u64);
        let last = events.last().map_or(after, |event| event.seq);
        for event in events {
            let concerns = subjects.contains(&event.subject) || event.kind == Kind::EventsDropped.as_str();
            if concerns {
                let event = Event::of(event)?;
                // One that grew while it was asked for comes again.
                gathering.served.events.retain(|known| known.number != event.number);
                gathering.served.events.push(event);
            }
        }
        if !more {
            break;
        }
        if last <= after || seen > MAX_KEPT_EVENTS.saturating_mul(2) {
            return Err(Failure::untrusted("the server's list of security events does not come to an end"));
        }
        after = last;
    }
    let count = gathering.served.events.len();
    gathering.note(&format!("security events: {count} of {seen} concern its devices"));
    Ok(())
}
