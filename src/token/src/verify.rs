//! HS256 and nothing else.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::base64url;
use crate::claims::{INTERNAL_AUDIENCE, NumericDate, TimeWindow, VerifiedClaims};
use crate::json;
use crate::keyring::Keyring;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// The longest token that is looked at. Envoy's own limit on all headers together is 60 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The bytes of an HS256 signature (RFC 7518 §3.2).
const SIGNATURE_BYTES: usize = 32;

/// `{"alg":"HS256","typ":"JWT"}`, which is the header of most tokens that are not ours; nothing in it is left to
/// read.
const PLAIN_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// What a token must be, beside being ours.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// The exact `iss`, where one is expected.
    pub issuer: Option<String>,
    /// `aud` must hold one of these, where there are any.
    pub audiences: Vec<String>,
    /// How far two clocks may be apart, in seconds.
    pub clock_skew_seconds: u32,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
    /// The longest life, `exp` less `iat`, in seconds; 0 for any.
    pub max_lifetime_seconds: u64,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            clock_skew_seconds: 60,
            require_expiration: true,
            max_lifetime_seconds: 0,
        }
    }
}

/// Verifies a compact JWS (RFC 7515 §5.2, RFC 7519 §7.2) at the time `now`.
///
/// The signature is checked before the payload is looked at. Refused, beside a wrong signature, time or
/// addressee: a number of segments other than three (so a JWE, or an unsigned token), base64url that is
/// not canonical, a header or payload that is not one JSON object in UTF-8 with unique members, an `alg`
/// other than `HS256` whatever our keys could do (RFC 8725 §3.1), any `crit` (RFC 7515 §4.1.11: we
/// understand no extension) and so `b64: false` (RFC 7797 §6), `zip`, a `kid` that is no string, times
/// that are no numbers, `iss`, `sub` or `jti` that are no strings.
///
/// # Errors
/// The [`Refusal`].
pub fn verify(
    token: &str,
    keyring: &Keyring,
    expectations: &Expectations,
    now: NumericDate,
) -> Result<VerifiedClaims, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TooLarge);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Refusal::Malformed)?;
    if payload.contains('.') {
        return Err(Refusal::Malformed);
    }
    let kid = match keyring.kid_of_own_header(header) {
        Some(kid) => Some(Cow::Borrowed(kid)),
        None if header == PLAIN_HEADER => None,
        None => read_header(header)?.map(Cow::Owned),
    };
    let signature = base64url::decode(signature.as_bytes()).ok_or(Refusal::Malformed)?;
    let signer = find_signer(keyring, kid.as_deref(), signed.as_bytes(), &signature)?;

    let payload = base64url::decode(payload.as_bytes()).ok_or(Refusal::Malformed)?;
    let members = json::parse_object(&payload).map_err(|_| Refusal::Malformed)?;
    check_types(&members)?;
    let window = check_time(&members, expectations, now)?;
    check_issuer(&members, expectations)?;
    check_audience(&members, expectations)?;
    Ok(VerifiedClaims { members, payload, window, kid: signer.to_owned() })
}

/// The header's `kid`, of a header that asks for nothing but HS256.
fn read_header(segment: &str) -> Result<Option<String>, Refusal> {
    let header = base64url::decode(segment.as_bytes()).ok_or(Refusal::Malformed)?;
    let header = json::parse_object(&header).map_err(|_| Refusal::Malformed)?;
    match header.get("alg") {
        Some(Value::String(alg)) if alg == "HS256" => {}
        Some(Value::String(_)) => return Err(Refusal::Algorithm),
        _ => return Err(Refusal::Malformed),
    }
    if header.contains_key("crit") || header.contains_key("b64") || header.contains_key("zip") {
        return Err(Refusal::Malformed);
    }
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid.clone())),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// The id of the secret that made the signature: the one that `kid` names where we have it, else each.
fn find_signer<'keyring>(
    keyring: &'keyring Keyring,
    kid: Option<&str>,
    signed: &[u8],
    signature: &[u8],
) -> Result<&'keyring str, Refusal> {
    if signature.len() != SIGNATURE_BYTES {
        return Err(Refusal::BadSignature);
    }
    let known = kid.is_some_and(|kid| keyring.kids().any(|id| id == kid));
    let candidate = |(_, id): &(&Secret, &str)| !known || Some(*id) == kid;
    keyring
        .entries()
        .filter(candidate)
        .find(|(secret, _)| secret.made(signed, signature))
        .map(|(_, id)| id)
        .ok_or(if kid.is_some() && !known { Refusal::UnknownKey } else { Refusal::BadSignature })
}

