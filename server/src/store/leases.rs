//! Leases: one row for each device that is down, or about to be, with the server's leave.

use jiff::{SignedDuration, Timestamp};
use suture_core::id::{ApprovalId, DeviceId, HdoId, WardId};
use suture_core::lease::Lease;
use suture_core::phase::Code;

use super::{StoreError, Tx, from_ms, on, parsed, to_ms};

const TABLE: &str = "lease";

#[derive(sqlx::FromRow)]
struct Row {
    device: String,
    rollout: String,
    cap: i64,
    silence_secs: i64,
    taken_ms: i64,
    begun_ms: Option<i64>,
    heard_ms: i64,
    returned_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Lease, StoreError> {
        let at = |column, ms| from_ms(TABLE, column, ms);
        let cap = u32::try_from(self.cap);
        let problem = |_| StoreError::Row { table: TABLE, column: "cap", problem: self.cap.to_string() };
        Ok(Lease {
            device: parsed(TABLE, "device", &self.device)?,
            approval: parsed(TABLE, "rollout", &self.rollout)?,
            cap: cap.map_err(problem)?,
            silence: SignedDuration::from_secs(self.silence_secs),
            taken: at("taken_ms", self.taken_ms)?,
            begun: self.begun_ms.map(|ms| at("begun_ms", ms)).transpose()?,
            heard: at("heard_ms", self.heard_ms)?,
            returned: self.returned_ms.map(|ms| at("returned_ms", ms)).transpose()?,
        })
    }
}

macro_rules! lease_columns {
    ($rest:literal) => {
        concat!(
            "SELECT device, rollout, cap, silence_secs, taken_ms, begun_ms, heard_ms, returned_ms FROM lease ",
            $rest
        )
    };
}

impl Tx {
    /// The ward that the hospital's signed roster says a device stands in.
    pub(crate) async fn roster_ward(&mut self, hdo: &HdoId, device: &DeviceId) -> Result<Option<WardId>, StoreError> {
        let ward: Option<String> = on!(self, |c| {
            sqlx::query_scalar("SELECT ward FROM roster_device WHERE hdo = $1 AND device = $2")
                .bind(hdo.as_str())
                .bind(device.as_str())
                .fetch_optional(c)
                .await
        })?;
        ward.map(|ward| parsed("roster_device", "ward", &ward)).transpose()
    }

    /// A device's lease, whether or not it counts yet.
    pub(crate) async fn lease(&mut self, hdo: &HdoId, device: &DeviceId) -> Result<Option<Lease>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(lease_columns!("WHERE hdo = $1 AND device = $2"))
                .bind(hdo.as_str())
                .bind(device.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(Row::read).transpose()
    }

    /// Those of a ward, by whatever rollout: no more than it has devices.
    pub(crate) async fn ward_leases(&mut self, hdo: &HdoId, ward: &WardId) -> Result<Vec<Lease>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(lease_columns!("WHERE hdo = $1 AND ward = $2 ORDER BY device"))
                .bind(hdo.as_str())
                .bind(ward.as_str())
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The devices of a ward that are out of service by their signed reports and by no lease: by which rollout, since when, and
    /// whether until a person has checked it. One that a person has returned since counts no more; `only` asks for one device.
    /// One that waits for a check is told also where it has a lease: it may be switched off meanwhile, and stays down.
    pub(crate) async fn reported_down(
        &mut self,
        hdo: &HdoId,
        ward: &WardId,
        only: Option<&DeviceId>,
    ) -> Result<Vec<(DeviceId, ApprovalId, Timestamp, bool)>, StoreError> {
        let rows: Vec<(String, String, i64, Option<String>)> = on!(self, |c| {
            sqlx::query_as(
                "SELECT d.device, d.rollout, d.changed_ms, d.reason_code FROM roster_device r \
                 JOIN rollout_device d ON d.hdo = r.hdo AND d.device = r.device \
                 WHERE r.hdo = $1 AND r.ward = $2 AND ($3 = '' OR r.device = $3) \
                 AND (d.phase IN ('installing', 'restarting', 'confirming', 'held') OR d.reason_code = 'return-to-service') \
                 AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.hdo = d.hdo AND l.device = d.device \
                 AND l.rollout = d.rollout AND (l.returned_ms >= d.changed_ms \
                 OR (l.returned_ms IS NULL AND (d.reason_code IS NULL OR d.reason_code <> 'return-to-service')))) \
                 ORDER BY d.device, d.changed_ms DESC",
            )
            .bind(hdo.as_str())
            .bind(ward.as_str())
            .bind(only.map_or("", DeviceId::as_str))
            .fetch_all(c)
            .await
        })?;
        let read = |(device, rollout, changed, reason): (String, String, i64, Option<String>)| {
            let at = from_ms("rollout_device", "changed_ms", changed)?;
            let (device, rollout) =
                (parsed("rollout_device", "device", &device)?, parsed("rollout_device", "rollout", &rollout)?);
            Ok((device, rollout, at, reason.as_deref() == Some(Code::ReturnToService.as_str())))
        };
        rows.into_iter().map(read).collect()
    }

    /// Those by a rollout.
    pub(crate) async fn rollout_leases(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Vec<Lease>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(lease_columns!("WHERE hdo = $1 AND rollout = $2 ORDER BY device"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Keeps a device's lease in the place of the one that it had.
    pub(crate) async fn put_lease(&mut self, hdo: &HdoId, ward: &WardId, lease: &Lease) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO lease (hdo, device, ward, rollout, cap, silence_secs, taken_ms, begun_ms, heard_ms, \
                 returned_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (hdo, device) DO UPDATE SET \
                 ward = excluded.ward, rollout = excluded.rollout, cap = excluded.cap, \
                 silence_secs = excluded.silence_secs, taken_ms = excluded.taken_ms, begun_ms = excluded.begun_ms, \
                 heard_ms = excluded.heard_ms, returned_ms = excluded.returned_ms",
            )
            .bind(hdo.as_str())
            .bind(lease.device.as_str())
            .bind(ward.as_str())
            .bind(lease.approval.as_str())
            .bind(i64::from(lease.cap))
            .bind(lease.silence.as_secs())
            .bind(to_ms(lease.taken))
            .bind(lease.begun.map(to_ms))
            .bind(to_ms(lease.heard))
            .bind(lease.returned.map(to_ms))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Ends a device's lease; false where it has none.
    pub(crate) async fn drop_lease(&mut self, hdo: &HdoId, device: &DeviceId) -> Result<bool, StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM lease WHERE hdo = $1 AND device = $2")
                .bind(hdo.as_str())
                .bind(device.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected() > 0)
        })
    }

    /// Notes that a person said that a device is back in service.
    pub(crate) async fn return_lease(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("UPDATE lease SET returned_ms = $3 WHERE hdo = $1 AND device = $2")
                .bind(hdo.as_str())
                .bind(device.as_str())
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })
    }
}
