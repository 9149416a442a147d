//! Devices that are taken out of use for good.

use serde_json::json;
use suture_core::id::{DeviceId, HdoId};
use suture_core::principal::Principal;
use suture_proto::{parse, v1};

use super::super::{Api, Refusal};
use super::decisions::name;
use super::devices::unknown;
use super::organisation::sentence;
use crate::audit;
use crate::store::Lock;
use crate::store::decommissions::Decommission;

impl From<Decommission> for v1::Decommissioned {
    fn from(Decommission { reason, by, at }: Decommission) -> Self {
        Self { reason, by: by.to_string(), at_ms: at.as_millisecond() }
    }
}

impl Api {
    /// Once is enough: again it changes nothing, and the first reason stays.
    pub(super) async fn take_out_of_use(
        &self,
        principal: &Principal,
        hdo: &HdoId,
        request: v1::DecommissionDeviceRequest,
    ) -> Result<v1::DecommissionDeviceResponse, Refusal> {
        let v1::DecommissionDeviceRequest { id, reason } = request;
        let id: DeviceId = parse("id", &id)?;
        let reason = sentence("reason", &reason)?.to_owned();
        let (at, by) = (self.app.now(), name(principal)?);
        let mut tx = self.app.store().begin().await?;
        tx.device(hdo, &id).await?.ok_or_else(|| unknown(hdo, &id))?;
        let done = Decommission { reason, by, at };
        if tx.decommission(hdo, &id, &done).await? {
            // Before the record, as where a lease is given back.
            tx.drop_lease(hdo, &id).await?;
            tx.lock(Lock::AuditChain).await?;
            // Whoever speaks in its name is heard no more.
            tx.revoke_certificates(&Principal::Device(hdo.clone(), id.clone()), at).await?;
            let detail = json!({ "reason": done.reason });
            audit::append(&mut tx, at, principal, hdo.into(), "device.decommissioned", id.as_str(), detail).await?;
            tx.commit().await?;
        }
        Ok(v1::DecommissionDeviceResponse {})
    }
}
