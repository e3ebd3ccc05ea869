//! Sessions: one for each token that a sign-in gave out.

use super::{Store, StoreError, on_pool};

/// A session.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Session {
    /// The token's `jti`.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// Where it began, as far as the proxies in front are trusted.
    pub ip_address: String,
    /// What began it, cut to a bounded length.
    pub user_agent: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// Milliseconds since 1970.
    pub expires_at: i64,
}

pub(super) const INSERT_SESSION: &str = "INSERT INTO sessions (id, user_id, ip_address, user_agent, created_at, updated_at, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $5, $6)";

impl Store {
    /// Adds a session.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn insert_session(&self, session: &Session) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query(INSERT_SESSION)
            .bind(&session.id)
            .bind(&session.user_id)
            .bind(&session.ip_address)
            .bind(&session.user_agent)
            .bind(session.created_at)
            .bind(session.expires_at)
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }
}
