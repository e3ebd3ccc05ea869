//! Tokens, made without the code that is measured.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::workload::CLAIM_HEADERS;

/// The secret of every contender.
pub(super) const SECRET: &str = "bench-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst";
/// A secret that no contender knows.
const OTHER_SECRET: &str = "other-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst";

pub(super) const ISSUER: &str = "jwt-gate";
const KEY_ID: &str = "bench";

/// Many times what any contender remembers (4096), so that each token is forgotten before its turn comes again.
const POOL: usize = 100_000;

/// How many tokens come once, before those of the pool, and take the room that there is: a cache that keeps what it has
/// (the gate's) would remember tokens of the pool for good.
pub(super) const ONCE: usize = 20_000;

/// The tokens of one subject.
pub(super) struct Tokens {
    /// A good one.
    pub(super) seen: String,
    /// What it says.
    pub(super) claims: Value,
    /// One with the same claims, signed with a secret that nobody knows.
    pub(super) forged: String,
    /// Good ones: first [`ONCE`] that come once, then as many as no cache holds.
    pub(super) pool: Vec<String>,
}

impl Tokens {
    /// Tokens as the companion issues them, valid for a day.
    pub(super) fn mint(subject: &str) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = |number: usize| {
            json!({
                "sub": subject,
                "iss": ISSUER,
                "iat": now,
                "exp": now + 24 * 60 * 60,
                "jti": format!("0193e2a1-7f5c-7d1e-9b60-{number:012x}"),
                "email": "ada@example.com",
                "name": "Ada Lovelace",
            })
        };
        let seen = claims(0);
        Ok(Self {
            seen: sign(SECRET, &seen)?,
            forged: sign(OTHER_SECRET, &seen)?,
            pool: (1..=ONCE + POOL).map(|number| sign(SECRET, &claims(number))).collect::<Result<_>>()?,
            claims: seen,
        })
    }

    /// What the header should hold that is made of this claim.
    pub(super) fn claim(&self, header: &str) -> Option<&str> {
        let (_, claim) = CLAIM_HEADERS.into_iter().find(|(name, _)| *name == header)?;
        self.claims.get(claim)?.as_str()
    }
}

/// The secret as a JWK set, in which `jwt_authn` and the gate read it alike.
pub(super) fn jwks() -> String {
    let key = URL_SAFE_NO_PAD.encode(SECRET);
    json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": KEY_ID, "k": key}]}).to_string()
}

fn sign(secret: &str, claims: &Value) -> Result<String> {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": KEY_ID});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
