//! A feed that breaks every rule costs the gate a count, never a request and never a VM.

use jwt_gate_tests::{Envoy, FakeFeed, FeedAnswer, FeedRequest, Listener, Request, Spec, forge};
use serde_json::json;

use crate::stack::{config, wait_for};

const HUGE_BYTES: usize = 6 * 1024 * 1024;

/// The ways to misbehave: a path each, and the answer.
fn misbehave(request: &FeedRequest) -> FeedAnswer {
    let ok = |body: &[u8]| FeedAnswer::Body(200, body.to_vec());
    match request.path.as_str() {
        "/garbage" => ok(b"<html>no feed here</html>"),
        "/empty" => ok(b""),
        "/not-utf8" => ok(b"{\"cursor\":\"\xff\xfe\"}"),
        "/half" => ok(b"{\"cursor\":\"c1\",\"jti\":[[\"a\",1"),
        "/deep" => ok("[".repeat(1_000_000).as_bytes()),
        "/huge" => ok(format!("{{\"cursor\":\"c1\",\"x\":\"{}\"}}", "y".repeat(HUGE_BYTES)).as_bytes()),
        "/bad-cursor" => FeedAnswer::page(&json!({"cursor": "a\r\nx-evil: 1", "jti": []})),
        "/bad-times" => FeedAnswer::page(&json!({"cursor": "c", "jti": [["j", "soon"]], "sub": [["s", -1]]})),
        "/error" => FeedAnswer::Body(500, b"{\"cursor\":\"c1\"}".to_vec()),
        "/moved" => FeedAnswer::Body(302, Vec::new()),
        "/nothing-new" => FeedAnswer::Body(204, Vec::new()),
        "/refused" => FeedAnswer::Body(401, b"{}".to_vec()),
        "/no-http" => FeedAnswer::Bytes(b"\x00\x01\x02 hello\r\n\r\n".to_vec()),
        "/closed" => FeedAnswer::Bytes(Vec::new()),
        "/odd-headers" => {
            FeedAnswer::Bytes(b"HTTP/1.1 200 OK\r\nx-odd: \xff\xfe\r\ncontent-length: 4\r\n\r\nnull".to_vec())
        }
        "/cut-off" => {
            FeedAnswer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"cursor\":".to_vec())
        }
        "/circle" => FeedAnswer::page(&json!({"cursor": "c1", "more": true})),
        "/silence" => FeedAnswer::Silence,
        "/drip" => FeedAnswer::Drip,
        "/flood" => FeedAnswer::Flood,
        _ => FeedAnswer::Body(404, Vec::new()),
    }
}

const WAYS: &[&str] = &[
    "garbage",
    "empty",
    "not-utf8",
    "half",
    "deep",
    "huge",
    "bad-cursor",
    "bad-times",
    "error",
    "moved",
    "nothing-new",
    "refused",
    "no-http",
    "closed",
    "odd-headers",
    "cut-off",
    "circle",
    "silence",
    "drip",
    "flood",
];

fn assert_no_trap(envoy: &Envoy) {
    let log = envoy.log();
    for word in ["panicked", "Uncaught", "RuntimeError", "wasm trap", "VM failure", "failed in VM"] {
        assert!(!log.contains(word), "{word}:\n{log}");
    }
}

/// A gate named `name` that asks `/name` of `cluster` and counts under its name.
fn gate(name: &str, cluster: &str, when_stale: &str) -> Listener {
    let mut config = config(&json!({
        "cluster": cluster, "path": format!("/{name}"), "interval_ms": 100, "when_stale": when_stale,
    }));
    config["stat_prefix"] = json!(name);
    Listener::gated(name, config)
}

fn failures(envoy: &Envoy, name: &str) -> u64 {
    envoy.admin().counter(&format!("wasmcustom.{name}.revocation.failures"))
}

