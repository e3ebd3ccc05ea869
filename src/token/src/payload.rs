//! A payload and the claims in it: read in place where they are plain, else parsed.

use serde_json::{Map, Value};

use crate::json;
use crate::plain::{self, Member, Plain};
use crate::refusal::Refusal;
use crate::scan::{head, same};

/// A payload and what stands in it.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    text: String,
    members: Members,
}

#[derive(Debug, Clone)]
enum Members {
    /// Where they stand in the payload.
    InPlace(Vec<Member>),
    /// What it took a parser to read.
    Parsed(Map<String, Value>),
}

/// The value of a claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Claim<'claims> {
    /// A string.
    Text(&'claims str),
    /// A whole number of at most fifteen digits, which every reader of JSON takes for the same one.
    Whole(u64),
    /// Any other value, other numbers among them.
    Other(&'claims Value),
}

// === impl Payload ===

impl Payload {
    /// The claims that `payload` holds.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] where it is not one JSON object in UTF-8 whose objects name each member once.
    pub(crate) fn read(payload: Vec<u8>) -> Result<Self, Refusal> {
        let text = String::from_utf8(payload).map_err(|_| Refusal::Malformed)?;
        let members = match plain::members(&text) {
            Some(members) => Members::InPlace(members),
            None => Members::Parsed(json::parse_object(text.as_bytes()).map_err(|_| Refusal::Malformed)?),
        };
        Ok(Self { text, members })
    }

    /// Calls `visit` with each of them.
    pub(crate) fn for_each<'claims>(&'claims self, mut visit: impl FnMut(&'claims str, Claim<'claims>)) {
        match &self.members {
            Members::Parsed(members) => {
                members.iter().for_each(|(name, value)| visit(name, Claim::from(value)));
            }
            Members::InPlace(members) => members.iter().for_each(|member| {
                if let Some((name, value)) = self.name(member).zip(self.value(member)) {
                    visit(name, value);
                }
            }),
        }
    }

    /// Its JSON text, byte for byte as it was signed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The claim at `path`: see [`lookup`].
    pub(crate) fn at(&self, path: &str) -> Option<Claim<'_>> {
        match &self.members {
            Members::Parsed(members) => lookup(members, path).map(Claim::from),
            // None of them is an object that dots could descend into.
            Members::InPlace(_) => self.get(path),
        }
    }

    /// The claim of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Claim<'_>> {
        match &self.members {
            Members::Parsed(members) => members.get(name).map(Claim::from),
            Members::InPlace(members) => {
                let head = head(name.as_bytes());
                let is_it = |member: &&Member| {
                    member.head == head
                        && self.name(member).is_some_and(|known| same(known.as_bytes(), name.as_bytes()))
                };
                self.value(members.iter().find(is_it)?)
            }
        }
    }

    fn name(&self, member: &Member) -> Option<&str> {
        self.text.get(member.name.clone())
    }

    fn value(&self, member: &Member) -> Option<Claim<'_>> {
        Some(match &member.value {
            Plain::Text(place) => Claim::Text(self.text.get(place.clone())?),
            Plain::Whole(number) => Claim::Whole(*number),
            Plain::Constant(value) => Claim::Other(value),
        })
    }
}

// === impl Claim ===

impl<'claims> From<&'claims Value> for Claim<'claims> {
    fn from(value: &'claims Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            other => match other.as_u64() {
                Some(number @ ..=plain::MAX_WHOLE) => Self::Whole(number),
                _ => Self::Other(other),
            },
        }
    }
}

impl<'claims> Claim<'claims> {
    /// The string, where it is one.
    #[must_use]
    pub fn as_str(self) -> Option<&'claims str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is one.
    #[must_use]
    pub fn as_f64(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "fifteen digits at most")]
        match self {
            Self::Whole(number) => Some(number as f64),
            Self::Other(value) => value.as_f64(),
            Self::Text(_) => None,
        }
    }

    /// The value as a parser gives it.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Whole(number) => number.into(),
            Self::Other(value) => value.clone(),
        }
    }
}

