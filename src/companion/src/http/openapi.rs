//! The calls of the public port: each is routed and described in one place.
//!
//! The OpenAPI document is generated from these descriptions and from the types of bodies and answers. A test holds it
//! against a live companion (schemathesis).

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::app::SharedApp;
use crate::email::{Email, MAX_EMAIL_BYTES};
use crate::http::problem::ProblemBody;
use crate::http::wire;
use crate::password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARACTERS, NewPassword};
use crate::profile::{Image, MAX_IMAGE_BYTES, MAX_NAME_CHARACTERS, Name};
use crate::settings::DEFAULT_COOKIE_NAME;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// How a call says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Problems (RFC 9457).
    Native,
    /// Better Auth's errors.
    BetterAuth,
    /// Either, by the names of the body's fields.
    Both,
    /// Pages for people.
    Pages,
}

/// Routes with their descriptions.
pub struct Calls {
    style: Style,
    router: Router<SharedApp>,
    operations: Vec<(Method, &'static str, Style, Operation)>,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Everybody,
    WithOrWithoutToken,
    TokenOwner,
}

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

struct Body {
    required: bool,
    forms: Vec<MakeSchema>,
}

struct Answer {
    status: u16,
    description: &'static str,
    /// `None`: the answer has no body.
    content: Option<(&'static str, MakeSchema)>,
    sets_cookie: bool,
    leads_on: bool,
}

/// The description of a call.
pub struct Operation {
    id: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    access: Access,
    body: Option<Body>,
    parameters: Vec<(&'static str, &'static str)>,
    answers: Vec<Answer>,
    /// Refusals by status. `None`: described by the status alone.
    refusals: BTreeMap<u16, Option<&'static str>>,
}

// === impl Calls ===

impl Calls {
    /// Calls that are still to be added.
    pub fn new(style: Style) -> Self {
        Self { style, router: Router::new(), operations: Vec::new() }
    }

    /// Adds a `GET`.
    pub fn get<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, SharedApp>,
        T: 'static,
    {
        self.route(Method::GET, path, get(handler), operation)
    }

    /// Adds a `POST`.
    pub fn post<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, SharedApp>,
        T: 'static,
    {
        self.route(Method::POST, path, post(handler), operation)
    }

    /// Adds a `DELETE`.
    pub fn delete<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, SharedApp>,
        T: 'static,
    {
        self.route(Method::DELETE, path, delete(handler), operation)
    }

    /// Adds a call of one method.
    pub fn route(
        mut self,
        method: Method,
        path: &'static str,
        handler: MethodRouter<SharedApp>,
        operation: Operation,
    ) -> Self {
        self.operations.push((method, path, self.style, operation));
        Self { router: self.router.route(path, handler), ..self }
    }

    /// Adds a router whose routes are not described.
    pub fn with_undescribed(self, router: Router<SharedApp>) -> Self {
        Self { router: self.router.merge(router), ..self }
    }

    /// Describes a call that [`Calls::with_undescribed`] routes.
    pub fn describe(mut self, method: Method, path: &'static str, operation: Operation) -> Self {
        self.operations.push((method, path, self.style, operation));
        self
    }

    /// Lays layers on the routes so far.
    pub fn layered(self, layer: impl FnOnce(Router<SharedApp>) -> Router<SharedApp>) -> Self {
        Self { router: layer(self.router), ..self }
    }

