//! The decision says which rule decided.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use jwt_gate::{Policy, Request, Worker, config};

const CONFIG: &str = r#"{
    "providers": {"app": {"secrets": [{"inline": "app-0123456789abcdef0123456789abcdef"}]}},
    "rules": [
        {"name": "health", "match": {"path": "/healthz"}},
        {"match": {"prefix": "/api/"}, "requires": {"provider_name": "app"}},
        {"name": "staff", "match": {"prefix": "/admin/"}, "requires": {"provider_name": "app", "claims": {"role": ["admin"]}}},
        {"name": "by tenant", "match": {"prefix": "/t/", "headers": [{"name": "x-tenant", "string_match": {"exact": "a"}}]}},
        {"name": "all", "match": {"prefix": "/t/"}, "requires": {"provider_name": "app"}}
    ],
    "bypass_cors_preflight": true
}"#;

/// The names of the rules that decided, and those of the interpretations in the explanation.
fn names(method: &str, path: &str, headers: &[(&str, &str)]) -> (String, Vec<String>) {
    let policy = Arc::new(Policy::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap());
    let fixed = [(":method", method), (":path", path)];
    let request =
        Request::new(fixed.iter().chain(headers).map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let decision = Worker::new(Arc::clone(&policy), None).decide(&request, &|| Some(1_700_000_000.0));
    let explanation = policy.explain(&request);
    let mut explained: Vec<String> = Vec::new();
    for interpretation in explanation.interpretations.unwrap_or_default() {
        let name = policy.rule_name(interpretation.decider).to_owned();
        if !explained.contains(&name) {
            explained.push(name);
        }
    }
    (policy.rule_names(&decision.deciders).into_owned(), explained)
}

#[test]
fn a_request_with_one_interpretation_is_decided_by_one_rule() {
    for (path, expected) in [
        ("/healthz", "health"),
        ("/api/x", "rules[1]"),
        ("/admin/x", "staff"),
        ("/nothing", "default"),
        ("/api", "default"),
    ] {
        assert_eq!(names("GET", path, &[]), (expected.to_owned(), vec![expected.to_owned()]), "{path}");
    }
}

#[test]
fn a_request_with_several_interpretations_names_the_rule_of_each() {
    let twice = [("x-tenant", "a"), ("x-tenant", "b")];
    let (decided, explained) = names("GET", "/t/x", &twice);
    assert_eq!(decided, "all, by tenant");
    assert_eq!(explained, ["all", "by tenant"]);
    let (decided, explained) = names("GET", "/admin;x/y", &[]);
    assert_eq!(decided, "default, staff");
    assert_eq!(explained, ["default", "staff"]);
}

#[test]
fn a_request_that_is_not_canonical_names_the_rule_that_asks_first() {
    // Without a good token its interpretations are not looked at, so the decision names the first rule alone.
    let (decided, explained) = names("GET", "/api/../admin/x", &[]);
    assert_eq!(decided, "rules[1]");
    assert_eq!(explained, ["rules[1]", "staff"]);
}

#[test]
fn where_no_rule_was_asked_the_reason_has_a_name() {
    let preflight = [("origin", "https://a"), ("access-control-request-method", "GET")];
    assert_eq!(names("OPTIONS", "/admin/x", &preflight).0, "bypass_cors_preflight");
    let many: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|value| ("x-tenant", value.as_str())).collect();
    assert_eq!(names("GET", "/t/x", &many), ("too_many_interpretations".to_owned(), Vec::new()));
}
