//! The claims of a token that verified.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::payload::{Claim, Payload};
use crate::window::{NumericDate, TimeWindow};

/// The audience of the tokens with which a gate asks the companion for revocations. A token for it is
/// never a user's: [`crate::verify()`] refuses it unless that audience is asked for.
pub const INTERNAL_AUDIENCE: &str = "jwt-gate/internal";

/// The claims of a token whose signature, algorithm, time and addressee were checked.
///
/// Only [`crate::verify()`] makes one, which is what lets the rest of the program trust it.
#[derive(Debug, Clone)]
pub struct VerifiedClaims {
    pub(crate) payload: Payload,
    pub(crate) window: TimeWindow,
    pub(crate) kid: Arc<str>,
}

// === impl VerifiedClaims ===

impl VerifiedClaims {
    /// All claims.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        self.payload.for_each(|name, claim| {
            members.insert(name.to_owned(), claim.to_value());
        });
        members
    }

    /// Those of the claims `names` that there are.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Map<String, Value> {
        let claim = |name: &String| Some((name.clone(), self.payload.get(name)?.to_value()));
        names.iter().filter_map(claim).collect()
    }

    /// The payload's JSON text, byte for byte as it was signed.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.text()
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

    /// The claim at `path`: see [`crate::lookup`].
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Claim<'_>> {
        self.payload.at(path)
    }

    /// The claim of this very name; dots have no meaning.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Claim<'_>> {
        self.payload.get(name)
    }

    /// `sub`, where it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.payload.get("sub")?.as_str()
    }

    /// `jti`, where it is a string.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.payload.get("jti")?.as_str()
    }

    /// `iat`, where it is a number.
    #[must_use]
    pub fn issued_at(&self) -> Option<NumericDate> {
        self.payload.get("iat")?.as_f64()
    }

    /// `exp`, where it is a number.
    #[must_use]
    pub fn expires_at(&self) -> Option<NumericDate> {
        self.payload.get("exp")?.as_f64()
    }
}
