//! The measurement: rounds in which every contender has its turn under every workload.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::check;
use super::contender::Contender;
use super::running::{Running, Sample};
use super::stats::Estimate;
use super::workload::Workload;
use crate::say;

/// How long each contender is warmed up under each workload.
const WARM_UP: Duration = Duration::from_secs(1);

/// What was measured: for each workload and contender, one sample a round.
#[derive(Debug, Default)]
pub(super) struct Measured {
    samples: BTreeMap<(Workload, Contender), Vec<Sample>>,
}

/// Checks everybody, warms everybody up, measures so many rounds.
pub(super) fn measure(
    contenders: &[Running],
    workloads: &[Workload],
    rounds: usize,
    turn: Duration,
) -> Result<Measured> {
    for workload in workloads {
        for running in taking_part(contenders, *workload, 0) {
            check::check(running, *workload)?;
        }
    }
    say::step("Warming up: V8 compiles what is used");
    for workload in workloads {
        for running in taking_part(contenders, *workload, 0) {
            let before = check::hits(running)?;
            let count = running.load(*workload, WARM_UP)?;
            if *workload == Workload::Fresh {
                check::check_misses(running, before, count.requests)?;
            }
        }
    }
    let mut measured = Measured::default();
    for round in 0..rounds {
        say::step(&format!("Round {} of {rounds}", round + 1));
        for workload in workloads {
            for running in taking_part(contenders, *workload, round) {
                let sample = running.measure(*workload, turn)?;
                measured.samples.entry((*workload, running.contender)).or_default().push(sample);
            }
        }
    }
    Ok(measured)
}

/// Those measured under this workload, each round beginning with another one.
fn taking_part(contenders: &[Running], workload: Workload, round: usize) -> Vec<&Running> {
    let mut order: Vec<&Running> =
        contenders.iter().filter(|running| running.contender.takes_part(workload)).collect();
    if let Some(first) = round.checked_rem(order.len()) {
        order.rotate_left(first);
    }
    order
}

// === impl Measured ===

impl Measured {
    /// Those that were measured under this workload.
    pub(super) fn contenders(&self, workload: Workload) -> Vec<Contender> {
        self.samples.keys().filter(|(of, _)| *of == workload).map(|(_, contender)| *contender).collect()
    }

    /// Microseconds on the processor that a request cost, in each round.
    fn cpu(&self, workload: Workload, contender: Contender) -> Vec<f64> {
        let samples = self.samples.get(&(workload, contender)).map(Vec::as_slice).unwrap_or_default();
        samples.iter().map(|sample| sample.cpu_microseconds).collect()
    }

    /// The same above what it cost without a check in the same round.
    fn above(&self, workload: Workload, contender: Contender) -> Vec<f64> {
        let Some(baseline) = contender.baseline() else { return Vec::new() };
        let pairs = self.cpu(workload, contender).into_iter().zip(self.cpu(workload, baseline));
        pairs.map(|(with, without)| with - without).collect()
    }

    pub(super) fn total(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        Estimate::of(self.cpu(workload, contender))
    }

    pub(super) fn cost(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        Estimate::of(self.above(workload, contender))
    }

    pub(super) fn throughput(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        let samples = self.samples.get(&(workload, contender))?;
        Estimate::of(samples.iter().map(|sample| sample.requests_per_second))
    }

    /// The cost of one as a multiple of the other's, of the two in the same round each.
    pub(super) fn ratio(&self, workload: Workload, one: Contender, other: Contender) -> Option<Estimate> {
        let pairs: Vec<_> = self.above(workload, one).into_iter().zip(self.above(workload, other)).collect();
        Estimate::of_ratio(&pairs)
    }
}
