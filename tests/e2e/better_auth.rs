//! Better Auth, both ways round: its client in front of the companion, its server in the companion's place.

use std::time::Duration;
use std::{fs, thread};

use jwt_gate_tests::{
    Companion, Envoy, Guarded, Listener, Node, Request, Spec, Upstream, cluster, forge, skipped,
};
use serde_json::{Value, json};

use crate::{app, provider, with};

/// The client's walk through everything it does, which the companion's own tests use as well.
const CLIENT: &str = "../../../src/companion/tests/clients/better-auth/client.mjs";

/// An Envoy that sends `/api/auth/` to `port`, and gates the rest with `provider`.
fn front(port: u16, provider: &Value) -> Envoy {
    let config = with(
        app(),
        json!({
            "providers": {"app": provider},
            "rules": [
                {"match": {"prefix": "/api/auth/"}},
                {"match": {"prefix": "/"}, "requires": {"provider_name": "app"}},
            ],
        }),
    );
    let routes = json!([
        {"match": {"prefix": "/api/auth/"}, "route": {"cluster": "auth"}},
        {"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}},
    ]);
    Spec::new().cluster("auth", port).listener(Listener::gated("front", config).routes(routes)).start()
}

#[test]
fn the_unmodified_better_auth_client_works_through_envoy() {
    let node = match Node::shared() {
        Ok(node) => node,
        Err(reason) => return skipped("the_unmodified_better_auth_client_works_through_envoy", reason),
    };
    let companion = Companion::start_with(&[
        ("BETTER_AUTH_SECRET", forge::SECRET),
        ("JWT_GATE_BCRYPT_COST", "4"),
        ("JWT_GATE_THROTTLE_ADDRESS", "0"),
    ]);
    let envoy = front(companion.public_port(), &provider());
    let shown = envoy.shown_on_failure();
    let origin = format!("http://127.0.0.1:{}", shown.port("front"));
    let output = node.script(CLIENT).arg(origin).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "the better-auth client works");
}

#[test]
fn the_cookie_of_a_real_better_auth_server_opens_the_gate() {
    let node = match Node::shared() {
        Ok(node) => node,
        Err(reason) => return skipped("the_cookie_of_a_real_better_auth_server_opens_the_gate", reason),
    };
    let (_server, port) = better_auth_server(node);
    // docs/better-auth.md has these lines.
    let envoy = front(
        port,
        &json!({
            "secrets": [{"env": "BETTER_AUTH_SECRET"}],
            "from_cookies": ["better-auth.session_data"],
            "claim_to_headers": [
                {"header_name": "x-user-id", "claim_name": "user.id", "required": true},
                {"header_name": "x-user-email", "claim_name": "user.email"},
            ],
        }),
    );
    let shown = envoy.shown_on_failure();
    let port = shown.port("front");
    let account = json!({"name": "Ada", "email": "ada@example.com", "password": "correct horse battery"});
    let signed_up = Request::new("POST", "/api/auth/sign-up/email")
        .header("content-type", "application/json")
        .header("origin", format!("http://127.0.0.1:{port}"))
        .body(account.to_string())
        .send(port);
    assert_eq!(signed_up.status, 200, "{}", signed_up.text());
    let pairs: Vec<String> = signed_up
        .all("set-cookie")
        .iter()
        .filter_map(|cookie| cookie.split(';').next().map(str::to_owned))
        .collect();
    let session =
        pairs.iter().find(|pair| pair.starts_with("better-auth.session_data=")).expect("the cookie");

    let seen = Request::get("/notes").header("cookie", pairs.join("; ")).send(port).reached();
    let id = signed_up.json()["user"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(seen.one("x-user-id"), Some(id));
    assert_eq!(seen.one("x-user-email").as_deref(), Some("ada@example.com"));
    let (_, token) = session.split_once('=').expect("a pair");
    assert!(!seen.holds(token.as_bytes()), "the token is cut out of the cookies");

    Request::get("/notes").send(port).assert_denied(401, "missing_token");
    let forged =
        forge::token_of(forge::OTHER_SECRET, &json!({"user": {"id": "x"}, "exp": 4_000_000_000_u64}));
    Request::get("/notes")
        .header("cookie", format!("better-auth.session_data={forged}"))
        .send(port)
        .assert_denied(401, "bad_signature");
}

/// A Better Auth server that shares the gate's secret, and its port.
fn better_auth_server(node: &Node) -> (Guarded, u16) {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = node.script("better_auth_server.mjs");
    command.env("BETTER_AUTH_SECRET", forge::SECRET).env("BETTER_AUTH_TELEMETRY", "0");
    let mut server = Guarded::start(&mut command, &home).expect("node starts");
    for _ in 0..600 {
        let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
        if let Some(port) = log.lines().find_map(|line| line.strip_prefix("listening ")) {
            return (server, port.trim().parse().expect("a port"));
        }
        assert!(server.ended().is_none(), "it ended: {log}");
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the Better Auth server does not come to listen");
}
