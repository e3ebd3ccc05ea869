use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::UserBody;
use crate::app::SharedApp;
use crate::http::body::{Fields, Form};
use crate::http::problem::Problem;
use crate::session::Client;

/// Who is signed in.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Me")]
pub(super) struct MeBody {
    user: UserBody,
}

/// The body of `DELETE /me`.
#[derive(JsonSchema)]
#[schemars(rename = "DeleteMe")]
pub(super) struct DeleteMeForm {
    password: String,
}

impl Form for DeleteMeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { password: fields.text("password")? })
    }
}

/// `DELETE /me`
pub(super) async fn delete_me(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, true).await?;
    let form: DeleteMeForm = fields.read()?;
    let headers = app.delete_account(&owner, Some(&form.password), &client, &headers).await?;
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// `GET /me`
pub(super) async fn me(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, false).await?;
    let body = MeBody { user: UserBody::of(&owner.user) };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
