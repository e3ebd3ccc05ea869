//! What holds for every secret and all claims.

#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests")]

use jwt_gate_token::{Expectations, Keyring, MIN_SECRET_BYTES, Secret, SecretError, issue, verify};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: i64 = 1_700_000_000;
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
const AT: f64 = NOW as f64;

/// Claims that say something of their own, so that any value of theirs may not do.
const REGISTERED: [&str; 7] = ["exp", "nbf", "iat", "iss", "sub", "jti", "aud"];

/// Any bytes that are long enough, but for those that everyone knows.
fn secret_bytes() -> impl Strategy<Value = Vec<u8>> {
    let is_known = |bytes: &Vec<u8>| matches!(Secret::from_bytes(bytes), Err(SecretError::Placeholder));
    vec(any::<u8>(), MIN_SECRET_BYTES..200).prop_filter("it is known", move |bytes| !is_known(bytes))
}

fn keyring(secrets: &[&[u8]]) -> Keyring {
    Keyring::new(secrets.iter().map(|bytes| Secret::from_bytes(bytes).unwrap())).unwrap()
}

/// Any JSON. Of fractions only those that every reader takes for the same number.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (any::<i32>(), 1_u8..8).prop_map(|(number, shift)| json!(f64::from(number) / f64::from(1 << shift))),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((any::<String>(), inner), 0..5).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Claims of any kind, whose registered ones are sound.
fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let audience =
        prop_oneof![any::<String>().prop_map(Value::from), vec(any::<String>(), 0..3).prop_map(Value::from)];
    let dates = (NOW + 1..NOW + 1_000_000_000, of(0..=NOW), of(0..=NOW));
    let texts = (of(any::<String>()), of(any::<String>()), of(any::<String>()));
    (vec((any::<String>(), value()), 0..6), dates, texts, of(audience)).prop_map(
        |(others, (exp, nbf, iat), (iss, sub, jti), aud)| {
            let mut claims: Map<String, Value> = Map::from_iter(others);
            let registered = [
                Some(json!(exp)),
                nbf.map(Value::from),
                iat.map(Value::from),
                iss.map(Value::from),
                sub.map(Value::from),
                jti.map(Value::from),
                aud,
            ];
            for (name, value) in REGISTERED.into_iter().zip(registered) {
                match value {
                    Some(value) => claims.insert(name.to_owned(), value),
                    None => claims.remove(name),
                };
            }
            claims
        },
    )
}

#[test]
fn random_bytes_are_a_secret_whatever_they_begin_with() {
    for first in 0..=u8::MAX {
        let bytes: Vec<u8> = (0..32_u8).map(|at| first.wrapping_add(at.wrapping_mul(37))).collect();
        assert!(Secret::from_bytes(&bytes).is_ok(), "{first}");
    }
    let bracketed = "<put 32 bytes of your own in here>";
    assert_eq!(Secret::from_utf8(bracketed).err(), Some(SecretError::Placeholder));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_issue_makes_verify_accepts_and_reads_as_it_was_written(secret in secret_bytes(), claims in claims()) {
        let keyring = keyring(&[&secret]);
        let token = issue(&keyring, &claims).unwrap();
        let verified = verify(&token, &keyring, &Expectations::default(), AT).unwrap();
        prop_assert_eq!(&verified.members(), &claims);
        prop_assert_eq!(verified.kid(), keyring.newest().kid());
        prop_assert_eq!(verified.subject(), claims.get("sub").and_then(Value::as_str));
    }

    #[test]
    fn a_secret_that_was_rotated_out_of_first_place_still_verifies_and_a_removed_one_does_not(
        old in secret_bytes(),
        new in secret_bytes(),
        claims in claims(),
    ) {
        prop_assume!(old != new);
        let token = issue(&keyring(&[&old]), &claims).unwrap();
        let expectations = Expectations::default();
        prop_assert!(verify(&token, &keyring(&[&new, &old]), &expectations, AT).is_ok());
        prop_assert!(verify(&token, &keyring(&[&new]), &expectations, AT).is_err());
    }

    #[test]
    fn a_good_token_is_refused_from_its_end_on(secret in secret_bytes(), claims in claims()) {
        let keyring = keyring(&[&secret]);
        let token = issue(&keyring, &claims).unwrap();
        let expectations = Expectations { clock_skew_seconds: 0, ..Expectations::default() };
        let end = claims["exp"].as_f64().unwrap();
        prop_assert!(verify(&token, &keyring, &expectations, end - 0.5).is_ok());
        prop_assert!(verify(&token, &keyring, &expectations, end).is_err());
    }
}

proptest! {
    // Each case goes through all bits of a token: some two thousand.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bit_of_any_token_flipped_makes_it_refused(secret in secret_bytes(), claims in claims()) {
        let keyring = keyring(&[&secret]);
        let token = issue(&keyring, &claims).unwrap().into_bytes();
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // With the eighth bit it is no text any more, and no token for it.
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            prop_assert!(verify(&flipped, &keyring, &Expectations::default(), AT).is_err(), "bit {bit}");
        }
    }
}
