//! The controls: without the gate all of it arrives, so a test that misses it sees the gate at work.

use jwt_gate_tests::{Backend, Envoy, Listener, Request, Spec, TAG, forge, http2};

/// Without the gate, so that the controls hold whatever becomes of it.
fn envoy() -> Envoy {
    Spec::new().listener(Listener::new("open")).start()
}

#[test]
fn without_the_gate_tokens_identity_headers_and_trailers_reach_the_backend() {
    let envoy = envoy();
    let request = Request::new("POST", "/a%20b?q=1")
        .bearer(forge::token("mallory", serde_json::json!({})))
        .header("X-User-Id", "one")
        .header("x_user_id", "two")
        .header("x-bytes", b"\xff\xfe\x80")
        .header(TAG, "control-http1")
        .body("hello")
        .trailer("x-user-id", "three");
    let seen = request.send(envoy.port("open")).reached();
    assert_eq!((seen.method.as_str(), seen.path().as_str()), ("POST", "/a%20b?q=1"));
    let spoofed: Vec<_> = seen.read_as("x-user-id").into_iter().map(|(_, value)| value).collect();
    assert_eq!(spoofed, ["one", "two", "three"]);
    assert!(seen.one("authorization").is_some());
    assert_eq!(seen.body, b"hello");
    assert!(seen.holds(b"\xff\xfe\x80"));
    assert!(Backend::shared().was_reached_by("control-http1"));
    assert!(!Backend::shared().was_reached_by("control-nobody"));
}

#[test]
fn without_the_gate_the_same_holds_over_http2() {
    let envoy = envoy();
    let request =
        Request::new("POST", "/a").header("x_user_id", "one").body("hello").trailer("x-user-id", "two");
    let seen = http2::send(&request, envoy.port("open")).reached();
    let spoofed: Vec<_> = seen.read_as("x-user-id").into_iter().map(|(_, value)| value).collect();
    assert_eq!(spoofed, ["one", "two"]);
}
