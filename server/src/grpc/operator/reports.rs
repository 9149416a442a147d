//! What devices have signed, handed out as it was received.

use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::limits::MAX_ROWS_PER_CALL;
use suture_core::report::Report;
use suture_proto::{parse, v1};

use super::super::{Api, Refusal};
use crate::store::reports::{Kept, Place};

/// What is asked for, one of two.
enum Of {
    Device(DeviceId),
    Rollout(ApprovalId),
}

fn message(kept: Kept) -> v1::KeptReport {
    let Kept { place, device, received, report } = kept;
    v1::KeptReport {
        device: device.to_string(),
        report_key: place.key.into(),
        number: place.number,
        received_ms: received.as_millisecond(),
        report: Some(v1::SignedReport::from(&report)),
    }
}

/// Whether a report tells of an approval. What the store has was read before it was stored.
fn tells_of(kept: &Kept, id: &ApprovalId) -> bool {
    suture_core::json::from_slice::<Report>(&kept.report.payload).is_ok_and(|r| r.approval.as_ref() == Some(id))
}

impl Api {
    pub(super) async fn reports(
        &self,
        hdo: &HdoId,
        request: v1::ListReportsRequest,
    ) -> Result<v1::ListReportsResponse, Refusal> {
        let v1::ListReportsRequest { device, rollout, after, limit } = request;
        let of = match (device.as_str(), rollout.as_str()) {
            (device, "") => Of::Device(parse("device", device)?),
            ("", rollout) => Of::Rollout(parse("rollout", rollout)?),
            _ => return Err(Refusal::invalid("device, rollout: one of the two, not both")),
        };
        let after = after.unwrap_or_default();
        let after = Place { device: after.device, key: after.report_key.into(), number: after.number };
        let limit = if limit == 0 { MAX_ROWS_PER_CALL } else { limit.min(MAX_ROWS_PER_CALL) };
        let store = self.app.store();
        let mut kept = match &of {
            Of::Device(id) => {
                if store.read().await?.device(hdo, id).await?.is_none() {
                    return Err(Refusal::not_found(format!(
                        "{hdo} has no device {id}; `suturectl device list` names them"
                    )));
                }
                store.reports_of(hdo, id, &after, limit).await?
            }
            Of::Rollout(id) => {
                let rollout = store.read().await?.rollout(hdo, id).await?;
                let rollout = rollout.ok_or_else(|| {
                    Refusal::not_found(format!("{hdo} has no rollout {id}; `suturectl rollout list --all` names them"))
                })?;
                store.reports_since(hdo, (id, rollout.created), &after, limit).await?
            }
        };
        let more = kept.len() == limit as usize;
        let through = kept.last().map(|last| last.place.clone());
        if let Of::Rollout(id) = &of {
            kept.retain(|kept| tells_of(kept, id));
        }
        Ok(v1::ListReportsResponse {
            reports: kept.into_iter().map(message).collect(),
            more,
            through: through.map(|place| v1::ReportPlace {
                device: place.device,
                report_key: place.key.into(),
                number: place.number,
            }),
        })
    }
}
