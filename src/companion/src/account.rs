//! Signing up and in, whatever the form of the request and of the answer.

use axum::http::StatusCode;
use jwt_gate_token::VerifiedClaims;

use crate::app::App;
use crate::clock;
use crate::email::Email;
use crate::http::body::Fields;
use crate::http::problem::Problem;
use crate::id;
use crate::password::{self, Unacceptable, Verdict};
use crate::session::Client;
use crate::store::{NewUser, Session, User};

/// The longest name, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// Somebody who has just signed up or in.
pub struct SignedIn {
    /// The account.
    pub user: User,
    /// The new session.
    pub session: Session,
    /// The token that stands for it.
    pub token: String,
}

/// A sign-up whose fields are acceptable.
pub struct SignUp {
    /// The account's address.
    pub email: Email,
    /// The chosen password.
    pub password: String,
    /// May be empty.
    pub name: String,
    /// The address of a picture.
    pub image: Option<String>,
}

impl App {
    /// Makes an account and its first session.
    ///
    /// # Errors
    /// 409 `email_taken`, 503.
    pub async fn sign_up(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, Problem> {
        let SignUp { email, password, name, image } = sign_up;
        // The store decides in the end; asking first spares the work of hashing.
        if self.store.user_by_email(&email).await?.is_some() {
            return Err(Problem::email_taken());
        }
        let password_hash = self.passwords.hash(password).await?;
        let created_at = clock::now_ms();
        let user =
            NewUser { id: id::new_user_id(), email, name, image, password_hash, created_at }.into_user();
        let session = self.tokens.begin_session(&user, client);
        let token = self.tokens.issue(&user, &session)?;
        if self.store.insert_user(&user, Some(&session)).await? {
            Ok(SignedIn { user, session, token })
        } else {
            Err(Problem::email_taken())
        }
    }

    /// Begins a session for whoever knows the password. An unknown e-mail, an address that is none and a wrong
    /// password get the same answer after the same work.
    ///
    /// # Errors
    /// 401 `invalid_credentials`, 403 `account_disabled`, 503.
    pub async fn sign_in(&self, email: &str, password: String, client: &Client) -> Result<SignedIn, Problem> {
        let user = match Email::parse(email) {
            Ok(email) => self.store.user_by_email(&email).await?,
            Err(_) => None,
        };
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let verdict = self.passwords.verify(password, stored).await?;
        let user = user.filter(|_| verdict != Verdict::Wrong).ok_or_else(Problem::invalid_credentials)?;
        if user.disabled {
            return Err(Problem::account_disabled());
        }
        if let Verdict::RightButWeak(better) = verdict {
            self.store.replace_hash(&user.id, &user.password_hash, &better).await?;
        }
        self.begin_session(user, client).await
    }

    /// Begins a session for a user whose identity is established.
    ///
    /// # Errors
    /// 503.
    pub async fn begin_session(&self, user: User, client: &Client) -> Result<SignedIn, Problem> {
        let session = self.tokens.begin_session(&user, client);
        let token = self.tokens.issue(&user, &session)?;
        self.store.insert_session(&session).await?;
        Ok(SignedIn { user, session, token })
    }
}

impl App {
    /// Revokes the token with these claims.
    ///
    /// # Errors
    /// 422 where it has no `jti` to name it by, 503.
    pub async fn revoke(&self, claims: &VerifiedClaims) -> Result<(), Problem> {
        let jti = claims.id().ok_or_else(|| {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(status, "token_without_jti", "A token without a jti cannot be revoked on its own.")
        })?;
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is as far as time goes")]
        let expires_at_seconds = claims.expires_at().map_or(i64::MAX, |seconds| seconds.ceil() as i64);
        self.store.revoke_token(jti, expires_at_seconds).await?;
        Ok(())
    }
}

/// Reads an e-mail address for a new account.
pub fn read_email(fields: &mut Fields, field: &'static str) -> Option<Email> {
    let text = fields.required(field);
    let email = Email::parse(&text).ok();
    if email.is_none() {
        fields.reject(field, "invalid", "This is not an e-mail address.");
    }
    email
}

/// Reads a password that somebody chooses.
pub fn read_new_password(fields: &mut Fields, field: &'static str) -> String {
    let password = fields.required(field);
    if let Err(unacceptable) = password::check_acceptable(&password) {
        let (code, detail) = describe(unacceptable);
        fields.reject(field, code, detail);
    }
    password
}

/// Checks a name.
pub fn check_name(fields: &mut Fields, field: &'static str, name: &str) {
    if name.chars().count() > MAX_NAME_CHARACTERS {
        fields.reject(field, "too_long", "The name is longer than 200 characters.");
    } else if name.chars().any(char::is_control) {
        fields.reject(field, "invalid", "The name holds control characters.");
    }
}

/// The code of what is wrong with a password, and a sentence.
pub fn describe(unacceptable: Unacceptable) -> (&'static str, &'static str) {
    match unacceptable {
        Unacceptable::TooShort => ("too_short", "The password needs at least 8 characters."),
        Unacceptable::TooLong => ("too_long", "The password is longer than 72 bytes."),
        Unacceptable::Nul => ("invalid", "The password holds a NUL character."),
    }
}
