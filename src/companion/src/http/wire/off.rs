//! The calls of Better Auth's client whose features the companion does not have. The answers are those of a Better Auth
//! server on which the feature is off, so a frontend shows what it would show there.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::sign::check_callback;
use crate::app::SharedApp;
use crate::clock;
use crate::http::body::{Fields, Form};
use crate::http::openapi::{Calls, Instant, Operation, Style};
use crate::http::problem::Problem;
use crate::store::User;

/// The body of `POST /change-email`.
#[derive(JsonSchema)]
#[schemars(rename = "WireChangeEmail", rename_all = "camelCase")]
struct ChangeEmailForm {
    #[expect(dead_code, reason = "the call is off")]
    new_email: String,
}

impl Form for ChangeEmailForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { new_email: fields.text("newEmail")? })
    }
}

/// The body of the calls that would send a mail.
#[derive(JsonSchema)]
#[schemars(rename = "WireEmail")]
struct EmailForm {
    #[expect(dead_code, reason = "the calls are off")]
    email: String,
}

impl Form for EmailForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { email: fields.text("email")? })
    }
}

/// The body of `POST /unlink-account`.
#[derive(JsonSchema)]
#[schemars(rename = "WireUnlinkAccount", rename_all = "camelCase")]
struct UnlinkAccountForm {
    provider_id: String,
}

impl Form for UnlinkAccountForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { provider_id: fields.text("providerId")? })
    }
}

/// The calls, without their prefix.
pub(super) fn calls() -> Calls {
    let owners = |id, summary| Operation::new(id, summary).for_token_owners();
    let anybody = |id, summary| Operation::new(id, summary).without_store();
    let mail = |id, code| anybody(id, "Off.").body::<EmailForm>().refuses(400, code);
    let link = |operation: Operation| {
        operation
            .parameter("query", "callbackURL")
            .leads_on("To the `callbackURL`, with `error=INVALID_TOKEN`.")
    };
    Calls::new(Style::BetterAuth)
        .post(
            "/change-email",
            change_email,
            owners("changeEmail", "Off.")
                .changes_state()
                .body::<ChangeEmailForm>()
                .refuses(400, "`CHANGE_EMAIL_DISABLED`, or the body is not acceptable."),
        )
        .post(
            "/request-password-reset",
            request_password_reset,
            mail("requestPasswordReset", "`RESET_PASSWORD_DISABLED`, or the body is not acceptable."),
        )
        .post(
            "/forget-password",
            request_password_reset,
            mail("forgetPassword", "`RESET_PASSWORD_DISABLED`, or the body is not acceptable."),
        )
        .post(
            "/reset-password",
            async || invalid_token(StatusCode::BAD_REQUEST),
            anybody("resetPassword", "Off.").refuses(400, "`INVALID_TOKEN`."),
        )
        .get(
            "/reset-password/{token}",
            follow_reset_link,
            link(anybody("followResetLink", "Off.").parameter("path", "token"))
                .refuses(400, "`INVALID_TOKEN`.")
                .refuses_with(403),
        )
        .post(
            "/send-verification-email",
            send_verification_email,
            mail("sendVerificationEmail", "`VERIFICATION_EMAIL_NOT_ENABLED`, or the body is not acceptable."),
        )
        .get(
            "/verify-email",
            follow_verification_link,
            link(anybody("verifyEmail", "Off.").parameter("query", "token"))
                .refuses(401, "`INVALID_TOKEN`.")
                .refuses_with(403),
        )
        .post(
            "/sign-in/social",
            async || provider_not_found(),
            anybody("signInSocial", "Off.").refuses(404, "`PROVIDER_NOT_FOUND`."),
        )
        .post(
            "/link-social",
            link_social,
            owners("linkSocial", "Off.").changes_state().refuses(404, "`PROVIDER_NOT_FOUND`."),
        )
        .post(
            "/unlink-account",
            unlink_account,
            owners("unlinkAccount", "Off: there is the password alone.")
                .changes_state()
                .body::<UnlinkAccountForm>()
                .refuses(
                    400,
                    "`FAILED_TO_UNLINK_LAST_ACCOUNT`, `ACCOUNT_NOT_FOUND`, or the body is not acceptable.",
                ),
        )
        .get(
            "/list-accounts",
            list_accounts,
            owners("listAccounts", "The ways to sign in: the password.")
                .answers::<Vec<AccountBody<'_>>>(200, "One."),
        )
        .post(
            "/get-access-token",
            no_such_account,
            owners("getAccessToken", "Off.").changes_state().refuses(400, "`ACCOUNT_NOT_FOUND`."),
        )
        .post(
            "/refresh-token",
            no_such_account,
            owners("refreshToken", "Off.").changes_state().refuses(400, "`ACCOUNT_NOT_FOUND`."),
        )
        .get(
            "/account-info",
            account_info,
            owners("accountInfo", "Off.").refuses(400, "`ACCOUNT_NOT_FOUND`."),
        )
        .post(
            "/update-session",
            update_session,
            owners("updateSession", "Off: a session has no fields of the application's.")
                .changes_state()
                .refuses(400, "`NO_FIELDS_TO_UPDATE`."),
        )
}

fn off(code: &'static str, message: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, message)
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
    fields: Fields,
) -> Result<Response, Problem> {
    fields.read::<ChangeEmailForm>()?;
    app.token_owner(&headers, true).await?;
    Err(off("change_email_disabled", "Change email is disabled"))
}

/// `POST /request-password-reset`, which clients up to 1.3 call `/forget-password`.
async fn request_password_reset(fields: Fields) -> Result<Response, Problem> {
    fields.read::<EmailForm>()?;
    Err(off("reset_password_disabled", "Reset password isn't enabled"))
}

/// `POST /send-verification-email`
async fn send_verification_email(fields: Fields) -> Result<Response, Problem> {
    fields.read::<EmailForm>()?;
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
    app.token_owner(&headers, true).await?;
    Err(provider_not_found())
}

/// `POST /unlink-account`: there is the password alone.
async fn unlink_account(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let UnlinkAccountForm { provider_id } = fields.read()?;
    app.token_owner(&headers, true).await?;
    match provider_id.as_str() {
        CREDENTIAL => Err(off("failed_to_unlink_last_account", "You can't unlink your last account")),
        _ => Err(account_not_found()),
    }
}

/// `POST /get-access-token`, `POST /refresh-token`
async fn no_such_account(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.token_owner(&headers, true).await?;
    Err(account_not_found())
}

/// `GET /account-info`
async fn account_info(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.token_owner(&headers, false).await?;
    Err(account_not_found())
}

/// `POST /update-session`: a session has no fields of the application's.
async fn update_session(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.token_owner(&headers, true).await?;
    Err(off("no_fields_to_update", "No fields to update"))
}

/// Better Auth's name for signing in with a password.
const CREDENTIAL: &str = "credential";

/// A way to sign in, as Better Auth shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireAccount")]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountBody<'user> {
    id: &'user str,
    provider_id: &'static str,
    account_id: &'user str,
    user_id: &'user str,
    #[schemars(with = "Instant")]
    created_at: String,
    #[schemars(with = "Instant")]
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
    let owner = app.token_owner(&headers, false).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json([AccountBody::of(&owner.user)])).into_response())
}