fn check_time(
    claims: &Map<String, Value>,
    expectations: &Expectations,
    now: NumericDate,
) -> Result<TimeWindow, Refusal> {
    let skew = NumericDate::from(expectations.clock_skew_seconds);
    let expires = numeric_date(claims, "exp")?;
    let not_before = numeric_date(claims, "nbf")?;
    let issued_at = numeric_date(claims, "iat")?;
    if expires.is_none() && (expectations.require_expiration || expectations.max_lifetime_seconds > 0) {
        return Err(Refusal::Lifetime);
    }
    let earliest = not_before.into_iter().chain(issued_at).fold(NumericDate::NEG_INFINITY, NumericDate::max);
    let window =
        TimeWindow { not_before: earliest - skew, expires: expires.unwrap_or(NumericDate::INFINITY) + skew };
    window.check(now)?;
    if expectations.max_lifetime_seconds > 0 {
        #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are 285 million years")]
        let longest = expectations.max_lifetime_seconds as NumericDate;
        // A clock ahead of ours must not make a life look shorter than what is left of it.
        let start = issued_at.unwrap_or(now).min(now);
        if expires.unwrap_or(NumericDate::INFINITY) - start > longest {
            return Err(Refusal::Lifetime);
        }
    }
    Ok(window)
}

/// A claim that is a NumericDate, where it is there at all.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<NumericDate>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|date| date.is_finite()).map(Some).ok_or(Refusal::Malformed),
    }
}

/// `iss`, `sub` and `jti` are strings (RFC 7519 §4.1.1, §4.1.2, §4.1.7): were others let through, `7` and
/// `"7"` would be two subjects with one name.
fn check_types(claims: &Map<String, Value>) -> Result<(), Refusal> {
    let is_text = |name: &&str| claims.get(*name).is_none_or(Value::is_string);
    if ["iss", "sub", "jti"].iter().all(is_text) { Ok(()) } else { Err(Refusal::Malformed) }
}

fn check_issuer(claims: &Map<String, Value>, expectations: &Expectations) -> Result<(), Refusal> {
    match &expectations.issuer {
        Some(expected) if claims.get("iss").and_then(Value::as_str) != Some(expected) => Err(Refusal::Issuer),
        _ => Ok(()),
    }
}

fn check_audience(claims: &Map<String, Value>, expectations: &Expectations) -> Result<(), Refusal> {
    let audiences: Vec<&str> = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(several)) => {
            several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Refusal::Malformed)?
        }
        Some(_) => return Err(Refusal::Malformed),
    };
    let expected = &expectations.audiences;
    let internal = |audience: &&str| *audience == INTERNAL_AUDIENCE;
    if audiences.iter().any(internal) && !expected.iter().any(|audience| audience == INTERNAL_AUDIENCE) {
        return Err(Refusal::Audience);
    }
    if !expected.is_empty() && !expected.iter().any(|audience| audiences.contains(&audience.as_str())) {
        return Err(Refusal::Audience);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, issue};
    use serde_json::json;

    #[test]
    fn the_headers_that_are_known_by_sight_say_what_reading_them_says() {
        assert_eq!(read_header(PLAIN_HEADER), Ok(None));
        let secret = |text| Secret::from_utf8(text).unwrap();
        let keyring = Keyring::new([
            secret("one-0123456789abcdef0123456789abcdef"),
            secret("two-0123456789abcdef0123456789abcdef"),
        ]);
        let keyring = keyring.unwrap();
        let token = issue(&keyring, json!({"sub": "a"}).as_object().unwrap()).unwrap();
        let header = token.split('.').next().unwrap();
        assert!(keyring.kid_of_own_header(header).is_some(), "what we issue is known by sight");
        assert_eq!(keyring.kid_of_own_header(header).map(str::to_owned), read_header(header).unwrap());
        assert_eq!(keyring.kid_of_own_header(PLAIN_HEADER), None);
    }
}
