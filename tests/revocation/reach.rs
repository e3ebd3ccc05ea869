//! Who can read the feed: gates, and nobody else.

use std::fs;
use std::path::Path;

use jwt_gate_tests::{Backend, Companion, Envoy, Request, Spec, forge, wasm};
use serde_json::{Value, json};

use crate::stack::{Clients, User, post};

fn internal_token(secret: &str) -> String {
    forge::token_of(secret, &forge::claims("gate", json!({"aud": "jwt-gate/internal"})))
}

#[test]
fn the_feed_answers_gates_and_refuses_users_strangers_and_no_token() {
    let companion = Companion::start(forge::SECRET);
    let user = User::sign_up(&companion, "curious");
    let feed = || Request::get("/internal/revocations");
    let status = |request: Request| request.send(companion.private_port()).status;
    assert_eq!(status(feed()), 401);
    assert_eq!(status(feed().bearer(&user.token)), 401);
    assert_eq!(status(feed().header("cookie", format!("jwt-gate={}", user.token))), 401);
    assert_eq!(status(feed().bearer(internal_token(forge::OTHER_SECRET))), 401);
    assert_eq!(status(feed().header("cookie", format!("jwt-gate={}", internal_token(forge::SECRET)))), 401);
    assert_eq!(status(feed().bearer(internal_token(forge::SECRET))), 200);
}

#[test]
fn the_companions_public_port_does_not_serve_the_feed() {
    let companion = Companion::start(forge::SECRET);
    for path in
        ["/internal/revocations", "/api/auth/internal/revocations", "/api/auth/../../internal/revocations"]
    {
        let answer = Request::get(path).bearer(internal_token(forge::SECRET)).send(companion.public_port());
        assert_eq!(answer.status, 404, "{path}");
    }
}

/// `envoy/envoy.yaml`, which users copy, with this machine's addresses in it.
fn envoy_to_copy(companion: &Companion) -> Envoy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/envoy.yaml");
    let text = fs::read_to_string(path).expect("envoy/envoy.yaml");
    let mut bootstrap: Value = serde_saphyr::from_str(&text).expect("YAML");
    let at = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    bootstrap["admin"]["address"] = at(0);
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    listener["address"] = at(0);
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().expect("filters");
    let gate = filters.iter_mut().find(|filter| filter["name"] == "jwt_gate").expect("the gate");
    gate["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!(wasm());
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters");
    for cluster in clusters {
        let port = match cluster["name"].as_str() {
            Some("companion") => companion.public_port(),
            Some("companion_private") => companion.private_port(),
            Some("backend") => Backend::shared().http1_port(),
            other => panic!("a cluster that the test does not know: {other:?}"),
        };
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = at(port);
    }
    Spec::new().environment("BETTER_AUTH_SECRET", forge::SECRET).bootstrapped(bootstrap).start()
}

#[test]
fn the_configuration_to_copy_signs_people_out_and_leads_nobody_to_the_feed() {
    let companion = Companion::start(forge::SECRET);
    let envoy = envoy_to_copy(&companion);
    let port = envoy.port("public");
    let user = User::sign_up(&companion, "copied");
    let tokens = [None, Some(user.token.clone()), Some(internal_token(forge::SECRET))];
    for path in [
        "/internal/revocations",
        "/api/auth/internal/revocations",
        "/api/auth/../internal/revocations",
        "/api/auth/../../internal/revocations",
        "/api/auth/..%2f..%2finternal/revocations",
        "/api/auth/%2e%2e/%2e%2e/internal/revocations",
        "//internal/revocations",
        "/healthz/../internal/revocations",
        "/metrics",
    ] {
        for token in &tokens {
            let mut request = Request::get(path);
            if let Some(token) = token {
                request = request.bearer(token);
            }
            let answer = request.send(port);
            // The application may answer; the companion's private port must not.
            assert!(answer.seen().is_some() || answer.status >= 400, "{path}: {answer:?}");
        }
    }
    Clients::open(port, 4).assert_good(&user.token, &user.id);
    assert_eq!(post(&companion, "/signout", Some(&user.token), &Value::Null).status, 204);
    Clients::open(port, 4).until_revoked(&user.token);
}
