use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::app::SharedApp;
use crate::error::AccountError;
use crate::http::body::{Fields, Form};
use crate::http::credentials::bearer_token;
use crate::http::openapi::{False, True};
use crate::http::problem::Problem;

/// The body of `POST /verify`.
#[derive(JsonSchema)]
#[schemars(rename = "Verify")]
pub(super) struct VerifyForm {
    token: Option<String>,
}

impl Form for VerifyForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.optional_text("token") })
    }
}

/// What a gate would say of a token.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Verification")]
#[serde(untagged)]
pub(super) enum VerificationBody {
    /// It would let the token through.
    Active {
        /// `true`
        #[schemars(with = "True")]
        active: bool,
        /// The token's claims.
        claims: Map<String, Value>,
    },
    /// It would not.
    Inactive {
        /// `false`
        #[schemars(with = "False")]
        active: bool,
        /// The gate's code.
        code: &'static str,
    },
}

/// `POST /verify`
pub(super) async fn verify(State(app): State<SharedApp>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let form: VerifyForm = Fields::from_optional(request).await?.read()?;
    let token = match &form.token {
        Some(token) => token,
        None => bearer_token(&app, &headers)?.ok_or_else(Problem::missing_token)?.token,
    };
    let body = match app.accounts.check_token(token).await {
        Ok(claims) => VerificationBody::Active { active: true, claims: claims.members() },
        Err(AccountError::Token(refusal)) => {
            VerificationBody::Inactive { active: false, code: refusal.code() }
        }
        Err(error) => return Err(error.into()),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
