//! Connections: who waits for whom, and for how long.
//!
//! Readers never wait for writers. A writer waits 0.9 s for its turn and a second for a lock that somebody else holds, and
//! then gives up: its client is told to come back within two seconds.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Postgres, Sqlite, Transaction};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{StoreError, migrations};

/// How long a writer waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_millis(900);
/// How long a writer waits for SQLite's lock, which another process may hold. PostgreSQL has `lock_timeout`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a call waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call waits for its statements, a connection among them. A database that hangs says nothing
/// at all, not even that a connection is gone; this is longer than the limits above and PostgreSQL's own.
const STATEMENTS_TIMEOUT: Duration = Duration::from_secs(6);
/// How long an idle connection may take to show that it is alive. sqlx itself would wait without a limit.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take to get ready for its next use. Afterwards it is closed, and its slot is free.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// SQLite has one writer at a time, so there is one connection for it. These are for readers.
const SQLITE_READERS: u32 = 4;
/// What PostgreSQL does for us: nobody waits for a lock for longer than a second, and a companion that
/// vanished in the middle of a transaction keeps its locks for five seconds.
const POSTGRES_SESSION: &str = "SET lock_timeout = '1s'; SET statement_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '5s'; SET tcp_keepalives_idle = 10; \
     SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000";

/// Migrations of a newer program are no reason not to start: each one only adds.
fn additive(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator
}

/// A database's connections.
pub(super) struct Pools<DB: sqlx::Database> {
    readers: sqlx::Pool<DB>,
    writers: sqlx::Pool<DB>,
    /// Fewer than there are connections, so that readers find one.
    writer_turns: Semaphore,
    /// Fewer still: all revocations wait for one lock, and other writers do not.
    revocation_turns: Semaphore,
}

/// Which lock a writer may have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// That of an account.
    Writers,
    /// That of the revocations, which there is one of.
    Revocations,
}

/// A writer's turn, until it is dropped.
pub(super) struct Turn<'pools> {
    _revocation: Option<SemaphorePermit<'pools>>,
    _writer: SemaphorePermit<'pools>,
}

/// The result of `statements`, or [`StoreError::Silent`]. A transaction that is given up is rolled back, unless
/// its commit was under way: then nobody knows, and nothing was acknowledged.
pub(super) async fn in_time<T, E>(statements: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    match tokio::time::timeout(STATEMENTS_TIMEOUT, statements).await {
        Ok(done) => done.map_err(StoreError::from),
        Err(_) => Err(StoreError::Silent),
    }
}

impl<DB: sqlx::Database> Pools<DB> {
    fn new(readers: sqlx::Pool<DB>, writers: sqlx::Pool<DB>, turns: u32) -> Self {
        let turns = usize::try_from(turns).unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS);
        let revocation_turns = Semaphore::new((turns / 2).max(1));
        Self { readers, writers, writer_turns: Semaphore::new(turns), revocation_turns }
    }

    pub(super) fn readers(&self) -> &sqlx::Pool<DB> {
        &self.readers
    }

    /// Waits for a turn to write.
    pub(super) async fn turn(&self, queue: Queue) -> Result<Turn<'_>, StoreError> {
        let turn = async {
            let revocation = match queue {
                Queue::Writers => None,
                Queue::Revocations => Some(self.revocation_turns.acquire().await),
            };
            let writer = self.writer_turns.acquire().await.map_err(|_| StoreError::Busy)?;
            let revocation = revocation.transpose().map_err(|_| StoreError::Busy)?;
            Ok(Turn { _revocation: revocation, _writer: writer })
        };
        tokio::time::timeout(TURN_TIMEOUT, turn).await.unwrap_or(Err(StoreError::Busy))
    }

    pub(super) async fn close(&self) {
        self.writers.close().await;
        self.readers.close().await;
    }
}

impl Pools<Sqlite> {
    /// A transaction that holds the lock from its beginning.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writers.begin_with("BEGIN IMMEDIATE").await
    }
}

impl Pools<Postgres> {
    /// A transaction whose statements see what others committed before each of them, whatever the database's
    /// default is.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.writers.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }
}

/// Opens the file, made if absent, and applies the migrations that it lacks.
pub(super) async fn make_sqlite(url: &str) -> Result<Pools<Sqlite>, StoreError> {
    // FULL: a commit is on the disk before it is acknowledged, also in WAL mode.
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    if !is_in_memory(url) {
        make_private(options.get_filename()).map_err(StoreError::File)?;
    }
    let pools = sqlite_pools(url, options).await?;
    additive(migrations::all()).run(&pools.writers).await?;
    Ok(pools)
}

