//! What is revoked, and until when it has to be remembered.

use super::row::from_row;
use super::{Store, StoreError, User, on_pool};
use crate::id::random_tag;

/// A gate may accept a token for a while after it expired (`clock_skew_seconds`), and two machines' clocks may
/// differ: a revocation outlives its token by this.
pub(super) const MARGIN_SECONDS: i64 = 600;

/// Takes the lock that puts revocations in an order, until the commit. An entry's sequence is given out under
/// it, so entries become visible in the order of their sequence, and whoever has read one has read all before
/// it.
const LOCK: &str = "UPDATE revocation_feed SET head = head WHERE id = 1";
const NEXT_SEQUENCE: &str = "UPDATE revocation_feed SET head = head + 1 WHERE id = 1 RETURNING head";
const INSERT_TOKEN: &str =
    "INSERT INTO revocations (sequence, tag, jti, expires_at_seconds) VALUES ($1, $2, $3, $4)";
const INSERT_SUBJECT: &str = "INSERT INTO revocations \
     (sequence, tag, subject, issued_before_seconds, expires_at_seconds) VALUES ($1, $2, $3, $4, $5)";

/// All of a user's tokens to be revoked.
#[derive(Debug, Clone, Copy)]
pub struct RevokeUser<'store> {
    /// Whose.
    pub user_id: &'store str,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long the tokens live that are made now.
    pub lifetime_seconds: i64,
    /// The hash of the password as it was read, and the one to put in its place.
    pub new_password: Option<(&'store str, &'store str)>,
}

/// The account that a token speaks of.
#[derive(Debug)]
pub struct Holder {
    /// The account.
    pub user: User,
    /// Whether the token is revoked.
    pub revoked: bool,
}

from_row!(Holder { revoked } and { user });

/// `iat` in whole seconds. The instants of revocations are whole seconds, so `before` is the same for the floor. A token
/// without `iat` may be of any age.
fn floor(issued_at: Option<f64>) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which keeps the order")]
    let floor = issued_at.map_or(i64::MIN, |seconds| seconds.floor() as i64);
    floor
}

impl Store {
    /// Whether a token with these claims is revoked. `issued_at` is in seconds.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn is_revoked(
        &self,
        jti: Option<&str>,
        subject: Option<&str>,
        issued_at: Option<f64>,
    ) -> Result<bool, StoreError> {
        let (revoked,): (bool,) = on_pool!(self, pool => sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM revocations WHERE jti = $1) \
             OR EXISTS (SELECT 1 FROM revocations WHERE subject = $2 AND issued_before_seconds > $3) \
             OR EXISTS (SELECT 1 FROM users WHERE id = $2 AND valid_from_seconds > $3)")
            .bind(jti)
            .bind(subject)
            .bind(floor(issued_at))
            .fetch_one(pool)
            .await)?;
        Ok(revoked)
    }

    /// The account behind a token with these claims, and whether the token is revoked; `None` where there is no such
    /// account. One statement, because each is a trip to another thread or machine.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn holder(
        &self,
        jti: Option<&str>,
        subject: &str,
        issued_at: Option<f64>,
    ) -> Result<Option<Holder>, StoreError> {
        on_pool!(self, pool => sqlx::query_as(
            "SELECT users.*, (EXISTS (SELECT 1 FROM revocations WHERE jti = $1) \
             OR EXISTS (SELECT 1 FROM revocations WHERE subject = $2 AND issued_before_seconds > $3) \
             OR valid_from_seconds > $3) AS revoked FROM users WHERE id = $2")
            .bind(jti)
            .bind(subject)
            .bind(floor(issued_at))
            .fetch_optional(pool)
            .await
            .map_err(StoreError::from))
    }

    /// Ends sessions for good: their tokens are revoked and their rows removed, all or none. A token that is
    /// revoked already is left as it is. Each token comes with the second at which it expires.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_tokens(&self, tokens: &[(&str, i64)]) -> Result<(), StoreError> {
        on_pool!(self, pool => async {
            let mut transaction = pool.begin().await?;
            sqlx::query(LOCK).execute(&mut *transaction).await?;
            for (jti, expires_at_seconds) in tokens {
                let (known,): (bool,) =
                    sqlx::query_as("SELECT EXISTS (SELECT 1 FROM revocations WHERE jti = $1)")
                        .bind(jti)
                        .fetch_one(&mut *transaction)
                        .await?;
                if !known {
                    let (sequence,): (i64,) =
                        sqlx::query_as(NEXT_SEQUENCE).fetch_one(&mut *transaction).await?;
                    sqlx::query(INSERT_TOKEN)
                        .bind(sequence)
                        .bind(random_tag())
                        .bind(jti)
                        .bind(expires_at_seconds)
                        .execute(&mut *transaction)
                        .await?;
                }
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(jti).execute(&mut *transaction).await?;
            }
            transaction.commit().await
        }.await)?;
        Ok(())
    }

    /// Ends everything that a user was issued up to now, and changes the password where one is given. The
    /// second from which on the user's tokens are good again, which is the next one; `None`, and nothing is
    /// done, where there is no such user or the password is not the one that was read.
    ///
    /// Tokens hold whole seconds, so of two tokens of one second it cannot be said which came first. All of
    /// the current second are revoked, and the next one is issued in the second after: see
    /// [`crate::app::App::begin_session`].
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_user(&self, revoke: RevokeUser<'_>) -> Result<Option<i64>, StoreError> {
        let now_seconds = revoke.now_ms / 1000;
        let (old_hash, new_hash) = revoke.new_password.unzip();
        on_pool!(self, pool => async {
            let mut transaction = pool.begin().await?;
            sqlx::query(LOCK).execute(&mut *transaction).await?;
            // An instant that another machine with a faster clock wrote is not taken back.
            let valid_from: Option<(i64,)> = sqlx::query_as(
                "UPDATE users SET password_hash = COALESCE($2, password_hash), updated_at = $4, \
                 valid_from_seconds = CASE WHEN valid_from_seconds > $3 THEN valid_from_seconds ELSE $3 END \
                 WHERE id = $1 AND ($5 IS NULL OR password_hash = $5) RETURNING valid_from_seconds")
                .bind(revoke.user_id)
                .bind(new_hash)
                .bind(now_seconds + 1)
                .bind(revoke.now_ms)
                .bind(old_hash)
                .fetch_optional(&mut *transaction)
                .await?;
            let Some((valid_from,)) = valid_from else { return Ok(None) };
            // Sessions may have begun under a configuration with a longer life.
            let (longest,): (Option<i64>,) =
                sqlx::query_as("SELECT MAX(expires_at) FROM sessions WHERE user_id = $1")
                    .bind(revoke.user_id)
                    .fetch_one(&mut *transaction)
                    .await?;
            let expires_at = (valid_from + revoke.lifetime_seconds).max(longest.unwrap_or_default() / 1000);
            let (sequence,): (i64,) = sqlx::query_as(NEXT_SEQUENCE).fetch_one(&mut *transaction).await?;
            sqlx::query(INSERT_SUBJECT)
                .bind(sequence)
                .bind(random_tag())
                .bind(revoke.user_id)
                .bind(valid_from)
                .bind(expires_at)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM sessions WHERE user_id = $1")
                .bind(revoke.user_id)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(Some(valid_from))
        }.await)
    }
}
