//! A rollout's devices: how far each got, what it counts as, and when time alone makes it count as something else.
//!
//! `standing`, `forgiven` and `turns_ms` are what [`suture_core::rollout::Progress`] says of the row, written with it. Time
//! passes without anybody's writing: [`Tx::turn_members`] brings those in line for whom it has.
//!
//! What looks for the few devices in question of a rollout names it by a text of its own, `hdo || '/' || rollout` and the like,
//! with which one index begins and no other. By the two columns PostgreSQL, which knows nothing of a rollout that began a moment
//! ago, takes any index that begins with them, and reads all of the rollout.
//!
//! `touched_ms` is when anything of the row was last written, by the clock of whichever server wrote it, so that who watches
//! reads what has changed and not all.

use jiff::Timestamp;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::phase::{Phase, Reason};
use suture_core::rollout::{Progress, Standing};

use super::rollouts::{Rollout, named, reason, small};
use super::{ROWS_PER_INSERT, StoreError, Tx, from_ms, on, parsed, to_i64, to_ms, to_u64};

/// A device's place in a rollout.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) device: DeviceId,
    pub(crate) progress: Progress,
    /// What it is counted as in its wave's tally.
    pub(crate) standing: Standing,
    /// Why it goes no further, as it said itself.
    pub(crate) reason: Option<Reason>,
    /// Tries that have failed of the step that it is at.
    pub(crate) tries: u32,
    pub(crate) fetched_bytes: u64,
    pub(crate) total_bytes: u64,
    /// How they came, as the device said it.
    pub(crate) transfer: Option<Vec<u8>>,
}

/// Devices of a wave that counted as one thing, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) wave: u32,
    pub(crate) standing: Standing,
    pub(crate) forgiven: bool,
    pub(crate) count: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    device: String,
    wave: i64,
    phase: String,
    reason_code: Option<String>,
    reason_text: Option<String>,
    changed_ms: i64,
    slots_end_ms: i64,
    standing: String,
    forgiven: bool,
    tries: i64,
    barred: bool,
    fetched_bytes: i64,
    total_bytes: i64,
    transfer: Option<Vec<u8>>,
}

const TABLE: &str = "rollout_device";

fn standing(name: String) -> Result<Standing, StoreError> {
    Standing::from_name(&name).ok_or(StoreError::Row { table: TABLE, column: "standing", problem: name })
}

impl Row {
    fn read(self) -> Result<Member, StoreError> {
        let phase = Phase::from_name(&self.phase);
        Ok(Member {
            device: parsed(TABLE, "device", &self.device)?,
            progress: Progress {
                wave: small(TABLE, "wave", self.wave)?,
                phase: phase.ok_or(StoreError::Row { table: TABLE, column: "phase", problem: self.phase })?,
                since: from_ms(TABLE, "changed_ms", self.changed_ms)?,
                slots_end: from_ms(TABLE, "slots_end_ms", self.slots_end_ms)?,
                barred: self.barred,
                forgiven: self.forgiven,
            },
            standing: standing(self.standing)?,
            reason: reason(self.reason_code, self.reason_text),
            tries: small(TABLE, "tries", self.tries)?,
            fetched_bytes: to_u64(TABLE, "fetched_bytes", self.fetched_bytes)?,
            total_bytes: to_u64(TABLE, "total_bytes", self.total_bytes)?,
            transfer: self.transfer,
        })
    }
}

#[derive(sqlx::FromRow)]
struct MovedRow {
    wave: i64,
    standing: String,
    forgiven: bool,
    count: i64,
}

impl MovedRow {
    fn read(self) -> Result<Moved, StoreError> {
        Ok(Moved {
            wave: small(TABLE, "wave", self.wave)?,
            standing: standing(self.standing)?,
            forgiven: self.forgiven,
            count: small(TABLE, "count", self.count)?,
        })
    }
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT device, wave, phase, reason_code, reason_text, changed_ms, slots_end_ms, standing, forgiven, ",
            "tries, barred, fetched_bytes, total_bytes, transfer FROM rollout_device WHERE ",
            $rest
        )
    };
}