    /// All calls of both.
    pub fn and(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// The routes, and the OpenAPI document that describes them.
    pub fn finish(self) -> (Router<SharedApp>, Value) {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        // An optional field of a body may be left out; a nullable one of an answer is always there.
        let mut schemas = Schemas {
            bodies: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        };
        let mut paths = Map::new();
        for (method, path, style, operation) in &self.operations {
            let methods = paths.entry(*path).or_insert_with(|| json!({}));
            if let Some(methods) = methods.as_object_mut() {
                methods.insert(method.as_str().to_ascii_lowercase(), operation.render(*style, &mut schemas));
            }
        }
        let mut definitions = schemas.bodies.take_definitions(true);
        definitions.extend(schemas.answers.take_definitions(true));
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "jwt-gate-auth",
                "version": "1",
                "summary": "Signing up and in, and the tokens that jwt-gate verifies.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/api/auth"}],
            "tags": [
                {"name": "jwt-gate", "description": "Our own interface. Errors are problem+json (RFC 9457)."},
                {"name": "Better Auth", "description": "What the unmodified `better-auth` client from npm uses."},
                {"name": "Pages", "description": "For people. The forms `/sign-in` and `/sign-up` are beside it."},
            ],
            "paths": paths,
            "components": {
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "cookie": {
                        "type": "apiKey",
                        "in": "cookie",
                        "name": DEFAULT_COOKIE_NAME,
                        "description": "`__Host-jwt-gate` if the public URL is https; `--cookie-name` changes the name.",
                    },
                },
                "schemas": definitions,
            },
        });
        (self.router, document)
    }
}

struct Schemas {
    bodies: SchemaGenerator,
    answers: SchemaGenerator,
}

// === impl Operation ===

impl Operation {
    /// A call that everybody may make. It needs the store.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            description: None,
            access: Access::Everybody,
            body: None,
            parameters: Vec::new(),
            answers: Vec::new(),
            refusals: BTreeMap::from([(503, None)]),
        }
    }

    /// Says more about it.
    pub fn description(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    /// It needs nothing but the process.
    pub fn without_store(mut self) -> Self {
        self.refusals.remove(&503);
        self
    }

    /// It takes the request's token into account, if there is one.
    pub fn with_or_without_token(self) -> Self {
        Self { access: Access::WithOrWithoutToken, ..self }
    }

    /// Only the owner of a token may call.
    pub fn for_token_owners(self) -> Self {
        Self { access: Access::TokenOwner, ..self }.refuses_with(401)
    }

    /// It changes something, so a cookie needs a trusted `Origin` beside it.
    pub fn changes_state(self) -> Self {
        let said = match self.access {
            Access::Everybody => None,
            _ => {
                Some("A call that relies on the cookie needs an `Origin` header that names a trusted origin.")
            }
        };
        Self { description: self.description.or(said), ..self }.refuses_with(403)
    }

    /// It counts as an attempt at a password.
    pub fn throttled(self) -> Self {
        self.refuses_with(429)
    }

    /// Its body. Called twice: either form.
    pub fn body<F: JsonSchema>(self) -> Self {
        self.add_body::<F>(true)
    }

    /// Its body, which may be left out.
    pub fn optional_body<F: JsonSchema>(self) -> Self {
        self.add_body::<F>(false)
    }

    fn add_body<F: JsonSchema>(mut self, required: bool) -> Self {
        let body = self.body.get_or_insert(Body { required, forms: Vec::new() });
        body.forms.push(|schemas| schemas.subschema_for::<F>());
        [400, 408, 413, 415].into_iter().fold(self, Self::refuses_with)
    }

    /// A parameter: `path` or `query`, and its name.
    pub fn parameter(mut self, place: &'static str, name: &'static str) -> Self {
        self.parameters.push((place, name));
        self
    }

    /// An answer in JSON.
    pub fn answers<B: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        let schema: MakeSchema = |schemas| schemas.subschema_for::<B>();
        self.add_answer(status, description, Some((JSON, schema)))
    }

    /// An answer in HTML.
    pub fn answers_html(self, description: &'static str) -> Self {
        self.add_answer(200, description, Some(("text/html", |_| json_schema!({"type": "string"}))))
    }

    /// An answer without a body.
    pub fn answers_nothing(self, status: u16, description: &'static str) -> Self {
        self.add_answer(status, description, None)
    }

    /// A redirect.
    pub fn leads_on(mut self, description: &'static str) -> Self {
        self = self.add_answer(302, description, None);
        if let Some(answer) = self.answers.last_mut() {
            answer.leads_on = true;
        }
        self
    }

    fn add_answer(
        mut self,
        status: u16,
        description: &'static str,
        content: Option<(&'static str, MakeSchema)>,
    ) -> Self {
        self.answers.push(Answer { status, description, content, sets_cookie: false, leads_on: false });
        self
    }

    /// The answer that was added last sets the session cookie or takes it away.
    pub fn sets_cookie(mut self) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.sets_cookie = true;
        }
        self
    }

    /// A refusal that is described by its status.
    pub fn refuses_with(mut self, status: u16) -> Self {
        self.refusals.entry(status).or_insert(None);
        self
    }

    /// A refusal that means something of its own here.
    pub fn refuses(mut self, status: u16, description: &'static str) -> Self {
        self.refusals.insert(status, Some(description));
        self
    }

    fn render(&self, style: Style, schemas: &mut Schemas) -> Value {
        let tag = match style {
            Style::Native | Style::Both => "jwt-gate",
            Style::BetterAuth => "Better Auth",
            Style::Pages => "Pages",
        };
        let token = [json!({"bearer": []}), json!({"cookie": []})];
        let security = match self.access {
            Access::Everybody => Vec::new(),
            Access::WithOrWithoutToken => [json!({})].into_iter().chain(token).collect(),
            Access::TokenOwner => token.to_vec(),
        };
        let mut responses = Map::new();
        for answer in &self.answers {
            responses.insert(answer.status.to_string(), answer.render(schemas));
        }
        for (status, description) in self.all_refusals(style) {
            responses.insert(status.to_string(), refusal(style, status, description, schemas));
        }
        let mut operation = json!({
            "operationId": self.id,
            "tags": [tag],
            "summary": self.summary,
            "security": security,
            "responses": responses,
        });
        let members = [
            ("description", self.description.map(Value::from)),
            ("requestBody", self.body.as_ref().map(|body| body.render(schemas))),
            ("parameters", (!self.parameters.is_empty()).then(|| self.render_parameters())),
        ];
        if let Some(operation) = operation.as_object_mut() {
            operation.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        operation
    }

    fn all_refusals(&self, style: Style) -> BTreeMap<u16, Option<&'static str>> {
        let mut refusals = self.refusals.clone();
        if self.body.is_some() && style != Style::BetterAuth {
            refusals.entry(422).or_insert(None);
        }
        refusals
    }

    fn render_parameters(&self) -> Value {
        let parameter = |(place, name): &(&str, &str)| json!({"in": place, "name": name, "required": *place == "path", "schema": {"type": "string"}});
        self.parameters.iter().map(parameter).collect()
    }
}

