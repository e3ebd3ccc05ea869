use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::sessions::session_of;
use crate::app::SharedApp;
use crate::error::AccountError;
use crate::http::body::{Fields, Form};
use crate::http::credentials::TokenOwner;
use crate::http::openapi::True;
use crate::http::problem::Problem;
use crate::session::Client;

/// Without a password, only a session that began less than a day ago deletes its account: Better Auth's `freshAge`.
const FRESH_MS: i64 = 86_400_000;

/// The body of `POST /delete-user`.
#[derive(JsonSchema)]
#[schemars(rename = "WireDeleteUser", rename_all = "camelCase")]
pub(super) struct DeleteUserForm {
    /// Needed if the session began more than a day ago.
    password: Option<String>,
    /// Of a mail that is never sent.
    token: Option<String>,
}

impl Form for DeleteUserForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            password: given(fields.optional_text("password")),
            token: given(fields.optional_text("token")),
        })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireDeleted")]
pub(super) struct DeletedBody {
    #[schemars(with = "True")]
    success: bool,
    message: &'static str,
}

/// `POST /delete-user`
pub(super) async fn delete_user(
    State(app): State<SharedApp>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let form: DeleteUserForm = Fields::from_optional(request).await?.read()?;
    let owner = app.token_owner(&headers, true).await?;
    if form.token.is_some() {
        return Err(invalid_token());
    }
    if form.password.is_none() && !is_fresh(&app, &owner).await? {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "session_expired",
            "Session expired. Re-authenticate to perform this action.",
        ));
    }
    let deleted = app.delete_account(&owner, form.password.as_deref(), &client, &headers).await;
    let headers = deleted.map_err(|error| match error {
        AccountError::InvalidCredentials => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_password", "Invalid password")
        }
        other => other.into(),
    })?;
    Ok((headers, Json(DeletedBody { success: true, message: "User deleted" })).into_response())
}

async fn is_fresh(app: &SharedApp, owner: &TokenOwner) -> Result<bool, Problem> {
    let session = session_of(app, &owner.user, owner.claims.id().unwrap_or_default()).await?;
    let now_ms = app.accounts.clock.now_ms();
    Ok(session.is_some_and(|session| now_ms.saturating_sub(session.created_at) < FRESH_MS))
}

/// `GET /delete-user/callback`: the link of a mail that is never sent.
pub(super) async fn follow_delete_link(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match app.token_owner(&headers, false).await {
        Ok(_) => Err(invalid_token()),
        Err(problem) if problem.status.is_client_error() => {
            Err(Problem::new(StatusCode::NOT_FOUND, "failed_to_get_user_info", "Failed to get user info"))
        }
        Err(problem) => Err(problem),
    }
}

fn invalid_token() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "invalid_token", "Invalid token")
}
