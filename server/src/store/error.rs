//! What can go wrong at the database, sorted by what the caller can do about it.

use std::path::PathBuf;

/// A statement or transaction failed. The text never holds a URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database's address has neither known form.
    #[error("the database is given as `sqlite:<path>` or `postgres://user@host/name`")]
    Url,
    /// The SQLite file cannot be opened or created.
    #[error("cannot open the database file {path}; the server's user must be able to write it and its directory")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tables are not those that this program knows, or cannot be made.
    #[error("cannot bring the database's tables up to date; is this program older than the one that made them?")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A PostgreSQL database that sorts texts by a language's rules.
    #[error(
        "the database sorts texts by the rules of a language, and not by their bytes; nothing was changed; make it anew: CREATE \
         DATABASE suture TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'"
    )]
    Collation,
    /// No space is left for the database; nothing of the transaction was done.
    #[error("the database's disk is full; nothing was changed")]
    DiskFull(#[source] sqlx::Error),
    /// Another transaction was in the way, or the database cannot be reached just now; the same may work again soon.
    #[error("the database is busy or cannot be reached; try again")]
    Busy(#[source] sqlx::Error),
    /// A row of that key is there already, or one that it refers to is not.
    #[error("the change contradicts a row that is there")]
    Conflict(#[source] sqlx::Error),
    /// A row that makes no sense: somebody else wrote it, or the file is damaged.
    #[error("a row of table {table} makes no sense: {column} is {problem}")]
    Row {
        /// Its table.
        table: &'static str,
        /// Its column.
        column: &'static str,
        /// What was found there.
        problem: String,
    },
    /// A file of a repository has other bytes than were signed: somebody has altered it where it is kept, or a disk has.
    #[error("{name} of {repository} was altered where the server keeps it; restore the database from a backup")]
    Altered {
        /// The repository.
        repository: String,
        /// The file.
        name: String,
    },
    /// A number that no column can hold.
    #[error("{what} {value} exceeds what the database can hold")]
    Range {
        /// What was to be stored.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A question that would take more rows than one answer is made of.
    #[error("there are more than {most} {what}; ask for one product, or for fewer versions")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How many are read at most.
        most: u32,
    },
    /// Anything else.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same transaction, begun anew, may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// Whether the database itself says that another transaction was in the way, and that nothing of this one is done.
    pub(super) fn is_contention(&self) -> bool {
        let Self::Busy(sqlx::Error::Database(error)) = self else { return false };
        // 57P01 to 57P03 and 53300 are no transaction's fault: the database is going, coming, or full.
        !matches!(error.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "53300"))
    }

    /// Whether space must be made first.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => Self::Busy(error),
                _ => Self::Statement(error),
            };
        };
        match database.kind() {
            ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => return Self::Conflict(error),
            _ => {}
        }
        let code = database.code().unwrap_or_default().into_owned();
        if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            Self::from_postgres(&code, error)
        } else {
            Self::from_sqlite(code.parse().unwrap_or(0), error)
        }
    }
}

impl StoreError {
    /// SQLite's extended result codes (sqlite.org/rescode.html); the low byte is the primary code.
    fn from_sqlite(code: i32, error: sqlx::Error) -> Self {
        const BUSY: i32 = 5;
        const LOCKED: i32 = 6;
        const FULL: i32 = 13;
        /// The shared-memory file of the log could not grow.
        const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
        match (code & 0xff, code) {
            (FULL, _) | (_, IOERR_SHMSIZE) => Self::DiskFull(error),
            (BUSY | LOCKED, _) => Self::Busy(error),
            _ => Self::Statement(error),
        }
    }

    /// PostgreSQL's SQLSTATEs (its manual, appendix A).
    fn from_postgres(code: &str, error: sqlx::Error) -> Self {
        match code {
            // disk_full
            "53100" => Self::DiskFull(error),
            // serialization_failure, deadlock_detected, lock_not_available, idle_in_transaction_session_timeout,
            // too_many_connections, and the server shutting down or starting
            "40001" | "40P01" | "55P03" | "25P03" | "53300" | "57P01" | "57P02" | "57P03" => Self::Busy(error),
            _ => Self::Statement(error),
        }
    }
}
