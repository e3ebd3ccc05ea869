//! `GET /internal/revocations`: the feed that gates follow.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jwt_gate_token::{Expectations, INTERNAL_AUDIENCE, verify};
use serde::{Deserialize, Serialize};

use crate::app::SharedApp;
use crate::http::credentials::bearer_token;
use crate::http::problem::Problem;
use crate::store::{Page, Position};

/// The most revocations in one answer: about half a megabyte.
const MAX_PAGE: u32 = 10_000;

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    since: Option<String>,
    limit: Option<u32>,
}

/// One page; docs/companion.md describes it.
#[derive(Debug, Serialize)]
struct PageBody {
    epoch: String,
    cursor: String,
    reset: bool,
    more: bool,
    jti: Vec<(String, i64)>,
    sub: Vec<(String, i64, i64)>,
}

pub(super) async fn revocations(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    query: Result<Query<Since>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    authorize(&app, &headers)?;
    let Query(query) = query.map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_query", "`limit` is a number of entries.")
    })?;
    let limit = i64::from(query.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE));
    let since = query.since.as_deref().and_then(parse_cursor);
    let page = app.accounts.store.revocations_since(since, limit, app.accounts.clock.now_seconds()).await?;
    let body = PageBody::of(page);
    let etag = format!("\"{}\"", body.cursor);
    // The same cursor after the same one says: nothing new.
    let unchanged = !body.reset
        && headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Json(body).into_response() };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    Ok(response)
}

/// Only holders of the secret can make a token for this audience.
fn authorize(app: &SharedApp, headers: &HeaderMap) -> Result<(), Problem> {
    let bearer = bearer_token(app, headers)?.filter(|bearer| !bearer.from_cookie);
    let token = bearer.ok_or_else(Problem::missing_token)?.token;
    let expectations =
        Expectations { audiences: vec![INTERNAL_AUDIENCE.to_owned()], ..Expectations::default() };
    verify(token, app.accounts.tokens.keyring(), &expectations, app.accounts.clock.now_numeric_date())?;
    Ok(())
}

/// `epoch.sequence.tag`. Another form is of no history of ours.
fn parse_cursor(cursor: &str) -> Option<(&str, Position)> {
    let mut parts = cursor.splitn(3, '.');
    let (epoch, sequence, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let sequence = sequence.parse().ok().filter(|sequence: &i64| *sequence >= 0)?;
    Some((epoch, Position { sequence, tag: tag.to_owned() }))
}

impl PageBody {
    fn of(page: Page) -> Self {
        let cursor = format!("{}.{}.{}", page.epoch, page.next.sequence, page.next.tag);
        let (mut jti, mut sub) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match (entry.jti, entry.subject, entry.issued_before_seconds) {
                (Some(id), ..) => jti.push((id, entry.expires_at_seconds)),
                (None, Some(subject), Some(before)) => sub.push((subject, before, entry.expires_at_seconds)),
                _ => {}
            }
        }
        Self { epoch: page.epoch, cursor, reset: page.reset, more: page.more, jti, sub }
    }
}
