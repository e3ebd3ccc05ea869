//! Request bodies: JSON objects, bounded in size and in the time they may take.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jwt_gate_token::json;
use serde_json::{Map, Value};

use crate::email::Email;
use crate::http::problem::{FieldProblem, Problem};
use crate::password::{NewPassword, Unacceptable};
use crate::profile::{BadName, Image, Name};

/// The longest body that is read.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long a client may take to send its body, where the server does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to send its body: the server adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct BodyTimeout(pub Duration);

/// What a call expects in its body.
pub trait Form: Sized {
    /// Reads every field, so that each problem is named. `None` if a required one is missing.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// The members of a JSON body, read one by one. Their problems are collected.
pub struct Fields {
    members: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_content_type(request.headers(), is_json)?;
        let bytes = read_body(request).await?;
        Self::parse(&bytes)
    }
}

impl Fields {
    /// The fields of a body, or of no body at all: for calls whose fields are all optional.
    ///
    /// # Errors
    /// As [`Fields::from_request`].
    pub async fn from_optional(request: Request) -> Result<Self, Problem> {
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let acceptable = require_content_type(request.headers(), is_json);
        let bytes = read_body(request).await?;
        if bytes.is_empty() {
            return Ok(Self::of(Map::new()));
        }
        if typed {
            acceptable?;
        }
        Self::parse(&bytes)
    }

