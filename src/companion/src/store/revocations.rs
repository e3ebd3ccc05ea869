//! What is revoked, and until when it has to be remembered.

use super::{Store, StoreError, on_pool};

/// One thing that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// The token with this `jti`.
    Token(String),
    /// Every token of the subject with an `iat` before this instant, and those without `iat`.
    Subject {
        /// The tokens' `sub`.
        subject: String,
        /// Seconds since 1970.
        issued_before_seconds: i64,
    },
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub revoked: Revoked,
    /// When the tokens concerned have expired, so that it may be forgotten. Seconds since 1970.
    pub expires_at_seconds: i64,
}

/// A gate may be configured to accept a token for a while after it expired (`clock_skew_seconds`), and two
/// machines' clocks may differ: a revocation outlives its token by this.
const MARGIN_SECONDS: i64 = 600;

const NEXT_SEQUENCE: &str = "UPDATE revocation_feed SET head = head + 1 WHERE id = 1 RETURNING head";
const INSERT_REVOCATION: &str = "INSERT INTO revocations (sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds) \
     VALUES ($1, $2, $3, $4, $5, $6)";

/// Appends a revocation within a transaction.
///
/// Moving `head` first takes a lock that lasts until the commit. So entries become visible in the order of
/// their sequence, and a reader that has seen one has seen all before it.
macro_rules! append_revocation {
    ($transaction:expr, $revocation:expr) => {{
        let (sequence,): (i64,) =
            sqlx::query_as($crate::store::revocations::NEXT_SEQUENCE).fetch_one(&mut *$transaction).await?;
        let row = $crate::store::revocations::Row::of($revocation);
        sqlx::query($crate::store::revocations::INSERT_REVOCATION)
            .bind(sequence)
            .bind($crate::id::random_tag())
            .bind(row.jti)
            .bind(row.subject)
            .bind(row.issued_before_seconds)
            .bind(row.expires_at_seconds)
            .execute(&mut *$transaction)
            .await?;
    }};
}

/// A revocation as its columns.
pub(super) struct Row<'revocation> {
    pub(super) jti: Option<&'revocation str>,
    pub(super) subject: Option<&'revocation str>,
    pub(super) issued_before_seconds: Option<i64>,
    pub(super) expires_at_seconds: i64,
}

impl<'revocation> Row<'revocation> {
    pub(super) fn of(revocation: &'revocation Revocation) -> Self {
        let expires_at_seconds = revocation.expires_at_seconds.saturating_add(MARGIN_SECONDS);
        match &revocation.revoked {
            Revoked::Token(jti) => {
                Self { jti: Some(jti), subject: None, issued_before_seconds: None, expires_at_seconds }
            }
            Revoked::Subject { subject, issued_before_seconds } => Self {
                jti: None,
                subject: Some(subject),
                issued_before_seconds: Some(*issued_before_seconds),
                expires_at_seconds,
            },
        }
    }
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
        // The instants of revocations are whole seconds, so `before` is the same for the floor. A token
        // without `iat` may be of any age.
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which keeps the order")]
        let issued_at = issued_at.map_or(i64::MIN, |seconds| seconds.floor() as i64);
        let (revoked,): (bool,) = on_pool!(self, pool => sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM revocations WHERE jti = $1) \
             OR EXISTS (SELECT 1 FROM revocations WHERE subject = $2 AND issued_before_seconds > $3) \
             OR EXISTS (SELECT 1 FROM users WHERE id = $2 AND valid_from_seconds > $3)")
            .bind(jti)
            .bind(subject)
            .bind(issued_at)
            .fetch_one(pool)
            .await)?;
        Ok(revoked)
    }

    /// Ends one session for good: its token is revoked and its row removed, both or neither.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn revoke_token(&self, jti: &str, expires_at_seconds: i64) -> Result<(), StoreError> {
        let revocation = Revocation { revoked: Revoked::Token(jti.to_owned()), expires_at_seconds };
        let done: Result<(), sqlx::Error> = on_pool!(self, pool => async {
            let mut transaction = pool.begin().await?;
            // First the lock that orders revocations; then look whether this one is there already, so that
            // signing out again and again does not fill the feed.
            let (known,): (bool,) = {
                sqlx::query("UPDATE revocation_feed SET head = head WHERE id = 1").execute(&mut *transaction).await?;
                sqlx::query_as("SELECT EXISTS (SELECT 1 FROM revocations WHERE jti = $1)")
                    .bind(jti)
                    .fetch_one(&mut *transaction)
                    .await?
            };
            if !known {
                append_revocation!(transaction, &revocation);
            }
            sqlx::query("DELETE FROM sessions WHERE id = $1").bind(jti).execute(&mut *transaction).await?;
            transaction.commit().await
        }.await);
        done.map_err(StoreError::from)
    }
}
