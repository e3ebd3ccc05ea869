use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::UserBody;
use crate::app::SharedApp;
use crate::http::problem::Problem;

/// Who is signed in.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Me")]
pub(super) struct MeBody {
    user: UserBody,
}

/// `GET /me`
pub(super) async fn me(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, false).await?;
    let body = MeBody { user: UserBody::of(&owner.user) };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
