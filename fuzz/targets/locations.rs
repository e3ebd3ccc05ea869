//! A token that is taken off a request leaves every other byte of `Cookie` and query where it was, and no token.
#![no_main]

use jwt_gate::{Verdict, config};
use jwt_gate_fuzz::{NOW, expand, headers, planted};
use libfuzzer_sys::fuzz_target;

use crate::support::{Gate, request_of};
use crate::taken_off::{Names, keeps_every_other_byte};

#[path = "../../src/gate/tests/oracle/readings.rs"]
#[allow(dead_code, reason = "of the readings only one is needed here")]
mod readings;
#[path = "../../src/gate/tests/support/mod.rs"]
mod support;
#[path = "../../src/gate/tests/oracle/taken_off.rs"]
mod taken_off;

const CONFIG: &str = "
providers:
  app:
    secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}, {name: x-token}]
    from_cookies: [session, sid]
    from_params: [token, t]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
default: require
";

const NAMES: Names = Names { cookies: &["session", "sid"], params: &["token", "t"] };

thread_local! {
    static GATE: Gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
}

fuzz_target!(|input: &[u8]| {
    let headers = headers(&expand(input));
    let decision = GATE.with(|gate| gate.decide(&request_of(&headers), NOW));
    let Verdict::Allow(allowed) = decision.verdict else { return };
    assert!(allowed.authenticated, "nothing here is public");
    let subject = allowed.subject.as_deref();
    assert!(planted().iter().any(|planted| planted.good && Some(planted.subject) == subject));

    GATE.with(|gate| keeps_every_other_byte(gate, &NAMES, &headers, &decision.mutations, NOW));
});
