//! Building the filter: `target/jwt_gate.wasm`.

#[cfg(feature = "tools")]
mod composition;
#[cfg(feature = "tools")]
mod postprocess;
mod toolchain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::command;
#[cfg(feature = "tools")]
use crate::say;
use crate::workspace::Workspace;

#[cfg(feature = "tools")]
pub(crate) use composition::Composition;
#[cfg(feature = "tools")]
pub use postprocess::trimmed;
pub use toolchain::Std;

/// The target for which the filter is built.
pub const TARGET: &str = "wasm32-wasip1";

/// The finished module. The demo, which is built without `tools`, runs one that nobody trimmed: it does the same, and exports
/// callbacks that do nothing.
const MODULE: &str = if cfg!(feature = "tools") { "jwt_gate.wasm" } else { "jwt_gate.untrimmed.wasm" };

/// Builds the filter with whichever standard library this machine has or can get, and returns the path of
/// the finished module. `JWT_GATE_WASM_STD` (`installed` or `source`) decides where both are possible.
///
/// Safe to call from several processes at once; quick where nothing changed.
///
/// # Errors
/// Where it does not compile, or the wasm target is not to be had; the message says what to do.
pub fn build() -> Result<PathBuf> {
    build_with(&standard_library()?)
}

/// The standard library that `JWT_GATE_WASM_STD` chooses, else whichever is to be had.
pub(crate) fn standard_library() -> Result<Std> {
    match env::var("JWT_GATE_WASM_STD").as_deref() {
        Err(_) | Ok("") => Std::obtain(),
        Ok("installed") => Std::installed(),
        Ok("source") => Std::from_source(),
        Ok(other) => bail!("JWT_GATE_WASM_STD is `{other}`; it can be `installed` or `source`"),
    }
}

/// Builds the filter with this standard library.
///
/// # Errors
/// As [`build`].
pub fn build_with(std: &Std) -> Result<PathBuf> {
    build_as(std, MODULE)
}

/// The same, with this name in the target folder.
pub(crate) fn build_as(std: &Std, name: &str) -> Result<PathBuf> {
    let workspace = Workspace::locate()?;
    fs::create_dir_all(&workspace.target)?;
    let finished = workspace.target.join(name);
    let _lock = lock(&workspace)?;

    let module = link(std, &workspace, "jwt-gate-wasm", "jwt_gate_wasm")?;
    #[cfg(feature = "tools")]
    let module = postprocess::postprocess(&module).context("the built module cannot be post-processed")?;
    if fs::read(&finished).is_ok_and(|old| old == module) {
        return Ok(finished);
    }
    // Whoever reads the module sees the old one or the new one, never a part.
    let mut file = tempfile::NamedTempFile::new_in(&workspace.target)?;
    std::io::Write::write_all(&mut file, &module)?;
    let readable_by_all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable_by_all)?;
    file.persist(&finished)?;
    Ok(finished)
}

/// One build at a time: what comes after it reads what cargo has just written.
fn lock(workspace: &Workspace) -> Result<fs::File> {
    command::lock(&workspace.target.join("jwt_gate.wasm.lock"))
}

/// What the filter's bytes are made of. It is built for this once more, with the names of its functions.
#[cfg(feature = "tools")]
pub(crate) fn composition() -> Result<Composition> {
    let (std, workspace) = (standard_library()?, Workspace::locate()?);
    let _lock = lock(&workspace)?;
    let target_dir = std.target_dir(&workspace).join("named");
    let mut cargo = linking(&std, &workspace, "jwt-gate-wasm", &target_dir)?;
    command::run(cargo.env("CARGO_PROFILE_WASM_STRIP", "debuginfo"))?;
    Composition::of(&postprocess::postprocess_with_names(&linked(&target_dir, "jwt_gate_wasm")?)?)
}

/// Compiles `package` with the filter's profile and returns its module as it was linked.
pub(crate) fn link(std: &Std, workspace: &Workspace, package: &str, module: &str) -> Result<Vec<u8>> {
    let target_dir = std.target_dir(workspace);
    command::run(&mut linking(std, workspace, package, &target_dir)?)?;
    linked(&target_dir, module)
}

/// The command that compiles `package` with the filter's profile.
fn linking(std: &Std, workspace: &Workspace, package: &str, target_dir: &Path) -> Result<Command> {
    let mut cargo = std.cargo();
    cargo
        .current_dir(&workspace.root)
        .args(["build", "--locked", "--package", package, "--profile", "wasm", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", encoded(std.rustflags(workspace)?)?);
    Ok(cargo)
}

/// The module that it left.
fn linked(target_dir: &Path, module: &str) -> Result<Vec<u8>> {
    let linked = target_dir.join(TARGET).join("wasm").join(format!("{module}.wasm"));
    fs::read(&linked).with_context(|| format!("the build left no {}", linked.display()))
}

/// `cargo xtask wasm`: builds, then prints path and size; with `by_crate`, where the bytes come from.
///
/// # Errors
/// As [`build`].
#[cfg(feature = "tools")]
pub fn command(std_from_source: bool, by_crate: bool) -> Result<()> {
    if by_crate {
        print!("{}", composition()?.table());
        return Ok(());
    }
    say::step("Building the filter");
    let path = if std_from_source { build_with(&Std::from_source()?)? } else { build()? };
    let bytes = fs::metadata(&path)?.len();
    println!("{} ({bytes} bytes)", path.display());
    Ok(())
}

/// Flags as `CARGO_ENCODED_RUSTFLAGS` wants them, which lets a path hold spaces.
fn encoded(flags: Vec<OsString>) -> Result<OsString> {
    let mut joined = OsString::new();
    for (index, flag) in flags.into_iter().enumerate() {
        if flag.as_encoded_bytes().contains(&0x1f) {
            bail!("{} cannot be handed to cargo", flag.to_string_lossy());
        }
        if index > 0 {
            joined.push("\u{1f}");
        }
        joined.push(flag);
    }
    Ok(joined)
}
