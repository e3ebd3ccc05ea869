//! One shared secret.

use std::fmt;

use jwt_simple::algorithms::{HS256Key, MACLike};
use jwt_simple::reexports::ct_codecs;

use crate::base64url;
use crate::mac::{self, Mac, Tag};

/// The least length of a secret: the output size of HMAC-SHA-256 (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// What is signed with a secret to derive its `kid`. Changing it changes every `kid`.
const KID_LABEL: &[u8] = b"jwt-gate kid v1";

/// How many bytes of that signature make the `kid`: 96 bits, 16 characters.
const KID_BYTES: usize = 12;

/// A secret for HS256, with the `kid` derived from it.
///
/// It has no `Debug` and no way to read its bytes back; they are zeroed when it is dropped.
pub struct Secret {
    key: HS256Key,
    mac: Mac,
    kid: String,
}

/// How a secret is written in configuration or environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// The text's own bytes: how Better Auth, PyJWT and jose take `BETTER_AUTH_SECRET`.
    #[default]
    Utf8,
    /// base64url without padding, as in a JWK's `k`.
    Base64Url,
    /// Hexadecimal, upper or lower case.
    Hex,
}

/// Why a text is no secret. The message never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// Shorter than [`MIN_SECRET_BYTES`]; the length in bytes.
    TooShort(usize),
    /// A value that documentation and examples use; everyone knows it.
    Placeholder,
    /// Not in the encoding that was named.
    Encoding(Encoding),
}

// === impl Secret ===

impl Secret {
    /// A secret from its bytes.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] or [`SecretError::Placeholder`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort(bytes.len()));
        }
        if is_placeholder(bytes) {
            return Err(SecretError::Placeholder);
        }
        let key = HS256Key::from_bytes(bytes);
        let tag = key.authentication_tag(KID_LABEL);
        let kid = base64url::encode(tag.get(..KID_BYTES).unwrap_or(&tag));
        Ok(Self { mac: Mac::new(bytes), key, kid })
    }

    /// A secret whose bytes are those of `text`. White space around it, such as the line break at the end of a file, is no part of it.
    ///
    /// # Errors
    /// As [`Secret::from_bytes`].
    pub fn from_utf8(text: &str) -> Result<Self, SecretError> {
        Self::from_bytes(text.trim().as_bytes())
    }

    /// A secret written in `encoding`.
    ///
    /// # Errors
    /// As [`Secret::from_bytes`], or [`SecretError::Encoding`].
    pub fn from_encoded(text: &str, encoding: Encoding) -> Result<Self, SecretError> {
        let wrong = SecretError::Encoding(encoding);
        let text = text.trim();
        match encoding {
            Encoding::Utf8 => Self::from_utf8(text),
            Encoding::Base64Url => Self::from_bytes(&base64url::decode(text.as_bytes()).ok_or(wrong)?),
            Encoding::Hex => {
                use ct_codecs::Decoder;
                Self::from_bytes(&ct_codecs::Hex::decode_to_vec(text, None).map_err(|_| wrong)?)
            }
        }
    }

    /// The key id that both programs derive from this secret: 16 characters of base64url.
    ///
    /// It is a truncated HMAC of a fixed label, so it tells two secrets apart without telling anything
    /// that helps to find one, and may be printed.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether `signature` is this secret's HMAC-SHA-256 of `signed` (RFC 7515 §5.2), in constant time.
    #[must_use]
    pub(crate) fn made(&self, signed: &[u8], signature: &Tag) -> bool {
        mac::same_in_constant_time(&self.mac.tag(signed), signature)
    }

    pub(crate) fn key(&self) -> &HS256Key {
        &self.key
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // The key zeroes itself.
        self.mac.forget();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.key.key().as_ref(), other.key.key().as_ref());
        ours.len() == theirs.len() && ct_codecs::verify(ours, theirs)
    }
}

impl Eq for Secret {}

