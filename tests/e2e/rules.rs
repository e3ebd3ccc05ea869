//! Which rule a request falls under, and what that rule asks for.

use jwt_gate_tests::{Listener, Request, forge};
use serde_json::{Value, json};

use crate::{app, envoy, provider, with};

pub(crate) fn listeners() -> Vec<Listener> {
    let app_provider = json!({"provider_name": "app"});
    let ops_provider = json!({"provider_name": "ops"});
    let ops = json!({
        "secrets": [{"inline": OPS_SECRET}],
        "issuer": "ops",
        "from_headers": [{"name": "x-ops-token"}],
        "claim_to_headers": [{"header_name": "x-ops-id", "claim_name": "sub"}],
    });
    let rules = json!([
        {"match": {"path": "/exact"}},
        {"match": {"prefix": "/prefix"}},
        {"match": {"path_separated_prefix": "/separated"}},
        {"match": {"safe_regex": "/v[0-9]+/feed"}},
        {"match": {"safe_regex": {"regex": "/re2/[a-z]*", "google_re2": {}}}},
        {"match": {"prefix": "/methods", "methods": ["GET", "HEAD"]}},
        {"match": {"prefix": "/headers", "headers": [
            {"name": "X-Exact", "string_match": {"exact": "yes"}},
            {"name": "x-present"},
            {"name": "x-absent", "present_match": false},
            {"name": "x-inverted", "string_match": {"prefix": "no"}, "invert_match": true},
        ]}},
        {"match": {"path": "/order/first"}},
        {"match": {"prefix": "/order/"}, "requires": app_provider},
        {"match": {"path": "/order/second"}},
        {"match": {"prefix": "/any/"}, "requires": {"requires_any": [app_provider, ops_provider]}},
        {"match": {"prefix": "/any-envoy/"}, "requires": {"requires_any": {"requirements": [app_provider, ops_provider]}}},
        {"match": {"prefix": "/all/"}, "requires": {"requires_all": [app_provider, ops_provider]}},
        {"match": {"prefix": "/missing/"}, "requires": {"allow_missing": app_provider}},
        {"match": {"prefix": "/missing-any/"}, "requires": {"allow_missing": {}}},
        {"match": {"prefix": "/failed/"}, "requires": {"allow_missing_or_failed": app_provider}},
        {"match": {"prefix": "/any-or-none/"}, "requires": {"requires_any": [ops_provider, {"allow_missing": app_provider}]}},
        {"match": {"prefix": "/claims/"}, "requires": {"provider_name": "app", "claims": {
            "account.plan": ["pro", "team"], "level": [3], "staff": [true],
        }}},
        {"match": {"prefix": "/scope/"}, "requires": {"provider_name": "app", "claims": {"scope": ["write"]}}},
        {"match": {"prefix": "/app/"}, "requires": app_provider},
        {"match": {"prefix": "/ops/"}, "requires": ops_provider},
    ]);
    let several = json!({"providers": {"app": provider(), "ops": ops}, "rules": rules});
    let one_rule = json!([{"match": {"path": "/public"}}]);
    let with_default = |default: &str| with(app(), json!({"rules": one_rule, "default": default}));
    vec![
        Listener::gated("rules", several),
        Listener::gated("default-allow", with_default("allow")),
        Listener::gated("default-require", with_default("require")),
        Listener::gated("default-deny", with_default("deny")),
    ]
}

const OPS_SECRET: &str = "ops-0123456789-abcdefghij-ABCDEFGHIJ";

fn ops_token() -> String {
    forge::token_of(OPS_SECRET, &forge::claims("ops_1", json!({"iss": "ops"})))
}

fn app_token(more: Value) -> String {
    forge::token("user_1", more)
}

fn outcome(request: &Request) -> String {
    let answer = request.send(envoy().port("rules"));
    if answer.seen().is_some() {
        "reached".to_owned()
    } else {
        format!("{} {}", answer.status, answer.code())
    }
}

