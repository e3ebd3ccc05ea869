//! A steady load of everything, and what it leaves behind: memory, file descriptors, wrong answers.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use jwt_gate_tests::{Companion, Listener, Spec, forge};
use serde_json::json;

use crate::cpu;
use crate::everything::Load;
use crate::stack::config;

/// How long it takes, in minutes, where `JWT_GATE_SOAK_MINUTES` does not say.
const MINUTES: u64 = 60;

/// How many rows the table has. From the one of [`SETTLED`] on nothing may grow any more.
const SAMPLES: u32 = 12;
const SETTLED: usize = 3;

/// Verified tokens that each worker remembers: so few that both have as many before it is [`SETTLED`]. With the
/// default a worker that has one connection in eight still gathers them after half an hour.
const REMEMBERED: u32 = 256;

/// How long to rest after each round: the load is to be steady, not high.
const REST: Duration = Duration::from_millis(160);

/// What may come after that: the revocations themselves, which gates keep for a token's lifetime,
/// and pages of the database.
const MOST_GROWTH_MIB: f64 = 2.0;
/// Connections that just come or go.
const MOST_NEW_DESCRIPTORS: usize = 4;

/// What a process occupies.
#[derive(Debug, Clone, Copy)]
struct Occupied {
    mib: f64,
    descriptors: usize,
}

/// # Panics
/// Where memory or descriptors grew after the first quarter, or an answer was wrong.
pub(crate) fn table() -> String {
    let minutes =
        env::var("JWT_GATE_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(MINUTES);
    let companion = Companion::start(forge::SECRET);
    let mut gate = config(&json!({}));
    gate["cache"] = json!({"max_entries": REMEMBERED});
    let envoy = Spec::new()
        .concurrency(2)
        .cluster("companion", companion.private_port())
        .listener(Listener::gated("app", gate))
        .start();
    let mut load = Load::new(&companion, envoy.port("app"));
    let mut table = String::from(
        "| minute | requests | accounts | sessions begun and ended | Envoy's memory (RSS) | its file descriptors | \
         the companion's memory | its file descriptors | wrong answers |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let (started, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    let mut samples = Vec::new();
    for sample in 0..=SAMPLES {
        while started.elapsed() < whole * sample / SAMPLES {
            load.round();
            thread::sleep(REST);
        }
        let (envoy, companion) = (occupied(envoy.id()), occupied(companion.id()));
        table += &format!(
            "| {} | {} | {} | {} | {:.1} MiB | {} | {:.1} MiB | {} | {} |\n",
            started.elapsed().as_secs() / 60,
            load.requests,
            load.accounts,
            load.sessions,
            envoy.mib,
            envoy.descriptors,
            companion.mib,
            companion.descriptors,
            load.wrong.len()
        );
        eprintln!("{}", table.lines().last().unwrap_or_default());
        samples.push([("Envoy", envoy), ("the companion", companion)]);
    }
    assert!(load.wrong.is_empty(), "wrong: {:#?}", load.wrong);
    for ((name, settled), (_, end)) in samples[SETTLED].iter().zip(samples[samples.len() - 1]) {
        assert!(end.mib <= settled.mib + MOST_GROWTH_MIB, "{name}: {settled:?}, then {end:?}");
        assert!(
            end.descriptors <= settled.descriptors + MOST_NEW_DESCRIPTORS,
            "{name}: {settled:?}, then {end:?}"
        );
    }
    table
}

fn occupied(process: u32) -> Occupied {
    Occupied { mib: cpu::resident_kib(process) as f64 / 1024.0, descriptors: cpu::descriptors(process) }
}
