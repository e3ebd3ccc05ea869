use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;

use super::SignedInBody;
use crate::account::SignUp;
use crate::app::SharedApp;
use crate::email::Email;
use crate::http::body::{Fields, Form};
use crate::http::cookie::signed_in_headers;
use crate::http::problem::Problem;
use crate::password::NewPassword;
use crate::profile::Name;
use crate::session::Client;

/// The body of `POST /signup`. The page sends the same fields.
#[derive(JsonSchema)]
#[schemars(rename = "SignUp")]
pub(in crate::http) struct SignUpForm {
    email: Email,
    password: NewPassword,
    name: Option<Name>,
}

impl Form for SignUpForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (email, password) = (fields.email("email"), fields.new_password("password"));
        let name = fields.optional_person("name");
        Some(Self { email: email?, password: password?, name })
    }
}

impl From<SignUpForm> for SignUp {
    fn from(form: SignUpForm) -> Self {
        let SignUpForm { email, password, name } = form;
        Self { email, password, name: name.unwrap_or_default(), image: None }
    }
}

/// `POST /signup`
pub(super) async fn sign_up(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let form: SignUpForm = fields.read()?;

    let signed_in = app.accounts.sign_up(form.into(), &client).await?;
    let headers = signed_in_headers(&app, &signed_in.token, &signed_in.session);
    let body = SignedInBody::of(&signed_in.user, signed_in.token, &signed_in.session);
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}
