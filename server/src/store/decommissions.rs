//! Devices that were taken out of use for good.

use jiff::Timestamp;
use suture_core::id::{DeviceId, HdoId, OperatorName};

use super::{StoreError, Tx, from_ms, on, parsed, to_ms};

const TABLE: &str = "decommission";

/// Why, by whom and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decommission {
    pub(crate) reason: String,
    pub(crate) by: OperatorName,
    pub(crate) at: Timestamp,
}

impl Tx {
    /// Takes a device out of use; false where there is none, or it is out of use already.
    pub(crate) async fn decommission(
        &mut self,
        hdo: &HdoId,
        id: &DeviceId,
        Decommission { reason, by, at }: &Decommission,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "UPDATE device SET state = 'decommissioned', revoked_ms = COALESCE(revoked_ms, $3) \
                 WHERE hdo = $1 AND id = $2 AND state <> 'decommissioned'",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(to_ms(*at))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        if done != 1 {
            return Ok(false);
        }
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO decommission (hdo, device, reason, decommissioned_by, decommissioned_ms) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(reason.as_str())
            .bind(by.as_str())
            .bind(to_ms(*at))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(true)
    }

    /// Why a device is out of use, by whom and since when; none where it is not.
    pub(crate) async fn decommissioned(
        &mut self,
        hdo: &HdoId,
        id: &DeviceId,
    ) -> Result<Option<Decommission>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (String, String, i64)>(
                "SELECT reason, decommissioned_by, decommissioned_ms FROM decommission WHERE hdo = $1 AND device = $2",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .fetch_optional(c)
            .await
        })?;
        row.map(|(reason, by, at)| {
            let (by, at) = (parsed(TABLE, "decommissioned_by", &by)?, from_ms(TABLE, "decommissioned_ms", at)?);
            Ok(Decommission { reason, by, at })
        })
        .transpose()
    }
}
