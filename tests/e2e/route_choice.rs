//! Routes that are chosen by what the gate says of the caller.

use jwt_gate_tests::{Listener, Request, Upstream, cluster, forge, http2};
use serde_json::json;

use crate::{app, envoy};

/// The answer of the route that is for `root` alone.
const FOR_ROOT: u16 = 218;

pub(crate) fn listeners() -> Vec<Listener> {
    let routes = json!([
        {
            "match": {"prefix": "/", "headers": [{"name": "x-user-id", "string_match": {"exact": "root"}}]},
            "direct_response": {"status": FOR_ROOT},
        },
        {"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}},
    ]);
    vec![Listener::gated("route-choice", app()).routes(routes)]
}

#[test]
fn a_spoofed_identity_header_chooses_no_route() {
    let port = envoy().port("route-choice");
    let user = forge::token("user_1", json!({}));
    let root = forge::token("root", json!({}));
    for path in ["/public", "/open/x", "/optional/x", "/api/me"] {
        for name in ["x-user-id", "X-User-Id"] {
            let spoofed = Request::get(path).header(name, "root").bearer(&user);
            assert_eq!(spoofed.send(port).status, 200, "{path}");
            let spoofed = Request::get(path).header("x-user-id", "root").bearer(&user);
            assert_eq!(http2::send(&spoofed, port).status, 200, "{path}");
        }
    }
    let preflight = Request::new("OPTIONS", "/api/me")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "PUT")
        .header("x-user-id", "root");
    assert_eq!(preflight.send(port).status, 200);
    // What the gate itself says does choose.
    assert_eq!(Request::get("/api/me").bearer(&root).send(port).status, FOR_ROOT);
    assert_eq!(Request::get("/api/me").bearer(&user).send(port).status, 200);
}
