//! Tables of what was measured, in Markdown.

use std::fmt::Write as _;

use anyhow::Result;

use super::rounds::Measured;
use super::running::Running;
use super::stats::Estimate;
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
            contender.title(),
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

/// `median (low–high)`, or the value alone where it was not sampled.
pub(super) fn with_interval(estimate: Estimate, digits: usize) -> String {
    let Estimate { median, low, high } = estimate;
    if low == high {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
}