    /// Fields that came in another form.
    pub fn of(members: Map<String, Value>) -> Self {
        Self { members, problems: Vec::new() }
    }

    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        match json::parse(bytes) {
            Ok(Value::Object(members)) => Ok(Self::of(members)),
            Ok(_) => Err(Problem::fields(vec![FieldProblem {
                field: "",
                code: "type",
                detail: "The body is not a JSON object.".into(),
            }])),
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_json",
                "The body is not JSON in UTF-8, or names a member twice.",
            )),
        }
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// A required string.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Null) | None => self.reject(name, "required", "This field is required."),
            Some(_) => self.reject(name, "type", "This field is a string."),
        }
    }

    /// A string that may be absent or null.
    pub fn optional_text(&mut self, name: &'static str) -> Option<String> {
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Null) | None => None,
            Some(_) => self.reject(name, "type", "This field is a string."),
        }
    }

    /// A boolean that may be absent or null.
    pub fn optional_flag(&mut self, name: &'static str) -> Option<bool> {
        match self.members.remove(name) {
            Some(Value::Bool(flag)) => Some(flag),
            Some(Value::Null) | None => None,
            Some(_) => self.reject(name, "type", "This field is true or false."),
        }
    }

    /// An e-mail address.
    pub fn email(&mut self, name: &'static str) -> Option<Email> {
        let text = self.text(name)?;
        Email::parse(&text).ok().or_else(|| self.reject(name, "invalid", "This is not an e-mail address."))
    }

    /// A password that somebody chooses.
    pub fn new_password(&mut self, name: &'static str) -> Option<NewPassword> {
        let text = self.text(name)?;
        let unacceptable = match NewPassword::parse(&text) {
            Ok(password) => return Some(password),
            Err(unacceptable) => unacceptable,
        };
        let code = match unacceptable {
            Unacceptable::TooShort => "too_short",
            Unacceptable::TooLong => "too_long",
            Unacceptable::Nul => "invalid",
        };
        self.reject(name, code, unacceptable.to_string())
    }

    /// A person's name.
    pub fn person(&mut self, name: &'static str) -> Option<Name> {
        let text = self.text(name)?;
        self.check_person(name, text)
    }

    /// A person's name that may be absent or null.
    pub fn optional_person(&mut self, name: &'static str) -> Option<Name> {
        let text = self.optional_text(name)?;
        self.check_person(name, text)
    }

    fn check_person(&mut self, name: &'static str, text: String) -> Option<Name> {
        let bad = match Name::parse(text) {
            Ok(person) => return Some(person),
            Err(bad) => bad,
        };
        let code = match bad {
            BadName::TooLong => "too_long",
            BadName::ControlCharacter => "invalid",
        };
        self.reject(name, code, bad.to_string())
    }

    /// The address of a picture that may be absent or null.
    pub fn optional_image(&mut self, name: &'static str) -> Option<Image> {
        let text = self.optional_text(name)?;
        let image = Image::parse(text).ok();
        image.or_else(|| self.reject(name, "invalid", "The picture is not a web address."))
    }

    /// Notes that a field is not acceptable. Only the first problem of a field is kept.
    fn reject<T>(
        &mut self,
        field: &'static str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Option<T> {
        if !self.problems.iter().any(|known| known.field == field) {
            self.problems.push(FieldProblem { field, code, detail: detail.into() });
        }
        None
    }

    /// Reads a form.
    ///
    /// # Errors
    /// 422 with every field that is not acceptable.
    pub fn read<F: Form>(mut self) -> Result<F, Problem> {
        match F::read(&mut self) {
            Some(form) if self.problems.is_empty() => Ok(form),
            _ => Err(Problem::fields(self.problems)),
        }
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`].
///
/// # Errors
/// 413 where it is longer, 408 where it takes too long, 400 where it breaks off.
pub async fn read_body(request: Request) -> Result<Vec<u8>, Problem> {
    use http_body_util::{BodyExt, LengthLimitError, Limited};
    let timeout = request.extensions().get::<BodyTimeout>().map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    let read = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("The body is longer than {MAX_BODY_BYTES} bytes."),
        )),
        Ok(Err(_)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_body", "The body could not be read."))
        }
        Err(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body did not arrive in time."))
        }
    }
}

/// Reads the body before a call that may not need it. A server that answers before it has read the body has to close the
/// connection, and the next request on it (Envoy reuses connections) fails.
pub async fn read_first(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    match read_body(Request::from_parts(head.clone(), body)).await {
        Ok(bytes) => next.run(Request::from_parts(head, bytes.into())).await,
        Err(problem) => problem.into_response(),
    }
}

/// Checks the media type, parameters aside.
///
/// # Errors
/// 415.
pub fn require_content_type(headers: &HeaderMap, acceptable: fn(&str) -> bool) -> Result<(), Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    if media_type.is_some_and(|media_type| acceptable(&media_type)) {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is of a type that this call does not take.",
        ))
    }
}

/// What an HTML form sends.
pub fn is_form(media_type: &str) -> bool {
    media_type == "application/x-www-form-urlencoded"
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_named_once() {
        struct Any;
        impl Form for Any {
            fn read(fields: &mut Fields) -> Option<Self> {
                assert_eq!(fields.text("email"), None);
                fields.reject::<()>("email", "invalid", "again");
                assert_eq!(fields.text("password"), None);
                assert_eq!(fields.optional_text("name"), None);
                assert_eq!(fields.optional_flag("flag"), None);
                Some(Self)
            }
        }
        let fields = Fields::parse(br#"{"email": 1, "name": null, "flag": "x"}"#).ok().unwrap();
        let problem = fields.read::<Any>().err().unwrap();
        assert_eq!(problem.status, 422);
        let named: Vec<_> = problem.fields.iter().map(|problem| (problem.field, problem.code)).collect();
        assert_eq!(named, [("email", "type"), ("password", "required"), ("flag", "type")]);
    }

    #[test]
    fn what_is_not_an_object_is_told_from_what_is_not_json() {
        assert_eq!(Fields::parse(b"[]").err().unwrap().status, 422);
        for text in [&b""[..], b"{", b"{\"a\":1,\"a\":2}", b"\xff"] {
            assert_eq!(Fields::parse(text).err().unwrap().status, 400);
        }
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.x+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(require_content_type(&headers, is_json).is_ok(), good, "{value}");
        }
        assert!(require_content_type(&HeaderMap::new(), is_json).is_err());
    }
}
