//! Whatever the feed answers, the next call is well formed, and what a good page revokes is refused.
#![no_main]

use std::sync::Arc;

use jwt_gate::{DenyReason, PollOutcome, Reply, Request, Verdict, config};
use jwt_gate_fuzz::{NOW, planted};
use jwt_gate_token::Refusal;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use crate::support::Gate;

#[path = "../../src/gate/tests/support/mod.rs"]
mod support;

const CONFIG: &str = "
providers: {app: {secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]}}
default: require
revocation: {cluster: companion}
cache: {max_entries: 8}
";

/// Answers are parted by a NUL; the first byte of each is its status.
fn main_of(input: &[u8]) {
    let gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
    let mut follower = gate.follower.borrow_mut();
    let follower = follower.as_mut().expect("a follower");
    let token = &planted()[0];
    let bearer = format!("Bearer {}", token.token);
    let headers = [(":method", "GET"), (":path", "/"), ("authorization", bearer.as_str())];
    let request = Request::new(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let mut revoked = false;
    for (instant, answer) in (0_u32..).zip(input.split(|byte| *byte == 0).take(16)) {
        let (status, body) = answer.split_first().map_or((b' ', answer), |(status, body)| (*status, body));
        let status: &[u8] = match status {
            b'5' => b"500",
            b'4' => b"401",
            b' ' => b"",
            _ => b"200",
        };
        let (entries, failures) = (follower.revocations().entries(), follower.failures());
        let outcome = follower.answer(status, body, NOW);
        follower.tick(instant.into());
        assert_eq!(outcome == PollOutcome::Failed, follower.failures() > failures);
        if status != b"200" {
            assert_eq!((outcome, follower.revocations().entries()), (PollOutcome::Failed, entries), "only 200 is an answer");
        }
        let call = follower.poll(NOW, instant.into());
        for (name, value) in &call.headers {
            let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            assert!(value.bytes().all(plain), "{name}: {value:?}");
            if *name == ":path" {
                assert!(!value.contains([' ', '#']) && value.matches(['?', '&']).count() <= 1, "{value:?}");
            }
        }
        revoked |= outcome != PollOutcome::Failed && revokes(body, token.subject);
        let refused = Verdict::Deny(DenyReason::Token(Refusal::Revoked), refusal(&gate, &request));
        if revoked {
            assert_eq!(gate.decide(&request, NOW).verdict, refused);
        }
    }
}

/// The reply that goes with the verdict, so that it can be compared.
fn refusal(gate: &Gate, request: &Request<'_>) -> Arc<Reply> {
    match gate.decide(request, NOW).verdict {
        Verdict::Deny(_, reply) => reply,
        Verdict::Allow(_) | Verdict::Undecided => Arc::new(Reply { status: 0, headers: Vec::new(), body: String::new() }),
    }
}

/// Whether a page revokes the token whose `jti` and `sub` are `name`, read apart.
fn revokes(body: &[u8], name: &str) -> bool {
    let Ok(page) = serde_json::from_slice::<Value>(body) else { return false };
    let items = |list: &str| page[list].as_array().cloned().unwrap_or_default();
    let alive = |date: &Value| date.as_f64().is_some_and(|date| date > NOW);
    items("jti").iter().any(|item| item[0] == name && alive(&item[1]))
        || items("sub")
            .iter()
            .any(|item| item[0] == name && item[1].as_f64().is_some_and(|from| from > NOW) && alive(&item[2]))
}

fuzz_target!(|input: &[u8]| main_of(input));
