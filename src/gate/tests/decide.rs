//! What the gate decides, from configuration and request to verdict, without Envoy.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use jwt_gate::config;
use jwt_gate::{Allowed, CacheStats, HeaderMutation, Reply, Request, Verdict};
use jwt_gate_token::{Keyring, Secret, issue};
use serde_json::{Value, json};

use support::{Decided, Gate, request_of};

mod support;

const SECONDS: u32 = 1_700_000_000;
const NOW: f64 = SECONDS as f64;
const APP: &str = "app-0123456789abcdef0123456789abcdef";
const OPS: &str = "ops-0123456789abcdef0123456789abcdef";

fn token(secret: &str, claims: Value) -> String {
    let mut claims = claims.as_object().unwrap().clone();
    claims.entry("exp").or_insert(json!(SECONDS + 600));
    issue(&Keyring::new([Secret::from_utf8(secret).unwrap()]).unwrap(), &claims).unwrap()
}

fn compile(yaml: &str) -> Result<Gate, String> {
    let variable = |name: &str| match name {
        "APP" => Some(APP.to_owned()),
        "OPS" => Some(OPS.to_owned()),
        _ => None,
    };
    config::read(yaml.as_bytes()).and_then(|config| Gate::new(config, &variable)).map_err(|e| e.to_string())
}

fn gate(rest: &str) -> Gate {
    let providers = "
providers:
  app:
    secrets: [{env: APP}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}]
    from_cookies: [session]
    claim_to_headers:
      - {header_name: x-user-id, claim_name: sub, required: true}
      - {header_name: X-Roles, claim_name: app.roles}
  ops:
    secrets: [{env: OPS}]
    from_headers: [{name: x-ops-token}]
    claim_to_headers: [{header_name: x-operator, claim_name: sub}]
";
    compile(&format!("{providers}{rest}")).unwrap()
}

