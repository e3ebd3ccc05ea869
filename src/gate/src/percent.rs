//! Percent-encoding (RFC 3986 §2.1).

use std::borrow::Cow;

/// `text` with its escapes decoded, once; what is no escape stays as it is.
pub(crate) fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.split_first_chunk::<2>().filter(|_| *byte == b'%');
        let escaped = digits.and_then(|(digits, tail)| Some((hexadecimal(*digits)?, tail)));
        let (byte, tail) = escaped.unwrap_or((*byte, tail));
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// `text` with everything escaped but unreserved characters (RFC 3986 §2.3) and those in `also`.
pub(crate) fn percent_encoded(text: &[u8], also: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble & 0xf)).copied().unwrap_or(b'0'));
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || also.as_bytes().contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(*byte)]);
        }
    }
    encoded
}

/// What two hexadecimal digits stand for.
pub(crate) fn hexadecimal(digits: [u8; 2]) -> Option<u8> {
    let text =
        std::str::from_utf8(&digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}
