//! A good token opens the way, and the backend learns who is calling.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_gate_tests::{Answer, Listener, Request, Seen, forge, http2};
use serde_json::{Value, json};

use crate::{app, envoy, provider, with};

pub(crate) fn listeners() -> Vec<Listener> {
    let mapped = with(
        provider(),
        json!({
            "claim_to_headers": [
                {"header_name": "x-user-id", "claim_name": "sub", "required": true},
                {"header_name": "x-deep", "claim_name": "user.profile.id"},
                {"header_name": "x-roles", "claim_name": "roles"},
                {"header_name": "x-value", "claim_name": "value"},
                {"header_name": "x-tenant", "claim_name": "https://example.com/tenant"},
                {"header_name": "x-tenant-again", "claim_name": "https://example.com/tenant"},
            ],
            "forward_payload_header": "",
        }),
    );
    let forwarding = with(provider(), json!({"forward": true}));
    vec![
        Listener::gated("claims", with(app(), json!({"providers": {"app": mapped}}))),
        Listener::gated("forwarding", with(app(), json!({"providers": {"app": forwarding}}))),
    ]
}

/// The headers of a request that the backend sees and no client of this test sent.
fn added(seen: &Seen) -> Vec<(String, String)> {
    let envoys_own = ["host", "x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms"];
    let mut fields: Vec<_> = seen
        .headers
        .iter()
        .map(|(name, value)| (jwt_gate_tests::latin1(name), jwt_gate_tests::latin1(value)))
        .filter(|(name, _)| !envoys_own.contains(&name.as_str()))
        .collect();
    fields.sort();
    fields
}

