//! What a filter costs beside time on the processor for each request: size, start-up, memory.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::contender::Contender;
use super::filters::filters;
use super::load::Scripts;
use super::proxy::{Proxy, Spec};
use super::running::Parts;
use super::stats::Estimate;
use super::table::with_interval;
use super::tokens::Tokens;
use super::workload::{Listener, Workload};
use super::{cpu, running};
use crate::say;

const CONTENDERS: [Contender; 4] = [Contender::None, Contender::JwtAuthn, Contender::Empty, Contender::Gate];
/// How often each Envoy is started to see how long that takes.
const STARTS: usize = 7;
const WORKERS: [u32; 2] = [1, 4];
/// Enough requests for each worker to have had some.
const WARM_UP: Duration = Duration::from_millis(950);

/// What was measured.
pub(super) struct Footprint {
    /// Bytes of the gate's module.
    pub(super) module: u64,
    gzipped: usize,
    lines: Vec<Line>,
}

struct Line {
    contender: Contender,
    start_up: Estimate,
    /// With as many workers as [`WORKERS`] says.
    resident_kib: [u64; 2],
}

pub(super) fn measure(parts: &Parts, folder: &Path) -> Result<Footprint> {
    say::step("Measuring size, start-up and memory");
    let module = &parts.modules.gate;
    let gzip = Command::new("gzip").args(["-9", "--stdout"]).arg(module).stderr(Stdio::inherit()).output()?;
    ensure!(gzip.status.success(), "gzip failed");
    let mut starts = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..STARTS {
        for (times, contender) in starts.iter_mut().zip(CONTENDERS) {
            times.push(start(parts, contender, 1)?.started_in.as_secs_f64() * 1e3);
        }
    }
    let scripts = Scripts::write(&folder.join("footprint"), &Tokens::mint(running::SUBJECT)?, None)?;
    let resident_kib = |contender, workers| -> Result<u64> {
        let proxy = start(parts, contender, workers)?;
        scripts.run(Workload::Seen, proxy.address(Listener::Bearer)?, WARM_UP, false)?;
        cpu::resident_kib(proxy.id())
    };
    let lines = CONTENDERS.into_iter().zip(starts).map(|(contender, times)| {
        let mut resident = [0; 2];
        for (kib, workers) in resident.iter_mut().zip(WORKERS) {
            *kib = resident_kib(contender, workers)?;
        }
        let start_up = Estimate::of(times).context("nothing was started")?;
        Ok(Line { contender, start_up, resident_kib: resident })
    });
    Ok(Footprint {
        module: fs::metadata(module)?.len(),
        gzipped: gzip.stdout.len(),
        lines: lines.collect::<Result<_>>()?,
    })
}

fn start(parts: &Parts, contender: Contender, workers: u32) -> Result<Proxy> {
    Proxy::start(&Spec {
        envoy: &parts.envoy,
        workers,
        // One listener with the filter: with three, three plugins would be configured.
        filters: &|listener| {
            let filtered = if listener == Listener::Bearer { contender } else { Contender::None };
            filters(filtered, listener, &parts.modules)
        },
        echoed: &[],
        companion: None,
    })
}

impl Footprint {
    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "`jwt_gate.wasm` has {} bytes, {} after gzip -9.\n\n\
             | | ready after, ms | MiB with 1 worker | MiB with 4 workers | MiB for each further worker |\n\
             | --- | --- | --- | --- | --- |\n",
            self.module, self.gzipped
        );
        for Line { contender, start_up, resident_kib: [one, four] } in &self.lines {
            let mebibytes = |kib: u64| kib as f64 / 1024.0;
            let _ = writeln!(
                table,
                "| {} | {} | {:.0} | {:.0} | {:.1} |",
                contender.title(),
                with_interval(*start_up, 0),
                mebibytes(*one),
                mebibytes(*four),
                mebibytes(four.saturating_sub(*one)) / 3.0,
            );
        }
        table
    }
}