/// Devices that are counted as they were and then changed: one condition for both.
macro_rules! whom {
    // Bounded from both sides, it is a small part of the rollout to a planner that plans for any values.
    (turned) => {
        "hdo || '/' || rollout = $1 AND turns_ms >= $2 AND turns_ms <= $3"
    };
    (forgiven) => {
        "hdo = $1 AND rollout = $2 AND NOT forgiven AND (standing IN ('failed', 'retrying', 'timed_out') \
         OR (standing IN ('missed', 'ended') AND wave <= $3))"
    };
    (reopened) => {
        "hdo = $1 AND rollout = $2 AND (phase = 'stopped' OR ($4 AND phase = 'failed' AND barred AND slots_end_ms > $3))"
    };
    (retrying) => {
        "hdo = $1 AND rollout = $2 AND barred AND phase = 'fell_back' AND standing = 'failed' AND slots_end_ms > $3"
    };
}

/// Counts them, by what they count as in the tally.
macro_rules! counted {
    ($whom:ident) => {
        concat!(
            "SELECT wave, standing, forgiven, COUNT(*) AS count FROM rollout_device WHERE ",
            whom!($whom),
            " GROUP BY wave, standing, forgiven"
        )
    };
}

/// From one rollout of the index of turns to the next, and of each the first turn. With `|| ''` a name is no column's, for which
/// SQLite takes no index on a text of several.
pub(crate) const TURNING: &str = "WITH RECURSIVE turning (name) AS (SELECT CAST('' AS TEXT) UNION ALL \
     SELECT (SELECT d.hdo || '/' || d.rollout FROM rollout_device d WHERE d.hdo || '/' || d.rollout > t.name || '' \
      AND d.turns_ms IS NOT NULL ORDER BY d.hdo || '/' || d.rollout LIMIT 1) FROM turning t WHERE t.name IS NOT NULL) \
     SELECT t.name FROM turning t WHERE t.name IS NOT NULL AND (SELECT d.turns_ms FROM rollout_device d \
      WHERE d.hdo || '/' || d.rollout = t.name || '' AND d.turns_ms IS NOT NULL ORDER BY d.turns_ms LIMIT 1) <= $1";

