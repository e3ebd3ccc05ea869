//! Documents whose measured parts a command writes: those between the marks `<!-- measured: <name> -->` and
//! `<!-- end -->`.

use std::env;
use std::fs;

use anyhow::{Context, Result};

/// `document` with `text` between the marks of `part`.
///
/// # Errors
/// Where the document has no such marks.
pub fn put(document: &str, part: &str, text: &str) -> Result<String> {
    let (start, end) = (format!("<!-- measured: {part} -->\n"), "<!-- end -->");
    let (before, rest) =
        document.split_once(&start).with_context(|| format!("the document has no {}", start.trim()))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{} has no end", start.trim()))?;
    Ok(format!("{before}{start}\n{}\n\n{end}{after}", text.trim()))
}

/// The processor, the number of processors, the system.
#[must_use]
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(field);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{count} × {}, {} {}",
        model.as_deref().unwrap_or(env::consts::ARCH),
        env::consts::OS,
        kernel.trim()
    )
}
