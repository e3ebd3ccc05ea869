//! What `verify` accepts is signed with our secret, is in time, and loses that with any bit of it.
#![no_main]

use jwt_gate_fuzz::{NOW, SECRET, keyring};
use jwt_gate_token::{Expectations, Keyring, base64url_decode, base64url_encode, issue, verify};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

thread_local! {
    static KEYRING: Keyring = keyring(SECRET);
}

fuzz_target!(|input: &[u8]| {
    let Some((how, rest)) = input.split_first() else { return };
    KEYRING.with(|keyring| match how % 3 {
        0 => a_text(keyring, rest),
        1 => signed_segments(keyring, rest),
        _ => issued_claims(keyring, rest),
    });
});

/// Any bytes: they are nobody's token.
fn a_text(keyring: &Keyring, text: &[u8]) {
    assert!(verify(text, keyring, &Expectations::default(), NOW).is_err(), "nobody signed this");
}

/// A header and a payload of any bytes, rightly signed; the first two bytes choose a bit to flip.
fn signed_segments(keyring: &Keyring, input: &[u8]) {
    let Some(([low, high], rest)) = input.split_first_chunk::<2>() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let header = parts.next().unwrap_or_default();
    let payload = parts.next().unwrap_or_default();
    let token = seal(header, payload);
    let expectations = Expectations::default();
    let Ok(verified) = verify(&token, keyring, &expectations, NOW) else { return };
    // Read once more, by a parser that is not ours.
    let header: Value = serde_json::from_slice(header).expect("a header that was accepted is JSON");
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none());
    let claims: Value = serde_json::from_slice(payload).expect("a payload that was accepted is JSON");
    assert!(!is_exact(&claims) || claims.as_object() == Some(&verified.members()));
    let skew = f64::from(expectations.clock_skew_seconds);
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp + skew > NOW));
    let late = |name: &str| claims[name].as_f64().is_some_and(|date| date - skew > NOW);
    assert!(!late("nbf") && !late("iat"));
    assert_eq!(verified.payload().as_bytes(), payload);

    let mut flipped = token.into_bytes();
    let bit = usize::from(u16::from_le_bytes([*low, *high])) % (flipped.len() * 8);
    flipped[bit / 8] ^= 1 << (bit % 8);
    assert!(verify(&flipped, keyring, &expectations, NOW).is_err(), "bit {bit} does not count");
}

/// What is issued verifies, where it may at all.
fn issued_claims(keyring: &Keyring, input: &[u8]) {
    let Ok(Value::Object(mut claims)) = serde_json::from_slice(input) else { return };
    claims.retain(|_, value| is_exact(value));
    claims.insert("exp".into(), 1_700_000_600.into());
    for name in ["nbf", "iat", "iss", "sub", "jti", "aud"] {
        if !claims.get(name).is_none_or(Value::is_string) || ["nbf", "iat", "aud"].contains(&name) {
            claims.remove(name);
        }
    }
    let token = issue(keyring, &claims).expect("claims of any kind can be issued");
    match verify(&token, keyring, &Expectations::default(), NOW) {
        Ok(verified) => assert_eq!(verified.members(), claims),
        Err(refusal) => assert!(
            token.len() > jwt_gate_token::MAX_TOKEN_BYTES || deep(&Value::Object(claims.clone())),
            "{refusal} {claims:?}"
        ),
    }
}

/// Whether every number in it is an integer. serde_json reads other numbers to within the last bit.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}

/// Whether it nests deeper than anybody's claims.
fn deep(value: &Value) -> bool {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
            _ => 0,
        }
    }
    depth(value) > 100
}

/// A compact JWS of these very bytes.
fn seal(header: &[u8], payload: &[u8]) -> String {
    use jwt_simple::algorithms::{HS256Key, MACLike};
    let signed = format!("{}.{}", base64url_encode(header), base64url_encode(payload));
    let tag = HS256Key::from_bytes(SECRET.as_bytes()).authentication_tag(signed.as_bytes());
    let signature = base64url_encode(&tag);
    assert_eq!(base64url_decode(signature.as_bytes()).as_deref(), Some(&tag[..]));
    format!("{signed}.{signature}")
}
