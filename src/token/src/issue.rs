//! Signing.

use std::fmt;

use jwt_simple::algorithms::MACLike;
use serde_json::{Map, Value};

use crate::base64url;
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
    let payload = serde_json::to_vec(claims).map_err(|_| IssueError)?;
    let signed = format!("{}.{}", keyring.own_header(), base64url::encode(&payload));
    let tag = keyring.newest().key().authentication_tag(signed.as_bytes());
    Ok(format!("{signed}.{}", base64url::encode(&tag)))
}

impl fmt::Display for IssueError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the claims cannot be written as a token")
    }
}

impl std::error::Error for IssueError {}
