//! A rollout's waves: what was signed of each, and a running tally of its devices.
//!
//! A tally is written in the transaction that moves a device, so that what a step reads are at most 32 rows, however many
//! devices there are.

use suture_core::approval::Wave;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::rollout::{Stage, Tally};

use super::rollouts::{Rollout, small};
use super::{StoreError, Tx, from_ms, on, to_ms};

const TABLE: &str = "rollout_wave";

#[derive(sqlx::FromRow)]
struct Row {
    needs_server: bool,
    needs_signature: bool,
    min_confirmed_percent: i64,
    max_failures: i64,
    max_failed_percent: i64,
    soak_secs: i64,
    devices: i64,
    begun: i64,
    confirmed: i64,
    failed: i64,
    retrying: i64,
    timed_out: i64,
    missed: i64,
    ended: i64,
    forgiven: i64,
    again: i64,
    last_confirmed_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<Stage, StoreError> {
        let number = |column, value| small(TABLE, column, value);
        Ok(Stage {
            gate: Wave {
                needs_server: self.needs_server,
                needs_signature: self.needs_signature,
                min_confirmed_percent: number("min_confirmed_percent", self.min_confirmed_percent)?,
                max_failures: number("max_failures", self.max_failures)?,
                max_failed_percent: number("max_failed_percent", self.max_failed_percent)?,
                soak_secs: number("soak_secs", self.soak_secs)?,
            },
            tally: Tally {
                devices: number("devices", self.devices)?,
                begun: number("begun", self.begun)?,
                confirmed: number("confirmed", self.confirmed)?,
                failed: number("failed", self.failed)?,
                retrying: number("retrying", self.retrying)?,
                timed_out: number("timed_out", self.timed_out)?,
                missed: number("missed", self.missed)?,
                ended: number("ended", self.ended)?,
                forgiven: number("forgiven", self.forgiven)?,
                again: number("again", self.again)?,
                last_confirmed: self.last_confirmed_ms.map(|ms| from_ms(TABLE, "last_confirmed_ms", ms)).transpose()?,
            },
        })
    }
}

impl Tx {
    /// A rollout's waves, in order.
    pub(crate) async fn stages(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Vec<Stage>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT needs_server, needs_signature, min_confirmed_percent, max_failures, max_failed_percent, \
                 soak_secs, devices, begun, confirmed, failed, retrying, timed_out, missed, ended, forgiven, again, \
                 last_confirmed_ms FROM rollout_wave WHERE hdo = $1 AND rollout = $2 ORDER BY wave",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Adds a rollout's waves.
    pub(crate) async fn put_stages(&mut self, r: &Rollout, stages: &[Stage]) -> Result<(), StoreError> {
        for (number, Stage { gate, tally }) in (0_i64..).zip(stages) {
            on!(self, |c| {
                sqlx::query(
                    "INSERT INTO rollout_wave (hdo, rollout, wave, needs_server, needs_signature, \
                     min_confirmed_percent, max_failures, max_failed_percent, soak_secs, devices, begun, confirmed, \
                     failed, retrying, timed_out, missed, ended, forgiven, again) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
                )
                .bind(r.hdo.as_str())
                .bind(r.id.as_str())
                .bind(number)
                .bind(gate.needs_server)
                .bind(gate.needs_signature)
                .bind(i64::from(gate.min_confirmed_percent))
                .bind(i64::from(gate.max_failures))
                .bind(i64::from(gate.max_failed_percent))
                .bind(i64::from(gate.soak_secs))
                .execute(c)
                .await
                .map(drop)
            })?;
            self.put_tally(&r.hdo, &r.id, number, tally).await?;
        }
        Ok(())
    }

    /// Writes a wave's tally.
    async fn put_tally(&mut self, hdo: &HdoId, id: &ApprovalId, wave: i64, t: &Tally) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_wave SET devices = $4, begun = $5, confirmed = $6, failed = $7, timed_out = $8, \
                 missed = $9, ended = $10, forgiven = $11, last_confirmed_ms = $12, retrying = $13, again = $14 \
                 WHERE hdo = $1 AND rollout = $2 AND wave = $3",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(wave)
            .bind(i64::from(t.devices))
            .bind(i64::from(t.begun))
            .bind(i64::from(t.confirmed))
            .bind(i64::from(t.failed))
            .bind(i64::from(t.timed_out))
            .bind(i64::from(t.missed))
            .bind(i64::from(t.ended))
            .bind(i64::from(t.forgiven))
            .bind(t.last_confirmed.map(to_ms))
            .bind(i64::from(t.retrying))
            .bind(i64::from(t.again))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Writes those of a rollout's tallies that are not as they were read.
    pub(crate) async fn put_tallies(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        before: &[Stage],
        after: &[Stage],
    ) -> Result<(), StoreError> {
        for (number, (before, after)) in (0_i64..).zip(before.iter().zip(after)) {
            if before.tally != after.tally {
                self.put_tally(hdo, id, number, &after.tally).await?;
            }
        }
        Ok(())
    }
}
