use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{SessionBody, StatusBody, UserBody};
use crate::app::SharedApp;
use crate::http::body::Fields;
use crate::http::caller;
use crate::http::native::{already_revoked, cleared};
use crate::http::problem::Problem;

/// The most sessions that are shown.
const MAX_SESSIONS: i64 = 1000;

/// The refusals of a token that will never be good again. A cookie refused for another reason is kept: its key may be on the way
/// to this companion, or a clock may be wrong.
const DEAD: [&str; 5] = ["expired", "revoked", "subject", "malformed", "bad_signature"];

#[derive(Debug, Serialize)]
pub(crate) struct CurrentBody {
    session: SessionBody,
    user: UserBody,
}

/// `GET /get-session`: `null` for whoever is not signed in.
pub(super) async fn get_session(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut dead_cookie = false;
    let (user, session) = match app.caller(&headers, false).await {
        Ok(caller) => {
            let session = app.store.session_by_id(caller.claims.id().unwrap_or_default()).await?;
            (Some(caller.user), session)
        }
        Err(problem) if problem.status.is_client_error() => {
            let from_cookie =
                caller::presented(&app, &headers).ok().flatten().is_some_and(|it| it.from_cookie);
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

/// `GET /list-sessions`
pub(super) async fn list_sessions(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, false).await?;
    let sessions = app.store.sessions_of(&caller.user.id, app.clock.now_ms(), MAX_SESSIONS).await?;
    let body: Vec<SessionBody> = sessions.iter().map(SessionBody::of).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `POST /revoke-session`: one of the caller's own; any other is left alone without a word about it.
pub(super) async fn revoke_session(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, true).await?;
    let token = fields.required("token");
    fields.finish()?;
    // A session's `token` is its id; the token that signing in gave out is taken as well.
    let id = match app.tokens.verify(&token) {
        Ok(claims) => claims.id().unwrap_or_default().to_owned(),
        Err(_) => token,
    };
    let session = app.store.session_by_id(&id).await?.filter(|session| session.user_id == caller.user.id);
    let Some(session) = session else { return Ok(Json(StatusBody { status: true }).into_response()) };
    app.store.revoke_tokens(&[(&session.id, session.expires_at / 1000)]).await?;
    let own = caller.from_cookie && caller.claims.id() == Some(session.id.as_str());
    let headers = if own { cleared(&app) } else { HeaderMap::new() };
    Ok((headers, Json(StatusBody { status: true })).into_response())
}

/// `POST /revoke-sessions`: all of the caller's.
pub(super) async fn revoke_sessions(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, true).await?;
    app.revoke_everything(&caller.user.id).await?;
    // The cookie beside a bearer token may be another account's.
    app.sign_out(&headers).await.or_else(already_revoked)?;
    Ok((cleared(&app), Json(StatusBody { status: true })).into_response())
}

/// `POST /revoke-other-sessions`: all of the caller's but this one.
pub(super) async fn revoke_other_sessions(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, true).await?;
    app.store.revoke_other_sessions(&caller.user.id, caller.claims.id().unwrap_or_default()).await?;
    Ok(Json(StatusBody { status: true }).into_response())
}