fn request<'test>(path: &'test str, headers: &[(&'test str, &'test str)]) -> Request<'test> {
    let fixed = [(":method", "GET"), (":path", path)];
    Request::new(fixed.iter().chain(headers).map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn decide(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Decided {
    gate.decide(&request(path, headers), NOW)
}

/// `allowed`, `public`, or the code of the denial.
fn outcome(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> &'static str {
    match decide(gate, path, headers).verdict {
        Verdict::Allow(allowed) if allowed.authenticated => "allowed",
        Verdict::Allow(_) => "public",
        Verdict::Deny(code, _) => code.as_str(),
        Verdict::Undecided => "undecided",
    }
}

/// A request that passed.
#[derive(Debug, Default, PartialEq)]
struct Passed {
    allowed: Allowed,
    mutations: Vec<HeaderMutation>,
}

fn passed(decision: Decided) -> Passed {
    match decision.verdict {
        Verdict::Allow(allowed) => Passed { allowed, mutations: decision.mutations },
        Verdict::Deny(code, _) => panic!("refused: {}", code.as_str()),
        Verdict::Undecided => panic!("undecided"),
    }
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

#[test]
fn a_verified_token_becomes_headers_and_leaves() {
    let gate = gate("rules: [{match: {prefix: /}, requires: {provider_name: app}}]");
    let claims = json!({"sub": "user_1", "app": {"roles": ["a", "b"]}});
    let (name, value) = bearer(&token(APP, claims));
    let decision = decide(&gate, "/x", &[(name, &value), ("x-user-id", "root"), ("X_ROLES", "admin")]);
    assert_eq!(decision.stripped, [&b"x-user-id"[..], b"X_ROLES"]);
    let pass = passed(decision);
    assert_eq!(pass.allowed.subject.as_deref(), Some("user_1"));
    let set = |name: &str, value: &str| HeaderMutation::Set(name.into(), value.as_bytes().into());
    assert_eq!(
        pass.mutations,
        [
            HeaderMutation::Remove((*b"authorization").into()),
            set("x-user-id", "user_1"),
            set("x-roles", "a,b")
        ]
    );
}

#[test]
fn the_boundary_holds_on_every_path_and_for_every_verdict() {
    let gate = gate(
        "
strip_headers: [x-internal]
bypass_cors_preflight: true
rules:
  - {match: {path: /public}}
  - {match: {prefix: /private}, requires: {provider_name: app}}
",
    );
    let spoof = [("X-Operator", "root"), ("x_user_id", "root"), ("x.internal", "1")];
    for path in ["/public", "/private", "/elsewhere", "//", "/public/../private"] {
        assert_eq!(
            decide(&gate, path, &spoof).stripped,
            [&b"X-Operator"[..], b"x_user_id", b"x.internal"],
            "{path}"
        );
    }
    let preflight = Request::new(
        [
            (":method", "OPTIONS"),
            (":path", "/private"),
            ("origin", "https://a"),
            ("access-control-request-method", "GET"),
            ("x-operator", "root"),
        ]
        .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    let decision = gate.decide(&preflight, NOW);
    assert_eq!(decision.stripped, [b"x-operator"]);
    assert_eq!(passed(decision), Passed::default());
}

#[test]
fn the_first_rule_that_matches_decides() {
    let gate = gate("
rules:
  - {match: {path: /healthz}}
  - {match: {prefix: /admin/, methods: [GET]}, requires: {provider_name: app, claims: {role: [admin, 7]}}}
  - {match: {path_separated_prefix: /api}, requires: {requires_any: [{provider_name: app}, {provider_name: ops}]}}
  - {match: {safe_regex: '/v[0-9]+/feed'}, requires: {allow_missing: {provider_name: app}}}
  - {match: {prefix: /both}, requires: {requires_all: {requirements: [{provider_name: app}, {provider_name: ops}]}}}
  - {match: {prefix: /loose}, requires: {allow_missing_or_failed: {}}}
  - match: {prefix: /beta, headers: [{name: x-beta, string_match: {exact: \"1\"}}]}
");
    let (name, app) = bearer(&token(APP, json!({"sub": "u", "role": ["user"]})));
    let admin = bearer(&token(APP, json!({"sub": "u", "role": ["admin"]}))).1;
    let foreign = bearer(&token(OPS, json!({"sub": "u"}))).1;
    let ops = token(OPS, json!({"sub": "o"}));
    let app = (name, app.as_str());
    let foreign = (name, foreign.as_str());
    let ops = ("x-ops-token", ops.as_str());
    let is = |path: &str, headers: &[(&str, &str)], expected: &str| {
        assert_eq!(outcome(&gate, path, headers), expected, "{path} {headers:?}");
    };
    is("/healthz", &[], "public");
    is("/healthz?x=y", &[], "public");
    is("/healthz/", &[], "no_rule");
    is("/admin/x", &[app], "forbidden");
    is("/admin/x", &[(name, &admin)], "allowed");
    is("/admin/x", &[], "missing_token");
    is("/api", &[app], "allowed");
    is("/api/x", &[ops], "allowed");
    is("/api/x", &[foreign], "unknown_key");
    is("/api/x", &[foreign, ops], "allowed");
    is("/apix", &[app], "no_rule");
    is("/v1/feed", &[], "public");
    is("/v1/feed", &[app], "allowed");
    is("/v1/feed", &[foreign], "unknown_key");
    is("/v1/feed/", &[], "no_rule");
    is("/both", &[app], "missing_token");
    is("/both", &[app, ops], "allowed");
    is("/loose", &[], "public");
    is("/loose", &[foreign], "public");
    is("/loose", &[app], "allowed");
    is("/beta", &[], "no_rule");
    is("/beta", &[("X-Beta", "1")], "public");
    is("/beta", &[("x-beta", "1"), ("x-beta", "2")], "no_rule");
}

#[test]
fn a_path_that_is_not_canonical_is_never_public() {
    for default in ["allow", "deny"] {
        let gate = gate(&format!(
            "
default: {default}
rules:
  - {{match: {{prefix: /public}}}}
  - {{match: {{prefix: /feed}}, requires: {{allow_missing: {{provider_name: app}}}}}}
  - {{match: {{prefix: /loose}}, requires: {{allow_missing_or_failed: {{provider_name: app}}}}}}
  - {{match: {{prefix: /private}}, requires: {{provider_name: app}}}}
"
        ));
        let (name, value) = bearer(&token(APP, json!({"sub": "u"})));
        for tail in [
            "/../private",
            "/%2e%2e/private",
            "//x",
            "/./x",
            "/x\\y",
            "%2fx",
            "/%00",
            "/%",
            "/..;/x",
            "#",
            "/%61",
        ] {
            for start in ["/public", "/feed", "/loose", "/private"] {
                let path = format!("{start}{tail}");
                let outcome_without = outcome(&gate, &path, &[]);
                assert!(
                    ["missing_token", "no_rule"].contains(&outcome_without),
                    "{default} {path}: {outcome_without}"
                );
                if start == "/private" || default == "allow" {
                    // Whoever drops the parameter reads `/x`, for which there may be no rule.
                    let leads_out = path == "/private/..;/x" && default == "deny";
                    let expected = if leads_out { "no_rule" } else { "allowed" };
                    assert_eq!(outcome(&gate, &path, &[(name, &value)]), expected, "{path}");
                }
            }
        }
    }
}

#[test]
fn a_path_that_another_reading_puts_under_another_rule_needs_a_token() {
    let gate = gate(
        "
default: allow
rules:
  - {match: {path: '/@admin'}, requires: {provider_name: app}}
  - {match: {prefix: /admin/}, requires: {provider_name: app}}
  - {match: {prefix: /}}
",
    );
    for path in ["/%40admin", "/admin;x/secret", "/admin%3Bx/secret"] {
        assert_eq!(outcome(&gate, path, &[]), "missing_token", "{path}");
    }
    for path in ["/caf%C3%A9", "/a%20b", "/x;v=1", "/%40other"] {
        assert_eq!(outcome(&gate, path, &[]), "public", "{path}");
    }
}

#[test]
fn the_default_decides_where_no_rule_matches() {
    let only = "providers: {app: {secrets: [{env: APP}]}}\n";
    let (name, value) = bearer(&token(APP, json!({})));
    for (default, without, with) in [
        ("", "no_rule", "no_rule"),
        ("default: deny", "no_rule", "no_rule"),
        ("default: require", "missing_token", "allowed"),
        ("default: allow", "public", "public"),
    ] {
        let gate = compile(&format!("{only}{default}")).unwrap();
        assert_eq!(outcome(&gate, "/x", &[]), without);
        assert_eq!(outcome(&gate, "/x", &[(name, &value)]), with);
    }
}

#[test]
fn a_token_that_is_remembered_still_expires_and_is_only_good_for_its_own_provider() {
    let gate = gate(
        "
rules:
  - {match: {prefix: /app}, requires: {provider_name: app}}
  - {match: {prefix: /admin}, requires: {provider_name: app, claims: {role: [admin]}}}
",
    );
    let (name, value) = bearer(&token(APP, json!({"sub": "u", "exp": SECONDS + 10})));
    let request = request("/app", &[(name, &value)]);
    assert_eq!(gate.decide(&request, NOW).cache, CacheStats { hits: 0, misses: 1 });
    assert_eq!(gate.decide(&request, NOW).cache, CacheStats { hits: 1, misses: 0 });
    assert!(matches!(gate.decide(&request, NOW + 69.0).verdict, Verdict::Allow(_)));
    for _ in 0..2 {
        let verdict = gate.decide(&request, NOW + 70.0).verdict;
        assert!(matches!(verdict, Verdict::Deny(code, _) if code.as_str() == "expired"));
    }
    // Another rule asks its own question of a remembered token.
    assert_eq!(outcome(&gate, "/app", &[(name, &value)]), "allowed");
    assert_eq!(outcome(&gate, "/admin", &[(name, &value)]), "forbidden");
}

#[test]
fn of_a_remembered_token_every_claim_is_known_that_any_rule_asks_for() {
    let gate = gate(
        "
rules:
  - {match: {prefix: /nested}, requires: {provider_name: app, claims: {user.role: [admin]}}}
  - {match: {prefix: /dotted}, requires: {requires_all: [{provider_name: app, claims: {https://x.y/role: [admin]}}]}}
  - {match: {prefix: /listed}, requires: {requires_any: [{provider_name: ops}, {provider_name: app, claims: {scope: [read]}}]}}
  - {match: {prefix: /maybe}, requires: {allow_missing: {provider_name: app, claims: {level: [3]}}}}
",
    );
    let admin = json!({"sub": "u", "user": {"role": "admin"}, "https://x.y/role": "admin", "scope": "read", "level": 3});
    let (name, all) = bearer(&token(APP, admin));
    let (_, none) = bearer(&token(APP, json!({"sub": "u", "user": {}, "scope": ["write"], "level": 4})));
    for path in ["/nested", "/dotted", "/listed", "/maybe"].repeat(2) {
        assert_eq!(outcome(&gate, path, &[(name, &all)]), "allowed", "{path}");
        assert_eq!(outcome(&gate, path, &[(name, &none)]), "forbidden", "{path}");
    }
}

#[test]
fn a_path_with_several_readings_needs_what_each_of_them_needs() {
    let gate = gate(
        "
rules:
  - {match: {prefix: /public}}
  - {match: {prefix: /admin}, requires: {provider_name: app, claims: {role: [admin]}}}
  - {match: {prefix: /ops}, requires: {provider_name: ops}}
  - {match: {prefix: /api}, requires: {provider_name: app}}
",
    );
    let (name, plain) = bearer(&token(APP, json!({"sub": "u"})));
    let (_, admin) = bearer(&token(APP, json!({"sub": "u", "role": "admin"})));
    let ops = ("x-ops-token", token(OPS, json!({"sub": "o"})));
    for path in [
        "/api/../admin",
        "/api/..;/admin",
        "/api/..%5cadmin",
        "/api/%252e%252e/admin",
        "/api/x/..//..;a/admin",
    ] {
        assert_eq!(outcome(&gate, path, &[(name, &plain)]), "forbidden", "{path}");
        assert_eq!(outcome(&gate, path, &[(name, &admin)]), "allowed", "{path}");
        assert_eq!(outcome(&gate, path, &[]), "missing_token", "{path}");
    }
    for path in ["/api//x", "/api/./x", "/api/%78", "/api/x;v=1//", "/api/../public/x"] {
        assert_eq!(outcome(&gate, path, &[(name, &plain)]), "allowed", "{path}");
    }
    assert_eq!(outcome(&gate, "/api/..;/ops", &[(name, &plain)]), "missing_token");
    assert_eq!(outcome(&gate, "/api/..;/ops", &[(name, &plain), (ops.0, &ops.1)]), "allowed");
    assert_eq!(outcome(&gate, "/api/..;/elsewhere", &[(name, &admin)]), "no_rule");
    let endless = format!("/api/..;/b//./%{}2e", "25".repeat(40));
    assert_eq!(outcome(&gate, &endless, &[(name, &admin)]), "no_rule");
    assert_eq!(outcome(&gate, &endless, &[]), "missing_token");
}

#[test]
fn without_the_time_no_token_is_judged_whatever_the_rule_and_what_is_public_passes() {
    let gate = gate(
        "
rules:
  - {match: {prefix: /public}}
  - {match: {prefix: /app}, requires: {provider_name: app}}
  - {match: {prefix: /open}, requires: {allow_missing_or_failed: {provider_name: app}}}
",
    );
    let (name, value) = bearer(&token(APP, json!({"sub": "u"})));
    let decide = |path, headers: &[(&str, &str)]| gate.decide_by(&request(path, headers), &|| None).verdict;
    assert!(matches!(decide("/public", &[(name, &value)]), Verdict::Allow(_)));
    for path in ["/app", "/open"] {
        assert_eq!(decide(path, &[(name, &value)]), Verdict::Undecided, "{path}");
    }
    assert!(matches!(decide("/app", &[]), Verdict::Deny(code, _) if code.as_str() == "missing_token"));
    assert!(matches!(decide("/open", &[]), Verdict::Allow(_)));
}

#[test]
fn two_tokens_that_give_one_header_differently_are_ambiguous() {
    let gate = compile("
providers:
  a: {secrets: [{env: APP}], claim_to_headers: [{header_name: x-user-id, claim_name: sub}]}
  b: {secrets: [{env: APP}], from_headers: [{name: x-b}], claim_to_headers: [{header_name: x-user-id, claim_name: sub}]}
rules: [{match: {prefix: /}, requires: {requires_all: [{provider_name: a}, {provider_name: b}]}}]
").unwrap();
    let (name, alice) = bearer(&token(APP, json!({"sub": "alice"})));
    let bob = token(APP, json!({"sub": "bob"}));
    assert_eq!(outcome(&gate, "/", &[(name, &alice), ("x-b", &bob)]), "ambiguous");
    let alice_again = alice.trim_start_matches("Bearer ");
    assert_eq!(outcome(&gate, "/", &[(name, &alice), ("x-b", alice_again)]), "allowed");
}

#[test]
fn claims_that_cannot_be_headers_are_refused() {
    let gate = gate("rules: [{match: {prefix: /}, requires: {provider_name: app}}]");
    let big = "x".repeat(4097);
    for claims in [
        json!({"sub": "a\nb"}),
        json!({"sub": "a\r\nx: y"}),
        json!({"sub": " a"}),
        json!({"sub": big}),
        json!({}),
        json!({"sub": ""}),
        json!({"sub": "a", "app": {"roles": ["x,y"]}}),
    ] {
        let (name, value) = bearer(&token(APP, claims.clone()));
        assert_eq!(outcome(&gate, "/", &[(name, &value)]), "claim", "{claims}");
    }
}

#[test]
fn subjects_issuer_and_payload_headers_are_the_providers() {
    let gate = compile(
        "
providers:
  app:
    secrets: [{env: APP}]
    issuer: us
    subjects: {prefix: user_}
    forward: true
    forward_payload_header: X-Payload
    payload_in_filter_state: jwt
default: require
",
    )
    .unwrap();
    let with = |claims: Value| bearer(&token(APP, claims)).1;
    assert_eq!(
        outcome(&gate, "/", &[("authorization", &with(json!({"iss": "us", "sub": "admin_1"})))]),
        "subject"
    );
    assert_eq!(outcome(&gate, "/", &[("authorization", &with(json!({"iss": "us"})))]), "subject");
    assert_eq!(
        outcome(&gate, "/", &[("authorization", &with(json!({"iss": "them", "sub": "user_1"})))]),
        "issuer"
    );
    let good = with(json!({"iss": "us", "sub": "user_1"}));
    let pass = passed(decide(&gate, "/", &[("authorization", &good)]));
    let payload = good.split('.').nth(1).unwrap();
    assert_eq!(pass.mutations, [HeaderMutation::Set("x-payload".into(), payload.as_bytes().into())]);
    let decoded = jwt_gate_token::base64url_decode(payload.as_bytes()).unwrap();
    assert_eq!(pass.allowed.filter_state, [("jwt".to_owned(), decoded)]);
}

#[test]
fn a_grpc_caller_gets_the_status_that_envoy_translates_and_a_sentence() {
    let gate = gate("rules: [{match: {prefix: /}, requires: {provider_name: app, claims: {role: [x]}}}]");
    let reply = |headers: &[(&str, &str)]| match decide(&gate, "/", headers).verdict {
        Verdict::Deny(_, reply) => {
            let Reply { status, headers, body } = &*reply;
            assert!(
                !body.contains('{') && headers.iter().all(|(name, _)| *name != "content-type"),
                "{reply:?}"
            );
            *status
        }
        other => panic!("{other:?}"),
    };
    let (name, value) = bearer(&token(APP, json!({"sub": "u"})));
    assert_eq!(reply(&[("content-type", "application/grpc+proto")]), 401);
    assert_eq!(reply(&[("content-type", "application/grpc"), (name, &value)]), 403);
}

#[test]
fn a_configuration_that_cannot_hold_is_refused_with_its_field() {
    let app = "providers: {app: {secrets: [{env: APP}]}}";
    for (yaml, expected) in [
        ("providers: {}".to_owned(), "providers: is empty"),
        ("rules: []".to_owned(), "configuration: missing field `providers`"),
        ("providers: {app: {secrets: [{env: NOPE}]}}".to_owned(), "providers.app.secrets[0]: $NOPE is not set"),
        (format!("{app}\nrules: [{{match: {{prefix: /}}, requires: {{provider_name: ap}}}}]"),
         "rules[0].requires.provider_name: there is no provider `ap`"),
        (format!("{app}\nrules: [{{match: {{prefix: /, path: /}}}}]"), "rules[0].match: needs exactly one of"),
        (format!("{app}\nrules: [{{match: {{}}}}]"), "rules[0].match: needs exactly one of"),
        (format!("{app}\nrules: [{{match: {{prefix: a}}}}]"), "rules[0].match.prefix: must start with /"),
        (format!("{app}\nrules: [{{match: {{safe_regex: '('}}}}]"), "rules[0].match.safe_regex: "),
        (format!("{app}\nrules: [{{match: {{prefix: /, methods: [get]}}}}]"), "rules[0].match.methods[0]: "),
        (format!("{app}\nrules: [{{match: {{prefix: /}}, requires: {{requires_any: [{{provider_name: x}}]}}}}]"),
         "rules[0].requires.requires_any[0].provider_name: there is no provider"),
        (format!("{app}\nrules: [{{match: {{prefix: /}}, requires: {{claims: {{a: [b]}}}}}}]"), "rules[0].requires.claims: "),
        (format!("{app}\ncache: {{max_entries: 1048577}}"), "cache.max_entries: is more than 1048576"),
        (format!("{app}\nstrip_headers: [a, cookie]"), "strip_headers[1]: `cookie` has a meaning"),
        (format!("{app}\nstat_prefix: 'a b'"), "stat_prefix: "),
        (format!("{app}\nsign_in_redirect: {{url: //evil}}"), "sign_in_redirect.url: "),
        ("providers: {app: {secrets: [{env: APP}], claim_to_headers: [{header_name: ':path', claim_name: sub}]}}".to_owned(),
         "providers.app.claim_to_headers[0].header_name: "),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: x-t}], forward_payload_header: X-T}}".to_owned(),
         "providers.app: `x-t` cannot both"),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: Host}]}}".to_owned(), "providers.app.from_headers[0].name: "),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: 'x ops:'}]}}".to_owned(), "providers.app.from_headers[0].name: "),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: Sec-WebSocket-Protocol}]}}".to_owned(),
         "providers.app.from_headers[0].value_prefix: is needed"),
        ("providers: {app: {secrets: [{env: APP}], from_cookies: ['a b']}}".to_owned(), "providers.app.from_cookies[0]: "),
        ("providers: {app: {secrets: [{env: APP}], from_params: ['a&b']}}".to_owned(), "providers.app.from_params[0]: "),
        ("providers: {app: {secrets: [{env: APP}], audiences: [jwt-gate/internal]}}".to_owned(), "providers.app.audiences: "),
        ("providers: {app: {secrets: [{env: APP}], clock_skew_seconds: 3601}}".to_owned(), "providers.app.clock_skew_seconds: "),
        ("providers: {\"a b\\n.c\": {secrets: [{env: APP}]}}".to_owned(), "providers: the name of a provider"),
        ("providers: {app: {secrets: [{env: APP}], payload_in_filter_state: 'a b'}}".to_owned(), "providers.app.payload_in_filter_state: "),
        ("providers: {app: {secrets: [{env: APP}], claim_to_headers: [{header_name: x-a, claim_name: sub}], forward_payload_header: X_A}}".to_owned(),
         "providers.app.forward_payload_header: is duplicated"),
        ("providers: {app: {secrets: [{env: APP}], claim_to_headers: [{header_name: x-a, claim_name: sub}, {header_name: x_a, claim_name: b}]}}".to_owned(),
         "providers.app.claim_to_headers[1].header_name: is duplicated"),
        ("providers: {app: {secrets: [{env: APP}], claim_to_headers: [{header_name: x-a}]}}".to_owned(),
         "providers.app.claim_to_headers[0]: needs exactly one of claim_name and claim_path"),
        ("providers: {app: {secrets: [{env: APP}], remote_jwks: {}}}".to_owned(),
         "providers.app.remote_jwks: is a field of jwt_authn that the gate does not have; HS256 keys are secrets"),
        ("providers: {app: {local_jwks: {filename: /a}}}".to_owned(), "providers.app.local_jwks.filename: is a field of jwt_authn"),
        (format!("{app}\nrequirement_map: {{}}"), "requirement_map: is a field of jwt_authn"),
        (format!("{app}\nrules: [{{match: {{prefix: /}}, requires: {{provider_and_audiences: {{}}}}}}]"),
         "rules[0].requires.provider_and_audiences: is a field of jwt_authn"),
        (format!("{app}\nrules: [{{match: {{prefix: /, headers: [{{name: x-a, exact_match: b}}]}}}}]"),
         "rules[0].match.headers[0].exact_match: is a field of jwt_authn that the gate does not have; write `string_match"),
        (format!("{app}\nrules: [{{match: {{prefix: /, headers: [{{name: 'x beta:'}}]}}}}]"), "rules[0].match.headers[0].name: "),
        (format!("{app}\nstrip_headers: [x-role]\nrules: [{{match: {{prefix: /, headers: [{{name: X_Role}}]}}}}]"),
         "rules[0].match.headers[0].name: is removed from every request"),
        (format!("{app}\nrules: [{{match: {{prefix: /, headers: [{{name: x-a, string_match: {{prefix: ''}}}}]}}}}]"),
         "rules[0].match.headers[0].string_match.prefix: is empty"),
        (format!("{app}\nsign_in_redirect: {{url: '/sign-in#x'}}"), "sign_in_redirect.url: "),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: x-t}, {name: x-u, value_prefix: 'a,'}]}}".to_owned(),
         "providers.app.from_headers[1].value_prefix: is never found"),
        ("providers: {app: {secrets: [{env: APP}], from_headers: [{name: x-t, value_prefix: ' a'}]}}".to_owned(),
         "providers.app.from_headers[0].value_prefix: is never found"),
        ("providers: {a: {secrets: [{env: APP}]}, b: {secrets: [{env: OPS}]}}\ndefault: require".to_owned(), "default: "),
    ] {
        let message = compile(&yaml).err().unwrap_or_default();
        assert!(message.starts_with(expected), "{yaml}\ngave {message:?}");
    }
}

