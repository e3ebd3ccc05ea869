use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;

use crate::app::SharedApp;
use crate::http::body::{Fields, Form};
use crate::http::cookie::{cleared, signed_in_headers};
use crate::http::problem::Problem;
use crate::http::wire;
use crate::password::NewPassword;
use crate::session::Client;

/// The body of `POST /change-password` in our own interface.
#[derive(JsonSchema)]
#[schemars(rename = "ChangePassword")]
pub(super) struct ChangePasswordForm {
    current_password: String,
    new_password: NewPassword,
}

impl Form for ChangePasswordForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (current, new) = (fields.text("current_password"), fields.new_password("new_password"));
        Some(Self { current_password: current?, new_password: new? })
    }
}

/// `POST /change-password`. With Better Auth's fields it is the call of that interface.
pub(super) async fn change_password(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    if wire::change_password::is_meant(&fields) {
        wire::change_password::change_password(&app, client, &headers, fields).await
    } else {
        end_every_session(&app, client, &headers, fields).await.unwrap_or_else(IntoResponse::into_response)
    }
}

/// Ends every session, the caller's too. A caller with a cookie gets one for a new session.
async fn end_every_session(
    app: &SharedApp,
    client: Client,
    headers: &HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let owner = app.token_owner(headers, true).await?;
    let form: ChangePasswordForm = fields.read()?;
    let ChangePasswordForm { current_password, new_password } = form;
    let accounts = &app.accounts;
    let user =
        accounts.change_password_everywhere(owner.user, &current_password, new_password, &client).await?;
    let headers = if owner.from_cookie {
        match accounts.begin_session_if_possible(user, &client).await {
            Some(signed_in) => signed_in_headers(app, &signed_in.token, &signed_in.session),
            None => cleared(app),
        }
    } else {
        HeaderMap::new()
    };
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
