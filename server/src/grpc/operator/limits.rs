//! How much a hospital lets its devices fetch, and when.

use serde_json::json;
use suture_core::id::HdoId;
use suture_core::pace::{Hours, Limits, LimitsError, Timetable};
use suture_core::principal::Principal;
use suture_proto::{parse, v1};
use tonic::Code;

use super::super::{Api, Refusal};
use crate::audit;

/// None where nothing is written.
fn hours(text: &str) -> Result<Option<Hours>, Refusal> {
    Ok(if text.is_empty() { None } else { Some(parse("hours", text)?) })
}

impl From<LimitsError> for Refusal {
    fn from(error: LimitsError) -> Self {
        let code = match error {
            LimitsError::Nothing | LimitsError::Streams | LimitsError::Crowd { .. } | LimitsError::Zone(_) => {
                Code::InvalidArgument
            }
            LimitsError::NoZone | LimitsError::OtherZone(_) | LimitsError::Periods => Code::FailedPrecondition,
            LimitsError::NoPeriod(_) => Code::NotFound,
        };
        Self::new(code, error.to_string())
    }
}

impl Api {
    pub(super) async fn limits(&self, hdo: &HdoId) -> Result<v1::GetTransferLimitsResponse, Refusal> {
        let timetable = self.app.store().timetable(hdo).await?;
        let now = timetable.at(self.app.now());
        let Timetable { zone, periods, otherwise } = timetable;
        let period = |p: &suture_core::pace::Period| v1::TransferPeriod {
            hours: p.hours.to_string(),
            limits: Some((&p.limits).into()),
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (fetching, in_line) = self.app.pace().crowd(hdo);
        Ok(v1::GetTransferLimitsResponse {
            zone: zone.unwrap_or_default(),
            periods: periods.iter().map(period).collect(),
            otherwise: Some((&otherwise).into()),
            now: Some((&now).into()),
            fetching: count(fetching),
            in_line: count(in_line),
        })
    }

    pub(super) async fn set_limits(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::SetTransferLimitsRequest,
    ) -> Result<(), Refusal> {
        let v1::SetTransferLimitsRequest { zone, hours: text, limits } = request;
        let hours = hours(&text)?;
        let limits = limits.as_ref().map(Limits::try_from).transpose()?.unwrap_or_default();
        let zone = Some(zone.as_str()).filter(|zone| !zone.is_empty());
        self.change_limits(principal, hdo, "transfer.limited", hours.clone(), |timetable| {
            timetable.with(zone, hours, limits)
        })
        .await
    }

    pub(super) async fn clear_limits(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::ClearTransferLimitsRequest,
    ) -> Result<(), Refusal> {
        let v1::ClearTransferLimitsRequest { hours: text } = request;
        let hours = hours(&text)?;
        self.change_limits(principal, hdo, "transfer.cleared", hours.clone(), |timetable| match hours {
            Some(hours) => timetable.without(&hours),
            None => Ok(Timetable::default()),
        })
        .await
    }

    /// Changes them in one transaction, on record with what then holds.
    async fn change_limits(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        action: &str,
        hours: Option<Hours>,
        change: impl FnOnce(Timetable) -> Result<Timetable, LimitsError>,
    ) -> Result<(), Refusal> {
        let now = self.app.now();
        let mut tx = self.app.store().begin().await?;
        let timetable = change(tx.timetable(hdo).await?)?;
        tx.set_timetable(hdo, &timetable).await?;
        let detail = json!({ "hours": hours.map(|h| h.to_string()), "limits": timetable });
        audit::append(&mut tx, now, principal, hdo.into(), action, hdo.as_str(), detail).await?;
        tx.commit().await?;
        self.app.pace().heed(hdo, &timetable, now);
        Ok(())
    }
}
