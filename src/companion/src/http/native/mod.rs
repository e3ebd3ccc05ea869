//! The calls of our own interface, under `/api/auth`.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware;
use axum::routing::{get, post};
use serde::Serialize;

use crate::app::SharedApp;
use crate::clock;
use crate::http::body::read_first;
use crate::store::{Session, User};

mod me;
mod sign_in;
mod sign_out;
mod sign_up;
mod verify;

pub(crate) use sign_out::{already_revoked, cleared};

/// The routes, without their prefix.
pub fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/signup", post(sign_up::sign_up))
        .route("/signin", post(sign_in::sign_in))
        .route("/me", get(me::me))
        .route("/verify", post(verify::verify))
        .route("/signout", post(sign_out::sign_out))
        .route("/signout-everywhere", post(sign_out::sign_out_everywhere))
        .layer(middleware::from_fn(read_first))
}

/// An account, as its owner sees it.
#[derive(Debug, Serialize)]
pub struct UserBody {
    /// The tokens' `sub`.
    pub id: String,
    /// In normal form.
    pub email: String,
    /// May be empty.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
}

/// A user and a token for them.
#[derive(Debug, Serialize)]
pub struct SignedInBody {
    /// Who signed in.
    pub user: UserBody,
    /// For `Authorization: Bearer`; the same is set as a cookie.
    pub token: String,
    /// RFC 3339.
    pub expires_at: String,
}

impl UserBody {
    /// What is told of `user`.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            created_at: clock::rfc3339(user.created_at),
        }
    }
}

impl SignedInBody {
    fn of(user: &User, token: String, session: &Session) -> Self {
        Self { user: UserBody::of(user), token, expires_at: clock::rfc3339(session.expires_at) }
    }
}

/// Response headers for an answer that holds a token: the cookie, and nothing that keeps a copy.
pub fn signed_in_headers(app: &SharedApp, token: &str, session: &Session) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What is left to the end, or the exact lifetime for one that has just begun.
    let left_ms = session.expires_at.saturating_sub(app.clock.now_ms()).max(0);
    let left_seconds = left_ms.saturating_add(999) / 1000;
    if let Some(cookie) = app.cookie.set(token, session.remember.then_some(left_seconds)) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    // Where clients with Better Auth's bearer plugin look.
    if let Ok(token) = HeaderValue::from_str(token) {
        headers.insert("set-auth-token", token);
    }
    headers
}
