//! Signing.

use std::fmt;

use jwt_simple::algorithms::MACLike;
use jwt_simple::claims::JWTClaims;
use serde_json::{Map, Value};

use crate::keyring::Keyring;

/// The claims could not be written as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssueError;

/// A compact JWS (RFC 7515 §7.1) of `claims`, signed with the keyring's newest secret; its header is
/// `{"alg":"HS256","typ":"JWT","kid":…}`.
///
/// Nothing is added to the claims: who issues decides on `iat`, `exp`, `jti` and the rest.
///
/// # Errors
/// [`IssueError`] where the claims cannot be serialised.
pub fn issue(keyring: &Keyring, claims: &Map<String, Value>) -> Result<String, IssueError> {
    let claims = JWTClaims {
        issued_at: None,
        expires_at: None,
        invalid_before: None,
        issuer: None,
        subject: None,
        audiences: None,
        jwt_id: None,
        nonce: None,
        custom: claims,
    };
    keyring.newest().key().authenticate(claims).map_err(|_| IssueError)
}

impl fmt::Display for IssueError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the claims cannot be written as a token")
    }
}

impl std::error::Error for IssueError {}
