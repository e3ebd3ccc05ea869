//! Building the dynamic module: `target/libjwt_gate.so`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::{Workspace, cargo};
use crate::{command, say};

/// Builds the module and returns its path.
///
/// The unwinder is linked statically: Envoy's own images have no `libgcc_s.so.1`. rustc asks the linker for that library by
/// name, so a linker script of this name stands before the system's and names the static archives.
///
/// # Errors
/// If it does not compile.
pub fn build() -> Result<PathBuf> {
    let workspace = Workspace::locate()?;
    let folder = workspace.target.join("module-linking");
    fs::create_dir_all(&folder)?;
    let _lock = command::lock(&workspace.target.join("libjwt_gate.so.lock"))?;
    fs::write(folder.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| home + "/.cargo"))?;
    let flags = [
        format!("-Clink-arg=-L{}", folder.display()),
        format!("--remap-path-prefix={}=/jwt-gate", workspace.root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ];
    let target_dir = workspace.target.join("module-build");
    let mut build = cargo();
    build
        .current_dir(&workspace.root)
        .args(["build", "--locked", "--package", "jwt-gate-module", "--profile", "module"])
        .arg("--target-dir")
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command::run(&mut build)?;
    let linked = target_dir.join("module/libjwt_gate_module.so");
    let finished = workspace.target.join("libjwt_gate.so");
    // Whoever loads the module sees the old one or the new one, never a part.
    let new = finished.with_extension("so.new");
    fs::copy(&linked, &new).with_context(|| format!("the build left no {}", linked.display()))?;
    fs::rename(&new, &finished)?;
    Ok(finished)
}

/// `cargo xtask module`: builds, then prints path and size.
///
/// # Errors
/// As [`build`].
pub fn command() -> Result<()> {
    say::step("Building the dynamic module");
    let path = build()?;
    println!("{} ({} bytes)", path.display(), fs::metadata(&path)?.len());
    Ok(())
}