fn rules(rules: &str) -> Gate {
    compile(&format!("providers: {{app: {{secrets: [{{env: APP}}]}}}}\n{rules}")).unwrap()
}

#[test]
fn host_conditions_look_at_the_authority_without_case_default_port_and_final_dot() {
    for name in ["host", "Host", ":authority"] {
        let gate = rules(&format!(
            "rules:\n- match: {{prefix: /, headers: [{{name: '{name}', string_match: {{exact: Admin.test}}}}]}}\n  requires: {{provider_name: app}}\n- match: {{prefix: /}}"
        ));
        for host in
            ["admin.test", "ADMIN.test", "admin.test:443", "admin.test.:80", "admin.test.", "admin.test:8443"]
        {
            assert_eq!(outcome(&gate, "/", &[(":authority", host)]), "missing_token", "{host}");
        }
        for host in ["other.test", "admin.test.evil"] {
            assert_eq!(outcome(&gate, "/", &[(":authority", host)]), "public", "{host}");
        }
    }
    let regex = rules(
        "rules: [{match: {prefix: /, headers: [{name: host, string_match: {safe_regex: 'Admin[.].*'}}]}, requires: {provider_name: app}}, {match: {prefix: /}}]",
    );
    assert_eq!(outcome(&regex, "/", &[(":authority", "ADMIN.test")]), "missing_token");
}

