//! Tokens of another kind under the same secret (RFC 8725 §3.11, §3.12).

#![expect(clippy::unwrap_used, reason = "tests")]

use jwt_gate::{DenyReason, Verdict, config};
use jwt_gate_token::{Keyring, Refusal, Secret, issue};
use serde_json::{Value, json};

use support::{Gate, request_of};

mod support;

const NOW: f64 = 1_700_000_000.0;
const SECRET: &str = "app-0123456789abcdef0123456789abcdef";

/// The provider of docs/better-auth.md.
const CONFIG: &str = "
providers:
  better_auth:
    secrets: [{inline: app-0123456789abcdef0123456789abcdef}]
    from_cookies: [better-auth.session_data]
    claim_to_headers:
    - {header_name: x-user-id, claim_name: user.id, required: true}
    - {header_name: x-user-email, claim_name: user.email}
default: require
";

fn verdict(claims: &Value) -> Verdict {
    let gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
    let keyring = Keyring::new([Secret::from_utf8(SECRET).unwrap()]).unwrap();
    let token = issue(&keyring, claims.as_object().unwrap()).unwrap();
    let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    let headers = vec![
        header(":method", "GET".to_owned()),
        header(":path", "/notes".to_owned()),
        header("cookie", format!("better-auth.session_data={token}")),
    ];
    gate.decide(&request_of(&headers), NOW).verdict
}

#[test]
fn the_token_of_a_link_in_a_mail_is_no_session() {
    let (iat, exp) = (NOW, NOW + 600.0);
    let session =
        json!({"session": {}, "user": {"id": "u1", "email": "ada@example.com"}, "iat": iat, "exp": exp});
    assert!(matches!(verdict(&session), Verdict::Allow(allowed) if allowed.authenticated));
    // What Better Auth 1.7.25 signs with the same secret to verify an address: neither `typ` nor `aud` tells it apart.
    let link = json!({"email": "ada@example.com", "userId": "u1", "iat": iat, "exp": exp});
    assert!(matches!(verdict(&link), Verdict::Deny(DenyReason::Token(Refusal::Claim), _)));
}
