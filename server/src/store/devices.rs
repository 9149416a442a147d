//! Devices: a hospital's inventory, and what became of each.

use std::collections::BTreeMap;

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{DeviceId, HardwareId, HdoId, ProductId, WardId};
use suture_core::label::Labels;
use suture_core::report;
use suture_core::sign::{PublicKey, Signature};

use super::{ROWS_PER_INSERT, StoreError, Tx, digest, from_ms, on, parsed, text_list, to_ms, to_u64, with_texts};

/// What the hospital's inventory says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: DeviceId,
    /// Its product.
    pub product: ProductId,
    /// Its hardware revision.
    pub hardware: HardwareId,
    /// Where it stands.
    pub ward: WardId,
    /// The manufacturer's serial number.
    pub serial: String,
    /// Its unique device identification.
    pub udi: String,
    /// What else it says.
    pub labels: Labels,
}

/// Where a device stands on its way into the fleet and out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// In the inventory, never enrolled.
    Imported,
    /// Enrolled; nobody has compared its fingerprint yet.
    Pending,
    /// Confirmed by a person.
    Active,
    /// Refused from now on.
    Revoked,
    /// Out of use for good: refused, and never enrolled again.
    Decommissioned,
}

/// A device as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What the inventory says.
    pub record: Record,
    /// How far it is.
    pub state: DeviceState,
    /// What the device and the person at it see at enrolment: SHA-256 over both of its public keys.
    pub fingerprint: Option<Digest>,
    /// The key that its reports are signed with.
    pub report_key: Option<PublicKey>,
    /// When it enrolled.
    pub enrolled: Option<Timestamp>,
    /// When it last checked in.
    pub last_seen: Option<Timestamp>,
    /// Its last check-in, an encoded `CheckInRequest`; believed, not proven.
    pub said: Option<Vec<u8>>,
    /// Its last signed report.
    pub proven: Option<report::Signed>,
    /// Every report up to this number is stored.
    pub reports_through: u64,
}

/// What a device enrols with.
#[derive(Debug, Clone, Copy)]
pub struct Enrolment<'a> {
    /// See [`Device::fingerprint`].
    pub fingerprint: &'a Digest,
    /// See [`Device::report_key`].
    pub report_key: &'a PublicKey,
    /// When.
    pub now: Timestamp,
}

/// Which devices are asked for; none means any.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceFilter<'a> {
    /// Of this ward.
    pub ward: Option<&'a WardId>,
    /// Of this product.
    pub product: Option<&'a ProductId>,
    /// In this state.
    pub state: Option<DeviceState>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// New rows.
    pub added: u32,
    /// Rows that said otherwise.
    pub changed: u32,
    /// Rows that said the same.
    pub unchanged: u32,
}

impl DeviceState {
    /// Its name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Decommissioned => "decommissioned",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Imported, Self::Pending, Self::Active, Self::Revoked, Self::Decommissioned]
            .into_iter()
            .find(|s| s.as_str() == name)
    }

    pub(super) fn read(name: &str) -> Result<Self, StoreError> {
        let problem = || format!("{name:?}, which is no state of a device");
        Self::from_name(name).ok_or_else(|| StoreError::Row { table: "device", column: "state", problem: problem() })
    }
}

/// The columns of [`Row`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, product, hardware_id, ward, serial, udi, labels, state, fingerprint, report_key, enrolled_ms, \
             last_seen_ms, said, proven_payload, proven_signature, reports_through FROM device ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    record: RecordRow,
    state: String,
    fingerprint: Option<Vec<u8>>,
    report_key: Option<Vec<u8>>,
    enrolled_ms: Option<i64>,
    last_seen_ms: Option<i64>,
    said: Option<Vec<u8>>,
    proven_payload: Option<Vec<u8>>,
    proven_signature: Option<Vec<u8>>,
    reports_through: i64,
}

/// What an inventory says of a device.
#[derive(sqlx::FromRow)]
struct RecordRow {
    id: String,
    product: String,
    hardware_id: String,
    ward: String,
    serial: String,
    udi: String,
    labels: String,
}

impl RecordRow {
    fn read(self) -> Result<Record, StoreError> {
        Ok(Record {
            id: parsed("device", "id", &self.id)?,
            product: parsed("device", "product", &self.product)?,
            hardware: parsed("device", "hardware_id", &self.hardware_id)?,
            ward: parsed("device", "ward", &self.ward)?,
            serial: self.serial,
            udi: self.udi,
            labels: parsed("device", "labels", &self.labels)?,
        })
    }
}

