use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use schemars::JsonSchema;

use super::StatusBody;
use crate::app::SharedApp;
use crate::http::body::{Fields, Form};
use crate::http::cookie::signed_in_headers;
use crate::http::problem::Problem;
use crate::profile::{Image, Name};
use crate::store::Profile;

/// The body of `POST /update-user`.
#[derive(JsonSchema)]
#[schemars(rename = "WireUpdateUser", extend("anyOf" = [{"required": ["name"]}, {"required": ["image"]}]))]
pub(super) struct UpdateUserForm {
    name: Option<Name>,
    image: Option<Image>,
}

impl Form for UpdateUserForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { name: fields.optional_person("name"), image: fields.optional_image("image") })
    }
}

/// `POST /update-user`: name and picture. The cookie's token is reissued with the new name.
pub(super) async fn update_user(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, true).await?;
    if fields.has("email") {
        let status = StatusCode::BAD_REQUEST;
        return Err(Problem::new(status, "email_can_not_be_updated", "Email can not be updated"));
    }
    let changes_image = fields.has("image");
    let UpdateUserForm { name, image } = fields.read()?;
    if name.is_none() && !changes_image {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "no_fields_to_update", "No fields to update"));
    }

    let profile = Profile {
        name: name.as_ref().map(Name::as_str),
        image: changes_image.then_some(image.as_ref().map(Image::as_str)),
    };
    let session_id = owner.claims.id().filter(|_| owner.from_cookie);
    let session = app.accounts.store.set_profile(&owner.user.id, profile, session_id).await?;
    let headers = match session {
        Some(session) => {
            let mut user = owner.user;
            user.name = name.map_or(user.name, String::from);
            let token = app.accounts.tokens.issue(&user, &session)?;
            signed_in_headers(&app, &token, &session)
        }
        None => HeaderMap::new(),
    };
    Ok((headers, Json(StatusBody { status: true })).into_response())
}
