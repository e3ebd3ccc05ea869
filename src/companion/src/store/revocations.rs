//! What is revoked, and until when it has to be remembered.

use super::connect::Queue;
use super::row::from_row;
use super::users::user_columns;
use super::{CLOCK_SKEW_SECONDS, MAX_LIFETIME_SECONDS, Store, StoreError, User, read, write};
use crate::id::random_tag;

/// A gate may accept a token for a while after it expired (`clock_skew_seconds`), and two machines' clocks may
/// differ: a revocation outlives its token by this.
pub(super) const MARGIN_SECONDS: i64 = 600;

/// Takes the lock that puts revocations in an order, until the commit. Entries get their sequence under this lock, so they
/// become visible in that order: a gate that has read one has read all before it.
///
/// Every revocation waits for it, so it is taken late: after the account's lock, and before those of sessions.
const LOCK: &str = "UPDATE revocation_feed SET head = head WHERE id = 1";
const INSERT_TOKEN: &str = "INSERT INTO revocations (sequence, tag, jti, expires_at_seconds) \
     SELECT head + 1, $1, CAST($2 AS TEXT), $3 FROM revocation_feed WHERE id = 1 \
     AND NOT EXISTS (SELECT 1 FROM revocations WHERE jti = $2)";
const INSERT_SUBJECT: &str = "INSERT INTO revocations \
     (sequence, tag, subject, issued_before_seconds, expires_at_seconds) \
     SELECT head + 1, $1, CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM revocation_feed WHERE id = 1";

/// The sessions of `$1` that are revoked one by one: those after `$3`, and not `$4`.
const REVOKE_SESSIONS: &str = "INSERT INTO revocations (sequence, tag, jti, expires_at_seconds) \
     SELECT (SELECT head FROM revocation_feed WHERE id = 1) + ROW_NUMBER() OVER (ORDER BY id), \
     $2, id, expires_at / 1000 FROM sessions WHERE user_id = $1 AND updated_at > $3 AND id <> $4 \
     AND NOT EXISTS (SELECT 1 FROM revocations WHERE jti = sessions.id)";
const ADVANCE: &str = "UPDATE revocation_feed SET head = head + $1 WHERE id = 1";
/// Takes the account's lock until the commit: no session begins and no password changes meanwhile.
const LOCK_USER: &str =
    "UPDATE users SET disabled = disabled WHERE id = $1 RETURNING valid_from_seconds, password_hash";

/// Takes the lock of the history and appends what `$insert` inserts after its head.
macro_rules! append {
    ($transaction:ident, $insert:expr) => {
        async {
            sqlx::query(LOCK).execute(&mut *$transaction).await?;
            let appended = $insert.execute(&mut *$transaction).await?.rows_affected();
            let appended = i64::try_from(appended).unwrap_or(i64::MAX);
            sqlx::query(ADVANCE).bind(appended).execute(&mut *$transaction).await?;
            Ok::<_, sqlx::Error>(())
        }
        .await
    };
}

/// Revokes the sessions of a user one by one: those whose newest token was issued after an instant, and not `$kept`.
macro_rules! revoke_sessions {
    ($transaction:ident, $user_id:expr, $after_ms:expr, $kept:expr) => {{
        let revoke =
            sqlx::query(REVOKE_SESSIONS).bind($user_id).bind(random_tag()).bind($after_ms).bind($kept);
        append!($transaction, revoke)
    }};
}

/// Revokes the tokens of a subject that were issued before an instant.
macro_rules! revoke_subject {
    ($transaction:ident, $user_id:expr, $issued_before_seconds:expr) => {{
        let revoke = sqlx::query(INSERT_SUBJECT)
            .bind(random_tag())
            .bind($user_id)
            .bind($issued_before_seconds)
            // No session says when a minted token expires.
            .bind($issued_before_seconds.saturating_add(MAX_LIFETIME_SECONDS.into()));
        append!($transaction, revoke)
    }};
}

