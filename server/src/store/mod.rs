//! The database: SQLite, the embedded default, or PostgreSQL, by one SQL text.
//!
//! Both drivers are used natively. [`Store`] and [`Tx`] have one variant each for the two, and the macro `on!` expands an
//! expression once per variant, so that every statement is written once: placeholders `$1`, `ON CONFLICT`, `RETURNING`,
//! columns of TEXT, BIGINT, BYTEA (SQLite reads it as BLOB), BOOLEAN; times in Unix milliseconds; sums as
//! `CAST(SUM(x) AS BIGINT)`. What only one side has is a named fragment in this file.
//!
//! One module per noun holds that noun's rows and an `impl Tx` with its statements. Rows are private structs; one that
//! makes no sense is [`StoreError::Row`].
//!
//! ```ignore
//! impl Tx {
//!     pub async fn hdo(&mut self, id: &HdoId) -> Result<Option<Hdo>, StoreError> {
//!         let row = on!(self, |c| sqlx::query_as::<_, Row>("SELECT id, name, created_ms FROM hdo WHERE id = $1")
//!             .bind(id.as_str())
//!             .fetch_optional(c)
//!             .await)?;
//!         row.map(Row::read).transpose()
//!     }
//! }
//! ```

pub(crate) mod adoption;
pub(crate) mod agreements;
pub mod audit;
pub mod audit_keys;
pub(crate) mod bundles;
pub mod certificates;
pub(crate) mod chunks;
mod claims;
mod clearances;
pub(crate) mod contacts;
pub(crate) mod decisions;
pub(crate) mod decommissions;
pub(crate) mod deltas;
pub mod devices;
mod error;
pub(crate) mod events;
pub(crate) mod exposure;
pub(crate) mod forks;
pub mod hdos;
pub(crate) mod leases;
pub(crate) mod letters;
mod life;
pub(crate) mod limits;
pub(crate) mod lost;
pub(crate) mod members;
pub mod online_keys;
pub mod operators;
pub(crate) mod payloads;
pub(crate) mod proposals;
pub(crate) mod reports;
pub mod repository;
mod retry;
pub(crate) mod risks;
pub(crate) mod rollouts;
pub(crate) mod stages;
pub(crate) mod statements;
pub(crate) mod stops;
#[cfg(test)]
pub(crate) mod suite;
pub mod tokens;
mod unapproved;
mod value;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};
use suture_core::digest::Digest;
use suture_core::id::{HdoId, WardId};

pub use error::StoreError;
pub(crate) use retry::retried;
pub(crate) use value::{digest, from_ms, parsed, to_i64, to_ms, to_u64};

/// Runs an expression on whichever driver `self` (a `Store` or a `Tx`) has; `c` is bound to its pool or connection. The
/// expression is expanded twice, must name an executor-neutral statement and yields `Result<_, sqlx::Error>`; the macro
/// yields `Result<_, StoreError>`.
macro_rules! on {
    ($on:expr, |$c:ident| $body:expr) => {
        match $on.driver() {
            $crate::store::Driver::Sqlite($c) => $body.map_err($crate::store::StoreError::from),
            $crate::store::Driver::Postgres($c) => $body.map_err($crate::store::StoreError::from),
        }
    };
}
pub(crate) use on;

/// A statement with a list in it: `with_list!(tx, "SELECT .. WHERE sha256 IN (", ")")` yields the text whose first
/// placeholder is a JSON array of hexadecimal strings, read as binary values ([`value::hex_list`] writes it).
macro_rules! with_list {
    ($on:expr, $before:literal, $after:literal) => {
        match $on.driver() {
            $crate::store::Driver::Sqlite(_) => concat!($before, "SELECT unhex(value) FROM json_each($1)", $after),
            $crate::store::Driver::Postgres(_) => {
                concat!($before, "SELECT decode(value, 'hex') FROM jsonb_array_elements_text($1::jsonb)", $after)
            }
        }
    };
}

/// The same with texts, which [`value::text_list`] writes.
macro_rules! with_texts {
    ($on:expr, $before:literal, $after:literal) => {
        match $on.driver() {
            $crate::store::Driver::Sqlite(_) => concat!($before, "SELECT value FROM json_each($1)", $after),
            $crate::store::Driver::Postgres(_) => {
                concat!($before, "SELECT value FROM jsonb_array_elements_text($1::jsonb)", $after)
            }
        }
    };
}
/// The same with numbers, in JSON.
macro_rules! with_numbers {
    ($on:expr, $before:literal, $after:literal) => {
        match $on.driver() {
            $crate::store::Driver::Sqlite(_) => concat!($before, "SELECT value FROM json_each($1)", $after),
            $crate::store::Driver::Postgres(_) => {
                concat!($before, "SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb)", $after)
            }
        }
    };
}
pub(crate) use value::{hex_list, text_list};
pub(crate) use with_list;
pub(crate) use with_numbers;
pub(crate) use with_texts;

