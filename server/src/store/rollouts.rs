//! Rollouts, and what each installs; their waves and devices are in modules of their own.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use suture_core::approval::Step;
use suture_core::digest::Digest;
use suture_core::id::{ApprovalId, DeviceId, HdoId, ProductId};
use suture_core::phase::{Code, Reason};
use suture_core::rollout::{State, WaveSet};
use suture_core::version::{Release, Version};

use super::{Driver, Store, StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64};

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
    /// How long a device that has begun may say nothing.
    pub(crate) attempt_timeout_secs: u32,
    /// How often a device tries each step.
    pub(crate) max_attempts: u32,
    /// The plan that was approved.
    pub(crate) plan_sha256: Digest,
    pub(crate) ticket: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}

/// A device's place in a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) rollout: Rollout,
    /// Its wave.
    pub(crate) wave: u32,
    /// When its last slot ends.
    pub(crate) slots_end: Timestamp,
    /// Whether it is not offered the rollout's bundles again.
    pub(crate) barred: bool,
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
    attempt_timeout_secs: i64,
    max_attempts: i64,
    plan_sha256: Vec<u8>,
    ticket: String,
    created_ms: i64,
    expires_ms: i64,
}

const TABLE: &str = "rollout";

pub(super) fn small(table: &'static str, column: &'static str, value: i64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::Row { table, column, problem: value.to_string() })
}

pub(super) fn reason(code: Option<String>, text: Option<String>) -> Option<Reason> {
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
            attempt_timeout_secs: small(TABLE, "attempt_timeout_secs", self.attempt_timeout_secs)?,
            max_attempts: small(TABLE, "max_attempts", self.max_attempts)?,
            plan_sha256: digest(TABLE, "plan_sha256", &self.plan_sha256)?,
            ticket: self.ticket,
            created: from_ms(TABLE, "created_ms", self.created_ms)?,
            expires: from_ms(TABLE, "expires_ms", self.expires_ms)?,
        })
    }
}

macro_rules! rollout_columns {
    ($rest:literal) => {
        concat!(
            "SELECT hdo, id, state, reason_code, reason_text, product, version, release, manifest_sha256, ",
            "approval_sha256, wave, waves, unsigned_waves, attempt_timeout_secs, max_attempts, plan_sha256, ticket, created_ms, expires_ms FROM rollout ",
            $rest
        )
    };
}

/// Steps of rollouts of which the catalog says that nobody may install them any more.
macro_rules! withdrawn {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM rollout_step s JOIN bundle b ON b.product = s.product AND b.release = s.release ",
            "AND (b.status IN ('withdrawn', 'unlisted') OR b.manifest_sha256 <> s.manifest_sha256)"
        )
    };
}

pub(super) fn named((hdo, id): (String, String)) -> Result<(HdoId, ApprovalId), StoreError> {
    Ok((parsed(TABLE, "hdo", &hdo)?, parsed(TABLE, "id", &id)?))
}

