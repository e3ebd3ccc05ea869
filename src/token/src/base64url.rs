//! base64url without padding, canonical only (RFC 7515 §2, RFC 4648 §3.5).

use jwt_simple::reexports::ct_codecs::{Base64UrlSafeNoPadding, Encoder};

/// What is not in the alphabet.
const NONE: u8 = 0xff;

/// The greatest value of six bits.
const MAX_BITS: u8 = 0x3f;

/// The six bits that each character stands for (RFC 4648 §5).
const BITS: [u8; 256] = bits();

const fn bits() -> [u8; 256] {
    let mut bits = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut value = 0;
    #[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "while compiling")]
    while value < 64 {
        bits[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    bits
}

/// Decodes `text`, or `None` where it is not the one canonical encoding of some bytes: padding, white
/// space, a character outside the alphabet, an impossible length, or trailing bits that are not zero.
///
/// Refusing the non-canonical forms matters: with them, many spellings would name one token, and a
/// revoked or cached token could come back under another spelling.
///
/// By table, where ct-codecs takes care to take the same time whatever it decodes: nothing that is decoded here on a
/// request is secret, the caller sent it.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks();
    let mut decoded = Vec::with_capacity(groups.len().saturating_add(1));
    // The bits of all characters, looked at once, at the end.
    let mut seen = 0;
    decoded.extend(groups.iter().map(|group| {
        let (bytes, bits) = three_bytes(*group);
        seen |= bits;
        bytes
    }));
    let mut decoded = decoded.into_flattened();
    match *rest {
        [] => {}
        [a, b] => decoded.push(one_byte(a, b)?),
        [a, b, c] => decoded.extend(two_bytes(a, b, c)?),
        _ => return None,
    }
    (seen <= MAX_BITS).then_some(decoded)
}

/// The same of 43 characters, which are 32 bytes: an HS256 signature (RFC 7518 §3.2). It needs no memory of its own.
pub(crate) fn decode_signature(text: &[u8; 43]) -> Option<[u8; 32]> {
    let (groups, rest) = text.as_chunks();
    let [a, b, c] = *rest else { return None };
    let mut decoded = [0; 32];
    let mut seen = 0;
    let (places, last) = decoded.as_chunks_mut();
    for (place, group) in places.iter_mut().zip(groups) {
        let (bytes, bits) = three_bytes(*group);
        seen |= bits;
        *place = bytes;
    }
    last.copy_from_slice(&two_bytes(a, b, c)?);
    (seen <= MAX_BITS).then_some(decoded)
}

/// What stands at the end for one byte.
fn one_byte(a: u8, b: u8) -> Option<u8> {
    match three_bytes([a, b, b'A', b'A']) {
        ([byte, 0, 0], ..=MAX_BITS) => Some(byte),
        _ => None,
    }
}

/// What stands at the end for two bytes.
fn two_bytes(a: u8, b: u8, c: u8) -> Option<[u8; 2]> {
    match three_bytes([a, b, c, b'A']) {
        ([one, other, 0], ..=MAX_BITS) => Some([one, other]),
        _ => None,
    }
}

/// What four characters stand for, and the bits of all of them: more than [`MAX_BITS`] where one is not in the alphabet.
fn three_bytes(group: [u8; 4]) -> ([u8; 3], u8) {
    let [a, b, c, d] = group.map(|character| BITS.get(usize::from(character)).copied().unwrap_or(NONE));
    let six = u32::from;
    let [_, bytes @ ..] = (six(a) << 18 | six(b) << 12 | six(c) << 6 | six(d)).to_be_bytes();
    (bytes, a | b | c | d)
}

/// Encodes `bytes` without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    // Fails only where the length of the output overflows usize, which a slice in memory cannot reach.
    Base64UrlSafeNoPadding::encode_to_string(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_simple::reexports::ct_codecs::Decoder;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(decode(b"YQ").as_deref(), Some(&b"a"[..]));
        // The same byte with each other value of the four unused bits.
        for last in b"RSTUVWXYZabcdef" {
            assert_eq!(decode(&[b'Y', *last]), None, "Y{}", *last as char);
        }
        for bad in ["YQ==", "YQ=", "Y", "YWJjZ", " YQ", "YQ\n", "Y+", "Y/", "Y.Q", "YQ\0", "ÿ"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn no_other_character_is_let_through_in_any_place() {
        for length in 1..=9 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'A'; length];
                    text[place] = byte;
                    let expected = Base64UrlSafeNoPadding::decode_to_vec(&text, None).ok();
                    assert_eq!(decode(&text), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_signature_is_decoded_as_everything_else_is() {
        let tag: [u8; 32] = std::array::from_fn(|place| (place as u8).wrapping_mul(83));
        let text: [u8; 43] = encode(&tag).into_bytes().try_into().unwrap();
        assert_eq!(decode_signature(&text), Some(tag));
        for place in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut text = text;
                text[place] = byte;
                assert_eq!(decode_signature(&text).map(Vec::from), decode(&text), "{place} {byte}");
            }
        }
    }

    #[test]
    fn encoding_then_decoding_gives_the_bytes_back() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
