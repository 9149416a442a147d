//! Rollouts and their devices.

use jiff::Timestamp;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId, ProductId};
use suture_core::phase::{Code, Phase, Reason};
use suture_core::rollout::{State, WaveSet};
use suture_core::version::{Release, Version};

use super::{ROWS_PER_INSERT, Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A rollout's row.
#[derive(Debug, Clone)]
pub(crate) struct Rollout {
    pub(crate) hdo: HdoId,
    pub(crate) id: ApprovalId,
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) product: ProductId,
    pub(crate) version: Version,
    pub(crate) release: Release,
    pub(crate) manifest_sha256: Digest,
    pub(crate) approval_sha256: Digest,
    /// The last wave that has opened, counted from 0.
    pub(crate) wave: u32,
    pub(crate) waves: u32,
    /// The waves that wait for the hospital's signature.
    pub(crate) unsigned: WaveSet,
    /// Failures that a person accepted by resuming.
    pub(crate) forgiven: u32,
    pub(crate) ticket: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}

/// A device's place in a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) device: DeviceId,
    pub(crate) wave: u32,
    pub(crate) phase: Phase,
    pub(crate) reason: Option<Reason>,
    pub(crate) changed: Timestamp,
    pub(crate) fetched_bytes: u64,
    pub(crate) total_bytes: u64,
    /// How they came, as the device said it.
    pub(crate) transfer: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    hdo: String,
    id: String,
    state: String,
    reason_code: Option<String>,
    reason_text: Option<String>,
    product: String,
    version: String,
    release: i64,
    manifest_sha256: Vec<u8>,
    approval_sha256: Vec<u8>,
    wave: i64,
    waves: i64,
    unsigned_waves: i64,
    forgiven: i64,
    ticket: String,
    created_ms: i64,
    expires_ms: i64,
}

const TABLE: &str = "rollout";

fn small(table: &'static str, column: &'static str, value: i64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::Row { table, column, problem: value.to_string() })
}

fn reason(code: Option<String>, text: Option<String>) -> Option<Reason> {
    code.map(|code| Reason::new(Code::from_name(&code), text.unwrap_or_default()))
}

