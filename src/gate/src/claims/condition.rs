//! What a verified token's claims must be.

use serde_json::{Map, Value};

use super::ClaimPlace;
use crate::config::{ClaimCondition, ClaimConditions, ClaimValue, ConfigError};

/// The claim at a place must have one of these values.
#[derive(Debug)]
pub(crate) struct Condition {
    place: ClaimPlace,
    values: Vec<ClaimValue>,
}

impl Condition {
    /// The conditions that are written in `field`.
    pub(crate) fn all(conditions: ClaimConditions, field: &str) -> Result<Vec<Self>, ConfigError> {
        let compile = |(index, condition): (usize, ClaimCondition)| {
            let field = match &condition.dotted {
                Some(name) => format!("{field}.{name}"),
                None => format!("{field}[{index}]"),
            };
            if condition.values.is_empty() {
                return Err(ConfigError::new(field, "needs a claim and its values"));
            }
            let place = ClaimPlace::new(condition.dotted, condition.claim_path, &field)?;
            Ok(Self { place, values: condition.values })
        };
        conditions.0.into_iter().enumerate().map(compile).collect()
    }

    pub(crate) fn holds(&self, claims: &Map<String, Value>) -> bool {
        match self.place.of(claims) {
            Some(Value::Array(items)) => items.iter().any(|item| self.allows(item)),
            // RFC 8693 §4.2: a space-separated list.
            Some(Value::String(words)) if self.place.is("scope") => {
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

/// The claims that `conditions` look at, by the names of the members of the payload.
pub(crate) fn member_names(conditions: &ClaimConditions) -> impl Iterator<Item = String> {
    conditions.0.iter().flat_map(|condition| {
        let dotted = condition.dotted.iter();
        let first =
            dotted.clone().filter_map(|name| name.split_once('.').map(|(object, _)| object.to_owned()));
        first.chain(dotted.cloned()).chain(condition.claim_path.first().cloned())
    })
}

fn is_text(value: &ClaimValue, text: &str) -> bool {
    matches!(value, ClaimValue::Text(value) if value == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(path: &str, value: ClaimValue, claims: Value) -> bool {
        let condition =
            ClaimCondition { claim_path: Vec::new(), values: vec![value], dotted: Some(path.to_owned()) };
        let conditions = Condition::all(ClaimConditions(vec![condition]), "f").unwrap();
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