/// The claim at `path`: a claim of that very name, dots and all, where there is one (as with
/// `https://example.com/role`), else dots descend into objects (`user.id`).
#[must_use]
pub fn lookup<'claims>(claims: &'claims Map<String, Value>, path: &str) -> Option<&'claims Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use serde_json::json;
    use std::cell::Cell;

    /// Objects that are plain or nearly so.
    fn object() -> impl Strategy<Value = String> {
        let one_of = |parts: &'static [&'static str]| (0..parts.len()).prop_map(move |at| parts[at]);
        let part = |good, bad| prop_oneof![16 => one_of(good), 1 => one_of(bad)];
        let blank = move || part(&["", "", "", " ", "\t", "\r\n"], &["\u{a0}", "\0"]);
        let name = part(
            &[
                "\"a\"", "\"b\"", "\"sub\"", "\"exp\"", "\"é\"", "\"\"", "\"a.b\"", "\"a b\"", "\"ü\"",
                "\"iat\"",
            ],
            &["\"\\u0061\"", "a", "\"sub"],
        );
        let value = part(
            &[
                "\"x\"",
                "\"\"",
                "\"ü€😀\"",
                "\"\u{7f}\"",
                "0",
                "7",
                "999999999999999",
                "true",
                "false",
                "null",
            ],
            &[
                "\"\t\"",
                "\"\\n\"",
                "\"\\\"",
                "1000000000000000",
                "00",
                "-1",
                "-0",
                "1.5",
                "1.",
                "1e2",
                "+1",
                "nul",
                "True",
                "[]",
                "[1]",
                "{}",
                "{\"a\":1}",
                "\"x\" \"y\"",
                "",
            ],
        );
        let member = (blank(), name, blank(), blank(), value, blank())
            .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
        let tail = part(&["", " ", "\n"], &["x", "}", ",", "\0"]);
        (vec(member, 0..6), tail).prop_map(|(members, tail)| format!("{{{}}}{tail}", members.join(",")))
    }

    #[test]
    fn what_is_read_in_place_is_what_a_parser_reads() {
        let (in_place, several) = (Cell::new(0_u32), Cell::new(0_u32));
        let cases = 20_000;
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let change = proptest::option::weighted(0.25, (any::<prop::sample::Index>(), any::<u8>()));
        let outcome = runner.run(&(object(), change), |(text, change)| {
            let mut payload = text.into_bytes();
            if let Some((at, byte)) = change {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            let parsed = json::parse_object(&payload).ok();
            let read = Payload::read(payload).ok();
            if let Some(Members::InPlace(members)) = read.as_ref().map(|payload| &payload.members) {
                in_place.set(in_place.get().saturating_add(1));
                several.set(several.get().saturating_add(u32::from(members.len() > 2)));
            }
            let members = read.as_ref().map(|payload| {
                let mut members = Map::new();
                payload.for_each(|name, claim| {
                    assert_eq!(payload.get(name), Some(claim));
                    assert!(members.insert(name.to_owned(), claim.to_value()).is_none());
                });
                members
            });
            prop_assert_eq!(members, parsed);
            Ok(())
        });
        outcome.unwrap();
        assert!(in_place.get() > cases / 10 && several.get() > cases / 50, "{in_place:?} {several:?}");
    }

    #[test]
    fn what_our_tokens_hold_is_read_in_place() {
        let payload = r#" {"sub": "user_1", "iat":1700000000,"exp":1700604800, "email":"zoë@example.com","staff":true,"x":null} "#;
        let claims = Payload::read(payload.into()).unwrap();
        assert!(matches!(&claims.members, Members::InPlace(members) if members.len() == 6));
        assert_eq!(claims.get("email"), Some(Claim::Text("zoë@example.com")));
        assert_eq!(claims.get("iat").and_then(Claim::as_f64), Some(1_700_000_000.0));
        assert_eq!(claims.get("x"), Some(Claim::Other(&Value::Null)));
        assert_eq!(claims.get("staff").and_then(Claim::as_f64), None);
        assert_eq!(claims.get("nope"), None);
        assert_eq!(claims.at("sub.x"), None);
        let parsed = Payload::read(br#"{"iat":1700000000,"x":[]}"#.to_vec()).unwrap();
        assert!(matches!(parsed.members, Members::Parsed(_)));
        assert_eq!(
            parsed.get("iat"),
            Some(Claim::Whole(1_700_000_000)),
            "the same, whatever stands beside it"
        );
    }

    #[test]
    fn dots_descend_and_a_literal_name_comes_first() {
        let claims = json!({"sub": "a", "user": {"id": 7, "a": {"b": null}}, "x.y": 1, "x": {"y": 2}});
        let claims = claims.as_object().unwrap();
        assert_eq!(lookup(claims, "sub"), Some(&json!("a")));
        assert_eq!(lookup(claims, "user.id"), Some(&json!(7)));
        assert_eq!(lookup(claims, "user.a.b"), Some(&json!(null)));
        assert_eq!(lookup(claims, "x.y"), Some(&json!(1)));
        for absent in ["", ".", "user.", "user.x", "sub.x", "user.id.x", ".user", "nope"] {
            assert_eq!(lookup(claims, absent), None, "{absent}");
        }
    }
}
