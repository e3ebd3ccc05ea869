use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{UserBody, render};
use crate::account::{self, SignedIn};
use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::client::Sender;
use crate::http::native::{cleared, signed_in_headers};
use crate::http::problem::Problem;
use crate::store::User;

#[derive(Debug, Serialize)]
pub(crate) struct ChangedBody {
    /// A new token, where the others were revoked.
    token: Option<String>,
    user: UserBody,
}

/// `POST /change-password`, in Better Auth's interface (`currentPassword`, `newPassword`,
/// `revokeOtherSessions`) and in our own (`current_password`, `new_password`).
pub(super) async fn change_password(
    State(app): State<SharedApp>,
    sender: Sender,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    if fields.has("newPassword") || fields.has("currentPassword") {
        wire(&app, sender, &headers, fields).await.unwrap_or_else(render)
    } else {
        native(&app, sender, &headers, fields).await.unwrap_or_else(IntoResponse::into_response)
    }
}

async fn wire(
    app: &SharedApp,
    sender: Sender,
    headers: &HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let caller = app.caller(headers, true).await?;
    let current = fields.required("currentPassword");
    let new = account::read_new_password(&mut fields, "newPassword");
    let revoke = fields.optional_flag("revokeOtherSessions").unwrap_or(false);
    fields.finish()?;
    let wrong = |problem: Problem| match problem.code {
        "invalid_credentials" => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_password", "Invalid password")
        }
        _ => problem,
    };
    let body = |token, user| Json(ChangedBody { token, user: UserBody::of(user) });
    if !revoke {
        app.change_password(&caller.user, &current, &new, &sender.client).await.map_err(wrong)?;
        return Ok(body(None, &caller.user).into_response());
    }
    let changed = app.change_password_everywhere(caller.user, &current, &new, &sender.client).await;
    let user = changed.map_err(wrong)?;
    match begin_session(app, user.clone(), &sender).await {
        Some(signed_in) => {
            let headers = signed_in_headers(app, &signed_in.token, &signed_in.session);
            Ok((headers, body(Some(signed_in.token), &signed_in.user)).into_response())
        }
        None => Ok((cleared(app), body(None, &user)).into_response()),
    }
}

/// A session after the password was changed. `None` if none can begin: that is no reason to report the change as
/// failed, because a second try would be refused for its old password.
async fn begin_session(app: &SharedApp, user: User, sender: &Sender) -> Option<SignedIn> {
    app.begin_session(user, &sender.client).await.ok().flatten()
}

/// Ends every session, the caller's too; a caller with a cookie gets one for a new session.
async fn native(
    app: &SharedApp,
    sender: Sender,
    headers: &HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let caller = app.caller(headers, true).await?;
    let current = fields.required("current_password");
    let new = account::read_new_password(&mut fields, "new_password");
    fields.finish()?;
    let from_cookie = caller.from_cookie;
    let user = app.change_password_everywhere(caller.user, &current, &new, &sender.client).await?;
    let headers = if from_cookie {
        match begin_session(app, user, &sender).await {
            Some(signed_in) => signed_in_headers(app, &signed_in.token, &signed_in.session),
            None => cleared(app),
        }
    } else {
        HeaderMap::new()
    };
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
