//! The audit record's rows. Only `crate::audit` appends.

use jiff::{SignedDuration, Timestamp};
use suture_core::audit::{Concern, Head, Place};
use suture_core::digest::Digest;

use super::{StoreError, Tx, digest, from_ms, on, parsed, to_i64, to_ms, to_u64, with_numbers};

/// One entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Whom it concerns.
    pub concerns: Concern,
    /// The bytes that were recorded; none where they are kept no longer.
    pub payload: Option<Vec<u8>>,
    /// Their digest.
    pub payload_sha256: Digest,
    /// The root of the tree that ends with it.
    pub root: Digest,
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    at_ms: i64,
    concerns: String,
    payload: Option<Vec<u8>>,
    payload_sha256: Vec<u8>,
    root: Vec<u8>,
}

impl Row {
    fn read(self) -> Result<AuditRow, StoreError> {
        Ok(AuditRow {
            seq: to_u64("audit", "seq", self.seq)?,
            at: from_ms("audit", "at_ms", self.at_ms)?,
            concerns: parsed("audit", "concerns", &self.concerns)?,
            payload: self.payload,
            payload_sha256: digest("audit", "payload_sha256", &self.payload_sha256)?,
            root: digest("audit", "root", &self.root)?,
        })
    }
}

impl Tx {
    /// The tree's head. True until the transaction ends only under `Lock::AuditChain`.
    pub async fn audit_head(&mut self) -> Result<Head, StoreError> {
        let row: Option<(i64, Vec<u8>)> =
            on!(self, |c| sqlx::query_as("SELECT seq, root FROM audit ORDER BY seq DESC LIMIT 1")
                .fetch_optional(c)
                .await)?;
        let Some((seq, root)) = row else { return Ok(Head::empty()) };
        Ok(Head { size: to_u64("audit", "seq", seq)?, root: digest("audit", "root", &root)? })
    }