// === impl Body ===

impl Body {
    fn render(&self, schemas: &mut Schemas) -> Value {
        let mut forms: Vec<Schema> = self.forms.iter().map(|make| make(&mut schemas.bodies)).collect();
        let schema = match forms.pop() {
            Some(only) if forms.is_empty() => only,
            last => json_schema!({"anyOf": forms.into_iter().chain(last).collect::<Vec<_>>()}),
        };
        json!({"required": self.required, "content": {JSON: {"schema": schema}}})
    }
}

// === impl Answer ===

impl Answer {
    fn render(&self, schemas: &mut Schemas) -> Value {
        let mut response = json!({"description": self.description});
        let header = |description: &str, pattern: &str| json!({"description": description, "required": true, "schema": {"type": "string", "pattern": pattern}});
        let mut headers = Map::new();
        if self.sets_cookie {
            let pattern = format!("^(__Host-)?{DEFAULT_COOKIE_NAME}=");
            headers.insert("Set-Cookie".to_owned(), header("The session cookie.", &pattern));
        }
        if self.leads_on {
            headers.insert("Location".to_owned(), header("A page of a trusted origin.", "."));
        }
        if let Some(response) = response.as_object_mut() {
            if let Some((media_type, make)) = self.content {
                let schema = make(&mut schemas.answers);
                response.insert("content".to_owned(), json!({media_type: {"schema": schema}}));
            }
            if !headers.is_empty() {
                response.insert("headers".to_owned(), headers.into());
            }
        }
        response
    }
}

