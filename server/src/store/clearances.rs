//! What hospitals have signed of devices that were checked after an update: of each device the latest.

use jiff::Timestamp;
use suture_core::approval::VerifiedClearance;
use suture_core::id::{DeviceId, HdoId};

use super::{StoreError, Tx, on, to_ms};

impl Tx {
    /// Keeps one in the place of the one before.
    pub(crate) async fn put_clearance(
        &mut self,
        hdo: &HdoId,
        clearance: &VerifiedClearance,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO clearance (hdo, device, approval, content, stored_ms) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (hdo, device) DO UPDATE SET approval = excluded.approval, content = excluded.content, \
                 stored_ms = excluded.stored_ms",
            )
            .bind(hdo.as_str())
            .bind(clearance.device.as_str())
            .bind(clearance.approval.as_str())
            .bind(clearance.bytes())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// The one for a device that waits, by its reports, for the check that it tells of. Whether it is signed by who is an approver
    /// still, is for [`crate::clearance::awaited`] to say.
    pub(crate) async fn awaited_clearance(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>(
                "SELECT c.content FROM clearance c JOIN rollout_device d \
                 ON d.hdo = c.hdo AND d.rollout = c.approval AND d.device = c.device \
                 WHERE c.hdo = $1 AND c.device = $2 AND d.reason_code = 'return-to-service'",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .fetch_optional(c)
            .await
        })
    }
}
