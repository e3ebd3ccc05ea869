//! HS256 and nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::base64url;
use crate::claims::VerifiedClaims;
use crate::json;
use crate::keyring::Keyring;
use crate::mac::Tag;
use crate::payload::Payload;
use crate::refusal::Refusal;
use crate::registered::Registered;
use crate::scan::{position, same};
use crate::secret::Secret;
use crate::window::NumericDate;

/// The longest token that is looked at. Envoy's own limit on all headers together is 60 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// `{"alg":"HS256","typ":"JWT"}`, which is the header of most tokens that are not ours; nothing in it is left to
/// read.
const PLAIN_HEADER: &[u8] = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// How deep a token's header may nest, which is read before anybody's signature is checked. No registered parameter nests
/// deeper than three below it (RFC 7515 §4.1: a `jwk` with its `oth`).
const MAX_HEADER_DEPTH: u8 = 4;

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
    token: impl AsRef<[u8]>,
    keyring: &Keyring,
    expectations: &Expectations,
    now: NumericDate,
) -> Result<VerifiedClaims, Refusal> {
    verify_bytes(token.as_ref(), keyring, expectations, now)
}

fn verify_bytes(
    token: &[u8],
    keyring: &Keyring,
    expectations: &Expectations,
    now: NumericDate,
) -> Result<VerifiedClaims, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TooLarge);
    }
    let Segments { signed, header, payload, signature } = Segments::of(token).ok_or(Refusal::Malformed)?;
    let kid = match keyring.kid_of_known_header(header) {
        Some(kid) => Some(Cow::Borrowed(kid)),
        None if same(header, PLAIN_HEADER) => None,
        None => read_header(header)?.map(Cow::Owned),
    };
    let signer = find_signer(keyring, kid.as_deref(), signed, &read_signature(signature)?)?;

    let payload = base64url::decode(payload).ok_or(Refusal::Malformed)?;
    let payload = Payload::read(payload)?;
    let registered = Registered::of(&payload);
    registered.check_types()?;
    let window = registered.check_time(expectations, now)?;
    registered.check_issuer(expectations)?;
    registered.check_audience(expectations)?;
    Ok(VerifiedClaims { payload, window, kid: Arc::clone(signer) })
}

/// The parts of a compact JWS (RFC 7515 §7.1).
struct Segments<'token> {
    /// What the signature is for: header and payload with the dot between them.
    signed: &'token [u8],
    header: &'token [u8],
    payload: &'token [u8],
    signature: &'token [u8],
}

impl<'token> Segments<'token> {
    /// `None` where there are not three of them.
    fn of(token: &'token [u8]) -> Option<Self> {
        let (header, rest) = split_at_dot(token)?;
        let (payload, signature) = split_at_dot(rest)?;
        let (signed, _) = token.split_at_checked(header.len().checked_add(1)?.checked_add(payload.len())?)?;
        position(signature, b'.').is_none().then_some(Self { signed, header, payload, signature })
    }
}

fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(position(text, b'.')?)?;
    Some((before, rest.split_first()?.1))
}

/// The header's `kid`, of a header that asks for nothing but HS256.
fn read_header(segment: &[u8]) -> Result<Option<String>, Refusal> {
    let header = base64url::decode(segment).ok_or(Refusal::Malformed)?;
    let header = json::parse_object_within(&header, MAX_HEADER_DEPTH).map_err(|_| Refusal::Malformed)?;
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

/// The signature of a token: 32 bytes (RFC 7518 §3.2), or none that anybody made with HS256.
fn read_signature(segment: &[u8]) -> Result<Tag, Refusal> {
    match segment.try_into() {
        Ok(segment) => base64url::decode_signature(segment).ok_or(Refusal::Malformed),
        Err(_) => Err(base64url::decode(segment).map_or(Refusal::Malformed, |_| Refusal::BadSignature)),
    }
}

/// The id of the secret that made the signature: the one that `kid` names where we have it, else each.
fn find_signer<'keyring>(
    keyring: &'keyring Keyring,
    kid: Option<&str>,
    signed: &[u8],
    signature: &Tag,
) -> Result<&'keyring Arc<str>, Refusal> {
    let is_named = |id: &str| kid.is_some_and(|kid| same(kid.as_bytes(), id.as_bytes()));
    let known = keyring.kids().any(is_named);
    let candidate = |(_, id): &(&Secret, &Arc<str>)| !known || is_named(id);
    keyring
        .entries()
        .filter(candidate)
        .find(|(secret, _)| secret.made(signed, signature))
        .map(|(_, id)| id)
        .ok_or(if kid.is_some() && !known { Refusal::UnknownKey } else { Refusal::BadSignature })
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
        let header = token.split('.').next().unwrap().as_bytes();
        assert!(keyring.kid_of_known_header(header).is_some(), "what we issue is known by sight");
        assert_eq!(keyring.kid_of_known_header(header).map(str::to_owned), read_header(header).unwrap());
        assert_eq!(keyring.kid_of_known_header(PLAIN_HEADER), None);

        let kid = keyring.kids().nth(1).unwrap();
        for header in [
            json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string(),
            format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
        ] {
            let header = base64url::encode(header.as_bytes());
            let header = header.as_bytes();
            assert_eq!(keyring.kid_of_known_header(header), Some(kid));
            assert_eq!(read_header(header), Ok(Some(kid.to_owned())));
        }
    }
}
