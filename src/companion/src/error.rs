//! What can go wrong with accounts, sessions and tokens. `http::problem` says it to clients.

use std::fmt;

use jwt_gate_token::Refusal;

use crate::password::PoolError;
use crate::store::StoreError;
use crate::throttle::Wait;

/// Why an operation on an account did not happen.
#[derive(Debug)]
pub enum AccountError {
    /// Nobody may make an account.
    SignUpClosed,
    /// Another account has this e-mail address.
    EmailTaken,
    /// The e-mail address or the password is wrong. Callers never learn which.
    InvalidCredentials,
    /// The password is right, but the account is disabled.
    Disabled,
    /// The token does not verify, is revoked, or its account is gone or disabled.
    Token(Refusal),
    /// The token has no `jti`, so it cannot be revoked on its own.
    TokenWithoutId,
    /// Too many attempts.
    Throttled(Wait),
    /// The password threads have more work than they can do, or the account kept changing.
    Overloaded,
    /// The account's tokens are valid only from a later time on: somebody ended its sessions on a machine whose clock was
    /// ahead.
    ClockAhead {
        /// How much later.
        seconds: i64,
    },
    /// The store failed.
    Store(StoreError),
    /// A fault in this program. The text is for the log.
    Internal(String),
}

impl AccountError {
    /// A stable code: of answers, log lines and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SignUpClosed => "sign_up_closed",
            Self::EmailTaken => "email_taken",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Disabled => "account_disabled",
            Self::Token(refusal) => refusal.code(),
            Self::TokenWithoutId => "token_without_jti",
            Self::Throttled(_) => "too_many_attempts",
            Self::Overloaded => "overloaded",
            Self::ClockAhead { .. } => "clock_ahead",
            Self::Store(_) => "store_unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the fault is on the server's side, so that it must not count against the client.
    pub fn is_server_fault(&self) -> bool {
        match self {
            Self::Overloaded | Self::ClockAhead { .. } | Self::Store(_) | Self::Internal(_) => true,
            Self::SignUpClosed
            | Self::EmailTaken
            | Self::InvalidCredentials
            | Self::Disabled
            | Self::Token(_)
            | Self::TokenWithoutId
            | Self::Throttled(_) => false,
        }
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignUpClosed => formatter.write_str("sign-up is closed"),
            Self::EmailTaken => formatter.write_str("another account has this e-mail address"),
            Self::InvalidCredentials => formatter.write_str("the e-mail address or the password is wrong"),
            Self::Disabled => formatter.write_str("the account is disabled"),
            Self::Token(refusal) => write!(formatter, "the token is refused: {refusal}"),
            Self::TokenWithoutId => formatter.write_str("the token has no jti"),
            Self::Throttled(wait) => write!(formatter, "too many attempts; wait {} s", wait.seconds),
            Self::Overloaded => formatter.write_str("the password threads are overloaded"),
            Self::ClockAhead { seconds } => {
                write!(formatter, "the account's tokens are valid only in {seconds} s; see `users repair`")
            }
            Self::Store(error) => error.fmt(formatter),
            Self::Internal(what) => formatter.write_str(what),
        }
    }
}

impl std::error::Error for AccountError {}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for AccountError {
    fn from(refusal: Refusal) -> Self {
        Self::Token(refusal)
    }
}

impl From<Wait> for AccountError {
    fn from(wait: Wait) -> Self {
        Self::Throttled(wait)
    }
}

impl From<PoolError> for AccountError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Overloaded,
            PoolError::Failed => Self::Internal("a password could not be hashed or compared".to_owned()),
        }
    }
}
