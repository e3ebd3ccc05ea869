use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::UserBody;
use crate::account::{self, SignUp, SignedIn};
use crate::app::{App, SharedApp};
use crate::email::Email;
use crate::http::body::{self, Fields};
use crate::http::client::Sender;
use crate::http::native::{cleared, signed_in_headers};
use crate::http::pages;
use crate::http::problem::Problem;
use crate::http::return_path;

#[derive(Debug, Serialize)]
pub(crate) struct SignedUpBody {
    /// For `Authorization: Bearer`; the same is set as a cookie.
    token: String,
    user: UserBody,
}

#[derive(Debug, Serialize)]
pub(crate) struct SignedInBody {
    /// Whether the client goes to `url` now.
    redirect: bool,
    /// For `Authorization: Bearer`; the same is set as a cookie.
    token: String,
    /// The `callbackURL` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    user: UserBody,
}

#[derive(Debug, Serialize)]
pub(crate) struct SuccessBody {
    success: bool,
}

/// `POST /sign-up/email`
pub(super) async fn sign_up(
    State(app): State<SharedApp>,
    sender: Sender,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let name = fields.required("name");
    account::check_name(&mut fields, "name", &name);
    let email = account::read_email(&mut fields, "email");
    let password = account::read_new_password(&mut fields, "password");
    let image = fields.optional("image");
    account::check_image(&mut fields, "image", image.as_deref());
    let remember = fields.optional_flag("rememberMe").unwrap_or(true);
    let callback = fields.optional("callbackURL").filter(|callback| !callback.is_empty());
    fields.finish()?;
    check_callback(&app, &headers, callback.as_deref())?;
    let email = email.ok_or_else(Problem::internal)?;

    let sign_up = SignUp { email, password, name, image };
    let SignedIn { user, session, token } = app.sign_up(sign_up, &sender.remembered(remember)).await?;
    let headers = signed_in_headers(&app, &token, &session);
    Ok((headers, Json(SignedUpBody { token, user: UserBody::of(&user) })).into_response())
}

/// `POST /sign-in/email`
pub(super) async fn sign_in(
    State(app): State<SharedApp>,
    sender: Sender,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let email = fields.required("email");
    if Email::parse(&email).is_err() {
        fields.reject("email", "invalid", "This is not an e-mail address.");
    }
    let password = fields.required("password");
    let remember = fields.optional_flag("rememberMe").unwrap_or(true);
    let callback = fields.optional("callbackURL").filter(|callback| !callback.is_empty());
    fields.finish()?;
    check_callback(&app, &headers, callback.as_deref())?;

    let client = sender.remembered(remember);
    let SignedIn { user, session, token } = app.sign_in(&email, &password, &client).await?;
    let headers = signed_in_headers(&app, &token, &session);
    let body = SignedInBody { redirect: callback.is_some(), token, url: callback, user: UserBody::of(&user) };
    Ok((headers, Json(body)).into_response())
}

/// `POST /sign-out`
pub(super) async fn sign_out(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    // A page's form comes here too, and its sender is a person.
    if body::require_content_type(&headers, body::is_form).is_ok() {
        return Ok(pages::submit_sign_out(State(app), headers).await);
    }
    app.sign_out(&headers).await?;
    Ok((cleared(&app), Json(SuccessBody { success: true })).into_response())
}

/// The client goes where `callbackURL` says, so it has to be a page of ours.
pub(super) fn check_callback(app: &App, headers: &HeaderMap, callback: Option<&str>) -> Result<(), Problem> {
    let ours = |url: &str| return_path::is_safe(url) || app.origins.trusts_url(url, headers);
    if callback.is_none_or(ours) {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "invalid_callback_url", "Invalid callbackURL"))
    }
}
