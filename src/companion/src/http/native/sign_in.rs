use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use super::{SignedInBody, signed_in_headers};
use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::client::Sender;
use crate::http::problem::Problem;

/// `POST /signin`
pub(super) async fn sign_in(
    State(app): State<SharedApp>,
    Sender { client }: Sender,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    app.origins.check(&headers, false)?;
    let email = fields.required("email");
    let password = fields.required("password");
    fields.finish()?;

    let signed_in = app.sign_in(&email, &password, &client).await?;
    let headers = signed_in_headers(&app, &signed_in.token, &signed_in.session);
    let body = SignedInBody::of(&signed_in.user, signed_in.token, &signed_in.session);
    Ok((headers, Json(body)).into_response())
}
