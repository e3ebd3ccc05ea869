use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::app::SharedApp;
use crate::http::cookie::cleared;
use crate::http::problem::Problem;
use crate::session::Client;

/// `POST /signout`
pub(super) async fn sign_out(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.sign_out(&headers, &client).await?;
    Ok((StatusCode::NO_CONTENT, cleared(&app)).into_response())
}

/// `POST /signout-everywhere`
pub(super) async fn sign_out_everywhere(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.sign_out_everywhere(&headers, &client).await?;
    Ok((StatusCode::NO_CONTENT, cleared(&app)).into_response())
}
