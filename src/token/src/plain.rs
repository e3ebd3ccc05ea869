//! Claims that need no parser: one object of 1 to 32 members, whose names and strings have no escapes, and whose other
//! values are whole numbers, `true`, `false` and `null`.
//!
//! The payloads of our companion's tokens are that, and those of many others. They are read in place, without memory
//! for each name and value. Whatever else stands in a payload, [`crate::json`] reads all of it; so this module must
//! only never take what that would refuse or read otherwise.

use std::ops::Range;

use serde_json::Value;

use crate::scan::{end_of_plain_string, head};

/// The most members that are compared with each other.
const MAX_MEMBERS: usize = 32;

/// The most digits of a number: so many that every reader takes it for the same one (2^53 has sixteen).
const MAX_DIGITS: u32 = 15;

/// The greatest number of so many digits.
pub(crate) const MAX_WHOLE: u64 = 10_u64.pow(MAX_DIGITS).saturating_sub(1);

static TRUE: Value = Value::Bool(true);
static FALSE: Value = Value::Bool(false);
static NULL: Value = Value::Null;

/// A member of the object; places are bytes of the text.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Range<usize>,
    /// What the name begins with: see [`head`].
    pub(crate) head: u64,
    pub(crate) value: Plain,
}

/// Its value.
#[derive(Debug, Clone)]
pub(crate) enum Plain {
    /// The string that stands there.
    Text(Range<usize>),
    /// A whole number.
    Whole(u64),
    /// `true`, `false` or `null`.
    Constant(&'static Value),
}

/// The members of the object that `text` is; `None` where it takes a parser to tell.
pub(crate) fn members(text: &str) -> Option<Vec<Member>> {
    let mut scanner = Scanner { length: text.len(), rest: text.as_bytes() };
    let mut members: Vec<Member> = Vec::with_capacity(8);
    scanner.expect(b'{')?;
    loop {
        scanner.expect(b'"')?;
        let name = scanner.string()?;
        let bytes = text.as_bytes().get(name.clone())?;
        let head = head(bytes);
        let is_known =
            |member: &Member| member.head == head && text.as_bytes().get(member.name.clone()) == Some(bytes);
        if members.len() >= MAX_MEMBERS || members.iter().any(is_known) {
            return None;
        }
        scanner.expect(b':')?;
        let value = scanner.value()?;
        members.push(Member { name, head, value });
        match scanner.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scanner.skip_blanks();
    scanner.rest.is_empty().then_some(members)
}

struct Scanner<'text> {
    /// Of the whole text.
    length: usize,
    rest: &'text [u8],
}

impl Scanner<'_> {
    /// White space of RFC 8259 §2.
    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.skip_blanks();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// The string whose first quote was taken.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.length.checked_sub(self.rest.len())?;
        let length = end_of_plain_string(self.rest)?;
        let (_, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        // Anything but its end takes a parser.
        let [b'"', rest @ ..] = self.rest else { return None };
        self.rest = rest;
        Some(start..start.checked_add(length)?)
    }

    /// A value. What follows a number is for the caller to look at: no fraction, exponent or further digit is the end of
    /// a member.
    fn value(&mut self) -> Option<Plain> {
        self.skip_blanks();
        let (value, rest) = match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                return self.string().map(Plain::Text);
            }
            [b'0', rest @ ..] => (Plain::Whole(0), rest),
            [b'1'..=b'9', ..] => return self.whole(),
            [b't', b'r', b'u', b'e', rest @ ..] => (Plain::Constant(&TRUE), rest),
            [b'f', b'a', b'l', b's', b'e', rest @ ..] => (Plain::Constant(&FALSE), rest),
            [b'n', b'u', b'l', b'l', rest @ ..] => (Plain::Constant(&NULL), rest),
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    fn whole(&mut self) -> Option<Plain> {
        let mut number = 0_u64;
        for _ in 0..MAX_DIGITS {
            let [digit @ b'0'..=b'9', rest @ ..] = self.rest else { break };
            number = number.checked_mul(10)?.checked_add(u64::from(digit & 0x0f))?;
            self.rest = rest;
        }
        Some(Plain::Whole(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_parser_is_left_to_one() {
        for text in [
            "",
            "{}",
            "[]",
            "{",
            r#"{"a"}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":01}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-1}"#,
            r#"{"a":0.0}"#,
            r#"{"a":1000000000000000}"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":nan}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"\u0061":1}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":\"\0\"}",
            r#"{"a":"x}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            "\u{feff}{\"a\":1}",
            "{\u{a0}\"a\":1}",
        ] {
            assert!(members(text).is_none(), "{text}");
        }
        let many = |count: u32| {
            format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(","))
        };
        assert!(members(&many(32)).is_some() && members(&many(33)).is_none());
    }
}
