//! What several at once may do to one another, and what a full disk does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use suture_core::audit::Concern;
use suture_core::digest::Digest;
use suture_core::principal::Principal;
use suture_core::token::Grant;
use tokio::sync::{Barrier, Mutex};

use super::super::{Driver, Lock, SESSION, Store, StoreError, retried};
use super::{PostgresDatabase, each};
use crate::audit;
use crate::store::audit::AuditRow;

fn now() -> jiff::Timestamp {
    "2026-11-24T15:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn a_token_is_spent_once_however_many_try_at_once() {
    each(async |store| {
        let secret = Digest::of(b"secret");
        let mut tx = store.begin().await.unwrap();
        let by = Principal::Server;
        let grant = Grant::Mdm("ada".parse().unwrap());
        let later = now() + jiff::SignedDuration::from_secs(60);
        assert!(tx.insert_token(&secret, &grant, &by, now(), later).await.unwrap());
        tx.commit().await.unwrap();
        let tries = (0..12).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let spent = tx.spend_token(&secret, &Principal::Server, now()).await.unwrap();
                tx.commit().await.unwrap();
                spent
            })
        });
        let spent = futures::future::join_all(tries).await.into_iter().filter(|r| *r.as_ref().unwrap()).count();
        assert_eq!(spent, 1);
    })
    .await;
}

#[tokio::test]
async fn the_audit_record_has_no_gap_and_no_fork_however_many_append_at_once() {
    each(async |store| {
        let appends = (0..20).map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                let subject = format!("test {i}");
                audit::append(
                    &mut tx,
                    now(),
                    &Principal::Server,
                    Concern::Everybody,
                    "test.append",
                    &subject,
                    ().into(),
                )
                .await
                .unwrap();
                // Every fourth change its mind.
                if i % 4 == 0 { drop(tx) } else { tx.commit().await.unwrap() }
            })
        });
        for append in futures::future::join_all(appends).await {
            append.unwrap();
        }
        let mut tx = store.read().await.unwrap();
        let rows = tx.audit_after(0, 100).await.unwrap();
        assert_eq!(rows.len(), 15);
        let mut reading = suture_core::audit::Reading::from_start(suture_core::audit::Head::empty());
        for row in rows {
            let AuditRow { seq, at: _, concerns: _, payload, payload_sha256, root } = row;
            reading.take(&suture_core::audit::Leaf { seq, payload, payload_sha256, root }).unwrap();
        }
        assert_eq!(reading.finish(&tx.audit_head().await.unwrap()).unwrap().size, 15);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_committed_is_not_there() {
    each(async |store| {
        let hdo = "riverside".parse().unwrap();
        let mut tx = store.begin().await.unwrap();
        assert!(tx.insert_hdo(&hdo, "Riverside", now()).await.unwrap());
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        assert!(tx.hdos().await.unwrap().is_empty());
        assert!(tx.insert_hdo(&hdo, "Riverside", now()).await.unwrap());
        assert!(!tx.insert_hdo(&hdo, "Again", now()).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(store.read().await.unwrap().hdos().await.unwrap()[0].name, "Riverside");
    })
    .await;
}

#[tokio::test]
async fn a_reading_transaction_cannot_write_and_sees_one_state() {
    each(async |store| {
        let mut reading = store.read().await.unwrap();
        assert!(reading.hdos().await.unwrap().is_empty());
        let mut tx = store.begin().await.unwrap();
        tx.insert_hdo(&"riverside".parse().unwrap(), "Riverside", now()).await.unwrap();
        tx.commit().await.unwrap();
        assert!(reading.hdos().await.unwrap().is_empty());
        assert!(reading.insert_hdo(&"lakeside".parse().unwrap(), "Lakeside", now()).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_row_that_refers_to_nothing_is_a_conflict() {
    each(async |store| {
        let mut tx = store.begin().await.unwrap();
        let name = "kim".parse().unwrap();
        let joined = tx.join_operator(Some(&"nowhere".parse().unwrap()), &name, now()).await;
        assert!(matches!(joined, Err(StoreError::Conflict(_))), "{joined:?}");
    })
    .await;
}

/// A page limit is what SQLite itself answers a full disk with: SQLITE_FULL.
#[tokio::test]
async fn a_full_disk_is_told_apart_and_nothing_is_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite:{}", dir.path().join("suture.db").display())).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let Driver::Sqlite(c) = tx.driver() else { panic!("not SQLite") };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *c).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 2));
    sqlx::query(limit).execute(&mut *c).await.unwrap();
    tx.insert_hdo(&"riverside".parse().unwrap(), "Riverside", now()).await.unwrap();
    let large = "x".repeat(100_000);
    let refused = tx.insert_hdo(&"lakeside".parse().unwrap(), &large, now()).await.unwrap_err();
    assert!(refused.is_disk_full(), "{refused:?}");
    assert!(!refused.is_retryable());
    drop(tx);
    assert!(store.read().await.unwrap().hdos().await.unwrap().is_empty());
    // Once there is room (the limit was the connection's own), the one writer's place is free again.
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&"riverside".parse().unwrap(), &large, now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.read().await.unwrap().hdos().await.unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_waits_for_a_lock_sees_what_its_holder_did() {
    each(async |store| {
        let mut first = store.begin().await.unwrap();
        let [hdo, other] = ["riverside", "hilltop"].map(|id| id.parse().unwrap());
        first.lock(Lock::Rollouts(&hdo)).await.unwrap();
        let second = {
            let (store, hdo) = (store.clone(), hdo.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                tx.lock(Lock::Rollouts(&hdo)).await.unwrap();
                tx.hdos().await.unwrap().len()
            })
        };
        tokio::task::yield_now().await;
        if let Driver::Postgres(_) = store.driver() {
            // Another hospital's rollouts wait for nobody.
            let mut tx = store.begin().await.unwrap();
            tx.lock(Lock::Rollouts(&other)).await.unwrap();
        }
        first.insert_hdo(&"riverside".parse().unwrap(), "Riverside", now()).await.unwrap();
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 1);
    })
    .await;
}

/// SQLite says SQLITE_BUSY where another process writes for longer than it waits; here it does not wait at all.
#[tokio::test]
async fn a_busy_file_is_tried_again_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("suture.db").display());
    let [one, other] = [Store::open(&url).await.unwrap(), Store::open(&url).await.unwrap()];
    let mut tx = one.begin().await.unwrap();
    let Driver::Sqlite(c) = tx.driver() else { panic!("not SQLite") };
    sqlx::query("PRAGMA busy_timeout = 0").execute(c).await.unwrap();
    drop(tx);
    let tries = AtomicU32::new(0);
    let blocking = Mutex::new(Some(other.begin().await.unwrap()));
    let write = |gives_way_at: u32| {
        let (one, tries, blocking) = (&one, &tries, &blocking);
        async move {
            if tries.fetch_add(1, Ordering::Relaxed) + 1 == gives_way_at {
                let tx = blocking.lock().await.take().unwrap();
                tx.commit().await.unwrap();
            }
            let mut tx = one.begin().await?;
            tx.insert_hdo(&"riverside".parse().unwrap(), "Riverside", now()).await?;
            tx.commit().await
        }
    };
    let busy = retried(|| write(0)).await.unwrap_err();
    assert!(busy.is_retryable(), "{busy:?}");
    assert_eq!(tries.swap(0, Ordering::Relaxed), 5);
    retried(|| write(3)).await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!(one.read().await.unwrap().hdos().await.unwrap().len(), 1);
}

/// Two transactions that take two locks crosswise: PostgreSQL ends one of them (40P01), which is begun anew.
#[tokio::test]
async fn a_deadlock_is_resolved_by_beginning_anew() {
    let Some(database) = PostgresDatabase::create().await else { return };
    let store = Store::open(&database.url()).await.unwrap();
    let meet = Barrier::new(2);
    let tries = AtomicU32::new(0);
    let write = async |name: &'static str, first: Lock<'_>, second: Lock<'_>| {
        let met = AtomicBool::new(false);
        retried(|| async {
            tries.fetch_add(1, Ordering::Relaxed);
            let mut tx = store.begin().await?;
            tx.lock(first).await?;
            if !met.swap(true, Ordering::Relaxed) {
                meet.wait().await;
            }
            tx.lock(second).await?;
            tx.insert_hdo(&name.parse().unwrap(), name, now()).await?;
            tx.commit().await
        })
        .await
    };
    let (a, b) = tokio::join!(
        write("riverside", Lock::Repositories, Lock::AuditChain),
        write("hilltop", Lock::AuditChain, Lock::Repositories)
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 3, "one of the two, once");
    assert_eq!(store.read().await.unwrap().hdos().await.unwrap().len(), 2);
    store.close().await;
    database.drop().await;
}

