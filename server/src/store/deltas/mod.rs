//! Deltas: which are wanted, which are made, and where their parts lie.

mod change;

use std::collections::HashSet;

use jiff::Timestamp;
use suture_core::delta::FORMAT;
use suture_core::digest::Digest;
use suture_core::id::ProductId;

use super::{Store, StoreError, digest, on, text_list, to_ms, to_u64, with_texts};

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
    /// There was no room for it, as it was made or later; there may be on another day.
    Crowded,
    /// Its release is gone, or none are made any more; its objects are yet to be deleted.
    Dropped,
}

impl DeltaState {
    const ALL: [Self; 6] = [Self::Wanted, Self::Made, Self::Useless, Self::Failed, Self::Crowded, Self::Dropped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Made => "made",
            Self::Useless => "useless",
            Self::Failed => "failed",
            Self::Crowded => "crowded",
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
    /// All deltas of this program's format that lead to a payload.
    pub(crate) async fn deltas_to(&self, new: &Digest) -> Result<Vec<Delta>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!("WHERE new_sha256 = $1 AND format = $2 ORDER BY old_sha256"))
                .bind(new.as_bytes().as_slice())
                .bind(i64::from(FORMAT))
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

    /// How many of a product's are kept, or wait, because devices asked for them, or came to nothing after `since`.
    pub(crate) async fn deltas_asked(&self, product: &ProductId, since: Timestamp) -> Result<u64, StoreError> {
        let count = on!(self, |c| {
            sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM delta WHERE asked_by IS NOT NULL AND (state IN ('wanted', 'made') \
                 OR (state IN ('useless', 'failed', 'crowded') AND changed_ms > $2)) \
                 AND new_sha256 IN (SELECT sha256 FROM payload WHERE product = $1)",
            )
            .bind(product.as_str())
            .bind(to_ms(since))
            .fetch_one(c)
            .await
        })?;
        to_u64("delta", "count", count)
    }

    /// The next one to be made: what failed once comes behind the others, and not before `retry`; what a device asked for
    /// comes behind what a publication wants for many.
    pub(crate) async fn next_delta(&self, retry: Timestamp) -> Result<Option<Delta>, StoreError> {
        let row = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!(
                "WHERE state = 'wanted' AND (tries = 0 OR changed_ms <= $1) \
                 ORDER BY tries, asked_by IS NOT NULL, wanted_ms, new_sha256, old_sha256 LIMIT 1"
            ))
            .bind(to_ms(retry))
            .fetch_optional(c)
            .await
        })?;
        row.map(Row::read).transpose()
    }

    /// Some whose objects are to be deleted: those that were dropped, and those that came to nothing when some regions were
    /// stored already.
    pub(crate) async fn deltas_to_delete(&self) -> Result<Vec<Delta>, StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(select!(
                "WHERE state = 'dropped' OR (state IN ('useless', 'failed', 'crowded') AND EXISTS \
                 (SELECT 1 FROM delta_region r WHERE r.old_sha256 = delta.old_sha256 AND r.new_sha256 = delta.new_sha256)) \
                 ORDER BY new_sha256, old_sha256 LIMIT 100"
            ))
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

    /// Which of these objects are a region's.
    pub(crate) async fn delta_objects(&self, among: &[String]) -> Result<HashSet<String>, StoreError> {
        let sql = with_texts!(self, "SELECT object FROM delta_region WHERE object IN (", ")");
        let list = text_list(among);
        let named = on!(self, |c| sqlx::query_scalar::<_, String>(sql).bind(list.as_str()).fetch_all(c).await)?;
        Ok(named.into_iter().collect())
    }
}
