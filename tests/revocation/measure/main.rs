//! Measures what docs/revocation.md says. `cargo xtask measure revocation` runs it and writes the tables.
//!
//! Each part prints `@@ <name>`, then a table in Markdown. Arguments name the parts; without any, all but the one that
//! takes an hour.

#[path = "../soak.rs"]
mod soak;
#[path = "../stack.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod stack;
#[path = "../traffic.rs"]
mod traffic;

mod companion;
mod cpu;
mod delay;
mod everything;
mod look_up;
mod memory;
mod numbers;
mod request_cost;
mod rounds;
mod steady;

use std::env;

/// How many requests the soak sends, at the least.
const SOAK_REQUESTS: u64 = 200_000;

type Part = (&'static str, fn() -> String);

const PARTS: &[Part] = &[
    ("delay", delay::table),
    ("memory", memory::table),
    ("request-cost", request_cost::table),
    ("look-up", look_up::table),
    ("companion", companion::table),
    ("soak", soak_table),
    ("steady", steady::table),
];

fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    for (name, table) in PARTS {
        if (wanted.is_empty() && *name != "steady") || wanted.iter().any(|known| known == name) {
            println!("@@ {name}\n{}", table());
        }
    }
}

fn soak_table() -> String {
    let soak = soak::run(SOAK_REQUESTS);
    let tally = soak.tally;
    for example in &tally.examples {
        eprintln!("wrong: {example}");
    }
    format!(
        "| requests | let through | secrets rotated | listeners replaced | companion killed (-9) and restarted | \
         users signed out | wrong answers |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {} | {} | {} | {} | {} | {} | {} |\n",
        tally.requests, tally.passed, soak.rotations, soak.reloads, soak.kills, soak.sign_outs, tally.wrong
    )
}
