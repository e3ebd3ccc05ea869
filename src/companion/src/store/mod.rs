//! Where accounts, sessions and revocations are kept: one SQLite file, or PostgreSQL.
//!
//! Every statement is written once, in the SQL that both speak.

use std::fmt;

mod connect;
mod costs;
mod feed;
mod migrations;
mod revocations;
mod row;
mod sessions;
mod users;

use connect::{Pools, in_time};
pub use feed::{Entry, Page, Position};
pub use revocations::{Change, RevokeUser, TokenOwner};
pub use sessions::{Begun, NewSession, Session};
pub use users::{NewUser, Profile, Reason, User};

use crate::clock::Clock;

/// How far a token's `iat` may be ahead of the clock that checks it, in seconds.
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 60;

/// The longest life of a token that `serve` or `token mint` makes, in seconds: ten years.
pub const MAX_LIFETIME_SECONDS: u32 = 315_360_000;

/// The store.
pub struct Store {
    pool: Pool,
    clock: Clock,
}

enum Pool {
    Sqlite(Pools<sqlx::Sqlite>),
    Postgres(Pools<sqlx::Postgres>),
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
    /// There is no store, or the database has none of its tables.
    Absent,
    /// The store lacks migrations that this program needs.
    Outdated,
    /// The migrations could not be applied.
    Migrate(sqlx::migrate::MigrateError),
    /// The file for SQLite could not be made.
    File(std::io::Error),
    /// Too many others wait to write.
    Busy,
    /// The database did not answer in time.
    Silent,
    /// The database failed.
    Database(sqlx::Error),
}

/// Runs the same statements on either database, with a time limit. `$pool` is for reading only: it never
/// waits for a writer.
macro_rules! read {
    ($store:expr, $pool:ident => $statements:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite(pools) => {
                $crate::store::in_time(async {
                    let $pool = pools.readers();
                    $statements
                })
                .await
            }
            $crate::store::Pool::Postgres(pools) => {
                $crate::store::in_time(async {
                    let $pool = pools.readers();
                    $statements
                })
                .await
            }
        }
    };
}
use read;

/// Runs the same statements on either database in one transaction, with a time limit, after a wait for
/// a turn in `$queue`. They are committed where `$statements` is `Ok`, and rolled back otherwise.
macro_rules! write {
    ($store:expr, $queue:expr, $transaction:ident => $statements:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite(pools) => {
                $crate::store::in_time(async {
                    let _turn = pools.turn($queue).await?;
                    let mut $transaction = pools.begin().await?;
                    let done = $statements?;
                    $transaction.commit().await?;
                    Ok::<_, $crate::store::StoreError>(done)
                })
                .await
            }
            $crate::store::Pool::Postgres(pools) => {
                $crate::store::in_time(async {
                    let _turn = pools.turn($queue).await?;
                    let mut $transaction = pools.begin().await?;
                    let done = $statements?;
                    $transaction.commit().await?;
                    Ok::<_, $crate::store::StoreError>(done)
                })
                .await
            }
        }
    };
}
use write;

impl Store {
    /// Opens the store at `url` (`sqlite:PATH`, created if absent, or `postgres://…`, with at most
    /// `postgres_connections` connections) and applies the migrations that it lacks.
    ///
    /// Migrations of a newer program are left alone: they only add, so this program works beside them.
    ///
    /// # Errors
    /// [`StoreError`]. The message holds no password of the URL.
    pub async fn open(url: &str, postgres_connections: u32) -> Result<Self, StoreError> {
        let pool = match Kind::of_url(url)? {
            Kind::Sqlite => Pool::Sqlite(connect::make_sqlite(url).await?),
            Kind::Postgres => Pool::Postgres(connect::make_postgres(url, postgres_connections).await?),
        };
        let store = Self { pool, clock: Clock::default() };
        store.begin_revocation_history().await?;
        Ok(store)
    }

    /// Opens a store that exists. Nothing is created and no migration is applied.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::Outdated`], and as [`Store::open`].
    pub async fn open_existing(url: &str, postgres_connections: u32) -> Result<Self, StoreError> {
        let pool = match Kind::of_url(url)? {
            Kind::Sqlite => Pool::Sqlite(connect::find_sqlite(url).await?),
            Kind::Postgres => Pool::Postgres(connect::find_postgres(url, postgres_connections).await?),
        };
        Ok(Self { pool, clock: Clock::default() })
    }

    /// Opens a store that exists, as [`Store::open_existing`] does, or makes one if there is none.
    ///
    /// # Errors
    /// As [`Store::open_existing`].
    pub async fn open_or_make(url: &str, postgres_connections: u32) -> Result<Self, StoreError> {
        match Self::open_existing(url, postgres_connections).await {
            Err(StoreError::Absent) => Self::open(url, postgres_connections).await,
            opened => opened,
        }
    }

    /// The same store with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
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
        read!(self, pool => sqlx::query("SELECT head FROM revocation_feed WHERE id = 1")
            .fetch_one(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Waits for the statements under way and closes the connections.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pools) => pools.close().await,
            Pool::Postgres(pools) => pools.close().await,
        }
    }

    async fn begin_revocation_history(&self) -> Result<(), StoreError> {
        let epoch = crate::id::random_tag();
        write!(self, connect::Queue::Writers, transaction => sqlx::query(
            "INSERT INTO revocation_feed (id, epoch, head) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING")
            .bind(&epoch)
            .execute(&mut *transaction)
            .await
            .map(|_| ()))
    }
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
            Self::Absent => formatter.write_str("there is no store yet; `jwt-gate-auth serve` makes it"),
            Self::Outdated => formatter.write_str(
                "the store is older than this program; `jwt-gate-auth serve` of this version brings it up to date",
            ),
            Self::Migrate(error) => std::write!(formatter, "the migrations cannot be applied: {error}"),
            Self::File(error) => std::write!(formatter, "the store's file cannot be made: {error}"),
            Self::Busy => formatter.write_str("too many others wait to write to the store"),
            Self::Silent => formatter.write_str("the store did not answer in time"),
            Self::Database(error) => std::write!(formatter, "the store failed: {error}"),
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