fn assert_outcomes(cases: &[(Request, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(request, expected)| (request, expected, outcome(request)))
        .filter(|(_, expected, outcome)| *expected != outcome)
        .map(|(request, expected, outcome)| {
            let target = String::from_utf8_lossy(&request.target).into_owned();
            format!("{} {target} {:?}: {outcome}, not {expected}", request.method, request.headers.len())
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_matches_by_path_prefix_segment_or_expression_without_the_query() {
    let get = |path: &str| Request::get(path);
    assert_outcomes(&[
        (get("/exact"), "reached"),
        (get("/exact?a=/b"), "reached"),
        (get("/exact?"), "reached"),
        (get("/exact/"), "403 no_rule"),
        (get("/Exact"), "403 no_rule"),
        (get("/exac"), "403 no_rule"),
        (get("/prefix"), "reached"),
        (get("/prefixed/x"), "reached"),
        (get("/a?/prefix"), "403 no_rule"),
        (get("/separated"), "reached"),
        (get("/separated/x"), "reached"),
        (get("/separated?x"), "reached"),
        (get("/separatedx"), "403 no_rule"),
        (get("/v12/feed"), "reached"),
        (get("/v12/feed?x=1"), "reached"),
        (get("/v12/feed/x"), "403 no_rule"),
        (get("/x/v12/feed"), "403 no_rule"),
        (get("/vx/feed"), "403 no_rule"),
        (get("/re2/abc"), "reached"),
        (get("/re2/ABC"), "403 no_rule"),
    ]);
}

#[test]
fn a_rule_may_ask_for_methods_and_headers() {
    let base = || Request::get("/headers").header("x-exact", "yes").header("X-Present", "");
    assert_outcomes(&[
        (Request::get("/methods"), "reached"),
        (Request::new("POST", "/methods"), "403 no_rule"),
        (Request::new("PROPFIND", "/methods"), "403 no_rule"),
        (base().header("x-inverted", "yes"), "reached"),
        (base().header("x-inverted", "no"), "403 no_rule"),
        (base().header("x-inverted", "yes").header("x-absent", "a"), "403 no_rule"),
        (Request::get("/headers").header("x-exact", "yes").header("x-inverted", "yes"), "403 no_rule"),
        (
            Request::get("/headers")
                .header("x-exact", "YES")
                .header("x-present", "")
                .header("x-inverted", "a"),
            "403 no_rule",
        ),
        (Request::get("/headers"), "403 no_rule"),
    ]);
    assert_eq!(Request::new("HEAD", "/methods").send(envoy().port("rules")).status, 200);
}

#[test]
fn the_first_rule_that_matches_decides() {
    assert_outcomes(&[
        (Request::get("/order/first"), "reached"),
        (Request::get("/order/second"), "401 missing_token"),
        (Request::get("/order/second").bearer(app_token(json!({}))), "reached"),
    ]);
}

#[test]
fn requires_any_takes_either_and_requires_all_takes_only_both() {
    let app = app_token(json!({}));
    for path in ["/any/x", "/any-envoy/x"] {
        assert_outcomes(&[
            (Request::get(path), "401 missing_token"),
            (Request::get(path).bearer(&app), "reached"),
            (Request::get(path).header("x-ops-token", ops_token()), "reached"),
            (Request::get(path).bearer("bad").header("x-ops-token", ops_token()), "reached"),
            (Request::get(path).bearer("bad"), "401 malformed"),
        ]);
    }
    assert_outcomes(&[
        (Request::get("/all/x"), "401 missing_token"),
        (Request::get("/all/x").bearer(&app), "401 missing_token"),
        (Request::get("/all/x").header("x-ops-token", ops_token()), "401 missing_token"),
        (Request::get("/all/x").bearer("bad").header("x-ops-token", ops_token()), "401 malformed"),
        (Request::get("/all/x").bearer(&app).header("x-ops-token", ops_token()), "reached"),
    ]);
    let both = Request::get("/all/x").bearer(&app).header("x-ops-token", ops_token());
    let seen = both.send(envoy().port("rules")).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
    assert_eq!(seen.one("x-ops-id").as_deref(), Some("ops_1"));
    assert!(seen.all("x-ops-token").is_empty() && seen.all("authorization").is_empty());
}

#[test]
fn one_providers_token_does_not_open_anothers_path() {
    let app = app_token(json!({}));
    let foreign_issuer = forge::token_of(OPS_SECRET, &forge::claims("ops_1", json!({"iss": "someone"})));
    assert_outcomes(&[
        (Request::get("/ops/x").header("x-ops-token", ops_token()), "reached"),
        (Request::get("/ops/x").header("x-ops-token", &app), "401 bad_signature"),
        (Request::get("/ops/x").header("x-ops-token", foreign_issuer), "401 issuer"),
        (Request::get("/ops/x").bearer(ops_token()), "401 missing_token"),
        (Request::get("/app/x").bearer(ops_token()), "401 bad_signature"),
    ]);
    // The other provider's identity header cannot be smuggled in beside a good token.
    let seen = Request::get("/app/x").bearer(app).header("x-ops-id", "root").header("X_Ops_Id", "root");
    assert!(seen.send(envoy().port("rules")).reached().read_as("x-ops-id").is_empty());
}

#[test]
fn allow_missing_serves_the_anonymous_and_refuses_a_bad_token() {
    let app = app_token(json!({}));
    for path in ["/missing/x", "/missing-any/x", "/any-or-none/x"] {
        assert_outcomes(&[
            (Request::get(path), "reached"),
            (Request::get(path).bearer(&app), "reached"),
            (Request::get(path).bearer("bad"), "401 malformed"),
        ]);
    }
    let seen = Request::get("/any-or-none/x").bearer(&app).send(envoy().port("rules")).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
}

#[test]
fn allow_missing_or_failed_serves_everybody_and_identifies_only_the_known() {
    let port = envoy().port("rules");
    for request in [
        Request::get("/failed/x"),
        Request::get("/failed/x").bearer("bad"),
        Request::get("/failed/x").bearer(app_token(json!({"exp": 1}))),
        Request::get("/failed/x").bearer(ops_token()),
        Request::get("/failed/x").bearer(app_token(json!({}))).bearer(app_token(json!({"sub": "user_2"}))),
    ] {
        assert!(request.header("x-user-id", "root").send(port).reached().read_as("x-user-id").is_empty());
    }
    let seen = Request::get("/failed/x").bearer(app_token(json!({}))).send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
}

#[test]
fn claim_conditions_look_at_value_and_type() {
    let claims = |plan: Value, level: Value, staff: Value| {
        let token = app_token(json!({"account": {"plan": plan}, "level": level, "staff": staff}));
        Request::get("/claims/x").bearer(token)
    };
    let scope = |scope: Value| Request::get("/scope/x").bearer(app_token(json!({"scope": scope})));
    assert_outcomes(&[
        (claims(json!("pro"), json!(3), json!(true)), "reached"),
        (claims(json!(["x", "team"]), json!(3), json!(true)), "reached"),
        (claims(json!("free"), json!(3), json!(true)), "403 forbidden"),
        (claims(json!("pro"), json!("3"), json!(true)), "403 forbidden"),
        (claims(json!("pro"), json!(3), json!("true")), "403 forbidden"),
        (claims(json!("pro"), json!(3), json!(false)), "403 forbidden"),
        (claims(json!("pro"), json!(3), Value::Null), "403 forbidden"),
        (
            Request::get("/claims/x")
                .bearer(app_token(json!({"account.plan": "free", "account": {"plan": "pro"}}))),
            "403 forbidden",
        ),
        (Request::get("/claims/x"), "401 missing_token"),
        (scope(json!("read write")), "reached"),
        (scope(json!(["read", "write"])), "reached"),
        (scope(json!("rewrite")), "403 forbidden"),
        (scope(Value::Null), "403 forbidden"),
    ]);
}

#[test]
fn the_default_denies_requires_or_allows_what_no_rule_matches() {
    let token = app_token(json!({}));
    let envoy = envoy();
    Request::get("/other").bearer(&token).send(envoy.port("default-deny")).assert_denied(403, "no_rule");
    Request::get("/other").send(envoy.port("default-require")).assert_denied(401, "missing_token");
    Request::get("/other").bearer("bad").send(envoy.port("default-require")).assert_denied(401, "malformed");
    Request::get("/other").bearer(&token).send(envoy.port("default-require")).reached();
    let seen = Request::get("/other").header("x-user-id", "root").send(envoy.port("default-allow")).reached();
    assert!(seen.read_as("x-user-id").is_empty());
    for listener in ["default-deny", "default-require", "default-allow"] {
        Request::get("/public").send(envoy.port(listener)).reached();
    }
}
