//! Python with the packages of `fastapi/requirements.txt`, pinned by hash.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, say, system};

/// A Python with FastAPI.
#[derive(Debug, Clone)]
pub(super) struct Python {
    pub(super) interpreter: PathBuf,
    /// The folder of the applications.
    pub(super) applications: PathBuf,
}

// === impl Python ===

impl Python {
    /// What is installed of what counts, such as `, FastAPI 1.2.3`.
    pub(super) fn versions(&self) -> Result<String> {
        let script = "from importlib.metadata import version as v; import platform as p\n\
                      print(f', Python {p.python_version()}, FastAPI {v(\"fastapi\")}, \
                      uvicorn {v(\"uvicorn\")}, PyJWT {v(\"pyjwt\")}', end='')";
        command::stdout(Command::new(&self.interpreter).args(["-c", script]))
    }
}

/// Installs it into `target/tools`, once for each state of the requirements.
pub(super) fn install(workspace: &Workspace) -> Result<Python> {
    let applications = workspace.root.join("xtask/src/bench/fastapi");
    let requirements = applications.join("requirements.txt");
    let wanted = fs::read(&requirements)?;
    let home = workspace.tools().join("bench-fastapi");
    let installed = home.join("requirements.txt");
    let python = Python { interpreter: home.join("bin/python"), applications };
    fs::create_dir_all(workspace.tools())?;
    let _lock = command::lock(&workspace.tools().join("bench-fastapi.lock"))?;
    if fs::read(&installed).is_ok_and(|known| known == wanted) {
        return Ok(python);
    }
    say::step("Installing FastAPI, uvicorn and PyJWT");
    system::ensure(&system::PYTHON_VENV)?;
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let system_python = command::on_path("python3").context("Python 3 is not installed")?;
    command::stdout(Command::new(system_python).args(["-m", "venv"]).arg(&home))?;
    command::stdout(
        Command::new(&python.interpreter)
            .args(["-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--quiet"])
            .args(["--disable-pip-version-check", "--no-input", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(installed, wanted)?;
    Ok(python)
}
