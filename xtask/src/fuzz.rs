//! `cargo xtask fuzz`: every fuzz target on its corpus, then for some seconds more.
//!
//! The targets are cargo-fuzz's (fuzz/README.md). It is not needed here: without a sanitizer it passes the
//! compiler what stands in [`INSTRUMENTED`], which every stable one understands.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, cargo};
use crate::{command, say};

/// What makes a compiler count which code an input reaches, as `cargo fuzz build --sanitizer none` does.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing \
     -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Ccodegen-units=1";

/// The targets of the gate, and of the library that it shares with the companion.
const GATE: &[&str] = &["token", "locations", "path", "request", "config", "revocations"];

/// The companion's, whose dependencies take minutes to build.
const COMPANION: &str = "companion";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long each target looks for new inputs, after those that are known; 0: it only goes through those.
    pub seconds: u32,
    /// Whether the companion's target is among them.
    pub companion: bool,
}

/// Builds the targets and runs each.
///
/// # Errors
/// Where an input makes a target fail; it is named, and kept in fuzz/artifacts. Where nothing can be built for
/// want of a C++ compiler, that is said and is no error.
pub fn command(options: &Options) -> Result<()> {
    if command::on_path("c++").is_none() {
        println!("skipped: fuzzing: there is no C++ compiler, in which libFuzzer is written (Debian: g++)");
        return Ok(());
    }
    let root = Workspace::locate()?.root.join("fuzz");
    let host = host()?;
    let mut build = cargo();
    build.current_dir(&root).env("RUSTFLAGS", INSTRUMENTED).env_remove("CARGO_TARGET_DIR");
    // With a target named, build scripts and procedural macros are not instrumented. Without `--locked`, because a
    // dependency that the gate drops is no reason not to fuzz it; what stays is as its lock file says.
    build.args(["build", "--release", "--bins", "--target-dir", "target", "--target", &host]);
    let mut targets = GATE.to_vec();
    if options.companion {
        build.args(["--features", COMPANION]);
        targets.push(COMPANION);
    }
    say::step("Building the fuzz targets");
    command::run(&mut build)?;
    for target in targets {
        say::step(&format!("Fuzzing {target} for {} s", options.seconds));
        let program = root.join("target").join(&host).join("release").join(target);
        run(&root, &program, target, options.seconds)?;
    }
    Ok(())
}

/// Replays the corpus, and goes on from it in a folder of its own: what is found there is for a person to
/// look through and add.
fn run(root: &Path, program: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = tempfile::Builder::new().prefix("jwt-gate-fuzz-").tempdir()?;
    let artifacts = root.join("artifacts").join(target);
    std::fs::create_dir_all(&artifacts).with_context(|| artifacts.display().to_string())?;
    let flag = |name: &str, value: &dyn std::fmt::Display| format!("-{name}={value}");
    let corpus: PathBuf = root.join("corpus").join(target);
    let fuzzed = command::stdout(
        std::process::Command::new(program)
            .arg(if seconds == 0 { flag("runs", &0) } else { flag("max_total_time", &seconds) })
            .arg(flag("dict", &root.join("dictionaries").join(format!("{target}.dict")).display()))
            .arg(flag("artifact_prefix", &format!("{}/", artifacts.display())))
            // A machine that is busy with something else is not an input that takes too long.
            .args(["-timeout=60", "-rss_limit_mb=1024", "-max_len=4096", "-verbosity=0"])
            .arg(found.path())
            .arg(corpus),
    );
    if let Err(error) = fuzzed {
        bail!("{target}: see {}\n{error:#}", artifacts.display());
    }
    Ok(())
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let version = command::stdout(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}
