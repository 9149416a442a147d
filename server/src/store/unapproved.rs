//! Devices that have joined since an approval was signed.

use suture_core::id::DeviceId;
use suture_core::json;
use suture_core::limits::MAX_UNAPPROVED_COUNTED;
use suture_core::report::Report;

use super::rollouts::Rollout;
use super::{StoreError, Tx, on, parsed, to_i64, to_ms};

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    proven_payload: Option<Vec<u8>>,
}

impl Tx {
    /// The devices of a rollout's product that have joined since its approval was signed, that neither it nor another
    /// approval of the release or a later one names, and that do not say by signed report that they run it.
    pub(crate) async fn unapproved(&mut self, r: &Rollout) -> Result<Vec<DeviceId>, StoreError> {
        let release = to_i64("a release", r.release.0)?;
        let rows = on!(self, |c| {
            sqlx::query_as::<_, Row>(
                "SELECT d.id, d.proven_payload FROM device d WHERE d.hdo = $1 AND d.product = $2 \
                 AND d.state IN ('pending', 'active') AND d.enrolled_ms > $3 AND NOT EXISTS (SELECT 1 \
                 FROM rollout_device m JOIN rollout o ON o.hdo = m.hdo AND o.id = m.rollout \
                 WHERE m.hdo = d.hdo AND m.device = d.id AND (o.id = $4 \
                 OR (o.product = $2 AND o.release >= $5 AND o.state NOT IN ('superseded', 'aborted')))) \
                 ORDER BY d.id LIMIT $6",
            )
            .bind(r.hdo.as_str())
            .bind(r.product.as_str())
            .bind(to_ms(r.created))
            .bind(r.id.as_str())
            .bind(release)
            .bind(i64::from(MAX_UNAPPROVED_COUNTED) + 1)
            .fetch_all(c)
            .await
        })?;
        let runs_it = |payload: &Vec<u8>| {
            json::from_slice::<Report>(payload).is_ok_and(|report| report.running.release >= r.release)
        };
        let waiting = rows.into_iter().filter(|row| !row.proven_payload.as_ref().is_some_and(runs_it));
        waiting.map(|row| parsed("device", "id", &row.id)).collect()
    }
}
