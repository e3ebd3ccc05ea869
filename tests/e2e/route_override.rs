//! A route's own configuration: a second gate that only this route turns on.

use jwt_gate_tests::{Listener, Request, Upstream, cluster, forge};
use serde_json::json;

use crate::{app, envoy, provider, with};

pub(crate) fn listeners() -> Vec<Listener> {
    let strict = json!({
        "providers": {"ops": with(provider(), json!({"issuer": "ops"}))},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "ops"}}],
    });
    let backend = json!({"cluster": cluster(Upstream::Http1)});
    let filter_config = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
    let routes = json!([
        {
            "match": {"prefix": "/open/strict"},
            "route": backend,
            "typed_per_filter_config": {
                "jwt-gate": {"@type": filter_config, "disabled": true},
                "jwt-gate-strict": {"@type": filter_config, "config": {}},
            },
        },
        {"match": {"prefix": "/"}, "route": backend},
    ]);
    vec![Listener::gated("override", app()).disabled_gate("jwt-gate-strict", strict).routes(routes)]
}

#[test]
fn a_route_can_be_judged_by_a_gate_of_its_own() {
    let port = envoy().port("override");
    let token = |issuer: &str| forge::token("user_1", json!({"iss": issuer}));
    // Public to the one gate, protected by the other.
    Request::get("/open/x").send(port).reached();
    Request::get("/open/strict").send(port).assert_denied(401, "missing_token");
    Request::get("/open/strict").bearer(token("jwt-gate")).send(port).assert_denied(401, "issuer");
    let seen =
        Request::get("/open/strict").bearer(token("ops")).header("x-user-id", "root").send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
    // Elsewhere the second gate is not asked.
    let seen = Request::get("/api/me").bearer(token("jwt-gate")).send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
}
