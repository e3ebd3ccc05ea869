use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jwt_gate_token::Refusal;

use crate::app::{App, SharedApp};
use crate::http::caller::Credentials;
use crate::http::problem::Problem;

/// `POST /signout`
pub(super) async fn sign_out(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    app.sign_out(&headers).await?;
    Ok((StatusCode::NO_CONTENT, cleared(&app)).into_response())
}

/// `POST /signout-everywhere`
pub(super) async fn sign_out_everywhere(
    State(app): State<SharedApp>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, true).await?;
    app.revoke_everything(&caller.user.id).await?;
    // The cookie beside a bearer token may be another account's.
    app.sign_out(&headers).await.or_else(already_revoked)?;
    Ok((StatusCode::NO_CONTENT, cleared(&app)).into_response())
}

impl App {
    /// Revokes every token of the request: the bearer token's and the cookie's. A cookie that has ended already
    /// only needs to be cleared.
    ///
    /// # Errors
    /// 401 where a token cannot be ended: a lone bearer token that is not good, two different cookies, a key that is not
    /// known here, but may be elsewhere. 403, 422, 503.
    pub async fn sign_out(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let credentials = Credentials::of(self, headers)?;
        let Some(presented) = credentials.presented()? else { return Ok(()) };
        self.origins.check(headers, presented.from_cookie)?;
        let cookie = Credentials { bearer: None, ..credentials }.presented()?;
        if cookie.is_none()
            && let Err(refusal) = self.check_token(presented.token).await?
        {
            return Err(refusal.into());
        }
        let mut ending = Vec::new();
        for token in [Some(presented), cookie].into_iter().flatten().map(|presented| presented.token) {
            match self.tokens.verify_signature(token) {
                Ok(claims) => ending.push(claims),
                Err(refusal @ Refusal::UnknownKey) => return Err(refusal.into()),
                // It is no token of ours, and no gate takes it.
                Err(_) => {}
            }
        }
        ending.dedup_by(|one, other| one.id() == other.id());
        for claims in &ending {
            self.revoke(claims).await?;
        }
        Ok(())
    }
}

/// A token that was revoked a moment ago needs no second revocation.
pub(crate) fn already_revoked(problem: Problem) -> Result<(), Problem> {
    if problem.code == Refusal::Revoked.code() { Ok(()) } else { Err(problem) }
}

/// The headers that take the cookie away.
pub(crate) fn cleared(app: &App) -> HeaderMap {
    app.cookie.clear().map(|cookie| (header::SET_COOKIE, cookie)).into_iter().collect()
}