fn expected(token: &str) -> Vec<(String, String)> {
    let payload = token.split('.').nth(1).unwrap_or_default();
    [
        ("x-jwt-payload", payload),
        ("x-user-email", "ada@example.com"),
        ("x-user-id", "user_1"),
        ("x-user-plan", "pro"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn ada() -> String {
    forge::token("user_1", json!({"email": "ada@example.com", "account": {"plan": "pro"}}))
}

#[test]
fn a_bearer_token_becomes_exactly_the_configured_headers_and_does_not_reach_the_backend() {
    let token = ada();
    for (answer, protocol) in [
        (Request::get("/api/me").bearer(&token).send(envoy().port("app")), "HTTP/1.1 both"),
        (http2::send(&Request::get("/api/me").bearer(&token), envoy().port("app")), "HTTP/2 down"),
        (Request::get("/api/me").bearer(&token).send(envoy().port("app-h2")), "HTTP/2 up"),
        (http2::send(&Request::get("/api/me").bearer(&token), envoy().port("app-h2")), "HTTP/2 both"),
    ] {
        let seen = answer.reached();
        assert_eq!(added(&seen), expected(&token), "{protocol}");
        assert!(!seen.holds(token.as_bytes()), "{protocol}");
    }
}

#[test]
fn a_cookie_token_becomes_the_same_headers_and_leaves_no_trace() {
    let token = ada();
    for (protocol, answer) in [
        (
            "HTTP/1.1",
            Request::get("/api/me").header("cookie", format!("session={token}")).send(envoy().port("app")),
        ),
        (
            "HTTP/2",
            http2::send(
                &Request::get("/api/me").header("cookie", format!("session={token}")),
                envoy().port("app-h2"),
            ),
        ),
    ] {
        let seen = answer.reached();
        assert_eq!(added(&seen), expected(&token), "{protocol}");
    }
}

#[test]
fn with_forward_the_token_stays_on_the_request() {
    let token = ada();
    let seen = Request::get("/api/me").bearer(&token).send(envoy().port("forwarding")).reached();
    assert_eq!(seen.one("authorization"), Some(format!("Bearer {token}")));
    let cookie = format!("a=1; session={token}; b=2");
    let seen = Request::get("/api/me").header("cookie", &cookie).send(envoy().port("forwarding")).reached();
    assert_eq!(seen.one("cookie"), Some(cookie));
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
}

#[test]
fn the_forwarded_payload_is_the_base64url_of_the_claims_as_they_were_signed() {
    let token = ada();
    let seen = Request::get("/api/me").bearer(&token).send(envoy().port("app")).reached();
    let payload = URL_SAFE_NO_PAD.decode(seen.one("x-jwt-payload").unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["sub"], "user_1");
    assert_eq!(claims["account"]["plan"], "pro");
}

fn with_value(value: Value) -> Answer {
    Request::get("/api/me")
        .bearer(forge::token("user_1", json!({"value": value})))
        .send(envoy().port("claims"))
}

#[test]
fn nested_claims_arrays_numbers_booleans_and_objects_become_header_values() {
    let token = forge::token(
        "user_1",
        json!({
            "user": {"profile": {"id": 42}},
            "roles": ["admin", "ops"],
            "https://example.com/tenant": "acme",
        }),
    );
    let seen = Request::get("/api/me").bearer(token).send(envoy().port("claims")).reached();
    assert_eq!(seen.one("x-deep").as_deref(), Some("42"));
    assert_eq!(seen.one("x-roles").as_deref(), Some("admin,ops"));
    assert_eq!(seen.one("x-tenant").as_deref(), Some("acme"));
    assert_eq!(seen.one("x-tenant-again").as_deref(), Some("acme"));
    assert!(seen.all("x-value").is_empty());

    for (value, header) in [
        (json!(true), "true"),
        (json!(false), "false"),
        (json!(7), "7"),
        (json!(-7.5), "-7.5"),
        (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
        (json!([1, "two", true]), "1,two,true"),
        (json!("with, comma; and \"quotes\""), "with, comma; and \"quotes\""),
    ] {
        assert_eq!(with_value(value.clone()).reached().one("x-value").as_deref(), Some(header), "{value}");
    }
}

#[test]
fn a_claim_in_unicode_reaches_the_backend_as_utf8() {
    let seen = with_value(json!("Zoë Ω")).reached();
    assert_eq!(seen.one("x-value").as_deref(), Some(jwt_gate_tests::latin1("Zoë Ω".as_bytes()).as_str()));
}

#[test]
fn a_claim_that_cannot_be_a_header_value_is_refused_never_truncated_or_split() {
    for value in ["a\r\nx-user-id: root", "a\nb", "a\rb", "nul\0", "\u{7f}", "bell\u{7}", "tab\tis fine?"] {
        let answer = with_value(json!(value));
        if value.contains('\t') && answer.status == 200 {
            // RFC 9110 §5.5 allows a tab inside a value.
            assert_eq!(answer.reached().one("x-value").as_deref(), Some(value));
            continue;
        }
        answer.assert_denied(401, "claim");
    }
    with_value(json!("x".repeat(4097))).assert_denied(401, "claim");
    with_value(json!(["x".repeat(3000), "y".repeat(3000)])).assert_denied(401, "claim");
    with_value(json!(["a\r\nb"])).assert_denied(401, "claim");
    // It would arrive as another whole number.
    with_value(json!(9_007_199_254_740_991.0)).assert_denied(401, "claim");
    assert_eq!(
        with_value(json!("x".repeat(4096))).reached().one("x-value").map(|value| value.len()),
        Some(4096)
    );
}

#[test]
fn an_absent_required_claim_is_refused_and_an_absent_optional_one_is_no_header() {
    for absent in [json!({"sub": null}), json!({"sub": null, "subject": "user_1"})] {
        let token = forge::token("user_1", absent);
        Request::get("/api/me").bearer(token).send(envoy().port("app")).assert_denied(401, "claim");
    }
    let seen =
        Request::get("/api/me").bearer(forge::token("user_1", json!({}))).send(envoy().port("app")).reached();
    assert!(seen.all("x-user-email").is_empty());
    assert!(seen.all("x-user-plan").is_empty());
}

#[test]
fn an_optional_path_serves_the_anonymous_without_identity_and_the_known_with_it() {
    let port = envoy().port("app");
    let seen = Request::get("/optional/feed").header("x-user-id", "root").send(port).reached();
    assert!(seen.read_as("x-user-id").is_empty());
    let seen = Request::get("/optional/feed").bearer(ada()).send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
    Request::get("/optional/feed").bearer("not.a.token").send(port).assert_denied(401, "malformed");
}

#[test]
fn a_verified_caller_without_the_claim_that_a_rule_asks_for_is_forbidden() {
    let port = envoy().port("app");
    Request::get("/admin/").bearer(ada()).send(port).assert_denied(403, "forbidden");
    Request::get("/admin/").send(port).assert_denied(401, "missing_token");
    for role in [json!("admin"), json!(["user", "admin"])] {
        let token = forge::token("root_1", json!({"role": role}));
        let seen = Request::get("/admin/").bearer(token).send(port).reached();
        assert_eq!(seen.one("x-user-id").as_deref(), Some("root_1"));
    }
    for role in [json!("administrator"), json!(["a"]), json!({"admin": true}), json!(true)] {
        let token = forge::token("root_1", json!({"role": role}));
        Request::get("/admin/").bearer(token).send(port).assert_denied(403, "forbidden");
    }
}

#[test]
fn no_token_is_answered_with_a_bare_challenge() {
    for path in ["/api/me", "/api/", "/api/x?access_token=a"] {
        Request::get(path).send(envoy().port("app")).assert_denied(401, "missing_token");
        http2::send(&Request::get(path), envoy().port("app")).assert_denied(401, "missing_token");
    }
}

#[test]
fn a_path_without_a_rule_is_denied_with_and_without_a_token() {
    let port = envoy().port("app");
    for path in ["/", "/other", "/publicity", "/public/", "/API/me", "/api"] {
        Request::get(path).bearer(ada()).send(port).assert_denied(403, "no_rule");
        Request::get(path).send(port).assert_denied(403, "no_rule");
    }
}
