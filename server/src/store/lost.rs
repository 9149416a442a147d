//! Devices that have said nothing for longer than their hospital allows.

use jiff::{SignedDuration, Timestamp};
use suture_core::id::{DeviceId, HdoId};
use suture_core::limits::LOST_AFTER;

use super::{Store, StoreError, Tx, from_ms, on, parsed, to_ms};

/// A device that has fallen silent, or is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silent {
    /// Its hospital.
    pub(crate) hdo: HdoId,
    /// The device.
    pub(crate) device: DeviceId,
    /// When it was heard last.
    pub(crate) last_seen: Timestamp,
}

fn read(rows: Vec<(String, String, i64)>) -> Result<Vec<Silent>, StoreError> {
    let read = |(hdo, device, ms): (String, String, i64)| {
        Ok(Silent {
            hdo: parsed("device", "hdo", &hdo)?,
            device: parsed("device", "id", &device)?,
            last_seen: from_ms("device", "last_seen_ms", ms)?,
        })
    };
    rows.into_iter().map(read).collect()
}

impl Store {
    /// After what silence a hospital's devices count as lost.
    pub(crate) async fn lost_after(&self, hdo: &HdoId) -> Result<SignedDuration, StoreError> {
        let secs = on!(self, |c| sqlx::query_scalar::<_, i64>("SELECT secs FROM lost_after WHERE hdo = $1")
            .bind(hdo.as_str())
            .fetch_optional(c)
            .await)?;
        Ok(secs.map_or(LOST_AFTER, SignedDuration::from_secs))
    }

    /// Active devices that have fallen silent and do not count as lost yet. One that never checked in is not in use. Of each
    /// hospital one, then of each a second: one whose devices come and go by the hundred keeps no other's alarm back.
    pub(crate) async fn fallen_silent(&self, now: Timestamp, limit: u32) -> Result<Vec<Silent>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String, i64)>(
            "SELECT d.hdo, d.id, d.last_seen_ms FROM device d LEFT JOIN lost_after a ON a.hdo = d.hdo \
             WHERE d.state = 'active' AND d.last_seen_ms < $1 - 1000 * COALESCE(a.secs, $2) \
             AND NOT EXISTS (SELECT 1 FROM device_lost l WHERE l.hdo = d.hdo AND l.device = d.id) \
             ORDER BY ROW_NUMBER() OVER (PARTITION BY d.hdo ORDER BY d.last_seen_ms, d.id), d.last_seen_ms, d.hdo LIMIT $3"
        )
        .bind(to_ms(now))
        .bind(LOST_AFTER.as_secs())
        .bind(i64::from(limit))
        .fetch_all(c)
        .await
        })?;
        read(rows)
    }

    /// Devices that count as lost and have spoken since, or are active no more; by turns of the hospitals, as above.
    pub(crate) async fn found_again(&self, limit: u32) -> Result<Vec<(Silent, bool)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String, i64, bool)>(
            "SELECT d.hdo, d.id, COALESCE(d.last_seen_ms, l.last_seen_ms), d.state = 'active' FROM device_lost l \
             JOIN device d ON d.hdo = l.hdo AND d.id = l.device \
             WHERE d.state <> 'active' OR d.last_seen_ms > l.last_seen_ms \
             ORDER BY ROW_NUMBER() OVER (PARTITION BY d.hdo ORDER BY d.last_seen_ms, d.id), d.last_seen_ms, d.hdo LIMIT $1"
        )
        .bind(i64::from(limit))
        .fetch_all(c)
        .await
        })?;
        let active: Vec<bool> = rows.iter().map(|row| row.3).collect();
        let silent = read(rows.into_iter().map(|(hdo, device, ms, _)| (hdo, device, ms)).collect())?;
        Ok(silent.into_iter().zip(active).collect())
    }

    /// A hospital's lost devices behind one of them, by id.
    pub(crate) async fn lost_devices(&self, hdo: &HdoId, after: &str, limit: u32) -> Result<Vec<Silent>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String, i64)>(
            "SELECT l.hdo, l.device, l.last_seen_ms FROM device_lost l JOIN device d ON d.hdo = l.hdo AND d.id = l.device \
             WHERE l.hdo = $1 AND l.device > $2 AND d.state = 'active' AND d.last_seen_ms <= l.last_seen_ms \
             ORDER BY l.device LIMIT $3"
        )
        .bind(hdo.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await
        })?;
        read(rows)
    }
}

impl Tx {
    /// Sets after what silence a hospital's devices count as lost.
    pub(crate) async fn set_lost_after(&mut self, hdo: &HdoId, after: SignedDuration) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "INSERT INTO lost_after (hdo, secs) VALUES ($1, $2) ON CONFLICT (hdo) DO UPDATE SET secs = excluded.secs"
        )
        .bind(hdo.as_str())
        .bind(after.as_secs())
        .execute(c)
        .await
        .map(drop))
    }

    /// Counts a device as lost; false where it does already.
    pub(crate) async fn lose(&mut self, silent: &Silent) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
            "INSERT INTO device_lost (hdo, device, last_seen_ms) VALUES ($1, $2, $3) ON CONFLICT (hdo, device) DO NOTHING"
        )
        .bind(silent.hdo.as_str())
        .bind(silent.device.as_str())
        .bind(to_ms(silent.last_seen))
        .execute(c)
        .await
        .map(|done| done.rows_affected())
        })?;
        Ok(done == 1)
    }

    /// Counts it as lost no more; false where it did not.
    pub(crate) async fn find(&mut self, silent: &Silent) -> Result<bool, StoreError> {
        let done = on!(self, |c| sqlx::query("DELETE FROM device_lost WHERE hdo = $1 AND device = $2")
            .bind(silent.hdo.as_str())
            .bind(silent.device.as_str())
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}
