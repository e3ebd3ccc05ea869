//! Accounts.

use super::connect::Queue;
use super::row::from_row;
use super::sessions::{NewSession, Session, insert_session};
use super::{Store, StoreError, read, write};
use crate::email::Email;
use crate::profile::{Image, Name};

/// Not `*`: a newer program may have added columns, and PostgreSQL refuses a prepared statement whose result
/// has changed.
macro_rules! user_columns {
    () => {
        "users.id, email, name, image, password_hash, disabled, claims, valid_from_seconds, users.created_at, \
         users.updated_at"
    };
}
pub(super) use user_columns;

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    /// The `sub` of the account's tokens.
    pub id: String,
    /// In normal form.
    pub email: String,
    /// What the person wants to be called; may be empty.
    pub name: String,
    /// The address of a picture.
    pub image: Option<String>,
    /// bcrypt.
    pub password_hash: String,
    /// Whether signing in is refused.
    pub disabled: bool,
    /// The account's own claims: a JSON object, see [`crate::claims::OwnClaims`].
    pub claims: String,
    /// Tokens with an `iat` before it are revoked.
    pub valid_from_seconds: i64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
}

from_row!(User {
    id,
    email,
    name,
    image,
    password_hash,
    disabled,
    claims,
    valid_from_seconds,
    created_at,
    updated_at,
});

/// An account to be made.
#[derive(Debug)]
pub struct NewUser {
    /// See [`User::id`].
    pub id: String,
    /// See [`User::email`].
    pub email: Email,
    /// See [`User::name`].
    pub name: Name,
    /// See [`User::image`].
    pub image: Option<Image>,
    /// See [`User::password_hash`].
    pub password_hash: String,
    /// See [`User::created_at`].
    pub created_at: i64,
}

impl NewUser {
    /// The account, as it will be in the store.
    pub fn into_user(self) -> User {
        User {
            id: self.id,
            email: self.email.as_str().to_owned(),
            name: self.name.into(),
            image: self.image.map(String::from),
            password_hash: self.password_hash,
            disabled: false,
            claims: "{}".to_owned(),
            valid_from_seconds: 0,
            created_at: self.created_at,
            updated_at: self.created_at,
        }
    }
}

/// Why a hash is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The owner chose another password.
    Chosen,
    /// It is a better hash of the same password.
    Rehashed,
}

const INSERT_USER: &str = "INSERT INTO users (id, email, name, image, password_hash, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $6)";

/// What a person changes of their account; `None` leaves a field as it is.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'store> {
    /// See [`User::name`].
    pub name: Option<&'store str>,
    /// See [`User::image`].
    pub image: Option<Option<&'store str>>,
}

impl Store {
    /// Adds an account together with its first session, or neither. `None`: the e-mail is taken.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn insert_user(
        &self,
        user: &User,
        session: Option<NewSession>,
    ) -> Result<Option<Option<Session>>, StoreError> {
        let inserted = write!(self, Queue::Writers, transaction => async {
            sqlx::query(INSERT_USER)
                .bind(&user.id)
                .bind(&user.email)
                .bind(&user.name)
                .bind(&user.image)
                .bind(&user.password_hash)
                .bind(user.created_at)
                .execute(&mut *transaction)
                .await?;
            let Some(session) = session else { return Ok(None) };
            let session = session.at(&user.id, self.clock.now_ms());
            insert_session!(transaction, session)?;
            Ok::<_, sqlx::Error>(Some(session))
        }.await);
        match inserted {
            Ok(session) => Ok(Some(session)),
            Err(error) if error.is_unique_violation() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The account with this e-mail.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        read!(self, pool => sqlx::query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE email = $1"))
            .bind(email.as_str())
            .fetch_optional(pool)
            .await
            .map_err(StoreError::from))
    }

    /// The account with this id.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn user_by_id(&self, id: &str) -> Result<Option<User>, StoreError> {
        read!(self, pool => sqlx::query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1"))
            .bind(id)
            .fetch_optional(pool)
            .await
            .map_err(StoreError::from))
    }

    /// Replaces the hash of a password without ending sessions, unless it is no longer `old`: then the answer is `false`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn replace_hash(
        &self,
        id: &str,
        old: &str,
        new: &str,
        reason: Reason,
    ) -> Result<bool, StoreError> {
        let changed = write!(self, Queue::Writers, transaction => sqlx::query(
            "UPDATE users SET password_hash = $3, updated_at = CASE WHEN $4 THEN $5 ELSE updated_at END \
             WHERE id = $1 AND password_hash = $2")
            .bind(id)
            .bind(old)
            .bind(new)
            .bind(reason == Reason::Chosen)
            .bind(self.clock.now_ms())
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// Writes what a person changes of their account. If `session_id` is a session of theirs that has not
    /// ended, it is returned, with the second at which a new token of it can be issued.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_profile(
        &self,
        id: &str,
        profile: Profile<'_>,
        session_id: Option<&str>,
    ) -> Result<Option<Session>, StoreError> {
        write!(self, Queue::Writers, transaction => async {
            let valid_from: Option<(i64,)> = sqlx::query_as(
                "UPDATE users SET name = COALESCE($2, name), image = CASE WHEN $3 THEN $4 ELSE image END, \
                 updated_at = $5 WHERE id = $1 RETURNING valid_from_seconds")
                .bind(id)
                .bind(profile.name)
                .bind(profile.image.is_some())
                .bind(profile.image.flatten())
                .bind(self.clock.now_ms())
                .fetch_optional(&mut *transaction)
                .await?;
            let Some(((valid_from,), session_id)) = valid_from.zip(session_id) else { return Ok(None) };
            // With the account's lock: what ends the session ends this token too.
            let issued_at_ms = self.clock.now_ms().max(valid_from.saturating_mul(1000));
            sqlx::query_as(concat!(
                "UPDATE sessions SET updated_at = CASE WHEN updated_at > $3 THEN updated_at ELSE $3 END \
                 WHERE id = $1 AND user_id = $2 RETURNING ", super::sessions::session_columns!()))
                .bind(session_id)
                .bind(id)
                .bind(issued_at_ms)
                .fetch_optional(&mut *transaction)
                .await
        }.await)
    }

    /// Lets a disabled account sign in again. `false`: there is no such account.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn enable(&self, id: &str) -> Result<bool, StoreError> {
        let changed = write!(self, Queue::Writers, transaction => sqlx::query(
            "UPDATE users SET disabled = FALSE, updated_at = $2 WHERE id = $1")
            .bind(id)
            .bind(self.clock.now_ms())
            .execute(&mut *transaction)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// Up to `limit` accounts, by id, from the one after `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn users_after(&self, after: &str, limit: i64) -> Result<Vec<User>, StoreError> {
        read!(self, pool => sqlx::query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id > $1 ORDER BY id LIMIT $2"))
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
            .map_err(StoreError::from))
    }
}
