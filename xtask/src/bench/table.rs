//! Tables of what was measured, in Markdown.

use std::fmt::Write as _;

use anyhow::Result;

use super::rounds::Measured;
use super::running::Running;
use super::stats::Estimate;
use super::targets::{Bound, TARGETS};
use super::workload::Workload;

/// What a request cost, of every contender under this workload.
pub(super) fn costs(measured: &Measured, workload: Workload) -> String {
    let mut table =
        String::from("| | µs above no check | µs in all | requests/s |\n| --- | --- | --- | --- |\n");
    for contender in measured.contenders(workload) {
        let cell = |estimate: Option<Estimate>, digits| {
            estimate.map_or_else(|| "–".to_owned(), |estimate| with_interval(estimate, digits))
        };
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            contender.name(),
            cell(measured.cost(workload, contender), 2),
            cell(measured.total(workload, contender), 1),
            measured
                .throughput(workload, contender)
                .map_or_else(String::new, |estimate| format!("{:.0}", estimate.median)),
        );
    }
    table
}

/// What each contender occupies now that it was under load.
pub(super) fn memory(contenders: &[Running]) -> Result<String> {
    let mut table = String::from("| | MiB |\n| --- | --- |\n");
    for running in contenders {
        let mebibytes = running.resident_kib()? as f64 / 1024.0;
        writeln!(table, "| {} | {mebibytes:.0} |", running.contender.name())?;
    }
    Ok(table)
}

/// The targets whose contenders were measured.
pub(super) fn targets(measured: &Measured) -> String {
    let mut table = String::from("| | target | measured | |\n| --- | --- | --- | --- |\n");
    for target in &TARGETS {
        let Some(ratio) = target.measured(measured) else { continue };
        let (words, digits) = match target.bound {
            Bound::AtMost(bound) => (format!("at most {bound:.1} ×"), 2),
            Bound::AtLeast(bound) => (format!("at least {bound:.0} ×"), 0),
        };
        let _ = writeln!(
            table,
            "| {}: {} / {} | {words} | {} | {} |",
            target.workload.title(),
            target.one.name(),
            target.other.name(),
            with_interval(ratio, digits),
            if target.bound.holds(ratio.median) { "met" } else { "**not met**" },
        );
    }
    table
}

/// `median (low–high)`.
pub(super) fn with_interval(estimate: Estimate, digits: usize) -> String {
    let Estimate { median, low, high } = estimate;
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}
