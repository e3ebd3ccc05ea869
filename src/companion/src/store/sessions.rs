//! Sessions: one for each token that a sign-in gave out.

use super::row::from_row;
use super::{Store, StoreError, User, on_pool};

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

pub(super) const INSERT_SESSION: &str = "INSERT INTO sessions (id, user_id, ip_address, user_agent, created_at, updated_at, expires_at, remember) \
     VALUES ($1, $2, $3, $4, $5, $5, $6, $7)";

impl Store {
    /// Adds a session for `user` whose token is issued at `issued_at_seconds`. `false`, and no session:
    /// the account was disabled, its password changed or its tokens revoked since `user` was read.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn insert_session(
        &self,
        user: &User,
        session: &Session,
        issued_at_seconds: i64,
    ) -> Result<bool, StoreError> {
        let inserted = on_pool!(self, pool => sqlx::query(
            "INSERT INTO sessions (id, user_id, ip_address, user_agent, created_at, updated_at, expires_at, \
             remember) SELECT $1, id, $3, $4, $5, $5, $6, $7 FROM users WHERE id = $2 \
             AND disabled = FALSE AND password_hash = $8 AND valid_from_seconds <= $9")
            .bind(&session.id)
            .bind(&session.user_id)
            .bind(&session.ip_address)
            .bind(&session.user_agent)
            .bind(session.created_at)
            .bind(session.expires_at)
            .bind(session.remember)
            .bind(&user.password_hash)
            .bind(issued_at_seconds)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(inserted > 0)
    }

    /// The session with this id, ended or not.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn session_by_id(&self, id: &str) -> Result<Option<Session>, StoreError> {
        on_pool!(self, pool => sqlx::query_as("SELECT * FROM sessions WHERE id = $1")
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
        on_pool!(self, pool => sqlx::query_as(
            "SELECT * FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id LIMIT $3")
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
    pub async fn prune_sessions(&self, now_ms: i64) -> Result<u64, StoreError> {
        on_pool!(self, pool => sqlx::query("DELETE FROM sessions WHERE expires_at < $1")
            .bind(now_ms)
            .execute(pool)
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::from))
    }
}