/// All of a user's tokens to be revoked, and a change of the account in the same transaction.
#[derive(Debug, Clone, Copy)]
pub struct RevokeUser<'store> {
    /// Whose tokens.
    pub user_id: &'store str,
    /// The change.
    pub change: Change<'store>,
}

/// A change of an account that ends all of its sessions.
#[derive(Debug, Clone, Copy)]
pub enum Change<'store> {
    /// The account stays as it is.
    Nothing,
    /// Its owner chose another password.
    Password {
        /// The hash as it was read. If it is another one by now, nothing is done.
        old: &'store str,
        /// The hash to put in its place.
        new: &'store str,
    },
    /// An operator chose another password.
    SetPassword {
        /// Its hash.
        new: &'store str,
    },
    /// It may not sign in any more.
    Disable,
    /// It has other claims of its own.
    Claims(&'store str),
    /// It is deleted.
    Delete {
        /// The hash of the password that its owner gave. If it is another one by now, nothing is done.
        old: Option<&'store str>,
    },
}

/// The account that a token was issued to.
#[derive(Debug)]
pub struct TokenOwner {
    /// The account.
    pub user: User,
    /// Whether the token is revoked.
    pub revoked: bool,
}

from_row!(TokenOwner { revoked } and { user });

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
        let (revoked,): (bool,) = read!(self, pool => sqlx::query_as(
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
    pub async fn token_owner(
        &self,
        jti: Option<&str>,
        subject: &str,
        issued_at: Option<f64>,
    ) -> Result<Option<TokenOwner>, StoreError> {
        read!(self, pool => sqlx::query_as(
            concat!("SELECT ", user_columns!(), ", (EXISTS (SELECT 1 FROM revocations WHERE jti = $1) \
             OR EXISTS (SELECT 1 FROM revocations WHERE subject = $2 AND issued_before_seconds > $3) \
             OR valid_from_seconds > $3) AS revoked FROM users WHERE id = $2"))
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
        write!(self, Queue::Revocations, transaction => async {
            for (jti, expires_at_seconds) in tokens {
                let revoke =
                    sqlx::query(INSERT_TOKEN).bind(random_tag()).bind(jti).bind(expires_at_seconds);
                append!(transaction, revoke)?;
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(jti).execute(&mut *transaction).await?;
            }
            Ok::<_, sqlx::Error>(())
        }.await)
    }

    /// Ends all of a user's sessions but `kept`, in a number of statements that does not depend on how many
    /// there are.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_other_sessions(&self, user_id: &str, kept: &str) -> Result<(), StoreError> {
        write!(self, Queue::Revocations, transaction => async {
            sqlx::query(LOCK_USER).bind(user_id).execute(&mut *transaction).await?;
            revoke_sessions!(transaction, user_id, i64::MIN, kept)?;
            sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
                .bind(user_id)
                .bind(kept)
                .execute(&mut *transaction)
                .await?;
            Ok::<_, sqlx::Error>(())
        }.await)
    }

    /// Ends everything that a user was issued up to now, and changes the account in the same transaction. Returns the second from which on the user's tokens are
    /// good again. `None`, and nothing is done, if there is no such user or the password is not the one that
    /// was read.
    ///
    /// Tokens hold whole seconds, so of two tokens of one second it cannot be said which came first. All of
    /// the current second are revoked, and the next one is issued in the second after: see
    /// [`crate::account::Accounts::begin_session`]. The clock is read when no session can begin any more, and a
    /// session that another companion's faster clock dated later is ended too.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_user(&self, revoke: RevokeUser<'_>) -> Result<Option<i64>, StoreError> {
        let (old_hash, new_hash) = match revoke.change {
            Change::Password { old, new } => (Some(old), Some(new)),
            Change::SetPassword { new } => (None, Some(new)),
            Change::Delete { old } => (old, None),
            _ => (None, None),
        };
        let claims = match revoke.change {
            Change::Claims(claims) => Some(claims),
            _ => None,
        };
        write!(self, Queue::Revocations, transaction => async {
            let user: Option<(i64, String)> =
                sqlx::query_as(LOCK_USER).bind(revoke.user_id).fetch_optional(&mut *transaction).await?;
            let unchanged = |hash: &str| old_hash.is_none_or(|old| old == hash);
            let Some((valid_from, _)) = user.filter(|(_, hash)| unchanged(hash)) else { return Ok(None) };
            let now_ms = self.clock.now_ms();
            // No token that is dated later than this is accepted anywhere yet. A session that began under a
            // clock far ahead is revoked by its id, so that it does not decide when the account's next one
            // can begin.
            let horizon_ms = now_ms + CLOCK_SKEW_SECONDS * 1000;
            let (newest_ms, beyond): (Option<i64>, i64) = sqlx::query_as(
                "SELECT MAX(CASE WHEN updated_at <= $2 THEN updated_at END), \
                 COUNT(CASE WHEN updated_at > $2 THEN 1 END) FROM sessions WHERE user_id = $1")
                .bind(revoke.user_id)
                .bind(horizon_ms)
                .fetch_one(&mut *transaction)
                .await?;
            let newest_ms = now_ms.max(newest_ms.unwrap_or_default());
            // An instant that another machine with a faster clock wrote is not taken back.
            let valid_from = valid_from.max(newest_ms / 1000 + 1);
            sqlx::query(
                "UPDATE users SET valid_from_seconds = $2, password_hash = COALESCE($3, password_hash), \
                 disabled = CASE WHEN $4 THEN TRUE ELSE disabled END, updated_at = $5, \
                 claims = COALESCE($6, claims) WHERE id = $1")
                .bind(revoke.user_id)
                .bind(valid_from)
                .bind(new_hash)
                .bind(matches!(revoke.change, Change::Disable))
                .bind(now_ms)
                .bind(claims)
                .execute(&mut *transaction)
                .await?;
            if beyond > 0 {
                revoke_sessions!(transaction, revoke.user_id, horizon_ms, "")?;
            }
            revoke_subject!(transaction, revoke.user_id, valid_from)?;
            sqlx::query("DELETE FROM sessions WHERE user_id = $1")
                .bind(revoke.user_id)
                .execute(&mut *transaction)
                .await?;
            if matches!(revoke.change, Change::Delete { .. }) {
                sqlx::query("DELETE FROM users WHERE id = $1")
                    .bind(revoke.user_id)
                    .execute(&mut *transaction)
                    .await?;
            }
            Ok::<_, sqlx::Error>(Some(valid_from))
        }.await)
    }

    /// Undoes what a clock that was ahead did to an account: its tokens are good again from the next second on,
    /// and those issued before stay revoked. `false`: they were good already, or the account is gone.
    ///
    /// Gates that have read of the later time keep it until they restart.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn repair(&self, user_id: &str) -> Result<bool, StoreError> {
        let repaired = write!(self, Queue::Revocations, transaction => async {
            let user: Option<(i64, String)> =
                sqlx::query_as(LOCK_USER).bind(user_id).fetch_optional(&mut *transaction).await?;
            let good_from = self.clock.now_seconds() + 1;
            if user.is_none_or(|(valid_from, _)| valid_from <= good_from) {
                return Ok(false);
            }
            sqlx::query("UPDATE users SET valid_from_seconds = $2 WHERE id = $1")
                .bind(user_id)
                .bind(good_from)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM revocations WHERE subject = $1 AND issued_before_seconds > $2")
                .bind(user_id)
                .bind(good_from)
                .execute(&mut *transaction)
                .await?;
            revoke_subject!(transaction, user_id, good_from)?;
            Ok::<_, sqlx::Error>(true)
        }.await)?;
        Ok(repaired)
    }
}
