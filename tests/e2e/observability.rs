//! Identity and reason where operators look for them: counters, access logs, Envoy's RBAC filter.

use jwt_gate_tests::{Listener, Request, forge, http2};
use serde_json::{Value, json};

use crate::{app, envoy, provider, with};

const ACCESS_LOG: &str = "access %REQ(X-TAG)% code=%FILTER_STATE(wasm.jwt_gate.code:PLAIN)% \
     rule=[%FILTER_STATE(wasm.jwt_gate.rule:PLAIN)%] subject=%FILTER_STATE(wasm.jwt_gate.subject:PLAIN)% payload=%FILTER_STATE(wasm.identity:PLAIN)% \
     user=%REQ(X-USER-ID)% details=%RESPONSE_CODE_DETAILS%";

pub(crate) fn listeners() -> Vec<Listener> {
    let stateful = with(provider(), json!({"payload_in_filter_state": "identity"}));
    let mut logged = with(app(), json!({"providers": {"app": stateful}, "decision_in_filter_state": true}));
    logged["rules"][4]["name"] = json!("staff only");
    vec![
        Listener::gated("logged", logged.clone()).access_log(ACCESS_LOG),
        Listener::gated("counted", with(app(), json!({"stat_prefix": "e2e_counted"}))),
        Listener::gated("rbac", logged).after(rbac()),
        Listener::gated("default-log", every_place()).set(
            "access_log",
            json!([{
                "name": "stdout",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                },
            }]),
        ),
    ]
}

/// Lets in user_1 alone, whom it knows from the filter state that the gate set.
fn rbac() -> Value {
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"user_1": {
                "permissions": [{"any": true}],
                "principals": [{"filter_state": {
                    "key": "wasm.jwt_gate.subject",
                    "string_match": {"exact": "user_1"},
                }}],
            }}},
        },
    })
}

/// Two providers whose tokens may be in the query.
fn every_place() -> Value {
    let provider = |issuer: &str, parameter: &str| {
        let places = json!({"from_headers": [], "from_cookies": [], "from_params": [parameter]});
        with(
            with(provider(), places),
            json!({"issuer": issuer, "claim_to_headers": [], "forward_payload_header": ""}),
        )
    };
    with(
        app(),
        json!({
            "providers": {"app": provider("jwt-gate", "access_token"), "ops": provider("ops", "ops_token")},
        }),
    )
}

