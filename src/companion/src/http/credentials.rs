//! The tokens of a request, and the account that they were issued to.

use axum::http::{HeaderMap, StatusCode, header};
use jwt_gate_token::{Refusal, VerifiedClaims};

use crate::app::App;
use crate::error::AccountError;
use crate::http::cookie::{Ambiguous, cleared, text_or_garbage};
use crate::http::problem::Problem;
use crate::session::Client;
use crate::store::User;

/// The token of a request.
#[derive(Debug, Clone, Copy)]
pub struct BearerToken<'request> {
    /// The token.
    pub token: &'request str,
    /// Whether it came as a cookie, which browsers send unasked.
    pub from_cookie: bool,
}

/// The account that a request's token was issued to.
#[derive(Debug)]
pub struct TokenOwner {
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

    /// The token that identifies the token's owner: that of the `Authorization` header, else the cookie.
    ///
    /// # Errors
    /// 401 `ambiguous`, where there are two different cookies and no bearer token.
    pub fn bearer_token(self) -> Result<Option<BearerToken<'request>>, Problem> {
        if let Some(token) = self.bearer {
            return Ok(Some(BearerToken { token, from_cookie: false }));
        }
        let cookie = self.cookie.map_err(|Ambiguous| ambiguous())?;
        Ok(cookie.map(|token| BearerToken { token, from_cookie: true }))
    }
}

fn ambiguous() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "ambiguous", "The request holds two different tokens.")
}

/// The token that identifies a request's caller, if it has one.
///
/// # Errors
/// 401 `ambiguous`, where there are two different ones in one place.
pub fn bearer_token<'request>(
    app: &App,
    headers: &'request HeaderMap,
) -> Result<Option<BearerToken<'request>>, Problem> {
    Credentials::of(app, headers)?.bearer_token()
}

/// Scheme names are case-insensitive (RFC 9110 §11.1).
fn strip_bearer(value: &[u8]) -> Option<&[u8]> {
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    let (scheme, token) = (parts.next()?, parts.next()?.trim_ascii());
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

impl App {
    /// The account that a request's token was issued to.
    ///
    /// # Errors
    /// 401; 403 if the request changes something, relies on a cookie and comes from an origin that is not trusted; 503.
    pub async fn token_owner(&self, headers: &HeaderMap, changes_state: bool) -> Result<TokenOwner, Problem> {
        let bearer = bearer_token(self, headers)?.ok_or_else(Problem::missing_token)?;
        if changes_state {
            self.origins.check(headers, bearer.from_cookie)?;
        }
        let (user, claims) = self.accounts.owner_of(bearer.token).await?;
        Ok(TokenOwner { user, claims, from_cookie: bearer.from_cookie })
    }

    /// Revokes every token of the request: the bearer token's and the cookie's. A cookie that has ended already
    /// only needs to be cleared.
    ///
    /// # Errors
    /// 401 if a token cannot be ended: a lone bearer token that is not good, two different cookies, or a key that is unknown
    /// here but may be known elsewhere. 403, 422, 503.
    pub async fn sign_out(&self, headers: &HeaderMap, client: &Client) -> Result<(), Problem> {
        let credentials = Credentials::of(self, headers)?;
        let Some(bearer) = credentials.bearer_token()? else { return Ok(()) };
        self.origins.check(headers, bearer.from_cookie)?;
        let cookie = Credentials { bearer: None, ..credentials }.bearer_token()?;
        if cookie.is_none() {
            self.accounts.check_token(bearer.token).await?;
        }
        let mut ending = Vec::new();
        for token in [Some(bearer), cookie].into_iter().flatten().map(|bearer| bearer.token) {
            match self.accounts.tokens.verify_signature(token) {
                Ok(claims) => ending.push(claims),
                Err(refusal @ Refusal::UnknownKey) => return Err(refusal.into()),
                // It is not a token of ours, and no gate accepts it.
                Err(_) => {}
            }
        }
        ending.dedup_by(|one, other| one.id() == other.id());
        for claims in &ending {
            self.accounts.revoke(claims, client).await?;
        }
        Ok(())
    }

    /// Revokes every token of an account, and then those of the request: the cookie beside a bearer token may be another
    /// account's.
    ///
    /// # Errors
    /// As [`App::token_owner`] and [`App::sign_out`].
    pub async fn sign_out_everywhere(&self, headers: &HeaderMap, client: &Client) -> Result<(), Problem> {
        let owner = self.token_owner(headers, true).await?;
        self.accounts.revoke_everything(&owner.user.id, client).await?;
        self.end_request_tokens(headers, client).await
    }

    /// Deletes the account that a request's token was issued to. The headers that take the cookie away.
    ///
    /// # Errors
    /// As [`Accounts::delete`](crate::account::Accounts::delete).
    pub async fn delete_account(
        &self,
        owner: &TokenOwner,
        password: Option<&str>,
        client: &Client,
        headers: &HeaderMap,
    ) -> Result<HeaderMap, AccountError> {
        self.accounts.delete(&owner.user, password, client).await?;
        // The account is gone, whatever becomes of another account's cookie beside its token. That one is taken away only
        // if its token has ended.
        Ok(match self.end_request_tokens(headers, client).await {
            Ok(()) => cleared(self),
            Err(_) => HeaderMap::new(),
        })
    }

    /// Signs out after the account's tokens were revoked.
    async fn end_request_tokens(&self, headers: &HeaderMap, client: &Client) -> Result<(), Problem> {
        match self.sign_out(headers, client).await {
            // A token that was revoked a moment ago needs no second revocation.
            Err(problem) if problem.code == Refusal::Revoked.code() => Ok(()),
            signed_out => signed_out,
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
