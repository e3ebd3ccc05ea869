//! Issuers, audiences, subjects, secrets in every form, rotation and lifetimes.

use jwt_gate_tests::{Listener, Request, forge};
use serde_json::{Value, json};

use crate::{app, envoy, provider, with};

const NEW: &str = "new-0123456789-abcdefghij-ABCDEFGHIJ";
const OLD: &str = "old-0123456789-abcdefghij-ABCDEFGHIJ";

fn protecting(fields: Value) -> Value {
    with(app(), json!({"providers": {"app": with(provider(), fields)}}))
}

pub(crate) fn listeners() -> Vec<Listener> {
    let hex: String = NEW.bytes().map(|byte| format!("{byte:02x}")).collect();
    let jwks = json!({"keys": [
        {"kty": "oct", "alg": "HS256", "kid": "a", "k": forge::base64url(NEW)},
        {"kty": "oct", "kid": "b", "use": "sig", "k": forge::base64url(OLD)},
    ]});
    let one = |source: Value| protecting(json!({"secrets": [source]}));
    let mut jwks_provider = provider();
    jwks_provider.as_object_mut().expect("an object").remove("secrets");
    let jwks_provider = with(jwks_provider, json!({"local_jwks": {"inline_string": jwks.to_string()}}));
    vec![
        Listener::gated("issuer", protecting(json!({"issuer": "https://issuer.example"}))),
        Listener::gated("audience", protecting(json!({"audiences": ["api", "web"]}))),
        Listener::gated("subject-prefix", protecting(json!({"subjects": {"prefix": "user_"}}))),
        Listener::gated("subject-exact", protecting(json!({"subjects": {"exact": "user_1"}}))),
        Listener::gated("subject-suffix", protecting(json!({"subjects": {"suffix": "_1"}}))),
        Listener::gated("subject-regex", protecting(json!({"subjects": {"safe_regex": "user_[0-9]"}}))),
        Listener::gated("no-expiration", protecting(json!({"require_expiration": false}))),
        Listener::gated("lifetime", protecting(json!({"max_lifetime_seconds": 900}))),
        Listener::gated("no-skew", protecting(json!({"clock_skew_seconds": 0}))),
        Listener::gated("much-skew", protecting(json!({"clock_skew_seconds": 3600}))),
        Listener::gated("uncached", with(app(), json!({"cache": {"max_entries": 0}}))),
        Listener::gated(
            "one-remembered",
            with(app(), json!({"cache": {"max_entries": 1}, "stat_prefix": "e2e_one_remembered"})),
        ),
        Listener::gated("inline", one(json!({"inline": NEW}))),
        Listener::gated("inline-hex", one(json!({"inline": hex, "encoding": "hex"}))),
        Listener::gated(
            "inline-base64url",
            one(json!({"inline": forge::base64url(NEW), "encoding": "base64url"})),
        ),
        Listener::gated("jwks", with(app(), json!({"providers": {"app": jwks_provider}}))),
        Listener::gated("two-secrets", protecting(json!({"secrets": [{"inline": NEW}, {"inline": OLD}]}))),
        Listener::gated(
            "optional-secret",
            protecting(json!({"secrets": [
                {"env": "BETTER_AUTH_SECRETS", "optional": true}, {"env": "BETTER_AUTH_SECRET"},
            ]})),
        ),
    ]
}

fn outcome(listener: &str, token: &str) -> String {
    let answer = Request::get("/api/me").bearer(token).send(envoy().port(listener));
    if answer.seen().is_some() { "reached".to_owned() } else { answer.code() }
}

fn assert_outcomes(listener: &str, cases: &[(Value, &str)]) {
    for (more, expected) in cases {
        assert_eq!(outcome(listener, &forge::token("user_1", more.clone())), *expected, "{listener}: {more}");
    }
}

#[test]
fn the_issuer_is_compared_exactly() {
    assert_outcomes(
        "issuer",
        &[
            (json!({"iss": "https://issuer.example"}), "reached"),
            (json!({"iss": "https://issuer.example/"}), "issuer"),
            (json!({"iss": "HTTPS://ISSUER.EXAMPLE"}), "issuer"),
            (json!({"iss": ["https://issuer.example"]}), "malformed"),
            (json!({"iss": ""}), "issuer"),
            (json!({"iss": null}), "issuer"),
        ],
    );
}

#[test]
fn one_audience_of_either_side_is_enough() {
    assert_outcomes(
        "audience",
        &[
            (json!({"aud": "api"}), "reached"),
            (json!({"aud": ["other", "web"]}), "reached"),
            (json!({"aud": "API"}), "audience"),
            (json!({"aud": "api/"}), "audience"),
            (json!({"aud": []}), "audience"),
            (json!({"aud": "other"}), "audience"),
            (json!({}), "audience"),
        ],
    );
}

