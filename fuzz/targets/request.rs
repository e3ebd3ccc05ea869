//! Whole requests: an identity comes from a token in that request, a spoofed one goes, nothing tells a token.
#![no_main]

use jwt_gate::{HeaderMutation, Reply, Verdict, config};
use jwt_gate_fuzz::{NOW, expand, headers, holds, percent_decoded, planted};
use libfuzzer_sys::fuzz_target;

use crate::support::{Decided, Gate, request_of};

#[path = "../../src/gate/tests/support/mod.rs"]
mod support;

const CONFIG: &str = "
providers:
  app:
    secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}]
    from_cookies: [session]
    from_params: [token]
    claim_to_headers:
    - {header_name: x-user-id, claim_name: sub, required: true}
    - {header_name: x-user-roles, claim_name: app.roles}
    forward_payload_header: x-payload
    payload_in_filter_state: claims
  ops:
    secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]
    from_headers: [{name: x-ops-token}]
    forward: true
    claim_to_headers: [{header_name: x-operator, claim_name: sub, required: true}]
rules:
  - {match: {path: /public}}
  - {match: {prefix: /optional}, requires: {allow_missing: {provider_name: app}}}
  - {match: {prefix: /lax}, requires: {allow_missing_or_failed: {provider_name: app}}}
  - match: {prefix: /admin, methods: [GET, POST]}
    requires: {provider_name: app, claims: {role: [admin]}}
  - {match: {prefix: /both}, requires: {requires_all: [{provider_name: app}, {provider_name: ops}]}}
  - {match: {prefix: /either}, requires: {requires_any: [{provider_name: app}, {provider_name: ops}]}}
  - {match: {prefix: /header, headers: [{name: x-a, string_match: {suffix: b}}]}, requires: {provider_name: app}}
  - {match: {prefix: /deny}, requires: {provider_name: app, claims: {role: [nobody]}}}
  - {match: {prefix: /}, requires: {provider_name: app}}
strip_headers: [x-internal-role]
sign_in_redirect: {url: /sign-in}
bypass_cors_preflight: true
";

const GUARDED: [&str; 5] = ["x-user-id", "x-user-roles", "x-payload", "x-operator", "x-internal-role"];

/// What backends let override the path or the method.
const OVERRIDES: [&str; 8] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

thread_local! {
    static GATE: Gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
}

fuzz_target!(|input: &[u8]| {
    let expanded = expand(input);
    let headers = headers(&expanded);
    let decide = || GATE.with(|gate| gate.decide(&request_of(&headers), NOW));
    let Decided { stripped, mutations, verdict, .. } = decide();
    assert_eq!(verdict, decide().verdict, "the cache changes nothing");
    for (name, _) in &headers {
        let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
        let folded: Vec<u8> = name.bytes().map(fold).collect();
        let guarded = GUARDED.iter().chain(&OVERRIDES).any(|guarded| guarded.as_bytes() == folded);
        assert_eq!(guarded, stripped.iter().any(|gone| gone == name.as_bytes()), "{name:?}");
    }
    match verdict {
        Verdict::Deny(_, reply) => tells_nothing(&headers, &reply),
        Verdict::Undecided => panic!("the clock told the time"),
        Verdict::Allow(allowed) => {
            let decoded = percent_decoded(&expanded);
            let present = |subject: &[u8]| {
                planted().iter().any(|planted| {
                    let token = planted.token.as_bytes();
                    planted.good
                        && planted.subject.as_bytes() == subject
                        && (holds(&expanded, token) || holds(&decoded, token))
                })
            };
            assert!(allowed.authenticated || (mutations.is_empty() && allowed.filter_state.is_empty()));
            assert_eq!(allowed.authenticated, allowed.subject.is_some());
            assert!(allowed.subject.iter().all(|subject| present(subject.as_bytes())));
            for mutation in &mutations {
                if let HeaderMutation::Set(name, value) = mutation
                    && ["x-user-id", "x-operator"].contains(&&**name)
                {
                    assert!(present(value), "{name} without its token");
                }
            }
        }
    }
});

/// No reply holds a token, but for one in the path itself, to which a sign-in page leads back.
fn tells_nothing(headers: &[(String, Vec<u8>)], reply: &Reply) {
    let target = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(":path"));
    let target = target.map(|(_, value)| value.as_slice()).unwrap_or_default();
    let Reply { headers, body, .. } = reply;
    let text: Vec<u8> = headers.iter().flat_map(|(_, value)| value.bytes()).chain(body.bytes()).collect();
    for planted in planted() {
        let signature = planted.token.rsplit('.').next().unwrap_or_default();
        let led_back = holds(target, signature.as_bytes());
        assert!(led_back || !holds(&text, signature.as_bytes()), "a reply holds a signature");
    }
    let control = |byte: &u8| byte.is_ascii_control();
    assert!(!headers.iter().any(|(_, value)| value.as_bytes().iter().any(control)));
}
