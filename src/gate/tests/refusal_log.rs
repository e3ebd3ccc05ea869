//! The log says why tokens are refused that look good, at a bounded rate.

#![expect(clippy::unwrap_used, reason = "tests")]

use jwt_gate::config;
use jwt_gate_token::{Keyring, Secret, issue};
use serde_json::{Value, json};
use support::{Gate, request_of};

mod support;

const NOW: f64 = 1_700_000_000.0;
const APP: &str = "app-0123456789abcdef0123456789abcdef";
const OTHER: &str = "other-0123456789abcdef0123456789abcdef";

fn gate() -> Gate {
    let config = json!({
        "providers": {
            "app": {"issuer": "us", "audiences": ["api"], "secrets": [{"inline": APP}]},
            "ops": {"issuer": "ops", "secrets": [{"inline": APP}]},
        },
        "rules": [
            {"match": {"path": "/any"}, "requires": {"requires_any": [{"provider_name": "app"}, {"provider_name": "ops"}]}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "app"}},
        ],
    });
    Gate::new(config::read(config.to_string().as_bytes()).unwrap(), &|_| None).unwrap()
}

fn token(secret: &str, claims: Value) -> String {
    let mut claims = claims.as_object().unwrap().clone();
    claims.insert("exp".to_owned(), json!(NOW + 600.0));
    issue(&Keyring::new([Secret::from_utf8(secret).unwrap()]).unwrap(), &claims).unwrap()
}

fn log(gate: &Gate, path: &str, token: &str, now: f64) -> Option<String> {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = vec![
        header(":method", "GET"),
        header(":path", path),
        header("authorization", &format!("Bearer {token}")),
    ];
    gate.decide(&request_of(&headers), now).log
}

#[test]
fn a_line_names_what_the_token_has_and_what_is_expected() {
    let kid = |secret: &str| Secret::from_utf8(secret).unwrap().kid().to_owned();
    let issuer = token(APP, json!({"iss": "them", "aud": "api"}));
    let audience = token(APP, json!({"iss": "us", "aud": ["web", "app"]}));
    let key = token(OTHER, json!({"iss": "us", "aud": "api"}));
    for (token, expected) in [
        (
            issuer,
            "provider app refused a token (issuer): its iss is \"them\", and `issuer` is \"us\"".to_owned(),
        ),
        (audience, "(audience): its aud is \"web\" and 1 more, and `audiences` is \"api\"".to_owned()),
        (key, format!("(unknown_key): its kid is \"{}\", and the secrets have kid {}", kid(OTHER), kid(APP))),
    ] {
        let line = log(&gate(), "/", &token, NOW).unwrap();
        assert!(line.contains(&expected), "{line}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!line.contains(signature) && !line.contains(APP) && !line.contains('\n'));
    }
}

#[test]
fn a_client_can_cause_one_line_of_a_kind_in_ten_seconds() {
    let gate = gate();
    let issuer = token(APP, json!({"iss": "them", "aud": "api"}));
    let key = token(OTHER, json!({"iss": "us", "aud": "api"}));
    assert!(log(&gate, "/", &issuer, NOW).is_some());
    for second in 0..10 {
        assert_eq!(log(&gate, "/", &issuer, NOW + f64::from(second)), None);
    }
    assert!(log(&gate, "/", &key, NOW + 1.0).is_some(), "another kind has its own line");
    assert!(log(&gate, "/", &issuer, NOW + 10.0).is_some());
    assert!(log(&gate, "/", &issuer, NOW - 100.0).is_some(), "a clock that was set back silences nothing");
}

#[test]
fn a_token_that_another_provider_accepts_and_an_expired_one_are_no_line() {
    let gate = gate();
    assert_eq!(log(&gate, "/any", &token(APP, json!({"iss": "ops"})), NOW), None);
    let good = token(APP, json!({"iss": "us", "aud": "api"}));
    assert_eq!(log(&gate, "/", &good, NOW), None);
    assert_eq!(log(&gate, "/", &good, NOW + 10_000.0), None);
}
