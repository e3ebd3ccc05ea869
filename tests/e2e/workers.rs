//! Several workers, each with a VM of its own, judge and count as one.

use std::thread;

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Listener, Request, Spec, forge, http2};
use serde_json::json;

use crate::app;

fn judges_and_counts_as_one(workers: u32) {
    const CLIENTS: usize = 8;
    const CONNECTIONS: usize = 10;
    let envoy = Spec::new().concurrency(workers).listener(Listener::gated("app", app())).start();
    let port = envoy.port("app");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let user = format!("user_{client}");
                let token = forge::token(&user, json!({}));
                for _ in 0..CONNECTIONS {
                    let mut connection = Connection::open(port).expect("Envoy listens");
                    let mut send = |request: Request| connection.exchange(&request).expect("an answer");
                    let seen =
                        send(Request::get("/api/me").bearer(&token).header("x_user_id", "root")).reached();
                    assert_eq!(seen.read_as("x-user-id"), [("x-user-id".to_owned(), user.clone())]);
                    send(Request::get("/api/me").bearer("bad")).assert_denied(401, "malformed");
                    assert!(send(Request::get("/public")).reached().read_as("x-user-id").is_empty());
                    let seen = http2::send(&Request::get("/api/me").bearer(&token), port).reached();
                    assert_eq!(seen.one("x-user-id"), Some(user.clone()));
                }
            });
        }
    });
    let rounds = (CLIENTS * CONNECTIONS) as u64;
    let counted = |name: &str, least| envoy.admin().counter_from(&format!("jwt_gate.{name}"), least);
    for (name, expected) in [("allowed", 2 * rounds), ("denied.malformed", rounds), ("public", rounds)] {
        assert_eq!(counted(name, expected), expected, "{name}");
    }
    // One verification for each user and worker at most, the rest is remembered.
    let remembered = 2 * rounds - u64::from(workers) * CLIENTS as u64;
    assert!(counted("cache.hit", remembered) >= remembered);
}

#[test]
fn two_workers_judge_and_count_as_one() {
    judges_and_counts_as_one(2);
}

#[test]
fn four_workers_judge_and_count_as_one() {
    judges_and_counts_as_one(4);
}
