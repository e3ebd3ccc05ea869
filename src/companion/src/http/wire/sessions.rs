use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::{SessionBody, StatusBody, UserBody};
use crate::app::{App, SharedApp};
use crate::http::body::{Fields, Form};
use crate::http::cookie::cleared;
use crate::http::credentials::bearer_token;
use crate::http::problem::Problem;
use crate::session::Client;
use crate::store::{Session, User};

/// The most sessions that are shown.
const MAX_SESSIONS: i64 = 1000;

/// The refusals of a token that will never be good again. A cookie refused for another reason is kept: its key may be on the way
/// to this companion, or a clock may be wrong.
const DEAD: [&str; 5] = ["expired", "revoked", "subject", "malformed", "bad_signature"];

/// The body of `POST /revoke-session`.
#[derive(JsonSchema)]
#[schemars(rename = "WireRevokeSession")]
pub(super) struct RevokeSessionForm {
    /// A session's `token`.
    token: String,
}

impl Form for RevokeSessionForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.text("token")? })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WireCurrentSession")]
pub(super) struct CurrentBody {
    session: SessionBody,
    user: UserBody,
}

/// `GET /get-session`: `null` if nobody is signed in.
pub(super) async fn get_session(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut dead_cookie = false;
    let (user, session) = match app.token_owner(&headers, false).await {
        Ok(owner) => {
            let session = session_of(&app, &owner.user, owner.claims.id().unwrap_or_default()).await?;
            (Some(owner.user), session)
        }
        Err(problem) if problem.status.is_client_error() => {
            let from_cookie =
                bearer_token(&app, &headers).ok().flatten().is_some_and(|token| token.from_cookie);
            dead_cookie = from_cookie && DEAD.contains(&problem.code);
            (None, None)
        }
        Err(problem) => return Err(problem),
    };
    let current = user
        .zip(session)
        .map(|(user, session)| CurrentBody { session: SessionBody::of(&session), user: UserBody::of(&user) });
    let mut response_headers = if dead_cookie { cleared(&app) } else { HeaderMap::new() };
    response_headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((response_headers, Json(current)).into_response())
}

/// Any other method of `/get-session`. A client sends `POST` where the server prolongs sessions only then; Better Auth has a code
/// of its own for a server that does not. A handler of `POST` would put it into `Allow`.
pub(super) async fn other_method_of_get_session(method: Method) -> Problem {
    if method == Method::POST {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed_defer_session_required",
            "POST method requires deferSessionRefresh to be enabled in session config",
        )
    } else {
        Problem::method_not_allowed()
    }
}

/// The user's session with this id, ended or not.
pub(super) async fn session_of(app: &App, user: &User, id: &str) -> Result<Option<Session>, Problem> {
    let session = app.accounts.store.session_by_id(id).await?;
    Ok(session.filter(|session| session.user_id == user.id))
}

/// `GET /list-sessions`
pub(super) async fn list_sessions(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, false).await?;
    let sessions =
        app.accounts.store.sessions_of(&owner.user.id, app.accounts.clock.now_ms(), MAX_SESSIONS).await?;
    let body: Vec<SessionBody> = sessions.iter().map(SessionBody::of).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `POST /revoke-session`: one of the caller's own; any other is left alone without a word about it.
pub(super) async fn revoke_session(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, true).await?;
    let RevokeSessionForm { token } = fields.read()?;
    // A session's `token` is its id; the token that signing in gave out is taken as well.
    let id = match app.accounts.tokens.verify(&token) {
        Ok(claims) => claims.id().unwrap_or_default().to_owned(),
        Err(_) => token,
    };
    let session = session_of(&app, &owner.user, &id).await?;
    let Some(session) = session else { return Ok(Json(StatusBody { status: true }).into_response()) };
    app.accounts.end_session(&session, &client).await?;
    let own = owner.from_cookie && owner.claims.id() == Some(session.id.as_str());
    let headers = if own { cleared(&app) } else { HeaderMap::new() };
    Ok((headers, Json(StatusBody { status: true })).into_response())
}

/// `POST /revoke-sessions`: all of the caller's.
pub(super) async fn revoke_sessions(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.sign_out_everywhere(&headers, &client).await?;
    Ok((cleared(&app), Json(StatusBody { status: true })).into_response())
}

/// `POST /revoke-other-sessions`: all of the caller's but this one.
pub(super) async fn revoke_other_sessions(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = app.token_owner(&headers, true).await?;
    app.accounts.end_other_sessions(&owner.user.id, owner.claims.id().unwrap_or_default(), &client).await?;
    Ok(Json(StatusBody { status: true }).into_response())
}
