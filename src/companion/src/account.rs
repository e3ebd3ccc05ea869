//! Signing up and in, and what follows. Nothing here knows of HTTP.

use std::time::Duration;

use jwt_gate_token::{Refusal, VerifiedClaims};

use crate::clock::Clock;
use crate::email::Email;
use crate::error::AccountError;
use crate::events::{Concerned, Event};
use crate::id;
use crate::password::{NewPassword, PasswordPool, Verdict};
use crate::profile::{Image, Name};
use crate::session::{Client, TokenMaker};
use crate::settings::SignUpMode;
use crate::store::{Begun, Change, NewUser, Reason, RevokeUser, Session, Store, TokenOwner, User};
use crate::throttle::{Attempt, Throttle};

/// The end of the year 9999. The revocation of a token that expires later is forgotten then.
const MAX_SECONDS: i64 = 253_402_300_799;

/// Accounts and their sessions.
pub struct Accounts {
    /// Accounts, sessions, revocations.
    pub store: Store,
    /// Makes and checks tokens.
    pub tokens: TokenMaker,
    /// Where bcrypt runs.
    pub passwords: PasswordPool,
    /// How often a password may be tried.
    pub throttle: Throttle,
    /// Who may make an account.
    pub sign_up: SignUpMode,
    /// The time, outside of the store and the tokens.
    pub clock: Clock,
}

/// Somebody who has just signed up or in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub user: User,
    /// The new session.
    pub session: Session,
    /// The token that stands for it.
    pub token: String,
}

impl SignedIn {
    fn concerned<E>(signed_in: &Result<Self, E>) -> Concerned<'_> {
        signed_in.as_ref().map_or_else(
            |_| Concerned::default(),
            |signed_in| Concerned {
                user_id: Some(&signed_in.user.id),
                session_id: Some(&signed_in.session.id),
            },
        )
    }
}

/// An account to be made.
#[derive(Debug)]
pub struct SignUp {
    /// The account's address.
    pub email: Email,
    /// The chosen password.
    pub password: NewPassword,
    /// What the person is called.
    pub name: Name,
    /// The address of a picture.
    pub image: Option<Image>,
}

/// The most sessions that an account has; signing in once more ends the oldest.
pub const MAX_SESSIONS: usize = 100;
/// How often a sign-in begins anew when the account changes under it.
const ATTEMPTS: usize = 3;
/// The longest wait for the second in which new tokens are good again.
const MAX_WAIT_MS: i64 = 2000;

