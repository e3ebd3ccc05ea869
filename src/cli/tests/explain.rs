//! `jwt-gate explain`: the real program. That it says what Envoy does is shown in `tests/tool`.

mod support;

use serde_json::{Value, json};
use support::{Ran, file, jwt_gate, jwt_gate_with};

const SECRET: &str = "hush-0123456789-abcdefghij-ABCDEFGHIJ";

const CONFIG: &str = "
providers:
  app:
    issuer: jwt-gate
    audiences: [api]
    secrets: [{env: APP}]
    max_lifetime_seconds: 600
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
rules:
- {name: health, match: {path: /healthz}}
- {name: staff, match: {path_separated_prefix: /admin}, requires: {provider_name: app, claims: {role: [admin, owner]}}}
- {name: by host, match: {prefix: /h, headers: [{name: host, string_match: {exact: a.test}}]}}
default: require
sign_in_redirect: {url: /sign-in}
revocation: {cluster: companion, when_stale: deny}
";

fn explain(arguments: &[&str]) -> Ran {
    let (_folder, path) = file("gate.yaml", CONFIG);
    jwt_gate(&[&["explain", &path], arguments].concat())
}

fn json_of(arguments: &[&str]) -> Value {
    let ran = explain(&[&["--json"], arguments].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

fn verdict(arguments: &[&str]) -> (String, String, String) {
    let explained = json_of(arguments);
    let text = |field: &str| explained[field].as_str().expect("a text").to_owned();
    let rules: Vec<&str> =
        explained["rules"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    (text("verdict"), text("code"), rules.join("+"))
}

#[track_caller]
fn assert_verdict(arguments: &[&str], verdict_of: &str, code: &str, rule: &str) {
    assert_eq!(
        verdict(arguments),
        (verdict_of.to_owned(), code.to_owned(), rule.to_owned()),
        "{arguments:?}"
    );
}

#[test]
fn the_verdict_the_code_and_the_rule_are_told() {
    assert_verdict(&["--request", "/healthz"], "allow", "public", "health");
    assert_verdict(&["--request", "GET /x"], "deny", "missing_token", "default");
    assert_verdict(
        &["--request", "GET /x", "--header", "accept: text/html"],
        "redirect",
        "missing_token",
        "default",
    );
    assert_verdict(&["--request", "GET /x", "--claims", r#"{"sub":"u"}"#], "allow", "allowed", "default");
    let admin = ["--request", "DELETE /admin/x", "--claims"];
    assert_verdict(&[&admin[..], &[r#"{"sub":"u"}"#]].concat(), "deny", "forbidden", "staff");
    assert_verdict(&[&admin[..], &[r#"{"sub":"u","role":["owner"]}"#]].concat(), "allow", "allowed", "staff");
    assert_verdict(&["--request", "GET /h", "--header", "Host: A.test:443"], "allow", "public", "by host");
    assert_verdict(&["--curl", "curl https://a.test/h"], "allow", "public", "by host");
}

#[test]
fn claims_are_completed_and_null_leaves_one_out() {
    let with =
        |claims: &str| verdict(&["--request", "/x", "--now", "2026-01-01T00:00:00Z", "--claims", claims]).1;
    assert_eq!(
        with(r#"{"sub":"u"}"#),
        "allowed",
        "iss, aud, iat and exp are added, within max_lifetime_seconds"
    );
    assert_eq!(with(r#"{"sub":"u","aud":null}"#), "audience");
    assert_eq!(with(r#"{"sub":"u","exp":null}"#), "lifetime");
    assert_eq!(with(r#"{"sub":"u","iss":"other"}"#), "issuer");
    assert_eq!(with(r#"{"sub":"u","iat":1767225600,"exp":1767225000}"#), "expired");
    assert_eq!(with("{}"), "claim");
}

#[test]
fn every_reading_of_a_request_has_its_rule() {
    let explained = json_of(&["--request", "GET /healthz/../admin/x"]);
    assert_eq!(explained["has_canonical_path"], false);
    assert_eq!(explained["asked_first"], "default");
    let readings: Vec<(&str, &str)> = explained["interpretations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["path"].as_str().expect("a path"), one["rule"].as_str().expect("a rule")))
        .collect();
    assert_eq!(readings, [("/healthz/../admin/x", "default"), ("/admin/x", "staff")]);
    let text = explain(&["--request", "GET /healthz/../admin/x"]).out;
    assert!(text.contains("staff, which requires a token of app with role: admin or owner"), "{text}");
    let long = format!("GET /{}", "%2525".repeat(1000));
    assert_eq!(json_of(&["--request", &long])["interpretations"], Value::Null);
}

#[test]
fn what_the_backend_gets_is_shown_without_what_the_client_made_up() {
    let claims =
        ["--claims", r#"{"sub":"user_1"}"#, "--header", "X_User_Id: root", "--header", "x-kept: as it is"];
    let explained = json_of(&[&["--request", "GET /x?a=b"], &claims[..]].concat());
    let headers = explained["headers"].as_array().expect("headers");
    for header in [json!([":path", "/x?a=b"]), json!(["x-kept", "as it is"]), json!(["x-user-id", "user_1"])]
    {
        assert!(headers.contains(&header), "{header}");
    }
    let names: Vec<&str> = headers.iter().filter_map(|header| header[0].as_str()).collect();
    assert!(!names.contains(&"authorization") && !names.contains(&"x_user_id"), "{names:?}");
    let text = explain(&[&["--request", "GET /x?a=b"], &claims[..]].concat()).out;
    assert!(
        text.contains("x-user-id: user_1   <- the gate")
            && text.contains("It does not get x_user_id, authorization"),
        "{text}"
    );
}

#[test]
fn a_real_token_is_verified_with_the_real_secret_and_never_shown() {
    // Made with Python's hmac and SECRET; it expires in 2100.
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyXzEiLCJpc3MiOiJvdGhlciIsImF1ZCI6ImFwaSIsImV4cCI6NDEwMjQ0NDgwMH0.3GzzSrmdLk-zNKkE-JkeHALLghLpWyH7Jg2OCIB_blU";
    let (_folder, path) = file("gate.yaml", &CONFIG.replace("    max_lifetime_seconds: 600\n", ""));
    for json in [&["--json"][..], &[]] {
        for how in [
            vec!["--token".to_owned(), token.to_owned()],
            vec!["--header".to_owned(), format!("Authorization: Bearer {token}")],
        ] {
            let mut arguments =
                vec!["explain".to_owned(), path.clone(), "--request".to_owned(), "/x".to_owned()];
            arguments.extend(how);
            arguments.extend(json.iter().map(|&flag| flag.to_owned()));
            let ran = jwt_gate_with(&[("APP", SECRET)], &arguments);
            assert_eq!((ran.status, ran.err.as_str()), (0, ""));
            assert!(ran.out.contains("issuer"), "{}", ran.out);
            assert!(
                ran.out.contains("its iss is \\\"other\\\"") || ran.out.contains("its iss is \"other\""),
                "{}",
                ran.out
            );
            let parts = token.split('.').skip(1);
            assert!(
                parts.clone().count() == 2 && parts.into_iter().all(|part| !ran.out.contains(part)),
                "{}",
                ran.out
            );
            let stand_in = jwt_gate(&arguments);
            assert!(stand_in.out.contains("bad_signature"), "{}", stand_in.out);
        }
    }
}

#[test]
fn a_mistake_in_the_question_is_an_error_that_shows_no_token() {
    for (arguments, part) in [
        (&["--request", "GET"][..], "is no request"),
        (&["--request", "/", "--header", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"], "is no header"),
        (&["--request", "/", "--claims", "[]"], "is no JSON object"),
        (
            &["--request", "/", "--claims", "{}", "--provider", "ops"],
            "there is no provider `ops`; there are: app",
        ),
        (&["--request", "/", "--nth", "2"], "holds 1 configurations; choose one:"),
        (&["--curl", "curl -u a:b http://a/"], "`-u` is not read here"),
    ] {
        let ran = explain(arguments);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.err.contains(part) && !ran.err.contains("c2lnbmF0dXJl"), "{part}: {}", ran.err);
    }
    assert_eq!(explain(&["--request", "/", "--now", "soon"]).status, 2);
    assert_eq!(explain(&[]).status, 2);
}
