//! What gates that poll cost one companion.

use std::time::Duration;

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Companion, Request, forge, load};
use serde_json::{Value, json};

use crate::cpu::{nanoseconds, resident_kib};
use crate::stack::{User, post};

/// Polls a second of a gate with two workers: two workers and Envoy's main thread, each twice a second.
const POLLS_A_GATE: u64 = 6;
const PERIOD: Duration = Duration::from_secs(10);

pub(crate) fn table() -> String {
    let companion = Companion::start(forge::SECRET);
    let user = User::sign_up(&companion, "user");
    for _ in 0..100 {
        let token = user.sign_in(&companion);
        assert_eq!(post(&companion, "/signout", Some(&token), &Value::Null).status, 204);
    }
    let claims = json!({"aud": "jwt-gate/internal", "exp": forge::now() + 3600});
    let token = forge::token("gate", claims);
    let feed = |since: &str| Request::get(format!("/internal/revocations{since}")).bearer(&token);
    let first = feed("").send(companion.private_port());
    assert_eq!(first.status, 200, "{first:?}");
    let cursor = first.json()["cursor"].as_str().expect("a cursor").to_owned();
    let poll = feed(&format!("?since={cursor}"));

    let mut table = String::from(
        "| gates | polls a second asked for | answered | processor time a poll | processors in use | memory (RSS) |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut row = |gates: &str, asked: &str, rate: Option<u64>| {
        let before = nanoseconds(companion.id(), "");
        let open = || Connection::open(companion.private_port()).expect("it listens");
        let (answered, elapsed) = load::at_rate(&open, &poll, rate, PERIOD);
        let spent = (nanoseconds(companion.id(), "") - before) as f64 / 1e9;
        let seconds = elapsed.as_secs_f64();
        let line = format!(
            "| {gates} | {asked} | {:.0} | {:.0} µs | {:.3} | {:.0} MiB |\n",
            answered as f64 / seconds,
            spent * 1e6 / answered as f64,
            spent / seconds,
            resident_kib(companion.id()) as f64 / 1024.0
        );
        table += &line;
    };
    row("1", &POLLS_A_GATE.to_string(), Some(POLLS_A_GATE));
    row("100", &(100 * POLLS_A_GATE).to_string(), Some(100 * POLLS_A_GATE));
    row("10,000 (simulated)", &format!("{}, as many as it answers", 10_000 * POLLS_A_GATE), None);
    table
}
