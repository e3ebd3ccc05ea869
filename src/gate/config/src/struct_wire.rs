//! `google.protobuf.Struct` in protobuf's wire format
//! (<https://protobuf.dev/programming-guides/encoding/>, `google/protobuf/struct.proto`).
//!
//! Written out here because it is forty lines over three messages; a protobuf library would be a good part
//! of the filter's size and of the code that its readers must trust.

use serde_json::{Map, Number, Value};

/// How deep a configuration may nest, in messages: each mapping takes two, its `Struct` and its `Value`. Envoy's own loader
/// stops at 100 mappings.
const MAX_DEPTH: u8 = 202;

/// The value of a `Struct`. `None` where the bytes are not one, to the last byte; `Err` with the name of a
/// field that is there twice.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Value, String>> {
    let mut duplicate = None;
    let value = structure(bytes, MAX_DEPTH, &mut duplicate)?;
    Some(duplicate.map_or(Ok(value), Err))
}

enum Wire<'bytes> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'bytes [u8]),
}

/// `message Struct { map<string, Value> fields = 1; }`
fn structure(mut bytes: &[u8], depth: u8, duplicate: &mut Option<String>) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Map::new();
    while !bytes.is_empty() {
        let (1, Wire::Bytes(mut entry)) = field(&mut bytes)? else { return None };
        let (mut name, mut value) = (String::new(), Value::Null);
        while !entry.is_empty() {
            match field(&mut entry)? {
                (1, Wire::Bytes(text)) => name = std::str::from_utf8(text).ok()?.to_owned(),
                (2, Wire::Bytes(message)) => value = value_message(message, depth, duplicate)?,
                _ => return None,
            }
        }
        if members.insert(name.clone(), value).is_some() {
            duplicate.get_or_insert(name);
        }
    }
    Some(Value::Object(members))
}

/// `message Value { oneof kind { NullValue null_value = 1; double number_value = 2; string string_value = 3;
/// bool bool_value = 4; Struct struct_value = 5; ListValue list_value = 6; } }`
fn value_message(mut bytes: &[u8], depth: u8, duplicate: &mut Option<String>) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut value = Value::Null;
    while !bytes.is_empty() {
        value = match field(&mut bytes)? {
            (1, Wire::Varint(_)) => Value::Null,
            (2, Wire::Fixed64(bits)) => number(f64::from_le_bytes(bits))?,
            (3, Wire::Bytes(text)) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
            (4, Wire::Varint(flag)) => Value::Bool(flag != 0),
            (5, Wire::Bytes(message)) => structure(message, depth, duplicate)?,
            (6, Wire::Bytes(message)) => list(message, depth, duplicate)?,
            _ => return None,
        };
    }
    Some(value)
}

/// `message ListValue { repeated Value values = 1; }`
fn list(mut bytes: &[u8], depth: u8, duplicate: &mut Option<String>) -> Option<Value> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (1, Wire::Bytes(message)) = field(&mut bytes)? else { return None };
        items.push(value_message(message, depth, duplicate)?);
    }
    Some(Value::Array(items))
}

/// Every number in a Struct is a double; a whole one becomes an integer again, as it was written.
fn number(value: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Some(Value::Number(Number::from(value as i64)));
    }
    Number::from_f64(value).map(Value::Number)
}

/// Takes one field, its number and its value, off the front of `bytes`.
fn field<'bytes>(bytes: &mut &'bytes [u8]) -> Option<(u64, Wire<'bytes>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Wire::Varint(varint(bytes)?),
        1 => {
            let (fixed, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Wire::Fixed64(*fixed)
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Wire::Bytes(content)
        }
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64_u32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // What Envoy sends for {"a": 1, "b": ["x", true, null], "c": {"d": 2.5}}, taken from protobuf's encoder.
    const BYTES: &[u8] = b"\x0a\x0e\x0a\x01a\x12\x09\x11\x00\x00\x00\x00\x00\x00\xf0\x3f\
        \x0a\x12\x0a\x01b\x12\x0d\x32\x0b\x0a\x03\x1a\x01x\x0a\x02\x20\x01\x0a\x00\
        \x0a\x17\x0a\x01c\x12\x12\x2a\x10\x0a\x0e\x0a\x01d\x12\x09\x11\x00\x00\x00\x00\x00\x00\x04\x40";

    #[test]
    fn a_struct_is_read() {
        let value = decode(BYTES).unwrap().unwrap();
        assert_eq!(value, json!({"a": 1, "b": ["x", true, null], "c": {"d": 2.5}}));
    }

    #[test]
    fn a_field_that_is_there_twice_is_named() {
        let entry = &BYTES[..16];
        assert_eq!(decode(&[entry, entry].concat()), Some(Err("a".to_owned())));
    }

    #[test]
    fn no_prefix_and_no_changed_byte_makes_it_panic() {
        for end in 0..BYTES.len() {
            let _ = decode(&BYTES[..end]);
            for byte in 0..=255 {
                let mut changed = BYTES.to_vec();
                changed[end] = byte;
                let _ = decode(&changed);
            }
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut message = Vec::new();
        for _ in 0..60 {
            let mut outer = vec![0x2a, u8::try_from(message.len()).unwrap()];
            outer.append(&mut message);
            message =
                vec![0x0a, u8::try_from(outer.len() + 2).unwrap(), 0x12, u8::try_from(outer.len()).unwrap()];
            message.append(&mut outer);
            if message.len() > 120 {
                break;
            }
        }
        assert!(decode(&message).is_some());
        assert!(structure(&message, 5, &mut None).is_none());
    }
}
