//! Tests whose real counterpart cannot run here.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that a test did not run and why: on its output, and in the file that `$JWT_GATE_SKIP_LOG` names
/// (`<test name>: <reason>`), whose lines `cargo xtask test` prints last.
pub fn skipped(test: &str, reason: &str) {
    println!("skipped: {test}: {reason}");
    let Some(path) = std::env::var_os("JWT_GATE_SKIP_LOG") else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
}
