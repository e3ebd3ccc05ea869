//! From verified claims to header values.

use std::borrow::Cow;
use std::sync::Arc;

use jwt_gate_token::{Claim, Refusal, VerifiedClaims, base64url_encode};
use serde_json::{Number, Value};

use crate::claims::ClaimPlace;
use crate::config::{ClaimEncoding, ClaimToHeader, ConfigError};
use crate::header_guard::normalize;
use crate::mutation::HeaderMutation;
use crate::percent::percent_encoded;
use crate::printable::is_unprintable;

/// The longest header value that is made of a claim, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// Which claims become which headers.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    claims: Vec<ClaimHeader>,
    payload: Option<Arc<str>>,
}

#[derive(Debug)]
struct ClaimHeader {
    header: Arc<str>,
    claim: ClaimPlace,
    required: bool,
    encoding: ClaimEncoding,
}

impl IdentityHeaders {
    pub(crate) fn new(claims: Vec<ClaimToHeader>, payload: String, field: &str) -> Result<Self, ConfigError> {
        let mut headers = Vec::with_capacity(claims.len());
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut check_new = |name: &str, field: String| {
            let folded: Vec<u8> = name.bytes().map(normalize).collect();
            if names.contains(&folded) {
                return Err(ConfigError::new(field, "is duplicated: backends read both names as one"));
            }
            names.push(folded);
            Ok(())
        };
        for (index, claim) in claims.into_iter().enumerate() {
            let field = format!("{field}.claim_to_headers[{index}]");
            check_new(&claim.header_name, format!("{field}.header_name"))?;
            headers.push(ClaimHeader {
                header: claim.header_name.to_ascii_lowercase().into(),
                claim: ClaimPlace::new(claim.claim_name, claim.claim_path, &format!("{field}.claim_name"))?,
                required: claim.required,
                encoding: claim.encoding,
            });
        }
        if !payload.is_empty() {
            check_new(&payload, format!("{field}.forward_payload_header"))?;
        }
        Ok(Self {
            claims: headers,
            payload: Some(payload.to_ascii_lowercase().into()).filter(|name: &Arc<str>| !name.is_empty()),
        })
    }

    /// The headers' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|claim| &*claim.header).chain(self.payload.as_deref())
    }

    /// The headers for `claims`.
    pub(crate) fn mutations(&self, claims: &VerifiedClaims) -> Result<Vec<HeaderMutation>, Refusal> {
        let mut headers = Vec::with_capacity(self.claims.len().saturating_add(1));
        let mut set = |header, value: &str| {
            headers.push(HeaderMutation::Set(Arc::clone(header), value.as_bytes().into()))
        };
        for ClaimHeader { header, claim, required, encoding } in &self.claims {
            let claim = claim.of_verified(claims).filter(|claim| !is_empty(*claim));
            match claim.map(|claim| encoded(claim, *encoding)).transpose()? {
                Some(value) if is_header_value(&value) => set(header, &value),
                Some(_) => return Err(Refusal::Claim),
                None if *required => return Err(Refusal::Claim),
                None => {}
            }
        }
        if let Some(header) = &self.payload {
            set(header, &base64url_encode(claims.payload().as_bytes()));
        }
        Ok(headers)
    }
}

/// Whether a claim says nothing, as one that is absent: null, an empty string, an empty array.
fn is_empty(claim: Claim<'_>) -> bool {
    match claim {
        Claim::Text(text) => text.is_empty(),
        Claim::Other(Value::Null) => true,
        Claim::Other(Value::Array(items)) => items.is_empty(),
        _ => false,
    }
}

