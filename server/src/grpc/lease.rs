//! Leases: what a device asks for, and what a person ends; and that a device was checked and may be in service again.

use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::lease::Answer;
use suture_core::principal::Principal;
use suture_proto::{parse, parse_stage, v1};

use super::operator::sentence;
use super::{Api, Refusal};
use crate::{clearance, lease};

impl Api {
    pub(super) async fn take_a_lease(
        &self,
        hdo: &HdoId,
        device: &DeviceId,
        request: v1::TakeLeaseRequest,
    ) -> Result<v1::TakeLeaseResponse, Refusal> {
        let v1::TakeLeaseRequest { approval_id, stage } = request;
        let approval: ApprovalId = parse("approval_id", &approval_id)?;
        let (stage, now) = (parse_stage(stage)?, self.app.now());
        let mut tx = self.app.store().begin().await?;
        let answer = lease::take(&mut tx, hdo, device, &approval, stage, now).await?;
        tx.commit().await?;
        Ok(match answer {
            Answer::Granted(lease) => {
                v1::TakeLeaseResponse { lease: Some((&lease).into()), reason: None, ask_again_ms: 0 }
            }
            Answer::Refused { reason, ask_again } => {
                let wait = ask_again.duration_since(now).as_millis();
                let ask_again_ms = u32::try_from(wait).unwrap_or(u32::MAX);
                v1::TakeLeaseResponse { lease: None, reason: Some((&reason).into()), ask_again_ms }
            }
        })
    }

    pub(super) async fn return_a_lease(&self, hdo: &HdoId, device: &DeviceId) -> Result<(), Refusal> {
        let mut tx = self.app.store().begin().await?;
        if tx.drop_lease(hdo, device).await? {
            tx.commit().await?;
        }
        Ok(())
    }

    pub(super) async fn take_clearance(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        envelope: &[u8],
    ) -> Result<(), Refusal> {
        let mut tx = self.app.store().begin().await?;
        clearance::take(&mut tx, hdo, envelope, principal, self.app.now()).await?;
        tx.commit().await?;
        self.app.news().tell();
        Ok(())
    }

    pub(super) async fn return_device_to_service(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::ReturnDeviceRequest,
    ) -> Result<v1::ReturnDeviceResponse, Refusal> {
        let v1::ReturnDeviceRequest { id, reason } = request;
        let id: DeviceId = parse("id", &id)?;
        let reason = sentence("reason", &reason)?;
        let mut tx = self.app.store().begin().await?;
        if tx.device(hdo, &id).await?.is_none() {
            return Err(Refusal::not_found(format!("{hdo} has no device {id}; `suturectl device list` names them")));
        }
        let ended = lease::give_back(&mut tx, hdo, &id, principal, reason, self.app.now()).await?;
        tx.commit().await?;
        self.app.news().tell();
        Ok(v1::ReturnDeviceResponse { lease: ended.as_ref().map(Into::into) })
    }
}
