//! On which processors we, and what we start, run.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Those on which we may run.
pub(super) fn ours() -> Result<CpuSet> {
    Ok(sched_getaffinity(None)?)
}

/// Lets this thread, and whatever it starts from now on, run on these.
pub(super) fn set(processors: &CpuSet) -> Result<()> {
    Ok(sched_setaffinity(None, processors)?)
}

/// The same with only the `index`th of these, where there are so many.
pub(super) fn keep_to(processors: &CpuSet, index: usize) -> Result<()> {
    let mut those = (0..CpuSet::MAX_CPU).filter(|cpu| processors.is_set(*cpu));
    let Some(chosen) = those.nth(index) else { return set(processors) };
    let mut one = CpuSet::new();
    one.set(chosen);
    set(&one)
}