/// A claim's value in `encoding`, without loss: what cannot be written so is refused.
fn encoded(claim: Claim<'_>, encoding: ClaimEncoding) -> Result<Cow<'_, str>, Refusal> {
    match encoding {
        ClaimEncoding::Raw => text(claim),
        ClaimEncoding::Percent => match claim {
            Claim::Other(Value::Array(items)) if items.iter().all(is_scalar) => {
                let item = |item| Ok(percent_encoded(lossless(Claim::from(item))?.as_bytes(), ""));
                let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
                // An empty item would be no item.
                if items.iter().any(String::is_empty) {
                    Err(Refusal::Claim)
                } else {
                    Ok(items.join(",").into())
                }
            }
            other => Ok(percent_encoded(lossless(other)?.as_bytes(), "").into()),
        },
        ClaimEncoding::Json => match claim {
            Claim::Text(text) => Ok(ascii_json(&Value::from(text).to_string()).into()),
            other => Ok(ascii_json(&lossless(other)?).into()),
        },
        ClaimEncoding::Base64url => Ok(base64url_encode(lossless(claim)?.as_bytes()).into()),
    }
}

/// A string as it is, any other value as compact JSON with every number exact.
fn lossless(claim: Claim<'_>) -> Result<Cow<'_, str>, Refusal> {
    match claim {
        Claim::Text(text) => Ok(text.into()),
        Claim::Whole(number) => Ok(number.to_string().into()),
        Claim::Other(value) if !all_exact(value) => Err(Refusal::Claim),
        Claim::Other(value) => Ok(value.to_string().into()),
    }
}

/// JSON in ASCII: every other character as an escape (RFC 8259 §7).
fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && !letter.is_ascii_control() {
            ascii.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// A claim as text: strings as they are, an array's items joined with `,`, null as if it were absent. Backends split such a
/// header at its commas, so an item that holds one, and everything whose JSON would, is refused: objects and nested arrays
/// need another encoding.
fn text(claim: Claim<'_>) -> Result<Cow<'_, str>, Refusal> {
    match claim {
        Claim::Other(Value::Object(_)) => Err(Refusal::Claim),
        Claim::Other(Value::Array(items)) => {
            let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
            Ok(items.join(",").into())
        }
        other => lossless(other),
    }
}

fn item(value: &Value) -> Result<Cow<'_, str>, Refusal> {
    match value {
        Value::String(text) if text.is_empty() || text.contains(',') => Err(Refusal::Claim),
        other if is_scalar(other) => lossless(Claim::from(other)),
        _ => Err(Refusal::Claim),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Whether every number in `value` is exact, at any depth.
fn all_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_exact(number),
        Value::Array(items) => items.iter().all(all_exact),
        Value::Object(members) => members.values().all(all_exact),
        _ => true,
    }
}

/// Whether a number is what its issuer wrote. One that is no 64-bit integer is read as a double, of which only those
/// below 2^53 hold every whole number (RFC 8259 §6), and serde_json may take the one beside the nearest: above half of
/// that two accounts' numbers could become one, as `9007199254740991.0` and `9007199254740990.0` would.
fn is_exact(number: &Number) -> bool {
    const WHOLE: f64 = 4_503_599_627_370_496.0; // 2^52
    !number.is_f64() || number.as_f64().is_some_and(|value| value.abs() < WHOLE)
}

/// Whether `value` arrives at a backend as it is (RFC 9110 §5.5) and reads as it is: no control or direction character, no
/// white space at either end (a recipient drops it, so ` root` would become `root`), not over 4 KiB.
fn is_header_value(value: &str) -> bool {
    value.len() <= MAX_VALUE_BYTES && !value.contains(is_unprintable) && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::percent::percent_decoded;
    use jwt_gate_token::base64url_decode;
    use serde_json::json;

    fn of(claim: &Value) -> Result<Cow<'_, str>, Refusal> {
        text(claim.as_str().map_or(Claim::Other(claim), Claim::Text))
    }

    #[test]
    fn values_become_text_without_loss() {
        assert_eq!(text(Claim::Whole(999_999_999_999_999)).as_deref(), Ok("999999999999999"));
        for (claim, expected) in [
            (json!("user_1"), "user_1"),
            (json!("Zoë, née O"), "Zoë, née O"),
            (json!(7), "7"),
            (json!(true), "true"),
            (json!(1.5), "1.5"),
            (json!(["a", "b", 3, null]), "a,b,3,null"),
        ] {
            assert_eq!(of(&claim).as_deref(), Ok(expected));
        }
        for text_of_number in
            ["12345678901234567890123", "1.9999999999999998e30", "-1e16", "9007199254740991.0"]
        {
            let number: Value = serde_json::from_str(text_of_number).unwrap();
            assert_eq!(of(&number), Err(Refusal::Claim), "{text_of_number}");
            assert_eq!(of(&json!([number])), Err(Refusal::Claim), "{text_of_number}");
        }
        assert_eq!(of(&json!(u64::MAX)).as_deref(), Ok("18446744073709551615"));
        assert_eq!(of(&json!(["a,b"])), Err(Refusal::Claim));
        assert_eq!(of(&json!(["a", ""])), Err(Refusal::Claim));
        for nested in [
            json!([{"n": "x,admin,y"}]),
            json!([["a,admin,b"]]),
            json!({"a": "x,admin,y"}),
            json!({"b": 1, "a": [2]}),
            json!([[9_007_199_254_740_991.0]]),
        ] {
            assert_eq!(of(&nested), Err(Refusal::Claim), "{nested}");
        }
        assert!([json!([]), json!(null), json!("")].iter().all(|claim| is_empty(Claim::from(claim))));
        assert!(!is_empty(Claim::from(&json!({}))) && !is_empty(Claim::from(&json!(0))));
    }

    #[test]
    fn every_other_encoding_is_ascii_and_can_be_read_back() {
        let claims = [
            json!("Zoë 张 \u{1f600},x%\n\u{202e} "),
            json!(["CN=Admins,OU=G", "b"]),
            json!({"a": [1, {"b": "x,y"}], "ü": null}),
            json!([["a,admin,b"], 7]),
            json!(true),
            json!(u64::MAX),
        ];
        for claim in &claims {
            let of = |encoding| encoded(Claim::from(claim), encoding).unwrap().into_owned();
            let json = of(ClaimEncoding::Json);
            assert_eq!(&serde_json::from_str::<Value>(&json).unwrap(), claim);
            let bytes = base64url_decode(of(ClaimEncoding::Base64url).as_bytes()).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            let plain = claim.as_str().map_or_else(|| claim.to_string(), str::to_owned);
            assert_eq!(text, plain);
            let percent = of(ClaimEncoding::Percent);
            let decoded: Vec<String> = percent
                .split(',')
                .map(|item| String::from_utf8(percent_decoded(item.as_bytes()).into_owned()).unwrap())
                .collect();
            match claim {
                Value::Array(items) if items.iter().all(Value::is_string) => {
                    assert_eq!(json!(decoded), *claim)
                }
                _ => assert_eq!(decoded, [plain]),
            }
            for value in [json, percent] {
                assert!(value.is_ascii() && is_header_value(&value), "{value}");
            }
        }
        for inexact in [json!({"id": 9_007_199_254_740_991.0}), json!([[1e30]])] {
            for encoding in [ClaimEncoding::Json, ClaimEncoding::Base64url, ClaimEncoding::Percent] {
                assert_eq!(encoded(Claim::from(&inexact), encoding), Err(Refusal::Claim));
            }
        }
    }

    #[test]
    fn what_a_backend_would_not_receive_as_it_is_is_no_header_value() {
        for value in ["a", "a b", "é", "Zoë 张"] {
            assert!(is_header_value(value), "{value:?}");
        }
        for value in [
            " a",
            "a ",
            "\u{a0}a",
            "a\nb",
            "a\r\nx-user-id: root",
            "a\0",
            "a\tb",
            "a\u{7f}",
            "a\u{80}",
            "a\u{85}b",
            "a\u{202e}b",
        ] {
            assert!(!is_header_value(value), "{value:?}");
        }
        assert!(is_header_value(&"a".repeat(4096)) && !is_header_value(&"a".repeat(4097)));
    }
}
