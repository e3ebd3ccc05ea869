//! How many instructions the gate's logic takes, which no other load on the machine changes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{say, system};

const COUNTED: [(&str, &str); 7] = [
    ("verify", "`jwt_gate_token::verify`"),
    ("seen", "`Gate::decide`, a token seen before"),
    ("fresh", "`Gate::decide`, a fresh token"),
    ("none", "`Gate::decide`, no token"),
    ("bad-signature", "`Gate::decide`, bad signature"),
    ("public", "`Gate::decide`, a public path"),
    ("claims", "`Gate::decide`, five claims as headers"),
];

/// How often each is done, twice; the difference is what a time costs.
const TIMES: [u64; 2] = [500, 2500];

/// A table of instructions for each call; `program` is `gate-alone`.
pub(super) fn table(program: &Path) -> Result<String> {
    system::ensure(&system::VALGRIND)?;
    say::step("Counting instructions");
    let mut table = String::from("| | instructions |\n| --- | ---: |\n");
    for (workload, title) in COUNTED {
        let [few, many] = TIMES;
        let difference =
            instructions(program, workload, many)?.saturating_sub(instructions(program, workload, few)?);
        table.push_str(&format!("| {title} | {} |\n", difference / (many - few)));
    }
    Ok(table)
}

/// All instructions of one run.
fn instructions(program: &Path, workload: &str, times: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([workload, &times.to_string()])
        .output()
        .context("valgrind cannot be started")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}\n{told}", output.status);
    let count = told.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    count.context("valgrind told no count")?.parse().context("valgrind's count is no number")
}