#[test]
fn header_conditions_mean_what_envoy_means_by_them() {
    // A condition, the values of `x-a`, and whether it holds (Envoy's HeaderMatcher).
    for (condition, values, holds) in [
        ("string_match: {exact: prod}", &[][..], false),
        ("string_match: {exact: prod}, invert_match: true", &[], false),
        ("string_match: {exact: prod}, invert_match: true, treat_missing_header_as_empty: true", &[], true),
        ("string_match: {exact: ''}, treat_missing_header_as_empty: true", &[], true),
        ("string_match: {exact: prod}", &["prod"], true),
        ("string_match: {exact: prod}", &["Prod"], false),
        ("string_match: {exact: PROD, ignore_case: true}", &["Prod"], true),
        ("string_match: {contains: ro}", &["prod"], true),
        ("string_match: {contains: RO, ignore_case: true}", &["prod"], true),
        ("string_match: {safe_regex: 'P.*', ignore_case: true}", &["prod"], false),
        ("string_match: {exact: prod}, invert_match: true", &["test"], true),
        ("range_match: {start: -5, end: 10}", &["9"], true),
        ("range_match: {start: -5, end: 10}", &["10"], false),
        ("range_match: {start: -5, end: 10}", &["x"], false),
        ("range_match: {start: -5, end: 10}, invert_match: true", &["x"], true),
        ("range_match: {start: -5, end: 10}, invert_match: true", &[], false),
        ("present_match: true", &[""], true),
        ("present_match: false", &[], true),
        ("present_match: false", &["a"], false),
        ("present_match: true, invert_match: true", &[], true),
        ("invert_match: true", &["a"], false),
    ] {
        let gate = rules(&format!(
            "rules:\n- {{match: {{prefix: /, headers: [{{name: x-a, {condition}}}]}}}}\n- {{match: {{prefix: /}}, requires: {{provider_name: app}}}}"
        ));
        let headers: Vec<_> = values.iter().map(|value| ("x-a", *value)).collect();
        let expected = if holds { "public" } else { "missing_token" };
        assert_eq!(outcome(&gate, "/", &headers), expected, "{condition} {values:?}");
    }
}

