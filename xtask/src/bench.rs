//! `cargo xtask bench`: the gate side by side with what a user would pick instead.
//!
//! Each contender is an Envoy of its own with one worker, whose routes it answers itself. Load comes from wrk,
//! for one contender at a time. What is compared is time on the processor per request, above that of an Envoy
//! without a filter in the same round: on a machine that the load generator shares, it is what stays the same.

mod affinity;
mod chart;
mod check;
mod companion;
mod contender;
mod cpu;
mod empty;
mod filters;
mod footprint;
mod http;
mod instructions;
mod latency;
mod load;
mod open_loop;
mod program;
mod proxy;
mod python;
mod report;
mod rounds;
mod running;
mod stats;
mod table;
mod targets;
mod tokens;
mod workload;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use crate::{command, document, envoy, say, system, wasm};
use contender::Contender;
use filters::Modules;
use report::Report;
use running::{Parts, Running};
use targets::Verdicts;
use workload::Workload;

/// The priority (`nice`) of whatever is measured and of the load.
const PRIORITY: i32 = -15;

/// What to measure, and how long.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often each contender has its turn under each workload.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: usize,
    /// How long a turn is.
    #[arg(long, value_name = "S", default_value_t = 0.04)]
    seconds: f64,
    /// Only these parts.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    parts: Vec<Part>,
    /// Only these contenders (and those that they are compared with), and of the parts `requests` alone. Implies
    /// --no-write.
    #[arg(long, value_name = "CONTENDER", value_delimiter = ',')]
    only: Vec<Contender>,
    /// Only these workloads, and of the parts `requests` alone. Implies --no-write.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Another build of the gate, to be measured beside it; of the parts `requests` alone. Implies --no-write.
    #[arg(long, value_name = "MODULE")]
    beside: Option<PathBuf>,
    /// Do not write docs/benchmarks.md and its charts.
    #[arg(long)]
    no_write: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Time on the processor per request, and latency.
    Requests,
    /// Size, start-up, memory.
    Footprint,
    /// The companion.
    Companion,
    /// Instructions of the gate's logic, by valgrind.
    Instructions,
}

/// Measures, prints and writes.
///
/// # Errors
/// Where something does not compile, is missing, does not start, or does not do what it is to be measured at.
pub fn command(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "there is nothing to measure in no rounds");
    let turn = Duration::try_from_secs_f64(options.seconds).context("--seconds is no time")?;
    let quick = !options.only.is_empty() || !options.workloads.is_empty() || options.beside.is_some();
    let wanted = |part| {
        if quick { part == Part::Requests } else { options.parts.is_empty() || options.parts.contains(&part) }
    };
    // Envoy is not started in the folder that we are in.
    let other_build = options.beside.as_ref().map(fs::canonicalize).transpose().context("--beside")?;
    system::ensure(&system::WRK)?;
    let workspace = Workspace::locate()?;
    let all_contenders = selected(options);
    let services = wanted(Part::Companion) || wanted(Part::Requests);
    let parts = parts(&workspace, &all_contenders, services, other_build)?;
    let alone = |name| workspace.released("jwt-gate-alone", name);
    let bcrypt_alone = wanted(Part::Companion).then(|| alone("bcrypt-alone")).transpose()?;
    let gate_alone = wanted(Part::Instructions).then(|| alone("gate-alone")).transpose()?;
    raise_priority();
    let folder = tempfile::Builder::new().prefix("jwt-gate-bench-").tempdir()?;

    let report = Report::new(&workspace, quick || options.no_write)?;
    report.part("machine", &machine(&parts, options)?)?;
    let mut verdicts = Verdicts::default();
    if wanted(Part::Requests) {
        let workloads =
            if options.workloads.is_empty() { Workload::value_variants() } else { &options.workloads };
        say::step("Starting the contenders");
        // On a processor of their own: moved to and fro between processors, with the load or without it, the same
        // request costs now more, now less.
        let processors = affinity::ours()?;
        affinity::keep_to(&processors, 1)?;
        let contenders = all_contenders
            .into_iter()
            .filter(|contender| workloads.iter().any(|workload| contender.takes_part(*workload)))
            .map(|contender| Running::start(contender, &parts, folder.path()))
            .collect::<Result<Vec<_>>>()?;
        affinity::keep_to(&processors, 0)?;
        let measured = rounds::measure(&contenders, workloads, options.rounds, turn)?;
        for workload in workloads {
            report.part(workload.name(), &table::costs(&measured, *workload))?;
            if let Some(more) = measured.difference(*workload, Contender::OtherBuild, Contender::Gate) {
                println!("The other build, above this one: {} µs\n", table::with_interval(more, 2));
            }
            report.chart(workload.name(), &|path| chart::write(path, &measured, *workload))?;
        }
        verdicts.requests(&measured);
        if quick {
            println!("Memory\n\n{}", table::memory(&contenders)?);
        } else {
            let latency = latency::measure(&contenders, &measured)?;
            report.part("latency", &latency.table())?;
            verdicts.latency(&latency);
        }
        affinity::set(&processors)?;
    }
    if wanted(Part::Footprint) {
        let footprint = footprint::measure(&parts, folder.path())?;
        report.part("footprint", &footprint.table())?;
        // Of another module than this workspace's nothing is known but its size.
        if env::var_os("JWT_GATE_WASM").is_none() {
            report.part("composition", &wasm::composition()?.table())?;
        }
        verdicts.footprint(&footprint);
    }
    if let (Some(bcrypt_alone), Some(companion), Some(python)) =
        (&bcrypt_alone, &parts.companion, &parts.fastapi)
    {
        let measured =
            companion::measure(&companion::Programs { companion, bcrypt_alone, python }, folder.path())?;
        report.part("companion", &measured.table())?;
        verdicts.companion(&measured);
    }
    if let Some(gate_alone) = gate_alone {
        report.part("instructions", &instructions::table(&gate_alone)?)?;
    }
    let targets = verdicts.table();
    if quick || !options.parts.is_empty() {
        println!("{targets}");
        return Ok(());
    }
    report.part("targets", &targets)?;
    report.readme(&verdicts.summary())
}

