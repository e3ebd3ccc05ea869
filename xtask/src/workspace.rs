//! Where the workspace and its target directory are, and how cargo is started for it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The workspace, as `cargo metadata` describes it.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo builds (`CARGO_TARGET_DIR` and cargo's own configuration are honoured).
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// Where cargo cannot be started or its answer cannot be read.
    pub fn locate() -> Result<Self> {
        let member = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let metadata = command::stdout(
            cargo()
                .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
                .arg(member.join("Cargo.toml"))
                .stderr(Stdio::inherit()),
        )?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
        let folder = |name: &str| {
            let value = metadata.get(name).and_then(Value::as_str);
            value.map(PathBuf::from).with_context(|| format!("cargo metadata names no `{name}`"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// Where the commands keep what they fetched: `target/tools`.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Builds the companion and returns the path of its binary, `jwt-gate-auth`.
    ///
    /// # Errors
    /// Where it does not compile.
    pub fn companion(&self) -> Result<PathBuf> {
        command::run(cargo().current_dir(&self.root).args([
            "build",
            "--locked",
            "--package",
            "jwt-gate-auth",
            // SQLite is the longest to compile by far, and a walk does not need it fast.
            "--config",
            "profile.dev.package.libsqlite3-sys.opt-level=0",
        ]))?;
        Ok(self.companion_path())
    }

    /// Builds the binary `name` of `package`, optimised, and returns its path.
    ///
    /// # Errors
    /// Where it does not compile.
    pub fn released(&self, package: &str, name: &str) -> Result<PathBuf> {
        let build = ["build", "--locked", "--release", "--package", package, "--bin", name];
        command::run(cargo().current_dir(&self.root).args(build))?;
        Ok(self.target.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX)))
    }

    /// Where cargo puts the companion's binary.
    pub(crate) fn companion_path(&self) -> PathBuf {
        self.target.join("debug").join(format!("jwt-gate-auth{}", env::consts::EXE_SUFFIX))
    }
}

/// The cargo that runs us, else the one on `PATH`.
#[must_use]
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
