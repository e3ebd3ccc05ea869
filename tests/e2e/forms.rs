//! The configuration in each form in which it arrives, and the secret from each place.

use jwt_gate_tests::{ConfigForm, Envoy, Listener, Request, Spec, forge};
use serde_json::json;

use crate::{app, envoy, with};

const YAML: &str = r#"
# As a person would write it into a StringValue.
providers:
  app:
    issuer: "jwt-gate"
    secrets:
      - env: BETTER_AUTH_SECRET
    from_headers:
      - {name: Authorization, value_prefix: "Bearer "}
    from_cookies: [session, better-auth.session_data]
    claim_to_headers:
      - {header_name: x-user-id, claim_name: sub, required: true}
      - header_name: x-user-email
        claim_name: email
    clock_skew_seconds: 0x3c
rules:
  - match: {path: /public}
  - match:
      prefix: /api/
    requires: &app {provider_name: app}
  - match: {safe_regex: '/v[0-9]+'}
    requires: {provider_name: app}
default: deny
"#;

pub(crate) fn listeners() -> Vec<Listener> {
    let json_text = with(app(), json!({"default": "deny"}));
    vec![
        Listener::gated("form-json", json_text.clone()).form(ConfigForm::JsonText),
        Listener::gated_by_text("form-pretty-json", &format!("\n\n{json_text:#}\n")),
        Listener::gated_by_text("form-yaml", &YAML.replace("&app ", "").replace("0x3c", "60")),
        Listener::gated_by_text(
            "form-yaml-crlf",
            &YAML.replace("&app ", "").replace("0x3c", "60").replace('\n', "\r\n"),
        ),
    ]
}

fn assert_gates(envoy: &Envoy, listener: &str, secret: &str) {
    let port = envoy.port(listener);
    let token = forge::token_of(secret, &forge::claims("user_1", json!({"email": "ada@example.com"})));
    let seen = Request::get("/api/me").bearer(token).send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"), "{listener}");
    assert_eq!(seen.one("x-user-email").as_deref(), Some("ada@example.com"), "{listener}");
    Request::get("/api/me").send(port).assert_denied(401, "missing_token");
    let other = forge::token_of(forge::OTHER_SECRET, &forge::claims("user_1", json!({})));
    Request::get("/api/me").bearer(other).send(port).assert_denied(401, "bad_signature");
    Request::get("/public").send(port).reached();
    Request::get("/none").send(port).assert_denied(403, "no_rule");
}

#[test]
fn a_struct_json_text_and_yaml_text_configure_the_same_gate() {
    for listener in ["app", "form-json", "form-pretty-json", "form-yaml", "form-yaml-crlf"] {
        assert_gates(&envoy(), listener, forge::SECRET);
    }
}

/// `$JWT_GATE_DELIVERY` is read by whoever starts an Envoy.
#[test]
fn every_gate_gets_into_envoy_in_the_way_that_this_run_is_about() {
    let whole = envoy().admin().get("/config_dump");
    let discovered = whole.matches(r#""ecds_filter": {"#).count();
    let by_a_mesh = std::env::var("JWT_GATE_DELIVERY").is_ok_and(|delivery| delivery == "mesh");
    // One listener has two.
    assert_eq!(discovered, if by_a_mesh { crate::listeners().len() + 1 } else { 0 });
    let in_resources = !by_a_mesh && !jwt_gate_tests::native::is_module();
    assert_eq!(whole.contains(forge::SECRET), in_resources, "only wasm VMs have variables in resources");
    assert_eq!(whole.contains("google.protobuf.Struct"), !by_a_mesh, "they hold JSON text");
}

#[test]
fn the_secret_comes_from_envoys_own_environment_rotation_list_first() {
    const NEW: &str = "new-0123456789-abcdefghij-ABCDEFGHIJ";
    const OLD: &str = "old:0123456789-abcdefghij-ABCDEFGHIJ";
    let rotating = with(
        app(),
        json!({"providers": {"app": with(crate::provider(), json!({"secrets": [
            {"env": "BETTER_AUTH_SECRETS", "optional": true}, {"env": "BETTER_AUTH_SECRET"},
        ]}))}}),
    );
    let envoy = Spec::new()
        .vm_environment(json!({"host_env_keys": ["BETTER_AUTH_SECRETS", "BETTER_AUTH_SECRET"]}))
        .environment("BETTER_AUTH_SECRETS", &format!("2:{NEW},1:{OLD}"))
        .environment("BETTER_AUTH_SECRET", forge::SECRET)
        .listener(Listener::gated("rotating", rotating))
        .start();
    for secret in [NEW, OLD, forge::SECRET] {
        assert_gates(&envoy, "rotating", secret);
    }
    // Both programs print the kid, newest first, so that a mismatch can be seen.
    let kid = |secret: &str| jwt_gate_token::Secret::from_utf8(secret).expect("a secret").kid().to_owned();
    let line = envoy.log_lines("kid").join("\n");
    assert!(line.contains(&[NEW, OLD, forge::SECRET].map(kid).join(", ")), "{line}");
    let log = envoy.log();
    for secret in [NEW, OLD, forge::SECRET] {
        assert!(!log.contains(secret), "the log holds a secret");
    }
}
