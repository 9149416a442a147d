//! Security events, and devices that have fallen silent.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use suture_core::event::{Event, What};
use suture_core::id::HdoId;
use suture_core::limits::{MAX_LOST_AFTER, MAX_ROWS_PER_CALL, MIN_LOST_AFTER};
use suture_core::principal::Principal;
use suture_proto::v1;

use super::super::{Api, Refusal};
use crate::audit;
use crate::store::events::{Kept, Of};

fn message(kept: Kept) -> v1::SecurityEvent {
    let Kept { number, seq, event: Event { what, first, last, count } } = kept;
    let What { kind, observer, hdo, subject, detail } = what;
    v1::SecurityEvent {
        number,
        seq,
        kind: kind.as_str().to_owned(),
        observer: observer.as_str().to_owned(),
        hdo: hdo.map(String::from).unwrap_or_default(),
        subject,
        detail,
        first_ms: first.as_millisecond(),
        last_ms: last.as_millisecond(),
        count,
    }
}

impl Api {
    /// What waits is written first, so that whoever asks sees what was refused to them just now.
    pub(super) async fn events(
        &self,
        principal: &Principal,
        request: v1::ListEventsRequest,
    ) -> Result<v1::ListEventsResponse, Refusal> {
        let v1::ListEventsRequest { after, since_ms, newest, before, severity, limit } = request;
        let limit = limit.clamp(1, MAX_ROWS_PER_CALL);
        let of = principal.hdo().map_or(Of::Own, Of::Hospital);
        let since = (since_ms > 0).then(|| Timestamp::from_millisecond(since_ms)).transpose();
        let since = since.map_err(|e| Refusal::invalid(format!("since_ms: {e}")))?;
        crate::events::keep::flush(self.app.events(), self.app.store(), self.app.now()).await;
        let mut tx = self.app.store().read().await?;
        let dropped = tx.dropped_events(principal.hdo()).await?;
        let mut events = if newest {
            let severity = u8::try_from(severity).unwrap_or(u8::MAX);
            tx.newest_events(of, (before > 0).then_some(before), severity, limit + 1).await?
        } else {
            tx.events_after(of, after, since, limit + 1).await?
        };
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        Ok(v1::ListEventsResponse { events: events.into_iter().map(message).collect(), more, dropped })
    }

    pub(super) async fn lost_devices(
        &self,
        hdo: &HdoId,
        request: v1::ListLostDevicesRequest,
    ) -> Result<v1::ListLostDevicesResponse, Refusal> {
        let v1::ListLostDevicesRequest { after, limit } = request;
        let limit = limit.clamp(1, MAX_ROWS_PER_CALL);
        let store = self.app.store();
        let mut lost = store.lost_devices(hdo, &after, limit + 1).await?;
        let more = lost.len() > limit as usize;
        lost.truncate(limit as usize);
        let device = |silent: crate::store::lost::Silent| v1::LostDevice {
            id: silent.device.to_string(),
            last_seen_ms: silent.last_seen.as_millisecond(),
        };
        let lost_after_secs = store.lost_after(hdo).await?.as_secs().unsigned_abs();
        Ok(v1::ListLostDevicesResponse { devices: lost.into_iter().map(device).collect(), more, lost_after_secs })
    }

    pub(super) async fn silence(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::SetLostAfterRequest,
    ) -> Result<(), Refusal> {
        let v1::SetLostAfterRequest { secs } = request;
        let after = SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX));
        if after < MIN_LOST_AFTER || after > MAX_LOST_AFTER {
            return Err(Refusal::invalid("secs: must be from an hour to a year"));
        }
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        tx.set_lost_after(hdo, after).await?;
        let detail = json!({ "secs": secs });
        audit::append(&mut tx, now, principal, hdo.into(), "lost-after.set", hdo.as_str(), detail).await?;
        tx.commit().await?;
        Ok(())
    }
}
