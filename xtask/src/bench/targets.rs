//! What the gate has to be, each a ratio in one run.

use std::fmt;

use super::contender::Contender;
use super::footprint::Footprint;
use super::rounds::Measured;
use super::stats::Estimate;
use super::table::with_interval;
use super::workload::Workload;
use super::{companion, latency};

/// A ratio of costs that is to stay on one side of a bound.
struct Target {
    workload: Workload,
    one: Contender,
    other: Contender,
    bound: Bound,
}

/// The side.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const fn at_most(bound: f64, workload: Workload, other: Contender) -> Target {
    Target { workload, one: Contender::Gate, other, bound: Bound::AtMost(bound) }
}

const fn of_module(bound: f64, workload: Workload, other: Contender) -> Target {
    Target { workload, one: Contender::Module, other, bound: Bound::AtMost(bound) }
}

/// The targets that are ratios of the cost of a request.
const TARGETS: [Target; 11] = [
    of_module(0.25, Workload::Fresh, Contender::JwtAuthn),
    of_module(0.8, Workload::Seen, Contender::JwtAuthnCache),
    of_module(1.2, Workload::None, Contender::JwtAuthn),
    of_module(0.5, Workload::Public, Contender::Gate),
    at_most(0.6, Workload::Fresh, Contender::JwtAuthn),
    at_most(1.0, Workload::Seen, Contender::JwtAuthnCache),
    at_most(1.1, Workload::Public, Contender::Empty),
    at_most(1.0, Workload::None, Contender::JwtAuthn),
    at_most(1.0, Workload::BadSignature, Contender::JwtAuthn),
    at_most(1.0, Workload::Claims, Contender::JwtAuthnCache),
    Target {
        workload: Workload::Seen,
        one: Contender::Fastapi,
        other: Contender::Gate,
        bound: Bound::AtLeast(40.0),
    },
];

impl Target {
    /// The ratio were the gate as cheap as its hostcalls, and HMAC where there is no way around it.
    fn floor(&self, measured: &Measured) -> Option<Estimate> {
        // The floor is a wasm filter's.
        if self.one == Contender::Module {
            return None;
        }
        let floor = |contender| match (contender, self.workload) {
            (Contender::Gate, Workload::Fresh) => Contender::FloorHmac,
            (Contender::Gate, _) => Contender::Floor,
            _ => contender,
        };
        measured.ratio(self.workload, floor(self.one), floor(self.other))
    }
}

/// A target, what was measured, and whether that is on the right side.
struct Verdict {
    what: String,
    bound: Bound,
    unit: &'static str,
    measured: Estimate,
    digits: usize,
    /// The same of the least that any wasm filter costs that does the gate's work, or any answer over HTTP.
    floor: Option<Estimate>,
}

/// All that could be judged in this run.
#[derive(Default)]
pub(super) struct Verdicts {
    verdicts: Vec<Verdict>,
}

// === impl Verdicts ===

impl Verdicts {
    pub(super) fn requests(&mut self, measured: &Measured) {
        for target in &TARGETS {
            let Some(ratio) = measured.ratio(target.workload, target.one, target.other) else { continue };
            let (one, other) = (target.one.title(), target.other.title());
            let digits = if matches!(target.bound, Bound::AtMost(_)) { 2 } else { 0 };
            let what = format!("{}: {one} / {other}", target.workload.title());
            self.judge(what, target.bound, "×", ratio, digits);
            if let Some(verdict) = self.verdicts.last_mut() {
                verdict.floor = target.floor(measured);
            }
        }
    }

    pub(super) fn latency(&mut self, measured: &latency::Measurement) {
        if let Some(ratio) = measured.p99_ratio(Contender::Gate) {
            let what = "p99 at half of capacity: jwt-gate / no filter".to_owned();
            self.judge(what, Bound::AtMost(1.05), "×", ratio, 2);
            if let Some(verdict) = self.verdicts.last_mut() {
                verdict.floor = measured.p99_ratio(Contender::Floor);
            }
        }
    }

    pub(super) fn footprint(&mut self, measured: &Footprint) {
        let size = exactly(measured.module as f64 / 1000.0);
        self.judge("Size of the gate's module".to_owned(), Bound::AtMost(250.0), "KB", size, 0);
    }

    pub(super) fn companion(&mut self, measured: &companion::Measurement) {
        let share = "Companion, sign-ins: share of what bcrypt alone does".to_owned();
        self.judge(share, Bound::AtLeast(0.95), "×", measured.sign_ins, 2);
        if let Some(ratio) = measured.against_fastapi() {
            let what = "Companion, `me` and `verify`: FastAPI / companion".to_owned();
            self.judge(what, Bound::AtLeast(20.0), "×", ratio, 1);
            if let Some(verdict) = self.verdicts.last_mut() {
                verdict.floor = measured.against_fastapi_at_most().map(exactly);
            }
        }
        let resident = exactly(measured.resident_mebibytes());
        self.judge("Companion, memory at rest".to_owned(), Bound::AtMost(20.0), "MiB", resident, 1);
    }

    fn judge(&mut self, what: String, bound: Bound, unit: &'static str, measured: Estimate, digits: usize) {
        self.verdicts.push(Verdict { what, bound, unit, measured, digits, floor: None });
    }

    pub(super) fn table(&self) -> String {
        let mut table =
            String::from("| | target | measured | | its floor |\n| --- | --- | --- | --- | --- |\n");
        for Verdict { what, bound, unit, measured, digits, floor } in &self.verdicts {
            let met = if bound.holds(measured.median) { "met" } else { "**not met**" };
            let measured = with_interval(*measured, *digits);
            let floor =
                floor.map_or_else(String::new, |floor| format!("{} {unit}", with_interval(floor, *digits)));
            table.push_str(&format!("| {what} | {bound} {unit} | {measured} {unit} | {met} | {floor} |\n"));
        }
        table
    }

    /// The same for somebody in a hurry.
    pub(super) fn summary(&self) -> String {
        let mut table = String::from("| | measured |\n| --- | --- |\n");
        for Verdict { what, unit, measured, digits, .. } in &self.verdicts {
            table.push_str(&format!("| {what} | {:.digits$} {unit} |\n", measured.median));
        }
        table
    }
}

/// A value that was not sampled.
fn exactly(value: f64) -> Estimate {
    Estimate { median: value, low: value, high: value }
}

// === impl Bound ===

impl Bound {
    /// Whether the value is on the right side.
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(formatter, "at most {bound}"),
            Self::AtLeast(bound) => write!(formatter, "at least {bound}"),
        }
    }
}