fn refusal(style: Style, status: u16, description: Option<&str>, schemas: &mut Schemas) -> Value {
    let description = description.unwrap_or_else(|| meaning(style, status));
    let mut content = Map::new();
    // The body was not read, so nothing tells which interface is spoken.
    let unread = matches!(status, 408 | 413 | 415 | 422);
    if style != Style::BetterAuth {
        let schema = schemas.answers.subschema_for::<ProblemBody<'_>>();
        content.insert(PROBLEM_JSON.to_owned(), json!({"schema": schema}));
    }
    if style == Style::BetterAuth || (style == Style::Both && !unread) {
        let schema = schemas.answers.subschema_for::<wire::ErrorBody<'_>>();
        content.insert(JSON.to_owned(), json!({"schema": schema}));
    }
    let header = match status {
        401 => Some(("WWW-Authenticate", "RFC 6750 §3.", "^Bearer realm=")),
        429 | 503 => Some(("Retry-After", "Seconds.", "^[0-9]+$")),
        _ => None,
    };
    match header {
        Some((name, says, pattern)) => {
            let header = json!({"description": says, "required": true, "schema": {"type": "string", "pattern": pattern}});
            json!({"description": description, "content": content, "headers": {name: header}})
        }
        None => json!({"description": description, "content": content}),
    }
}

/// The usual meaning of a status.
fn meaning(style: Style, status: u16) -> &'static str {
    match (style, status) {
        (Style::BetterAuth, 400) => "The body is not JSON, or a field is not acceptable.",
        (Style::BetterAuth | Style::Both, 401) => "Not signed in.",
        (Style::BetterAuth, 403) => {
            "The page or the `callbackURL` is not of a trusted origin, or the account is disabled."
        }
        (Style::BetterAuth, 408) => "The body did not arrive in time.",
        (Style::BetterAuth, 413) => "The body is longer than 16 KiB.",
        (Style::BetterAuth, 415) => "The body is not `application/json`.",
        (Style::BetterAuth | Style::Both, 503) => "Overloaded, or the store does not answer.",
        (_, 400) => "`malformed_json`: the body is not JSON in UTF-8, or names a member twice.",
        (_, 401) => "The token is missing (`missing_token`), or it is not good: the code is the gate's.",
        (_, 403) => {
            "`untrusted_origin`: a page of another origin made the call, or a cookie came without an origin."
        }
        (_, 408) => "`timeout`: the body did not arrive in time.",
        (_, 413) => "`too_large`: the body is longer than 16 KiB.",
        (_, 415) => "`unsupported_media_type`: the body is not `application/json`.",
        (_, 422) => "`invalid_fields`: `errors` says what is wrong with which field.",
        (_, 429) => "`too_many_attempts`.",
        (_, 503) => "`overloaded`, `store_unavailable` or `clock_ahead`.",
        _ => "Refused.",
    }
}

/// Describes a type of the domain where it is a member of a body or an answer.
macro_rules! inline_schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

inline_schema!(
    Email,
    "Email",
    json_schema!({"type": "string", "format": "email", "maxLength": MAX_EMAIL_BYTES})
);
inline_schema!(
    Name,
    "Name",
    json_schema!({
        "type": "string",
        "maxLength": MAX_NAME_CHARACTERS,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    })
);
inline_schema!(
    Image,
    "Image",
    json_schema!({
        "type": "string",
        "maxLength": MAX_IMAGE_BYTES,
        "pattern": "^(https?://[^\\s\\u0000-\\u001f\\u007f-\\u009f]*)?$",
        "description": "The address of a picture.",
    })
);
inline_schema!(
    NewPassword,
    "NewPassword",
    json_schema!({
        "type": "string",
        "minLength": MIN_PASSWORD_CHARACTERS,
        "maxLength": MAX_PASSWORD_BYTES,
        "pattern": "^[^\\u0000]*$",
        "description": "8 characters to 72 bytes of UTF-8.",
    })
);

/// An instant as text (RFC 3339).
pub(super) struct Instant;

inline_schema!(Instant, "Instant", json_schema!({"type": "string", "format": "date-time"}));

/// `true`.
pub(super) struct True;

inline_schema!(True, "True", json_schema!({"const": true}));

/// `false`.
pub(super) struct False;

inline_schema!(False, "False", json_schema!({"const": false}));
