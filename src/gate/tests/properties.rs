//! What holds for every request, whatever its bytes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use jwt_gate::{HeaderMutation, Verdict, config};
use jwt_gate_token::{Keyring, Secret, issue};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use support::{Gate, Headers, request_of};

mod support;

const NOW: f64 = 1_700_000_000.0;
const SECRET: &str = "app-0123456789abcdef0123456789abcdef";

thread_local! {
    static GATE: Gate = compile();
}

fn decide(headers: Headers) -> support::Decided {
    GATE.with(|gate| gate.decide(&request_of(&headers), NOW))
}

fn compile() -> Gate {
    let yaml = "
providers:
  app:
    secrets: [{inline: app-0123456789abcdef0123456789abcdef}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}]
    from_cookies: [session]
    from_params: [token]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
rules:
  - {match: {path: /public}}
  - {match: {prefix: /open/}}
  - {match: {safe_regex: '/v[0-9]+/.*'}, requires: {allow_missing: {provider_name: app}}}
  - {match: {prefix: /admin, headers: [{name: x-a, string_match: {suffix: b}}]}, requires: {provider_name: app, claims: {role: [admin]}}}
  - {match: {prefix: /}, requires: {provider_name: app}}
sign_in_redirect: {url: /sign-in}
";
    Gate::new(config::read(yaml.as_bytes()).unwrap(), &|_| None).unwrap()
}

fn good_token() -> String {
    let claims = json!({"sub": "user_1", "exp": 1_700_000_600});
    issue(&Keyring::new([Secret::from_utf8(SECRET).unwrap()]).unwrap(), claims.as_object().unwrap()).unwrap()
}

/// Any bytes, or bytes that look like what the gate reads.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..60),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        "(Bearer|bearer|Basic) ?[A-Za-z0-9_.,=-]{0,60}".prop_map(String::into_bytes),
        "(session|a|\"|;|=| ){0,12}".prop_map(String::into_bytes),
        "/(open|public|admin|v1|\\.\\.|\\.|%2e|%2F|%|;|//|\\\\|\\?|token=|&|#|a){0,8}"
            .prop_map(String::into_bytes),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            ":path",
            ":method",
            "authorization",
            "cookie",
            "accept",
            "content-type",
            "origin",
            "x-user-id",
            "X_USER.ID",
            "x-a",
            "sec-fetch-mode",
            "access-control-request-method",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z_.-]{1,12}",
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    vec((name(), value()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_panics_and_none_without_our_token_is_authenticated(headers in headers()) {
        let decision = decide(headers.clone());
        if let Verdict::Allow(allowed) = decision.verdict {
            prop_assert!(!allowed.authenticated);
            prop_assert!(decision.mutations.is_empty() && allowed.subject.is_none());
        }
        for (name, _) in headers {
            let folded: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
            prop_assert_eq!(folded == "x-user-id", decision.stripped.contains(&name.into_bytes()));
        }
    }

    #[test]
    fn a_good_token_opens_whatever_else_the_request_holds_and_leaves_with_it(
        path in "/[a-z]{1,8}",
        cookies in vec("[a-rt-z]{1,5}=[ -:<-~]{0,8}", 0..5),
        at in 0_usize..5,
    ) {
        let token = good_token();
        let mut pairs = cookies.clone();
        pairs.insert(at.min(pairs.len()), format!("session={token}"));
        let headers = vec![
            (":method".to_owned(), b"GET".to_vec()),
            (":path".to_owned(), path.clone().into_bytes()),
            ("cookie".to_owned(), pairs.join("; ").into_bytes()),
        ];
        let decision = decide(headers);
        prop_assert!(matches!(decision.verdict, Verdict::Allow(_)), "refused");
        prop_assume!(path != "/public" && !path.starts_with("/v"));
        prop_assert!(decision.mutations.contains(&HeaderMutation::Set("x-user-id".into(), (*b"user_1").into())));
        let expected = cookies.join("; ").trim().as_bytes().to_vec();
        let cookie = if expected.is_empty() { HeaderMutation::Remove((*b"cookie").into()) } else { HeaderMutation::Set("cookie".into(), expected.into()) };
        prop_assert!(decision.mutations.contains(&cookie), "{:?}", decision.mutations);
    }

    #[test]
    fn a_query_without_the_token_keeps_every_other_byte(
        pairs in vec("[a-su-z%]{1,5}(=[a-z%/?=+]{0,8})?", 0..5),
        at in 0_usize..5,
    ) {
        let mut all = pairs.clone();
        all.insert(at.min(all.len()), format!("token={}", good_token()));
        let headers = vec![
            (":method".to_owned(), b"GET".to_vec()),
            (":path".to_owned(), format!("/x?{}", all.join("&")).into_bytes()),
        ];
        let decision = decide(headers);
        prop_assert!(matches!(decision.verdict, Verdict::Allow(_)), "refused");
        let expected = if pairs.is_empty() { "/x".to_owned() } else { format!("/x?{}", pairs.join("&")) };
        prop_assert!(decision.mutations.contains(&HeaderMutation::Set(":path".into(), expected.into_bytes().into())), "{:?}", decision.mutations);
    }

    #[test]
    fn a_way_back_is_always_a_path_on_this_host(path in value()) {
        let headers = vec![
            (":method".to_owned(), b"GET".to_vec()),
            (":path".to_owned(), path),
            ("accept".to_owned(), b"text/html".to_vec()),
        ];
        if let Verdict::Deny(_, reply) = decide(headers).verdict
            && let jwt_gate::Reply { headers, .. } = &*reply
            && let Some((_, location)) = headers.iter().find(|(name, _)| *name == "location")
        {
            let back = location.strip_prefix("/sign-in?next=").unwrap();
            prop_assert!(back.starts_with('/') && !back.starts_with("//"), "{location}");
            prop_assert!(back.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/%-._~".contains(&byte)));
        }
    }

    #[test]
    fn no_configuration_panics(bytes in vec(any::<u8>(), 0..200), text in "[ -~\n]{0,200}") {
        let _ = config::read(&bytes);
        let _ = config::read(text.as_bytes());
        let mut wire = vec![0x0a];
        wire.extend(bytes);
        let _ = config::read(&wire);
    }
}
