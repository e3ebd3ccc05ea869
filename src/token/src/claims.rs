//! The claims of a token that verified.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The audience of the tokens with which a gate asks the companion for revocations. A token for it is
/// never a user's: [`crate::verify()`] refuses it unless that audience is asked for.
pub const INTERNAL_AUDIENCE: &str = "jwt-gate/internal";

/// Seconds since 1970-01-01T00:00:00Z, fractions allowed (RFC 7519 §2, NumericDate).
pub type NumericDate = f64;

/// The claims of a token whose signature, algorithm, time and addressee were checked.
///
/// Only [`crate::verify()`] makes one, which is what lets the rest of the program trust it.
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    pub(crate) members: Map<String, Value>,
    pub(crate) payload: Vec<u8>,
    pub(crate) window: TimeWindow,
    pub(crate) kid: Arc<str>,
}

/// When a token may be used; the clock skew is already counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeWindow {
    pub(crate) not_before: NumericDate,
    pub(crate) expires: NumericDate,
}

// === impl VerifiedClaims ===

impl VerifiedClaims {
    /// All claims.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// The payload's JSON text, byte for byte as it was signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// All claims, and the payload as [`VerifiedClaims::payload`] gives it.
    #[must_use]
    pub fn into_parts(self) -> (Map<String, Value>, Vec<u8>) {
        (self.members, self.payload)
    }

    /// When the token may be used, skew included. A cache asks it again on every use.
    #[must_use]
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// The `kid` of the secret that made the signature.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The claim at `path`: see [`lookup`].
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        lookup(&self.members, path)
    }

    /// `sub`, where it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.members.get("sub").and_then(Value::as_str)
    }

    /// `jti`, where it is a string.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.members.get("jti").and_then(Value::as_str)
    }

    /// `iat`, where it is a number.
    #[must_use]
    pub fn issued_at(&self) -> Option<NumericDate> {
        self.members.get("iat").and_then(Value::as_f64)
    }

    /// `exp`, where it is a number.
    #[must_use]
    pub fn expires_at(&self) -> Option<NumericDate> {
        self.members.get("exp").and_then(Value::as_f64)
    }
}

// === impl TimeWindow ===

impl TimeWindow {
    /// Whether `now` is inside.
    ///
    /// # Errors
    /// [`Refusal::Expired`] or [`Refusal::NotYetValid`].
    pub fn check(self, now: NumericDate) -> Result<(), Refusal> {
        if now >= self.expires {
            Err(Refusal::Expired)
        } else if now < self.not_before {
            Err(Refusal::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// The claim at `path`: a claim of that very name, dots and all, where there is one (as with
/// `https://example.com/role`), else dots descend into objects (`user.id`).
#[must_use]
pub fn lookup<'claims>(claims: &'claims Map<String, Value>, path: &str) -> Option<&'claims Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dots_descend_and_a_literal_name_comes_first() {
        let claims = json!({"sub": "a", "user": {"id": 7, "a": {"b": null}}, "x.y": 1, "x": {"y": 2}});
        let claims = claims.as_object().unwrap();
        assert_eq!(lookup(claims, "sub"), Some(&json!("a")));
        assert_eq!(lookup(claims, "user.id"), Some(&json!(7)));
        assert_eq!(lookup(claims, "user.a.b"), Some(&json!(null)));
        assert_eq!(lookup(claims, "x.y"), Some(&json!(1)));
        for absent in ["", ".", "user.", "user.x", "sub.x", "user.id.x", ".user", "nope"] {
            assert_eq!(lookup(claims, absent), None, "{absent}");
        }
    }

    #[test]
    fn the_window_is_closed_below_and_open_above() {
        let window = TimeWindow { not_before: 10.0, expires: 20.5 };
        assert_eq!(window.check(9.9), Err(Refusal::NotYetValid));
        assert_eq!(window.check(10.0), Ok(()));
        assert_eq!(window.check(20.4), Ok(()));
        assert_eq!(window.check(20.5), Err(Refusal::Expired));
    }
}
