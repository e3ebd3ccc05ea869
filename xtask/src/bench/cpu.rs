//! Time on the processor and memory of other processes, as Linux tells them.

use std::fs;

use anyhow::{Context, Result};

/// Nanoseconds that all threads of the process `id` were on a processor, in user mode and in the kernel.
pub(super) fn nanoseconds(id: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).context("a process that is measured has ended")?;
    let of_task = |task: std::path::PathBuf| -> Result<u64> {
        // The scheduler's own account, exact to the nanosecond where /proc/PID/stat counts ticks of 10 ms.
        let spent = match fs::read_to_string(task.join("schedstat")) {
            // A thread that ended meanwhile: V8 has some that come and go.
            Err(_) if !task.exists() => return Ok(0),
            spent => spent?,
        };
        spent.split(' ').next().and_then(|text| text.parse().ok()).context("schedstat is not understood")
    };
    tasks.map(|task| of_task(task?.path())).sum()
}

/// Kibibytes of memory that the process `id` occupies.
pub(super) fn resident_kib(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
