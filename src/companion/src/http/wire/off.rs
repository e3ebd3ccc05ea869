//! The calls of Better Auth's client whose features the companion does not have. They are answered as by a Better Auth
//! server where the feature is switched off, so a frontend shows what it would show there.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::sign::check_callback;
use crate::app::SharedApp;
use crate::clock;
use crate::http::body::Fields;
use crate::http::problem::Problem;
use crate::store::User;

/// The routes, without their prefix.
pub(super) fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/change-email", post(change_email))
        .route("/delete-user", post(delete_user))
        .route("/delete-user/callback", get(async || not_found()))
        .route("/request-password-reset", post(request_password_reset))
        .route("/forget-password", post(request_password_reset))
        .route("/reset-password", post(async || invalid_token(StatusCode::BAD_REQUEST)))
        .route("/reset-password/{token}", get(follow_reset_link))
        .route("/send-verification-email", post(send_verification_email))
        .route("/verify-email", get(follow_verification_link))
        .route("/sign-in/social", post(async || provider_not_found()))
        .route("/link-social", post(link_social))
        .route("/unlink-account", post(unlink_account))
        .route("/list-accounts", get(list_accounts))
        .route("/get-access-token", post(no_such_account))
        .route("/refresh-token", post(no_such_account))
        .route("/account-info", get(account_info))
        .route("/update-session", post(update_session))
}

fn off(code: &'static str, message: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, message)
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found")
}

fn provider_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "provider_not_found", "Provider not found")
}

fn account_not_found() -> Problem {
    off("account_not_found", "Account not found")
}

fn invalid_token(status: StatusCode) -> Problem {
    Problem::new(status, "invalid_token", "Invalid token")
}

/// `POST /change-email`
async fn change_email(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    fields.required("newEmail");
    fields.finish()?;
    app.caller(&headers, true).await?;
    Err(off("change_email_disabled", "Change email is disabled"))
}

/// `POST /delete-user`
async fn delete_user(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.caller(&headers, true).await?;
    Err(not_found())
}

/// `POST /request-password-reset`, which clients up to 1.3 call `/forget-password`.
async fn request_password_reset(mut fields: Fields) -> Result<Response, Problem> {
    fields.required("email");
    fields.finish()?;
    Err(off("reset_password_disabled", "Reset password isn't enabled"))
}

/// `POST /send-verification-email`
async fn send_verification_email(mut fields: Fields) -> Result<Response, Problem> {
    fields.required("email");
    fields.finish()?;
    Err(off("verification_email_not_enabled", "Verification email isn't enabled"))
}

/// `GET /reset-password/{token}`
async fn follow_reset_link(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    lead_on(&app, &headers, &uri, invalid_token(StatusCode::BAD_REQUEST))
}

/// `GET /verify-email`
async fn follow_verification_link(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    lead_on(&app, &headers, &uri, invalid_token(StatusCode::UNAUTHORIZED))
}

/// On to the page that the link names, which shows the error; without one, the error itself.
fn lead_on(app: &SharedApp, headers: &HeaderMap, link: &Uri, problem: Problem) -> Result<Response, Problem> {
    let mut query = form_urlencoded::parse(link.query().unwrap_or_default().as_bytes());
    let callback = query.find(|(name, value)| name == "callbackURL" && !value.is_empty());
    let Some((_, callback)) = callback else { return Err(problem) };
    check_callback(app, headers, Some(&callback))?;
    let separator = if callback.contains('?') { '&' } else { '?' };
    let to = HeaderValue::from_str(&format!("{callback}{separator}error=INVALID_TOKEN"));
    let to = to.map_err(|_| problem)?;
    Ok((StatusCode::FOUND, [(header::LOCATION, to)]).into_response())
}

/// `POST /link-social`
async fn link_social(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.caller(&headers, true).await?;
    Err(provider_not_found())
}

/// `POST /unlink-account`: there is the password alone.
async fn unlink_account(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let provider = fields.required("providerId");
    fields.finish()?;
    app.caller(&headers, true).await?;
    match provider.as_str() {
        CREDENTIAL => Err(off("failed_to_unlink_last_account", "You can't unlink your last account")),
        _ => Err(account_not_found()),
    }
}

/// `POST /get-access-token`, `POST /refresh-token`
async fn no_such_account(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.caller(&headers, true).await?;
    Err(account_not_found())
}

/// `GET /account-info`
async fn account_info(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.caller(&headers, false).await?;
    Err(account_not_found())
}

/// `POST /update-session`: a session has no fields of the application's.
async fn update_session(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.caller(&headers, true).await?;
    Err(off("no_fields_to_update", "No fields to update"))
}

/// Better Auth's name for signing in with a password.
const CREDENTIAL: &str = "credential";

/// A way to sign in, as Better Auth shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountBody<'user> {
    id: &'user str,
    provider_id: &'static str,
    account_id: &'user str,
    user_id: &'user str,
    created_at: String,
    updated_at: String,
    scopes: [&'static str; 0],
}

impl<'user> AccountBody<'user> {
    fn of(user: &'user User) -> Self {
        Self {
            id: &user.id,
            provider_id: CREDENTIAL,
            account_id: &user.id,
            user_id: &user.id,
            created_at: clock::rfc3339(user.created_at),
            updated_at: clock::rfc3339(user.updated_at),
            scopes: [],
        }
    }
}

/// `GET /list-accounts`: the password.
async fn list_accounts(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    let caller = app.caller(&headers, false).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json([AccountBody::of(&caller.user)])).into_response())
}
