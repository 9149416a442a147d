//! A database of its own for each test, of either kind.

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// What makes a database sort as the server asks for, whatever its cluster does.
const BY_BYTES: &str = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'";
/// URL of a PostgreSQL database whose user may create databases.
const POSTGRES: &str = "SUTURE_TEST_POSTGRES";

/// Which kind of database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The embedded default.
    Sqlite,
    /// The real one that the test command starts.
    Postgres,
}

/// The URL of an empty database; none where there is no PostgreSQL to test on, which CI does not forgive. The cluster is
/// the test command's and goes with it, and the databases with the cluster.
pub async fn create(kind: Kind) -> Option<String> {
    if kind == Kind::Sqlite {
        return Some(String::new());
    }
    let Ok(admin) = std::env::var(POSTGRES) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must test on PostgreSQL: set {POSTGRES}");
        return None;
    };
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    let name = format!("suture_test_{}", hex::encode(random));
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    let statement = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} {BY_BYTES}"));
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (base, query) = admin.split_once('?').unwrap_or((&admin, ""));
    Some(format!("{}/{name}?{query}", base.rsplit_once('/').unwrap().0))
}
