//! Time on the processor, memory and open files of other processes, as Linux tells them.

use std::fs;

/// Nanoseconds that the threads of process `id` whose name starts with `thread` were on a processor.
pub(crate) fn nanoseconds(id: u32, thread: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
    let of_task = |task: std::path::PathBuf| {
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let spent = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let spent = spent.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        if name.starts_with(thread) { spent } else { 0 }
    };
    tasks.flatten().map(|task| of_task(task.path())).sum()
}

/// Kibibytes of memory that process `id` occupies.
pub(crate) fn resident_kib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How many files and sockets process `id` has open.
pub(crate) fn descriptors(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}
