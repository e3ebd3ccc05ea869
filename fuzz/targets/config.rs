//! A configuration of any bytes is refused with one line, or makes a gate that lets nobody be anybody.
#![no_main]

use jwt_gate::{Request, Verdict, config};
use jwt_gate_fuzz::NOW;
use libfuzzer_sys::fuzz_target;

use crate::support::Gate;

#[path = "../../src/gate/tests/support/mod.rs"]
mod support;

const ENVIRONMENT: &str = "environment-0123456789-abcdefghij";

fuzz_target!(|input: &[u8]| {
    let compiled =
        config::read(input).and_then(|config| Gate::new(config, &|_| Some(ENVIRONMENT.to_owned())));
    match compiled {
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains(['\n', '\r']), "{line:?} is more than a line");
            assert!(!line.contains(ENVIRONMENT), "it tells a secret");
        }
        Ok(gate) => {
            for path in ["/", "/public", "/api/x", "/a/../b", "*", ""] {
                let headers = [
                    (":method", "GET"),
                    (":path", path),
                    ("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."),
                    ("cookie", "session=a.b.c; a=b"),
                    ("x-user-id", "root"),
                    ("accept", "text/html"),
                ];
                let request = Request::new(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
                let decision = gate.decide(&request, NOW);
                if let Verdict::Allow(allowed) = decision.verdict {
                    assert!(!allowed.authenticated && allowed.subject.is_none() && decision.mutations.is_empty());
                }
            }
        }
    }
});
