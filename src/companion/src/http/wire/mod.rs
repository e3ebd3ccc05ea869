//! The interface of a Better Auth server, as its client from npm uses it (seen with better-auth 1.7.25).
//!
//! The paths, bodies and answers are Better Auth's; so are the errors: `{code, message}` with its codes.

use axum::Json;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock;
use crate::email::Email;
use crate::http::body::read_first;
use crate::http::openapi::{Calls, False, Instant, Operation, Style, True};
use crate::http::problem::Problem;
use crate::profile::Name;
use crate::store::{Session, User};

pub(super) mod change_password;
mod delete_user;
mod off;
mod sessions;
mod sign;
mod update_user;

/// The calls, without their prefix. `/change-password` is among those of our own interface.
pub fn calls() -> Calls {
    let owners = |id, summary| Operation::new(id, summary).for_token_owners();
    Calls::new(Style::BetterAuth)
        .get(
            "/ok",
            async || Json(OkBody { ok: true }),
            Operation::new("ok", "Whether the interface is there.")
                .without_store()
                .answers::<OkBody>(200, "It is."),
        )
        .post(
            "/sign-up/email",
            sign::sign_up,
            Operation::new("wireSignUp", "Make an account and sign in.")
                .changes_state()
                .throttled()
                .body::<sign::SignUpForm>()
                .answers::<sign::SignedUpBody>(200, "The account and a token for it.")
                .sets_cookie()
                .refuses(422, "The address is taken."),
        )
        .post(
            "/sign-in/email",
            sign::sign_in,
            Operation::new("wireSignIn", "Sign in.")
                .changes_state()
                .throttled()
                .body::<sign::SignInForm>()
                .answers::<sign::SignedInBody>(200, "The account and a token for it.")
                .sets_cookie()
                .refuses(401, "The e-mail address or the password is wrong; which, is not said."),
        )
        .post(
            "/sign-out",
            sign::sign_out,
            Operation::new("wireSignOut", "Revoke the request's token.")
                .with_or_without_token()
                .changes_state()
                .answers::<sign::SuccessBody>(200, "Done.")
                .sets_cookie()
                .refuses_with(401)
                .refuses(422, "A token without a `jti` cannot be revoked on its own."),
        )
        .route(
            Method::GET,
            "/get-session",
            get(sessions::get_session).fallback(sessions::other_method_of_get_session),
            Operation::new("getSession", "The session, or `null` if nobody is signed in.")
                .with_or_without_token()
                .answers::<Option<sessions::CurrentBody>>(200, "The session."),
        )
        .get(
            "/list-sessions",
            sessions::list_sessions,
            owners("listSessions", "The account's sessions that have not ended, newest first, up to 1000.")
                .answers::<Vec<SessionBody>>(200, "The sessions."),
        )
        .post(
            "/revoke-session",
            sessions::revoke_session,
            owners("revokeSession", "End one of the account's sessions.")
                .changes_state()
                .body::<sessions::RevokeSessionForm>()
                .answers::<StatusBody>(200, "It has ended, or was not the account's."),
        )
        .post(
            "/revoke-sessions",
            sessions::revoke_sessions,
            owners("revokeSessions", "End all of the account's sessions.")
                .changes_state()
                .answers::<StatusBody>(200, "They have ended.")
                .sets_cookie()
                .refuses(422, "The cookie's token has no `jti`."),
        )
        .post(
            "/revoke-other-sessions",
            sessions::revoke_other_sessions,
            owners("revokeOtherSessions", "End all of the account's sessions but this one.")
                .changes_state()
                .answers::<StatusBody>(200, "They have ended."),
        )
        .post(
            "/update-user",
            update_user::update_user,
            owners("updateUser", "Change name or picture.")
                .changes_state()
                .body::<update_user::UpdateUserForm>()
                .answers::<StatusBody>(200, "Changed."),
        )
        .post(
            "/delete-user",
            delete_user::delete_user,
            owners("deleteUser", "Delete the account.")
                .changes_state()
                .throttled()
                .optional_body::<delete_user::DeleteUserForm>()
                .answers::<delete_user::DeletedBody>(
                    200,
                    "Its tokens have ended at every gate, and the account is gone.",
                )
                .refuses(400, "`INVALID_PASSWORD`, `SESSION_EXPIRED`, or the body is not acceptable.")
                .refuses(404, "`INVALID_TOKEN`: no mail with a token was sent."),
        )
        .get(
            "/delete-user/callback",
            delete_user::follow_delete_link,
            Operation::new("deleteUserCallback", "Off: no mail with such a link is sent.")
                .with_or_without_token()
                .refuses(404, "`INVALID_TOKEN`, or `FAILED_TO_GET_USER_INFO` if nobody is signed in."),
        )
        .and(off::calls())
        .layered(|routes| {
            routes.layer(middleware::from_fn(read_first)).layer(middleware::from_fn(answer_as_better_auth))
        })
}

async fn answer_as_better_auth(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => render(problem.clone()),
        None => response,
    }
}

/// An error, as Better Auth's client shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireError")]
pub(super) struct ErrorBody<'error> {
    /// Better Auth's code, if it has one for this.
    #[schemars(regex(pattern = "^[A-Z0-9_]+$"))]
    code: &'error str,
    /// One sentence for a person.
    message: &'error str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireOk")]
struct OkBody {
    #[schemars(with = "True")]
    ok: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireStatus")]
struct StatusBody {
    status: bool,
}

/// `problem` in Better Auth's words.
fn render(problem: Problem) -> Response {
    let upper = problem.code.to_ascii_uppercase();
    let (status, code, message) = match problem.code {
        "invalid_credentials" => (401, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password"),
        "sign_up_closed" => {
            (400, "EMAIL_PASSWORD_SIGN_UP_DISABLED", "Email and password sign up is not enabled")
        }
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireUser")]
#[serde(rename_all = "camelCase")]
pub(super) struct UserBody {
    id: String,
    #[schemars(with = "Email")]
    email: String,
    #[schemars(with = "Name")]
    name: String,
    image: Option<String>,
    /// Always false: the companion sends no mail.
    #[schemars(with = "False")]
    email_verified: bool,
    #[schemars(with = "Instant")]
    created_at: String,
    #[schemars(with = "Instant")]
    updated_at: String,
}

/// A session, as Better Auth shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireSession")]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    id: String,
    /// What `/revoke-session` takes: the token's `jti`. It opens nothing.
    token: String,
    user_id: String,
    ip_address: String,
    user_agent: String,
    #[schemars(with = "Instant")]
    expires_at: String,
    #[schemars(with = "Instant")]
    created_at: String,
    #[schemars(with = "Instant")]
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
