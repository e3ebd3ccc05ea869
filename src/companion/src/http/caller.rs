//! The user behind a request's token.

use axum::http::{HeaderMap, StatusCode, header};
use jwt_gate_token::{Refusal, VerifiedClaims};

use crate::app::App;
use crate::http::cookie::{Ambiguous, text_or_garbage};
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

/// The tokens of a request, by where they are.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'request> {
    /// Of `Authorization: Bearer` (RFC 6750 §2.1).
    pub bearer: Option<&'request str>,
    /// Of the session cookie; two different ones are an error.
    pub cookie: Result<Option<&'request str>, Ambiguous>,
}

impl<'request> Credentials<'request> {
    /// The tokens of a request. Headers are read as bytes, so nothing beside a token hides it.
    ///
    /// # Errors
    /// 401 `ambiguous`, where there are two different bearer tokens.
    pub fn of(app: &App, headers: &'request HeaderMap) -> Result<Self, Problem> {
        let mut bearer = None;
        // A proxy may have joined several headers with commas, which no token holds.
        let values = headers.get_all(header::AUTHORIZATION).iter();
        for piece in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            let Some(token) = strip_bearer(piece.trim_ascii()) else { continue };
            if bearer.is_some_and(|other| other != token) {
                return Err(ambiguous());
            }
            bearer = Some(token);
        }
        Ok(Self { bearer: bearer.map(text_or_garbage), cookie: app.cookie.read(headers) })
    }

    /// The token that identifies the caller: the bearer token, else the cookie.
    ///
    /// # Errors
    /// 401 `ambiguous`, where there are two different cookies and no bearer token.
    pub fn presented(self) -> Result<Option<Presented<'request>>, Problem> {
        if let Some(token) = self.bearer {
            return Ok(Some(Presented { token, from_cookie: false }));
        }
        let cookie = self.cookie.map_err(|Ambiguous| ambiguous())?;
        Ok(cookie.map(|token| Presented { token, from_cookie: true }))
    }
}

fn ambiguous() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "ambiguous", "The request holds two different tokens.")
}

/// The token that identifies a request's caller, if it has one.
///
/// # Errors
/// 401 `ambiguous`, where there are two different ones in one place.
pub fn presented<'request>(
    app: &App,
    headers: &'request HeaderMap,
) -> Result<Option<Presented<'request>>, Problem> {
    Credentials::of(app, headers)?.presented()
}

/// Scheme names are case-insensitive (RFC 9110 §11.1).
fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?.trim_ascii());
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
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
        assert_eq!(strip_bearer(b"Bearer a.b.c"), Some(&b"a.b.c"[..]));
        assert_eq!(strip_bearer(b"bEARER   a.b.c "), Some(&b"a.b.c"[..]));
        for other in ["Basic abc", "Bearer", "Bearer ", "a.b.c", "Bearera.b.c x"] {
            assert_eq!(strip_bearer(other.as_bytes()), None, "{other}");
        }
    }
}
