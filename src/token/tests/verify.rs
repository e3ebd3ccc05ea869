//! What `verify` accepts and, mostly, what it does not.

#![expect(clippy::unwrap_used, clippy::string_slice, clippy::panic_in_result_fn, reason = "tests")]

use jwt_gate_token::{
    Claim, Encoding, Expectations, Keyring, MAX_TOKEN_BYTES, Refusal, Secret, base64url_encode, issue, verify,
};
use jwt_simple::algorithms::{HS256Key, HS384Key, HS512Key, MACLike};
use serde_json::{Value, json};

const NOW: f64 = 1_700_000_000.0;
const OURS: &str = "ours-0123456789abcdef0123456789abcdef";
const OLDER: &str = "older-123456789abcdef0123456789abcdef";
const THEIRS: &str = "theirs-23456789abcdef0123456789abcdef";

fn secret(text: &str) -> Secret {
    Secret::from_utf8(text).unwrap()
}

fn keyring() -> Keyring {
    Keyring::new([secret(OURS), secret(OLDER)]).unwrap()
}

/// A token of these very bytes, signed with our secret.
fn signed_bytes(header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", base64url_encode(header), base64url_encode(payload));
    let tag = HS256Key::from_bytes(OURS.as_bytes()).authentication_tag(signed.as_bytes());
    format!("{signed}.{}", base64url_encode(&tag))
}

fn signed(header: Value, payload: Value) -> String {
    signed_bytes(header.to_string().as_bytes(), payload.to_string().as_bytes())
}

fn good_payload() -> Value {
    json!({"sub": "user_1", "exp": 1_700_000_600, "iat": 1_700_000_000})
}

fn with_header(header: Value) -> Result<(), Refusal> {
    check(&signed(header, good_payload()))
}

fn with_claims(claims: Value) -> Result<(), Refusal> {
    judged(claims, &Expectations::default())
}

/// How a token of `claims` fares: read in place where it can be, and with a claim beside them that takes a parser; alike.
fn judged(mut claims: Value, expectations: &Expectations) -> Result<(), Refusal> {
    for claim in claims.as_object_mut().unwrap().values_mut() {
        // As they are written: `1700000000`, not `1700000000.0`.
        if let Some(date) = claim.as_f64().filter(|date| date.fract() == 0.0 && date.abs() < 1e15) {
            *claim = serde_json::from_str(&format!("{date:.0}")).unwrap();
        }
    }
    let outcome = |claims: &Value| {
        let token = signed(json!({"alg": "HS256"}), claims.clone());
        verify(&token, &keyring(), expectations, NOW).map(drop)
    };
    let in_place = outcome(&claims);
    claims.as_object_mut().unwrap().insert("_".to_owned(), json!([]));
    assert_eq!(in_place, outcome(&claims), "{claims}");
    in_place
}

fn check(token: &str) -> Result<(), Refusal> {
    verify(token, &keyring(), &Expectations::default(), NOW).map(drop)
}

#[test]
fn rfc_7515_appendix_a_1_verifies_while_it_lives() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0d\
                 HA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let keyring = Keyring::new([Secret::from_encoded(key, Encoding::Base64Url).unwrap()]).unwrap();
    let expect = Expectations { issuer: Some("joe".into()), ..Expectations::default() };

    let claims = verify(token, &keyring, &expect, 1_300_819_379.0).unwrap();
    assert_eq!(claims.get("http://example.com/is_root").map(Claim::to_value), Some(json!(true)));
    assert_eq!(verify(token, &keyring, &expect, 1_300_819_440.0).unwrap_err(), Refusal::Expired);
}

#[test]
fn what_we_issue_verifies_and_names_its_key() {
    let keyring = keyring();
    let claims = json!({"sub": "user_1", "exp": NOW + 1.0, "n": [1, {"a": null}]});
    let token = issue(&keyring, claims.as_object().unwrap()).unwrap();
    let verified = verify(&token, &keyring, &Expectations::default(), NOW).unwrap();
    assert_eq!(Value::Object(verified.members()), claims);
    assert_eq!(verified.kid(), secret(OURS).kid());
    assert_eq!(serde_json::from_str::<Value>(verified.payload()).unwrap(), claims);
}