impl Rollout {
    /// How long a device that has begun may say nothing.
    pub(crate) fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.attempt_timeout_secs))
    }

    /// Whether a device may yet begin by it: it goes on, or is complete, and a lift opens it again where another has not taken its
    /// place.
    pub(crate) fn may_go_on(&self) -> bool {
        let replaced = || self.reason.as_ref().is_some_and(|r| r.code == Code::Superseded);
        !self.state.is_over() || (self.state == State::Complete && !replaced())
    }
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

    /// A hospital's rollouts, newest first, from behind `after` on; those that are over only where `all` is set.
    pub(crate) async fn rollouts(
        &mut self,
        hdo: &HdoId,
        all: bool,
        after: Option<&(Timestamp, ApprovalId)>,
        limit: u32,
    ) -> Result<Vec<Rollout>, StoreError> {
        let (created, id) = after.map_or((i64::MAX, ""), |(created, id)| (to_ms(*created), id.as_str()));
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(rollout_columns!(
                "WHERE hdo = $1 AND ($2 OR state IN ('running', 'paused')) \
                 AND (created_ms < $3 OR (created_ms = $3 AND id > $4)) ORDER BY created_ms DESC, id LIMIT $5"
            ))
            .bind(hdo.as_str())
            .bind(all)
            .bind(created)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The rollouts that name a device and are not over, with the device's place in each; newest first.
    pub(crate) async fn rollouts_of(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Vec<Place>, StoreError> {
        #[derive(sqlx::FromRow)]
        struct Joined {
            #[sqlx(flatten)]
            rollout: Row,
            device_wave: i64,
            barred: bool,
            slots_end_ms: i64,
        }
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Joined>(
                "SELECT r.hdo, r.id, r.state, r.reason_code, r.reason_text, r.product, r.version, r.release, \
                 r.manifest_sha256, r.approval_sha256, r.wave, r.waves, r.unsigned_waves, r.attempt_timeout_secs, \
                 r.max_attempts, r.plan_sha256, r.ticket, r.created_ms, r.expires_ms, d.wave AS device_wave, d.barred, \
                 d.slots_end_ms \
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
        let place = |row: Joined| {
            let wave = small("rollout_device", "wave", row.device_wave)?;
            let slots_end = from_ms("rollout_device", "slots_end_ms", row.slots_end_ms)?;
            Ok(Place { rollout: row.rollout.read()?, wave, slots_end, barred: row.barred })
        };
        rows.into_iter().map(place).collect()
    }

    /// Adds a rollout's row.
    pub(crate) async fn put_rollout(&mut self, r: &Rollout, now: Timestamp) -> Result<(), StoreError> {
        let release = to_i64("a release", r.release.0)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO rollout (hdo, id, state, product, version, release, manifest_sha256, approval_sha256, \
                 wave, waves, wave_opened_ms, attempt_timeout_secs, ticket, created_ms, expires_ms, unsigned_waves, \
                 max_attempts, plan_sha256) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
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
            .bind(i64::from(r.attempt_timeout_secs))
            .bind(r.ticket.as_str())
            .bind(to_ms(r.created))
            .bind(to_ms(r.expires))
            .bind(i64::from(r.unsigned.bits()))
            .bind(i64::from(r.max_attempts))
            .bind(r.plan_sha256.as_bytes().as_slice())
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Adds what a rollout installs, in order.
    pub(crate) async fn put_steps(&mut self, r: &Rollout, steps: &[Step]) -> Result<(), StoreError> {
        for (number, step) in (0_i64..).zip(steps) {
            let release = to_i64("a release", step.release.0)?;
            on!(self, |c| {
                sqlx::query(
                    "INSERT INTO rollout_step (hdo, rollout, step, product, release, manifest_sha256) \
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(r.hdo.as_str())
                .bind(r.id.as_str())
                .bind(number)
                .bind(step.product.as_str())
                .bind(release)
                .bind(step.sha256.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        Ok(())
    }

    /// Whether the catalog has withdrawn a bundle that a rollout installs, or lists it no more, or another in its place. One
    /// that it has never listed is no affair of the rollout: devices find nothing under its name.
    pub(crate) async fn is_withdrawn(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<bool, StoreError> {
        let one = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(concat!(withdrawn!("s.step"), " WHERE s.hdo = $1 AND s.rollout = $2 LIMIT 1"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(one.is_some())
    }

    /// The rollouts of all hospitals that are not over and install what [`Tx::is_withdrawn`] says, in order.
    pub(crate) async fn withdrawn_rollouts(&mut self) -> Result<Vec<(HdoId, ApprovalId)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>(concat!(
                withdrawn!("DISTINCT r.hdo, r.id"),
                " JOIN rollout r ON r.hdo = s.hdo AND r.id = s.rollout WHERE r.state IN ('running', 'paused') \
                 ORDER BY r.hdo, r.id"
            ))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(named).collect()
    }

    /// The hospitals that have a rollout which is not over.
    pub(crate) async fn hdos_with_rollouts(&mut self) -> Result<Vec<HdoId>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_scalar::<_, String>("SELECT DISTINCT hdo FROM rollout WHERE state IN ('running', 'paused')")
                .fetch_all(c)
                .await
        })?;
        rows.iter().map(|hdo| parsed(TABLE, "hdo", hdo)).collect()
    }

    /// Those that something may become due for, by time or by report.
    pub(crate) async fn open_rollouts(&mut self) -> Result<BTreeSet<(HdoId, ApprovalId)>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, String)>("SELECT hdo, id FROM rollout WHERE state IN ('running', 'paused')")
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(named).collect()
    }

    /// Moves a rollout to another state, wave or set of unsigned waves.
    pub(crate) async fn update_rollout(&mut self, r: &Rollout, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout SET state = $3, reason_code = $4, reason_text = $5, \
                 wave_opened_ms = CASE WHEN wave = $6 THEN wave_opened_ms ELSE $7 END, wave = $6, \
                 unsigned_waves = $8 \
                 WHERE hdo = $1 AND id = $2",
            )
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(r.state.as_str())
            .bind(r.reason.as_ref().map(|x| x.code.as_str()))
            .bind(r.reason.as_ref().map(|x| x.text.as_str()))
            .bind(i64::from(r.wave))
            .bind(to_ms(now))
            .bind(i64::from(r.unsigned.bits()))
            .execute(c)
            .await
            .map(drop)
        })
    }
}

impl Store {
    /// Lets PostgreSQL look at the rollouts' devices anew, once many were added. Plans that it has kept since there were few of
    /// them, by which it reads all, are made anew then; by itself it looks within a minute. It reads a sample of bounded size.
    pub(crate) async fn look_at_members(&self) -> Result<(), StoreError> {
        match self.driver() {
            Driver::Sqlite(_) => Ok(()),
            Driver::Postgres(pool) => Ok(sqlx::query("ANALYZE rollout_device").execute(pool).await.map(drop)?),
        }
    }
}
