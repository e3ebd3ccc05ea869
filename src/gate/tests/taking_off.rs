//! Taking the token off a request.

#![expect(clippy::unwrap_used, reason = "tests")]

use jwt_gate::{Verdict, config};
use jwt_gate_token::{Keyring, Secret, issue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use crate::support::{Gate, request_of};
use crate::taken_off::{Names, keeps_every_other_byte};

#[path = "oracle/readings.rs"]
#[expect(dead_code, reason = "of the readings only one is needed here")]
mod readings;
mod support;
#[path = "oracle/taken_off.rs"]
mod taken_off;

const NOW: f64 = 1_700_000_000.0;
const SECRET: &str = "app-0123456789abcdef0123456789abcdef";

const CONFIG: &str = "
providers:
  app:
    secrets: [{inline: app-0123456789abcdef0123456789abcdef}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}, {name: x-token}]
    from_cookies: [session, sid]
    from_params: [token, t]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
default: require
";

const NAMES: Names = Names { cookies: &["session", "sid"], params: &["token", "t"] };

thread_local! {
    static GATE: Gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
    static TOKEN: String = {
        let keyring = Keyring::new([Secret::from_utf8(SECRET).unwrap()]).unwrap();
        issue(&keyring, json!({"sub": "user_1", "exp": 1_700_000_600}).as_object().unwrap()).unwrap()
    };
}

/// Bytes that a pair may consist of: any but those that part it from the next.
fn bytes(ends: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_filter("it parts pairs", move |byte| !ends.contains(byte)), 0..10)
}

/// A pair of any bytes, one that nearly has one of `names`, or one that has it, with the token or without.
fn pair(names: &'static [&'static str], ends: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let near = select(vec![
        "sessio", "xsession", "Session", "session2", "toke", "Token", "tt", "", "%74%", "%74oken", "%74",
    ]);
    let token = || TOKEN.with(Clone::clone);
    prop_oneof![
        3 => bytes(ends),
        2 => (near.clone(), bytes(ends)).prop_map(|(name, value)| [name.as_bytes(), b"=", &value].concat()),
        1 => near.prop_map(move |name| format!("{name}={}", token()).into_bytes()),
        3 => select(names).prop_map(move |name| format!("{name}={}", token()).into_bytes()),
        1 => select(names).prop_map(move |name| format!(" {name} = {} ", token()).into_bytes()),
        1 => select(names).prop_map(|name| name.as_bytes().to_vec()),
        1 => select(names).prop_map(|name| format!("{name}=").into_bytes()),
    ]
}

/// `None`, or pairs with `separator` between them.
fn pairs(
    names: &'static [&'static str],
    separator: &'static [u8],
    ends: &'static [u8],
) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(vec(pair(names, ends), 0..6).prop_map(move |pairs| pairs.join(separator)))
}

fn header(name: &str, value: Option<Vec<u8>>) -> impl Iterator<Item = (String, Vec<u8>)> {
    value.map(|value| (name.to_owned(), value)).into_iter()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_other_byte_of_cookies_and_query_is_kept_and_no_token_is_left(
        bearer in any::<bool>(),
        cookies in (pairs(NAMES.cookies, b"; ", b";"), pairs(NAMES.cookies, b";", b";")),
        query in pairs(NAMES.params, b"&", b"&"),
    ) {
        let target = [b"/notes", query.map(|query| [b"?", &*query].concat()).unwrap_or_default().as_slice()].concat();
        let bearer = bearer.then(|| TOKEN.with(|token| format!("Bearer {token}").into_bytes()));
        let headers: Vec<_> = header(":method", Some(b"GET".to_vec()))
            .chain(header(":path", Some(target)))
            .chain(header("authorization", bearer))
            .chain(header("cookie", cookies.0))
            .chain(header("Cookie", cookies.1))
            .collect();
        GATE.with(|gate| {
            let decision = gate.decide(&request_of(&headers), NOW);
            if let Verdict::Allow(_) = decision.verdict {
                keeps_every_other_byte(gate, &NAMES, &headers, &decision.mutations, NOW);
            }
        });
    }
}
