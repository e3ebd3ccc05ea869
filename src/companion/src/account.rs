//! Signing up and in, whatever the form of the request and of the answer.

use std::time::Duration;

use axum::http::StatusCode;
use jwt_gate_token::VerifiedClaims;

use crate::app::App;
use crate::email::Email;
use crate::http::body::Fields;
use crate::http::problem::Problem;
use crate::id;
use crate::password::{self, Unacceptable, Verdict};
use crate::session::Client;
use crate::store::{Begun, NewUser, RevokeUser, Session, User};
use crate::throttle::Attempt;

/// The end of the year 9999: a token that expires later is remembered as long.
const MAX_SECONDS: i64 = 253_402_300_799;
/// The longest address of a picture.
const MAX_IMAGE_BYTES: usize = 2048;
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

/// The most sessions that an account has; signing in once more ends the oldest.
pub const MAX_SESSIONS: usize = 100;
/// How often a sign-in begins anew when the account changes under it.
const ATTEMPTS: usize = 3;
/// The longest wait for the second in which new tokens are good again.
const MAX_WAIT_MS: i64 = 2000;

impl App {
    /// Makes an account and its first session.
    ///
    /// # Errors
    /// 409 `email_taken`, 429, 503.
    pub async fn sign_up(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, Problem> {
        let attempt = self.throttle.admit_address(client.ip_address).map_err(Problem::throttled)?;
        let signed_up = self.sign_up_admitted(sign_up, client).await;
        self.settle(&attempt, &signed_up);
        signed_up
    }

    async fn sign_up_admitted(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, Problem> {
        let SignUp { email, password, name, image } = sign_up;
        // The store decides in the end; asking first spares the work of hashing.
        if self.store.user_by_email(&email).await?.is_some() {
            return Err(Problem::email_taken());
        }
        let password_hash = self.passwords.hash(password).await?;
        let created_at = self.clock.now_ms();
        let user =
            NewUser { id: id::new_user_id(), email, name, image, password_hash, created_at }.into_user();
        match self.store.insert_user(&user, Some(self.tokens.new_session(client))).await?.flatten() {
            Some(session) => {
                let token = self.tokens.issue(&user, &session)?;
                Ok(SignedIn { user, session, token })
            }
            None => Err(Problem::email_taken()),
        }
    }

    /// Begins a session for whoever knows the password. An unknown e-mail, an address that is none and a wrong
    /// password get the same answer after the same work.
    ///
    /// # Errors
    /// 401 `invalid_credentials`, 403 `account_disabled`, 429, 503.
    pub async fn sign_in(&self, email: &str, password: &str, client: &Client) -> Result<SignedIn, Problem> {
        let parsed = Email::parse(email).ok();
        let account = parsed.as_ref().map_or(email, Email::as_str);
        let attempt = self.admit(account, client)?;
        let signed_in = self.sign_in_admitted(parsed.as_ref(), password, client).await;
        self.settle(&attempt, &signed_in);
        signed_in
    }

    async fn sign_in_admitted(
        &self,
        email: Option<&Email>,
        password: &str,
        client: &Client,
    ) -> Result<SignedIn, Problem> {
        for _ in 0..ATTEMPTS {
            let user = match email {
                Some(email) => self.store.user_by_email(email).await?,
                None => None,
            };
            let stored = user.as_ref().map(|user| user.password_hash.clone());
            let verdict = self.passwords.verify(password.to_owned(), stored).await?;
            let known = user.filter(|_| verdict != Verdict::Wrong);
            let user = known.ok_or_else(Problem::invalid_credentials)?;
            if user.disabled {
                return Err(Problem::account_disabled());
            }
            let Some(signed_in) = self.begin_session(user, client).await? else { continue };
            self.end_oldest_sessions(&signed_in.user.id).await;
            if let Verdict::RightButWeak(better) = verdict {
                self.strengthen(&signed_in.user, &better).await;
            }
            return Ok(signed_in);
        }
        Err(Problem::overloaded())
    }

    /// Ends the oldest sessions of an account that has more than [`MAX_SESSIONS`]: each is a row, and a line in every gate's list once
    /// it is ended. The new session has begun, so a failure is no reason to refuse it: the next sign-in tries again.
    async fn end_oldest_sessions(&self, user_id: &str) {
        let limit = i64::try_from(MAX_SESSIONS).unwrap_or(i64::MAX).saturating_mul(2);
        let ended = async {
            let sessions = self.store.sessions_of(user_id, self.clock.now_ms(), limit).await?;
            let oldest: Vec<(&str, i64)> = sessions
                .iter()
                .skip(MAX_SESSIONS)
                .map(|session| (session.id.as_str(), session.expires_at / 1000))
                .collect();
            if oldest.is_empty() { Ok(()) } else { self.store.revoke_tokens(&oldest).await }
        };
        if let Err(error) = ended.await {
            tracing::warn!(%error, "the oldest sessions of an account could not be ended");
        }
    }

    /// Writes a better hash of the password. The session has begun, so a failure is no reason to refuse it: the
    /// next sign-in tries again.
    async fn strengthen(&self, user: &User, better: &str) {
        if let Err(error) = self.store.replace_hash(&user.id, &user.password_hash, better).await {
            tracing::warn!(%error, "a weak hash could not be replaced");
        }
    }

    /// Begins a session for a user whose identity is established. `None`: the account has changed since it
    /// was read.
    ///
    /// Where the user's tokens up to this second were just revoked, it waits for the next one: a token that
    /// is issued afterwards works, and every one before does not.
    ///
    /// # Errors
    /// 503; `clock_ahead` where a machine whose clock was ahead ended the user's sessions, and nobody would accept
    /// a new token yet.
    pub async fn begin_session(&self, user: User, client: &Client) -> Result<Option<SignedIn>, Problem> {
        let session = self.tokens.new_session(client);
        let mut in_advance = false;
        loop {
            match self.store.begin_session(&user, session.clone(), in_advance).await? {
                Begun::Session(session) => {
                    let token = self.tokens.issue(&user, &session)?;
                    return Ok(Some(SignedIn { user, session, token }));
                }
                Begun::Changed => return Ok(None),
                Begun::From(second) if in_advance => {
                    return Err(Problem::clock_ahead(second.saturating_sub(self.clock.now_seconds())));
                }
                Begun::From(second) => {
                    let wait_ms = second.saturating_mul(1000).saturating_sub(self.clock.now_ms());
                    let wait_ms = u64::try_from(wait_ms.min(MAX_WAIT_MS)).unwrap_or_default();
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    in_advance = true;
                }
            }
        }
    }

    /// Revokes the token with these claims.
    ///
    /// # Errors
    /// 422 where it has no `jti` to name it by, 503.
    pub async fn revoke(&self, claims: &VerifiedClaims) -> Result<(), Problem> {
        let jti = claims.id().ok_or_else(|| {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Problem::new(status, "token_without_jti", "A token without a jti cannot be revoked on its own.")
        })?;
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let expires_at_seconds =
            claims.expires_at().map_or(MAX_SECONDS, |seconds| (seconds.ceil() as i64).min(MAX_SECONDS));
        self.store.revoke_tokens(&[(jti, expires_at_seconds)]).await?;
        Ok(())
    }

    /// Revokes every token that a user was issued so far.
    ///
    /// # Errors
    /// 503.
    pub async fn revoke_everything(&self, user_id: &str) -> Result<(), Problem> {
        self.store.revoke_user(RevokeUser { user_id, new_password: None, disable: false }).await?;
        Ok(())
    }

    /// Changes a password and ends every session. The account as it is afterwards.
    ///
    /// # Errors
    /// 401 `invalid_credentials` where `current` is not the password, 429, 503.
    pub async fn change_password_everywhere(
        &self,
        mut user: User,
        current: &str,
        new: &str,
        client: &Client,
    ) -> Result<User, Problem> {
        let hash = self.check_and_hash(&user, current, new, client).await?;
        let new_password = Some((user.password_hash.as_str(), hash.as_str()));
        let revoke = RevokeUser { user_id: &user.id, new_password, disable: false };
        let changed = self.store.revoke_user(revoke).await?;
        user.valid_from_seconds = changed.ok_or_else(Problem::invalid_credentials)?;
        user.password_hash = hash;
        Ok(user)
    }

    /// Changes a password and leaves the sessions as they are.
    ///
    /// # Errors
    /// As [`App::change_password_everywhere`].
    pub async fn change_password(
        &self,
        user: &User,
        current: &str,
        new: &str,
        client: &Client,
    ) -> Result<(), Problem> {
        let hash = self.check_and_hash(user, current, new, client).await?;
        let changed = self.store.set_password(&user.id, &user.password_hash, &hash).await?;
        if changed { Ok(()) } else { Err(Problem::invalid_credentials()) }
    }

    async fn check_and_hash(
        &self,
        user: &User,
        current: &str,
        new: &str,
        client: &Client,
    ) -> Result<String, Problem> {
        let attempt = self.admit(&user.email, client)?;
        let checked = self.check_and_hash_admitted(user, current, new).await;
        self.settle(&attempt, &checked);
        checked
    }

    async fn check_and_hash_admitted(
        &self,
        user: &User,
        current: &str,
        new: &str,
    ) -> Result<String, Problem> {
        let stored = Some(user.password_hash.clone());
        match self.passwords.verify(current.to_owned(), stored).await? {
            Verdict::Wrong => Err(Problem::invalid_credentials()),
            Verdict::Right | Verdict::RightButWeak(_) => Ok(self.passwords.hash(new.to_owned()).await?),
        }
    }

    /// Admits an attempt at a password; every account that might exist is treated alike.
    fn admit(&self, account: &str, client: &Client) -> Result<Attempt, Problem> {
        self.throttle.admit(account, client.ip_address).map_err(Problem::throttled)
    }

    /// Counts an attempt by what became of it.
    fn settle<T>(&self, attempt: &Attempt, outcome: &Result<T, Problem>) {
        match outcome {
            Ok(_) => self.throttle.right(attempt),
            // Told to come again, or a fault of ours.
            Err(problem) if problem.status.is_server_error() => self.throttle.take_back(attempt),
            Err(_) => {}
        }
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
    let password = password::normal(&fields.required(field));
    if let Err(unacceptable) = password::check_acceptable(&password) {
        let (code, detail) = describe(unacceptable);
        fields.reject(field, code, detail);
    }
    password
}

/// Checks a name.
pub fn check_name(fields: &mut Fields, field: &'static str, name: &str) {
    if let Some((code, detail)) = unacceptable_name(name) {
        fields.reject(field, code, detail);
    }
}

/// What is wrong with a name, if anything: a code and a sentence. It is to fit into a header's value.
pub fn unacceptable_name(name: &str) -> Option<(&'static str, &'static str)> {
    if name.chars().count() > MAX_NAME_CHARACTERS {
        Some(("too_long", "The name is longer than 200 characters."))
    } else if name.chars().any(char::is_control) {
        Some(("invalid", "The name holds control characters."))
    } else {
        None
    }
}

/// Checks the address of a picture, which other people's browsers may be told to load.
pub fn check_image(fields: &mut Fields, field: &'static str, image: Option<&str>) {
    let acceptable = |image: &str| {
        let web = image.starts_with("http://") || image.starts_with("https://");
        let clean = !image.chars().any(|character| character.is_whitespace() || character.is_control());
        let address = web && clean && url::Url::parse(image).is_ok();
        image.len() <= MAX_IMAGE_BYTES && (image.is_empty() || address)
    };
    if !image.is_none_or(acceptable) {
        fields.reject(field, "invalid", "The picture is not a web address.");
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
