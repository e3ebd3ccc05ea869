//! What a verified token's claims must be.

use std::collections::BTreeMap;

use jwt_gate_token::lookup;
use serde_json::{Map, Value};

use crate::config::{ClaimValue, ConfigError};

/// The claim at `path` must have one of `values`.
#[derive(Debug)]
pub(crate) struct Condition {
    path: String,
    values: Vec<ClaimValue>,
}

impl Condition {
    /// The conditions of a requirement's `claims`.
    pub(super) fn all(
        claims: BTreeMap<String, Vec<ClaimValue>>,
        field: &str,
    ) -> Result<Vec<Self>, ConfigError> {
        claims
            .into_iter()
            .map(|(path, values)| {
                if path.is_empty() || values.is_empty() {
                    return Err(ConfigError::new(
                        format!("{field}.claims.{path}"),
                        "needs a claim and its values",
                    ));
                }
                Ok(Self { path, values })
            })
            .collect()
    }

    pub(super) fn holds(&self, claims: &Map<String, Value>) -> bool {
        match lookup(claims, &self.path) {
            Some(Value::Array(items)) => items.iter().any(|item| self.allows(item)),
            // RFC 8693 §4.2: a space-separated list.
            Some(Value::String(words)) if self.path == "scope" => {
                words.split(' ').any(|word| self.values.iter().any(|value| is_text(value, word)))
                    || self.values.iter().any(|value| is_text(value, words))
            }
            Some(value) => self.allows(value),
            None => false,
        }
    }

    fn allows(&self, claim: &Value) -> bool {
        self.values.iter().any(|value| match (value, claim) {
            (ClaimValue::Text(_), Value::String(text)) => is_text(value, text),
            (ClaimValue::Number(number), Value::Number(claim)) => claim.as_i64() == Some(*number),
            (ClaimValue::Flag(flag), Value::Bool(claim)) => flag == claim,
            _ => false,
        })
    }
}

fn is_text(value: &ClaimValue, text: &str) -> bool {
    matches!(value, ClaimValue::Text(value) if value == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(path: &str, value: ClaimValue, claims: Value) -> bool {
        let conditions = Condition::all(BTreeMap::from([(path.to_owned(), vec![value])]), "f").unwrap();
        conditions.iter().all(|condition| condition.holds(claims.as_object().unwrap()))
    }

    #[test]
    fn a_claim_matches_by_value_and_type_or_as_one_of_an_array() {
        let admin = || ClaimValue::Text("admin".to_owned());
        assert!(holds("role", admin(), json!({"role": "admin"})));
        assert!(holds("role", admin(), json!({"role": ["user", "admin"]})));
        assert!(holds("app.role", admin(), json!({"app": {"role": "admin"}})));
        assert!(holds("level", ClaimValue::Number(3), json!({"level": 3})));
        assert!(holds("staff", ClaimValue::Flag(true), json!({"staff": true})));
        for claims in [
            json!({}),
            json!({"role": "Admin"}),
            json!({"role": "admin "}),
            json!({"role": [["admin"]]}),
            json!({"role": {"admin": true}}),
            json!({"role": "user admin"}),
            json!({"role": null}),
        ] {
            assert!(!holds("role", admin(), claims.clone()), "{claims}");
        }
        assert!(!holds("level", ClaimValue::Number(3), json!({"level": "3"})));
        assert!(!holds("staff", ClaimValue::Flag(true), json!({"staff": 1})));
    }

    #[test]
    fn scope_is_words() {
        let read = || ClaimValue::Text("read".to_owned());
        assert!(holds("scope", read(), json!({"scope": "write read"})));
        assert!(!holds("scope", read(), json!({"scope": "reader"})));
    }
}
