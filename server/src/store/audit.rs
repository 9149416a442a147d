//! The audit chain's rows. Only `crate::audit` appends.

use suture_core::audit::Concern;
use suture_core::digest::Digest;

use super::{StoreError, Tx, digest, on, parsed, to_i64, to_u64};

/// One entry as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place, from 1.
    pub seq: u64,
    /// Whom it concerns.
    pub concerns: Concern,
    /// The chained bytes.
    pub payload: Vec<u8>,
    /// The chain's head after it.
    pub sha256: Digest,
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    concerns: String,
    payload: Vec<u8>,
    sha256: Vec<u8>,
}

impl Row {
    fn read(self) -> Result<AuditRow, StoreError> {
        Ok(AuditRow {
            seq: to_u64("audit", "seq", self.seq)?,
            concerns: parsed("audit", "concerns", &self.concerns)?,
            payload: self.payload,
            sha256: digest("audit", "sha256", &self.sha256)?,
        })
    }
}

impl Tx {
    /// The latest entry. True until the transaction ends only under `Lock::AuditChain`.
    pub async fn audit_head(&mut self) -> Result<Option<AuditRow>, StoreError> {
        let row = on!(self, |c| sqlx::query_as::<_, Row>(
            "SELECT seq, concerns, payload, sha256 FROM audit ORDER BY seq DESC LIMIT 1"
        )
        .fetch_optional(c)
        .await)?;
        row.map(Row::read).transpose()
    }

    /// Appends an entry; a place that is taken is a conflict.
    pub async fn insert_audit(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        let seq = to_i64("audit entry", row.seq)?;
        on!(self, |c| sqlx::query("INSERT INTO audit (seq, concerns, payload, sha256) VALUES ($1, $2, $3, $4)")
            .bind(seq)
            .bind(row.concerns.to_string())
            .bind(row.payload.as_slice())
            .bind(row.sha256.as_bytes().as_slice())
            .execute(c)
            .await
            .map(drop))
    }

    /// At most `limit` entries behind `after`, in order.
    pub async fn audit_after(&mut self, after: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let after = to_i64("audit entry", after)?;
        let rows = on!(self, |c| sqlx::query_as::<_, Row>(
            "SELECT seq, concerns, payload, sha256 FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await)?;
        rows.into_iter().map(Row::read).collect()
    }
}
