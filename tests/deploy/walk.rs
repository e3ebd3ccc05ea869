//! A person's way through a site, from sign-up to sign-out, as every platform must serve it.

use std::thread;
use std::time::Duration;

use jwt_gate_tests::{Answer, Request};
use serde_json::{Value, json};

const TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Somebody who signed up, with a session that is still open.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..TRIES {
        if done() {
            return;
        }
        thread::sleep(BETWEEN_TRIES);
    }
    panic!("it did not come to pass: {what}");
}

fn account() -> Value {
    json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"})
}

fn post(port: u16, path: &str, body: &Value) -> Answer {
    Request::new("POST", path).header("content-type", "application/json").body(body.to_string()).send(port)
}

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().expect("a token").to_owned()
}

/// Walks through the site at `port`, whose backend is the one of `envoy/backend`.
pub(crate) fn sign_up_to_sign_out(port: u16) -> Person {
    let whoami = || Request::get("/whoami");
    let home = Request::get("/").send(port);
    assert_eq!((home.status, home.json()["message"].is_string()), (200, true), "{home:?}");
    whoami().send(port).assert_denied(401, "missing_token");
    whoami().header("x-user-id", "root").send(port).assert_denied(401, "missing_token");
    let page = whoami().header("accept", "text/html").send(port);
    assert_eq!((page.status, page.header("location")), (302, Some("/sign-in?next=/whoami".to_owned())));
    let form = Request::get("/sign-in").header("accept", "text/html").send(port);
    assert_eq!((form.status, form.text().contains("<form")), (200, true), "{form:?}");

    let signed_up = post(port, "/api/auth/signup", &account());
    assert_eq!(signed_up.status, 201, "{signed_up:?}");
    let id = signed_up.json()["user"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(post(port, "/api/auth/signup", &account()).status, 409, "the address is taken");
    let signed_in = post(port, "/api/auth/signin", &account());
    assert_eq!(signed_in.status, 200, "{signed_in:?}");

    let token = token(&signed_in);
    let who = whoami().bearer(&token).header("x-user-id", "root").send(port);
    assert_eq!(who.json(), json!({"id": id, "name": "Ada"}), "{who:?}");
    let cookie = signed_up.header("set-cookie").expect("a cookie");
    let pair = cookie.split(';').next().expect("a pair");
    let who = whoami().header("cookie", pair).send(port);
    assert_eq!(who.json()["id"], *id, "{who:?}");

    let out = Request::new("POST", "/api/auth/signout").bearer(&token).send(port);
    assert_eq!(out.status, 204, "{out:?}");
    // Another worker, to which the next connection may go, learns of it in its own time.
    let mut answer = out;
    wait_until("the gate knows of the sign-out", || {
        answer = whoami().bearer(&token).send(port);
        answer.status == 401
    });
    answer.assert_denied(401, "revoked");
    Person { id, token: self::token(&signed_up) }
}

/// Signs in again, and uses the session that was left open.
pub(crate) fn still_known(port: u16, ada: &Person) {
    let signed_in = post(port, "/api/auth/signin", &account());
    assert_eq!((signed_in.status, signed_in.json()["user"]["id"].as_str()), (200, Some(ada.id.as_str())));
    let who = Request::get("/whoami").bearer(&ada.token).send(port);
    assert_eq!(who.json()["id"], *ada.id, "the secret is the same: {who:?}");
}
