//! The user behind a request's token.

use axum::http::{HeaderMap, header};
use jwt_gate_token::{Refusal, VerifiedClaims};

use crate::app::App;
use crate::http::problem::Problem;
use crate::store::{Holder, User};

/// A request's token and where it was.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'request> {
    /// The token.
    pub token: &'request str,
    /// Whether it came as a cookie, which browsers send unasked.
    pub from_cookie: bool,
}

/// Somebody who is signed in.
#[derive(Debug)]
pub struct Caller {
    /// The account, as it is now.
    pub user: User,
    /// The token's claims.
    pub claims: VerifiedClaims,
    /// Whether the token came as a cookie.
    pub from_cookie: bool,
}

/// The token of a request: `Authorization: Bearer` (RFC 6750 §2.1), else the session cookie.
///
/// # Errors
/// 401 `ambiguous`, where there are two different ones of a kind.
pub fn presented<'request>(
    app: &App,
    headers: &'request HeaderMap,
) -> Result<Option<Presented<'request>>, Problem> {
    let ambiguous = || {
        let status = axum::http::StatusCode::UNAUTHORIZED;
        Problem::new(status, "ambiguous", "The request holds two different tokens.")
    };
    let mut bearer = None;
    for value in headers.get_all(header::AUTHORIZATION) {
        let Some(token) = value.to_str().ok().and_then(strip_bearer) else { continue };
        if bearer.is_some_and(|other| other != token) {
            return Err(ambiguous());
        }
        bearer = Some(token);
    }
    if let Some(token) = bearer {
        return Ok(Some(Presented { token, from_cookie: false }));
    }
    let cookie = app.cookie.read(headers).map_err(|_| ambiguous())?;
    Ok(cookie.map(|token| Presented { token, from_cookie: true }))
}

/// Scheme names are case-insensitive (RFC 9110 §11.1).
fn strip_bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl App {
    /// Checks a token as a gate that knows every revocation would.
    ///
    /// # Errors
    /// 401 with the refusal's code, 503 without the store.
    pub async fn check_token(&self, token: &str) -> Result<Result<VerifiedClaims, Refusal>, Problem> {
        let claims = match self.tokens.verify(token) {
            Ok(claims) => claims,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let revoked = self.store.is_revoked(claims.id(), claims.subject(), claims.issued_at()).await?;
        Ok(if revoked { Err(Refusal::Revoked) } else { Ok(claims) })
    }

    /// The user behind a request's token.
    ///
    /// # Errors
    /// 401, 403 where a cookie is relied on to change something and the origin is not trusted, 503.
    pub async fn caller(&self, headers: &HeaderMap, changes_state: bool) -> Result<Caller, Problem> {
        let presented = presented(self, headers)?.ok_or_else(Problem::missing_token)?;
        if changes_state {
            self.origins.check(headers, presented.from_cookie)?;
        }
        let claims = self.tokens.verify(presented.token)?;
        let holder = match claims.subject() {
            Some(subject) => self.store.holder(claims.id(), subject, claims.issued_at()).await?,
            None => None,
        };
        match holder {
            Some(Holder { revoked: true, .. }) => Err(Refusal::Revoked.into()),
            Some(Holder { user, .. }) if !user.disabled => {
                Ok(Caller { user, claims, from_cookie: presented.from_cookie })
            }
            Some(_) => Err(Refusal::Subject.into()),
            // The account is gone. Whether its token was taken back as well is still worth to be told.
            None => Err(self.check_token(presented.token).await?.err().unwrap_or(Refusal::Subject).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bearer_scheme_is_read_in_any_case() {
        assert_eq!(strip_bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(strip_bearer("bEARER   a.b.c "), Some("a.b.c"));
        for other in ["Basic abc", "Bearer", "Bearer ", "a.b.c", "Bearera.b.c x"] {
            assert_eq!(strip_bearer(other), None, "{other}");
        }
    }
}