/// One of the two drivers' somethings.
pub(crate) enum Driver<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// The database. Cheap to clone; clones share their pools.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
}

#[derive(Clone)]
enum Pools {
    /// SQLite has one writer at a time, so writers queue here, in order, rather than at the file's lock.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    inner: Driver<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>,
    /// Whether it puts a publication in force that was counted.
    publishes: bool,
}

/// What a transaction may be told to wait for, so that what it reads stays true until it commits. Taken in this order
/// where more than one is needed. SQLite's writers exclude one another anyway.
///
/// Hospitals do not wait for one another: each has a lock of its own for its rollouts. Whoever needs those of several takes
/// them by `Tx::lock_all`, and under [`Lock::Repositories`].
#[derive(Debug, Clone, Copy)]
pub enum Lock<'a> {
    /// A repository's publication and re-signing.
    Repositories,
    /// The state of a hospital's rollouts.
    Rollouts(&'a HdoId),
    /// The head of the audit chain.
    AuditChain,
    /// The order in which security events change.
    Events,
}

impl Lock<'_> {
    /// What PostgreSQL knows it by. Two hospitals whose digests begin alike share one, and wait a little.
    fn key(self) -> (i32, i32) {
        match self {
            Self::Repositories => (ADVISORY_SPACE, 1),
            Self::Rollouts(hdo) => {
                let [a, b, c, d, ..] = *Digest::of(hdo.as_str().as_bytes()).as_bytes();
                (ROLLOUTS_SPACE, i32::from_be_bytes([a, b, c, d]))
            }
            Self::AuditChain => (ADVISORY_SPACE, 3),
            Self::Events => (ADVISORY_SPACE, 6),
        }
    }
}

/// Rows that one statement inserts where there are thousands, far below what either database binds.
const ROWS_PER_INSERT: usize = 500;
/// Connections to one database, of one server process.
const MAX_CONNECTIONS: u32 = 16;
/// How long a request waits for a connection, and SQLite for another process's write, before it is told to come again.
const WAIT: Duration = Duration::from_secs(10);

impl Store {
    /// Opens `sqlite:<path>` or `postgres://..` and brings its tables up to date. A new SQLite file is readable by its
    /// owner only.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let pools = if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(Path::new(path)).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await?
        } else {
            return Err(StoreError::Url);
        };
        Ok(Self { pools })
    }

    /// Begins a transaction that may write. On SQLite it holds the one writer's place from here on, so nothing slow
    /// belongs between this and [`Tx::commit`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            // A deferred transaction that turns into a writer later fails with SQLITE_BUSY where another was faster.
            Pools::Sqlite { write, .. } => Driver::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres(pool) => Driver::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner, publishes: false })
    }

    /// Begins a transaction that reads one unchanging view and cannot write.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { read, .. } => Driver::Sqlite(read.begin().await?),
            Pools::Postgres(pool) => {
                Driver::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        };
        Ok(Tx { inner, publishes: false })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on!(self, |c| sqlx::query("SELECT 1").execute(c).await.map(drop))
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// For single reading statements, without a transaction.
    pub(crate) fn driver(&self) -> Driver<&SqlitePool, &PgPool> {
        match &self.pools {
            Pools::Sqlite { read, .. } => Driver::Sqlite(read),
            Pools::Postgres(pool) => Driver::Postgres(pool),
        }
    }
}

impl Tx {
    /// Notes that it puts a publication in force, which was counted.
    pub(crate) fn note_publication(&mut self) {
        self.publishes = true;
    }

    /// Whether that was noted.
    pub(crate) fn is_publication(&self) -> bool {
        self.publishes
    }

    /// Makes everything since the beginning durable, or nothing of it.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            Driver::Sqlite(tx) => tx.commit().await?,
            Driver::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Waits for whoever else holds `lock`, then holds it until the transaction ends.
    pub async fn lock(&mut self, lock: Lock<'_>) -> Result<(), StoreError> {
        match &mut self.inner {
            // BEGIN IMMEDIATE has excluded all other writers already.
            Driver::Sqlite(_) => Ok(()),
            Driver::Postgres(tx) => {
                let (space, key) = lock.key();
                sqlx::query("SELECT pg_advisory_xact_lock($1, $2)").bind(space).bind(key).execute(&mut **tx).await?;
                Ok(())
            }
        }
    }