#[test]
fn no_answer_of_the_feed_traps_the_vm_or_keeps_a_request_from_being_served() {
    let feed = FakeFeed::start(misbehave);
    let spec = Spec::new().cluster("companion", feed.port());
    let envoy = spec.listeners(WAYS.iter().map(|way| gate(way, "companion", "allow"))).start();
    let token = forge::token("user_1", json!({"jti": "j"}));
    // Three answers each: the second and third meet a gate that had to digest the one before.
    for way in WAYS {
        wait_for(&format!("{way} is counted"), || {
            Request::get("/notes").bearer(&token).send(envoy.port(way)).reached();
            Request::get("/notes").send(envoy.port(way)).assert_denied(401, "missing_token");
            (failures(&envoy, way) >= 3).then_some(())
        });
    }
    assert_no_trap(&envoy);
    for way in WAYS {
        let entries = envoy.admin().counter(&format!("wasmcustom.{way}.revocation.entries"));
        assert_eq!(entries, 0, "{way}");
        Request::get("/notes").bearer(&token).send(envoy.port(way)).reached();
    }
    // A feed in circles is asked once a tick, not as fast as it answers.
    assert!(feed.asked("/circle") <= 3 * feed.asked("/garbage") + 10);
}

#[test]
fn a_feed_that_recovers_is_followed_from_where_the_gate_was() {
    let feed = FakeFeed::start(|request| match (request.number, request.since.as_deref()) {
        (0, None) => FeedAnswer::page(&json!({"cursor": "c1", "jti": [["j1", forge::now() + 600]]})),
        (1..20, _) => FeedAnswer::Body(500, Vec::new()),
        (_, None) => FeedAnswer::page(&json!({"cursor": "c1", "jti": [["j1", forge::now() + 600]]})),
        (_, Some("c1")) => FeedAnswer::page(&json!({"cursor": "c2", "jti": [["j2", forge::now() + 600]]})),
        (_, Some("c2")) => FeedAnswer::page(&json!({"cursor": "c2"})),
        (_, Some(_)) => FeedAnswer::Body(400, Vec::new()),
    });
    let envoy =
        Spec::new().cluster("companion", feed.port()).listener(gate("app", "companion", "allow")).start();
    let port = envoy.port("app");
    let [first, second, good] = ["j1", "j2", "j3"].map(|jti| forge::token("user_1", json!({"jti": jti})));
    let status = |token: &str| Request::get("/notes").bearer(token).send(port).status;
    wait_for("the first is refused", || (status(&first) == 401).then_some(()));
    wait_for("the second is refused", || (status(&second) == 401).then_some(()));
    assert!(failures(&envoy, "app") > 0);
    assert_eq!((status(&first), status(&good)), (401, 200));
}

#[test]
fn a_feed_that_shrinks_or_begins_anew_brings_no_token_back() {
    let feed = FakeFeed::start(|request| match request.since.as_deref() {
        None => FeedAnswer::page(&json!({"cursor": "c1", "jti": [["j1", forge::now() + 600]]})),
        Some("c1") => FeedAnswer::page(&json!({"cursor": "d1", "reset": true, "epoch": "d", "jti": []})),
        Some(_) => FeedAnswer::page(&json!({"cursor": "d2", "jti": [["j2", forge::now() + 600]]})),
    });
    let envoy =
        Spec::new().cluster("companion", feed.port()).listener(gate("app", "companion", "allow")).start();
    let status = |jti: &str| {
        let token = forge::token("user_1", json!({"jti": jti}));
        Request::get("/notes").bearer(token).send(envoy.port("app")).status
    };
    wait_for("what the new history says is known", || (status("j2") == 401).then_some(()));
    assert_eq!((status("j1"), status("j3")), (401, 200));
}

#[test]
fn a_cluster_that_is_not_there_is_counted_and_when_stale_decides() {
    let envoy = Spec::new()
        .listeners([gate("allowing", "nowhere", "allow"), gate("denying", "nowhere", "deny")])
        .start();
    let token = forge::token("user_1", json!({}));
    for name in ["allowing", "denying"] {
        wait_for("it is counted", || (failures(&envoy, name) > 2).then_some(()));
    }
    Request::get("/notes").bearer(&token).send(envoy.port("allowing")).reached();
    Request::get("/notes").bearer(&token).send(envoy.port("denying")).assert_denied(503, "revocation_stale");
    assert_no_trap(&envoy);
}
