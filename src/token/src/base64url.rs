//! base64url without padding, canonical only (RFC 7515 §2, RFC 4648 §3.5).

use jwt_simple::reexports::ct_codecs::{Base64UrlSafeNoPadding, Encoder};

/// What is not in the alphabet.
const NONE: u8 = 0xff;

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
    let mut bytes = Vec::with_capacity(text.len());
    let six = |character: u8| BITS.get(usize::from(character)).map_or(u32::MAX, |bits| u32::from(*bits));
    let mut groups = text.chunks_exact(4);
    for group in groups.by_ref() {
        let [a, b, c, d] = *group.first_chunk()?;
        let [a, b, c, d] = [six(a), six(b), six(c), six(d)];
        if (a | b | c | d) > 0x3f {
            return None;
        }
        let [_, rest @ ..] = (a << 18 | b << 12 | c << 6 | d).to_be_bytes();
        bytes.extend_from_slice(&rest);
    }
    let (a, b, c, length) = match *groups.remainder() {
        [] => return Some(bytes),
        [a, b] => (six(a), six(b), 0, 1),
        [a, b, c] => (six(a), six(b), six(c), 2),
        _ => return None,
    };
    if (a | b | c) > 0x3f {
        return None;
    }
    let [_, rest @ ..] = (a << 18 | b << 12 | c << 6).to_be_bytes();
    let (last, unused) = rest.split_at_checked(length)?;
    if unused.iter().any(|byte| *byte != 0) {
        return None;
    }
    bytes.extend_from_slice(last);
    Some(bytes)
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
    fn encoding_then_decoding_gives_the_bytes_back() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
