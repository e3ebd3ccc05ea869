//! Latency at a fixed rate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::contender::Contender;
use super::load::{CONNECTIONS, headers};
use super::open_loop::{self, Latencies};
use super::rounds::Measured;
use super::running::Running;
use super::stats::Estimate;
use super::table::with_interval;
use super::workload::Workload;
use crate::say;

const CONTENDERS: [Contender; 4] = [Contender::None, Contender::Gate, Contender::JwtAuthn, Contender::Floor];
const WORKLOAD: Workload = Workload::Seen;
const ROUNDS: usize = 48;
const TURN: Duration = Duration::from_millis(400);
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The latencies of each contender, one set a round.
pub(super) struct Measurement {
    rate: f64,
    rounds: BTreeMap<Contender, Vec<Latencies>>,
}

/// Measures at half of the rate that the slowest of them was seen to sustain.
pub(super) fn measure(contenders: &[Running], measured: &Measured) -> Result<Measurement> {
    let capacity = |contender| Some(measured.throughput(WORKLOAD, contender)?.median);
    let capacities: Option<Vec<f64>> = CONTENDERS.into_iter().map(capacity).collect();
    let capacities = capacities.context("the capacity was not measured")?;
    let rate = capacities.into_iter().fold(f64::INFINITY, f64::min) / 2.0;
    say::step(&format!("Measuring latency at {rate:.0} requests a second"));
    let mut rounds: BTreeMap<Contender, Vec<Latencies>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut order = CONTENDERS;
        order.rotate_left(round % CONTENDERS.len());
        for running in order.iter().filter_map(|one| contenders.iter().find(|other| other.contender == *one))
        {
            let latencies =
                open_loop::run(running.address(WORKLOAD)?, &request(running), rate, TURN, CONNECTIONS)
                    .with_context(|| running.contender.name())?;
            rounds.entry(running.contender).or_default().push(latencies);
        }
    }
    Ok(Measurement { rate, rounds })
}

fn request(running: &Running) -> Vec<u8> {
    let mut request = format!("GET {} HTTP/1.1\r\nHost: bench\r\n", WORKLOAD.path());
    for (name, value) in headers(WORKLOAD, &running.tokens) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.into_bytes()
}

impl Measurement {
    fn percentiles(&self, contender: Contender, share: f64) -> Vec<f64> {
        let rounds = self.rounds.get(&contender).map(Vec::as_slice).unwrap_or_default();
        rounds.iter().map(|latencies| latencies.percentile(share)).collect()
    }

    /// The 99th percentile with this filter as a multiple of that without a filter.
    pub(super) fn p99_ratio(&self, contender: Contender) -> Option<Estimate> {
        let pairs = self.percentiles(contender, 0.99).into_iter();
        Estimate::of(pairs.zip(self.percentiles(Contender::None, 0.99)).map(|(with, without)| with / without))
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!("Microseconds at {:.0} requests a second:\n\n| |", self.rate);
        for (name, _) in SHARES {
            let _ = write!(table, " {name} |");
        }
        table.push_str("\n| --- | --- | --- | --- |\n");
        for contender in CONTENDERS {
            let _ = write!(table, "| {} |", contender.title());
            for (_, share) in SHARES {
                let estimate = Estimate::of(self.percentiles(contender, share));
                let _ = write!(
                    table,
                    " {} |",
                    estimate.map_or_else(String::new, |estimate| with_interval(estimate, 0))
                );
            }
            table.push('\n');
        }
        table
    }
}
