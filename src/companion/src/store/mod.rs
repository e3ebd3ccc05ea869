//! Where accounts, sessions and revocations are kept: one SQLite file, or PostgreSQL.
//!
//! Every statement is written once, in the SQL that both speak.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

mod feed;
mod migrations;
mod revocations;
mod row;
mod sessions;
mod users;

pub use feed::{Entry, Page, Position};
pub use revocations::{Holder, RevokeUser};
pub use sessions::Session;
pub use users::{NewUser, User};

/// How long a writer waits for another process that holds SQLite's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for its statements, a connection among them. A database that hangs says nothing
/// at all, not even that a connection is gone; this is longer than the two above, which say more.
const STATEMENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// SQLite has one writer at a time; more connections only wait inside of it.
const SQLITE_CONNECTIONS: u32 = 4;

/// The store.
pub struct Store {
    pool: Pool,
}

enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Which database a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One file on this machine.
    Sqlite,
    /// A server, shared by several companions.
    Postgres,
}

/// Why the store did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// `DATABASE_URL` is of a kind that is not supported.
    UnknownScheme,
    /// The migrations could not be applied.
    Migrate(sqlx::migrate::MigrateError),
    /// The file for SQLite could not be made.
    File(std::io::Error),
    /// The database did not answer in time.
    Silent,
    /// The database failed.
    Database(sqlx::Error),
}

/// Runs the same statements on whichever database there is, for so long.
macro_rules! on_pool {
    ($store:expr, $pool:ident => $statements:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => $crate::store::in_time(async { $statements }).await,
            $crate::store::Pool::Postgres($pool) => $crate::store::in_time(async { $statements }).await,
        }
    };
}
use on_pool;

/// What `statements` come to, or [`StoreError::Silent`]. A transaction that is given up is rolled back, unless
/// its commit was under way: then nobody knows, and nothing was acknowledged.
async fn in_time<T, E>(statements: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    match tokio::time::timeout(STATEMENTS_TIMEOUT, statements).await {
        Ok(done) => done.map_err(StoreError::from),
        Err(_) => Err(StoreError::Silent),
    }
}

impl Store {
    /// Opens the store at `url` (`sqlite:PATH`, created where absent, or `postgres://…`, with at most
    /// `postgres_connections` connections) and applies the migrations that it lacks.
    ///
    /// # Errors
    /// [`StoreError`]. The message holds no password of the URL.
    pub async fn open(url: &str, postgres_connections: u32) -> Result<Self, StoreError> {
        let store = match Kind::of_url(url)? {
            Kind::Sqlite => open_sqlite(url).await?,
            Kind::Postgres => open_postgres(url, postgres_connections).await?,
        };
        match &store.pool {
            Pool::Sqlite(pool) => migrations::sqlite().run(pool).await?,
            Pool::Postgres(pool) => migrations::postgres().run(pool).await?,
        }
        store.begin_revocation_history().await?;
        Ok(store)
    }

    /// Which database this is.
    pub fn kind(&self) -> Kind {
        match self.pool {
            Pool::Sqlite(_) => Kind::Sqlite,
            Pool::Postgres(_) => Kind::Postgres,
        }
    }

    /// Asks the database something that only a working one with our tables can answer.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query("SELECT head FROM revocation_feed WHERE id = 1")
            .fetch_one(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Waits for the statements under way and closes the connections.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    async fn begin_revocation_history(&self) -> Result<(), StoreError> {
        let epoch = crate::id::random_tag();
        on_pool!(self, pool => sqlx::query(
            "INSERT INTO revocation_feed (id, epoch, head) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING")
            .bind(epoch)
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }
}

async fn open_sqlite(url: &str) -> Result<Store, StoreError> {
    // FULL: a commit is on the disk before it is acknowledged, also in WAL mode.
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    make_private(options.get_filename()).map_err(StoreError::File)?;
    let pool = SqlitePoolOptions::new()
        .max_connections(SQLITE_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection to a server may have been lost meanwhile; one to a file has not, and asking it is one more
        // trip to its thread and back.
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    Ok(Store { pool: Pool::Sqlite(pool) })
}

/// Makes the file, where there is none, readable for its owner alone: it holds hashes of passwords. SQLite
/// gives the files that it puts beside it the same permissions.
fn make_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if file.as_os_str() == ":memory:" || file.exists() {
        return Ok(());
    }
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(drop)
}

async fn open_postgres(url: &str, connections: u32) -> Result<Store, StoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(PgConnectOptions::from_str(url)?.application_name("jwt-gate-auth"))
        .await?;
    Ok(Store { pool: Pool::Postgres(pool) })
}

// === impl Kind ===

impl Kind {
    /// The kind of database that `url` names.
    ///
    /// # Errors
    /// [`StoreError::UnknownScheme`].
    pub fn of_url(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Ok(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Ok(Self::Postgres)
        } else {
            Err(StoreError::UnknownScheme)
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

// === impl StoreError ===

impl StoreError {
    /// Whether a row was refused because another one has the same key.
    pub(crate) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScheme => {
                formatter.write_str("the database URL starts with neither sqlite: nor postgres://")
            }
            Self::Migrate(error) => write!(formatter, "the migrations cannot be applied: {error}"),
            Self::File(error) => write!(formatter, "the store's file cannot be made: {error}"),
            Self::Silent => formatter.write_str("the store did not answer in time"),
            Self::Database(error) => write!(formatter, "the store failed: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migrate(error)
    }
}
