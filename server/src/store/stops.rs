//! Stop orders and lifts, of each approval the newest.

use jiff::Timestamp;
use suture_core::approval::VerifiedStop;
use suture_core::id::{ApprovalId, DeviceId, HdoId};
use suture_core::limits::{MAX_KEPT_STOPS, MAX_STOPS_PER_ANSWER};
use suture_core::trust::{Root, Verified};

use super::{StoreError, Tx, on, to_i64, to_ms, to_u64};

impl Tx {
    /// Keeps an order in the place of an older one for the same approval. False where it is no news: the higher counter
    /// counts, and of two equal ones the stop, as [`VerifiedStop::is_news_after`] has it.
    pub(crate) async fn put_stop(
        &mut self,
        hdo: &HdoId,
        stop: &VerifiedStop,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let counter = to_i64("a stop order's counter", stop.counter)?;
        on!(self, |c| {
            sqlx::query(
                "INSERT INTO stop_order (hdo, approval, counter, stopped, content, stored_ms, counts) \
                 VALUES ($1, $2, $3, $4, $5, $6, TRUE) \
                 ON CONFLICT (hdo, approval) DO UPDATE SET counter = excluded.counter, stopped = excluded.stopped, \
                 content = excluded.content, stored_ms = excluded.stored_ms, counts = TRUE \
                 WHERE excluded.counter > stop_order.counter \
                 OR (excluded.counter = stop_order.counter AND excluded.stopped AND NOT stop_order.stopped)",
            )
            .bind(hdo.as_str())
            .bind(stop.approval.as_str())
            .bind(counter)
            .bind(stop.stopped)
            .bind(stop.bytes())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(|done| done.rows_affected() > 0)
        })
    }

    /// The newest order for an approval: the envelope, as it came.
    pub(crate) async fn stop(&mut self, hdo: &HdoId, approval: &ApprovalId) -> Result<Option<Vec<u8>>, StoreError> {
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>("SELECT content FROM stop_order WHERE hdo = $1 AND approval = $2")
                .bind(hdo.as_str())
                .bind(approval.as_str())
                .fetch_optional(c)
                .await
        })
    }

    /// Whether the newest order for an approval is a stop.
    pub(crate) async fn is_stopped(&mut self, hdo: &HdoId, approval: &ApprovalId) -> Result<bool, StoreError> {
        let stopped = on!(self, |c| {
            sqlx::query_scalar::<_, bool>("SELECT stopped FROM stop_order WHERE hdo = $1 AND approval = $2")
                .bind(hdo.as_str())
                .bind(approval.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(stopped.unwrap_or(false))
    }

    /// The counter of the newest order for an approval, a stop or a lift.
    pub(crate) async fn stop_counter(&mut self, hdo: &HdoId, approval: &ApprovalId) -> Result<Option<u64>, StoreError> {
        let counter = on!(self, |c| {
            sqlx::query_scalar::<_, i64>("SELECT counter FROM stop_order WHERE hdo = $1 AND approval = $2")
                .bind(hdo.as_str())
                .bind(approval.as_str())
                .fetch_optional(c)
                .await
        })?;
        counter.map(|n| to_u64("stop_order", "counter", n)).transpose()
    }

    /// Says of each of a hospital's orders whether it is signed by who is an approver still. What is not is handed to nobody:
    /// nobody would believe it. Here it stays in force all the same, as on the devices that have heard it.
    pub(crate) async fn judge_stops(&mut self, hdo: &HdoId, root: &Verified<Root>) -> Result<(), StoreError> {
        let rows = on!(self, |c| {
            sqlx::query_as::<_, (String, Vec<u8>, bool)>(
                "SELECT approval, content, counts FROM stop_order WHERE hdo = $1",
            )
            .bind(hdo.as_str())
            .fetch_all(c)
            .await
        })?;
        for (approval, content, counted) in rows {
            let counts = VerifiedStop::verify(root, hdo, &content).is_ok();
            if counts == counted {
                continue;
            }
            on!(self, |c| {
                sqlx::query("UPDATE stop_order SET counts = $3 WHERE hdo = $1 AND approval = $2")
                    .bind(hdo.as_str())
                    .bind(approval.as_str())
                    .bind(counts)
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        Ok(())
    }

    /// A hospital's orders that count, the latest first, as many as a device keeps.
    pub(crate) async fn stops(&mut self, hdo: &HdoId) -> Result<Vec<Vec<u8>>, StoreError> {
        let limit = to_i64("a limit", MAX_KEPT_STOPS as u64)?;
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>(
                "SELECT content FROM stop_order WHERE hdo = $1 AND counts ORDER BY stored_ms DESC, approval LIMIT $2",
            )
            .bind(hdo.as_str())
            .bind(limit)
            .fetch_all(c)
            .await
        })
    }

    /// The orders that count and concern a device: for approvals that name it and have not expired, the newest approval first.
    pub(crate) async fn stops_of(
        &mut self,
        hdo: &HdoId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let limit = to_i64("a limit", MAX_STOPS_PER_ANSWER as u64)?;
        on!(self, |c| {
            sqlx::query_scalar::<_, Vec<u8>>(
                "SELECT s.content FROM rollout_device d \
                 JOIN rollout r ON r.hdo = d.hdo AND r.id = d.rollout \
                 JOIN stop_order s ON s.hdo = d.hdo AND s.approval = d.rollout \
                 WHERE d.hdo = $1 AND d.device = $2 AND r.expires_ms > $3 AND s.counts \
                 ORDER BY r.created_ms DESC, r.id LIMIT $4",
            )
            .bind(hdo.as_str())
            .bind(device.as_str())
            .bind(to_ms(now))
            .bind(limit)
            .fetch_all(c)
            .await
        })
    }

    /// Removes the newest order for an approval.
    pub(crate) async fn drop_stop(&mut self, hdo: &HdoId, approval: &ApprovalId) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query("DELETE FROM stop_order WHERE hdo = $1 AND approval = $2")
                .bind(hdo.as_str())
                .bind(approval.as_str())
                .execute(c)
                .await
                .map(drop)
        })
    }

    /// Removes the orders for approvals that have expired: nothing can begin by those any more.
    pub(crate) async fn drop_stops(&mut self, hdo: &HdoId, now: Timestamp) -> Result<(), StoreError> {
        on!(self, |c| {
            sqlx::query(
                "DELETE FROM stop_order WHERE hdo = $1 \
                 AND approval NOT IN (SELECT id FROM rollout WHERE hdo = $1 AND expires_ms > $2)",
            )
            .bind(hdo.as_str())
            .bind(to_ms(now))
            .execute(c)
            .await
            .map(drop)
        })
    }
}
