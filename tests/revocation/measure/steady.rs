//! A steady load of everything, and what it leaves behind: memory, file descriptors, wrong answers.

use std::env;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Companion, Request, forge};
use serde_json::{Value, json};

use crate::cpu::resident_kib;
use crate::stack::{User, post, spec};

/// How long it takes, in minutes, where `JWT_GATE_SOAK_MINUTES` does not say.
const MINUTES: u64 = 60;

/// How many rows the table has.
const SAMPLES: u32 = 12;

/// How long to rest after each round: the load is to be steady, not high.
const REST: Duration = Duration::from_millis(50);

pub(crate) fn table() -> String {
    let minutes =
        env::var("JWT_GATE_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(MINUTES);
    let companion = Companion::start(forge::SECRET);
    let envoy = spec(&companion, &json!({})).concurrency(2).start();
    let port = envoy.port("app");
    let user = User::sign_up(&companion, "steady");
    let mut table = String::from(
        "| minute | requests | sessions begun and ended | Envoy's memory (RSS) | its file descriptors | the companion's memory | \
         its file descriptors | wrong answers |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let (started, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    let (mut requests, mut sessions, mut wrong) = (0_u64, 0_u64, 0_u64);
    let mut connection = Connection::open(port).expect("Envoy listens");
    for sample in 0..=SAMPLES {
        while started.elapsed() < whole * sample / SAMPLES {
            let session = user.sign_in(&companion);
            let expired = forge::token(&user.id, json!({"exp": forge::now() - 3600}));
            let get = |path: &str| Request::get(path).header("x-user-id", "root");
            for (request, right) in [
                (get("/notes").bearer(&session), Some(user.id.as_str())),
                (get("/notes").header("cookie", format!("session={session}")), Some(user.id.as_str())),
                (get("/notes"), None),
                (get("/notes").bearer(&expired), None),
                (get("/notes").bearer(format!("{session}x")), None),
                (get("/open/../notes"), None),
            ] {
                let answer = connection.exchange(&request).expect("an answer");
                let identity = answer.seen().and_then(|seen| seen.one("x-user-id"));
                requests += 1;
                wrong += u64::from(identity.as_deref() != right || (right.is_none() && answer.status != 401));
            }
            let public = connection.exchange(&get("/open/page")).expect("an answer").reached();
            requests += 1;
            wrong += u64::from(!public.read_as("x-user-id").is_empty());
            let ended = post(&companion, "/signout", Some(&session), &Value::Null).status;
            wrong += u64::from(ended != 204);
            sessions += 1;
            thread::sleep(REST);
        }
        let mib = |process| resident_kib(process) as f64 / 1024.0;
        table += &format!(
            "| {} | {requests} | {sessions} | {:.1} MiB | {} | {:.1} MiB | {} | {wrong} |\n",
            started.elapsed().as_secs() / 60,
            mib(envoy.id()),
            descriptors(envoy.id()),
            mib(companion.id()),
            descriptors(companion.id()),
        );
        eprintln!("{}", table.lines().last().unwrap_or_default());
    }
    table
}

/// How many files and sockets a process has open.
fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}
