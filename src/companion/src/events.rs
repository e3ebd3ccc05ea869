//! Security events: who did what to which account, from where, and with what outcome.
//!
//! Each is one structured log line (target [`TARGET`]) and one count. None holds a password, a token or an e-mail address that
//! somebody typed: people type passwords into the wrong field.

use std::fmt;

use crate::error::AccountError;
use crate::session::Client;

/// The log target of these lines.
pub const TARGET: &str = "jwt_gate_auth::security";
/// The metric that counts them, by event and outcome.
pub const EVENTS: &str = "jwt_gate_auth_events_total";

/// What somebody tried to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// To make an account.
    SignUp,
    /// To begin a session.
    SignIn,
    /// To end a session.
    SignOut,
    /// To end every session of an account.
    SignOutEverywhere,
    /// To end every session of an account but one.
    SignOutElsewhere,
    /// To change a password.
    ChangePassword,
    /// To delete an account.
    Delete,
    /// To disable an account.
    Disable,
    /// To enable an account.
    Enable,
    /// To give an account other claims.
    SetClaims,
}

/// The account and the session that an event concerns, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Concerned<'event> {
    /// The account's id.
    pub user_id: Option<&'event str>,
    /// The session's id.
    pub session_id: Option<&'event str>,
}

impl Event {
    /// Logs and counts an event of a client.
    pub fn record<T>(self, outcome: &Result<T, AccountError>, concerned: Concerned<'_>, client: &Client) {
        let outcome = outcome.as_ref().err().map_or("done", AccountError::code);
        self.write(outcome, concerned, &client.ip_address);
    }

    /// Logs an event of an operator at the command line.
    pub fn record_command(self, user_id: &str) {
        self.write("done", Concerned { user_id: Some(user_id), session_id: None }, &"command line");
    }

    fn write(self, outcome: &'static str, concerned: Concerned<'_>, from: &dyn fmt::Display) {
        let event = self.name();
        let Concerned { user_id, session_id } = concerned;
        tracing::info!(target: TARGET, event, outcome, user_id, session_id, %from, "security event");
        metrics::counter!(EVENTS, "event" => event, "outcome" => outcome).increment(1);
    }

    fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::SignOutElsewhere => "sign_out_elsewhere",
            Self::ChangePassword => "change_password",
            Self::Delete => "delete",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::SetClaims => "set_claims",
        }
    }
}