/// On what it was measured.
fn machine(parts: &Parts, options: &Options) -> Result<String> {
    let rustc = command::stdout(Command::new("rustc").arg("--version"))?;
    let wrk = command::stdout(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "wrk"]));
    let python = match &parts.fastapi {
        Some(python) => python.versions()?,
        None => String::new(),
    };
    Ok(format!(
        "On {}. Envoy {}, wrk {}, {}{python}. {} rounds of {} s for each contender.",
        document::machine(),
        envoy::version_of(&parts.envoy)?,
        wrk.unwrap_or_else(|_| "of an unknown version".to_owned()),
        rustc.trim(),
        options.rounds,
        options.seconds,
    ))
}

/// Puts us and what we start before others on this machine, where we may.
fn raise_priority() {
    // Linux shares the processors among sessions first (sched(7), autogroup), and `nice` counts within one.
    let among_sessions = fs::write("/proc/self/autogroup", PRIORITY.to_string());
    if rustix::process::setpriority_process(None, PRIORITY).is_err() || among_sessions.is_err() {
        say::note("The priority cannot be raised: what else runs here will be seen in the figures");
    }
}

/// All contenders, or those chosen and those that they are compared with.
fn selected(options: &Options) -> Vec<Contender> {
    let mut chosen = options.only.clone();
    if chosen.is_empty() {
        chosen.extend(Contender::value_variants());
    }
    if options.beside.is_some() {
        chosen.extend([Contender::Gate, Contender::OtherBuild]);
    }
    let baselines = chosen.iter().filter_map(|contender| contender.baseline());
    let all: BTreeSet<Contender> = baselines.chain(chosen.iter().copied()).collect();
    all.into_iter().collect()
}

/// Builds and fetches what these contenders are made of; `$JWT_GATE_WASM` and `$JWT_GATE_AUTH` stand for the two
/// programs where they are built already.
fn parts(
    workspace: &Workspace,
    contenders: &[Contender],
    services: bool,
    other_build: Option<PathBuf>,
) -> Result<Parts> {
    say::step("Building the gate, and filters that do less");
    let empty = empty::build(workspace)?;
    let built = |variable| env::var_os(variable).map(PathBuf::from);
    let gate = built("JWT_GATE_WASM").map_or_else(wasm::build, Ok)?;
    let module = contenders
        .contains(&Contender::Module)
        .then(|| built("JWT_GATE_MODULE").map_or_else(crate::module::build, Ok));
    let companion = (services && contenders.contains(&Contender::ExtAuthz)).then(|| {
        say::step("Building the companion, optimised");
        built("JWT_GATE_AUTH").map_or_else(|| workspace.released("jwt-gate-auth", "jwt-gate-auth"), Ok)
    });
    let fastapi = (services && contenders.contains(&Contender::Fastapi)).then(|| python::install(workspace));
    Ok(Parts {
        envoy: envoy::locate()?,
        modules: Modules {
            gate,
            module: module.transpose()?,
            other_build,
            empty: empty.trimmed,
            untrimmed: empty.untrimmed,
            floor: empty.floor,
        },
        companion: companion.transpose()?,
        fastapi: fastapi.transpose()?,
    })
}
