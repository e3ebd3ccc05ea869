//! The companion: how much of the processors its sign-ins use for bcrypt, what its other calls cost beside the
//! same in FastAPI, and what it occupies at rest.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::program::Program;
use super::python::Python;
use super::stats::Estimate;
use super::table::with_interval;
use super::tokens::Tokens;
use super::{cpu, http, load, running};
use crate::{command, say};

/// The companion's default.
const BCRYPT_COST: u32 = 12;
const SIGN_IN_ROUNDS: usize = 5;
/// Sign-ins of each client in a round. There are twice as many clients as processors.
const SIGN_INS: u32 = 5;
const CALL_ROUNDS: usize = 9;
const TURN: Duration = Duration::from_millis(450);
/// Long enough for what is done once after the start.
const REST: Duration = Duration::from_secs(2);
const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";

/// Calls that FastAPI answers too; the last does nothing but answer.
const CALLS: [(&str, &str); 3] = [("GET", "me"), ("POST", "verify"), ("GET", ALONE)];
const ALONE: &str = "ok";

/// The programs.
pub(super) struct Programs<'bench> {
    pub(super) companion: &'bench Path,
    pub(super) bcrypt_alone: &'bench Path,
    pub(super) python: &'bench Python,
}

/// What was measured.
pub(super) struct Measurement {
    resident_kib: u64,
    /// The share of what bcrypt alone does.
    pub(super) sign_ins: Estimate,
    sign_ins_per_second: Estimate,
    calls: Vec<Call>,
}

struct Call {
    name: &'static str,
    companion: Estimate,
    fastapi: Estimate,
    ratio: Estimate,
}

pub(super) fn measure(programs: &Programs<'_>, folder: &Path) -> Result<Measurement> {
    say::step("Measuring the companion");
    let companion = Program::companion(programs.companion, BCRYPT_COST)?;
    thread::sleep(REST);
    let resident_kib = cpu::resident_kib(companion.id())?;
    let subject = companion.sign_up(EMAIL, PASSWORD)?;

    let processors = u32::try_from(thread::available_parallelism()?.get())?;
    let (mut shares, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..SIGN_IN_ROUNDS {
        let alone = alone(programs.bcrypt_alone, processors)?;
        let with = sign_in(companion.address, 2 * processors)?;
        shares.push(alone / with);
        rates.push(f64::from(2 * processors * SIGN_INS) / with);
    }

    let fastapi =
        Program::uvicorn(&programs.python.interpreter, &programs.python.applications, "accounts:app")?;
    let token = |subject: &str| Ok::<_, anyhow::Error>(Tokens::mint(subject)?.seen);
    let (ours, theirs) = (token(&subject)?, token(running::SUBJECT)?);
    let mut calls = Vec::new();
    for (method, name) in CALLS {
        let path = format!("/api/auth/{name}");
        let script = |program: &str, token: &str| -> Result<PathBuf> {
            let script = folder.join(format!("{program}-{name}"));
            let request =
                format!("wrk.method = {method:?}\nwrk.headers[\"Authorization\"] = \"Bearer {token}\"\n");
            fs::write(&script, request + load::DONE)?;
            Ok(script)
        };
        let (our_script, their_script) = (script("companion", &ours)?, script("fastapi", &theirs)?);
        let (mut our_costs, mut their_costs) = (Vec::new(), Vec::new());
        for _ in 0..CALL_ROUNDS {
            our_costs.push(cost(&companion, &our_script, &path)?);
            their_costs.push(cost(&fastapi, &their_script, &path)?);
        }
        let ratios = our_costs.iter().zip(&their_costs).map(|(ours, theirs)| theirs / ours);
        let estimate = |values: &[f64]| Estimate::of(values.iter().copied()).context("nothing was measured");
        calls.push(Call {
            name,
            ratio: Estimate::of(ratios).context("nothing was measured")?,
            companion: estimate(&our_costs)?,
            fastapi: estimate(&their_costs)?,
        });
    }
    let estimate = |values| Estimate::of(values).context("nothing was measured");
    Ok(Measurement {
        resident_kib,
        sign_ins: estimate(shares)?,
        sign_ins_per_second: estimate(rates)?,
        calls,
    })
}

/// Seconds that bcrypt alone takes for as many checks, on one thread for each processor.
fn alone(program: &Path, processors: u32) -> Result<f64> {
    let numbers = [processors, 2 * SIGN_INS, BCRYPT_COST].map(|number| number.to_string());
    Ok(command::stdout(Command::new(program).args(numbers))?.trim().parse()?)
}

/// Seconds that the companion takes until all clients have signed in [`SIGN_INS`] times.
fn sign_in(companion: SocketAddr, clients: u32) -> Result<f64> {
    let account = json!({"email": EMAIL, "password": PASSWORD});
    let one_after_the_other = || -> Result<()> {
        for _ in 0..SIGN_INS {
            let answer = http::post(companion, "/api/auth/signin", &account)?;
            ensure!(answer.status == 200, "a sign-in was answered {}: {}", answer.status, answer.body);
        }
        Ok(())
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(one_after_the_other)).collect();
        let joined =
            clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        joined.collect::<Result<()>>()
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// Microseconds on the processor of one call.
fn cost(program: &Program, script: &Path, path: &str) -> Result<f64> {
    let before = cpu::nanoseconds_of_all(program.id())?;
    let count = load::wrk(script, &format!("http://{}{path}", program.address), TURN, false)?;
    let spent = cpu::nanoseconds_of_all(program.id())?.saturating_sub(before);
    Ok(spent as f64 / 1e3 / count.requests as f64)
}

impl Measurement {
    /// The least multiple of the companion's cost that FastAPI takes.
    pub(super) fn against_fastapi(&self) -> Option<Estimate> {
        self.working().map(|call| call.ratio).min_by(|one, other| one.median.total_cmp(&other.median))
    }

    /// The same if the companion did nothing but answer.
    pub(super) fn against_fastapi_at_most(&self) -> Option<f64> {
        let alone = self.calls.iter().find(|call| call.name == ALONE)?;
        self.working().map(|call| call.fastapi.median / alone.companion.median).min_by(f64::total_cmp)
    }

    fn working(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.name != ALONE)
    }

    pub(super) fn resident_mebibytes(&self) -> f64 {
        self.resident_kib as f64 / 1024.0
    }

    pub(super) fn table(&self) -> String {
        let share = Estimate {
            median: self.sign_ins.median * 100.0,
            low: self.sign_ins.low * 100.0,
            high: self.sign_ins.high * 100.0,
        };
        let mut table = format!(
            "{} sign-ins a second (bcrypt cost {BCRYPT_COST}), {} % of what bcrypt alone does on these processors.\n\
             {:.1} MiB at rest (RSS of the release build, SQLite).\n\n\
             | µs on the processor per request | companion | FastAPI | ratio |\n| --- | --- | --- | --- |\n",
            with_interval(self.sign_ins_per_second, 1),
            with_interval(share, 1),
            self.resident_mebibytes(),
        );
        for call in &self.calls {
            let _ = writeln!(
                table,
                "| `{}` | {} | {} | {} |",
                call.name,
                with_interval(call.companion, 0),
                with_interval(call.fastapi, 0),
                with_interval(call.ratio, 1),
            );
        }
        table
    }
}
