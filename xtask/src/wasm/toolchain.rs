//! Which compiler and which standard library build the filter.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::TARGET;
use crate::workspace::{Workspace, cargo};
use crate::{command, say, system};

/// Where the standard library for [`TARGET`] comes from.
#[derive(Debug)]
pub enum Std {
    /// The toolchain has it, as after `rustup target add wasm32-wasip1`.
    Installed,
    /// It is built, with the distribution's compiler, from the source that the distribution packages.
    Source(FromSource),
}

/// What it takes to build the standard library.
#[derive(Debug)]
pub struct FromSource {
    cargo: PathBuf,
    rustc: PathBuf,
    /// The linker.
    wasm_ld: PathBuf,
    /// The folder of wasi-libc's `libc.a`.
    wasi_libc: PathBuf,
}

impl Std {
    /// The installed one; else the one rustup installs; else one built from the distribution's packages.
    ///
    /// # Errors
    /// Where none of them is to be had.
    pub fn obtain() -> Result<Self> {
        match Self::installed() {
            Ok(std) => Ok(std),
            Err(error) => {
                say::note(&format!("{error:#}"));
                say::note("Falling back to building std from the distribution's packages");
                Self::from_source().context(
                    "the wasm target is not to be had: `rustup target add wasm32-wasip1` is the usual way",
                )
            }
        }
    }

    /// The toolchain's own, after asking rustup for it where it is missing.
    ///
    /// # Errors
    /// Where it is missing and rustup does not provide it.
    pub fn installed() -> Result<Self> {
        if target_is_installed() {
            return Ok(Self::Installed);
        }
        if command::on_path("rustup").is_none() {
            bail!("the toolchain has no {TARGET} and there is no rustup to add it");
        }
        say::step(&format!("Adding the target {TARGET} with rustup"));
        command::stdout(Command::new("rustup").args(["target", "add", TARGET]).env_remove("RUST_BACKTRACE"))?;
        if !target_is_installed() {
            bail!("rustup added {TARGET}, but to another toolchain than the one in use");
        }
        Ok(Self::Installed)
    }

    /// One built from source; Debian's packages for it are installed where they are missing.
    ///
    /// # Errors
    /// Where something is missing and cannot be installed.
    pub fn from_source() -> Result<Self> {
        system::ensure(&system::RUST_SOURCE)?;
        system::ensure(&system::WASI_LIBC)?;
        let wasm_ld = match wasm_ld() {
            Some(path) => path,
            None => {
                system::ensure(&system::WASM_LD)?;
                wasm_ld().context("no wasm-ld after installing lld")?
            }
        };
        Ok(Self::Source(FromSource {
            cargo: "/usr/bin/cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            wasm_ld,
            wasi_libc: "/usr/lib/wasm32-wasi".into(),
        }))
    }

    /// The cargo to build with, with the arguments and environment that this standard library takes after
    /// the subcommand's own.
    pub(super) fn cargo(&self) -> Command {
        match self {
            Self::Installed => cargo(),
            Self::Source(from) => {
                let mut command = Command::new(&from.cargo);
                command
                    // -Z flags on a stable compiler: the one thing for which this switch exists.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", &from.rustc)
                    // What a rustup cargo that runs us has set is not meant for the distribution's.
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTC_WRAPPER")
                    .env_remove("LD_LIBRARY_PATH")
                    .args(["-Z", "build-std=std,panic_abort"]);
                command
            }
        }
    }

    /// The target directory; each standard library has its own, so that neither undoes the other's work.
    pub(super) fn target_dir(&self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::Installed => workspace.target.clone(),
            Self::Source(_) => workspace.target.join("std-from-source"),
        }
    }

    /// Compiler flags: those of the standard library, and those by which two machines build the same bytes.
    pub(super) fn rustflags(&self, workspace: &Workspace) -> Result<Vec<OsString>> {
        let mut flags = vec![
            remap(&workspace.root, "/jwt-gate"),
            remap(&cargo_home().context("there is neither CARGO_HOME nor HOME")?, "/cargo"),
        ];
        if let Self::Source(from) = self {
            let sysroot = command::stdout(
                Command::new(&from.rustc).env_remove("RUSTUP_TOOLCHAIN").args(["--print", "sysroot"]),
            )?;
            flags.push(remap(&Path::new(sysroot.trim()).join("lib/rustlib/src/rust"), "/rustc"));
            flags.push("-Clinker-flavor=wasm-ld".into());
            flags.push(joined("-Clinker=", &from.wasm_ld));
            // wasi-libc comes from the distribution, not from the toolchain.
            flags.push("-Clink-self-contained=no".into());
            flags.push(joined("-Lnative=", &from.wasi_libc));
        }
        Ok(flags)
    }
}

fn joined(flag: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(flag);
    joined.push(path);
    joined
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = joined("--remap-path-prefix=", from);
    flag.push("=");
    flag.push(to);
    flag
}

fn cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// Whether the rustc that cargo uses has a standard library for the target.
fn target_is_installed() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = command::stdout(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_ok_and(|folder| holds_std(Path::new(folder.trim())))
}

fn holds_std(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries
            .any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
    })
}

/// A linker for wasm: on `PATH`, or the one that comes with the active Rust toolchain.
fn wasm_ld() -> Option<PathBuf> {
    let on_path = || command::on_path("wasm-ld");
    let versioned = || (14..40).rev().find_map(|version| command::on_path(&format!("wasm-ld-{version}")));
    let of_toolchain = || {
        let host = command::stdout(Command::new("rustc").args(["--print", "target-libdir"])).ok()?;
        let path = Path::new(host.trim()).parent()?.join("bin/rust-lld");
        command::is_executable(&path).then_some(path)
    };
    on_path().or_else(versioned).or_else(of_toolchain)
}
