//! Accounts.

use super::row::from_row;
use super::{Store, StoreError, on_pool};
use crate::email::Email;
use crate::store::sessions::Session;

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
    pub name: String,
    /// See [`User::image`].
    pub image: Option<String>,
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
            name: self.name,
            image: self.image,
            password_hash: self.password_hash,
            disabled: false,
            valid_from_seconds: 0,
            created_at: self.created_at,
            updated_at: self.created_at,
        }
    }
}

const INSERT_USER: &str = "INSERT INTO users (id, email, name, image, password_hash, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $6)";

impl Store {
    /// Adds an account together with its first session, or neither. `false`: the e-mail is taken.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn insert_user(&self, user: &User, session: Option<&Session>) -> Result<bool, StoreError> {
        let inserted = on_pool!(self, pool => async {
            let mut transaction = pool.begin().await?;
            sqlx::query(INSERT_USER)
                .bind(&user.id)
                .bind(&user.email)
                .bind(&user.name)
                .bind(&user.image)
                .bind(&user.password_hash)
                .bind(user.created_at)
                .execute(&mut *transaction)
                .await?;
            if let Some(session) = session {
                sqlx::query(super::sessions::INSERT_SESSION)
                    .bind(&session.id)
                    .bind(&session.user_id)
                    .bind(&session.ip_address)
                    .bind(&session.user_agent)
                    .bind(session.created_at)
                    .bind(session.expires_at)
                    .bind(session.remember)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        }.await);
        match inserted {
            Ok(()) => Ok(true),
            Err(error) if error.is_unique_violation() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The account with this e-mail.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        on_pool!(self, pool => sqlx::query_as("SELECT * FROM users WHERE email = $1")
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
        on_pool!(self, pool => sqlx::query_as("SELECT * FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(pool)
            .await
            .map_err(StoreError::from))
    }

    /// Puts a better hash of the same password in the place of `old`; nothing happens where the password
    /// was changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn replace_hash(&self, id: &str, old: &str, new: &str) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query(
            "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
            .bind(id)
            .bind(old)
            .bind(new)
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Changes the password from the one that `old` is the hash of, without ending sessions. `false`: it is
    /// not that one any more.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_password(
        &self,
        id: &str,
        old: &str,
        new: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let changed = on_pool!(self, pool => sqlx::query(
            "UPDATE users SET password_hash = $3, updated_at = $4 WHERE id = $1 AND password_hash = $2")
            .bind(id)
            .bind(old)
            .bind(new)
            .bind(now_ms)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// Writes what a person may change of their account; `None` leaves a field as it is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_profile(
        &self,
        id: &str,
        name: Option<&str>,
        image: Option<Option<&str>>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query(
            "UPDATE users SET name = COALESCE($2, name), image = CASE WHEN $3 THEN $4 ELSE image END, \
             updated_at = $5 WHERE id = $1")
            .bind(id)
            .bind(name)
            .bind(image.is_some())
            .bind(image.flatten())
            .bind(now_ms)
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Lets an account sign in, or not. `false`: there is no such account.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn set_disabled(&self, id: &str, disabled: bool, now_ms: i64) -> Result<bool, StoreError> {
        let changed = on_pool!(self, pool => sqlx::query(
            "UPDATE users SET disabled = $2, updated_at = $3 WHERE id = $1")
            .bind(id)
            .bind(disabled)
            .bind(now_ms)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// Up to `limit` accounts, by id, from the one after `after` on.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn users_after(&self, after: &str, limit: i64) -> Result<Vec<User>, StoreError> {
        on_pool!(self, pool => sqlx::query_as("SELECT * FROM users WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await
            .map_err(StoreError::from))
    }
}
