//! Sessions: one for each token that a sign-in gave out.

use super::connect::Queue;
use super::row::from_row;
use super::{CLOCK_SKEW_SECONDS, Store, StoreError, User, read, write};

/// How many expired rows are removed at once: others write between.
pub(super) const BATCH: i64 = 500;

macro_rules! session_columns {
    () => {
        "id, user_id, ip_address, user_agent, remember, created_at, updated_at, expires_at"
    };
}
pub(super) use session_columns;

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The token's `jti`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Where it began, as far as the proxies in front are trusted.
    pub ip_address: String,
    /// What began it, cut to a bounded length.
    pub user_agent: String,
    /// Whether the cookie outlives the browser.
    pub remember: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// Milliseconds since 1970.
    pub expires_at: i64,
}

from_row!(Session { id, user_id, ip_address, user_agent, remember, created_at, updated_at, expires_at });

/// A session that is to begin.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// See [`Session::id`].
    pub id: String,
    /// See [`Session::ip_address`].
    pub ip_address: String,
    /// See [`Session::user_agent`].
    pub user_agent: String,
    /// See [`Session::remember`].
    pub remember: bool,
    /// How long its token lives.
    pub lifetime_seconds: i64,
}

/// What became of a session that was to begin.
#[derive(Debug)]
pub enum Begun {
    /// It has begun; its token is issued at [`Session::issued_at_seconds`].
    Session(Session),
    /// The user's tokens are good again from this second on, which is later than now.
    From(i64),
    /// The account was disabled or deleted, or its password or claims changed, since it was read.
    Changed,
}

/// Adds a session in a transaction.
macro_rules! insert_session {
    ($transaction:ident, $session:expr) => {
        sqlx::query(concat!(
            "INSERT INTO sessions (",
            $crate::store::sessions::session_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        ))
        .bind(&$session.id)
        .bind(&$session.user_id)
        .bind(&$session.ip_address)
        .bind(&$session.user_agent)
        .bind($session.remember)
        .bind($session.created_at)
        .bind($session.updated_at)
        .bind($session.expires_at)
        .execute(&mut *$transaction)
        .await
    };
}
pub(super) use insert_session;

impl Session {
    /// The `iat` of the session's newest token.
    pub fn issued_at_seconds(&self) -> i64 {
        self.updated_at / 1000
    }
}

impl NewSession {
    /// The session of `user_id` whose token is issued at `issued_at_ms`.
    pub(super) fn at(self, user_id: &str, issued_at_ms: i64) -> Session {
        Session {
            id: self.id,
            user_id: user_id.to_owned(),
            ip_address: self.ip_address,
            user_agent: self.user_agent,
            remember: self.remember,
            created_at: issued_at_ms,
            updated_at: issued_at_ms,
            // The token's dates have whole seconds, and the session ends with the token.
            expires_at: (issued_at_ms / 1000 + self.lifetime_seconds) * 1000,
        }
    }
}

impl Store {
    /// Begins a session for `user`, unless the account has changed since it was read.
    ///
    /// A change of the account holds its lock until the commit, and so does this: either the change ends this session, or
    /// this sees the change.
    ///
    /// If the user's tokens are good only from a later second on, nothing is done. With `in_advance` the token
    /// is issued for that second, if other machines accept it already.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn begin_session(
        &self,
        user: &User,
        session: NewSession,
        in_advance: bool,
    ) -> Result<Begun, StoreError> {
        write!(self, Queue::Writers, transaction => async {
            let valid_from: Option<(i64,)> = sqlx::query_as(
                "UPDATE users SET disabled = disabled WHERE id = $1 AND disabled = FALSE \
                 AND password_hash = $2 AND claims = $3 RETURNING valid_from_seconds")
                .bind(&user.id)
                .bind(&user.password_hash)
                .bind(&user.claims)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some((valid_from,)) = valid_from else { return Ok(Begun::Changed) };
            let now_ms = self.clock.now_ms();
            let ahead_ms = valid_from.saturating_mul(1000).saturating_sub(now_ms);
            let allowed_ms = if in_advance { CLOCK_SKEW_SECONDS * 1000 } else { 0 };
            if ahead_ms > allowed_ms {
                return Ok(Begun::From(valid_from));
            }
            let session = session.at(&user.id, now_ms.saturating_add(ahead_ms.max(0)));
            insert_session!(transaction, session)?;
            Ok::<_, sqlx::Error>(Begun::Session(session))
        }.await)
    }

    /// The session with this id, ended or not.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn session_by_id(&self, id: &str) -> Result<Option<Session>, StoreError> {
        read!(self, pool => sqlx::query_as(concat!("SELECT ", session_columns!(), " FROM sessions WHERE id = $1"))
            .bind(id)
            .fetch_optional(pool)
            .await
            .map_err(StoreError::from))
    }

    /// The newest sessions of a user that have not ended, up to `limit`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sessions_of(
        &self,
        user_id: &str,
        now_ms: i64,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        read!(self, pool => sqlx::query_as(
            concat!("SELECT ", session_columns!(), " FROM sessions WHERE user_id = $1 AND expires_at > $2 \
             ORDER BY created_at DESC, id LIMIT $3"))
            .bind(user_id)
            .bind(now_ms)
            .bind(limit)
            .fetch_all(pool)
            .await
            .map_err(StoreError::from))
    }

    /// Forgets sessions that have ended by themselves.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn prune_sessions(&self) -> Result<u64, StoreError> {
        let now_ms = self.sure_now_ms().await?;
        let mut forgotten = 0;
        loop {
            let batch = write!(self, Queue::Writers, transaction => sqlx::query(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT $2)")
                .bind(now_ms)
                .bind(BATCH)
                .execute(&mut *transaction)
                .await
                .map(|done| done.rows_affected()))?;
            forgotten += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }
}
