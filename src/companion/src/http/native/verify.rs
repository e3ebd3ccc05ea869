use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::caller;
use crate::http::problem::Problem;

/// What a gate would say of a token.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum VerificationBody {
    /// It would let the token through.
    Active {
        /// `true`
        active: bool,
        /// The token's claims.
        claims: Map<String, Value>,
    },
    /// It would not.
    Inactive {
        /// `false`
        active: bool,
        /// Why.
        code: &'static str,
    },
}

/// `POST /verify`
pub(super) async fn verify(State(app): State<SharedApp>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let mut fields = Fields::from_optional(request).await?;
    let in_body = fields.optional("token");
    fields.finish()?;
    let token = match &in_body {
        Some(token) => token,
        None => caller::presented(&app, &headers)?.ok_or_else(Problem::missing_token)?.token,
    };
    let body = match app.check_token(token).await? {
        Ok(claims) => VerificationBody::Active { active: true, claims: claims.members() },
        Err(refusal) => VerificationBody::Inactive { active: false, code: refusal.code() },
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
