//! Errors as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jwt_gate_token::Refusal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::AccountError;
use crate::store::StoreError;

/// What went wrong with a request, as its sender is told. [`Problem::code`] is stable.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// One sentence for a person.
    pub detail: Cow<'static, str>,
    /// What is wrong with which field.
    pub fields: Vec<FieldProblem>,
    /// For 429 and 503: when to try again.
    pub retry_after_seconds: Option<u64>,
}

/// What is wrong with a field of a body.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FieldProblem {
    /// The member's name; empty for the body as a whole.
    pub field: &'static str,
    /// The stable code.
    #[schemars(extend("enum" = ["required", "type", "invalid", "too_short", "too_long"]))]
    pub code: &'static str,
    /// One sentence for a person.
    pub detail: Cow<'static, str>,
}

/// A problem (RFC 9457).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody<'problem> {
    /// Always `about:blank`: the `code` says more.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    kind: &'static str,
    /// The status in words.
    title: &'problem str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// Stable: programs may depend on it.
    #[schemars(regex(pattern = "^[a-z0-9_]+$"))]
    code: &'static str,
    /// One sentence for a person.
    detail: &'problem str,
    /// The same, under the name that Better Auth's client shows.
    message: &'problem str,
    /// Field by field, with 422.
    #[serde(skip_serializing_if = "<[FieldProblem]>::is_empty")]
    errors: &'problem [FieldProblem],
}

// === impl Problem ===

impl Problem {
    /// A problem with nothing but a status, a code and a sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), fields: Vec::new(), retry_after_seconds: None }
    }

    /// 422: the body is JSON, but fields are missing or not acceptable.
    pub fn fields(fields: Vec<FieldProblem>) -> Self {
        let detail = match fields.as_slice() {
            [only] => only.detail.clone(),
            _ => "Some fields are missing or not acceptable.".into(),
        };
        Self { fields, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", detail) }
    }

    /// 401: no token, where one is needed.
    pub fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "missing_token", "Sign in first.")
    }

    /// 405: the call takes another method; axum adds `Allow`.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed.")
    }

    /// 500. What happened is in the log, not in the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error.")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, refusal.code(), refusal.description())
    }
}

/// The one place where the domain's errors become answers of our own interface; `wire` translates these into Better Auth's.
impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let code = error.code();
        let try_again = |seconds, detail: &'static str| Self {
            retry_after_seconds: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        };
        match error {
            AccountError::SignUpClosed => Self::new(
                StatusCode::FORBIDDEN,
                code,
                "Signing up is closed. Ask the people who run this site.",
            ),
            AccountError::EmailTaken => {
                Self::new(StatusCode::CONFLICT, code, "There is an account with this e-mail address already.")
            }
            AccountError::InvalidCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, code, "The e-mail address or the password is wrong.")
            }
            AccountError::Disabled => Self::new(StatusCode::FORBIDDEN, code, "This account is disabled."),
            AccountError::Token(refusal) => refusal.into(),
            AccountError::TokenWithoutId => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                code,
                "A token without a jti cannot be revoked on its own.",
            ),
            AccountError::Throttled(wait) => Self {
                retry_after_seconds: Some(wait.seconds),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, "Too many attempts; try again later.")
            },
            AccountError::Overloaded => try_again(2, "Too many sign-ins at once; try again soon."),
            AccountError::ClockAhead { seconds } => {
                tracing::error!(
                    seconds,
                    "a clock that was ahead ended an account's sessions; see `users repair`"
                );
                try_again(
                    u64::try_from(seconds).unwrap_or_default().clamp(1, 3600),
                    "This account's sessions were ended by a server whose clock was ahead. Its operator can repair that.",
                )
            }
            AccountError::Store(error) => {
                tracing::error!(%error, "the store failed");
                try_again(1, "The store does not answer; try again soon.")
            }
            AccountError::Internal(error) => {
                tracing::error!(%error, "internal error");
                Self::internal()
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        AccountError::Store(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            message: &self.detail,
            errors: &self.fields,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.add_headers(&mut response);
        // For the layers that say the same in another form.
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The headers that belong to the problem in whatever form it is told.
    pub fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            // Where Better Auth's documentation tells clients to look.
            headers.insert(HeaderName::from_static("x-retry-after"), HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3: without a token, no error code.
            let challenge = match self.code {
                "missing_token" | "invalid_credentials" => r#"Bearer realm="jwt-gate""#,
                _ => r#"Bearer realm="jwt-gate", error="invalid_token""#,
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
}
