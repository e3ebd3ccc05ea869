//! Time on the processor and memory of other processes, as Linux tells them.

use std::fs;

use anyhow::{Context, Result};

/// `USER_HZ`, which Linux has on every machine that Envoy runs on.
const TICKS_PER_SECOND: u64 = 100;

/// Nanoseconds that all threads of the process `id`, none of which ends, were on a processor, in user mode and
/// in the kernel: the scheduler's own account, exact to the nanosecond.
pub(super) fn nanoseconds(id: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).context("a process that is measured has ended")?;
    let of_task = |task: std::path::PathBuf| -> Result<u64> {
        let spent = match fs::read_to_string(task.join("schedstat")) {
            Err(_) if !task.exists() => return Ok(0),
            spent => spent?,
        };
        spent.split(' ').next().and_then(|text| text.parse().ok()).context("schedstat is not understood")
    };
    tasks.map(|task| of_task(task?.path())).sum()
}

/// The same of a process whose threads come and go, to the hundredth of a second.
pub(super) fn nanoseconds_of_all(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in brackets, may hold anything. `utime` and `stime` are the fourteenth and fifteenth field.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks = fields.context("stat is not understood")?.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * (1_000_000_000 / TICKS_PER_SECOND))
}

/// Kibibytes of memory that the process `id` occupies.
pub(super) fn resident_kib(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