    /// As [`Tx::lock`], for the places of one ward of a hospital. Taken before [`Lock::AuditChain`] and with no other.
    pub async fn lock_ward(&mut self, hdo: &HdoId, ward: &WardId) -> Result<(), StoreError> {
        // Two wards whose names share these bits wait for one another, and that is all.
        let [a, b, c, d, ..] = *Digest::of(format!("{hdo}/{ward}").as_bytes()).as_bytes();
        match &mut self.inner {
            Driver::Sqlite(_) => Ok(()),
            Driver::Postgres(tx) => {
                sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
                    .bind(WARD_SPACE)
                    .bind(i32::from_be_bytes([a, b, c, d]))
                    .execute(&mut **tx)
                    .await?;
                Ok(())
            }
        }
    }

    /// Takes the rollouts of several hospitals, in an order that all keep to.
    pub(crate) async fn lock_all(&mut self, hdos: &[HdoId]) -> Result<(), StoreError> {
        let mut locks: Vec<_> = hdos.iter().map(Lock::Rollouts).collect();
        locks.sort_by_key(|lock| lock.key());
        for lock in locks {
            self.lock(lock).await?;
        }
        Ok(())
    }

    pub(crate) fn driver(&mut self) -> Driver<&mut SqliteConnection, &mut PgConnection> {
        match &mut self.inner {
            Driver::Sqlite(tx) => Driver::Sqlite(tx),
            Driver::Postgres(tx) => Driver::Postgres(tx),
        }
    }
}

/// Keeps Suture's advisory locks apart from those of others in the same database: "SUTR".
const ADVISORY_SPACE: i32 = 0x5355_5452;
/// The same for wards: "SUTW".
const WARD_SPACE: i32 = 0x5355_5457;
/// The same for the hospitals' rollouts: "SUTS".
const ROLLOUTS_SPACE: i32 = ADVISORY_SPACE + 1;

async fn open_sqlite(path: &Path) -> Result<Pools, StoreError> {
    // SQLite gives its journal files the database file's mode, so this one settles them all.
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A confirmed report must not be lost to a power cut: FULL syncs the log at every commit.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(WAIT);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(WAIT)
        .after_release(|connection, _| Box::pin(has_no_transaction(connection)))
        .connect_with(options.clone())
        .await?;
    sqlx::migrate!("../migrations/sqlite").run(&write).await?;
    let read = SqlitePoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(WAIT)
        .connect_with(options.pragma("query_only", "ON"))
        .await?;
    Ok(Pools::Sqlite { write, read })
}

/// Whether a connection that is given back can be used again.
///
/// After a full disk SQLite has rolled the transaction back by itself (sqlite.org/lang_transaction.html, 2.4). The driver's
/// own rollback then fails, it goes on counting a transaction that is over, and every later `BEGIN` on the connection is
/// refused: without this the only writer's place would be lost until a restart.
async fn has_no_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The rollback of a dropped transaction is under way yet; this waits until it has been tried.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// What is asked of each session with PostgreSQL, which by itself would wait for a peer that is gone for two hours, while the locks
/// of its transaction stop everybody: whether the peer lives, after half a minute of silence and within half a minute (the last
/// where it has been sent something, within one), that no transaction stands still for two minutes, and that nobody waits for a
/// lock for more than one. Any role may set these.
pub(crate) const SESSION: [(&str, &str); 6] = [
    ("tcp_keepalives_idle", "30s"),
    ("tcp_keepalives_interval", "10s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "1min"),
    ("idle_in_transaction_session_timeout", "2min"),
    ("lock_timeout", "1min"),
];

async fn open_postgres(url: &str) -> Result<Pools, StoreError> {
    let options = url.parse::<PgConnectOptions>()?.application_name("suture-server");
    let pool = PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(WAIT)
        .after_connect(|session, _| Box::pin(set_up(session)))
        .connect_with(options.clone())
        .await?;
    if !sorts_by_bytes(&pool).await? {
        return Err(StoreError::Collation);
    }
    // By a session with all patience: another replica may be at it, and the tables may be large.
    let mut patient = PgConnection::connect_with(&options).await?;
    sqlx::migrate!("../migrations/postgres").run(&mut patient).await?;
    patient.close().await?;
    Ok(Pools::Postgres(pool))
}

/// Not among the connection's parameters, of which a pooler in between takes few.
async fn set_up(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    for (name, value) in SESSION {
        sqlx::query("SELECT set_config($1, $2, false)").bind(name).bind(value).execute(&mut *session).await?;
    }
    Ok(())
}

/// Whether a database sorts texts as SQLite does, and Rust: by their bytes. By the rules of a language a list's page would end
/// elsewhere than whoever asks on behind it takes it to.
async fn sorts_by_bytes(pool: &PgPool) -> Result<bool, StoreError> {
    let sorted = "SELECT 'a-' < 'a.' AND 'a.' < 'a0' AND 'a0' < 'a_' AND 'a_' < 'aa' AND 'B' < 'a'";
    Ok(sqlx::query_scalar(sorted).fetch_one(pool).await?)
}
