//! What a report's step and the leader's look read of the tables. PostgreSQL's planner must find the few rows in question by
//! the statements alone where nothing was ever analysed, and once the server has looked at what an approval has added, whatever
//! was planned while the table was small.

use suture_core::phase::Phase;

use super::fixture::{Ward, at, pump};
use crate::rollout::run;
use crate::store::members::TURNING;
use crate::store::suite::{STRICT, each};
use crate::store::{Driver, Store, Tx};

/// Devices of the rollout in question, of which [`FIRST`] are in the open wave.
const FLEET: u32 = 3_000;
const FIRST: u32 = 20;
/// Rows that a step may read: those of the rollout, its waves, the chain's head and the device's own, some more than once.
const MOST: i64 = 60;

#[tokio::test]
async fn a_step_reads_no_more_rows_for_the_size_of_the_fleet() {
    each(async |store| {
        if matches!(store.driver(), Driver::Sqlite(_)) {
            return;
        }
        execute(&store, "ALTER TABLE rollout_device SET (autovacuum_enabled = false)").await;
        // Nothing is known of the table.
        steps(&store, &begun(&store, "new").await, "never analysed").await;
        // The server looks at it once an approval has come.
        let ward = begun(&store, "known").await;
        store.look_at_members().await.unwrap();
        steps(&store, &ward, "analysed").await;
        // Plans are kept that were made while there were few, until it has looked.
        execute(&store, "DELETE FROM rollout_device").await;
        let few = Ward::begin(&store, "few", &[2, 1]).await;
        execute(&store, "VACUUM FULL ANALYZE rollout_device").await;
        let mut tx = planning(&store, "force_generic_plan").await;
        let report = few.report(&pump(0), Phase::Restarting, 2, 1, 10);
        run::progressed(&mut tx, few.hdo(), &few.rollout().await.id, &report, at(10)).await.unwrap();
        tx.commit().await.unwrap();
        let ward = begun(&store, "grown").await;
        store.look_at_members().await.unwrap();
        steps(&store, &ward, "planned for while it was small").await;
    })
    .await;
}

#[tokio::test]
async fn a_look_at_all_rollouts_searches_on_sqlite() {
    each(async |store| {
        let mut tx = store.read().await.unwrap();
        let Driver::Sqlite(c) = tx.driver() else { return };
        let text = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {TURNING}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(text).bind(0).fetch_all(c).await.unwrap();
        let devices: Vec<_> = plan.iter().map(|row| row.3.as_str()).filter(|step| step.contains(" d ")).collect();
        assert!(devices.len() == 2 && devices.iter().all(|step| step.starts_with("SEARCH d")), "{plan:?}");
    })
    .await;
}

async fn begun(store: &Store, id: &str) -> Ward {
    let lenient = suture_core::approval::Wave { max_failures: FIRST, ..STRICT };
    Ward::begin_by(store, id, &[(lenient, FIRST), (STRICT, FLEET - FIRST)]).await
}

/// Reports of the first wave, looks in which nothing is due, and silences, by plans for the values and for any.
async fn steps(store: &Store, ward: &Ward, known: &str) {
    let mut device = 0..FIRST;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let id = ward.rollout().await.id;
        let mut worst = 0;
        for phase in [Phase::Fetching, Phase::Restarting, Phase::Confirmed] {
            let report = ward.report(&pump(device.start), phase, 2, 1, 10);
            let mut tx = planning(store, mode).await;
            let before = rows_read(&mut tx).await;
            run::progressed(&mut tx, ward.hdo(), &id, &report, at(10)).await.unwrap();
            worst = worst.max(rows_read(&mut tx).await - before);
            tx.commit().await.unwrap();
        }
        assert!((1..=MOST).contains(&worst), "a report's step read {worst} rows: {known}, {mode}");
        device.next();

        let mut tx = planning(store, mode).await;
        let before = rows_read(&mut tx).await;
        assert!(!tx.has_turned(ward.hdo(), &id, at(11)).await.unwrap());
        let read = rows_read(&mut tx).await - before;
        assert!(read <= MOST, "a look read {read} rows: {known}, {mode}");

        let before = rows_read(&mut tx).await;
        assert_eq!(tx.turning_rollouts(at(11)).await.unwrap(), []);
        let read = rows_read(&mut tx).await - before;
        assert!((1..=MOST).contains(&read), "a look at all read {read} rows: {known}, {mode}");

        let report = ward.report(&pump(device.next().unwrap()), Phase::Restarting, 2, 1, 10);
        run::progressed(&mut tx, ward.hdo(), &id, &report, at(10)).await.unwrap();
        let before = rows_read(&mut tx).await;
        assert!(run::advance(&mut tx, ward.hdo(), &id, at(700)).await.unwrap());
        let read = rows_read(&mut tx).await - before;
        assert!(read <= MOST, "a silence read {read} rows: {known}, {mode}");
        tx.commit().await.unwrap();
    }
    ward.check().await;
}

async fn planning(store: &Store, mode: &str) -> Tx {
    let mut tx = store.begin().await.unwrap();
    let Driver::Postgres(c) = tx.driver() else { unreachable!() };
    let text = format!("SET LOCAL plan_cache_mode = {mode}");
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(c).await.unwrap();
    tx
}

async fn execute(store: &Store, text: &'static str) {
    let Driver::Postgres(pool) = store.driver() else { unreachable!() };
    sqlx::query(text).execute(pool).await.unwrap();
}

/// Rows that the connection has read by scans and by indexes and not told the statistics' collector of yet.
async fn rows_read(tx: &mut Tx) -> i64 {
    let Driver::Postgres(c) = tx.driver() else { unreachable!() };
    let text = "SELECT CAST(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) AS BIGINT) FROM pg_stat_xact_user_tables";
    sqlx::query_scalar(text).fetch_one(c).await.unwrap()
}
