//! Tokens, good and bad, made without the code under test.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

/// The secret of the tests' gates.
pub const SECRET: &str = "e2e-0123456789-abcdefghij-ABCDEFGHIJ";
/// A secret that the tests' gates do not know.
pub const OTHER_SECRET: &str = "other-0123456789-abcdefghij-ABCDEFGHIJ";

/// The hash of an HMAC signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// HS256
    Sha256,
    /// HS384
    Sha384,
    /// HS512
    Sha512,
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs()
}

/// base64url without padding.
#[must_use]
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The HMAC of `signed`.
#[must_use]
pub fn hmac(hash: Hash, secret: &[u8], signed: &[u8]) -> Vec<u8> {
    fn tag<M: Mac + KeyInit>(secret: &[u8], signed: &[u8]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(signed);
        mac.finalize().into_bytes().to_vec()
    }
    match hash {
        Hash::Sha256 => tag::<Hmac<sha2::Sha256>>(secret, signed),
        Hash::Sha384 => tag::<Hmac<sha2::Sha384>>(secret, signed),
        Hash::Sha512 => tag::<Hmac<sha2::Sha512>>(secret, signed),
    }
}

/// A compact JWS of any header and payload bytes, signed with HMAC-SHA-256 whatever the header says.
#[must_use]
pub fn sign(secret: &str, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", base64url(header), base64url(payload));
    seal(secret, &signed)
}

/// `signed` and its HMAC-SHA-256 signature: for segments that are spelled in an unusual way.
#[must_use]
pub fn seal(secret: &str, signed: &str) -> String {
    format!("{signed}.{}", base64url(hmac(Hash::Sha256, secret.as_bytes(), signed.as_bytes())))
}

/// A good token of exactly these claims.
#[must_use]
pub fn token_of(secret: &str, claims: &Value) -> String {
    sign(secret, r#"{"alg":"HS256","typ":"JWT"}"#, claims.to_string())
}

/// A good token for `sub`, valid for ten minutes, with `more` claims (a `null` takes a claim away).
#[must_use]
pub fn token(sub: &str, more: Value) -> String {
    token_of(SECRET, &claims(sub, more))
}

/// The claims of [`token`].
#[must_use]
pub fn claims(sub: &str, more: Value) -> Value {
    let mut claims = json!({"sub": sub, "iss": "jwt-gate", "iat": now(), "exp": now() + 600});
    let members = claims.as_object_mut().expect("an object");
    for (name, value) in more.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    claims
}
