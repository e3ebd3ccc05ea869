//! The VM runs out of memory, which Rust answers with a trap: the filter is gone in the middle of a request.

use std::thread;
use std::time::Duration;

use jwt_gate_tests::{Backend, Envoy, Listener, Request, Spec, TAG, forge};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::memory::filter_with;

/// How much memory the VM may take beyond what it starts with, in pages of 64 KiB: enough for every ordinary
/// request, and not for [`trapping`].
const PAGES: u64 = 64;

fn config() -> Value {
    json!({
        "providers": {"app": {
            "secrets": [{"env": "BETTER_AUTH_SECRET"}],
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub", "required": true}],
        }},
        "rules": [{"match": {"path": "/public"}}],
        "default": "require",
    })
}

fn start(policy: &'static str, directory: &TempDir) -> Envoy {
    let listener =
        Listener::gated("gate", config()).failure_policy(policy).set("max_request_headers_kb", json!(8192));
    Spec::new().wasm(filter_with(PAGES, directory)).listener(listener).start()
}

/// A request whose headers do not fit into the VM, with a good token.
fn trapping(tag: &str) -> Request {
    Request::get("/api")
        .bearer(forge::token("user_1", json!({})))
        .header(TAG, tag)
        .header("x-large", vec![b'x'; 6 << 20])
}

fn good() -> Request {
    Request::get("/api").bearer(forge::token("user_1", json!({})))
}

/// Makes the VM trap, and makes sure that it did.
fn trap(envoy: &Envoy, tag: &str) {
    let port = envoy.port("gate");
    assert_eq!(good().send(port).reached().one("x-user-id").as_deref(), Some("user_1"));
    let answer = trapping(tag).try_send(port);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.seen().is_none()));
    assert!(!Backend::shared().was_reached_by(tag), "the request that trapped the VM got through");
    assert!(!envoy.log_lines("wasm").is_empty());
}

#[test]
fn when_the_vm_runs_out_of_memory_nothing_passes_any_more() {
    let directory = TempDir::new().unwrap();
    let envoy = start("FAIL_CLOSED", &directory);
    trap(&envoy, "trap-closed");
    for (index, request) in
        [good(), Request::get("/public"), Request::get("/api"), good().header("x-user-id", "root")]
            .into_iter()
            .enumerate()
    {
        let tag = format!("after-trap-closed-{index}");
        let answer = request.header(TAG, &tag).send(envoy.port("gate"));
        assert_eq!((answer.status, answer.seen()), (503, None), "{index}");
        assert!(!Backend::shared().was_reached_by(&tag), "{index}");
    }
    assert!(envoy.runs());
}

#[test]
fn with_fail_reload_the_gate_is_back_after_a_trap_and_as_strict_as_before() {
    let directory = TempDir::new().unwrap();
    let envoy = start("FAIL_RELOAD", &directory);
    let port = envoy.port("gate");
    for round in 0..3 {
        trap(&envoy, &format!("trap-reload-{round}"));
        let mut tries = 0;
        loop {
            // Until it is back nothing passes, and no request without a token ever does.
            let tag = format!("after-trap-reload-{round}-{tries}");
            let without = Request::get("/api").header(TAG, &tag).header("x-user-id", "root").send(port);
            assert!([401, 503].contains(&without.status), "{}", without.status);
            assert!(!Backend::shared().was_reached_by(&tag));
            let answer = good().header("x-user-id", "root").send(port);
            if let Some(seen) = answer.seen() {
                assert_eq!(seen.all("x-user-id"), ["user_1"]);
                break;
            }
            assert_eq!(answer.status, 503);
            tries += 1;
            assert!(tries < 300, "it does not come back");
            thread::sleep(Duration::from_millis(100));
        }
    }
}
