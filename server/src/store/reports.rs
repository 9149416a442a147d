//! Signed reports, and the roster's keys that they count by.

use std::collections::BTreeSet;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId, WardId};
use suture_core::report::Signed;
use suture_core::sign::{PublicKey, Signature};

use super::{ROWS_PER_INSERT, Store, StoreError, Tx, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A report's place in the order of all: by device, the key that it came under, and number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) device: String,
    pub(crate) key: Vec<u8>,
    pub(crate) number: u64,
}

/// A report as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    pub(crate) device: DeviceId,
    pub(crate) received: Timestamp,
    pub(crate) report: Signed,
}

#[derive(sqlx::FromRow)]
struct KeptRow {
    device: String,
    report_key: Vec<u8>,
    number: i64,
    payload: Vec<u8>,
    signature: Vec<u8>,
    received_ms: i64,
}

impl KeptRow {
    fn read(self) -> Result<Kept, StoreError> {
        let Self { device, report_key, number, payload, signature, received_ms } = self;
        Ok(Kept {
            device: parsed("report", "device", &device)?,
            received: from_ms("report", "received_ms", received_ms)?,
            report: Signed { payload, signature: read_signature(&signature)? },
            place: Place { device, key: report_key, number: to_u64("report", "number", number)? },
        })
    }
}

fn read_signature(bytes: &[u8]) -> Result<Signature, StoreError> {
    let problem = || "not 64 bytes".to_owned();
    Signature::try_from(bytes).map_err(|_| StoreError::Row { table: "report", column: "signature", problem: problem() })
}

