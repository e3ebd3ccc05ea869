//! Sessions and the tokens that stand for them.

use std::net::IpAddr;

use jwt_gate_token::{Expectations, Keyring, Refusal, VerifiedClaims, issue, verify};
use serde_json::{Value, json};

use crate::claims::OwnClaims;
use crate::clock::Clock;
use crate::error::AccountError;
use crate::id;
use crate::settings::TokenOptions;
use crate::store::{CLOCK_SKEW_SECONDS, NewSession, Session, User};

/// Longer user agents are cut, in characters.
const MAX_USER_AGENT_CHARACTERS: usize = 256;

/// Lifetime of a session that ends with the browser. The server never learns of that end, so it is one day, as in Better Auth.
const FORGOTTEN_LIFETIME_SECONDS: i64 = 86_400;

/// Makes the tokens of users and checks them.
pub struct TokenMaker {
    keyring: Keyring,
    options: TokenOptions,
    expectations: Expectations,
    ours_at_any_time: Expectations,
    clock: Clock,
}

/// The client that sent a request, as its session remembers it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address, as far as the proxies in front are trusted.
    pub ip_address: IpAddr,
    /// Its `User-Agent` header.
    pub user_agent: String,
    /// Whether the session outlives the browser.
    pub remember: bool,
}

impl TokenMaker {
    /// For tokens as `options` describe them, signed with the newest secret.
    pub fn new(keyring: Keyring, options: TokenOptions) -> Self {
        let expectations = Expectations {
            issuer: Some(options.issuer.clone()),
            audiences: options.audience.iter().cloned().collect(),
            clock_skew_seconds: u32::try_from(CLOCK_SKEW_SECONDS).unwrap_or_default(),
            ..Expectations::default()
        };
        let ours_at_any_time = Expectations {
            clock_skew_seconds: u32::MAX,
            require_expiration: false,
            ..Expectations::default()
        };
        Self { keyring, options, expectations, ours_at_any_time, clock: Clock::default() }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The `kid` of the secret that signs.
    pub fn kid(&self) -> &str {
        self.keyring.newest().kid()
    }

    /// The secrets.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// How long a session lives.
    pub fn lifetime_seconds(&self) -> i64 {
        i64::from(self.options.lifetime_seconds)
    }

    /// A session for `client` that is to begin.
    pub fn new_session(&self, client: &Client) -> NewSession {
        let lifetime_seconds = match client.remember {
            true => self.lifetime_seconds(),
            false => self.lifetime_seconds().min(FORGOTTEN_LIFETIME_SECONDS),
        };
        NewSession {
            id: id::new_session_id(),
            ip_address: client.ip_address.to_string(),
            user_agent: client.user_agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect(),
            remember: client.remember,
            lifetime_seconds,
        }
    }

    /// The token that stands for `session` from its `updated_at` on.
    ///
    /// # Errors
    /// [`AccountError::Internal`] if the claims cannot be written, or the store's are not what the operator's command wrote.
    pub fn issue(&self, user: &User, session: &Session) -> Result<String, AccountError> {
        // The account's own claims come first: none of them can take the place of one of ours.
        let own = OwnClaims::parse(&user.claims);
        let own =
            own.map_err(|bad| AccountError::Internal(format!("the claims of account {}: {bad}", user.id)))?;
        let mut claims = own.into_members();
        claims.insert("iss".into(), json!(self.options.issuer));
        claims.insert("sub".into(), json!(user.id));
        if let Some(audience) = &self.options.audience {
            claims.insert("aud".into(), json!(audience));
        }
        claims.insert("iat".into(), json!(session.issued_at_seconds()));
        claims.insert("exp".into(), json!(session.expires_at / 1000));
        claims.insert("jti".into(), json!(session.id));
        claims.insert("email".into(), json!(user.email));
        // Nobody has proven that the address is theirs.
        claims.insert("email_verified".into(), json!(false));
        // A gate makes a header of it, and white space at its ends would not arrive.
        claims.insert("name".into(), Value::String(user.name.trim().to_owned()));
        issue(&self.keyring, &claims)
            .map_err(|error| AccountError::Internal(format!("a token could not be issued: {error}")))
    }

    /// Checks everything about a token that can be checked without the store.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn verify(&self, token: &str) -> Result<VerifiedClaims, Refusal> {
        verify(token, &self.keyring, &self.expectations, self.clock.now_numeric_date())
    }

    /// Checks only that a token is ours, whatever its dates, issuer and audience: a gate may be configured to take it, or its
    /// clock may be another, so a sign-out ends it.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn verify_signature(&self, token: &str) -> Result<VerifiedClaims, Refusal> {
        verify(token, &self.keyring, &self.ours_at_any_time, self.clock.now_numeric_date())
    }
}