#[test]
fn each_value_of_a_repeated_header_counts() {
    let gate = rules(
        "rules: [{match: {prefix: /, headers: [{name: x-mode, string_match: {exact: admin}}]}, requires: {provider_name: app}}, {match: {prefix: /}}]",
    );
    assert_eq!(outcome(&gate, "/", &[("x-mode", "x")]), "public");
    assert_eq!(outcome(&gate, "/", &[("x-mode", "x"), ("X-Mode", "y")]), "public");
    for values in [["admin", "x"], ["x", "admin"], ["admin", "admin"]] {
        let headers = values.map(|value| ("x-mode", value));
        assert_eq!(outcome(&gate, "/", &headers), "missing_token", "{values:?}");
    }
    let many: Vec<_> = (0..300).map(|_| ("x-mode", "x")).collect();
    assert_eq!(outcome(&gate, "/", &many), "no_rule", "more interpretations than anybody means");
}

#[test]
fn a_method_has_one_meaning() {
    let gate = rules(
        "rules: [{match: {prefix: /m, methods: [POST]}, requires: {provider_name: app}}, {match: {prefix: /m}}, {match: {prefix: /get, methods: [GET]}}, \
         {match: {prefix: /r, methods: [HEAD]}}, {match: {prefix: /r, methods: [GET]}, requires: {provider_name: app}}, {match: {prefix: /}, requires: {provider_name: app}}]",
    );
    let with = |method: &str, path: &str| {
        let headers = [(":method", method), (":path", path)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        match gate.decide(&request_of(&headers.to_vec()), NOW).verdict {
            Verdict::Allow(_) => "public",
            Verdict::Deny(code, _) => code.as_str(),
            Verdict::Undecided => "undecided",
        }
    };
    assert_eq!(with("POST", "/m"), "missing_token");
    assert_eq!(with("PUT", "/m"), "public");
    assert_eq!(with("post", "/m"), "missing_token", "Django runs the handler of POST");
    assert_eq!(with("Put", "/m"), "missing_token", "nothing that can be read in two ways is public");
    assert_eq!(with("HEAD", "/get"), "public");
    assert_eq!(with("HEAD", "/r"), "missing_token", "it is the GET of /r without its body");
}

#[test]
fn paths_are_compared_as_the_backends_router_compares_them() {
    let rules_of = |paths: &str| {
        rules(&format!(
            "paths: {paths}\nrules: [{{match: {{path_separated_prefix: /admin}}, requires: {{provider_name: app, claims: {{role: [admin]}}}}}}, \
             {{match: {{path: /secret}}, requires: {{provider_name: app, claims: {{role: [admin]}}}}}}, {{match: {{prefix: /}}}}]"
        ))
    };
    let express = rules_of("{ignore_case: true, ignore_trailing_slash: true}");
    for path in
        ["/ADMIN/x", "/Admin", "/secret/", "/SECRET", "/secret%3Fx", "/secret%23x", "/secret%3fx", "/admin/"]
    {
        assert_eq!(outcome(&express, path, &[]), "missing_token", "{path}");
    }
    for path in ["/%41dmin/x", "/ADM%C4%B0N", "/%C5%BFecret"] {
        assert_ne!(outcome(&express, path, &[]), "public", "{path}");
    }
    assert_eq!(outcome(&express, "/administration", &[]), "public");
    let exact = rules_of("{}");
    assert_eq!(outcome(&exact, "/secret/", &[]), "public");
    assert_eq!(outcome(&exact, "/SECRET", &[]), "public");
    for path in ["/secret%3Fx", "/secret%23x"] {
        assert_eq!(outcome(&exact, path, &[]), "missing_token", "{path}");
    }
    for path in ["/admin%c0%afx", "/admin%e0%80%afx", "/x/%c0%ae%c0%ae/admin", "/secret%0a"] {
        assert_ne!(outcome(&exact, path, &[]), "public", "{path}");
    }
    let insensitive = rules(
        "rules: [{match: {prefix: /Api, case_sensitive: false}, requires: {provider_name: app}}, {match: {prefix: /}}]",
    );
    assert_eq!(outcome(&insensitive, "/aPI/x", &[]), "missing_token");
}

#[test]
fn an_overlong_slash_is_judged_as_a_slash() {
    let gate = rules(
        "rules: [{match: {path_separated_prefix: /admin}, requires: {provider_name: app, claims: {role: [admin]}}}, {match: {prefix: /}, requires: {provider_name: app}}]",
    );
    let (name, value) = bearer(&token(APP, json!({"sub": "u"})));
    for path in [
        "/admin%c0%afx",
        "/x/%c0%ae%c0%ae/admin",
        "/x/%e0%80%ae./admin",
        "/x/..%f0%80%80%afadmin",
        "/admin%0a",
        "/admin%0A",
    ] {
        assert_eq!(outcome(&gate, path, &[(name, &value)]), "forbidden", "{path}");
    }
}

#[test]
fn a_refused_request_loses_its_tokens() {
    let gate = compile(
        "
providers:
  app: {secrets: [{env: APP}], from_headers: [{name: x-token}], from_params: [access_token], from_cookies: [session]}
  ops: {secrets: [{env: OPS}], forward: true}
rules:
- {match: {prefix: /admin}, requires: {provider_name: app, claims: {role: [admin]}}}
- {match: {prefix: /app}, requires: {provider_name: app}}
",
    )
    .unwrap();
    let good = token(APP, json!({"sub": "u"}));
    let (name, ops) = bearer(&token(OPS, json!({"sub": "o"})));
    let target = |path: &str| format!("{path}?a=1&access_token={good}");
    for path in ["/admin", "/elsewhere"] {
        let decision = decide(&gate, &target(path), &[(name, &ops), ("cookie", "session=x; b=2")]);
        let set = |name: &str, value: String| HeaderMutation::Set(name.into(), value.into_bytes().into());
        let expected = [
            set("cookie", "b=2".into()),
            set(":path", format!("{path}?a=1")),
            HeaderMutation::Remove(name.as_bytes().into()),
        ];
        assert_eq!(decision.mutations.len(), 3);
        assert!(
            expected.iter().all(|mutation| decision.mutations.contains(mutation)),
            "{:?}",
            decision.mutations
        );
    }
    let decision = decide(&gate, "/app", &[("x-token", &good)]);
    assert_eq!(passed(decision).mutations, [HeaderMutation::Remove((*b"x-token").into())]);
}

#[test]
fn the_token_of_another_provider_leaves_too() {
    let gate = gate(
        "rules: [{match: {prefix: /}, requires: {requires_any: [{provider_name: ops}, {provider_name: app}]}}]",
    );
    let (good, other) = (token(OPS, json!({"sub": "o"})), token(APP, json!({"sub": "u"})));
    let cookie = format!("a=1; session={other}");
    let pass = passed(decide(&gate, "/", &[("x-ops-token", &good), ("cookie", &cookie)]));
    assert!(
        pass.mutations.contains(&HeaderMutation::Set("cookie".into(), b"a=1"[..].into())),
        "{:?}",
        pass.mutations
    );
    let tab = format!("Bearer\t{other}");
    let pass = passed(decide(&gate, "/", &[("x-ops-token", &good), ("authorization", &tab)]));
    assert!(
        pass.mutations.contains(&HeaderMutation::Remove((*b"authorization").into())),
        "{:?}",
        pass.mutations
    );
}

#[test]
fn a_preflight_passes_only_as_browsers_send_it() {
    let gate =
        gate("bypass_cors_preflight: true\nrules: [{match: {prefix: /}, requires: {provider_name: app}}]");
    let outcome = |path: &str, more: &[(&str, &str)], body: bool| {
        let marks = [
            (":method", "OPTIONS"),
            (":path", path),
            ("origin", "https://a.test"),
            ("access-control-request-method", "POST"),
        ];
        let headers = marks.iter().chain(more);
        let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        matches!(gate.decide(&Request::new(headers).with_body(body), NOW).verdict, Verdict::Allow(_))
    };
    assert!(outcome("/api", &[], false));
    assert!(!outcome("/open/..;/admin", &[], false));
    assert!(!outcome("/api", &[], true));
    for credentials in [("authorization", "Basic x"), ("cookie", "a=1"), ("x-ops-token", "x")] {
        assert!(!outcome("/api", &[credentials], false), "{credentials:?}");
    }
}

#[test]
fn override_headers_are_removed_unless_they_are_allowed() {
    let headers =
        [("X-Original-URL", "/admin"), ("x_http_method_override", "DELETE"), ("x-rewrite-url", "/b")];
    let stripped = decide(&rules("default: allow"), "/", &headers).stripped;
    assert_eq!(stripped, [&b"X-Original-URL"[..], b"x_http_method_override", b"x-rewrite-url"]);
    assert!(
        decide(&rules("default: allow\nallow_override_headers: true"), "/", &headers).stripped.is_empty()
    );
}

#[test]
fn required_claims_and_claim_paths() {
    let gate = compile(
        r#"
providers:
  app:
    secrets: [{env: APP}]
    required_claims: {token_type: [access]}
    claim_to_headers:
    - {header_name: x-hasura, claim_path: ["https://hasura.io/jwt/claims", "x-hasura-user-id"]}
    - {header_name: x-name, claim_name: name, encoding: percent}
rules:
- match: {prefix: /h}
  requires: {provider_name: app, claims: [{claim_path: ["https://hasura.io/jwt/claims", "x.role"], values: [admin]}]}
- {match: {prefix: /}, requires: {provider_name: app}}
"#,
    )
    .unwrap();
    let with = |claims: Value| bearer(&token(APP, claims)).1;
    let hasura = |role: &str| {
        with(json!({"sub": "u", "token_type": "access", "name": "Zoë 张",
            "https://hasura.io/jwt/claims": {"x-hasura-user-id": "42", "x.role": role}}))
    };
    let good = hasura("admin");
    let pass = passed(decide(&gate, "/h", &[("authorization", &good)]));
    assert!(
        pass.mutations.contains(&HeaderMutation::Set("x-hasura".into(), b"42"[..].into())),
        "{:?}",
        pass.mutations
    );
    assert!(
        pass.mutations.contains(&HeaderMutation::Set("x-name".into(), b"Zo%C3%AB%20%E5%BC%A0"[..].into())),
        "{:?}",
        pass.mutations
    );
    assert_eq!(outcome(&gate, "/h", &[("authorization", &hasura("user"))]), "forbidden");
    for claims in [json!({"sub": "u"}), json!({"sub": "u", "token_type": "refresh"})] {
        assert_eq!(outcome(&gate, "/", &[("authorization", &with(claims))]), "claim");
    }
}

#[test]
fn a_revocation_list_speaks_of_its_own_providers_tokens() {
    let gate = gate(
        "revocation: {cluster: c, provider_name: app}\nrules: [{match: {prefix: /ops}, requires: {provider_name: ops}}, {match: {prefix: /}, requires: {provider_name: app}}]",
    );
    let mut follower = gate.follower.borrow_mut();
    let follower = follower.as_mut().unwrap();
    let _ = follower.poll(NOW, 0.0);
    let page = json!({"cursor": "c1", "sub": [["7", NOW + 1.0, NOW + 600.0]]});
    follower.answer(b"200", page.to_string().as_bytes(), NOW);
    let claims = json!({"sub": "7", "iat": SECONDS});
    let (name, app) = bearer(&token(APP, claims.clone()));
    assert_eq!(outcome(&gate, "/", &[(name, &app)]), "revoked");
    assert_eq!(outcome(&gate, "/ops", &[("x-ops-token", &token(OPS, claims))]), "allowed");
}

#[test]
fn a_maximum_lifetime_needs_to_know_when_the_token_was_issued() {
    let gate =
        compile("providers: {app: {secrets: [{env: APP}], max_lifetime_seconds: 3600}}\ndefault: require")
            .unwrap();
    let with = |claims: Value| outcome(&gate, "/", &[("authorization", &bearer(&token(APP, claims)).1)]);
    assert_eq!(with(json!({"sub": "u", "iat": SECONDS})), "allowed");
    assert_eq!(with(json!({"sub": "u"})), "lifetime");
}

#[test]
fn a_subject_in_a_log_cannot_end_the_line() {
    let gate = rules("default: require");
    let (name, value) = bearer(&token(APP, json!({"sub": "a\n[fake] \"GET /admin\" 200 \u{202e}"})));
    let pass = passed(decide(&gate, "/", &[(name, &value)]));
    assert_eq!(pass.allowed.subject.as_deref(), Some("a\u{fffd}[fake] \"GET /admin\" 200 \u{fffd}"));
}
