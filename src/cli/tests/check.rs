//! `jwt-gate check`: the real program, on files as people have them.

mod support;

use support::{Ran, file, jwt_gate, jwt_gate_with, repository};

const SECRET: &str = "hush-0123456789-abcdefghij-ABCDEFGHIJ";

fn check(name: &str, text: &str) -> Ran {
    let (_folder, path) = file(name, text);
    jwt_gate(&["check", &path])
}

/// A configuration of its own, with these rules and what else there is.
fn with(rest: &str) -> String {
    format!("providers:\n  app:\n    secrets: [{{env: APP}}]\n{rest}")
}

/// An `envoy.yaml` whose filter has this configuration (in one line of YAML).
fn envoy(configuration: &str) -> String {
    format!(
        "static_resources:
  listeners:
  - filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          http_filters:
          - name: another
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config: {{name: another, configuration: {{\"@type\": type.googleapis.com/google.protobuf.StringValue, value: hello}}}}
          - name: gate
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: gate
                configuration: {configuration}
"
    )
}

#[track_caller]
fn assert_refused(ran: &Ran, place: &str, title: &str) {
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.err.contains(place), "{place} is not in:\n{}", ran.err);
    assert!(ran.err.contains(title), "{title} is not in:\n{}", ran.err);
    assert!(ran.out.contains("refused"), "{ran:?}");
    assert!(!ran.err.contains("hush"), "a secret is shown:\n{}", ran.err);
}

#[test]
fn every_shipped_configuration_is_accepted_without_a_secret_and_without_a_warning() {
    for name in ["envoy.yaml", "better-auth.yaml", "istio/wasmplugin.yaml", "gateway/extension-policy.yaml"] {
        let path = repository().join("envoy").join(name);
        let ran = jwt_gate(&["check", "--deny-warnings", path.to_str().expect("UTF-8")]);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{name}: {}", ran.out);
        assert!(ran.out.contains("ok, 1 provider, "), "{}", ran.out);
        assert!(ran.out.contains("$BETTER_AUTH_SECRET is not set here: a stand-in is used"), "{}", ran.out);
    }
}

#[test]
fn a_secret_that_is_set_is_checked_too() {
    let (_folder, path) = file("gate.yaml", &with("default: require\n"));
    let good = jwt_gate_with(&[("APP", SECRET)], &["check", &path]);
    assert_eq!((good.status, good.out.contains("stand-in")), (0, false), "{good:?}");
    let weak = jwt_gate_with(&[("APP", "hush")], &["check", &path]);
    assert_refused(&weak, "gate.yaml:3:15", "providers.app.secrets[0]: $APP is 4 bytes long");
}

#[test]
fn a_mistake_is_shown_in_the_line_and_column_where_it_is() {
    let ran = check("gate.yaml", &with("rules:\n- match: {prefx: /a}\n"));
    assert_refused(&ran, "gate.yaml:5:11", "rules[0].match.prefx: unknown field");
    assert!(ran.err.contains("5 | - match: {prefx: **}\n"), "{}", ran.err);
    assert!(ran.err.contains("^^^^^ unknown field"), "{}", ran.err);
    let ran = check(
        "gate.json",
        "{\"providers\": {\"app\": {\"secrets\": [{\"env\": \"APP\"}]}},\n \"default\": \"maybe\"}",
    );
    assert_refused(&ran, "gate.json:2:13", "default: must be one of");
    let ran =
        check("gate.yaml", &with("rules:\n- match: {prefix: /}\n  requires: {provider_name: nobody}\n"));
    assert_refused(&ran, "gate.yaml:6:29", "there is no provider `nobody`");
    let header = "rules: [{match: {prefix: /, headers: [{name: X-User}]}}]\nstrip_headers: [x-user]\n";
    assert_refused(&check("gate.yaml", &with(header)), "gate.yaml:4:46", "is removed from every request");
    assert_refused(
        &check("gate.yaml", &with("default: deny\ndefault: deny\n")),
        "gate.yaml:5:1",
        "is there twice",
    );
}

#[test]
fn a_configuration_is_found_in_whatever_it_is_part_of() {
    let bad = "{providers: {app: {secrets: [{env: APP}]}}, rules: [{match: {}}]}";
    let typed = format!("{{\"@type\": type.googleapis.com/google.protobuf.Struct, value: {bad}}}");
    assert_refused(
        &check("envoy.yaml", &envoy(&typed)),
        "envoy.yaml:17:",
        "rules[0].match: needs exactly one of",
    );
    let plugin = format!(
        "kind: ConfigMap\ndata: {{a: b}}\n---\nkind: WasmPlugin\nmetadata: {{name: x}}\nspec:\n  pluginConfig: {bad}\n"
    );
    assert_refused(&check("all.yaml", &plugin), "all.yaml:7:", "rules[0].match: needs exactly one of");
    let policy = format!(
        "kind: EnvoyExtensionPolicy\nspec:\n  wasm:\n  - {{name: other, config: {{a: b}}}}\n  - name: gate\n    config: {bad}\n"
    );
    assert_refused(&check("policy.yaml", &policy), "policy.yaml:6:", "rules[0].match: needs exactly one of");
    let module =
        envoy(&typed).replace("http.wasm.v3.Wasm", "http.dynamic_modules.v3.DynamicModuleFilter").replace(
            "              config:\n                name: gate\n                configuration:",
            "              filter_config:",
        );
    assert_refused(&check("module.yaml", &module), "module.yaml:15:", "rules[0].match: needs exactly one of");
    let several = format!("{}---\n{}", with("default: deny\n"), with("default: allow\n"));
    let ran = check("several.yaml", &several);
    assert_eq!((ran.status, ran.out.matches(": ok").count()), (0, 2), "{ran:?}");
    for nothing in ["a: b\n", "kind: Deployment\n", ""] {
        let ran = check("other.yaml", nothing);
        assert_eq!(ran.status, 1);
        assert!(ran.err.contains("holds no configuration of the gate"), "{}", ran.err);
    }
}

#[test]
fn a_mistake_in_json_text_is_shown_where_it_stands_in_the_file() {
    let block = "\n                  \"@type\": type.googleapis.com/google.protobuf.StringValue\n                  value: |\n                    {\"providers\": {\"app\": {\"secrets\": [{\"inline\": \"hush-hush\"}]}},\n\n                     \"default\": \"maybe\"}";
    assert_refused(&check("envoy.yaml", &envoy(block)), "envoy.yaml:22:33", "default: must be one of");
    let weak = block.replace("\"maybe\"", "\"deny\"");
    assert_refused(&check("envoy.yaml", &envoy(&weak)), "envoy.yaml:20:67", "is 9 bytes long");
    let quoted = "{\"@type\": type.googleapis.com/google.protobuf.StringValue, value: '{\"providers\": {}}'}";
    assert_refused(&check("envoy.yaml", &envoy(quoted)), "envoy.yaml:17:", "providers: is empty");
    let escaped = "{\"@type\": type.googleapis.com/google.protobuf.StringValue, value: \"{\\\"providers\\\": {\\\"a\\\": {\\\"secrets\\\": [{\\\"inline\\\": \\\"hush\\\"}]}}}\"}";
    assert_refused(&check("envoy.yaml", &envoy(escaped)), "envoy.yaml:17:", "is 4 bytes long");
}

#[test]
fn no_picture_shows_a_secret() {
    for text in [
        "providers: {app: {secrets: [{inline: hush-0123456789-abcdefghij-ABCDEFGHIJ, encodin: hex}]}}",
        "providers: {app: {secrets: [{inline:hush-0123456789-abcdefghij-ABCDEFGHIJ}]}}",
        "providers: {app: {secrets: [hush-0123456789-abcdefghij-ABCDEFGHIJ]}}",
        "providers: {app: {secrets: hush-0123456789-abcdefghij-ABCDEFGHIJ}}",
        "providers: {app: {local_jwks: {inline_string: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"hush\"}]}'}}}",
        "providers: {app: {local_jwks: {inline_string: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"hush\"}]}'}, x: 1}}",
        "providers:\n  app:\n    secret   - {inline: hush-hush}",
        "providers:\n  app:\n    line: hush-hush}\n",
        "providers: {app: {secrets: [{inline:hush}]}}",
        "providers: {app: {secret: [hush]}}",
        "providers: {app: {secrets: [], inlin: 1, inline: hush}}",
        "x: &s hush-0123456789-abcdefghij-ABCDEFGHIJ\nproviders: {app: {secrets: [{inline: *s}]}}",
    ] {
        let ran = check("gate.yaml", text);
        assert_refused(&ran, "gate.yaml", "error");
    }
    for broken in [
        "secrets: [{inline: 'hush hush hush'}\n}",
        "a: 'hush-0123456789-abcdefghij-ABCDEFGHIJ",
        "providers:\n  app:\n    - line: ret-hush\u{2020}}\n   x",
        "inline: [hush",
    ] {
        let ran = check("gate.yaml", broken);
        assert!(
            ran.status == 1 && ran.err.contains("is not YAML") && !ran.err.contains("hush"),
            "{}",
            ran.err
        );
    }
}

/// The titles of the warnings.
fn warnings(text: &str) -> Vec<String> {
    let ran = check("gate.yaml", text);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!ran.err.contains("hush"), "{}", ran.err);
    let titles = ran.err.lines().filter_map(|line| line.strip_prefix("warning: "));
    titles.map(str::to_owned).collect()
}

#[test]
fn a_rule_that_another_one_hides_is_told() {
    let asks = "requires: {provider_name: app}";
    let rules = |rules: &str| warnings(&with(&format!("rules:\n{rules}")));
    assert_eq!(
        rules(&format!("- {{match: {{prefix: /}}}}\n- {{name: staff, match: {{path: /admin}}, {asks}}}\n")),
        ["`staff` never asks for its token: `rules[0]` is public, and comes first"]
    );
    assert_eq!(
        rules(&format!("- {{match: {{prefix: /a}}, {asks}}}\n- {{match: {{prefix: /a/b}}, {asks}}}\n")),
        ["`rules[1]` decides about no request: `rules[0]` comes first"]
    );
    assert_eq!(
        rules(&format!("- {{match: {{prefix: /a, methods: [GET]}}}}\n- {{match: {{path: /a/b}}, {asks}}}\n")),
        ["some requests that `rules[1]` is for are public: `rules[0]` comes first"]
    );
    let exception = format!("- {{match: {{path: /a/login}}}}\n- {{match: {{prefix: /a}}, {asks}}}\n");
    assert!(rules(&exception).is_empty(), "a narrower public rule first is how an exception is written");
    let other_place = format!("- {{match: {{prefix: /b}}}}\n- {{match: {{prefix: /a}}, {asks}}}\n");
    assert!(rules(&other_place).is_empty());
}

#[test]
fn what_is_probably_not_meant_is_told_and_can_be_made_an_error() {
    let asks = "rules: [{match: {prefix: /}, requires: {provider_name: app}}]\n";
    assert_eq!(warnings(&with("default: allow\n"))[1..], ["every request that no rule is for is public"]);
    assert_eq!(warnings(&with("default: deny\n")), ["no rule asks for a token of `app`"]);
    assert!(warnings(&with("default: require\n")).is_empty());
    assert!(warnings(&with("rules: [{match: {prefix: /}, requires: {allow_missing: {}}}]\n")).is_empty());
    let any = "rules: [{match: {prefix: /}, requires: {requires_any: [{provider_name: app}]}}]\n";
    assert!(warnings(&with(any)).is_empty());
    let inline = with(asks).replace("env: APP", &format!("inline: {SECRET}"));
    assert_eq!(warnings(&inline), ["a secret is written into the configuration"]);
    let twins = with(&format!("    from_cookies: [s, __Host-s]\n{asks}"));
    assert_eq!(warnings(&twins), ["`s` undoes what `__Host-s` is for"]);
    let (_folder, path) = file("gate.yaml", &twins);
    assert_eq!(jwt_gate(&["check", "--deny-warnings", &path]).status, 1);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_the_others_are_still_checked() {
    let (_folder, path) = file("gate.yaml", &with("default: require\n"));
    let ran = jwt_gate(&["check", "/nowhere/gate.yaml", &path]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("cannot read /nowhere/gate.yaml") && ran.out.contains(": ok"), "{ran:?}");
    assert_eq!(jwt_gate(&["check"]).status, 2, "a mistake in the command line is another status");
}
