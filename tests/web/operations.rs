//! The companion in operation: two replicas behind Envoy, and the cookie under https.

use jwt_gate_tests::{Companion, Listener, Request, Spec, forge, skipped};
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::site::{front, gate_of, repository, shipped_gate, without_revocation};

fn post(port: u16, path: &str, token: Option<&str>, body: &Value) -> jwt_gate_tests::Answer {
    let request =
        Request::new("POST", path).header("content-type", "application/json").body(body.to_string());
    match token {
        Some(token) => request.bearer(token).send(port),
        None => request.send(port),
    }
}

#[test]
fn two_companions_on_one_postgresql_behind_envoy_act_as_one() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => return skipped("two_companions_on_one_postgresql_behind_envoy_act_as_one", &reason),
    };
    let url = server.database("replicas");
    let replica = || Companion::start_with(&[("BETTER_AUTH_SECRET", forge::SECRET), ("DATABASE_URL", &url)]);
    let (one, other) = (replica(), replica());
    let half = |cluster: &str| json!({"name": cluster, "weight": 50});
    let routes = json!([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [half("one"), half("other")]}}}]);
    let envoy = Spec::new()
        .cluster("one", one.public_port())
        .cluster("other", other.public_port())
        .listener(Listener::gated("site", shipped_gate()).routes(routes))
        .start();
    let port = envoy.port("site");

    for number in 0..8 {
        let account =
            json!({"email": format!("user{number}@example.com"), "password": "correct horse battery"});
        assert_eq!(post(port, "/api/auth/signup", None, &account).status, 201);
        assert_eq!(post(port, "/api/auth/signup", None, &account).status, 409, "known to both at once");
        let signed_in = post(port, "/api/auth/signin", None, &account);
        assert_eq!(signed_in.status, 200);
        let token = signed_in.json()["token"].as_str().expect("a token").to_owned();
        let me = || Request::get("/api/auth/me").bearer(&token).send(port).status;
        assert!((0..6).all(|_| me() == 200));
        assert_eq!(post(port, "/api/auth/signout", Some(&token), &json!({})).status, 204);
        assert!((0..6).all(|_| me() == 401), "signed out at both at once");
    }
    for cluster in ["one", "other"] {
        let stats = envoy.admin().stats(&format!("cluster.{cluster}.upstream_rq_total"));
        assert!(stats.values().any(|requests| *requests > 10), "{stats:?}: both take part");
    }
}

/// What `envoy/run-envoy.sh` hands to Envoy where people come by https.
fn https_configuration() -> Value {
    let folder = tempfile::tempdir().expect("a directory");
    let stand_in = folder.path().join("envoy");
    std::fs::write(&stand_in, "#!/bin/sh\n[ \"$1\" = --config-yaml ] && printf %s \"$2\"\n")
        .expect("a script");
    std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it may run");
    let envoy = repository().join("envoy");
    let output = std::process::Command::new("sh")
        .args([envoy.join("run-envoy.sh"), envoy.join("envoy.yaml")])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("JWT_GATE_PUBLIC_URL", "https://app.example.com")
        .output()
        .expect("sh runs");
    serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout)).expect("YAML")
}

#[test]
fn under_https_the_gate_and_the_companion_take_the_cookie_of_the_host_and_no_other() {
    let companion = Companion::start_with(&[
        ("BETTER_AUTH_SECRET", forge::SECRET),
        ("JWT_GATE_PUBLIC_URL", "https://app.example.com"),
    ]);
    let policy: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(repository().join("envoy/gateway/extension-policy.yaml"))
            .expect("it is there"),
    )
    .expect("YAML");
    let plugin: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(repository().join("envoy/istio/wasmplugin.yaml")).expect("it is there"),
    )
    .expect("YAML");
    let gates = [
        ("run-envoy.sh", gate_of(&https_configuration())),
        ("Envoy Gateway", without_revocation(policy["spec"]["wasm"][0]["config"].clone())),
        ("Istio", without_revocation(plugin["spec"]["pluginConfig"].clone())),
    ];
    for (number, (name, gate)) in gates.into_iter().enumerate() {
        let envoy = front(gate, &["/api/auth/"], companion.public_port(), companion.public_port());
        let envoy = envoy.shown_on_failure();
        let port = envoy.port("site");
        let account =
            json!({"email": format!("ada{number}@example.com"), "password": "correct horse battery"});
        let signed_up = post(port, "/api/auth/signup", None, &account);
        assert_eq!(signed_up.status, 201, "{name}: {signed_up:?}");
        let cookie = signed_up.header("set-cookie").expect("a cookie");
        let pair = cookie.split(';').next().expect("a pair");
        let get = |path: &str, cookie: &str| Request::get(path).header("cookie", cookie).send(port).status;
        // Behind the gate there is nothing at this path: 404 says that it was let through.
        assert_eq!((get("/protected", pair), get("/api/auth/me", pair)), (404, 200), "{name}: {pair}");
        let token = signed_up.json()["token"].as_str().expect("a token").to_owned();
        for planted in ["jwt-gate", "session", "__Host-session", "__Secure-jwt-gate", "__host-jwt-gate"] {
            let planted = format!("{planted}={token}");
            assert_eq!(
                (get("/protected", &planted), get("/api/auth/me", &planted)),
                (401, 401),
                "{name}: {planted}"
            );
        }
    }
}
