//! A token's claims before, or without, its verification.

use serde_json::Value;

use crate::base64url;
use crate::json;
use crate::verify::MAX_TOKEN_BYTES;

/// The parts of a token that say who issued it for whom. Nobody has verified them: use them in a log line, and for nothing
/// else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UnverifiedOrigin {
    /// The header's `kid`.
    pub kid: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`, one or several.
    pub audiences: Vec<String>,
}

impl UnverifiedOrigin {
    /// Reads a compact JWS (RFC 7515 §7.1). A part that cannot be read is left out.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        if token.len() > MAX_TOKEN_BYTES {
            return Self::default();
        }
        let mut segments = token.split(|byte| *byte == b'.').map(|segment| {
            let bytes = base64url::decode(segment).unwrap_or_default();
            json::parse_object(&bytes).unwrap_or_default()
        });
        let (header, payload) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let audiences = match payload.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().filter_map(|one| text(Some(one))).collect(),
            one => text(one).into_iter().collect(),
        };
        Self { kid: text(header.get("kid")), issuer: text(payload.get("iss")), audiences }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> Vec<u8> {
        let part = |text: &str| base64url::encode(text.as_bytes());
        format!("{}.{}.c2ln", part(header), part(payload)).into_bytes()
    }

    #[test]
    fn the_parts_that_can_be_read_are_read() {
        let origin = UnverifiedOrigin::of(&token(r#"{"kid":"k"}"#, r#"{"iss":"i","aud":["a",1,"b"]}"#));
        let audiences = vec!["a".to_owned(), "b".to_owned()];
        let expected = UnverifiedOrigin { kid: Some("k".into()), issuer: Some("i".into()), audiences };
        assert_eq!(origin, expected);
        assert_eq!(UnverifiedOrigin::of(&token("{}", r#"{"aud":"a"}"#)).audiences, ["a"]);
        for nonsense in [&b""[..], b"...", b"a.b.c", &token("[]", "7"), &token(r#"{"kid":7}"#, "{")] {
            assert_eq!(UnverifiedOrigin::of(nonsense), UnverifiedOrigin::default());
        }
    }
}
