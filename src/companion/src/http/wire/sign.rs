use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::UserBody;
use crate::account::{SignUp, SignedIn};
use crate::app::{App, SharedApp};
use crate::email::Email;
use crate::http::body::{self, Fields, Form};
use crate::http::cookie::{cleared, signed_in_headers};
use crate::http::openapi::True;
use crate::http::pages;
use crate::http::problem::Problem;
use crate::http::return_path;
use crate::password::NewPassword;
use crate::profile::{Image, Name};
use crate::session::Client;

/// The body of `POST /sign-up/email`.
#[derive(JsonSchema)]
#[schemars(rename = "WireSignUp", rename_all = "camelCase")]
pub(super) struct SignUpForm {
    name: Name,
    email: Email,
    password: NewPassword,
    image: Option<Image>,
    #[schemars(rename = "callbackURL")]
    callback_url: Option<String>,
    remember_me: Option<bool>,
}

impl Form for SignUpForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (name, email) = (fields.person("name"), fields.email("email"));
        let (password, image) = (fields.new_password("password"), fields.optional_image("image"));
        let (remember_me, callback_url) = (fields.optional_flag("rememberMe"), read_callback(fields));
        Some(Self { name: name?, email: email?, password: password?, image, callback_url, remember_me })
    }
}

/// The body of `POST /sign-in/email`.
#[derive(JsonSchema)]
#[schemars(rename = "WireSignIn", rename_all = "camelCase")]
pub(super) struct SignInForm {
    #[schemars(with = "String")]
    email: Email,
    password: String,
    #[schemars(rename = "callbackURL")]
    callback_url: Option<String>,
    remember_me: Option<bool>,
}

impl Form for SignInForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (email, password) = (fields.email("email"), fields.text("password"));
        let (remember_me, callback_url) = (fields.optional_flag("rememberMe"), read_callback(fields));
        Some(Self { email: email?, password: password?, callback_url, remember_me })
    }
}

/// Better Auth takes an empty `callbackURL` as absent.
fn read_callback(fields: &mut Fields) -> Option<String> {
    fields.optional_text("callbackURL").filter(|callback| !callback.is_empty())
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireSignedUp")]
pub(super) struct SignedUpBody {
    /// For `Authorization: Bearer`; the same is set as a cookie.
    token: String,
    user: UserBody,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireSignedIn")]
pub(super) struct SignedInBody {
    /// Whether the client goes to `url` now.
    redirect: bool,
    /// For `Authorization: Bearer`; the same is set as a cookie.
    token: String,
    /// The `callbackURL` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    url: Option<String>,
    user: UserBody,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireSuccess")]
pub(super) struct SuccessBody {
    #[schemars(with = "True")]
    success: bool,
}

/// `POST /sign-up/email`
pub(super) async fn sign_up(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let form: SignUpForm = fields.read()?;
    check_callback(&app, &headers, form.callback_url.as_deref())?;

    let SignUpForm { name, email, password, image, remember_me, .. } = form;
    let client = Client { remember: remember_me.unwrap_or(true), ..client };
    let signed_up = app.accounts.sign_up(SignUp { email, password, name, image }, &client).await?;
    let SignedIn { user, session, token } = signed_up;
    let headers = signed_in_headers(&app, &token, &session);
    Ok((headers, Json(SignedUpBody { token, user: UserBody::of(&user) })).into_response())
}

/// `POST /sign-in/email`
pub(super) async fn sign_in(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let form: SignInForm = fields.read()?;
    check_callback(&app, &headers, form.callback_url.as_deref())?;

    let SignInForm { email, password, callback_url, remember_me } = form;
    let client = Client { remember: remember_me.unwrap_or(true), ..client };
    let SignedIn { user, session, token } = app.accounts.sign_in(email.as_str(), &password, &client).await?;
    let headers = signed_in_headers(&app, &token, &session);
    let redirect = callback_url.is_some();
    Ok((headers, Json(SignedInBody { redirect, token, url: callback_url, user: UserBody::of(&user) }))
        .into_response())
}

/// `POST /sign-out`
pub(super) async fn sign_out(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // A page's form comes here too, and its sender is a person.
    if body::require_content_type(&headers, body::is_form).is_ok() {
        return Ok(pages::submit_sign_out(State(app), client, headers).await);
    }
    app.sign_out(&headers, &client).await?;
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