impl Row {
    fn read(self) -> Result<Rollout, StoreError> {
        let state = State::from_name(&self.state);
        Ok(Rollout {
            hdo: parsed(TABLE, "hdo", &self.hdo)?,
            id: parsed(TABLE, "id", &self.id)?,
            state: state.ok_or(StoreError::Row { table: TABLE, column: "state", problem: self.state })?,
            reason: reason(self.reason_code, self.reason_text),
            product: parsed(TABLE, "product", &self.product)?,
            version: parsed(TABLE, "version", &self.version)?,
            release: Release(to_u64(TABLE, "release", self.release)?),
            manifest_sha256: digest(TABLE, "manifest_sha256", &self.manifest_sha256)?,
            approval_sha256: digest(TABLE, "approval_sha256", &self.approval_sha256)?,
            wave: small(TABLE, "wave", self.wave)?,
            waves: small(TABLE, "waves", self.waves)?,
            unsigned: WaveSet::from_bits(small(TABLE, "unsigned_waves", self.unsigned_waves)?),
            forgiven: small(TABLE, "forgiven", self.forgiven)?,
            ticket: self.ticket,
            created: from_ms(TABLE, "created_ms", self.created_ms)?,
            expires: from_ms(TABLE, "expires_ms", self.expires_ms)?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct MemberRow {
    device: String,
    wave: i64,
    phase: String,
    reason_code: Option<String>,
    reason_text: Option<String>,
    changed_ms: i64,
    fetched_bytes: i64,
    total_bytes: i64,
    transfer: Option<Vec<u8>>,
}

impl MemberRow {
    fn read(self) -> Result<Member, StoreError> {
        const TABLE: &str = "rollout_device";
        let phase = Phase::from_name(&self.phase);
        Ok(Member {
            device: parsed(TABLE, "device", &self.device)?,
            wave: small(TABLE, "wave", self.wave)?,
            phase: phase.ok_or(StoreError::Row { table: TABLE, column: "phase", problem: self.phase })?,
            reason: reason(self.reason_code, self.reason_text),
            changed: from_ms(TABLE, "changed_ms", self.changed_ms)?,
            fetched_bytes: to_u64(TABLE, "fetched_bytes", self.fetched_bytes)?,
            total_bytes: to_u64(TABLE, "total_bytes", self.total_bytes)?,
            transfer: self.transfer,
        })
    }
}

macro_rules! rollout_columns {
    ($rest:literal) => {
        concat!(
            "SELECT hdo, id, state, reason_code, reason_text, product, version, release, manifest_sha256, ",
            "approval_sha256, wave, waves, unsigned_waves, forgiven, ticket, created_ms, expires_ms FROM rollout ",
            $rest
        )
    };
}

macro_rules! member_columns {
    ($rest:literal) => {
        concat!(
            "SELECT device, wave, phase, reason_code, reason_text, changed_ms, fetched_bytes, total_bytes, transfer ",
            "FROM rollout_device ",
            $rest
        )
    };
}

impl Tx {
    /// A rollout of a hospital.
    pub(crate) async fn rollout(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Option<Rollout>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(rollout_columns!("WHERE hdo = $1 AND id = $2"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(Row::read).transpose()
    }

    /// A hospital's rollouts, newest first; those that are over only where `all` is set.
    pub(crate) async fn rollouts(&mut self, hdo: &HdoId, all: bool) -> Result<Vec<Rollout>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(rollout_columns!(
                "WHERE hdo = $1 AND ($2 OR state IN ('running', 'paused')) ORDER BY created_ms DESC, id LIMIT 1000"
            ))
            .bind(hdo.as_str())
            .bind(all)
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A rollout's devices, by id.
    pub(crate) async fn members(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Vec<Member>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MemberRow>(member_columns!("WHERE hdo = $1 AND rollout = $2 ORDER BY device"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(MemberRow::read).collect()
    }

    /// Whether a rollout names a device.
    pub(crate) async fn names(&mut self, hdo: &HdoId, id: &ApprovalId, device: &DeviceId) -> Result<bool, StoreError> {
        let found: Option<i64> = on!(self, |c| {
            sqlx::query_scalar("SELECT wave FROM rollout_device WHERE hdo = $1 AND rollout = $2 AND device = $3")
                .bind(hdo.as_str())
                .bind(id.as_str())
                .bind(device.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(found.is_some())
    }

    /// A page of a rollout's devices, by id.
    pub(crate) async fn members_after(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MemberRow>(member_columns!(
                "WHERE hdo = $1 AND rollout = $2 AND device > $3 ORDER BY device LIMIT $4"
            ))
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(after.map_or("", DeviceId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(MemberRow::read).collect()
    }

    /// The rollouts that name a device and are not over, with the device's place in each; newest first.
    pub(crate) async fn rollouts_of(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Vec<(Rollout, u32)>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Joined {
            #[sqlx(flatten)]
            rollout: Row,
            device_wave: i64,
        }
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Joined>(
                "SELECT r.hdo, r.id, r.state, r.reason_code, r.reason_text, r.product, r.version, r.release, \
                 r.manifest_sha256, r.approval_sha256, r.wave, r.waves, r.unsigned_waves, r.forgiven, r.ticket, \
                 r.created_ms, r.expires_ms, d.wave AS device_wave \
                 FROM rollout_device d JOIN rollout r ON r.hdo = d.hdo AND r.id = d.rollout \
                 WHERE d.hdo = $1 AND d.device = $2 AND (r.state IN ('running', 'paused') OR r.expires_ms > $3 \
                 OR d.phase NOT IN ('confirmed', 'fell_back', 'failed', 'stopped', 'withdrawn', \
                 'superseded', 'expired')) \
                 ORDER BY r.created_ms DESC, r.id LIMIT 64",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(to_ms(now))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter()
            .map(|row| Ok((row.rollout.read()?, small("rollout_device", "wave", row.device_wave)?)))
            .collect()
    }

    /// Adds a rollout and its devices, all of them only offered.
    pub(crate) async fn put_rollout(
        &mut self,
        r: &Rollout,
        devices: &[(DeviceId, u32)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let release = to_i64("a release", r.release.0)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO rollout (hdo, id, state, product, version, release, manifest_sha256, approval_sha256, \
                 wave, waves, wave_opened_ms, forgiven, ticket, created_ms, expires_ms, unsigned_waves) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            )
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(r.state.as_str())
            .bind(r.product.as_str())
            .bind(r.version.as_str())
            .bind(release)
            .bind(r.manifest_sha256.as_bytes().as_slice())
            .bind(r.approval_sha256.as_bytes().as_slice())
            .bind(i64::from(r.wave))
            .bind(i64::from(r.waves))
            .bind(to_ms(now))
            .bind(i64::from(r.forgiven))
            .bind(r.ticket.as_str())
            .bind(to_ms(r.created))
            .bind(to_ms(r.expires))
            .bind(i64::from(r.unsigned.bits()))
            .execute(c)
            .await
            .map(drop)
        })?;
        for rows in devices.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO rollout_device \
                     (hdo, rollout, device, wave, phase, changed_ms, fetched_bytes, total_bytes) ",
                );
                insert.push_values(rows, |mut row, (device, wave)| {
                    row.push_bind(r.hdo.as_str()).push_bind(r.id.as_str()).push_bind(device.as_str());
                    row.push_bind(i64::from(*wave)).push("'offered'").push_bind(to_ms(now)).push("0").push("0");
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Moves a rollout to another state, wave, set of unsigned waves or count of forgiven failures.
    pub(crate) async fn update_rollout(&mut self, r: &Rollout, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout SET state = $3, reason_code = $4, reason_text = $5, forgiven = $6, \
                 wave_opened_ms = CASE WHEN wave = $7 THEN wave_opened_ms ELSE $8 END, wave = $7, \
                 unsigned_waves = $9 \
                 WHERE hdo = $1 AND id = $2",
            )
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(r.state.as_str())
            .bind(r.reason.as_ref().map(|x| x.code.as_str()))
            .bind(r.reason.as_ref().map(|x| x.text.as_str()))
            .bind(i64::from(r.forgiven))
            .bind(i64::from(r.wave))
            .bind(to_ms(now))
            .bind(i64::from(r.unsigned.bits()))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }

    /// Records how far a device got by signed report. False where the rollout does not name it.
    pub(crate) async fn update_member(
        &mut self,
        hdo: &HdoId,
        rollout: &ApprovalId,
        device: &DeviceId,
        phase: Phase,
        reason: Option<&Reason>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET phase = $4, reason_code = $5, reason_text = $6, changed_ms = $7 \
                 WHERE hdo = $1 AND rollout = $2 AND device = $3",
            )
            .bind(hdo.as_str())
            .bind(rollout.as_str())
            .bind(device.as_str())
            .bind(phase.as_str())
            .bind(reason.map(|x| x.code.as_str()))
            .bind(reason.map(|x| x.text.as_str()))
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected() > 0)
        })
    }

    /// Notes the bytes that a device says it has fetched, of how many, and how they came; no gate reads them.
    pub(crate) async fn update_fetched(
        &mut self,
        hdo: &HdoId,
        rollout: &ApprovalId,
        device: &DeviceId,
        (fetched, total): (u64, u64),
        transfer: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let (fetched, total) = (to_i64("fetched bytes", fetched)?, to_i64("total bytes", total)?);
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET fetched_bytes = $4, total_bytes = $5, transfer = $6 \
                 WHERE hdo = $1 AND rollout = $2 AND device = $3",
            )
            .bind(hdo.as_str())
            .bind(rollout.as_str())
            .bind(device.as_str())
            .bind(fetched)
            .bind(total)
            .bind(transfer)
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }
}

impl Store {
    /// Rollouts that something may become due for, by time or by report.
    pub(crate) async fn open_rollouts(&self) -> Result<Vec<(HdoId, ApprovalId)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>("SELECT hdo, id FROM rollout WHERE state IN ('running', 'paused')")
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(|(hdo, id)| Ok((parsed(TABLE, "hdo", &hdo)?, parsed(TABLE, "id", &id)?))).collect()
    }
}
