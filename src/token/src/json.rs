//! JSON with unique member names.
//!
//! RFC 7515 §4 and RFC 7519 §4 allow a parser either to reject a duplicate member or to take the last one.
//! Where two programs choose differently, one token says two things; so a duplicate is an error here, at
//! every depth.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read, serde_json's own limit.
const MAX_DEPTH: u8 = 127;

/// Parses one JSON value and nothing after it but white space.
///
/// # Errors
/// Not UTF-8, not JSON, nested deeper than 127 levels, or an object that names a member twice.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    parse_within(text, MAX_DEPTH)
}

/// Parses a JSON object.
///
/// # Errors
/// As [`parse`], or where the value is not an object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    parse_object_within(text, MAX_DEPTH)
}

/// Parses a JSON object that nests no deeper than `max_depth`, of which it is itself the first.
///
/// For what anybody may send. On an error serde_json works out the line and column once for each array and object that is
/// open, from the start of the text each time; so the depth is how often hostile text is read.
///
/// # Errors
/// As [`parse_object`], or where it nests deeper.
pub fn parse_object_within(text: &[u8], max_depth: u8) -> Result<Map<String, Value>, serde_json::Error> {
    match parse_within(text, max_depth)? {
        Value::Object(members) => Ok(members),
        _ => Err(serde_json::Error::custom("expected an object")),
    }
}

fn parse_within(text: &[u8], max_depth: u8) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Unique { levels: max_depth }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value in which no object, at any depth, names a member twice.
#[derive(Clone, Copy)]
struct Unique {
    /// How many arrays and objects there may be around a value, from here on.
    levels: u8,
}

impl Unique {
    /// For what is inside an array or object.
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("nests too deep"))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                // The name is the sender's: it does not go into the message.
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_through_unchanged() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"a":{}},"c":18446744073709551615}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parse(b" 1 ").unwrap(), json!(1));
    }

    #[test]
    fn a_member_named_twice_is_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"[{"a":1,"\u0061":2}]"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_nests_deeper_than_is_asked_for_is_refused() {
        assert!(parse_object_within(br#"{"a":[1],"b":{"c":2}}"#, 2).is_ok());
        assert!(parse_object_within(br#"{"a":[[]]}"#, 2).is_err());
        assert!(parse_object_within(br#"{"a":{"b":{}}}"#, 2).is_err());
        assert!(parse_object_within(b"{}", 0).is_err() && parse_object_within(b"{}", 1).is_ok());
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in [&b""[..], b"{", b"{}{}", b"{\"a\":\xff}", b"\"\xff\"", b"NaN", deep.as_bytes()] {
            assert!(parse(text).is_err());
        }
        assert!(parse_object(b"[1]").is_err());
        assert!(parse_object(b"{} {}").is_err() && parse_object(b"{}x").is_err());
        assert!(parse_object(b"null").is_err());
    }
}
