//! A configuration that is refused lets nothing through, and says which field is wrong and what to do.

use jwt_gate_tests::{Envoy, Listener, Request, Spec, forge};
use serde_json::{Value, json};

use crate::{app, provider, with};

/// Every class of bad configuration: a name, the configuration, how its log line begins after "refused: ".
fn bad() -> Vec<(&'static str, Value, &'static str)> {
    let with_provider = |fields: Value| with(app(), json!({"providers": {"app": with(provider(), fields)}}));
    let with_secret = |source: Value| with_provider(json!({"secrets": [source]}));
    let with_rule = |rule: Value| with(app(), json!({"rules": [rule]}));
    let with_jwks = |text: &str| {
        let mut provider = with(provider(), json!({"local_jwks": {"inline_string": text}}));
        provider.as_object_mut().expect("an object").remove("secrets");
        with(app(), json!({"providers": {"app": provider}}))
    };
    let short_key = json!({"keys": [{"kty": "oct", "k": forge::base64url("short")}]}).to_string();
    vec![
        ("empty", json!({}), "configuration: "),
        ("no-providers", with(app(), json!({"providers": {}})), "providers: "),
        ("unknown-field", with(app(), json!({"provider": {}})), "provider: unknown field"),
        (
            "unknown-provider-field",
            with_provider(json!({"isuer": "x"})),
            "providers.app.isuer: unknown field",
        ),
        (
            "unknown-rule-field",
            with_rule(json!({"match": {"prefix": "/"}, "require": {}})),
            "rules[0].require: unknown field",
        ),
        (
            "unknown-match-field",
            with_rule(json!({"match": {"prefixx": "/"}})),
            "rules[0].match.prefixx: unknown field",
        ),
        (
            "wrong-type",
            with_provider(json!({"clock_skew_seconds": "soon"})),
            "providers.app.clock_skew_seconds: ",
        ),
        ("negative", with_provider(json!({"clock_skew_seconds": -1})), "providers.app.clock_skew_seconds: "),
        (
            "fraction",
            with_provider(json!({"max_lifetime_seconds": 1.5})),
            "providers.app.max_lifetime_seconds: ",
        ),
        ("bad-default", with(app(), json!({"default": "maybe"})), "default: "),
        ("no-secrets", with_provider(json!({"secrets": []})), "providers.app.secrets: "),
        (
            "unset-secret",
            with_secret(json!({"env": "NOWHERE"})),
            "providers.app.secrets[0]: $NOWHERE is not set",
        ),
        (
            "unset-optional-secret",
            with_secret(json!({"env": "NOWHERE", "optional": true})),
            "providers.app.secrets: ",
        ),
        (
            "short-secret",
            with_secret(json!({"inline": "hush-hush"})),
            "providers.app.secrets[0].inline: is 9 bytes long",
        ),
        ("empty-secret", with_secret(json!({"inline": ""})), "providers.app.secrets[0].inline: is empty"),
        (
            "placeholder",
            with_secret(json!({"inline": "your-256-bit-secret-your-256-bit-secret"})),
            "providers.app.secrets[0].inline: is a placeholder",
        ),
        (
            "not-hex",
            with_secret(json!({"inline": "hush-hush", "encoding": "hex"})),
            "providers.app.secrets[0].inline: is not hex",
        ),
        (
            "bad-encoding",
            with_secret(json!({"inline": "hush-hush", "encoding": "rot13"})),
            "providers.app.secrets[0].encoding: ",
        ),
        (
            "env-and-inline",
            with_secret(json!({"env": "A", "inline": "hush-hush"})),
            "providers.app.secrets[0]: ",
        ),
        ("secret-as-text", with_provider(json!({"secrets": ["hush-hush"]})), "providers.app.secrets[0]: "),
        (
            "secrets-and-jwks",
            with_provider(json!({"local_jwks": {"inline_string": "{}"}})),
            "providers.app: ",
        ),
        ("jwks-not-json", with_jwks("hush-hush"), "providers.app.local_jwks.inline_string: "),
        ("jwks-empty", with_jwks(r#"{"keys":[]}"#), "providers.app.local_jwks.inline_string: "),
        (
            "jwks-rsa",
            with_jwks(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#),
            "providers.app.local_jwks.inline_string.keys[0].kty: ",
        ),
        ("jwks-short", with_jwks(&short_key), "providers.app.local_jwks.inline_string.keys[0].k: "),
        (
            "unknown-provider",
            with_rule(json!({"match": {"prefix": "/"}, "requires": {"provider_name": "nobody"}})),
            "rules[0].requires.provider_name: ",
        ),
        (
            "two-requirements",
            with_rule(
                json!({"match": {"prefix": "/"}, "requires": {"provider_name": "app", "allow_missing": {}}}),
            ),
            "rules[0].requires: ",
        ),
        ("no-path", with_rule(json!({"match": {"methods": ["GET"]}})), "rules[0].match: "),
        ("two-paths", with_rule(json!({"match": {"path": "/", "prefix": "/"}})), "rules[0].match: "),
        ("relative-prefix", with_rule(json!({"match": {"prefix": "api"}})), "rules[0].match.prefix: "),
        ("bad-regex", with_rule(json!({"match": {"safe_regex": "("}})), "rules[0].match.safe_regex: "),
        (
            "groups-regex",
            with_rule(json!({"match": {"safe_regex": "()".repeat(32)}})),
            "rules[0].match.safe_regex: has 32 groups or more",
        ),
        (
            "huge-regex",
            with_rule(json!({"match": {"safe_regex": "/(a{1000}){1000}"}})),
            "rules[0].match.safe_regex: ",
        ),
        (
            "bad-method",
            with_rule(json!({"match": {"prefix": "/", "methods": ["get"]}})),
            "rules[0].match.methods[0]: ",
        ),
        (
            "empty-any",
            with_rule(json!({"match": {"prefix": "/"}, "requires": {"requires_any": []}})),
            "rules[0].requires.requires_any: ",
        ),
        (
            "empty-all",
            with_rule(json!({"match": {"prefix": "/"}, "requires": {"requires_all": []}})),
            "rules[0].requires.requires_all: ",
        ),
        ("header-of-http", with(app(), json!({"strip_headers": ["host"]})), "strip_headers[0]: "),
        ("header-name", with(app(), json!({"strip_headers": ["x user"]})), "strip_headers[0]: "),
        (
            "pseudo-header",
            with_provider(json!({"claim_to_headers": [{"header_name": ":path", "claim_name": "sub"}]})),
            "providers.app.claim_to_headers[0].header_name: ",
        ),
        (
            "header-twice",
            with_provider(
                json!({"claim_to_headers": [{"header_name": "x-a", "claim_name": "a"}, {"header_name": "X-A", "claim_name": "b"}]}),
            ),
            "providers.app.claim_to_headers[1].header_name: ",
        ),
        (
            "payload-header",
            with_provider(json!({"forward_payload_header": "cookie"})),
            "providers.app.forward_payload_header: ",
        ),
        (
            "lost-prefix",
            with_provider(json!({"from_headers": [{"name": "x-token", "value_prefix": "a,"}]})),
            "providers.app.from_headers[0].value_prefix: ",
        ),
        (
            "open-redirect",
            with(app(), json!({"sign_in_redirect": {"url": "//evil.example"}})),
            "sign_in_redirect.url: ",
        ),
        (
            "script-redirect",
            with(app(), json!({"sign_in_redirect": {"url": "javascript:alert(1)"}})),
            "sign_in_redirect.url: ",
        ),
        (
            "require-which",
            with(
                app(),
                json!({"default": "require", "providers": {"app": provider(), "b": with(provider(), json!({"claim_to_headers": []}))}}),
            ),
            "default: ",
        ),
        ("bad-stat-prefix", with(app(), json!({"stat_prefix": "a b"})), "stat_prefix: "),
        ("huge-cache", with(app(), json!({"cache": {"max_entries": 1_048_577}})), "cache.max_entries: "),
    ]
}

/// Configurations that are no JSON object of ours at all, as text.
const BAD_TEXTS: &[(&str, &str, &str)] = &[
    ("text-empty", "", "configuration: "),
    ("text-blank", " \n\t ", "configuration: "),
    ("text-list", "- 1", "configuration: "),
    ("text-open", "{\"providers\": ", ""),
    ("text-duplicate-json", r#"{"default": "deny", "default": "allow", "providers": {}}"#, "default: "),
    ("text-duplicate-yaml", "default: deny\ndefault: allow\nproviders: {}\n", "default: "),
    (
        "text-duplicate-provider",
        "providers:\n  app: {secrets: [{env: BETTER_AUTH_SECRET}]}\n  app: {secrets: [{env: BETTER_AUTH_SECRET}]}\n",
        "providers.app: ",
    ),
    (
        "text-no-space",
        "providers: {app: {secrets: [{inline:hush-hush-0123456789-abcdefghijkl}]}}",
        "providers.app.secrets[0]: needs a space after `inline:`",
    ),
    ("text-two-documents", "providers: {}\n---\nproviders: {}\n", "configuration: "),
    ("text-anchor", "providers: &a\n  app: *a\n", ""),
];

fn assert_refused(envoy: &Envoy, listener: &str, line_start: &str) -> Result<(), String> {
    if envoy.listens(listener) {
        // Some versions of Envoy listen all the same: then every request must be turned away.
        let token = forge::token("user_1", json!({"role": "admin"}));
        for request in [Request::get("/public"), Request::get("/api/me").bearer(token), Request::get("/")] {
            if let Ok(answer) = request.try_send(envoy.port(listener))
                && (answer.seen().is_some() || answer.status < 500)
            {
                return Err(format!("{listener}: answered {answer:?}"));
            }
        }
    }
    // As Envoy marks the lines of a wasm plugin, and as the dynamic module marks its own.
    let marks = [format!(" {listener} "), format!("(filter {listener})")];
    let expected = format!("configuration refused: {line_start}");
    let lines: Vec<_> = envoy
        .log_lines("configuration refused: ")
        .into_iter()
        .filter(|l| marks.iter().any(|mark| l.contains(mark)))
        .collect();
    match lines.as_slice() {
        [] => Err(format!("{listener}: no line says why")),
        lines if lines.iter().all(|line| line.contains(&expected)) => Ok(()),
        lines => Err(format!("{listener}: {lines:?} instead of {expected:?}")),
    }
}

#[test]
fn every_bad_configuration_is_refused_with_its_field_named_and_its_secret_unsaid() {
    let mut spec = Spec::new().discovered().listener(Listener::gated("good", app()));
    for (name, config, _) in bad() {
        spec = spec.listener(Listener::gated(name, config));
    }
    for (name, text, _) in BAD_TEXTS {
        spec = spec.listener(Listener::gated_by_text(name, text));
    }
    let long = " ".repeat(1024 * 1024 + 1);
    let envoy = spec.listener(Listener::gated_by_text("text-long", &long)).start();
    let bad = bad();
    let cases = bad.iter().map(|(name, _, line)| (*name, *line));
    let texts = BAD_TEXTS.iter().map(|(name, _, line)| (*name, *line));
    let texts = texts.chain([("text-long", "configuration: is longer than 1048576 bytes")]);
    let wrong: Vec<_> =
        cases.chain(texts).filter_map(|(name, line)| assert_refused(&envoy, name, line).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!envoy.log().contains("hush-hush"), "the log repeats a secret");
    // The good one beside them is served.
    let token = forge::token("user_1", json!({}));
    Request::get("/api/me").bearer(token).send(envoy.port("good")).reached();
}

#[test]
fn an_envoy_whose_only_configuration_is_bad_does_not_start_or_serves_nothing() {
    let bad = with(app(), json!({"default": "open"}));
    match Spec::new().listener(Listener::gated("bad", bad)).try_start() {
        Err(refused) => assert!(refused.log.contains("configuration refused: default: "), "{refused}"),
        Ok(envoy) => assert_refused(&envoy, "bad", "default: ").unwrap(),
    }
}

#[test]
fn a_gate_without_its_secret_says_how_to_hand_it_over() {
    let spec = Spec::new().vm_environment(json!({"host_env_keys": ["BETTER_AUTH_SECRET"]}));
    let log = match spec.listener(Listener::gated("bad", app())).try_start() {
        Err(refused) => refused.log,
        Ok(envoy) => {
            assert_refused(&envoy, "bad", "providers.app.secrets[0]: ").unwrap();
            envoy.log()
        }
    };
    assert!(log.contains("providers.app.secrets[0]: $BETTER_AUTH_SECRET is not set"), "{log}");
    assert!(log.contains("host_env_keys"), "{log}");
}