impl Row {
    fn read(self) -> Result<Device, StoreError> {
        let bad = |column, problem: String| StoreError::Row { table: "device", column, problem };
        let proven = match (self.proven_payload, self.proven_signature) {
            (Some(payload), Some(signature)) => {
                let signature =
                    Signature::try_from(signature.as_slice()).map_err(|e| bad("proven_signature", e.to_string()))?;
                Some(report::Signed { payload, signature })
            }
            (None, None) => None,
            _ => return Err(bad("proven_signature", "there without its payload, or missing beside it".to_owned())),
        };
        let report_key = self.report_key.map(|bytes| PublicKey::from_bytes(&bytes)).transpose();
        Ok(Device {
            record: self.record.read()?,
            state: DeviceState::read(&self.state)?,
            fingerprint: self.fingerprint.map(|bytes| digest("device", "fingerprint", &bytes)).transpose()?,
            report_key: report_key.map_err(|e| bad("report_key", e.to_string()))?,
            enrolled: self.enrolled_ms.map(|ms| from_ms("device", "enrolled_ms", ms)).transpose()?,
            last_seen: self.last_seen_ms.map(|ms| from_ms("device", "last_seen_ms", ms)).transpose()?,
            said: self.said,
            proven,
            reports_through: to_u64("device", "reports_through", self.reports_through)?,
        })
    }
}

impl Tx {
    /// Takes an inventory in: adds what is new, changes what says otherwise, deletes nothing. Of two records of one device the
    /// later counts.
    pub async fn import_devices(
        &mut self,
        hdo: &HdoId,
        records: &[Record],
        now: Timestamp,
    ) -> Result<Imported, StoreError> {
        let mut done = Imported::default();
        let latest: BTreeMap<&DeviceId, &Record> = records.iter().map(|record| (&record.id, record)).collect();
        let latest: Vec<&Record> = latest.into_values().collect();
        for part in latest.chunks(ROWS_PER_INSERT) {
            let known = self.records(hdo, part).await?;
            let mut news = Vec::with_capacity(part.len());
            for record in part {
                match known.get(&record.id) {
                    Some(known) if known == *record => done.unchanged += 1,
                    Some(_) => {
                        done.changed += 1;
                        news.push(*record);
                    }
                    None => {
                        done.added += 1;
                        news.push(*record);
                    }
                }
            }
            if !news.is_empty() {
                self.put_records(hdo, &news, now).await?;
            }
        }
        Ok(done)
    }

    /// What is known of the devices of these records.
    async fn records(&mut self, hdo: &HdoId, of: &[&Record]) -> Result<BTreeMap<DeviceId, Record>, StoreError> {
        let ids: Vec<String> = of.iter().map(|record| record.id.to_string()).collect();
        let text = with_texts!(
            self,
            "SELECT id, product, hardware_id, ward, serial, udi, labels FROM device WHERE hdo = $2 AND id IN (",
            ")"
        );
        let rows = on!(self, |c| sqlx::query_as::<_, RecordRow>(text)
            .bind(text_list(&ids))
            .bind(hdo.as_str())
            .fetch_all(c)
            .await)?;
        rows.into_iter().map(|row| row.read().map(|record| (record.id.clone(), record))).collect()
    }

