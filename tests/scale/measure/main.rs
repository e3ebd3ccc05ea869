//! Measures what docs/scale.md says. `cargo xtask measure scale` runs it and writes the tables.
//!
//! Each part prints `@@ <name>`, then a table in Markdown. Arguments name the parts; without any, all.

#[path = "../failures.rs"]
mod failures;
#[path = "../gates.rs"]
mod gates;
#[path = "../sessions.rs"]
mod sessions;
#[path = "../site.rs"]
mod site;
#[path = "../tally.rs"]
mod tally;
#[path = "../traffic.rs"]
mod traffic;
// Another program that measures.
#[path = "../../revocation/measure/cpu.rs"]
#[expect(dead_code, reason = "not all of it is measured here")]
mod cpu;
// The companion's own tests start a PostgreSQL of their own; the same one serves here.
#[path = "../../../src/companion/tests/it/postgres.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod postgres;
// What it needs of theirs.
#[path = "../../../src/companion/tests/it/run.rs"]
mod setup;

mod feed;
mod hosts;

use std::env;
use std::time::Duration;

use failures::{
    COMPANION_DIES, DATABASE_IS_GONE, DATABASE_RESTARTS, Failure, GATE_DIES, GATE_IS_CUT_OFF, LINK_IS_CUT,
    NOTHING, Pace, happen,
};
use site::Site;
use traffic::Traffic;

type Part = (&'static str, fn(&mut Site) -> String);

const PARTS: &[Part] = &[("failures", failures_table), ("hosts", hosts::table), ("feed", feed::table)];

const FAILURES: &[Failure] =
    &[NOTHING, COMPANION_DIES, GATE_DIES, DATABASE_RESTARTS, DATABASE_IS_GONE, LINK_IS_CUT, GATE_IS_CUT_OFF];

/// As long for each, so that the counts can be compared. Broken for longer than a revoked token may pass.
const PACE: Pace =
    Pace { before: Duration::from_secs(5), broken: Duration::from_secs(15), after: Duration::from_secs(15) };

fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    for (name, table) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|known| known == name) {
            let mut site = Site::start().unwrap_or_else(|reason| panic!("not here: {reason}"));
            println!("@@ {name}\n{}", table(&mut site));
        }
    }
}

fn failures_table(site: &mut Site) -> String {
    let mut table = String::from(
        "| for 35 s each | requests | answered by another gate only | by none | sign-ins and sign-outs | of them failed | \
         a revoked token passed for at most | tried again once it must not pass | wrong answers |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let traffic = Traffic::start(site);
    for failure in FAILURES {
        let tally = happen(site, &traffic, failure, PACE);
        table += &format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} s | {} | {} |\n",
            failure.name,
            tally.requests,
            tally.elsewhere,
            tally.nowhere,
            tally.calls,
            tally.calls_failed,
            tally.longest.as_secs_f64(),
            tally.revoked,
            tally.wrong
        );
        eprintln!("{}", table.lines().last().unwrap_or_default());
    }
    for example in traffic.stop() {
        eprintln!("wrong: {example}");
    }
    table
}
