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

/// Good tokens, of which each request has its own: how many come once, and how many come again and again after them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    pub(super) once: usize,
    pub(super) again: usize,
}

impl Pool {
    /// For those who may remember tokens, 4096 of them: many times that come again and again, so that each is forgotten
    /// before its turn comes. Those before them take the room that there is; a cache that keeps what it has, the gate's,
    /// would remember tokens that come again for good.
    pub(super) const LARGE: Self = Self { once: 20_000, again: 100_000 };

    /// For those who remember none and start anew in each turn.
    pub(super) const SMALL: Self = Self { once: 0, again: 2_000 };
}

/// The tokens of one subject.
pub(super) struct Tokens {
    /// A good one.
    pub(super) seen: String,
    /// What it says.
    pub(super) claims: Value,
    /// One with the same claims, signed with a secret that nobody knows.
    pub(super) forged: String,
}

impl Tokens {
    /// Tokens as the companion issues them, valid for a day.
    pub(super) fn mint(subject: &str) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "sub": subject,
            "iss": ISSUER,
            "iat": now,
            "exp": now + 24 * 60 * 60,
            "jti": id(0),
            "email": "ada@example.com",
            "name": "Ada Lovelace",
        });
        Ok(Self { seen: sign(SECRET, &claims)?, forged: sign(OTHER_SECRET, &claims)?, claims })
    }

    /// The tokens of `pool`, with the same claims but each with an id of its own, a line for each.
    pub(super) fn lines(&self, pool: Pool) -> Result<String> {
        let mut claims = self.claims.clone();
        let mut token = |number| {
            claims["jti"] = id(number).into();
            sign(SECRET, &claims)
        };
        Ok((1..=pool.once + pool.again).map(&mut token).collect::<Result<Vec<_>>>()?.join("\n"))
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

/// A token's id.
fn id(number: usize) -> String {
    format!("0193e2a1-7f5c-7d1e-9b60-{number:012x}")
}

fn sign(secret: &str, claims: &Value) -> Result<String> {
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": KEY_ID});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