    async fn put_records(&mut self, hdo: &HdoId, records: &[&Record], now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            let mut insert = sqlx::QueryBuilder::new(
                "INSERT INTO device \
                 (hdo, id, product, hardware_id, ward, serial, udi, labels, state, imported_ms, reports_through) ",
            );
            insert.push_values(records, |mut row, record| {
                row.push_bind(hdo.as_str()).push_bind(record.id.as_str()).push_bind(record.product.as_str());
                row.push_bind(record.hardware.as_str()).push_bind(record.ward.as_str());
                row.push_bind(record.serial.as_str())
                    .push_bind(record.udi.as_str())
                    .push_bind(record.labels.to_string());
                row.push("'imported'").push_bind(to_ms(now)).push("0");
            });
            insert.push(
                " ON CONFLICT (hdo, id) DO UPDATE SET product = excluded.product, \
                 hardware_id = excluded.hardware_id, ward = excluded.ward, serial = excluded.serial, udi = excluded.udi, \
                 labels = excluded.labels",
            );
            insert.build().execute(c).await.map(drop)
        })
    }

    /// How many devices a hospital has, in every state.
    pub(crate) async fn device_count(&mut self, hdo: &HdoId) -> Result<u64, StoreError> {
        let count = on!(self, |c| sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM device WHERE hdo = $1")
            .bind(hdo.as_str())
            .fetch_one(c)
            .await)?;
        to_u64("device", "COUNT(*)", count)
    }

    /// One device.
    pub async fn device(&mut self, hdo: &HdoId, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let row = on!(self, |c| sqlx::query_as::<_, Row>(select!("WHERE hdo = $1 AND id = $2"))
            .bind(hdo.as_str())
            .bind(id.as_str())
            .fetch_optional(c)
            .await)?;
        row.map(Row::read).transpose()
    }

    /// At most `limit` devices of a hospital behind `after`, by id.
    pub async fn devices(
        &mut self,
        hdo: &HdoId,
        filter: DeviceFilter<'_>,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Device>, StoreError> {
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(select!(
            "WHERE hdo = $1 AND id > $2 AND ($3 = '' OR ward = $3) AND ($4 = '' OR product = $4)
            AND ($5 = '' OR state = $5) ORDER BY id LIMIT $6"
        ))
        .bind(hdo.as_str())
        .bind(after.map_or("", DeviceId::as_str))
        .bind(filter.ward.map_or("", WardId::as_str))
        .bind(filter.product.map_or("", ProductId::as_str))
        .bind(filter.state.map_or("", DeviceState::as_str))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Enrols a device, which is pending from then on and counts its reports from 1; false where there is none of that
    /// id, or an active one: a live id cannot enrol again, and one out of use never.
    pub async fn enroll_device(
        &mut self,
        hdo: &HdoId,
        id: &DeviceId,
        enrolment: Enrolment<'_>,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| sqlx::query(
            "UPDATE device SET state = 'pending', fingerprint = $3, report_key = $4, enrolled_ms = $5,
                confirmed_ms = NULL, revoked_ms = NULL, last_seen_ms = NULL, said = NULL, proven_payload = NULL,
                proven_signature = NULL, proven_manifest = NULL, said_manifest = NULL, runs_manifest = NULL,
                reports_through = 0
            WHERE hdo = $1 AND id = $2 AND state NOT IN ('active', 'decommissioned')"
        )
        .bind(hdo.as_str())
        .bind(id.as_str())
        .bind(enrolment.fingerprint.as_bytes().as_slice())
        .bind(enrolment.report_key.as_bytes().as_slice())
        .bind(to_ms(enrolment.now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Makes a pending device active; false where it is not pending, or not with that fingerprint.
    pub async fn confirm_device(
        &mut self,
        hdo: &HdoId,
        id: &DeviceId,
        fingerprint: &Digest,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| sqlx::query(
            "UPDATE device SET state = 'active', confirmed_ms = $4
            WHERE hdo = $1 AND id = $2 AND state = 'pending' AND fingerprint = $3"
        )
        .bind(hdo.as_str())
        .bind(id.as_str())
        .bind(fingerprint.as_bytes().as_slice())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Revokes a device; false where there is none, or it is revoked already.
    pub async fn revoke_device(&mut self, hdo: &HdoId, id: &DeviceId, now: Timestamp) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
            "UPDATE device SET state = 'revoked', revoked_ms = $3 WHERE hdo = $1 AND id = $2 AND state NOT IN ('revoked', 'decommissioned')"
        )
        .bind(hdo.as_str())
        .bind(id.as_str())
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(|done| done.rows_affected())
        })?;
        Ok(done == 1)
    }

    /// Whether a device is active, which it stays until this transaction ends.
    pub(crate) async fn holds_active(&mut self, hdo: &HdoId, id: &DeviceId) -> Result<bool, StoreError> {
        let held = on!(self, |c| {
            // By this its row is locked on both databases, and whoever revokes it waits.
            sqlx::query("UPDATE device SET state = state WHERE hdo = $1 AND id = $2 AND state = 'active'")
                .bind(hdo.as_str())
                .bind(id.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        Ok(held == 1)
    }

    /// Keeps what a device said at a check-in. `manifest` is what runs by it.
    pub async fn keep_check_in(
        &mut self,
        hdo: &HdoId,
        id: &DeviceId,
        said: &[u8],
        manifest: Option<&Digest>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query(
            "UPDATE device SET said = $3, said_manifest = $4, runs_manifest = COALESCE(proven_manifest, $4), \
             last_seen_ms = $5 WHERE hdo = $1 AND id = $2"
        )
        .bind(hdo.as_str())
        .bind(id.as_str())
        .bind(said)
        .bind(manifest.map(|m| m.as_bytes().as_slice()))
        .bind(to_ms(now))
        .execute(c)
        .await
        .map(drop))
    }
}
