//! What the fuzz targets share: tokens, and a way to write requests that a fuzzer finds quickly.
//!
//! A fuzzer cannot guess an HMAC. So single bytes of an input stand for whole tokens ([`expand`]): with them
//! mutations get past the signature and into everything behind it.

use std::sync::OnceLock;

use jwt_gate_token::{Keyring, Secret, issue};
use serde_json::{Value, json};

#[path = "../../src/gate/tests/oracle/readings.rs"]
#[allow(dead_code, reason = "the targets use more of it")]
mod readings;

/// The time at which every target lives.
pub const NOW: f64 = 1_700_000_000.0;

/// The secret of the gates under test.
pub const SECRET: &str = "fuzz-0123456789-abcdefghij-ABCDEFGHIJ";

/// A secret that they do not know.
pub const OTHER_SECRET: &str = "other-0123456789-abcdefghij-ABCDEFGHIJ";

/// A token that some byte of an input stands for.
pub struct Planted {
    /// The byte.
    pub byte: u8,
    /// Its subject.
    pub subject: &'static str,
    /// Whether the gates accept it.
    pub good: bool,
    /// The token.
    pub token: String,
}

/// A keyring of one secret.
pub fn keyring(secret: &str) -> Keyring {
    Keyring::new([Secret::from_utf8(secret).expect("a secret")]).expect("a keyring")
}

/// A token of `claims`, signed with `secret`.
pub fn sign(secret: &str, claims: &Value) -> String {
    issue(&keyring(secret), claims.as_object().expect("an object")).expect("a token")
}

/// The tokens that inputs can hold.
pub fn planted() -> &'static [Planted] {
    static PLANTED: OnceLock<Vec<Planted>> = OnceLock::new();
    PLANTED.get_or_init(|| {
        let plant = |byte, subject, good, secret, more: Value| {
            let mut claims = json!({"sub": subject, "exp": 1_700_000_600, "iat": 1_699_999_999, "jti": subject});
            let members = claims.as_object_mut().expect("an object");
            members.extend(more.as_object().cloned().unwrap_or_default());
            Planted { byte, subject, good, token: sign(secret, &claims) }
        };
        vec![
            plant(1, "one", true, SECRET, json!({})),
            plant(2, "two", true, SECRET, json!({"role": "admin", "app": {"roles": ["a", "b"]}})),
            plant(3, "expired", false, SECRET, json!({"exp": 1_699_999_400})),
            plant(4, "foreign", false, OTHER_SECRET, json!({})),
            plant(5, "spl\r\nit", false, SECRET, json!({})),
        ]
    })
}

/// `input` with the bytes that stand for tokens replaced by them.
pub fn expand(input: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(input.len());
    for byte in input {
        match planted().iter().find(|planted| planted.byte == *byte) {
            Some(planted) => expanded.extend_from_slice(planted.token.as_bytes()),
            None => expanded.push(*byte),
        }
    }
    expanded
}

/// Headers, one a line, names and values parted by the first `: `.
pub fn headers(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let lines = input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            // A pseudo-header's name starts with the colon.
            let colon = line.iter().skip(1).position(|byte| *byte == b':').map(|at| at + 1);
            let (name, value) = line.split_at(colon.unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            (String::from_utf8_lossy(name).into_owned(), value.to_vec())
        })
        .collect()
}

/// Whether `text` holds `part`.
pub fn holds(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// `text` with every escape decoded, once.
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    readings::percent_decoded(text)
}