impl Tx {
    /// A rollout's devices of whose rows something was written at that instant or later, by id.
    pub(crate) async fn members_since(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        since: Timestamp,
    ) -> Result<Vec<Member>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(columns!("rollout || '/' || hdo = $1 AND touched_ms >= $2 ORDER BY device"))
                .bind(format!("{id}/{hdo}"))
                .bind(to_ms(since))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A rollout's devices, by id.
    pub(crate) async fn members(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Vec<Member>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(columns!("hdo = $1 AND rollout = $2 ORDER BY device"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
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
            sqlx::query_as::<_, Row>(columns!("hdo = $1 AND rollout = $2 AND device > $3 ORDER BY device LIMIT $4"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .bind(after.map_or("", DeviceId::as_str))
                .bind(i64::from(limit))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// A rollout's device, if the rollout names it.
    pub(crate) async fn member(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        device: &DeviceId,
    ) -> Result<Option<Member>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(columns!("hdo = $1 AND rollout = $2 AND device = $3"))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .bind(device.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(Row::read).transpose()
    }

    /// Adds a rollout's devices, all of them only offered.
    pub(crate) async fn put_members(
        &mut self,
        r: &Rollout,
        devices: &[(DeviceId, Progress)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for rows in devices.chunks(ROWS_PER_INSERT) {
            on!(self, |c| {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO rollout_device (hdo, rollout, device, wave, phase, changed_ms, slots_end_ms, standing, \
                     forgiven, turns_ms, tries, barred, touched_ms, fetched_bytes, total_bytes) ",
                );
                insert.push_values(rows, |mut row, (device, progress)| {
                    row.push_bind(r.hdo.as_str()).push_bind(r.id.as_str()).push_bind(device.as_str());
                    row.push_bind(i64::from(progress.wave)).push_bind(progress.phase.as_str());
                    row.push_bind(to_ms(progress.since)).push_bind(to_ms(progress.slots_end));
                    row.push_bind(progress.standing(r.timeout(), now).as_str()).push_bind(progress.forgiven);
                    row.push_bind(turns_ms(progress, r, now)).push("0").push("FALSE");
                    row.push_bind(to_ms(now)).push("0").push("0");
                });
                insert.build().execute(c).await.map(drop)
            })?;
        }
        Ok(())
    }

    /// Moves a device to how far it got by a signed report. What it counts as from now on is in the row, whatever `m` says.
    pub(crate) async fn move_member(&mut self, r: &Rollout, m: &Member, now: Timestamp) -> Result<(), StoreError> {
        let (progress, reason) = (&m.progress, m.reason.as_ref());
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET phase = $4, reason_code = $5, reason_text = $6, changed_ms = $7, \
                 standing = $8, forgiven = $9, turns_ms = $10, tries = $11, barred = $12, touched_ms = $13 \
                 WHERE hdo = $1 AND rollout = $2 AND device = $3",
            )
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(m.device.as_str())
            .bind(progress.phase.as_str())
            .bind(reason.map(|x| x.code.as_str()))
            .bind(reason.map(|x| x.text.as_str()))
            .bind(to_ms(progress.since))
            .bind(progress.standing(r.timeout(), now).as_str())
            .bind(progress.forgiven)
            .bind(turns_ms(progress, r, now))
            .bind(i64::from(m.tries))
            .bind(progress.barred)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Lets those whom time alone has made count as something else count as that: who was awaited has missed its slots, who
    /// had begun has timed out, and who might have tried again has failed. Says whom it moved, as they counted before. Once the
    /// rollout is over nobody is awaited, so nobody misses a slot any more.
    pub(crate) async fn turn_members(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        is_over: bool,
        now: Timestamp,
    ) -> Result<Vec<Moved>, StoreError> {
        let Some(first) = self.first_turn(hdo, id).await?.filter(|first| *first <= to_ms(now)) else {
            return Ok(Vec::new());
        };
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MovedRow>(counted!(turned))
                .bind(key(hdo, id))
                .bind(first)
                .bind(to_ms(now))
                .fetch_all(c)
                .await
        })?;
        on!(self, |c| {
            sqlx::query(concat!(
                "UPDATE rollout_device SET standing = CASE standing WHEN 'begun' THEN 'timed_out' WHEN 'retrying' THEN 'failed' \
                 ELSE CASE WHEN $4 THEN standing ELSE 'missed' END END, turns_ms = NULL, touched_ms = $3 WHERE ",
                whom!(turned)
            ))
            .bind(key(hdo, id))
            .bind(first)
            .bind(to_ms(now))
            .bind(is_over)
            .execute(c)
            .await
            .map(drop)
        })?;
        let moved: Vec<_> = rows.into_iter().map(MovedRow::read).collect::<Result<_, _>>()?;
        Ok(moved.into_iter().filter(|m| !is_over || m.standing != Standing::Awaited).collect())
    }

    /// The rollouts of all hospitals, those that are over too, in which time alone has made a device count as something else
    /// since. Reads two entries of the index of turns for each that has devices which time has yet to turn, and no more.
    pub(crate) async fn turning_rollouts(&mut self, now: Timestamp) -> Result<Vec<(HdoId, ApprovalId)>, StoreError> {
        let names = on!(self, |c| { sqlx::query_scalar::<_, String>(TURNING).bind(to_ms(now)).fetch_all(c).await })?;
        let of_key = |name: String| {
            let (hdo, id) = name.split_once('/').unwrap_or((&name, ""));
            named((hdo.to_owned(), id.to_owned()))
        };
        names.into_iter().map(of_key).collect()
    }

    /// Whether time alone has made a device count as something else since.
    pub(crate) async fn has_turned(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.first_turn(hdo, id).await?.is_some_and(|first| first <= to_ms(now)))
    }

    /// When time alone makes the next device count as something else, or has made it that.
    async fn first_turn(&mut self, hdo: &HdoId, id: &ApprovalId) -> Result<Option<i64>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT turns_ms FROM rollout_device WHERE hdo || '/' || rollout = $1 AND turns_ms IS NOT NULL \
                 ORDER BY turns_ms LIMIT 1",
            )
            .bind(key(hdo, id))
            .fetch_optional(c)
            .await
        })
    }

    /// Forgives the devices without which a person lets the rollout go on: all that failed, and of the waves up to the open
    /// one those that missed their slots or were stopped. Says whom, as they counted before.
    pub(crate) async fn forgive_members(&mut self, r: &Rollout, now: Timestamp) -> Result<Vec<Moved>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MovedRow>(counted!(forgiven))
                .bind(r.hdo.as_str())
                .bind(r.id.as_str())
                .bind(i64::from(r.wave))
                .fetch_all(c)
                .await
        })?;
        on!(self, |c| {
            sqlx::query(concat!("UPDATE rollout_device SET forgiven = TRUE, touched_ms = $4 WHERE ", whom!(forgiven)))
                .bind(r.hdo.as_str())
                .bind(r.id.as_str())
                .bind(i64::from(r.wave))
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })?;
        rows.into_iter().map(MovedRow::read).collect()
    }

    /// Puts the devices that an earlier order had stopped back to where they have only heard of the approval; where an order is
    /// lifted also those that had failed for good before they switched, and that have slots left. Says whom, as they counted
    /// before; they are awaited from now on, until [`Tx::turn_members`] finds that their slots are over.
    pub(crate) async fn reopen_members(
        &mut self,
        r: &Rollout,
        lifted: bool,
        now: Timestamp,
    ) -> Result<Vec<Moved>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MovedRow>(counted!(reopened))
                .bind(r.hdo.as_str())
                .bind(r.id.as_str())
                .bind(to_ms(now))
                .bind(lifted)
                .fetch_all(c)
                .await
        })?;
        on!(self, |c| {
            sqlx::query(concat!(
                "UPDATE rollout_device SET phase = 'offered', reason_code = NULL, reason_text = NULL, changed_ms = $3, \
                 standing = 'awaited', forgiven = FALSE, turns_ms = slots_end_ms, touched_ms = $3 WHERE ",
                whom!(reopened)
            ))
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(to_ms(now))
            .bind(lifted)
            .execute(c)
            .await
            .map(drop)
        })?;
        rows.into_iter().map(MovedRow::read).collect()
    }

    /// Lets the devices miss their slots again that are awaited: time had turned nobody into that while the rollout was over.
    pub(crate) async fn await_members(&mut self, r: &Rollout, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET turns_ms = slots_end_ms, touched_ms = $3 WHERE hdo = $1 AND rollout = $2 \
                 AND standing = 'awaited' AND turns_ms IS NULL",
            )
            .bind(r.hdo.as_str())
            .bind(r.id.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Lets every device of a rollout try again that was offered it no more. Says which of those that had fallen back are waited
    /// for by that, as they counted before: from now on they may try again.
    pub(crate) async fn let_try_again(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        now: Timestamp,
    ) -> Result<Vec<Moved>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, MovedRow>(counted!(retrying))
                .bind(hdo.as_str())
                .bind(id.as_str())
                .bind(to_ms(now))
                .fetch_all(c)
                .await
        })?;
        on!(self, |c| {
            sqlx::query(concat!(
                "UPDATE rollout_device SET standing = 'retrying', turns_ms = slots_end_ms WHERE ",
                whom!(retrying)
            ))
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET tries = 0, barred = FALSE, touched_ms = $3 WHERE hdo = $1 AND rollout = $2 \
                 AND (barred OR tries > 0)",
            )
            .bind(hdo.as_str())
            .bind(id.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        rows.into_iter().map(MovedRow::read).collect()
    }

    /// When the last of a wave's devices that are confirmed was confirmed.
    pub(crate) async fn last_confirmed(
        &mut self,
        hdo: &HdoId,
        id: &ApprovalId,
        wave: u32,
    ) -> Result<Option<Timestamp>, StoreError> {
        let last = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT changed_ms FROM rollout_device WHERE hdo || '/' || rollout || '/' || CAST(wave AS TEXT) = $1 \
                 AND standing = 'confirmed' ORDER BY changed_ms DESC LIMIT 1",
            )
            .bind(format!("{}/{wave}", key(hdo, id)))
            .fetch_optional(c)
            .await
        })?;
        last.map(|ms| from_ms(TABLE, "changed_ms", ms)).transpose()
    }

    /// Notes the bytes that a device says it has fetched, of how many, and how they came; no gate reads them.
    pub(crate) async fn update_fetched(
        &mut self,
        hdo: &HdoId,
        rollout: &ApprovalId,
        device: &DeviceId,
        (fetched, total): (u64, u64),
        transfer: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (fetched, total) = (to_i64("fetched bytes", fetched)?, to_i64("total bytes", total)?);
        on!(self, |c| {
            sqlx::query(
                "UPDATE rollout_device SET fetched_bytes = $4, total_bytes = $5, transfer = $6, touched_ms = $7 \
                 WHERE hdo = $1 AND rollout = $2 AND device = $3",
            )
            .bind(hdo.as_str())
            .bind(rollout.as_str())
            .bind(device.as_str())
            .bind(fetched)
            .bind(total)
            .bind(transfer)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })?;
        Ok(())
    }
}

/// A rollout's name in the index of turns. No id has a slash in it.
fn key(hdo: &HdoId, id: &ApprovalId) -> String {
    format!("{hdo}/{id}")
}

/// When time alone makes it count as something else, where it has not done so yet.
fn turns_ms(progress: &Progress, r: &Rollout, now: Timestamp) -> Option<i64> {
    progress.turns(r.timeout()).filter(|at| *at > now).map(to_ms)
}