impl Accounts {
    /// Makes an account and its first session.
    ///
    /// # Errors
    /// [`AccountError::SignUpClosed`], [`AccountError::EmailTaken`], [`AccountError::Throttled`], or a server fault.
    pub async fn sign_up(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, AccountError> {
        let signed_up = self.sign_up_unrecorded(sign_up, client).await;
        Event::SignUp.record(&signed_up, SignedIn::concerned(&signed_up), client);
        signed_up
    }

    async fn sign_up_unrecorded(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, AccountError> {
        if self.sign_up == SignUpMode::Closed {
            return Err(AccountError::SignUpClosed);
        }
        let attempt = self.throttle.admit_address(client.ip_address)?;
        let signed_up = self.sign_up_admitted(sign_up, client).await;
        self.settle(&attempt, &signed_up);
        signed_up
    }

    async fn sign_up_admitted(&self, sign_up: SignUp, client: &Client) -> Result<SignedIn, AccountError> {
        let SignUp { email, password, name, image } = sign_up;
        // The store decides in the end. Asking first saves the work of hashing.
        if self.store.user_by_email(&email).await?.is_some() {
            return Err(AccountError::EmailTaken);
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
            None => Err(AccountError::EmailTaken),
        }
    }

    /// Begins a session for somebody who knows the password. An unknown address, a text that is not an address and a wrong
    /// password get the same answer after the same work.
    ///
    /// # Errors
    /// [`AccountError::InvalidCredentials`], [`AccountError::Disabled`], [`AccountError::Throttled`], or a server fault.
    pub async fn sign_in(
        &self,
        email: &str,
        password: &str,
        client: &Client,
    ) -> Result<SignedIn, AccountError> {
        let parsed = Email::parse(email).ok();
        let account = parsed.as_ref().map_or(email, Email::as_str);
        let mut user_id = None;
        let signed_in = match self.admit(account, client) {
            Ok(attempt) => {
                let signed_in = self.sign_in_admitted(parsed.as_ref(), password, client, &mut user_id).await;
                self.settle(&attempt, &signed_in);
                signed_in
            }
            Err(throttled) => Err(throttled),
        };
        let concerned = SignedIn::concerned(&signed_in);
        let concerned = Concerned { user_id: user_id.as_deref().or(concerned.user_id), ..concerned };
        Event::SignIn.record(&signed_in, concerned, client);
        signed_in
    }

    async fn sign_in_admitted(
        &self,
        email: Option<&Email>,
        password: &str,
        client: &Client,
        user_id: &mut Option<String>,
    ) -> Result<SignedIn, AccountError> {
        for _ in 0..ATTEMPTS {
            let user = match email {
                Some(email) => self.store.user_by_email(email).await?,
                None => None,
            };
            *user_id = user.as_ref().map(|user| user.id.clone());
            let stored = user.as_ref().map(|user| user.password_hash.clone());
            let verdict = self.passwords.verify(password.to_owned(), stored).await?;
            let known = user.filter(|_| verdict != Verdict::Wrong);
            let user = known.ok_or(AccountError::InvalidCredentials)?;
            if user.disabled {
                return Err(AccountError::Disabled);
            }
            let Some(signed_in) = self.begin_session(user, client).await? else { continue };
            self.end_oldest_sessions(&signed_in.user.id).await;
            if let Verdict::RightButWeak(better) = verdict {
                self.strengthen(&signed_in.user, &better).await;
            }
            return Ok(signed_in);
        }
        Err(AccountError::Overloaded)
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
        if let Err(error) =
            self.store.replace_hash(&user.id, &user.password_hash, better, Reason::Rehashed).await
        {
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
    /// [`AccountError::ClockAhead`], or another server fault.
    pub async fn begin_session(&self, user: User, client: &Client) -> Result<Option<SignedIn>, AccountError> {
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
                    let seconds = second.saturating_sub(self.clock.now_seconds());
                    return Err(AccountError::ClockAhead { seconds });
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

    /// Begins a session after the password was changed. `None` if none can begin. That does not make the change a failure: a
    /// second try would be refused for its old password.
    pub async fn begin_session_if_possible(&self, user: User, client: &Client) -> Option<SignedIn> {
        self.begin_session(user, client).await.ok().flatten()
    }

    /// Checks a token as a gate that knows every revocation would.
    ///
    /// # Errors
    /// [`AccountError::Token`], or a server fault.
    pub async fn check_token(&self, token: &str) -> Result<VerifiedClaims, AccountError> {
        let claims = self.tokens.verify(token)?;
        let revoked = self.store.is_revoked(claims.id(), claims.subject(), claims.issued_at()).await?;
        if revoked { Err(Refusal::Revoked.into()) } else { Ok(claims) }
    }

    /// The account that a token was issued to, and the token's claims.
    ///
    /// # Errors
    /// [`AccountError::Token`], or a server fault.
    pub async fn owner_of(&self, token: &str) -> Result<(User, VerifiedClaims), AccountError> {
        let claims = self.tokens.verify(token)?;
        let owner = match claims.subject() {
            Some(subject) => self.store.token_owner(claims.id(), subject, claims.issued_at()).await?,
            None => None,
        };
        match owner {
            Some(TokenOwner { revoked: true, .. }) => Err(Refusal::Revoked.into()),
            Some(TokenOwner { user, .. }) if !user.disabled => Ok((user, claims)),
            Some(_) => Err(Refusal::Subject.into()),
            None => {
                // The account is gone. Still report it if the token was also revoked.
                self.check_token(token).await?;
                Err(Refusal::Subject.into())
            }
        }
    }

    /// Revokes the token with these claims.
    ///
    /// # Errors
    /// [`AccountError::TokenWithoutId`], or a server fault.
    pub async fn revoke(&self, claims: &VerifiedClaims, client: &Client) -> Result<(), AccountError> {
        let revoked = self.revoke_token(claims).await;
        let concerned = Concerned { user_id: claims.subject(), session_id: claims.id() };
        Event::SignOut.record(&revoked, concerned, client);
        revoked
    }

    async fn revoke_token(&self, claims: &VerifiedClaims) -> Result<(), AccountError> {
        let jti = claims.id().ok_or(AccountError::TokenWithoutId)?;
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let expires_at_seconds =
            claims.expires_at().map_or(MAX_SECONDS, |seconds| (seconds.ceil() as i64).min(MAX_SECONDS));
        self.store.revoke_tokens(&[(jti, expires_at_seconds)]).await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// A server fault.
    pub async fn end_session(&self, session: &Session, client: &Client) -> Result<(), AccountError> {
        let ended = self.store.revoke_tokens(&[(&session.id, session.expires_at / 1000)]).await;
        let ended = ended.map_err(AccountError::from);
        let concerned = Concerned { user_id: Some(&session.user_id), session_id: Some(&session.id) };
        Event::SignOut.record(&ended, concerned, client);
        ended
    }

    /// Ends every session of a user but one.
    ///
    /// # Errors
    /// A server fault.
    pub async fn end_other_sessions(
        &self,
        user_id: &str,
        kept: &str,
        client: &Client,
    ) -> Result<(), AccountError> {
        let ended = self.store.revoke_other_sessions(user_id, kept).await.map_err(AccountError::from);
        let concerned = Concerned { user_id: Some(user_id), session_id: Some(kept) };
        Event::SignOutElsewhere.record(&ended, concerned, client);
        ended
    }

    /// Revokes every token that a user was issued so far.
    ///
    /// # Errors
    /// A server fault.
    pub async fn revoke_everything(&self, user_id: &str, client: &Client) -> Result<(), AccountError> {
        let revoke = RevokeUser { user_id, change: Change::Nothing };
        let revoked = self.store.revoke_user(revoke).await.map(|_| ()).map_err(AccountError::from);
        let concerned = Concerned { user_id: Some(user_id), session_id: None };
        Event::SignOutEverywhere.record(&revoked, concerned, client);
        revoked
    }

    /// Changes a password and ends every session. The account as it is afterwards.
    ///
    /// # Errors
    /// [`AccountError::InvalidCredentials`] if `current` is not the password, [`AccountError::Throttled`], or a server fault.
    pub async fn change_password_everywhere(
        &self,
        user: User,
        current: &str,
        new: NewPassword,
        client: &Client,
    ) -> Result<User, AccountError> {
        let user_id = user.id.clone();
        let changed = self.change_password_and_revoke(user, current, new, client).await;
        let concerned = Concerned { user_id: Some(&user_id), session_id: None };
        Event::ChangePassword.record(&changed, concerned, client);
        changed
    }

    async fn change_password_and_revoke(
        &self,
        mut user: User,
        current: &str,
        new: NewPassword,
        client: &Client,
    ) -> Result<User, AccountError> {
        let hash = self.check_and_hash(&user, current, new, client).await?;
        let change = Change::Password { old: &user.password_hash, new: &hash };
        let revoke = RevokeUser { user_id: &user.id, change };
        let changed = self.store.revoke_user(revoke).await?;
        user.valid_from_seconds = changed.ok_or(AccountError::InvalidCredentials)?;
        user.password_hash = hash;
        Ok(user)
    }

    /// Changes a password and leaves the sessions as they are.
    ///
    /// # Errors
    /// As [`Accounts::change_password_everywhere`].
    pub async fn change_password(
        &self,
        user: &User,
        current: &str,
        new: NewPassword,
        client: &Client,
    ) -> Result<(), AccountError> {
        let changed = self.change_password_only(user, current, new, client).await;
        let concerned = Concerned { user_id: Some(&user.id), session_id: None };
        Event::ChangePassword.record(&changed, concerned, client);
        changed
    }

    async fn change_password_only(
        &self,
        user: &User,
        current: &str,
        new: NewPassword,
        client: &Client,
    ) -> Result<(), AccountError> {
        let hash = self.check_and_hash(user, current, new, client).await?;
        let changed = self.store.replace_hash(&user.id, &user.password_hash, &hash, Reason::Chosen).await?;
        if changed { Ok(()) } else { Err(AccountError::InvalidCredentials) }
    }

    /// Deletes an account. Its tokens end first, in the same transaction. Without a password nothing is checked: then the
    /// caller has another reason to trust the request.
    ///
    /// # Errors
    /// [`AccountError::InvalidCredentials`] if `password` is not the account's, [`AccountError::Throttled`], or a server fault.
    pub async fn delete(
        &self,
        user: &User,
        password: Option<&str>,
        client: &Client,
    ) -> Result<(), AccountError> {
        let deleted = self.check_and_delete(user, password, client).await;
        let concerned = Concerned { user_id: Some(&user.id), session_id: None };
        Event::Delete.record(&deleted, concerned, client);
        deleted
    }

    async fn check_and_delete(
        &self,
        user: &User,
        password: Option<&str>,
        client: &Client,
    ) -> Result<(), AccountError> {
        if let Some(password) = password {
            let attempt = self.admit(&user.email, client)?;
            let checked = self.check_password(user, password).await;
            self.settle(&attempt, &checked);
            checked?;
        }
        let change = Change::Delete { old: password.map(|_| user.password_hash.as_str()) };
        let deleted = self.store.revoke_user(RevokeUser { user_id: &user.id, change }).await?;
        deleted.map(|_| ()).ok_or(AccountError::InvalidCredentials)
    }

    async fn check_and_hash(
        &self,
        user: &User,
        current: &str,
        new: NewPassword,
        client: &Client,
    ) -> Result<String, AccountError> {
        let attempt = self.admit(&user.email, client)?;
        let checked = self.check_and_hash_admitted(user, current, new).await;
        self.settle(&attempt, &checked);
        checked
    }

    async fn check_and_hash_admitted(
        &self,
        user: &User,
        current: &str,
        new: NewPassword,
    ) -> Result<String, AccountError> {
        self.check_password(user, current).await?;
        Ok(self.passwords.hash(new).await?)
    }

    async fn check_password(&self, user: &User, password: &str) -> Result<(), AccountError> {
        let stored = Some(user.password_hash.clone());
        match self.passwords.verify(password.to_owned(), stored).await? {
            Verdict::Wrong => Err(AccountError::InvalidCredentials),
            Verdict::Right | Verdict::RightButWeak(_) => Ok(()),
        }
    }

    /// Admits an attempt at a password; every account that might exist is treated alike.
    fn admit(&self, account: &str, client: &Client) -> Result<Attempt, AccountError> {
        Ok(self.throttle.admit(account, client.ip_address)?)
    }

    /// Counts an attempt by what became of it.
    fn settle<T>(&self, attempt: &Attempt, outcome: &Result<T, AccountError>) {
        match outcome {
            Ok(_) => self.throttle.right(attempt),
            Err(error) if error.is_server_fault() => self.throttle.take_back(attempt),
            Err(_) => {}
        }
    }
}
