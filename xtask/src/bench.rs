//! `cargo xtask bench`: the gate side by side with what a user would pick instead.
//!
//! Each contender is an Envoy of its own with one worker, whose routes it answers itself. Load comes from wrk,
//! for one contender at a time. What is compared is time on the processor per request, above that of an Envoy
//! without a filter in the same round: on a machine that the load generator shares, it is what stays the same.

mod check;
mod contender;
mod cpu;
mod empty;
mod filters;
mod http;
mod load;
mod program;
mod proxy;
mod python;
mod rounds;
mod running;
mod stats;
mod table;
mod targets;
mod tokens;
mod workload;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use crate::{envoy, say, system, wasm};
use contender::Contender;
use filters::Modules;
use running::{Parts, Running};
use workload::Workload;

/// The priority (`nice`) of whatever is measured and of the load.
const PRIORITY: i32 = -15;

/// What to measure, and how long.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often each contender has its turn under each workload.
    #[arg(long, value_name = "N", default_value_t = 31)]
    rounds: usize,
    /// How long a turn is.
    #[arg(long, value_name = "S", default_value_t = 0.3)]
    seconds: f64,
    /// Only these contenders (and those that they are compared with). Implies --no-write.
    #[arg(long, value_name = "CONTENDER", value_delimiter = ',')]
    only: Vec<Contender>,
    /// Only these workloads. Implies --no-write.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Do not write docs/benchmarks.md and its charts.
    #[arg(long)]
    no_write: bool,
}

/// Measures, prints and writes.
///
/// # Errors
/// Where something does not compile, is missing, does not start, or does not do what it is to be measured at.
pub fn command(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "there is nothing to measure in no rounds");
    // wrk looks for an interruption each tenth of a second, so it ends up to as much later.
    let turn = Duration::try_from_secs_f64(options.seconds - 0.05).context("--seconds is too little")?;
    system::ensure(&system::WRK)?;
    let contenders = selected(&options.only);
    let workloads = if options.workloads.is_empty() {
        Workload::value_variants().to_vec()
    } else {
        options.workloads.clone()
    };
    let parts = parts(&contenders)?;
    raise_priority();
    say::step("Starting the contenders");
    let folder = tempfile::Builder::new().prefix("jwt-gate-bench-").tempdir()?;
    let contenders = contenders
        .into_iter()
        .filter(|contender| workloads.iter().any(|workload| contender.takes_part(*workload)))
        .map(|contender| Running::start(contender, &parts, folder.path()))
        .collect::<Result<Vec<_>>>()?;
    let measured = rounds::measure(&contenders, &workloads, options.rounds, turn)?;
    for workload in &workloads {
        println!("\n{}\n\n{}", workload.title(), table::costs(&measured, *workload));
    }
    println!("\n{}", table::targets(&measured));
    println!("\nMemory\n\n{}", table::memory(&contenders)?);
    Ok(())
}

/// Puts us and what we start before others on this machine, where we may.
fn raise_priority() {
    if rustix::process::setpriority_process(None, PRIORITY).is_err() {
        say::note(
            "The priority cannot be raised: what else runs on this machine will be seen in the figures",
        );
    }
}

/// All contenders, or those chosen and those that they are compared with.
fn selected(only: &[Contender]) -> Vec<Contender> {
    let wanted = |contender: &Contender| {
        only.is_empty()
            || only.contains(contender)
            || only.iter().any(|chosen| chosen.baseline() == Some(*contender))
    };
    Contender::value_variants().iter().copied().filter(wanted).collect()
}

/// Builds and fetches what these contenders are made of.
fn parts(contenders: &[Contender]) -> Result<Parts> {
    let workspace = Workspace::locate()?;
    say::step("Building the gate and the empty filter");
    let empty = empty::build(&workspace)?;
    let modules = Modules { gate: wasm::build()?, empty: empty.trimmed, untrimmed: empty.untrimmed };
    let companion = contenders.contains(&Contender::ExtAuthz).then(|| {
        say::step("Building the companion, optimised");
        workspace.released_companion()
    });
    let fastapi = contenders.contains(&Contender::Fastapi).then(|| python::install(&workspace));
    Ok(Parts {
        envoy: envoy::locate()?,
        modules,
        companion: companion.transpose()?,
        fastapi: fastapi.transpose()?,
    })
}
