//! Deltas: which are wanted, which are made, and where their parts lie.

use jiff::{SignedDuration, Timestamp};
use suture_core::digest::Digest;
use suture_core::id::ProductId;

use super::{Store, StoreError, Tx, digest, on, to_i64, to_ms, to_u64};

/// After that long a delta that could not be made may be wanted again: the disk may have been full.
const FAILED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// From what to what: SHA-256 of both payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pair {
    pub(crate) old: Digest,
    pub(crate) new: Digest,
}

/// What became of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeltaState {
    /// It waits to be made, or is being made.
    Wanted,
    /// It is there.
    Made,
    /// It was no smaller than the chunks.
    Useless,
    /// It could not be made.
    Failed,
    /// Its release is gone; its objects are yet to be deleted.
    Dropped,
}

impl DeltaState {
    const ALL: [Self; 5] = [Self::Wanted, Self::Made, Self::Useless, Self::Failed, Self::Dropped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Made => "made",
            Self::Useless => "useless",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// A delta's row without its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) pair: Pair,
    pub(crate) state: DeltaState,
    /// Tries that were begun.
    pub(crate) tries: u64,
    /// Bytes behind the head.
    pub(crate) length: u64,
}

/// A made delta's head as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MadeHead {
    pub(crate) head: Vec<u8>,
    /// For each frame, what its chunks have in stored form.
    pub(crate) chunk_bytes: Vec<u32>,
    /// Bytes behind the head.
    pub(crate) length: u64,
    /// How many regions there are.
    pub(crate) regions: u64,
}

/// Where a region lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegionObject {
    /// A blob's name.
    pub(crate) object: String,
    pub(crate) length: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    old_sha256: Vec<u8>,
    new_sha256: Vec<u8>,
    state: String,
    tries: i64,
    length: i64,
}

impl Row {
    fn read(self) -> Result<Delta, StoreError> {
        let state = DeltaState::ALL.into_iter().find(|s| s.as_str() == self.state);
        Ok(Delta {
            pair: Pair {
                old: digest("delta", "old_sha256", &self.old_sha256)?,
                new: digest("delta", "new_sha256", &self.new_sha256)?,
            },
            state: state.ok_or(StoreError::Row { table: "delta", column: "state", problem: self.state })?,
            tries: to_u64("delta", "tries", self.tries)?,
            length: to_u64("delta", "length", self.length)?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT old_sha256, new_sha256, state, tries, length FROM delta ", $rest)
    };
}

impl Store {
    /// All deltas that lead to a payload.
    pub(crate) async fn deltas_to(&self, new: &Digest) -> Result<Vec<Delta>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!("WHERE new_sha256 = $1 ORDER BY old_sha256"))
                .bind(new.as_bytes().as_slice())
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// How many wait to be made.
    pub(crate) async fn deltas_wanted(&self) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM delta WHERE state = 'wanted'").fetch_one(c).await
        })?;
        to_u64("delta", "count", count)
    }

    /// What those that are there take, in bytes.
    pub(crate) async fn deltas_length(&self) -> Result<u64, StoreError> {
        let sum = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM delta WHERE state = 'made'",
            )
            .fetch_one(c)
            .await
        })?;
        to_u64("delta", "length", sum)
    }

    /// How many of a product's are kept, or wait, because devices asked for them.
    pub(crate) async fn deltas_asked(&self, product: &ProductId) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM delta WHERE asked AND state IN ('wanted', 'made') \
                 AND new_sha256 IN (SELECT sha256 FROM payload WHERE product = $1)",
            )
            .bind(product.as_str())
            .fetch_one(c)
            .await
        })?;
        to_u64("delta", "count", count)
    }

    /// The next one to be made: what failed once comes behind the others, and not before `retry`.
    pub(crate) async fn next_delta(&self, retry: Timestamp) -> Result<Option<Delta>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!(
                "WHERE state = 'wanted' AND (tries = 0 OR changed_ms <= $1) \
                 ORDER BY tries, asked DESC, wanted_ms, new_sha256, old_sha256 LIMIT 1"
            ))
            .bind(to_ms(retry))
            .fetch_optional(c)
            .await
        })?;
        row.map(Row::read).transpose()
    }

    /// Some whose objects are to be deleted.
    pub(crate) async fn dropped_deltas(&self) -> Result<Vec<Delta>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!("WHERE state = 'dropped' ORDER BY new_sha256, old_sha256 LIMIT 100"))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The head of a delta that is there.
    pub(crate) async fn delta_head(&self, pair: &Pair) -> Result<Option<(Vec<u8>, Vec<u32>)>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(
                "SELECT head, chunk_bytes FROM delta WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'made'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .fetch_optional(c)
            .await
        })?;
        Ok(row.map(|(head, bytes)| (head, bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())))
    }

    /// Whether this very delta is there.
    pub(crate) async fn is_made(&self, pair: &Pair, head_sha256: &Digest) -> Result<bool, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM delta \
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND head_sha256 = $3 AND state = 'made'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(head_sha256.as_bytes().as_slice())
            .fetch_one(c)
            .await
        })?;
        Ok(count == 1)
    }

    /// Where a delta's regions lie, in order.
    pub(crate) async fn delta_regions(&self, pair: &Pair) -> Result<Vec<RegionObject>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, i64)>(
                "SELECT object, length FROM delta_region WHERE old_sha256 = $1 AND new_sha256 = $2 ORDER BY ordinal",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .fetch_all(c)
            .await
        })?;
        let read = |(object, length)| Ok(RegionObject { object, length: to_u64("delta_region", "length", length)? });
        rows.into_iter().map(read).collect()
    }

    /// The objects of all regions.
    pub(crate) async fn delta_objects(&self) -> Result<Vec<String>, StoreError> {
        on!(self, |c| sqlx::query_scalar::<_, String>("SELECT object FROM delta_region").fetch_all(c).await)
    }
}

