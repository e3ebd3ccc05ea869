use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;

use super::SignedInBody;
use crate::app::SharedApp;
use crate::http::body::{Fields, Form};
use crate::http::cookie::signed_in_headers;
use crate::http::problem::Problem;
use crate::session::Client;

/// The body of `POST /signin`.
#[derive(JsonSchema)]
#[schemars(rename = "SignIn")]
pub(super) struct SignInForm {
    /// Any text: one that is not an address gets the same answer as an unknown address.
    email: String,
    password: String,
}

impl Form for SignInForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let (email, password) = (fields.text("email"), fields.text("password"));
        Some(Self { email: email?, password: password? })
    }
}

/// `POST /signin`
pub(super) async fn sign_in(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let form: SignInForm = fields.read()?;

    let signed_in = app.accounts.sign_in(&form.email, &form.password, &client).await?;
    let headers = signed_in_headers(&app, &signed_in.token, &signed_in.session);
    let body = SignedInBody::of(&signed_in.user, signed_in.token, &signed_in.session);
    Ok((headers, Json(body)).into_response())
}
