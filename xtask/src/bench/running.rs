//! The contenders as processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::contender::Contender;
use super::cpu;
use super::filters::{Modules, filters};
use super::load::{Count, Held, Scripts};
use super::program::Program;
use super::proxy::{Proxy, Spec};
use super::python::Python;
use super::tokens::{Pool, Tokens};
use super::workload::{CLAIM_HEADERS, Workload};

/// Whose tokens they are where nobody has an account.
pub(super) const SUBJECT: &str = "0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f";

/// How long after its turn a contender still has requests to answer that were sent in it.
const SETTLE: Duration = Duration::from_millis(2);

/// What the contenders are made of.
pub(super) struct Parts {
    pub(super) envoy: PathBuf,
    pub(super) modules: Modules,
    /// Where `ext_authz` is among them.
    pub(super) companion: Option<PathBuf>,
    /// Where FastAPI is among them.
    pub(super) fastapi: Option<Python>,
}

/// A contender that runs; its processes end when this is dropped.
pub(super) struct Running {
    pub(super) contender: Contender,
    proxy: Option<Proxy>,
    program: Option<Program>,
    scripts: Scripts,
    pub(super) tokens: Tokens,
}

/// What one request cost in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Time on the processor, of all processes of the contender.
    pub(super) cpu_microseconds: f64,
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
}

impl Running {
    /// Starts it; `folder` is for its scripts.
    pub(super) fn start(contender: Contender, parts: &Parts, folder: &Path) -> Result<Self> {
        let program = match contender {
            Contender::ExtAuthz => {
                let binary = parts.companion.as_ref().context("the companion was not built")?;
                Some(Program::companion(binary, 4)?)
            }
            Contender::Fastapi | Contender::FastapiPlain => {
                let python = parts.fastapi.as_ref().context("FastAPI was not installed")?;
                let app = if contender == Contender::Fastapi { "check:app" } else { "plain:app" };
                Some(Program::uvicorn(&python.interpreter, &python.applications, app)?)
            }
            _ => None,
        };
        let companion = program.as_ref().filter(|_| contender == Contender::ExtAuthz);
        // The companion answers only for somebody it knows.
        let subject = match companion {
            Some(companion) => companion.sign_up("ada@example.com", "correct horse battery staple")?,
            None => SUBJECT.to_owned(),
        };
        let tokens = Tokens::mint(&subject)?;
        let pool = if contender.is_coarse() { Pool::SMALL } else { Pool::LARGE };
        let pool = Some(pool).filter(|_| contender.takes_part(Workload::Fresh));
        let scripts = Scripts::write(&folder.join(contender.name()), &tokens, pool)?;
        let mut echoed: Vec<&str> = CLAIM_HEADERS.iter().map(|(header, _)| *header).collect();
        echoed.push("authorization");
        let proxy = contender.is_envoy().then(|| {
            Proxy::start(&Spec {
                envoy: &parts.envoy,
                workers: 1,
                filters: &|listener| filters(contender, listener, &parts.modules),
                echoed: &echoed,
                companion: companion.map(|program| program.address),
            })
        });
        Ok(Self { contender, proxy: proxy.transpose()?, program, scripts, tokens })
    }

    /// Where it takes the requests of this workload.
    pub(super) fn address(&self, workload: Workload) -> Result<SocketAddr> {
        match (&self.proxy, &self.program) {
            (Some(proxy), _) => proxy.address(workload.listener()),
            (None, Some(program)) => Ok(program.address),
            (None, None) => unreachable!("a contender without a process"),
        }
    }

    /// Its Envoy's counter of this name.
    pub(super) fn counter(&self, name: &str) -> Result<u64> {
        self.proxy.as_ref().map_or(Ok(0), |proxy| proxy.counter(name))
    }

    /// Whether it turns this workload's requests away.
    pub(super) fn refuses(&self, workload: Workload) -> bool {
        (self.contender.verifies() || self.contender == Contender::Floor) && workload.is_refused()
    }

    /// Loads it for a `turn`.
    fn load(&self, workload: Workload, turn: Duration) -> Result<Count> {
        let count = self.scripts.run(workload, self.address(workload)?, turn, self.refuses(workload));
        count.with_context(|| self.under(workload))
    }

    /// A load for it that runs in its turns only.
    pub(super) fn hold(&self, workload: Workload) -> Result<Held> {
        self.scripts.hold(workload, self.address(workload)?, self.refuses(workload))
    }

    /// Loads it with `held` for a `turn` and tells what a request cost. Envoy counts the requests.
    pub(super) fn measure_held(&self, held: &Held, workload: Workload, turn: Duration) -> Result<Sample> {
        let requests_before = self.answered(workload)?;
        let (start, cpu_before) = (Instant::now(), self.cpu()?);
        held.turn(turn)?;
        let seconds = start.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        let spent = self.cpu()?.saturating_sub(cpu_before);
        let requests = self.answered(workload)?.saturating_sub(requests_before);
        ensure!(requests > 0, "{} answered nothing", self.under(workload));
        Ok(Sample {
            cpu_microseconds: spent as f64 / 1e3 / requests as f64,
            requests,
            requests_per_second: requests as f64 / seconds,
        })
    }

    /// The same with a load that starts for it.
    pub(super) fn measure(&self, workload: Workload, turn: Duration) -> Result<Sample> {
        let before = self.cpu()?;
        let count = self.load(workload, turn)?;
        let spent = self.cpu()?.saturating_sub(before);
        Ok(Sample {
            cpu_microseconds: spent as f64 / 1e3 / count.requests as f64,
            requests: count.requests,
            requests_per_second: count.requests as f64 / count.seconds,
        })
    }

    /// How many of this workload's requests its Envoy has answered so far.
    fn answered(&self, workload: Workload) -> Result<u64> {
        self.counter(&format!("http.{}.downstream_rq_completed", workload.listener().name()))
    }

    /// For errors.
    fn under(&self, workload: Workload) -> String {
        format!("{} under {}", self.contender.name(), workload.name())
    }

    fn cpu(&self) -> Result<u64> {
        let proxy = self.proxy.iter().map(|proxy| cpu::nanoseconds(proxy.id()));
        proxy.chain(self.program.iter().map(|program| cpu::nanoseconds_of_all(program.id()))).sum()
    }

    /// Kibibytes of memory that its processes occupy.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        self.processes().map(cpu::resident_kib).sum()
    }

    fn processes(&self) -> impl Iterator<Item = u32> {
        self.proxy.iter().map(Proxy::id).chain(self.program.iter().map(Program::id))
    }
}
