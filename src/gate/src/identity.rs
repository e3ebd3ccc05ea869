//! From verified claims to header values.

use std::borrow::Cow;
use std::rc::Rc;

use jwt_gate_token::{Claim, Refusal, VerifiedClaims, base64url_encode};
use serde_json::{Number, Value};

use crate::config::{ClaimToHeader, ConfigError};
use crate::location::Edit;

/// The longest header value that is made of a claim, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// Which claims become which headers.
#[derive(Debug)]
pub(crate) struct IdentityHeaders {
    claims: Vec<ClaimHeader>,
    payload: Option<Rc<str>>,
}

#[derive(Debug)]
struct ClaimHeader {
    header: Rc<str>,
    claim: String,
    required: bool,
}

impl IdentityHeaders {
    pub(crate) fn new(claims: Vec<ClaimToHeader>, payload: String, field: &str) -> Result<Self, ConfigError> {
        for (index, claim) in claims.iter().enumerate() {
            if claim.claim_name.is_empty() {
                let field = format!("{field}.claim_to_headers[{index}].claim_name");
                return Err(ConfigError::new(field, "is empty"));
            }
            let mut before = claims.iter().take(index);
            if before.any(|other| other.header_name.eq_ignore_ascii_case(&claim.header_name)) {
                let field = format!("{field}.claim_to_headers[{index}].header_name");
                return Err(ConfigError::new(field, "is there twice"));
            }
        }
        let header = |ClaimToHeader { header_name, claim_name, required }| ClaimHeader {
            header: header_name.to_ascii_lowercase().into(),
            claim: claim_name,
            required,
        };
        Ok(Self {
            claims: claims.into_iter().map(header).collect(),
            payload: Some(payload.to_ascii_lowercase().into()).filter(|name: &Rc<str>| !name.is_empty()),
        })
    }

    /// The headers' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|claim| &*claim.header).chain(self.payload.as_deref())
    }

    /// The headers for `claims`.
    pub(crate) fn edits(&self, claims: &VerifiedClaims) -> Result<Vec<Edit>, Refusal> {
        let mut headers = Vec::with_capacity(self.claims.len().saturating_add(1));
        let mut set =
            |header, value: &str| headers.push(Edit::Set(Rc::clone(header), value.as_bytes().into()));
        for ClaimHeader { header, claim, required } in &self.claims {
            match claims.get(claim).map(text).transpose()?.filter(|value| !value.is_empty()) {
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

/// A claim as text: strings as they are, arrays joined with `,`, other values as compact JSON, null as if it
/// were absent. An item that holds a comma would come out as two; it is refused.
fn text(claim: Claim<'_>) -> Result<Cow<'_, str>, Refusal> {
    match claim {
        Claim::Text(text) => Ok(text.into()),
        Claim::Whole(number) => Ok(number.to_string().into()),
        Claim::Other(Value::Null) => Ok(Cow::default()),
        Claim::Other(Value::Number(number)) if !is_exact(number) => Err(Refusal::Claim),
        Claim::Other(Value::Array(items)) => {
            let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
            Ok(items.join(",").into())
        }
        Claim::Other(other) => Ok(other.to_string().into()),
    }
}

fn item(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) if text.is_empty() || text.contains(',') => Err(Refusal::Claim),
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if !is_exact(number) => Err(Refusal::Claim),
        other => Ok(other.to_string()),
    }
}

/// Whether a number is what its issuer wrote. One that is no 64-bit integer is read as a double, of which only those
/// below 2^53 hold every whole number (RFC 8259 §6), and serde_json may take the one beside the nearest: above half of
/// that two accounts' numbers could become one, as `9007199254740991.0` and `9007199254740990.0` would.
fn is_exact(number: &Number) -> bool {
    const WHOLE: f64 = 4_503_599_627_370_496.0; // 2^52
    !number.is_f64() || number.as_f64().is_some_and(|value| value.abs() < WHOLE)
}

/// Whether `value` arrives at a backend as it is (RFC 9110 §5.5): no control character, no white space at
/// either end (a recipient drops it, so ` root` would become `root`), not over 4 KiB.
fn is_header_value(value: &str) -> bool {
    value.len() <= MAX_VALUE_BYTES
        && !value.bytes().any(|byte| byte.is_ascii_control())
        && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (json!({"b": 1, "a": [2]}), r#"{"a":[2],"b":1}"#),
            (json!([]), ""),
            (json!(null), ""),
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
    }

    #[test]
    fn what_a_backend_would_not_receive_as_it_is_is_no_header_value() {
        for value in ["a", "a b", "é", "a\u{80}"] {
            assert!(is_header_value(value), "{value:?}");
        }
        for value in [" a", "a ", "\u{a0}a", "a\nb", "a\r\nx-user-id: root", "a\0", "a\tb", "a\u{7f}"] {
            assert!(!is_header_value(value), "{value:?}");
        }
        assert!(is_header_value(&"a".repeat(4096)) && !is_header_value(&"a".repeat(4097)));
    }
}