fn line(tag: &str) -> String {
    let lines = envoy().log_lines(&format!("access {tag} "));
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn an_access_log_shows_who_called_and_why_not_and_never_a_token() {
    let port = envoy().port("logged");
    let token = forge::token("user_1", json!({"email": "ada@example.com"}));
    let bad = forge::token_of(forge::OTHER_SECRET, &forge::claims("mallory", json!({})));
    let tagged =
        |path: &str, tag: &str| Request::get(path).header("x-tag", tag).header("x-user-id", "spoofed");
    tagged("/api/me", "log-good").bearer(&token).send(port).reached();
    tagged("/public", "log-public").send(port).reached();
    tagged("/api/me", "log-missing").send(port).assert_denied(401, "missing_token");
    tagged("/api/me", "log-bad").bearer(&bad).send(port).assert_denied(401, "bad_signature");
    tagged("/admin/", "log-forbidden").bearer(&token).send(port).assert_denied(403, "forbidden");
    tagged("/none", "log-no-rule").send(port).assert_denied(403, "no_rule");
    tagged("/admin;x/y", "log-two-rules").bearer(&token).send(port).assert_denied(403, "no_rule");
    Request::new("OPTIONS", "/admin/x")
        .header("x-tag", "log-preflight")
        .header("origin", "https://a.example")
        .header("access-control-request-method", "GET")
        .send(port)
        .reached();

    let good = line("log-good");
    for part in ["code=allowed", "subject=user_1", "user=user_1", "\"email\":\"ada@example.com\""] {
        assert!(good.contains(part), "{part}: {good}");
    }
    assert!(
        line("log-public").contains("code=public rule=[rules[0]] subject=- payload=- user=-"),
        "{}",
        line("log-public")
    );
    for (tag, code) in [
        ("log-missing", "missing_token"),
        ("log-bad", "bad_signature"),
        ("log-forbidden", "forbidden"),
        ("log-no-rule", "no_rule"),
    ] {
        let line = line(tag);
        assert!(line.contains(&format!("code={code} ")), "{line}");
        assert!(line.contains("user=-"), "a spoofed identity is in the log: {line}");
    }
    for (tag, rule) in [
        ("log-good", "rules[3]"),
        ("log-public", "rules[0]"),
        ("log-missing", "rules[3]"),
        ("log-forbidden", "staff only"),
        ("log-no-rule", "default"),
        ("log-two-rules", "default, staff only"),
        ("log-preflight", "bypass_cors_preflight"),
    ] {
        let line = line(tag);
        assert!(line.contains(&format!(" rule=[{rule}] ")), "{rule}: {line}");
    }
    let explained = envoy().log_lines("refused a token (bad_signature)");
    assert!(
        !explained.is_empty()
            && explained
                .iter()
                .all(|line| line.contains("[warning][wasm]") || line.contains("[warning][dynamic_modules]")),
        "{explained:?}"
    );
    let log = envoy().log();
    for secret in [&token, &bad, forge::SECRET, forge::OTHER_SECRET] {
        assert!(!log.contains(secret), "the log holds a token or a secret");
        assert!(!log.contains(secret.rsplit('.').next().unwrap()), "the log holds a signature");
    }
}

#[test]
fn envoys_default_access_log_prints_no_token_of_a_refused_request() {
    let port = envoy().port("default-log");
    let good = forge::token("user_log", json!({}));
    let expired = forge::token("user_log", json!({"exp": 1}));
    let ops = forge::token("ops_log", json!({"iss": "ops"}));
    let refused = [
        (format!("/admin/default-log-1?a=b&access_token={good}"), 403),
        (format!("/none/default-log-2?access_token={good}&c=d"), 403),
        (format!("/api/default-log-3?access_token={expired}"), 401),
        (format!("/api/default-log-4?ops_token={ops}"), 401),
        (format!("/admin/default-log-5?ops_token={ops}&access_token={good}"), 403),
        (format!("/api/default-log-6?access_token={good}&access_token={expired}"), 401),
        (format!("/admin/default-log-7?%61ccess_token={good}"), 403),
    ];
    for (number, (path, status)) in (1..).zip(&refused) {
        assert_eq!(Request::get(path).send(port).status, *status, "{path}");
        let lines = envoy().log_lines(&format!("default-log-{number}"));
        assert!(!lines.is_empty(), "{path} is not in the log");
    }
    // The rest of the query is still there to be read.
    assert!(envoy().log_lines("default-log-1").iter().any(|line| line.contains("?a=b")));
    let log = envoy().log();
    for token in [&good, &expired, &ops] {
        let signature = token.rsplit('.').next().expect("a signature");
        let printed: Vec<_> = log.lines().filter(|line| line.contains(signature)).collect();
        assert!(printed.is_empty(), "{printed:#?}");
    }
}

#[test]
fn every_verdict_is_counted_and_prometheus_can_scrape_it() {
    let envoy = envoy();
    let port = envoy.port("counted");
    let good = forge::token("user_1", json!({}));
    let counted = |name: &str, least| envoy.admin().counter_from(&format!("e2e_counted.{name}"), least);
    assert_eq!(counted("allowed", 0), 0);
    for _ in 0..3 {
        Request::get("/api/me").bearer(&good).send(port).reached();
    }
    Request::get("/public").send(port).reached();
    Request::get("/optional/x").send(port).reached();
    http2::send(&Request::get("/public"), port).reached();
    let other_key =
        |header: &str| forge::sign(forge::OTHER_SECRET, header, forge::claims("a", json!({})).to_string());
    let denied = |code: &str, request: Request| {
        request.send(port);
        assert_eq!(counted(&format!("denied.{code}"), 1), 1, "{code}");
    };
    let get = || Request::get("/api/me");
    denied("missing_token", get());
    denied("malformed", get().bearer("bad"));
    denied("bad_signature", get().bearer(other_key(r#"{"alg":"HS256"}"#)));
    denied("unknown_key", get().bearer(other_key(r#"{"alg":"HS256","kid":"x"}"#)));
    denied("expired", get().bearer(forge::token("a", json!({"exp": 1}))));
    denied("not_yet_valid", get().bearer(forge::token("a", json!({"nbf": forge::now() + 3600}))));
    denied("lifetime", get().bearer(forge::token("a", json!({"exp": null}))));
    denied("claim", get().bearer(forge::token("a", json!({"sub": null}))));
    denied("audience", get().bearer(forge::token("a", json!({"aud": "jwt-gate/internal"}))));
    denied("ambiguous", get().bearer("a").bearer("b"));
    denied("too_large", get().bearer("a".repeat(17_000)));
    denied("forbidden", Request::get("/admin/").bearer(&good));
    denied("no_rule", Request::get("/none"));
    assert_eq!(counted("allowed", 3), 3);
    assert_eq!(counted("public", 3), 3);
    // The same token four times: verified once, remembered three times.
    assert_eq!(counted("cache.hit", 3), 3);

    let scrape = envoy.admin().get("/stats/prometheus");
    for name in ["e2e_counted_allowed", "e2e_counted_denied_expired", "e2e_counted_cache_hit"] {
        assert!(
            scrape.lines().any(|line| line.contains(name) && !line.starts_with('#')),
            "{name}:\n{scrape}"
        );
    }
}

#[test]
fn envoys_rbac_filter_can_decide_by_the_identity_that_the_gate_found() {
    let port = envoy().port("rbac");
    let get = |sub: &str| Request::get("/api/me").bearer(forge::token(sub, json!({}))).send(port);
    get("user_1").reached();
    let answer = get("user_2");
    assert_eq!((answer.status, answer.text().as_str()), (403, "RBAC: access denied"));
    let answer = Request::get("/public").header("x-user-id", "user_1").send(port);
    assert_eq!(answer.status, 403, "{answer:?}");
    Request::get("/api/me").send(port).assert_denied(401, "missing_token");
}
