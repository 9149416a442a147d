//! What the signers of an approval have stated, as they signed it.

use jiff::Timestamp;
use suture_core::approval::VerifiedStatement;
use suture_core::id::{ApprovalId, HdoId};
use suture_core::limits::MAX_SIGNATURES;

use super::{Store, StoreError, Tx, on, to_i64, to_ms};

impl Tx {
    /// Keeps a statement on an approval whose rollout is there.
    pub(crate) async fn put_statement(
        &mut self,
        hdo: &HdoId,
        statement: &VerifiedStatement,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("INSERT INTO statement (hdo, approval, key, content, stored_ms) VALUES ($1, $2, $3, $4, $5)")
                .bind(hdo.as_str())
                .bind(statement.approval.as_str())
                .bind(statement.key.as_bytes().as_slice())
                .bind(statement.bytes())
                .bind(to_ms(now))
                .execute(c)
                .await
                .map(drop)
        })
    }
}

impl Store {
    /// The statements on an approval, by their keys.
    pub(crate) async fn statements(&self, hdo: &HdoId, approval: &ApprovalId) -> Result<Vec<Vec<u8>>, StoreError> {
        let limit = to_i64("a limit", MAX_SIGNATURES as u64)?;
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>(
                "SELECT content FROM statement WHERE hdo = $1 AND approval = $2 ORDER BY key LIMIT $3",
            )
            .bind(hdo.as_str())
            .bind(approval.as_str())
            .bind(limit)
            .fetch_all(c)
            .await
        })
    }
}
