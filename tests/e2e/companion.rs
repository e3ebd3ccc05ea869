//! The main job: the companion's token opens Envoy, nothing else does.

use jwt_gate_tests::{Companion, Envoy, Listener, Request, Spec, Upstream, cluster, forge};
use serde_json::{Value, json};

use crate::{app, provider, with};

/// An Envoy in front of both: `/api/auth/` is the companion's, the rest the application's.
fn front(companion: &Companion) -> Envoy {
    let config = with(
        app(),
        json!({
            "providers": {"app": with(provider(), json!({"issuer": "jwt-gate", "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}], "from_cookies": ["jwt-gate"]}))},
            "rules": [
                {"match": {"prefix": "/api/auth/"}},
                {"match": {"prefix": "/"}, "requires": {"provider_name": "app"}},
            ],
        }),
    );
    let routes = json!([
        {"match": {"prefix": "/api/auth/"}, "route": {"cluster": "companion"}},
        {"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}},
    ]);
    Spec::new()
        .cluster("companion", companion.public_port())
        .listener(Listener::gated("front", config).routes(routes))
        .start()
}

fn post(port: u16, path: &str, body: &Value) -> (u16, Value, Option<String>) {
    let request =
        Request::new("POST", path).header("content-type", "application/json").body(body.to_string());
    let answer = request.send(port);
    let cookie = answer.header("set-cookie");
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null), cookie)
}

#[test]
fn sign_up_sign_in_and_a_protected_call_through_envoy() {
    let companion = Companion::start(forge::SECRET);
    let envoy = front(&companion);
    let shown = envoy.shown_on_failure();
    let port = shown.port("front");
    let account = json!({"email": "Ada@Example.com", "password": "correct horse battery", "name": "Ada"});

    let (status, signed_up, cookie) = post(port, "/api/auth/signup", &account);
    assert_eq!(status, 201, "{signed_up}");
    let id = signed_up["user"]["id"].as_str().expect("an id").to_owned();
    assert!(cookie.is_some(), "a session cookie");
    let (status, signed_in, cookie) = post(port, "/api/auth/signin", &account);
    assert_eq!(status, 200, "{signed_in}");
    let token = signed_in["token"].as_str().expect("a token").to_owned();

    let seen = Request::get("/notes").bearer(&token).header("x-user-id", "root").send(port).reached();
    assert_eq!(seen.read_as("x-user-id"), [("x-user-id".to_owned(), id.clone())]);
    assert_eq!(seen.one("x-user-email").as_deref(), Some("ada@example.com"));
    assert!(seen.all("authorization").is_empty() && !seen.holds(token.as_bytes()));

    // The cookie way, with the cookie that the companion set.
    let cookie = cookie.expect("a session cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair").to_owned();
    let seen = Request::get("/notes").header("cookie", format!("theme=dark; {pair}")).send(port).reached();
    assert_eq!(seen.one("x-user-id"), Some(id.clone()));
    assert_eq!(seen.one("cookie").as_deref(), Some("theme=dark"));

    // Nothing else opens it.
    Request::get("/notes").send(port).assert_denied(401, "missing_token");
    Request::get("/notes").header("x-user-id", &id).send(port).assert_denied(401, "missing_token");
    let forged = forge::token_of(forge::OTHER_SECRET, &forge::claims(&id, json!({})));
    Request::get("/notes").bearer(forged).send(port).assert_denied(401, "bad_signature");
    let (status, refused, _) = post(
        port,
        "/api/auth/signin",
        &json!({"email": "ada@example.com", "password": "wrong horse battery"}),
    );
    assert_eq!((status, refused["code"].as_str()), (401, Some("invalid_credentials")));

    // The companion agrees with the gate about both tokens.
    let me = Request::get("/api/auth/me").bearer(&token).send(port);
    assert_eq!((me.status, me.json()["user"]["id"].as_str()), (200, Some(id.as_str())));
    let (_, verified, _) = post(port, "/api/auth/verify", &json!({"token": token}));
    assert_eq!(
        (verified["active"].as_bool(), verified["claims"]["sub"].as_str()),
        (Some(true), Some(id.as_str()))
    );

    // Signing out clears the cookie.
    let origin = "http://app.test";
    let out =
        Request::new("POST", "/api/auth/signout").header("cookie", &pair).header("origin", origin).send(port);
    assert_eq!(out.status, 204, "{out:?}");
    let cleared = out.header("set-cookie").expect("a cleared cookie");
    assert!(cleared.contains("Max-Age=0"), "{cleared}");
}

#[test]
fn a_user_whose_sign_up_was_acknowledged_is_there_after_kill_9() {
    let mut companion = Companion::start(forge::SECRET);
    let account = |number: u32| json!({"email": format!("user{number}@example.com"), "password": "correct horse battery"});
    for number in 0..10 {
        let (status, body, _) = post(companion.public_port(), "/api/auth/signup", &account(number));
        assert_eq!(status, 201, "{body}");
        companion.kill_and_restart();
        for known in 0..=number {
            let (status, body, _) = post(companion.public_port(), "/api/auth/signin", &account(known));
            assert_eq!(status, 200, "user {known} after {number}: {body}");
        }
    }
}
