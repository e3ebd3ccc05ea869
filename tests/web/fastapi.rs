//! A FastAPI application that has no JWT code.

use jwt_gate_tests::{Companion, Request, forge, skipped};
use serde_json::json;

use crate::site::{Server, front, shipped_gate};

#[test]
fn a_fastapi_application_without_jwt_code_knows_who_calls() {
    let backend = match Server::fastapi() {
        Ok(backend) => backend,
        Err(reason) => return skipped("a_fastapi_application_without_jwt_code_knows_who_calls", reason),
    };
    let companion = Companion::start(forge::SECRET);
    let envoy = front(shipped_gate(), &["/api/auth/"], companion.public_port(), backend.port);
    let shown = envoy.shown_on_failure();
    let port = shown.port("site");
    let account = json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"});
    let signed_up = Request::new("POST", "/api/auth/signup")
        .header("content-type", "application/json")
        .body(account.to_string())
        .send(port);
    assert_eq!(signed_up.status, 201, "{signed_up:?}");
    let token = signed_up.json()["token"].as_str().expect("a token").to_owned();
    let id = signed_up.json()["user"]["id"].clone();

    let whoami = Request::get("/whoami").bearer(&token).header("x_user_id", "root").send(port);
    assert_eq!(whoami.json(), json!({"id": id, "name": "Ada"}), "{}", backend.log());
    let spoofed = Request::get("/whoami").bearer(&token).header("x-user-id", "root").send(port);
    assert_eq!(spoofed.json()["id"], id);
    Request::get("/whoami").header("x-user-id", "root").send(port).assert_denied(401, "missing_token");
    assert_eq!(Request::get("/").send(port).status, 200, "a public page");
}