/// A replica whose machine is gone while it holds a lock, as the database sees it: a session that says nothing more.
#[tokio::test]
async fn a_replica_that_vanishes_inside_a_transaction_stops_the_others_for_so_long_and_no_longer() {
    let Some(database) = PostgresDatabase::create().await else { return };
    let store = Store::open(&database.url()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.lock(Lock::AuditChain).await.unwrap();
    let Driver::Postgres(c) = tx.driver() else { panic!("not PostgreSQL") };
    for (name, value) in SESSION {
        let show = sqlx::AssertSqlSafe(format!("SHOW {name}"));
        let shown: String = sqlx::query_scalar(show).fetch_one(&mut *c).await.unwrap();
        // Where the database is on the same machine, reached by a socket of its files, there is no TCP to be asked.
        let is_local = name.starts_with("tcp_") && shown == "0";
        assert!(shown == value || is_local, "{name} is {shown}");
    }
    // The same with less patience.
    sqlx::query("SET idle_in_transaction_session_timeout = '1ms'").execute(c).await.unwrap();
    let mut next = store.begin().await.unwrap();
    next.lock(Lock::AuditChain).await.unwrap();
    next.commit().await.unwrap();
    let ended = tx.commit().await.unwrap_err();
    assert!(ended.is_retryable(), "{ended:?}");
    // Whoever waits too long is told to come again, too.
    let mut holder = store.begin().await.unwrap();
    holder.lock(Lock::AuditChain).await.unwrap();
    let mut waits = store.begin().await.unwrap();
    let Driver::Postgres(c) = waits.driver() else { panic!("not PostgreSQL") };
    sqlx::query("SET LOCAL lock_timeout = '1ms'").execute(c).await.unwrap();
    let impatient = waits.lock(Lock::AuditChain).await.unwrap_err();
    assert!(impatient.is_retryable(), "{impatient:?}");
    drop((holder, waits));
    store.close().await;
    database.drop().await;
}