/// Values seen in documentation, tutorials and `.env.example` files.
const PLACEHOLDERS: &[&str] = &[
    "better-auth-secret-",
    "change-me",
    "change_me",
    "changeme",
    "change this",
    "change-this",
    "replace-me",
    "replace_me",
    "replace-with",
    "replace_with",
    "your-secret",
    "your_secret",
    "your-super-secret",
    "your-256-bit-secret",
    "a-string-secret-at-least-256-bits-long",
    "super-secret-",
    "supersecret",
    "insert-your",
    "placeholder",
    "example-secret",
];

fn is_placeholder(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    // `<your secret>`; of keys that are random bytes, one of 256 starts like that.
    let is_bracketed = bytes.starts_with(b"<") && bytes.is_ascii();
    is_bracketed
        || PLACEHOLDERS.iter().any(|known| lower.starts_with(known.as_bytes()))
        || bytes.iter().zip(bytes.iter().skip(1)).all(|(one, next)| one == next)
}

// === impl SecretError ===

impl fmt::Display for SecretError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(0) => formatter.write_str("is empty; make one with `jwt-gate-auth secret`"),
            Self::TooShort(length) => write!(
                formatter,
                "is {length} bytes long, at least {MIN_SECRET_BYTES} are needed; make one with `jwt-gate-auth secret`"
            ),
            Self::Placeholder => formatter
                .write_str("is a placeholder that everyone knows; make one with `jwt-gate-auth secret`"),
            Self::Encoding(encoding) => write!(formatter, "is not {encoding}"),
        }
    }
}

impl std::error::Error for SecretError {}

// === impl Encoding ===

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Utf8 => "utf8",
            Self::Base64Url => "base64url without padding",
            Self::Hex => "hex",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_secret_under_32_bytes_is_refused_and_its_length_named() {
        assert_eq!(Secret::from_utf8(TEXT.trim_start_matches("0")).err(), Some(SecretError::TooShort(31)));
        assert_eq!(Secret::from_utf8("").err(), Some(SecretError::TooShort(0)));
        assert!(Secret::from_utf8(TEXT).is_ok());
    }

    #[test]
    fn a_known_placeholder_is_refused() {
        for known in [
            "better-auth-secret-12345678901234567890",
            "your-256-bit-secret-your-256-bit-secret",
            "CHANGEME-CHANGEME-CHANGEME-CHANGEME",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(Secret::from_utf8(known).err(), Some(SecretError::Placeholder), "{known}");
        }
    }

    #[test]
    fn the_same_bytes_in_any_encoding_are_the_same_secret_and_kid() {
        let utf8 = Secret::from_utf8(TEXT).unwrap();
        let b64 = Secret::from_encoded(&base64url::encode(TEXT.as_bytes()), Encoding::Base64Url).unwrap();
        let hex: String = TEXT.bytes().map(|b| format!("{b:02X}")).collect();
        let hex = Secret::from_encoded(&hex, Encoding::Hex).unwrap();
        assert!(utf8 == b64 && utf8 == hex);
        assert_eq!(utf8.kid(), hex.kid());
        assert_eq!(utf8.kid().len(), 16);
    }

    #[test]
    fn other_bytes_are_another_secret_and_kid() {
        let one = Secret::from_utf8(TEXT).unwrap();
        let two = Secret::from_utf8("1123456789abcdef0123456789abcdef").unwrap();
        let longer = Secret::from_utf8("0123456789abcdef0123456789abcdef0").unwrap();
        assert!(one != two && one != longer);
        assert_ne!(one.kid(), two.kid());
    }

    #[test]
    fn a_text_that_is_not_in_the_named_encoding_is_refused() {
        for (text, encoding) in [("zz", Encoding::Hex), ("a", Encoding::Hex), ("YQ==", Encoding::Base64Url)] {
            assert_eq!(Secret::from_encoded(text, encoding).err(), Some(SecretError::Encoding(encoding)));
        }
    }

    #[test]
    fn the_messages_say_the_way_out_and_not_the_secret() {
        let message = SecretError::TooShort(5).to_string();
        assert!(message.contains("5 bytes") && message.contains("jwt-gate-auth secret"));
    }
}