impl Tx {
    /// Wants a delta. False where it is known already, unless it was dropped, or failed a day ago.
    pub(crate) async fn want_delta(&mut self, pair: &Pair, asked: bool, now: Timestamp) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "INSERT INTO delta (old_sha256, new_sha256, state, asked, tries, length, wanted_ms, changed_ms) \
                 VALUES ($1, $2, 'wanted', $3, 0, 0, $4, $4) ON CONFLICT (old_sha256, new_sha256) DO UPDATE \
                 SET state = 'wanted', asked = excluded.asked, tries = 0, problem = NULL, \
                 wanted_ms = excluded.wanted_ms, changed_ms = excluded.changed_ms \
                 WHERE delta.state = 'dropped' OR (delta.state = 'failed' AND delta.changed_ms <= $5)",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(asked)
            .bind(to_ms(now))
            .bind(to_ms(now).saturating_sub(FAILED_FOR.as_secs().saturating_mul(1_000)))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
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

    /// Drops the one that was made first of those that are there, or those.
    pub(crate) async fn drop_oldest_delta(&mut self, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "UPDATE delta SET state = 'dropped', changed_ms = $1 WHERE state = 'made' \
                 AND changed_ms = (SELECT MIN(changed_ms) FROM delta WHERE state = 'made')",
            )
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
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted'",
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
                 length = $6, changed_ms = $7 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(made.head.as_slice())
            .bind(Digest::of(&made.head).as_bytes().as_slice())
            .bind(chunk_bytes.as_slice())
            .bind(length)
            .bind(to_ms(now))
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
                "UPDATE delta SET state = $3, problem = $4, changed_ms = $5 \
                 WHERE old_sha256 = $1 AND new_sha256 = $2 AND state = 'wanted'",
            )
            .bind(pair.old.as_bytes().as_slice())
            .bind(pair.new.as_bytes().as_slice())
            .bind(state.as_str())
            .bind(problem)
            .bind(to_ms(now))
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
