//! The interface of a Better Auth server, as its client from npm uses it (seen with better-auth 1.7.25).
//!
//! The paths, bodies and answers are Better Auth's; so are the errors: `{code, message}` with its codes.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use crate::app::SharedApp;
use crate::clock;
use crate::http::body::read_first;
use crate::http::problem::Problem;
use crate::store::{Session, User};

mod change_password;
mod off;
mod sessions;
mod sign;
mod update_user;

/// The routes, without their prefix.
pub fn routes() -> Router<SharedApp> {
    let wire = Router::new()
        .route("/ok", get(async || Json(OkBody { ok: true })))
        .route("/sign-up/email", post(sign::sign_up))
        .route("/sign-in/email", post(sign::sign_in))
        .route("/sign-out", post(sign::sign_out))
        .route("/get-session", get(sessions::get_session).fallback(sessions::other_method_of_get_session))
        .route("/list-sessions", get(sessions::list_sessions))
        .route("/revoke-session", post(sessions::revoke_session))
        .route("/revoke-sessions", post(sessions::revoke_sessions))
        .route("/revoke-other-sessions", post(sessions::revoke_other_sessions))
        .route("/update-user", post(update_user::update_user))
        .merge(off::routes())
        .layer(middleware::from_fn(read_first))
        .layer(middleware::from_fn(answer_as_better_auth));
    // This path is in our own interface too; the names of the fields tell which one is spoken.
    wire.route("/change-password", post(change_password::change_password))
}

async fn answer_as_better_auth(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => render(problem.clone()),
        None => response,
    }
}

/// An error, as Better Auth's client shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'error> {
    /// Better Auth's code, where it has one for this.
    code: &'error str,
    /// One sentence for a person.
    message: &'error str,
}

#[derive(Debug, Serialize)]
pub(crate) struct OkBody {
    ok: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct StatusBody {
    status: bool,
}

/// `problem` in Better Auth's words.
fn render(problem: Problem) -> Response {
    let upper = problem.code.to_ascii_uppercase();
    let (status, code, message) = match problem.code {
        "invalid_credentials" => (401, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password"),
        "email_taken" => {
            (422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "User already exists. Use another email.")
        }
        "invalid_fields" => match problem.fields.first().map(|first| (first.field, first.code)) {
            Some(("email", "invalid")) => (400, "INVALID_EMAIL", "Invalid email"),
            Some(("password" | "newPassword", "too_short")) => {
                (400, "PASSWORD_TOO_SHORT", "Password too short")
            }
            Some(("password" | "newPassword", "too_long")) => (400, "PASSWORD_TOO_LONG", "Password too long"),
            _ => (400, "VALIDATION_ERROR", problem.detail.as_ref()),
        },
        "invalid_token" => (problem.status.as_u16(), "INVALID_TOKEN", problem.detail.as_ref()),
        "untrusted_origin" => (403, "INVALID_ORIGIN", "Invalid origin"),
        _ if problem.status == StatusCode::UNAUTHORIZED => (401, "UNAUTHORIZED", "Unauthorized"),
        _ => (problem.status.as_u16(), upper.as_str(), problem.detail.as_ref()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(problem.status);
    let mut response = (status, Json(ErrorBody { code, message })).into_response();
    problem.add_headers(&mut response);
    response.extensions_mut().insert(problem);
    response
}

/// An account, as Better Auth shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserBody {
    id: String,
    email: String,
    name: String,
    image: Option<String>,
    /// Always false: the companion sends no mail.
    email_verified: bool,
    created_at: String,
    updated_at: String,
}

/// A session, as Better Auth shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionBody {
    id: String,
    /// What `/revoke-session` takes: the token's `jti`. It opens nothing.
    token: String,
    user_id: String,
    ip_address: String,
    user_agent: String,
    expires_at: String,
    created_at: String,
    updated_at: String,
}

impl UserBody {
    fn of(user: &User) -> Self {
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            image: user.image.clone(),
            email_verified: false,
            created_at: clock::rfc3339(user.created_at),
            updated_at: clock::rfc3339(user.updated_at),
        }
    }
}

impl SessionBody {
    fn of(session: &Session) -> Self {
        Self {
            id: session.id.clone(),
            token: session.id.clone(),
            user_id: session.user_id.clone(),
            ip_address: session.ip_address.clone(),
            user_agent: session.user_agent.clone(),
            expires_at: clock::rfc3339(session.expires_at),
            created_at: clock::rfc3339(session.created_at),
            updated_at: clock::rfc3339(session.updated_at),
        }
    }
}
