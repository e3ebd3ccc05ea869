//! Parts from outside that a test needs, and what happens where they cannot be had.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "run.rs"]
mod run;

pub(crate) use run::run;

/// Names a test that could not run here, with the reason, where the summary picks it up.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("SKIP {test}: {reason}");
    if let Some(path) = std::env::var_os("JWT_GATE_SKIP_LOG") {
        let mut log = std::fs::File::options().append(true).create(true).open(path).unwrap();
        writeln!(log, "{test}: {reason}").unwrap();
    }
}

/// Whether `program --version` runs.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The files that the tests of a client need, beside this one.
pub(crate) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// A directory that outlives the test run, for what is costly to fetch.
pub(crate) fn cache(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Puts a client's npm packages, as its lock file pins them, beside a copy of it; where that is.
pub(crate) fn npm_client(name: &str) -> Result<PathBuf, String> {
    if !has("node") || !has("npm") {
        return Err("node and npm are not installed".to_owned());
    }
    // Two tests may want the same client; one of them installs it.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = cache(name);
    for file in std::fs::read_dir(client(name)).unwrap() {
        let file = file.unwrap();
        let target = directory.join(file.file_name());
        std::fs::copy(file.path(), target).unwrap();
    }
    let lock = std::fs::read(directory.join("package-lock.json")).unwrap();
    let installed = directory.join("node_modules/.installed");
    if std::fs::read(&installed).ok().as_ref() != Some(&lock) {
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory))
            .map_err(|error| format!("npm ci failed: {error}"))?;
        std::fs::write(installed, lock).unwrap();
    }
    Ok(directory)
}

/// A Python with a client's packages, as its requirements pin them by hash.
pub(crate) fn python_client(name: &str) -> Result<PathBuf, String> {
    if !has("python3") {
        return Err("python3 is not installed".to_owned());
    }
    let requirements = client(name).join("requirements.txt");
    let wanted = std::fs::read(&requirements).unwrap();
    let directory = cache(name);
    let python = directory.join("venv/bin/python");
    let installed = directory.join("venv/.installed");
    if std::fs::read(&installed).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory.join("venv")))
            .map_err(|error| format!("python3 -m venv failed: {error}"))?;
        let flags =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"];
        run(Command::new(&python).args(flags).arg(&requirements))
            .map_err(|error| format!("pip install failed: {error}"))?;
        std::fs::write(installed, wanted).unwrap();
    }
    Ok(python)
}
