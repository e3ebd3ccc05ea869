//! The claims that an operator gives to an account, such as a role.

use std::fmt;

use jwt_gate_token::json;
use serde_json::{Map, Value};

/// The longest text of an account's claims. With the other claims the token has to fit into a cookie of 4096 bytes.
pub const MAX_CLAIMS_BYTES: usize = 1024;

/// The claims that mean something already: RFC 7519 §4.1, and those that the companion sets itself.
const RESERVED: [&str; 10] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "email", "email_verified", "name"];

/// An account's own claims: a JSON object without a reserved name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnClaims(Map<String, Value>);

/// Why a text is not an account's [`OwnClaims`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadClaims {
    /// It is not a JSON object whose members are unique.
    NotAnObject,
    /// It names a claim that an account cannot have.
    Reserved(&'static str),
    /// It is longer than [`MAX_CLAIMS_BYTES`].
    TooLong,
}

impl OwnClaims {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`BadClaims`].
    pub fn parse(text: &str) -> Result<Self, BadClaims> {
        let members = json::parse_object(text.as_bytes()).map_err(|_| BadClaims::NotAnObject)?;
        if let Some(reserved) = RESERVED.into_iter().find(|name| members.contains_key(*name)) {
            return Err(BadClaims::Reserved(reserved));
        }
        let claims = Self(members);
        if claims.to_json().len() > MAX_CLAIMS_BYTES { Err(BadClaims::TooLong) } else { Ok(claims) }
    }

    /// The JSON object, without spaces.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The claims by name.
    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

impl fmt::Display for BadClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => formatter.write_str("the claims are not a JSON object with unique names"),
            Self::Reserved(name) => {
                write!(formatter, "the claim `{name}` is set by jwt-gate-auth and cannot be an account's own")
            }
            Self::TooLong => write!(formatter, "the claims are longer than {MAX_CLAIMS_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accounts_claims_are_a_json_object_without_a_reserved_name() {
        let claims = OwnClaims::parse(r#" {"role": "admin", "teams": ["a", "b"], "plan": {"seats": 3}} "#);
        let written = r#"{"plan":{"seats":3},"role":"admin","teams":["a","b"]}"#;
        assert_eq!(claims.map(|claims| claims.to_json()).as_deref(), Ok(written));
        assert_eq!(OwnClaims::parse("{}"), Ok(OwnClaims::default()));
        for reserved in RESERVED {
            let text = format!(r#"{{"role": "admin", "{reserved}": "x"}}"#);
            assert_eq!(OwnClaims::parse(&text), Err(BadClaims::Reserved(reserved)));
        }
        let twice = r#"{"role": "user", "role": "admin"}"#;
        for bad in ["", "[]", "null", "\"role\"", "{", "{\"a\":1}x", twice] {
            assert_eq!(OwnClaims::parse(bad), Err(BadClaims::NotAnObject), "{bad}");
        }
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(MAX_CLAIMS_BYTES));
        assert_eq!(OwnClaims::parse(&long), Err(BadClaims::TooLong));
    }
}
