use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{UserBody, render};
use crate::app::SharedApp;
use crate::error::AccountError;
use crate::http::body::{Fields, Form};
use crate::http::cookie::{cleared, signed_in_headers};
use crate::http::problem::Problem;
use crate::password::NewPassword;
use crate::session::Client;

/// The body of `POST /change-password` in Better Auth's interface.
#[derive(JsonSchema)]
#[schemars(rename = "WireChangePassword", rename_all = "camelCase")]
pub(in crate::http) struct ChangePasswordForm {
    current_password: String,
    new_password: NewPassword,
    revoke_other_sessions: Option<bool>,
}

impl Form for ChangePasswordForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (current, new) = (fields.text("currentPassword"), fields.new_password("newPassword"));
        let revoke_other_sessions = fields.optional_flag("revokeOtherSessions");
        Some(Self { current_password: current?, new_password: new?, revoke_other_sessions })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireChangedPassword")]
pub(in crate::http) struct ChangedBody {
    /// A new token, if the others were revoked.
    token: Option<String>,
    user: UserBody,
}

/// Whether a body is meant for this call and not for that of our own interface.
pub(in crate::http) fn is_meant(fields: &Fields) -> bool {
    fields.has("newPassword") || fields.has("currentPassword")
}

/// `POST /change-password`
pub(in crate::http) async fn change_password(
    app: &SharedApp,
    client: Client,
    headers: &HeaderMap,
    fields: Fields,
) -> Response {
    change(app, client, headers, fields).await.unwrap_or_else(render)
}

async fn change(
    app: &SharedApp,
    client: Client,
    headers: &HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let owner = app.token_owner(headers, true).await?;
    let form: ChangePasswordForm = fields.read()?;
    let ChangePasswordForm { current_password, new_password, revoke_other_sessions } = form;
    let wrong = |error: AccountError| match error {
        AccountError::InvalidCredentials => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_password", "Invalid password")
        }
        other => other.into(),
    };
    let body = |token, user| Json(ChangedBody { token, user: UserBody::of(user) });
    let accounts = &app.accounts;
    if !revoke_other_sessions.unwrap_or(false) {
        let changed = accounts.change_password(&owner.user, &current_password, new_password, &client).await;
        changed.map_err(wrong)?;
        return Ok(body(None, &owner.user).into_response());
    }
    let changed =
        accounts.change_password_everywhere(owner.user, &current_password, new_password, &client).await;
    let user = changed.map_err(wrong)?;
    match accounts.begin_session_if_possible(user.clone(), &client).await {
        Some(signed_in) => {
            let headers = signed_in_headers(app, &signed_in.token, &signed_in.session);
            Ok((headers, body(Some(signed_in.token), &signed_in.user)).into_response())
        }
        None => Ok((cleared(app), body(None, &user)).into_response()),
    }
}
