//! What gates that poll cost one companion.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Companion, Request, forge};
use serde_json::{Value, json};

use crate::cpu::{nanoseconds, resident_kib};
use crate::stack::{User, post};

/// Polls a second of a gate with two workers: two workers and Envoy's main thread, each twice a second.
const POLLS_A_GATE: u64 = 6;
const SECONDS: u64 = 10;
/// Connections that are used at once.
const CONNECTIONS: u64 = 16;

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
        let (answered, elapsed) = poll_at(&companion, &poll, rate);
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

/// Polls `rate` times a second, or as fast as answers come; how many were answered in how long.
fn poll_at(companion: &Companion, poll: &Request, rate: Option<u64>) -> (u64, Duration) {
    let (begun, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(companion.private_port()).expect("it listens");
                while !stop.load(Ordering::SeqCst) {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    if let Some(rate) = rate {
                        let due = Duration::from_secs_f64(number as f64 / rate as f64);
                        thread::sleep(due.saturating_sub(start.elapsed()));
                    }
                    let answer = connection.exchange(poll).expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        thread::sleep(Duration::from_secs(SECONDS));
        stop.store(true, Ordering::SeqCst);
    });
    (answered.load(Ordering::SeqCst), start.elapsed())
}
