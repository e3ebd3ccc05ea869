//! base64url without padding, canonical only (RFC 7515 §2, RFC 4648 §3.5).

use jwt_simple::reexports::ct_codecs::{Base64UrlSafeNoPadding, Decoder, Encoder};

/// Decodes `text`, or `None` where it is not the one canonical encoding of some bytes: padding, white
/// space, a character outside the alphabet, an impossible length, or trailing bits that are not zero.
///
/// Refusing the non-canonical forms matters: with them, many spellings would name one token, and a
/// revoked or cached token could come back under another spelling.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    Base64UrlSafeNoPadding::decode_to_vec(text, None).ok()
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
    fn encoding_then_decoding_gives_the_bytes_back() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
