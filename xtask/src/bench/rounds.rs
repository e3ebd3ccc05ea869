//! The measurement: rounds in which every contender has its turn under every workload.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::check::{self, LookUps};
use super::contender::Contender;
use super::load::Held;
use super::running::{Running, Sample};
use super::stats::Estimate;
use super::workload::Workload;
use crate::say;

/// How long each contender is warmed up under each workload.
const WARM_UP: Duration = Duration::from_secs(1);

/// Who costs much has its turn in one of so many rounds, and a long one.
const COARSE_EVERY: usize = 5;
const COARSE_TURN: Duration = Duration::from_millis(250);

/// What was measured: for each workload and contender, samples by round.
#[derive(Debug, Default)]
pub(super) struct Measured {
    samples: BTreeMap<(Workload, Contender), BTreeMap<usize, Sample>>,
}

/// Checks everybody; then, for one workload after the other, warms everybody up and measures so many rounds.
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
    let mut measured = Measured::default();
    for workload in workloads {
        say::step(&format!("Measuring {rounds} rounds: {}", workload.title()));
        let mut held = BTreeMap::new();
        let mut look_ups = BTreeMap::new();
        for running in taking_part(contenders, *workload, 0) {
            look_ups.insert(running.contender, LookUps::of(running)?);
            if let Some(load) = warm_up(running, *workload)? {
                held.insert(running.contender, load);
            }
        }
        for round in 0..rounds {
            for running in taking_part(contenders, *workload, round) {
                let sample = match held.get(&running.contender) {
                    Some(load) => running.measure_held(load, *workload, turn)?,
                    None if round % COARSE_EVERY == 0 => running.measure(*workload, COARSE_TURN)?,
                    None => continue,
                };
                let samples = measured.samples.entry((*workload, running.contender)).or_default();
                samples.insert(round, sample);
            }
        }
        if *workload == Workload::Fresh {
            for running in taking_part(contenders, *workload, 0) {
                let requests = measured.requests(*workload, running.contender);
                check::check_misses(running, look_ups[&running.contender], requests)?;
            }
        }
        for (contender, load) in held {
            let ended = load.end();
            ended.with_context(|| format!("{} under {}", contender.name(), workload.name()))?;
        }
    }
    Ok(measured)
}

/// Warms it up (V8 compiles what is used); its load, if it is one that is held.
fn warm_up(running: &Running, workload: Workload) -> Result<Option<Held>> {
    if running.contender.is_coarse() {
        running.measure(workload, WARM_UP)?;
        return Ok(None);
    }
    let load = running.hold(workload)?;
    running.measure_held(&load, workload, WARM_UP)?;
    Ok(Some(load))
}

/// Those measured under this workload, each round beginning with another one, and every other one the other way
/// round.
fn taking_part(contenders: &[Running], workload: Workload, round: usize) -> Vec<&Running> {
    let mut order: Vec<&Running> =
        contenders.iter().filter(|running| running.contender.takes_part(workload)).collect();
    // Rounds with those that cost much are counted apart: they are few, and would all begin with the same.
    let count = if round.is_multiple_of(COARSE_EVERY) { round / COARSE_EVERY } else { round };
    if let Some(first) = count.checked_rem(order.len()) {
        order.rotate_left(first);
    }
    if count % 2 == 1 {
        order.reverse();
    }
    order
}

// === impl Measured ===

impl Measured {
    /// Those that were measured under this workload.
    pub(super) fn contenders(&self, workload: Workload) -> Vec<Contender> {
        self.samples.keys().filter(|(of, _)| *of == workload).map(|(_, contender)| *contender).collect()
    }

    /// How many requests were answered in its turns.
    fn requests(&self, workload: Workload, contender: Contender) -> u64 {
        let samples = self.samples.get(&(workload, contender)).into_iter().flatten();
        samples.map(|(_, sample)| sample.requests).sum()
    }

    /// Microseconds on the processor that a request cost, by round.
    fn cpu(&self, workload: Workload, contender: Contender) -> BTreeMap<usize, f64> {
        let samples = self.samples.get(&(workload, contender)).into_iter().flatten();
        samples.map(|(round, sample)| (*round, sample.cpu_microseconds)).collect()
    }

    /// The same above what it cost without a check in the same round.
    fn above(&self, workload: Workload, contender: Contender) -> BTreeMap<usize, f64> {
        let Some(baseline) = contender.baseline() else { return BTreeMap::new() };
        let (with, without) = (self.cpu(workload, contender), self.cpu(workload, baseline));
        pairs(&with, &without).map(|(round, with, without)| (round, with - without)).collect()
    }

    pub(super) fn total(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        Estimate::of(self.cpu(workload, contender).into_values())
    }

    pub(super) fn cost(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        Estimate::of(self.above(workload, contender).into_values())
    }

    pub(super) fn throughput(&self, workload: Workload, contender: Contender) -> Option<Estimate> {
        let samples = self.samples.get(&(workload, contender))?;
        Estimate::of(samples.values().map(|sample| sample.requests_per_second))
    }

    /// How many microseconds more than `other` the contender `one` costs in the same round.
    pub(super) fn difference(
        &self,
        workload: Workload,
        one: Contender,
        other: Contender,
    ) -> Option<Estimate> {
        let (ones, others) = (self.cpu(workload, one), self.cpu(workload, other));
        Estimate::of(pairs(&ones, &others).map(|(_, one, other)| one - other))
    }

    /// The cost of one as a multiple of the other's: of the two in the same round each, unless one has its turn in
    /// few of the rounds, and the other's turns in all the others would count for nothing.
    pub(super) fn ratio(&self, workload: Workload, one: Contender, other: Contender) -> Option<Estimate> {
        let (ones, others) = (self.above(workload, one), self.above(workload, other));
        if one.is_coarse() != other.is_coarse() {
            let values = |costs: BTreeMap<usize, f64>| costs.into_values().collect::<Vec<_>>();
            return Estimate::of_unpaired_ratio(&values(ones), &values(others));
        }
        let pairs: Vec<_> = pairs(&ones, &others).map(|(_, one, other)| (one, other)).collect();
        Estimate::of_ratio(&pairs)
    }
}

/// The values of the rounds that both have.
fn pairs(
    one: &BTreeMap<usize, f64>,
    other: &BTreeMap<usize, f64>,
) -> impl Iterator<Item = (usize, f64, f64)> {
    one.iter().filter_map(|(round, value)| Some((*round, *value, *other.get(round)?)))
}
