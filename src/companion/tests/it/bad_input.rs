use serde_json::json;

use crate::companion::{Companion, call};

#[test]
fn every_wrong_field_is_named() {
    let companion = Companion::start(&[]);
    let answer =
        companion.post("/api/auth/signup", &[], &json!({"email": "x", "password": "short", "name": 7}));
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert_eq!((&body["code"], &body["status"]), (&json!("invalid_fields"), &json!(422)));
    let named: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|error| (&error["field"], &error["code"])).collect();
    assert_eq!(
        named,
        [
            (&json!("email"), &json!("invalid")),
            (&json!("password"), &json!("too_short")),
            (&json!("name"), &json!("type")),
        ]
    );
}

#[test]
fn each_kind_of_bad_request_has_its_status_and_code() {
    let companion = Companion::start(&[]);
    let json_type = ("content-type", "application/json");
    let long = format!("{{\"email\": \"{}\"}}", "x".repeat(17_000));
    for (path, headers, body, status, code) in [
        ("/api/auth/signup", vec![json_type], "{", 400, "malformed_json"),
        ("/api/auth/signup", vec![json_type], "", 400, "malformed_json"),
        ("/api/auth/signup", vec![json_type], r#"{"email":"a","email":"b"}"#, 400, "malformed_json"),
        ("/api/auth/signup", vec![json_type], "[]", 422, "invalid_fields"),
        ("/api/auth/signup", vec![], "{}", 415, "unsupported_media_type"),
        ("/api/auth/signup", vec![("content-type", "text/plain")], "{}", 415, "unsupported_media_type"),
        ("/api/auth/signup", vec![json_type], &long, 413, "too_large"),
        ("/api/auth/signin", vec![json_type], "{}", 422, "invalid_fields"),
        ("/api/auth/verify", vec![json_type], r#"{"token": 1}"#, 422, "invalid_fields"),
        ("/api/auth/verify", vec![], "", 401, "missing_token"),
        ("/api/auth/me", vec![], "", 405, "method_not_allowed"),
        ("/api/auth/nothing", vec![json_type], "{}", 404, "not_found"),
    ] {
        let answer = companion.post_text(path, &headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path} {headers:?} {answer:?}");
    }
}

#[test]
fn a_token_that_is_not_good_is_refused_with_the_gates_codes() {
    let companion = Companion::start(&[]);
    for (token, code) in [
        ("x".to_owned(), "malformed"),
        (crate::commands::mint(&["--sub", "a", "--lifetime-seconds", "-120"]), "expired"),
        (crate::commands::mint(&["--sub", "a", "--issuer", "else"]), "issuer"),
        (crate::commands::mint(&["--sub", "nobody"]), "subject"),
    ] {
        let answer = companion.get("/api/auth/me", &[("authorization", &format!("Bearer {token}"))]);
        assert_eq!((answer.status, answer.code().as_str()), (401, code));
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer realm="jwt-gate", error="invalid_token""#)
        );
    }
    let none = companion.get("/api/auth/me", &[]);
    assert_eq!((none.status, none.code().as_str()), (401, "missing_token"));
    assert_eq!(none.header("www-authenticate"), Some(r#"Bearer realm="jwt-gate""#));
    let two = companion.get("/api/auth/me", &[("cookie", "jwt-gate=a; jwt-gate=b")]);
    assert_eq!((two.status, two.code().as_str()), (401, "ambiguous"));
}

#[test]
fn the_private_calls_are_not_on_the_public_port() {
    let companion = Companion::start(&[]);
    for path in ["/healthz", "/readyz", "/metrics", "/internal/revocations"] {
        assert_eq!(companion.get(path, &[]).status, 404, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(call("GET", &format!("{}{path}", companion.private), &[], None).status, 200, "{path}");
    }
}

#[test]
fn a_fitting_request_id_is_kept_and_any_other_replaced() {
    let companion = Companion::start(&[]);
    let id = |sent: &str| {
        let answer = companion.get("/api/auth/me", &[("x-request-id", sent)]);
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id("abc-123"), "abc-123");
    assert_ne!(id("a b"), "a b");
    assert_eq!(id(&"x".repeat(200)).len(), 36);
}