#[test]
fn flipping_any_bit_of_a_token_makes_it_refused() {
    let token = signed(json!({"alg": "HS256", "typ": "JWT"}), good_payload());
    assert_eq!(check(&token), Ok(()));
    for position in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[position] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(check(&changed).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn no_algorithm_but_hs256_is_accepted_whatever_the_signature() {
    for alg in ["none", "None", "hs256", "HS384", "HS512", "RS256", "ES256", "", "HS256 "] {
        assert_eq!(with_header(json!({"alg": alg})), Err(Refusal::Algorithm), "{alg}");
    }
    for header in [json!({}), json!({"alg": null}), json!({"alg": ["HS256"]}), json!({"alg": {"HS256": 1}})] {
        assert_eq!(with_header(header.clone()), Err(Refusal::Malformed), "{header}");
    }
    // Signed well by another algorithm with our very secret.
    let claims = || jwt_simple::claims::Claims::create(jwt_simple::prelude::Duration::from_days(3_650));
    for token in [
        HS384Key::from_bytes(OURS.as_bytes()).authenticate(claims()).unwrap(),
        HS512Key::from_bytes(OURS.as_bytes()).authenticate(claims()).unwrap(),
    ] {
        assert_eq!(check(&token), Err(Refusal::Algorithm));
    }
}

#[test]
fn a_header_that_asks_for_an_extension_is_refused() {
    for header in [
        json!({"alg": "HS256", "crit": ["exp"], "exp": 1}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "b64": false, "crit": ["b64"]}),
        json!({"alg": "HS256", "b64": true}),
        json!({"alg": "HS256", "zip": "DEF"}),
        json!({"alg": "HS256", "kid": 1}),
        json!({"alg": "HS256", "kid": null}),
    ] {
        assert_eq!(with_header(header.clone()), Err(Refusal::Malformed), "{header}");
    }
    // Whose signature it is, is not known yet: what it takes to read a header that is no good is bounded.
    assert_eq!(with_header(json!({"alg": "HS256", "x": [[[]]]})), Ok(()));
    assert_eq!(with_header(json!({"alg": "HS256", "x": [[[[]]]]})), Err(Refusal::Malformed));
    // Members that say where a key is to be had are ignored: no key comes from a token.
    let header =
        json!({"alg": "HS256", "typ": "at+jwt", "jwk": {"kty": "oct", "k": "AA"}, "jku": "https://x/"});
    assert_eq!(with_header(header), Ok(()));
}

#[test]
fn another_number_of_segments_is_malformed() {
    let good = signed(json!({"alg": "HS256"}), good_payload());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let jwe = format!("{good}.{signature}.{signature}");
    for token in ["", ".", "..", "...", "a", unsigned, &jwe, &format!("{good}."), &format!(".{good}")] {
        assert_eq!(check(token), Err(Refusal::Malformed), "{token}");
    }
    assert_eq!(check(&format!("{unsigned}.")), Err(Refusal::BadSignature));
}

#[test]
fn what_is_no_utf_8_is_judged_like_any_other_text() {
    let good = signed(json!({"alg": "HS256"}), good_payload());
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let outcome =
        |parts: [&[u8]; 3]| verify(parts.join(&b'.'), &keyring(), &Expectations::default(), NOW).map(drop);
    let [header, payload, signature] = [header, payload, signature].map(str::as_bytes);
    assert_eq!(outcome([header, payload, signature]), Ok(()));
    assert_eq!(outcome([b"\xff", payload, signature]), Err(Refusal::Malformed));
    assert_eq!(outcome([header, b"\xff", signature]), Err(Refusal::BadSignature));
    assert_eq!(outcome([header, payload, &[0xff; 43]]), Err(Refusal::Malformed));
    assert_eq!(outcome([header, payload, b"\xff"]), Err(Refusal::Malformed));
    assert_eq!(outcome([&[0xff; 17_000], payload, signature]), Err(Refusal::TooLarge));
}

#[test]
fn base64url_that_is_not_canonical_is_malformed() {
    let good = signed(json!({"alg": "HS256"}), good_payload());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    // 32 bytes make 43 characters: the last one carries two bits that must be zero.
    let (head, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    for unused in 1..4 {
        let other = &alphabet[index + unused..=index + unused];
        assert_eq!(check(&format!("{unsigned}.{head}{other}")), Err(Refusal::Malformed));
    }
    for token in [format!("{good}="), format!("{good} "), format!(" {good}"), good.replacen('.', "=.", 1)] {
        assert_eq!(check(&token), Err(Refusal::Malformed), "{token}");
    }
}

#[test]
fn a_signature_of_another_length_is_refused() {
    let good = signed(json!({"alg": "HS256"}), good_payload());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let tag = jwt_gate_token::base64url_decode(signature.as_bytes()).unwrap();
    for length in [0, 1, 16, 31, 33, 48, 64] {
        let mut other = tag.clone();
        other.resize(length, 0);
        let token = format!("{unsigned}.{}", base64url_encode(&other));
        assert_eq!(check(&token), Err(Refusal::BadSignature), "{length}");
    }
}

#[test]
fn header_and_payload_must_be_json_objects_in_utf_8() {
    let header = br#"{"alg":"HS256"}"#;
    let payload = good_payload().to_string();
    for bad in [&b""[..], b"null", b"[]", b"1", b"\"x\"", b"{", b"{}x", b"\xff\xfe", b"{\"a\":\"\xff\"}"] {
        assert_eq!(check(&signed_bytes(header, bad)), Err(Refusal::Malformed), "payload {bad:?}");
        assert_eq!(check(&signed_bytes(bad, payload.as_bytes())), Err(Refusal::Malformed), "header {bad:?}");
    }
    let twice = format!(r#"{{"exp":{},"exp":{}}}"#, NOW - 600.0, NOW + 600.0);
    assert_eq!(check(&signed_bytes(header, twice.as_bytes())), Err(Refusal::Malformed));
    let twice = format!(r#"{{"sub":"a","exp":{0},"sub":"a"}}"#, NOW + 600.0);
    assert_eq!(check(&signed_bytes(header, twice.as_bytes())), Err(Refusal::Malformed));
    let twice = br#"{"alg":"none","alg":"HS256"}"#;
    assert_eq!(check(&signed_bytes(twice, payload.as_bytes())), Err(Refusal::Malformed));
}

#[test]
fn times_are_numeric_dates_with_fractions_and_the_skew_counts_both_ways() {
    assert_eq!(with_claims(json!({"exp": NOW - 59.5})), Ok(()));
    assert_eq!(with_claims(json!({"exp": NOW - 60.0})), Err(Refusal::Expired));
    assert_eq!(with_claims(json!({"exp": NOW + 9.0, "nbf": NOW + 60.0})), Ok(()));
    assert_eq!(with_claims(json!({"exp": NOW + 99.0, "nbf": NOW + 60.5})), Err(Refusal::NotYetValid));
    assert_eq!(with_claims(json!({"exp": NOW + 99.0, "iat": NOW + 60.5})), Err(Refusal::NotYetValid));
    assert_eq!(with_claims(json!({"exp": -1})), Err(Refusal::Expired));
    assert_eq!(with_claims(json!({"exp": 1e300})), Ok(()));
    for bad in [json!("1700000600"), json!(null), json!(true), json!([1]), json!({})] {
        for name in ["exp", "nbf", "iat"] {
            let mut claims = good_payload();
            claims[name] = bad.clone();
            assert_eq!(with_claims(claims), Err(Refusal::Malformed), "{name}: {bad}");
        }
    }
}

#[test]
fn a_token_that_does_not_expire_needs_permission() {
    let token = signed(json!({"alg": "HS256"}), json!({"sub": "a"}));
    assert_eq!(check(&token), Err(Refusal::Lifetime));
    let lenient = Expectations { require_expiration: false, ..Expectations::default() };
    assert!(verify(&token, &keyring(), &lenient, NOW).is_ok());
    let bounded = Expectations { max_lifetime_seconds: 60, ..lenient };
    assert_eq!(verify(&token, &keyring(), &bounded, NOW).unwrap_err(), Refusal::Lifetime);
}

#[test]
fn the_longest_life_is_counted_from_iat_which_must_be_there() {
    let expect = Expectations { max_lifetime_seconds: 600, ..Expectations::default() };
    let life = |claims: Value| judged(claims, &expect);
    assert_eq!(life(json!({"iat": NOW, "exp": NOW + 600.0})), Ok(()));
    assert_eq!(life(json!({"iat": NOW - 1.0, "exp": NOW + 600.0})), Err(Refusal::Lifetime));
    assert_eq!(life(json!({"iat": NOW + 5.0, "exp": NOW + 605.0})), Err(Refusal::Lifetime));
    assert_eq!(life(json!({"exp": NOW + 1.0})), Err(Refusal::Lifetime));
    assert_eq!(life(json!({"exp": NOW + 601.0})), Err(Refusal::Lifetime));
}

#[test]
fn issuer_and_audience_are_exact() {
    let expect = Expectations {
        issuer: Some("jwt-gate".into()),
        audiences: vec!["api".into(), "web".into()],
        ..Expectations::default()
    };
    let with = |iss: Value, aud: Value| judged(json!({"exp": NOW + 9.0, "iss": iss, "aud": aud}), &expect);
    assert_eq!(with(json!("jwt-gate"), json!("web")), Ok(()));
    assert_eq!(with(json!("jwt-gate"), json!(["x", "api"])), Ok(()));
    for issuer in [json!("jwt-gate/"), json!("JWT-GATE"), json!("")] {
        assert_eq!(with(issuer, json!("web")), Err(Refusal::Issuer));
    }
    for audience in [json!([]), json!("ap"), json!("API"), json!(["x"])] {
        assert_eq!(with(json!("jwt-gate"), audience), Err(Refusal::Audience));
    }
    for audience in [json!(1), json!([1, "api"]), json!({"api": true}), json!(null)] {
        assert_eq!(with(json!("jwt-gate"), audience), Err(Refusal::Malformed));
    }
}

#[test]
fn issuer_subject_and_id_are_strings() {
    for name in ["iss", "sub", "jti"] {
        for value in [json!(7), json!(null), json!(["a", "b"]), json!({}), json!(true)] {
            let mut claims = good_payload();
            claims[name] = value.clone();
            assert_eq!(with_claims(claims), Err(Refusal::Malformed), "{name}: {value}");
        }
    }
}

#[test]
fn a_token_for_the_internal_audience_is_nobody_elses() {
    let internal = json!({"exp": NOW + 9.0, "aud": ["api", "jwt-gate/internal"]});
    let token = signed(json!({"alg": "HS256"}), internal);
    assert_eq!(check(&token), Err(Refusal::Audience));
    let api = Expectations { audiences: vec!["api".into()], ..Expectations::default() };
    assert_eq!(verify(&token, &keyring(), &api, NOW).unwrap_err(), Refusal::Audience);
    let asked = Expectations { audiences: vec!["jwt-gate/internal".into()], ..Expectations::default() };
    assert!(verify(&token, &keyring(), &asked, NOW).is_ok());
}

#[test]
fn kid_chooses_where_it_is_known_and_is_a_hint_where_it_is_not() {
    let sign = |text: &str, kid: Option<&str>| {
        let mut header = json!({"alg": "HS256"});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        let signed = format!(
            "{}.{}",
            base64url_encode(header.to_string().as_bytes()),
            base64url_encode(good_payload().to_string().as_bytes())
        );
        let tag = HS256Key::from_bytes(text.as_bytes()).authentication_tag(signed.as_bytes());
        format!("{signed}.{}", base64url_encode(&tag))
    };
    let (ours, older) = (secret(OURS), secret(OLDER));
    assert_eq!(check(&sign(OLDER, None)), Ok(()));
    assert_eq!(check(&sign(OLDER, Some(older.kid()))), Ok(()));
    assert_eq!(check(&sign(OLDER, Some("elsewhere"))), Ok(()));
    assert_eq!(check(&sign(OLDER, Some(ours.kid()))), Err(Refusal::BadSignature));
    assert_eq!(check(&sign(THEIRS, None)), Err(Refusal::BadSignature));
    assert_eq!(check(&sign(THEIRS, Some(ours.kid()))), Err(Refusal::BadSignature));
    assert_eq!(check(&sign(THEIRS, Some(secret(THEIRS).kid()))), Err(Refusal::UnknownKey));
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let token = signed(json!({"alg": "HS256"}), json!({"exp": NOW + 9.0, "x": "y".repeat(MAX_TOKEN_BYTES)}));
    assert_eq!(check(&token), Err(Refusal::TooLarge));
}
