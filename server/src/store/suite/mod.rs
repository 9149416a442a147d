//! The store's tests: every one runs on SQLite, and on PostgreSQL where `SUTURE_TEST_POSTGRES` names a cluster.

mod concurrency;
pub(crate) mod deltas;
mod forks;
mod leases;
mod nouns;
mod people;
mod quotas;
mod schema;
mod stops;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::Store;

/// URL of a PostgreSQL database whose user may create databases.
const POSTGRES: &str = "SUTURE_TEST_POSTGRES";

/// A database of its own for one test, on PostgreSQL; none where there is no PostgreSQL to test on.
pub(crate) struct PostgresDatabase {
    admin: String,
    name: String,
}

impl PostgresDatabase {
    pub(crate) async fn create() -> Option<Self> {
        let Ok(admin) = std::env::var(POSTGRES) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must test on PostgreSQL: set {POSTGRES}");
            return None;
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let name = format!("suture_test_{}", hex::encode(random));
        let database = Self { admin, name };
        database.administer("CREATE DATABASE").await;
        Some(database)
    }

    pub(crate) fn url(&self) -> String {
        let (base, query) = self.admin.split_once('?').unwrap_or((&self.admin, ""));
        let server = base.rsplit_once('/').unwrap().0;
        format!("{server}/{}?{query}", self.name)
    }

    pub(crate) async fn drop(self) {
        self.administer("DROP DATABASE").await;
    }

    async fn administer(&self, what: &str) {
        let mut admin = PgConnection::connect(&self.admin).await.unwrap();
        let statement = sqlx::AssertSqlSafe(format!("{what} {}", self.name));
        sqlx::query(statement).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// Runs a test on an empty store of each kind.
pub(crate) async fn each(test: impl AsyncFn(Store)) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite:{}", dir.path().join("suture.db").display())).await.unwrap();
    test(store.clone()).await;
    store.close().await;
    if let Some(database) = PostgresDatabase::create().await {
        let store = Store::open(&database.url()).await.unwrap();
        test(store.clone()).await;
        store.close().await;
        database.drop().await;
    }
}
