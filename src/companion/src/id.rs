//! Identifiers.

use uuid::Uuid;

/// A user's id: a UUIDv7 (RFC 9562 §5.7), so that new rows sit together in an index.
pub fn new_user_id() -> String {
    Uuid::now_v7().hyphenated().to_string()
}

/// A token's `jti`, which is its session's id too: a UUIDv7 as 32 hexadecimal digits, 74 bits of it random.
pub fn new_session_id() -> String {
    Uuid::now_v7().simple().to_string()
}

/// An id for a request that came without one.
pub fn new_request_id() -> String {
    Uuid::now_v7().hyphenated().to_string()
}

/// 122 random bits, for names that must never repeat.
pub fn random_tag() -> String {
    Uuid::new_v4().simple().to_string()
}
