use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{SignedInBody, signed_in_headers};
use crate::account::{self, SignUp};
use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::client::Sender;
use crate::http::problem::Problem;

/// `POST /signup`
pub(super) async fn sign_up(
    State(app): State<SharedApp>,
    Sender { client }: Sender,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let email = account::read_email(&mut fields, "email");
    let password = account::read_new_password(&mut fields, "password");
    let name = fields.optional("name").unwrap_or_default();
    account::check_name(&mut fields, "name", &name);
    fields.finish()?;
    let email = email.ok_or_else(Problem::internal)?;

    let signed_in = app.sign_up(SignUp { email, password, name, image: None }, &client).await?;
    let headers = signed_in_headers(&app, &signed_in.token, &signed_in.session);
    let body = SignedInBody::of(&signed_in.user, signed_in.token, &signed_in.session);
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}