/// Opens a file that exists and is up to date.
pub(super) async fn find_sqlite(url: &str) -> Result<Pools<Sqlite>, StoreError> {
    let options =
        SqliteConnectOptions::from_str(url)?.create_if_missing(false).synchronous(SqliteSynchronous::Full);
    if is_in_memory(url) || !options.get_filename().exists() {
        return Err(StoreError::Absent);
    }
    let pools = sqlite_pools(url, options).await?;
    let mut connection = pools.readers.acquire().await?;
    check_migrations(&migrations::all(), &mut *connection).await?;
    drop(connection);
    Ok(pools)
}

async fn sqlite_pools(url: &str, options: SqliteConnectOptions) -> Result<Pools<Sqlite>, StoreError> {
    let options = options.foreign_keys(true).busy_timeout(BUSY_TIMEOUT);
    let pool = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection to a server may have been lost meanwhile; one to a file has not, and asking it is one
            // more trip to its thread and back.
            .test_before_acquire(false)
    };
    // The database in memory ends with its last connection.
    let forever = is_in_memory(url);
    let writers = match forever {
        true => pool(1).idle_timeout(None).max_lifetime(None),
        false => pool(1),
    };
    let writers = writers.connect_with(options.clone()).await?;
    let readers = match forever {
        true => writers.clone(),
        false => pool(SQLITE_READERS).connect_lazy_with(options.pragma("query_only", "ON")),
    };
    Ok(Pools::new(readers, writers, 1))
}

/// Whether `url` names a database that is in no file.
pub(super) fn is_in_memory(url: &str) -> bool {
    let rest = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    path == ":memory:" || parameters.split('&').any(|parameter| parameter == "mode=memory")
}

/// Makes the file if it is absent, readable for its owner alone: it holds hashes of passwords. SQLite
/// gives the files that it puts beside it the same permissions.
fn make_private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if file.exists() {
        return Ok(());
    }
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file).map(drop)
}

/// Connects, and applies the migrations that the database lacks.
pub(super) async fn make_postgres(url: &str, connections: u32) -> Result<Pools<Postgres>, StoreError> {
    let options = postgres_options(url)?;
    // A connection without our time limits: another companion's migrations may take longer.
    let mut connection = PgConnection::connect_with(&options).await?;
    additive(migrations::all()).run(&mut connection).await?;
    connection.close().await?;
    postgres_pools(options, connections).await
}

/// Connects to a database that is up to date.
pub(super) async fn find_postgres(url: &str, connections: u32) -> Result<Pools<Postgres>, StoreError> {
    let pools = postgres_pools(postgres_options(url)?, connections).await?;
    let mut connection = pools.readers.acquire().await?;
    check_migrations(&migrations::all(), &mut *connection).await?;
    drop(connection);
    Ok(pools)
}

fn postgres_options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?.application_name("jwt-gate-auth"))
}

async fn postgres_pools(options: PgConnectOptions, connections: u32) -> Result<Pools<Postgres>, StoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(POSTGRES_SESSION).execute(connection).await?;
                Ok(())
            })
        })
        // A server that vanished answers nothing, and sqlx's own tests would wait for that answer until the
        // kernel gives up, a quarter of an hour later.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move { answers_in(PROBE_TIMEOUT, connection).await.map(|()| true) })
        })
        .after_release(|connection, _| {
            Box::pin(async move { answers_in(RELEASE_TIMEOUT, connection).await.map(|()| true) })
        })
        .connect_with(options)
        .await?;
    Ok(Pools::new(pool.clone(), pool, (connections / 2).max(1)))
}

async fn answers_in(limit: Duration, connection: &mut PgConnection) -> sqlx::Result<()> {
    match tokio::time::timeout(limit, connection.ping()).await {
        Ok(answered) => answered,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Whether a store has every migration of ours.
async fn check_migrations(migrator: &Migrator, connection: &mut impl Migrate) -> Result<(), StoreError> {
    let table = &migrator.table_name;
    // Asking makes no table: without the table, the database answers with an error.
    let applied = match connection.list_applied_migrations(table).await {
        Ok(applied) => applied,
        Err(MigrateError::Execute(sqlx::Error::Database(_))) => return Err(StoreError::Absent),
        Err(error) => return Err(error.into()),
    };
    if applied.is_empty() {
        return Err(StoreError::Absent);
    }
    let has = |version| applied.iter().any(|migration| migration.version == version);
    if migrator.iter().all(|migration| has(migration.version)) { Ok(()) } else { Err(StoreError::Outdated) }
}
