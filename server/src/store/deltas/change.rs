//! What becomes of deltas.

use jiff::{SignedDuration, Timestamp};
use suture_core::delta::FORMAT;
use suture_core::digest::Digest;

use super::{DeltaState, MadeHead, Pair, RegionObject};
use crate::store::{StoreError, Tx, on, to_i64, to_ms, to_u64};

/// After that long a delta that could not be made, or kept, may be wanted again: the disk may have been full.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(24);

impl Tx {
    /// How many wait because this device asked for them.
    pub(crate) async fn deltas_waiting_for(&mut self, device: &str) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM delta WHERE asked_by = $1 AND state = 'wanted'")
                .bind(device)
                .fetch_one(c)
                .await
        })?;
        to_u64("delta", "count", count)
    }

    /// Wants a delta, for a device or for all. False where it is known already, unless it was dropped, or failed or found no
    /// room a day ago.
    pub(crate) async fn want_delta(
        &mut self,
        pair: &Pair,
        asked_by: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "INSERT INTO delta (old_sha256, new_sha256, state, asked_by, format, tries, length, wanted_ms, changed_ms) \
                 VALUES ($1, $2, 'wanted', $3, $6, 0, 0, $4, $4) ON CONFLICT (old_sha256, new_sha256) DO UPDATE \
                 SET state = 'wanted', asked_by = excluded.asked_by, format = excluded.format, tries = 0, problem = NULL, \
                 wanted_ms = excluded.wanted_ms, changed_ms = excluded.changed_ms \
                 WHERE delta.state = 'dropped' OR (delta.state IN ('failed', 'crowded') AND delta.changed_ms <= $5)",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(asked_by)
            .bind(to_ms(now))
            .bind(to_ms(now).saturating_sub(AGAIN_AFTER.as_secs().saturating_mul(1_000)))
            .bind(i64::from(FORMAT))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        if asked_by.is_none() {
            // One that a device asked for, and that all want now, is not the first to go any more.
            on!(self, |c| {
                sqlx::query("UPDATE delta SET asked_by = NULL WHERE old_sha256 = $1 AND new_sha256 = $2")
                    .bind(pair.old.as_bytes().as_slice())
                    .bind(pair.new.as_bytes().as_slice())
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        Ok(done == 1)
    }

    /// Drops every delta that leads to no listed payload or only to withdrawn ones, or from one that is not listed any more.
    pub(crate) async fn drop_deltas(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'dropped', changed_ms = $1 WHERE state <> 'dropped' AND (NOT EXISTS \
                 (SELECT 1 FROM payload p JOIN bundle b ON b.product = p.product AND b.release = p.release \
                 WHERE p.sha256 = delta.new_sha256 AND b.status IN ('current', 'superseded')) OR (old_sha256 <> $2 AND NOT EXISTS \
                 (SELECT 1 FROM payload p WHERE p.sha256 = delta.old_sha256)))",
            )
            .bind(to_ms(now))
            .bind(Digest::of(b"").as_bytes().as_slice())
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Drops every delta, wanted ones too: none are made any more.
    pub(crate) async fn drop_all_deltas(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("UPDATE delta SET state = 'dropped', changed_ms = $1 WHERE state <> 'dropped'")
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// Takes one of those that are there out of force, since they take more than they may: those that devices asked for
    /// first, and of them the one that was made first.
    pub(crate) async fn crowd_out_delta(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'crowded', problem = 'there was no room for it', head = NULL, head_sha256 = NULL, \
                 chunk_bytes = NULL, changed_ms = $1 WHERE (old_sha256, new_sha256) = (SELECT old_sha256, new_sha256 \
                 FROM delta WHERE state = 'made' ORDER BY asked_by IS NULL, changed_ms, new_sha256, old_sha256 LIMIT 1)",
            )
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Drops this very delta, of which an object is gone. False where it is not in force any more.
    pub(crate) async fn lose_delta(
        &mut self,
        pair: &Pair,
        head_sha256: &Digest,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'dropped', changed_ms = $4 \
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND head_sha256 = $3 AND state = 'made'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(head_sha256.as_bytes().as_slice())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(done == 1)
    }

    /// Forgets deltas of other formats than this program's, with the names of their objects. Those that were prepared are
    /// wanted anew.
    pub(crate) async fn forget_other_formats(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let format = i64::from(FORMAT);
        on!(self, |c| {
            sqlx::query(
                "DELETE FROM delta_region WHERE EXISTS (SELECT 1 FROM delta d WHERE d.format <> $1 \
                 AND d.old_sha256 = delta_region.old_sha256 AND d.new_sha256 = delta_region.new_sha256)",
            )
            .bind(format)
            .execute(c)
            .await
            .map(drop)
        })?;
        on!(self, |c| {
            sqlx::query("DELETE FROM delta WHERE format <> $1 AND (asked_by IS NOT NULL OR state = 'dropped')")
                .bind(format)
                .execute(c)
                .await
                .map(drop)
        })?;
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'wanted', format = $1, tries = 0, problem = NULL, head = NULL, \
                 head_sha256 = NULL, chunk_bytes = NULL, length = 0, wanted_ms = $2, changed_ms = $2 WHERE format <> $1",
            )
            .bind(format)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Counts a try that begins, or takes that back with -1, where it was broken off and is not to blame.
    pub(crate) async fn try_delta(&mut self, pair: &Pair, by: i64, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET tries = tries + $3, changed_ms = $4 \
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted' AND tries + $3 >= 0",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(by)
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Records a region whose object is in place.
    pub(crate) async fn put_delta_region(
        &mut self,
        pair: &Pair,
        ordinal: u64,
        region: &RegionObject,
    ) -> Result<(), StoreError> {
        let (ordinal, length) = (to_i64("a region's place", ordinal)?, to_i64("a region's length", region.length)?);
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO delta_region (old_sha256, new_sha256, ordinal, object, length) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (old_sha256, new_sha256, ordinal) DO UPDATE \
                 SET object = excluded.object, length = excluded.length",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(ordinal)
            .bind(region.object.as_str())
            .bind(length)
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Puts a delta whose regions are recorded in force. Not where it is not wanted any more.
    pub(crate) async fn put_delta(&mut self, pair: &Pair, made: &MadeHead, now: Timestamp) -> Result<(), StoreError> {
        let length = to_i64("a delta's length", made.length)?;
        let regions = to_i64("a delta's regions", made.regions)?;
        let chunk_bytes: Vec<u8> = made.chunk_bytes.iter().flat_map(|bytes| bytes.to_le_bytes()).collect();
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'made', problem = NULL, head = $3, head_sha256 = $4, chunk_bytes = $5, \
                 length = $6, changed_ms = $7, format = $8 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(made.head.as_slice())
            .bind(Digest::of(&made.head).as_bytes().as_slice())
            .bind(chunk_bytes.as_slice())
            .bind(length)
            .bind(to_ms(now))
            .bind(i64::from(FORMAT))
            .execute(c)
            .await
            .map(drop)
        })?;
        // What an earlier try, that was broken off, had more.
        on!(self, |c| {
            sqlx::query("DELETE FROM delta_region WHERE old_sha256 = $1 AND new_sha256 = $2 AND ordinal >= $3")
                .bind(pair.old.as_bytes().as_slice())
                .bind(pair.new.as_bytes().as_slice())
                .bind(regions)
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// Records that a wanted delta will not be made, and why.
    pub(crate) async fn end_delta(
        &mut self,
        pair: &Pair,
        state: DeltaState,
        problem: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = $3, problem = $4, changed_ms = $5, format = $6 \
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(state.as_str())
            .bind(problem)
            .bind(to_ms(now))
            .bind(i64::from(FORMAT))
            .execute(c)
            .await
            .map(drop)
        })
    }

    /// Forgets a delta's regions, whose objects are deleted, and the delta too if it was dropped.
    pub(crate) async fn forget_delta(&mut self, pair: &Pair) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM delta_region WHERE old_sha256 = $1 AND new_sha256 = $2")
                .bind(pair.old.as_bytes().as_slice())
                .bind(pair.new.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop)
        })?;
        on!(self, |c| {
            sqlx::query("DELETE FROM delta WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'dropped'")
                .bind(pair.old.as_bytes().as_slice())
                .bind(pair.new.as_bytes().as_slice())
                .execute(c)
                .await
                .map(drop)
        })
    }
}
