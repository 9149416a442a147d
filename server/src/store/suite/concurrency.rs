//! What several at once may do to one another, and what a full disk does.

use suture_core::audit::Concern;
use suture_core::digest::Digest;
use suture_core::id::{HdoId, OperatorName};
use suture_core::principal::Principal;
use suture_core::token::Grant;

use super::super::tokens::TokenState;
use super::super::{Driver, Lock, Store, StoreError};
use super::each;
use crate::audit;

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
async fn the_audit_chain_has_no_gap_and_no_fork_however_many_append_at_once() {
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
        let mut chain = suture_core::audit::Chain::from_start(suture_core::audit::Head::START);
        for row in rows {
            let link = suture_core::audit::Link {
                seq: row.seq,
                payload_sha256: Digest::of(&row.payload),
                payload: Some(row.payload),
                sha256: row.sha256,
            };
            chain.take(&link).unwrap();
        }
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

/// Until a task is over or, on PostgreSQL, waits for what another transaction holds. On SQLite it waits for its beginning.
async fn over_or_waiting<T>(store: &Store, task: &tokio::task::JoinHandle<T>) {
    let waiting =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while let Driver::Postgres(pool) = store.driver()
        && !task.is_finished()
        && sqlx::query_scalar::<_, i64>(waiting).fetch_one(pool).await.unwrap() == 0
    {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
}

/// A hospital's operator, who has joined.
async fn kim(store: &Store) -> (HdoId, OperatorName, Principal) {
    let (hdo, name): (HdoId, OperatorName) = ("riverside".parse().unwrap(), "kim".parse().unwrap());
    let mut tx = store.begin().await.unwrap();
    tx.insert_hdo(&hdo, "Riverside", now()).await.unwrap();
    assert!(tx.join_operator(Some(&hdo), &name, now()).await.unwrap());
    tx.commit().await.unwrap();
    let kim = Principal::Operator(hdo.clone(), name.clone());
    (hdo, name, kim)
}

/// Attack: a call of a thief's that is open while the certificate's holder is revoked.
#[tokio::test]
async fn no_token_outlives_the_revocation_of_whoever_makes_it_meanwhile() {
    each(async |store| {
        let (hdo, name, kim) = kim(&store).await;
        let (secret, end) = (Digest::of(b"secret"), now() + jiff::SignedDuration::from_secs(60));
        let grant = Grant::Operator(hdo.clone(), "thief".parse().unwrap());
        let mut making = store.begin().await.unwrap();
        assert!(making.hold_operator(&kim).await.unwrap());
        assert!(making.insert_token(&secret, &grant, &kim, now(), end).await.unwrap());
        let revoking = {
            let (store, hdo, name) = (store.clone(), hdo.clone(), name.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                assert!(tx.revoke_operator(Some(&hdo), &name, now()).await.unwrap());
                let ended = tx.end_tokens_of(Some(&hdo), &name, now()).await.unwrap();
                tx.commit().await.unwrap();
                ended
            })
        };
        over_or_waiting(&store, &revoking).await;
        making.commit().await.unwrap();
        assert_eq!(revoking.await.unwrap(), 1);
        let mut tx = store.read().await.unwrap();
        assert_eq!(tx.token(&secret, now()).await.unwrap(), TokenState::Expired);
    })
    .await;
}

/// The same, where the revocation is the first of the two.
#[tokio::test]
async fn nothing_is_made_in_the_name_of_whoever_is_being_revoked() {
    each(async |store| {
        let (hdo, name, kim) = kim(&store).await;
        let mut revoking = store.begin().await.unwrap();
        assert!(revoking.revoke_operator(Some(&hdo), &name, now()).await.unwrap());
        let making = {
            let (store, kim) = (store.clone(), kim.clone());
            tokio::spawn(async move { store.begin().await.unwrap().hold_operator(&kim).await.unwrap() })
        };
        over_or_waiting(&store, &making).await;
        revoking.commit().await.unwrap();
        assert!(!making.await.unwrap());

        let mut tx = store.begin().await.unwrap();
        let stranger = Principal::Operator(hdo.clone(), "sam".parse().unwrap());
        assert!(!tx.hold_operator(&stranger).await.unwrap(), "who never joined");
        // Joined again, under the same name.
        assert!(tx.join_operator(Some(&hdo), &name, now()).await.unwrap());
        assert!(tx.hold_operator(&kim).await.unwrap());
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
        first.lock(Lock::Rollouts).await.unwrap();
        let second = {
            let store = store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.unwrap();
                tx.lock(Lock::Rollouts).await.unwrap();
                tx.hdos().await.unwrap().len()
            })
        };
        tokio::task::yield_now().await;
        first.insert_hdo(&"riverside".parse().unwrap(), "Riverside", now()).await.unwrap();
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 1);
    })
    .await;
}
