use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::StatusBody;
use crate::account;
use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::native::signed_in_headers;
use crate::http::problem::Problem;
use crate::store::Profile;

/// `POST /update-user`: name and picture. The cookie's token is made anew, so that the name in it is right.
pub(super) async fn update_user(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, true).await?;
    if fields.has("email") {
        let status = StatusCode::BAD_REQUEST;
        return Err(Problem::new(status, "email_can_not_be_updated", "Email can not be updated"));
    }
    let changes_image = fields.has("image");
    let name = fields.optional("name");
    account::check_name(&mut fields, "name", name.as_deref().unwrap_or_default());
    let image = fields.optional("image");
    account::check_image(&mut fields, "image", image.as_deref());
    fields.finish()?;
    if name.is_none() && !changes_image {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "no_fields_to_update", "No fields to update"));
    }

    let profile = Profile { name: name.as_deref(), image: changes_image.then_some(image.as_deref()) };
    let session_id = caller.claims.id().filter(|_| caller.from_cookie);
    let session = app.store.set_profile(&caller.user.id, profile, session_id).await?;
    let headers = match session {
        Some(session) => {
            let mut user = caller.user;
            user.name = name.unwrap_or(user.name);
            let token = app.tokens.issue(&user, &session)?;
            signed_in_headers(&app, &token, &session)
        }
        None => HeaderMap::new(),
    };
    Ok((headers, Json(StatusBody { status: true })).into_response())
}
