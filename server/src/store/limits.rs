//! Hospitals' limits on transfers.

use suture_core::id::HdoId;
use suture_core::pace::Timetable;

use super::{Store, StoreError, Tx, on};

/// The statement, for a store as for a transaction.
const READ: &str = "SELECT timetable FROM transfer_limits WHERE hdo = $1";

fn read(row: Option<(String,)>) -> Result<Timetable, StoreError> {
    let Some((text,)) = row else { return Ok(Timetable::default()) };
    serde_json::from_str(&text).map_err(|e| StoreError::Row {
        table: "transfer_limits",
        column: "timetable",
        problem: e.to_string(),
    })
}

impl Store {
    /// A hospital's limits; nothing is limited where it has set none.
    pub async fn timetable(&self, hdo: &HdoId) -> Result<Timetable, StoreError> {
        read(on!(self, |c| sqlx::query_as(READ).bind(hdo.as_str()).fetch_optional(c).await)?)
    }
}

impl Tx {
    /// As [`Store::timetable`].
    pub async fn timetable(&mut self, hdo: &HdoId) -> Result<Timetable, StoreError> {
        read(on!(self, |c| sqlx::query_as(READ).bind(hdo.as_str()).fetch_optional(c).await)?)
    }

    /// Sets a hospital's limits, or takes them away.
    pub async fn set_timetable(&mut self, hdo: &HdoId, timetable: &Timetable) -> Result<(), StoreError> {
        if *timetable == Timetable::default() {
            return on!(self, |c| sqlx::query("DELETE FROM transfer_limits WHERE hdo = $1")
                .bind(hdo.as_str())
                .execute(c)
                .await
                .map(drop));
        }
        let text = serde_json::to_string(timetable).map_err(|e| StoreError::Row {
            table: "transfer_limits",
            column: "timetable",
            problem: e.to_string(),
        })?;
        on!(self, |c| sqlx::query(
            "INSERT INTO transfer_limits (hdo, timetable) VALUES ($1, $2)
            ON CONFLICT (hdo) DO UPDATE SET timetable = excluded.timetable"
        )
        .bind(hdo.as_str())
        .bind(text.as_str())
        .execute(c)
        .await
        .map(drop))
    }
}

#[cfg(test)]
mod tests {
    use suture_core::pace::Limits;

    use super::*;
    use crate::store::suite::each;

    #[tokio::test]
    async fn a_hospitals_limits_are_kept_changed_and_taken_away() {
        each(async |store| {
            let now = "2026-11-24T15:00:00Z".parse().unwrap();
            let (one, two): (HdoId, HdoId) = ("riverside".parse().unwrap(), "hilltop".parse().unwrap());
            let mut tx = store.begin().await.unwrap();
            for hdo in [&one, &two] {
                tx.insert_hdo(hdo, "Hospital", now).await.unwrap();
            }
            let limits = Limits { streams: Some(8), ..Limits::default() };
            let first = Timetable::default().with(None, None, limits).unwrap();
            let second = first.clone().with(Some("Europe/Berlin"), "07:00-18:00".parse().ok(), limits).unwrap();
            for timetable in [&first, &second] {
                tx.set_timetable(&one, timetable).await.unwrap();
                assert_eq!(tx.timetable(&one).await.unwrap(), *timetable);
            }
            tx.commit().await.unwrap();
            assert_eq!(store.timetable(&one).await.unwrap(), second);
            assert_eq!(store.timetable(&two).await.unwrap(), Timetable::default());
            let mut tx = store.begin().await.unwrap();
            tx.set_timetable(&one, &Timetable::default()).await.unwrap();
            assert_eq!(tx.timetable(&one).await.unwrap(), Timetable::default());
        })
        .await;
    }
}