impl Tx {
    /// Stores a report; false where that number is stored already.
    pub(crate) async fn put_report(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        key: &PublicKey,
        number: u64,
        report: &Signed,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let number = to_i64("a report's number", number)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO report (hdo, device, report_key, number, payload, signature, received_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hdo, device, report_key, number) DO NOTHING",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(key.as_bytes().as_slice())
            .bind(number)
            .bind(report.payload.as_slice())
            .bind(report.signature.0.as_slice())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected() > 0)
        })
    }

    /// Drops all but the latest `most` of a device and a report key. Attack: a device that fills everybody's database.
    pub(crate) async fn drop_old_reports(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        key: &PublicKey,
        most: u64,
    ) -> Result<(), StoreError> {
        let most = to_i64("a bound", most)?;
        on!(self, |c| {
            sqlx::query(
                "DELETE FROM report WHERE hdo = $1 AND device = $2 AND report_key = $3 AND number <= \
                 (SELECT number FROM report WHERE hdo = $1 AND device = $2 AND report_key = $3 \
                 ORDER BY number DESC LIMIT 1 OFFSET $4)",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(key.as_bytes().as_slice())
            .bind(most)
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Moves that number on, and keeps the last report as what is proven of the device. `manifest` is what runs by it, where
    /// the device's reports count.
    pub(crate) async fn set_proven(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        through: u64,
        report: &Signed,
        manifest: Option<&Digest>,
    ) -> Result<(), StoreError> {
        let through = to_i64("a report's number", through)?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE device SET reports_through = $3, proven_payload = $4, proven_signature = $5, \
                 proven_manifest = $6, runs_manifest = COALESCE($6, said_manifest) WHERE hdo = $1 AND id = $2",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(through)
            .bind(report.payload.as_slice())
            .bind(report.signature.0.as_slice())
            .bind(manifest.map(|m| m.as_bytes().as_slice()))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }

    /// The key that a device's reports count by: the one on the hospital's signed roster.
    pub(crate) async fn roster_key(&mut self, hdo: &HdoId, device: &DeviceId) -> Result<Option<PublicKey>, StoreError> {
        let bytes = on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>("SELECT report_key FROM roster_device WHERE hdo = $1 AND device = $2")
                .bind(hdo.as_str())
                .bind(device.as_str())
                .fetch_optional(c)
                .await
        })?;
        let problem = || "no public key".to_owned();
        bytes
            .map(|b| {
                PublicKey::from_bytes(&b).map_err(|_| StoreError::Row {
                    table: "roster_device",
                    column: "report_key",
                    problem: problem(),
                })
            })
            .transpose()
    }

    /// The files of the rosters that the hospital's devices are taken from.
    pub(crate) async fn rosters(&mut self, hdo: &HdoId) -> Result<BTreeSet<String>, StoreError> {
        let names: Vec<String> = on!(self, |c| {
            sqlx::query_scalar("SELECT DISTINCT roster FROM roster_device WHERE hdo = $1")
                .bind(hdo.as_str())
                .fetch_all(c)
                .await
        })?;
        Ok(names.into_iter().collect())
    }

    /// How many devices are on a hospital's rosters.
    pub(crate) async fn rostered(&mut self, hdo: &HdoId) -> Result<u64, StoreError> {
        let count: i64 = on!(self, |c| {
            sqlx::query_scalar("SELECT COUNT(*) FROM roster_device WHERE hdo = $1")
                .bind(hdo.as_str())
                .fetch_one(c)
                .await
        })?;
        to_u64("roster_device", "device", count)
    }

    /// Takes the devices of a roster's file off.
    pub(crate) async fn remove_roster(&mut self, hdo: &HdoId, roster: &str) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM roster_device WHERE hdo = $1 AND roster = $2")
                .bind(hdo.as_str())
                .bind(roster)
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// Puts the devices of a roster's file on. None of them may be on yet.
    pub(crate) async fn add_roster(
        &mut self,
        hdo: &HdoId,
        roster: &str,
        devices: &[(DeviceId, PublicKey, WardId)],
    ) -> Result<(), StoreError> {
        for rows in devices.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert =
                    sqlx::QueryBuilder::new("INSERT INTO roster_device (hdo, device, report_key, ward, roster) ");
                insert.push_values(rows, |mut row, (device, key, ward)| {
                    row.push_bind(hdo.as_str()).push_bind(device.as_str());
                    row.push_bind(key.as_bytes().as_slice()).push_bind(ward.as_str()).push_bind(roster);
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }
}

/// A device's latest reports, newest first.
macro_rules! latest {
    ($on:expr, $hdo:expr, $device:expr, $limit:expr) => {{
        let rows = on!($on, |c| {
            sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(
                "SELECT payload, signature FROM report WHERE hdo = $1 AND device = $2 \
                 ORDER BY received_ms DESC, number DESC LIMIT $3",
            )
            .bind($hdo.as_str())
            .bind($device.as_str())
            .bind(i64::from($limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter()
            .map(|(payload, signature)| Ok(Signed { payload, signature: read_signature(&signature)? }))
            .collect()
    }};
}

impl Tx {
    /// A device's latest reports, newest first.
    pub(crate) async fn device_reports(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        limit: u32,
    ) -> Result<Vec<Signed>, StoreError> {
        latest!(self, hdo, device, limit)
    }
}

impl Store {
    /// The same outside of a transaction.
    pub(crate) async fn latest_reports(
        &self,
        hdo: &HdoId,
        device: &DeviceId,
        limit: u32,
    ) -> Result<Vec<Signed>, StoreError> {
        latest!(self, hdo, device, limit)
    }

    /// A device's reports from behind `after` on.
    pub(crate) async fn reports_of(
        &self,
        hdo: &HdoId,
        device: &DeviceId,
        after: &Place,
        limit: u32,
    ) -> Result<Vec<Kept>, StoreError> {
        let number = to_i64("a report's number", after.number)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, KeptRow>(
                "SELECT device, report_key, number, payload, signature, received_ms FROM report \
                 WHERE hdo = $1 AND device = $2 AND (report_key, number) > ($3, $4) \
                 ORDER BY report_key, number LIMIT $5",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(after.key.as_slice())
            .bind(number)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(KeptRow::read).collect()
    }

    /// All reports that the devices of a rollout have sent since it began, on whatever, from behind `after` on.
    pub(crate) async fn reports_since(
        &self,
        hdo: &HdoId,
        (rollout, begun): (&ApprovalId, Timestamp),
        after: &Place,
        limit: u32,
    ) -> Result<Vec<Kept>, StoreError> {
        let number = to_i64("a report's number", after.number)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, KeptRow>(
                "SELECT r.device, r.report_key, r.number, r.payload, r.signature, r.received_ms FROM rollout_device m \
                 JOIN report r ON r.hdo = m.hdo AND r.device = m.device \
                 WHERE m.hdo = $1 AND m.rollout = $2 AND m.device >= $3 \
                 AND (r.device, r.report_key, r.number) > ($3, $4, $5) AND r.received_ms >= $6 \
                 ORDER BY r.device, r.report_key, r.number LIMIT $7",
            )
            .bind(hdo.as_str())
            .bind(rollout.as_str())
            .bind(after.device.as_str())
            .bind(after.key.as_slice())
            .bind(number)
            .bind(to_ms(begun))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(KeptRow::read).collect()
    }
}
