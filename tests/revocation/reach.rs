//! Who can read the feed: gates, and nobody else.

use jwt_gate_tests::{Companion, Request, forge};
use serde_json::json;

use crate::stack::User;

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
    assert_eq!(status(feed().header("cookie", format!("session={}", user.token))), 401);
    assert_eq!(status(feed().bearer(internal_token(forge::OTHER_SECRET))), 401);
    assert_eq!(status(feed().header("cookie", format!("session={}", internal_token(forge::SECRET)))), 401);
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