    /// Appends an entry; a place that is taken is a conflict.
    pub async fn insert_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let seq = to_i64("audit entry", row.seq)?;
        on!(self, |c| sqlx::query(
            "INSERT INTO audit (seq, at_ms, concerns, payload, payload_sha256, root) VALUES ($1, $2, $3, $4, $5, $6)"
        )
        .bind(seq)
        .bind(to_ms(row.at))
        .bind(row.concerns.to_string())
        .bind(row.payload.as_deref())
        .bind(row.payload_sha256.as_bytes().as_slice())
        .bind(row.root.as_bytes().as_slice())
        .execute(c)
        .await
        .map(drop))
    }

    /// Keeps a subtree that is full.
    pub async fn insert_audit_node(&mut self, place: &Place, sha256: &Digest) -> Result<(), StoreError> {
        let number = to_i64("audit node", place.number())?;
        on!(self, |c| sqlx::query("INSERT INTO audit_node (number, sha256) VALUES ($1, $2)")
            .bind(number)
            .bind(sha256.as_bytes().as_slice())
            .execute(c)
            .await
            .map(drop))
    }

    /// The hashes of subtrees, in the order in which they are asked for; one that is not there is damage.
    pub async fn audit_nodes(&mut self, places: &[Place]) -> Result<Vec<Digest>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let text = with_numbers!(self, "SELECT number, sha256 FROM audit_node WHERE number IN (", ")");
        let numbers: Vec<u64> = places.iter().map(Place::number).collect();
        let list = serde_json::Value::from(numbers.as_slice()).to_string();
        let rows: Vec<(i64, Vec<u8>)> = on!(self, |c| sqlx::query_as(text).bind(&list).fetch_all(c).await)?;
        let mut found = std::collections::HashMap::with_capacity(rows.len());
        for (number, sha256) in rows {
            found.insert(to_u64("audit_node", "number", number)?, digest("audit_node", "sha256", &sha256)?);
        }
        let missing = |number| StoreError::Row {
            table: "audit_node",
            column: "number",
            problem: format!("{number} is not there, and an entry stands above it"),
        };
        numbers.into_iter().map(|number| found.get(&number).copied().ok_or_else(|| missing(number))).collect()
    }

    /// At most `limit` entries behind `after`, in order.
    pub async fn audit_after(&mut self, after: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let after = to_i64("audit entry", after)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
            "SELECT seq, at_ms, concerns, payload, payload_sha256, root FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Counts that so much more was written by somebody on a day, which is a number of days: entries, or what else is bounded by
    /// the day. How much there is with it.
    pub(crate) async fn count_written(&mut self, writer: &str, day: i64, more: u64) -> Result<u64, StoreError> {
        let more = to_i64("what was written", more)?;
        let entries: i64 = on!(self, |c| {
            sqlx::query_scalar(
            "INSERT INTO audit_writer (writer, day, entries) VALUES ($1, $2, $3) ON CONFLICT (writer) DO UPDATE SET \
             entries = CASE WHEN audit_writer.day = excluded.day THEN audit_writer.entries + excluded.entries \
             ELSE excluded.entries END, day = excluded.day RETURNING entries"
        )
        .bind(writer)
        .bind(day)
        .bind(more)
        .fetch_one(c)
        .await
        })?;
        to_u64("audit_writer", "entries", entries)
    }

    /// How long the clock of the day is doubted yet.
    pub(crate) async fn clock_doubt(&mut self) -> Result<SignedDuration, StoreError> {
        let secs = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT secs FROM clock_doubt WHERE one = 1").fetch_one(c).await
        })?;
        Ok(SignedDuration::from_secs(secs))
    }

    /// Keeps that, unless another server has come to doubt it more since `before` was read.
    pub(crate) async fn set_clock_doubt(
        &mut self,
        before: SignedDuration,
        doubt: SignedDuration,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("UPDATE clock_doubt SET secs = $1 WHERE one = 1 AND (secs = $2 OR secs < $1)")
                .bind(doubt.as_secs())
                .bind(before.as_secs())
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// The first and the last entry that were written before `before` and whose text is still there.
    pub async fn audit_kept_before(&mut self, before: Timestamp) -> Result<Option<(u64, u64)>, StoreError> {
        let row: (Option<i64>, Option<i64>) = on!(self, |c| sqlx::query_as(
            "SELECT MIN(seq), MAX(seq) FROM audit WHERE payload IS NOT NULL AND at_ms < $1"
        )
        .bind(to_ms(before))
        .fetch_one(c)
        .await)?;
        let (Some(first), Some(last)) = row else { return Ok(None) };
        Ok(Some((to_u64("audit", "seq", first)?, to_u64("audit", "seq", last)?)))
    }

    /// On how many days (UTC) of that time entries were written that have their texts.
    pub(crate) async fn audit_days(&mut self, from: Timestamp, to: Timestamp) -> Result<u64, StoreError> {
        let days: i64 = on!(self, |c| {
            sqlx::query_scalar(
            "SELECT COUNT(DISTINCT at_ms / 86400000) FROM audit WHERE payload IS NOT NULL AND at_ms >= $1 AND at_ms <= $2"
        )
        .bind(to_ms(from))
        .bind(to_ms(to))
        .fetch_one(c)
        .await
        })?;
        to_u64("audit", "at_ms", days)
    }

    /// Deletes the text of entries that were written before `before`, from `first` to `last`. Gives how many there were.
    pub async fn prune_audit(&mut self, (first, last): (u64, u64), before: Timestamp) -> Result<u64, StoreError> {
        let (first, last) = (to_i64("audit entry", first)?, to_i64("audit entry", last)?);
        on!(self, |c| sqlx::query(
            "UPDATE audit SET payload = NULL WHERE seq >= $1 AND seq <= $2 AND at_ms < $3 AND payload IS NOT NULL"
        )
        .bind(first)
        .bind(last)
        .bind(to_ms(before))
        .execute(c)
        .await
        .map(|done| done.rows_affected()))
    }
}
