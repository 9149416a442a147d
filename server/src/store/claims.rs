//! Work that one server of all does at a time.

use jiff::Timestamp;

use suture_core::limits::MAX_CLAIM;

use super::{StoreError, Tx, on, to_ms};

impl Tx {
    /// Takes a job, or says again that it is the holder's, until then, at most [`MAX_CLAIM`] from now. False where another server
    /// has it.
    ///
    /// Accident: a server that starts by a clock of years ahead, is set right, and restarted: its claim would keep every server from the
    /// job until then.
    pub(crate) async fn claim(
        &mut self,
        job: &str,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = on!(self, |c| {
            sqlx::query(
                "INSERT INTO claim (job, holder, until_ms) VALUES ($1, $2, $3) ON CONFLICT (job) DO UPDATE \
                 SET holder = excluded.holder, until_ms = excluded.until_ms \
                 WHERE claim.holder = excluded.holder OR claim.until_ms <= $4 OR claim.until_ms > $5",
            )
            .bind(job)
            .bind(holder)
            .bind(to_ms(until))
            .bind(to_ms(now))
            .bind(to_ms(now.saturating_add(MAX_CLAIM).unwrap_or(Timestamp::MAX)))
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        Ok(done == 1)
    }

    /// Gives a job back, if it is the holder's.
    pub(crate) async fn release(&mut self, job: &str, holder: &str) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM claim WHERE job = $1 AND holder = $2")
                .bind(job)
                .bind(holder)
                .execute(c)
                .await
                .map(drop)
        })
    }
}