#[test]
fn the_subject_is_matched_in_each_of_the_four_ways() {
    for (listener, good, bad) in [
        ("subject-prefix", "user_9", "admin_9"),
        ("subject-exact", "user_1", "user_12"),
        ("subject-suffix", "x_1", "x_2"),
        ("subject-regex", "user_7", "user_77"),
    ] {
        assert_outcomes(
            listener,
            &[
                (json!({"sub": good}), "reached"),
                (json!({"sub": bad}), "subject"),
                (json!({"sub": null}), "subject"),
                (json!({"sub": 1}), "malformed"),
            ],
        );
    }
}

#[test]
fn lifetimes_and_clock_skew_are_as_configured() {
    let now = forge::now();
    assert_outcomes("no-expiration", &[(json!({"exp": null}), "reached"), (json!({"exp": 1}), "expired")]);
    assert_outcomes(
        "lifetime",
        &[
            (json!({"iat": now, "exp": now + 900}), "reached"),
            (json!({"iat": now, "exp": now + 901}), "lifetime"),
            (json!({"iat": now - 600, "exp": now + 301}), "lifetime"),
            (json!({"iat": null, "exp": now + 7200}), "lifetime"),
            (json!({"exp": null}), "lifetime"),
        ],
    );
    assert_outcomes("no-skew", &[(json!({"exp": now - 1}), "expired"), (json!({}), "reached")]);
    assert_outcomes(
        "much-skew",
        &[
            (json!({"exp": now - 3000}), "reached"),
            (json!({"nbf": now + 3000}), "reached"),
            (json!({"exp": now - 9000}), "expired"),
        ],
    );
}

#[test]
fn a_secret_is_the_same_in_every_form() {
    let header = r#"{"alg":"HS256"}"#;
    let claims = forge::claims("user_1", json!({})).to_string();
    for listener in ["inline", "inline-hex", "inline-base64url", "jwks", "two-secrets"] {
        assert_eq!(outcome(listener, &forge::sign(NEW, header, &claims)), "reached", "{listener}");
        let refused = outcome(listener, &forge::sign(forge::SECRET, header, &claims));
        assert_eq!(refused, "bad_signature", "{listener}");
    }
    assert_eq!(outcome("optional-secret", &forge::token("user_1", json!({}))), "reached");
}

#[test]
fn a_kid_chooses_among_secrets_where_it_is_known() {
    let claims = forge::claims("user_1", json!({})).to_string();
    let signed = |secret: &str, kid: &str| {
        forge::sign(secret, json!({"alg": "HS256", "kid": kid}).to_string(), &claims)
    };
    for (secret, kid, expected) in [
        (NEW, "a", "reached"),
        (OLD, "b", "reached"),
        (NEW, "b", "bad_signature"),
        (OLD, "a", "bad_signature"),
        (NEW, "unknown", "reached"),
        (OLD, "unknown", "reached"),
        (forge::OTHER_SECRET, "unknown", "unknown_key"),
        (forge::OTHER_SECRET, "a", "bad_signature"),
    ] {
        assert_eq!(outcome("jwks", &signed(secret, kid)), expected, "{kid}");
    }
    for secret in [NEW, OLD] {
        let derived = jwt_gate_token::Secret::from_utf8(secret).expect("a secret").kid().to_owned();
        assert_eq!(outcome("two-secrets", &signed(secret, &derived)), "reached");
        assert_eq!(
            outcome("two-secrets", &forge::token_of(secret, &forge::claims("user_1", json!({})))),
            "reached"
        );
    }
}

#[test]
fn with_the_cache_off_or_on_the_verdict_is_the_same() {
    let good = forge::token("user_1", json!({}));
    let bad = forge::token_of(forge::OTHER_SECRET, &forge::claims("user_1", json!({})));
    for listener in ["uncached", "app"] {
        for _ in 0..5 {
            assert_eq!(outcome(listener, &good), "reached");
            assert_eq!(outcome(listener, &bad), "bad_signature");
            // A cached token is no pass for the rule of another path.
            Request::get("/admin/")
                .bearer(&good)
                .send(envoy().port(listener))
                .assert_denied(403, "forbidden");
        }
    }
}

#[test]
fn a_full_cache_remembers_whoever_comes_again_and_forgets_nobody_for_one_who_came_once() {
    let (one, other) = (forge::token("user_1", json!({})), forge::token("user_2", json!({})));
    for (number, token) in [&one, &one, &other, &one, &other, &other, &one].into_iter().enumerate() {
        assert_eq!(outcome("one-remembered", token), "reached", "{number}");
    }
    let counted =
        |name: &str, least| envoy().admin().counter_from(&format!("e2e_one_remembered.cache.{name}"), least);
    // Remembered: the second `one`, the third, which `other` did not push out, and the third `other`.
    assert_eq!((counted("hit", 3), counted("miss", 4)), (3, 4));
}
