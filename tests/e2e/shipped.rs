//! What `envoy/envoy.yaml` sets around the gate, on each Envoy that is tested: its limits and the order of its filters.

use std::fs;
use std::path::Path;

use jwt_gate_tests::{Listener, Request, Upstream, cluster, forge, http2};
use serde_json::{Value, json};

use crate::{app, envoy};

const ORIGIN: &str = "https://shop.example";

/// The HTTP connection manager of `envoy/envoy.yaml`.
fn manager() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/envoy.yaml");
    let text = fs::read_to_string(path).expect("envoy.yaml is there");
    let document: Value = serde_saphyr::from_str(&text).expect("envoy.yaml is YAML");
    document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"].clone()
}

/// A route that answers pages of another origin, as Envoy's CORS filter is told to.
fn cors_routes() -> Value {
    json!([{
        "match": {"prefix": "/"},
        "route": {"cluster": cluster(Upstream::Http1)},
        "typed_per_filter_config": {"envoy.filters.http.cors": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{"exact": ORIGIN}],
            "allow_methods": "GET, PUT",
            "allow_headers": "authorization",
        }},
    }])
}

pub(crate) fn listeners() -> Vec<Listener> {
    let manager = manager();
    let mut shipped = Listener::gated("shipped", app()).routes(cors_routes());
    for (field, value) in manager.as_object().into_iter().flatten() {
        let ours = ["@type", "stat_prefix", "access_log", "http_filters", "route_config"];
        if !ours.contains(&field.as_str()) {
            shipped = shipped.set(field, value.clone());
        }
    }
    let mut seen_gate = false;
    for filter in manager["http_filters"].as_array().into_iter().flatten() {
        match filter["name"].as_str() {
            Some("jwt_gate") => seen_gate = true,
            Some("envoy.filters.http.router") => {}
            _ if seen_gate => shipped = shipped.after(filter.clone()),
            _ => shipped = shipped.before(filter.clone()),
        }
    }
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"},
    });
    vec![shipped, Listener::gated("cors-behind", app()).after(cors).routes(cors_routes())]
}

/// A browser's request with as many cookies as crumbs (RFC 9113 §8.2.3), the session among them.
fn with_cookies(count: usize) -> Request {
    let token = forge::token("user_1", json!({}));
    let crumbs = (0..count).map(|index| format!("preference-{index}=value-{index}"));
    crumbs.chain([format!("session={token}")]).fold(
        Request::get("/api/me").header("accept", "*/*").header("user-agent", "Mozilla/5.0"),
        |request, crumb| request.header("cookie", crumb),
    )
}

#[test]
fn a_browser_with_as_many_cookies_as_it_keeps_gets_through_over_http2() {
    let port = envoy().port("shipped");
    // Envoy counts each crumb as a header. Chromium keeps 180 cookies a site, Firefox too; RFC 6265 §6.1 asks for 50.
    for count in [1, 50, 90, 179] {
        let answer = http2::try_send(&with_cookies(count), port)
            .unwrap_or_else(|error| panic!("{count} other cookies: {error}"));
        let seen = answer.reached();
        assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"), "{count} other cookies");
        let last = format!("preference-{0}=value-{0}", count - 1);
        assert!(seen.all("cookie").join("; ").contains(&last), "{count} other cookies");
    }
}

#[test]
fn many_more_headers_than_a_browser_sends_are_refused() {
    let port = envoy().port("shipped");
    let request =
        (0..500).fold(Request::get("/public"), |request, index| request.header(format!("x-{index}"), "1"));
    assert_eq!(request.send(port).status, 431);
    assert!(http2::try_send(&request, port).is_err_and(|error| error.to_string().contains("error")));
}

#[test]
fn a_page_of_another_origin_can_read_a_refusal_where_the_shipped_order_is_kept() {
    let envoy = envoy();
    let refused = |listener: &str| {
        let answer = Request::get("/api/me").header("origin", ORIGIN).send(envoy.port(listener));
        answer.assert_denied(401, "missing_token");
        answer.header("access-control-allow-origin")
    };
    assert_eq!(refused("shipped").as_deref(), Some(ORIGIN));
    // Why the order matters.
    assert_eq!(refused("cors-behind"), None);

    let preflight = Request::new("OPTIONS", "/api/me")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization");
    let answer = preflight.send(envoy.port("shipped"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin").as_deref()), (200, Some(ORIGIN)));
    assert!(answer.seen().is_none(), "Envoy answers it");
    let stranger =
        Request::get("/api/me").header("origin", "https://evil.example").send(envoy.port("shipped"));
    assert_eq!(stranger.header("access-control-allow-origin"), None);
}
