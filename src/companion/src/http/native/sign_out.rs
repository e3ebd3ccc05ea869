use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::{App, SharedApp};
use crate::http::caller;
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
    Ok((StatusCode::NO_CONTENT, cleared(&app)).into_response())
}

impl App {
    /// Revokes the request's token. A cookie that has ended already needs nothing but to be cleared.
    ///
    /// # Errors
    /// 401 for a bearer token that is not good, 403, 503.
    pub async fn sign_out(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(presented) = caller::presented(self, headers)? else { return Ok(()) };
        self.origins.check(headers, presented.from_cookie)?;
        match self.check_token(presented.token).await? {
            Ok(claims) => self.revoke(&claims).await,
            Err(_) if presented.from_cookie => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

/// The headers that take the cookie away.
pub(crate) fn cleared(app: &App) -> HeaderMap {
    app.cookie.clear().map(|cookie| (header::SET_COOKIE, cookie)).into_iter().collect()
}
